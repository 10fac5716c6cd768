/* SPDX-License-Identifier: Apache-2.0
 * pass - the last pass: the source is quiesced, what changed since the pass before
 * is copied into the base images.
 *
 * Going back needs no undo: the base is a copy that only drover reads, a newer pass
 * of it serves a rolled-back machine as well as the older one, and the next pass
 * compares all of it again. What hangs on the old pass (overlays, boot tests) ends
 * before this step.
 */
#include "modules/lib/copy.h"
#include "modules/lib/freeze.h"
#include "modules/lib/track.h"
#include "modules/lib/warm.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const struct param params[] = {
	COPY_ZIP_PARAM,
	COPY_FREE_PARAM,
	COPY_BAD_PARAM,
	{ .name = NULL },
};

static const char *const wants[] = { "machine", "disks", "sync", "pass", "proof", "freeze",
				     "stamp", "warm", NULL };
static const char *const tools[] = { "qemu-nbd", NULL };

static bool at_source(const struct ctx *c)
{
	return strcmp(ctx_role(c), "source") == 0;
}

/* The source stands still since the last pass: what it recorded is gone with its hold. */
static bool was_read(const struct ctx *c)
{
	return strcmp(jstr(ctx_run(c), "serves", "source"), "source") != 0 && ctx_fact(c, "pass");
}

/* Done when the recorded last pass is the one that the map holds whole. */
static int probe_disk(struct ctx *c, const char *name, bool *done)
{
	const json_t *was = json_object_get(ctx_fact(c, "pass"), name);
	AUTO_LAYOUT_DISK d = { 0 };
	AUTO_ERR e = { 0 };
	struct copy_there t;
	bool holds;

	if (layout_of_disk(ctx_machine(c), name, &d, &e) < 0)
		return ctx_fail_err(c, &e);
	if (!was_read(c) && !copy_probe_there(c, name, &d)) {
		*done = false;
		return 0;
	}
	if (copy_look(&d, &t, &e) < 0)
		return ctx_fail_err(c, &e);
	holds = was && t.map && t.state.complete &&
		(uint32_t)jint(was, "pass", 0) == t.state.pass;
	*done = *done && holds;
	if (!t.map)
		copy_say_later(c, name, "last pass");
	else
		ctx_change(c, holds ? '=' : '~', "%s last pass: %u, what changed since pass %u "
			   "-> %s", name, t.state.pass + !holds,
			   holds ? t.state.pass - 1 : t.state.pass, d.base);
	return 0;
}

static int probe_target(struct ctx *c, enum probe_state *state)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	bool done = true;
	const char *name;
	json_t *spec;

	json_object_foreach((json_t *)disks, name, spec)
		if (layout_copies(spec) && probe_disk(c, name, &done) < 0)
			return -1;
	*state = done ? STATE_DONE : STATE_ABSENT;
	return 0;
}

/* ---- did a source that no freeze holds write since? ------------------------------------ */

static bool is_frozen(const struct ctx *c)
{
	return json_object_size(ctx_fact(c, "freeze")) > 0;
}

/* What every write leaves behind: of an image its time (and which file it is), of a device the sectors written
 * since this boot. NULL: it is out of sight. Owned. */
static char *stamp_of(const char *disk, const json_t *spec)
{
	AUTO_FREE char *path = disk_find(disk, spec, NULL), *boot = NULL, *count = NULL;
	AUTO_FREE char *file = NULL;
	struct stat st;
	char *sectors = NULL, *save = NULL;

	if (!path || stat(path, &st) < 0)
		return NULL;
	if (!S_ISBLK(st.st_mode))
		return mem_printf("%lld.%09ld %lld %llu:%llu", (long long)st.st_mtim.tv_sec,
				  st.st_mtim.tv_nsec, (long long)st.st_size,
				  (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	file = mem_printf("/sys/dev/block/%u:%u/stat", major(st.st_rdev), minor(st.st_rdev));
	count = io_read_file(AT_FDCWD, file, 4096, NULL);
	boot = io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, NULL);
	if (count)	/* reads: 4 fields; writes: requests, merges, sectors */
		sectors = strtok_r(count, " ", &save);
	for (int i = 1; sectors && i < 7; i++)
		sectors = strtok_r(NULL, " ", &save);
	return sectors && boot ? mem_printf("%.36s %s", boot, sectors) : NULL;
}

/* {disk: stamp} of those in sight; empty where a freeze tells better. Owned. */
static json_t *stamps(const struct ctx *c)
{
	json_t *out = json_object(), *spec;
	const char *name;

	json_object_foreach(jget(ctx_machine(c), "source.disks"), name, spec) {
		AUTO_FREE char *stamp = layout_copies(spec) && !is_frozen(c) ?
			stamp_of(name, spec) : NULL;

		if (stamp)
			jset_str(out, name, stamp);
	}
	return out;
}

/* The disk that was written to since; NULL: none that is in sight. */
static const char *written_since(const json_t *before, const json_t *now)
{
	const char *name;
	json_t *stamp;

	json_object_foreach((json_t *)(uintptr_t)before, name, stamp)
		if (jget(now, name) && !json_equal(stamp, jget(now, name)))
			return name;
	return NULL;
}

/* As the passes before it measured, where it is one like them. */
static void tell_cost(struct ctx *c, struct copy_ahead ahead)
{
	const json_t *passes = jget(ctx_fact(c, "warm"), "passes");
	uint64_t followed = ahead.all - ahead.whole, changed, ms;

	if (ahead.as_before && warm_ahead(passes, warm_now(), ahead.all, &changed, &ms))
		ctx_cost(c, ahead.whole + (changed < followed ? changed : followed), changed, 0,
			 ms + 1);
	else
		ctx_cost(c, ahead.all, 0, 0, 0);
}

/* Once the machine is off its disks may be out of sight: then the target says. */
static int probe_source(struct ctx *c, enum probe_state *state)
{
	const json_t *before = ctx_fact(c, "stamp");
	AUTO_JSON *now = stamps(c);
	const char *written = written_since(before, now);

	*state = written ? STATE_ABSENT : STATE_DONE;
	if (written)
		ctx_change(c, '~', "%s was written to since the last pass: once more", written);
	/* When all was read, how it would be found is not asked. */
	if (written || !was_read(c))
		tell_cost(c, copy_probe_changes(c, CHANGES_KNOWN));
	return 0;
}

static int probe(struct ctx *c, enum probe_state *state)
{
	return at_source(c) ? probe_source(c, state) : probe_target(c, state);
}

/* Where a freeze is what holds the source still, it must hold until all is read. */
static int still_frozen(struct ctx *c)
{
	struct freeze *f = NULL;
	bool held;

	if (!is_frozen(c))
		return 0;	/* it is paused or shut down: the stamps tell */
	freeze_attach(c, &f);
	held = f && freeze_held(f, NULL);
	freeze_free(f);
	if (held)
		return 0;
	/* By then the cutover will have gone back. */
	ctx_hint(c, "drover cutover PLAN begins it anew; the `hold` of quiesce says how long a freeze "
		 "may last");
	return ctx_fail(c, "the freeze of the source ended before the last pass was over: what "
			"was read is not one instant");
}

static int send_still(struct ctx *c, const struct copy_how *h)
{
	AUTO_JSON *before = stamps(c), *after = NULL;
	const char *written;

	if (still_frozen(c) < 0 || copy_send(c, h) < 0 || still_frozen(c) < 0)
		return -1;
	after = stamps(c);
	written = written_since(before, after);
	if (written) {
		ctx_hint(c, "whatever wrote to it must end first; then drover cutover PLAN");
		return ctx_fail(c, "disk '%s' of the source was written to while the last pass read "
				"it: what was read is not one instant", written);
	}
	if (!h->mend)
		ctx_set_fact(c, "stamp", json_object(), json_incref(before));
	return 0;
}

/* It must be the instant of the last pass that is read again. */
static int mend_still(struct ctx *c, const struct copy_how *h)
{
	AUTO_JSON *now = stamps(c);
	const char *written = written_since(ctx_fact(c, "stamp"), now);

	if (written)
		return ctx_fail(c, "disk '%s' of the source was written to since the last pass",
				written);
	return send_still(c, h);
}

static bool is_accepted(const struct ctx *c, const char *code)
{
	const json_t *one;
	size_t i;

	json_array_foreach(jget(ctx_run(c), "accepted"), i, one)
		if (json_is_string(one) && strcmp(json_string_value(one), code) == 0)
			return true;
	return false;
}

static int apply(struct ctx *c)
{
	/* It may yet go back: the tracker stays for the next attempt. */
	struct copy_how h = { .fact = "pass", .passes = 1, .held = true, .goes_on = true,
		.changes = CHANGES_KNOWN, .track_ms = TRACK_LAST_MS,
		.known = !is_accepted(c, COPY_WHOLE) };

	if (copy_args(c, &h) < 0)
		return -1;
	if (!at_source(c))
		return copy_receive(c, &h);
	return send_still(c, &h);
}

static int mend(struct ctx *c)
{
	struct copy_how h = { .mend = true, .passes = 1, .held = true, .goes_on = true };

	if (copy_args(c, &h) < 0)
		return -1;
	return at_source(c) ? mend_still(c, &h) : copy_receive(c, &h);
}

const struct module module_cutover_pass = {
	.name = "cutover.pass",
	.summary = "copy what changed since the last pass, from the quiesced source",
	.place = ON_BOTH,
	.flags = MOD_LONG | MOD_SOURCE_HELD,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
	.mend = mend,
};
