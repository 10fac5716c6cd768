/* SPDX-License-Identifier: Apache-2.0
 * cutover.start - start the target by libvirt, a systemd unit or a QEMU of its own,
 * and wait until it is up. From then on it serves: undo powers it off and takes its
 * registration away, and what it wrote meanwhile is lost with its overlay.
 */
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "modules/lib/console.h"
#include "modules/lib/serve.h"
#include "modules/module.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct param params[] = {
	{ .name = "pattern", .type = P_STR,
	  .summary = "wait until its console says this (extended regular expression); "
		     "default: `login:` unless `port` is given; empty: do not wait for it" },
	{ .name = "port", .type = P_INT, .max = 65535, .min = 0, .dflt = "0",
	  .summary = "wait until this TCP port answers at its address; 0: none" },
	{ .name = "address", .type = P_STR,
	  .summary = "the address for `port`; default: of its first NIC that has one" },
	{ .name = "timeout", .type = P_DURATION, .dflt = "10m", .min = 1000, .max = 86400000,
	  .summary = "it must be up within this time" },
	{ .name = "grace", .type = P_DURATION, .dflt = "15s", .min = 0, .max = 3600000,
	  .summary = "undo lets its system end in order for this time, then cuts its power" },
	{ .name = NULL },
};
static const char *const wants[] = { "definition", NULL };
static const char *const tools[] = { "qemu-system-x86_64", "ip", "virsh", "systemctl", NULL };

/* The way that an earlier attempt took, else what the plan wants. */
static const struct serve_way *way_of(struct ctx *c)
{
	const char *kept = ctx_kept(c, "way", NULL);

	return serve_way(c, kept ? kept : jstr(ctx_machine(c), "target.start", "auto"));
}

static const json_t *definition(struct ctx *c)
{
	const json_t *def = ctx_fact(c, "definition");

	if (def)
		return def;
	ctx_hint(c, "let the step reconfigure.machine run first");
	ctx_fail(c, "cannot start '%s': it is not defined yet", ctx_machine_name(c));
	return NULL;
}

/* What it wrote since it was started: lost by an undo. */
static void tell_writes(struct ctx *c, const json_t *def)
{
	size_t n = 0;
	const char *kept = ctx_kept(c, "before", &n);
	AUTO_JSON *before = kept ? json_parse(kept, n, NULL) : NULL;
	int64_t grown = serve_allocated(def) - jint(before, "allocated", 0);

	if (!before)
		return;
	ctx_volatile(c, "target_writes", json_integer(grown > 0 ? grown : 0));
	ctx_volatile(c, "since", json_string(jstr(before, "at", "")));
}

static int probe(struct ctx *c, enum probe_state *state)
{
	const json_t *def = ctx_fact(c, "definition");
	const struct serve_way *way = way_of(c);
	bool running;

	if (!way)
		return -1;
	running = def && way->running(def);
	ctx_stable(c, "running", json_boolean(running));
	ctx_volatile(c, "way", json_string(way->name));
	if (!running)
		ctx_change(c, '+', "machine %s, started by %s", ctx_machine_name(c), way->name);
	if (def)
		tell_writes(c, def);
	*state = running ? STATE_DONE : STATE_ABSENT;
	return 0;
}

static int disks_there(struct ctx *c, const json_t *def)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(jget(def, "disks"), i, disk)
		if (access(jstr(disk, "path", ""), R_OK | W_OK) < 0) {
			ctx_hint(c, "the step cutover.replay makes it");
			return ctx_fail_sys(c, "cannot start '%s': disk '%s'",
					    ctx_machine_name(c), jstr(disk, "path", ""));
		}
	return 0;
}

static int keep_before(struct ctx *c, const json_t *def, const struct serve_way *way)
{
	AUTO_JSON *before = json_object();
	AUTO_FREE char *text = NULL;
	char now[21];

	clock_iso(clock_real.wall_s(clock_real.arg), now);
	jset_int(before, "allocated", serve_allocated(def));
	jset_str(before, "at", now);
	text = json_canonical(before);
	if (ctx_keep(c, "way", way->name, strlen(way->name)) < 0)
		return -1;
	return ctx_keep(c, "before", text, strlen(text));
}

struct watched { const struct serve_way *way; const json_t *def; };

static bool alive(void *arg)
{
	struct watched *w = arg;

	return w->way->running(w->def);
}

static const char *address_of(const struct ctx *c, const json_t *def)
{
	const char *address = jstr(ctx_args(c), "address", NULL);
	const json_t *nic;
	size_t i;

	json_array_foreach(jget(def, "nics"), i, nic)
		if (!address)
			address = jstr(nic, "address", NULL);
	return address;
}

static struct console_wait wait_of(struct ctx *c, const json_t *def, struct watched *w)
{
	int port = (int)jint(ctx_args(c), "port", 0);
	const char *pattern = jstr(ctx_args(c), "pattern", port ? "" : "login:");

	return (struct console_wait){
		.pattern = pattern[0] ? pattern : NULL, .port = port,
		.address = address_of(c, def), .netns = -1, .alive = alive, .arg = w,
		.timeout_ms = (uint64_t)jint(ctx_args(c), "timeout", 600000),
		.socket = w->way->log ? NULL : jstr(def, "console", NULL),
		.cont = w->way->paused, .monitor = jstr(def, "monitor", NULL),
	};
}

static int apply(struct ctx *c)
{
	const json_t *def = definition(c);
	const struct serve_way *way = def ? way_of(c) : NULL;
	struct watched w = { way, def };
	AUTO_FREE char *log = NULL;
	struct console_wait wait;

	if (!way)
		return -1;
	wait = wait_of(c, def, &w);
	if (way->log)
		wait.log = log = serve_log(def);
	if (console_check(c, wait.pattern, wait.address, wait.port) < 0 ||
	    disks_there(c, def) < 0 || keep_before(c, def, way) < 0)
		return -1;
	wait.knock = way->running(def);
	if (way->begin(c, def) < 0)
		return -1;
	return console_wait(c, &wait);
}

static int undo(struct ctx *c)
{
	const json_t *def = ctx_fact(c, "definition");
	const struct serve_way *way;

	if (!def || !ctx_kept(c, "way", NULL))
		return 0;
	way = way_of(c);
	return way ? way->end(c, def, (unsigned)jint(ctx_args(c), "grace", 15000)) : -1;
}

const struct module module_cutover_start = {
	.name = "cutover.start",
	.summary = "start the target and wait until it is up",
	.place = ON_TARGET,
	.flags = MOD_NO_RETURN | MOD_LONG,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
	.undo = undo,
};
