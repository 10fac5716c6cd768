/* SPDX-License-Identifier: Apache-2.0
 * validate.boot - boot a throw-away copy of the target behind a fence and wait until
 * it is up. Source, base and networks are not touched; the copy is taken away again,
 * unless `keep` leaves it running for checks until validate.release. What its console
 * said is the evidence.
 */
#include "engine/base/mem.h"
#include "modules/lib/console.h"
#include "modules/lib/fence.h"
#include "modules/lib/testcopy.h"
#include "modules/module.h"

#include <stdlib.h>
#include <string.h>

static const struct param params[] = {
	{ .name = "pattern", .type = P_STR,
	  .summary = "wait until its console says this (extended regular expression); "
		     "default: `login:` unless `port` is given; empty: do not wait for it" },
	{ .name = "port", .type = P_INT, .dflt = "0", .min = 0, .max = 65535,
	  .summary = "wait until this TCP port answers at its address; 0: none" },
	{ .name = "address", .type = P_STR,
	  .summary = "the address for `port`; default: of its first NIC that has one" },
	{ .name = "timeout", .type = P_DURATION, .dflt = "10m", .min = 1000, .max = 86400000,
	  .summary = "it must be up within this time" },
	{ .name = "cpus", .type = P_INT, .min = 1, .max = 1024,
	  .summary = "CPUs of the copy; default: the target's" },
	{ .name = "memory", .type = P_SIZE, .min = 16 << 20, .max = INT64_C(1) << 44,
	  .summary = "memory of the copy; default: the target's" },
	{ .name = "keep", .type = P_BOOL, .dflt = "false",
	  .summary = "leave the copy running for checks `at: fence`; end it by `release`" },
	{ .name = NULL },
};
static const char *const wants[] = { "definition", "disks", "changeset", "guest", "machine", NULL };
static const char *const tools[] = { "qemu-system-x86_64", "qemu-img", "ip", NULL };

/* What was booted: a test of another pass or of other changes proves nothing. */
static char *subject(const struct ctx *c)
{
	AUTO_JSON *all = json_object();
	json_t *disks = json_object(), *disk;
	const char *name;
	char hex[65];

	json_object_foreach((json_t *)ctx_fact(c, "disks"), name, disk)
		jset_str(disks, name, jstr(disk, "digest", ""));
	jset(all, "disks", disks);
	jset(all, "changeset", json_deep_copy(ctx_fact(c, "changeset")));
	jset(all, "definition", json_deep_copy(ctx_fact(c, "definition")));
	json_digest(all, hex);
	return mem_printf("passed-%.16s", hex);
}

static bool keeps(const struct ctx *c)
{
	return jbool(ctx_args(c), "keep", false);
}

static const char *pattern_of(const struct ctx *c)
{
	const char *dflt = jint(ctx_args(c), "port", 0) ? "" : "login:";
	const char *pattern = jstr(ctx_args(c), "pattern", dflt);

	return pattern[0] ? pattern : NULL;
}

static const char *address_of(const struct ctx *c, const struct testcopy *t)
{
	const char *address = jstr(ctx_args(c), "address", NULL);
	const json_t *nic;
	size_t i;

	json_array_foreach(jget(t->def, "nics"), i, nic)
		if (!address)
			address = jstr(nic, "address", NULL);
	return address;
}

static void say_plan(struct ctx *c)
{
	int port = (int)jint(ctx_args(c), "port", 0);
	const char *pattern = pattern_of(c);

	ctx_change(c, '+', "a copy of %s boots behind a fence%s%s%s, then it is taken away",
		   ctx_machine_name(c), pattern ? " until its console says '" : "",
		   pattern ? pattern : "", pattern ? "'" : "");
	if (port)
		ctx_change(c, '+', "port %d of the copy answers inside the fence", port);
}

static int probe(struct ctx *c, enum probe_state *state)
{
	AUTO_FREE char *name = subject(c);
	bool passed = ctx_kept(c, name, NULL) != NULL, there = false;

	if (ctx_fact(c, "definition")) {
		AUTO_TESTCOPY t = {0};

		if (testcopy_of(c, &t) < 0)
			return -1;
		there = testcopy_there(&t);
	}
	if (!passed)
		say_plan(c);
	if (there && !keeps(c))
		ctx_change(c, '-', "what an interrupted test left");
	ctx_stable(c, "passed", json_boolean(passed));
	ctx_volatile(c, "running", json_boolean(there));
	*state = there && !keeps(c) ? STATE_PARTIAL : passed ? STATE_DONE : STATE_ABSENT;
	return 0;
}

static bool alive(void *arg)
{
	return testcopy_running(arg);
}

static int boot(struct ctx *c, struct testcopy *t)
{
	AUTO_ERR e = {0};
	AUTO_FD netns = -1;
	struct console_wait wait = {
		.socket = t->console, .pattern = pattern_of(c), .address = address_of(c, t),
		.port = (int)jint(ctx_args(c), "port", 0), .alive = alive, .arg = t,
		.timeout_ms = (uint64_t)jint(ctx_args(c), "timeout", 600000),
		.cont = true, .monitor = t->monitor,
	};

	if (console_check(c, wait.pattern, wait.address, wait.port) < 0 ||
	    testcopy_begin(c, t, jint(ctx_args(c), "cpus", 0),
			   jint(ctx_args(c), "memory", 0)) < 0)
		return -1;
	wait.netns = netns = fence_open(t->fence, &e);
	if (netns < 0)
		return ctx_fail_err(c, &e);
	return console_wait(c, &wait);
}

static int apply(struct ctx *c)
{
	AUTO_FREE char *name = subject(c);
	AUTO_TESTCOPY t = {0};
	int rc;

	if (testcopy_of(c, &t) < 0)
		return -1;
	rc = boot(c, &t);
	if ((rc < 0 || !keeps(c)) && testcopy_end(c, &t) < 0)
		return -1;
	return rc < 0 ? -1 : ctx_keep(c, name, "yes", 3);
}

static int undo(struct ctx *c)
{
	AUTO_TESTCOPY t = {0};

	if (!ctx_fact(c, "definition"))
		return 0;
	return testcopy_of(c, &t) < 0 ? -1 : testcopy_end(c, &t);
}

const struct module module_validate_boot = {
	.name = "validate.boot",
	.summary = "boot a throw-away copy behind a fence",
	.place = ON_TARGET,
	.flags = MOD_REVERSIBLE | MOD_LONG,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
	.undo = undo,
};
