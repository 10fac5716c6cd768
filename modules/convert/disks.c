/* SPDX-License-Identifier: Apache-2.0
 * disks - copy a machine's disks from the source to base images (or devices) at
 * the target, in one or more passes; undo removes what was made there.
 *
 * Of the source it only reads. What an interrupted pass brought over is kept and
 * not sent again.
 */
#include "modules/lib/checkpoint.h"
#include "modules/lib/copy.h"
#include "modules/lib/grow.h"
#include "modules/lib/insist.h"
#include "modules/lib/snapshot.h"
#include "modules/lib/space.h"
#include "modules/lib/testcopy.h"
#include "modules/lib/track.h"
#include "modules/lib/warm.h"

#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "engine/base/text.h"

#include <string.h>

#define PASSES_MAX 30		/* of `until`, when the plan says no `passes` */

static const struct param params[] = {
	{ "passes", P_INT, false, NULL, NULL,
	  "copy so many times; later passes send only what changed; default 1, with `until` 30",
	  1, COPY_PASSES_MAX },
	{ "until", P_MAP, false, NULL, "changed",
	  "{changed: 64MiB}: go on until a pass changed no more than this", 1, 0 },
	{ "freeze", P_ENUM, false, "none", "none|last",
	  "hold the source's file systems still during the last pass", 0, 0 },
	{ "changes", P_ENUM, false, "auto", "auto|bitmap|trace|snapshot|digest",
	  "how later passes find what changed: auto asks the dirty bitmaps of a libvirt domain, "
	  "else traces the source's writes where the kernel can, else makes snapshots of logical "
	  "volumes where their group has room; digest reads all and compares",
	  0, 0 },
	{ "track", P_DURATION, false, "24h", NULL,
	  "a tracker ends when no pass came for so long", 60000, 30ll * 86400000 },
	{ "seed", P_ENUM, false, "auto", "auto|none",
	  "auto: of a machine that is backed up before, and whose writes can be followed from then "
	  "on, convert.seed fills the copy from that backup", 0, 0 },
	COPY_CHUNK_PARAM,
	COPY_ZIP_PARAM,
	COPY_FREE_PARAM,
	COPY_BAD_PARAM,
	COPY_DISKS_PARAM,
	{ .name = NULL },
};

static const char *const wants[] = { "machine", "seed", "disks", "sync", "pass", "proof", "warm",
				     "target.host", "definition", NULL };
static const char *const tools[] = { "qemu-img", "qemu-nbd", NULL };
static const char *const writers[] = { "qemu-img", "qemu-nbd", NULL };

struct seen {
	struct ctx *c;
	json_t *stable;		/* disk -> {path, format, size, exists} */
	json_t *fact;		/* disk -> what is complete */
	size_t done, begun, all;
	struct err *other;	/* of the first disk that was begun in other chunks than the plan's */
	uint64_t write;		/* bytes still to write */
};

static bool at_source(const struct ctx *c)
{
	return strcmp(ctx_role(c), "source") == 0;
}

static unsigned passes_of(const struct ctx *c)
{
	bool open = jint(ctx_args(c), "until.changed", 0) > 0;

	return (unsigned)jint(ctx_args(c), "passes", open ? PASSES_MAX : 1);
}

static enum copy_changes changes_of(const struct ctx *c)
{
	return strcmp(jstr(ctx_args(c), "changes", "auto"), "digest") == 0 ?
		CHANGES_DIGEST : CHANGES_TRACE;
}

static struct copy_how how_of(const struct ctx *c)
{
	return (struct copy_how){ .fact = "disks", .changes = changes_of(c),
		.snapshots = copy_may_snapshot(c),
		.track_ms = (uint64_t)jint(ctx_args(c), "track", TRACK_KEEP_MS),
		.passes = passes_of(c), .warm = true, .keeps = true,
		.until = (uint64_t)jint(ctx_args(c), "until.changed", 0),
		.freeze_last = strcmp(jstr(ctx_args(c), "freeze", "none"), "last") == 0 };
}

static json_t *measured(struct ctx *c)
{
	struct copy_how h = how_of(c);

	return copy_measured(c, &h);
}

/* All passes were made, or enough of them. What came from a backup (pass 0) is none. */
static bool is_over(struct ctx *c, const struct map_state *s)
{
	AUTO_JSON *warm = measured(c);

	return s->complete && s->pass > 0 &&
		(s->pass >= passes_of(c) || jbool(warm, "enough", false));
}

static const char *source_of(const json_t *spec, const json_t *seen)
{
	static const char *const keys[] = { "path", "image", "id", "serial" };

	if (jstr(seen, "path", NULL))
		return jstr(seen, "path", NULL);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (jstr(spec, keys[i], NULL))
			return jstr(spec, keys[i], NULL);
	return "?";
}

static void say_change(struct seen *s, const char *name, const json_t *spec,
		       const struct layout_disk *d, const struct copy_there *t)
{
	const json_t *seen = copy_seen(s->c, name);
	uint64_t size = (uint64_t)jint(seen, "size", 0);
	const json_t *all = json_object_get(ctx_fact(s->c, "machine"), "used");
	uint64_t used = (uint64_t)jint(all, name, (int64_t)size);
	bool complete = is_over(s->c, &t->state);
	char sz[24] = "", wanted[24] = "";
	AUTO_FREE char *dims = NULL, *to = NULL;

	/* How much is used changes while the source serves; the cost tells it. */
	text_size(size, sz);
	text_size(d->size, wanted);
	dims = size ? mem_printf(" %s", sz) : mem_strdup("");
	to = d->size ? mem_printf("%s, made %s long", d->base, wanted) : mem_strdup(d->base);
	if (complete && t->room < base_size(d, t->size))
		ctx_change(s->c, '~', "%s %s%s -> %s", name, source_of(spec, seen), dims, to);
	else if (complete)
		ctx_change(s->c, '=', "%s %s%s -> %s, pass %u", name, source_of(spec, seen),
			   dims, d->base, t->state.pass);
	else if (copy_seeded(s->c, name) && t->state.pass == 0)
		ctx_change(s->c, '~', "%s %s%s -> %s, what was written since its backup", name,
			   source_of(spec, seen), dims, d->base);
	else if (t->map)
		ctx_change(s->c, '~', "%s %s%s -> %s, pass %u goes on", name,
			   source_of(spec, seen), dims, d->base,
			   t->state.pass + t->state.complete);
	else
		ctx_change(s->c, '+', "%s %s%s -> %s", name, source_of(spec, seen), dims, to);
	if (!t->map && !copy_seeded(s->c, name))
		s->write += used;
}

/* What makes and writes an image that is not raw. */
static int need_tools(struct ctx *c)
{
	for (size_t i = 0; writers[i]; i++) {
		AUTO_FREE char *path = proc_which(writers[i]);

		if (!path)
			return ctx_need_tool(c, writers[i]);
	}
	return 0;
}

/* A device must be there; what is there otherwise must be ours. */
static int check_base(struct ctx *c, const char *name, const struct layout_disk *d,
		      struct err *e)
{
	bool there = false;

	if (base_check(c, name, d, &there, e) < 0)
		return -1;
	if (there || d->kind != AT_DEVICE)
		return 0;
	err_set(e, ERR_STEP, "cannot write disk '%s' to '%s': it is not there", name, d->base);
	return err_hint(e, "what is there: lsblk on the target");
}

/* What was recorded stays: passes that came after this step tell of themselves. */
static json_t *fact_of(struct ctx *c, const char *name, const struct layout_disk *d,
		       const struct copy_there *t)
{
	const json_t *was = json_object_get(ctx_fact(c, "disks"), name);
	json_t *now = copy_fact(d, t);

	if (was && jint(was, "pass", 0) < (int64_t)t->state.pass && is_over(c, &t->state) &&
	    jint(was, "pass", 0) >= 1 && jint(was, "size", 0) == (int64_t)t->size &&
	    strcmp(jstr(was, "path", ""), d->base) == 0) {
		jset_int(now, "pass", jint(was, "pass", 0));
		jset_str(now, "digest", jstr(was, "digest", NULL));
	}
	return now;
}

static int probe_disk(struct seen *s, const char *name, const json_t *spec)
{
	const json_t *seen = copy_seen(s->c, name);
	uint64_t source = (uint64_t)jint(seen, "size", 0);
	AUTO_LAYOUT_DISK d = { 0 };
	AUTO_ERR e = { 0 };
	struct copy_there t;
	json_t *st = json_object();
	bool whole;

	if (layout_of_disk(ctx_machine(s->c), name, &d, &e) < 0 ||
	    copy_check_size(name, d.size, source, &e) < 0 ||
	    (!d.recorded && base_fits(name, &d, source, &e) < 0) || check_base(s->c, name, &d, &e) < 0 ||
	    copy_look(&d, &t, &e) < 0) {
		json_decref(st);
		return ctx_fail_err(s->c, &e);
	}
	whole = t.map && t.base && t.state.complete && t.room >= base_size(&d, t.size);
	if (!t.map && strcmp(d.format, "raw") != 0 && need_tools(s->c) < 0) {
		json_decref(st);
		return -1;
	}
	s->all++;
	s->begun += t.map;
	s->done += whole && is_over(s->c, &t.state);
	jset_str(st, "path", d.base);
	jset_str(st, "format", d.format);
	jset_int(st, "size", (int64_t)t.size);
	jset_bool(st, "exists", t.map && t.base);
	jset(s->stable, name, st);
	if (whole)
		jset(s->fact, name, fact_of(s->c, name, &d, &t));
	say_change(s, name, spec, &d, &t);
	if (d.moved)	/* no failure: rollback asks too */
		ctx_finding(s->c, "blocker", "target.moved", COPY_MOVED_HINT, COPY_MOVED, name,
			    d.base);
	if (t.map && base_fits(name, &d, t.size, &e) < 0)
		ctx_finding(s->c, "blocker", "target.size", e.hint, "%s", e.what);
	if (t.map && !err_is(s->other))
		copy_check_chunk(name, t.chunk, (uint32_t)jint(ctx_args(s->c), "chunk", t.chunk),
				 s->other);
	if (source && d.size > source)
		grow_tell(s->c, name, seen, d.size);
	return 0;
}

/* Is there room? In a preview assess.host may have said it just now. */
static void check_space(struct ctx *c)
{
	const json_t *told = jget(ctx_fact(c, "target.host"), "needed");

	if (ctx_is_preview(c) && json_object_size(told))
		return;
	space_check(c, ctx_fact(c, "machine"), NULL);
}

/* Disks that were copied, and then taken out of the plan or given another name there. */
static void say_left(struct ctx *c, const struct layout *l)
{
	AUTO_JSON *left = layout_left(l, ctx_machine(c));
	json_t *disk;
	size_t i;

	json_array_foreach(left, i, disk)
		ctx_finding_now(c, "warning", "target.left", "give the disk that name again to go on "
				"with its copy; drover rollback PLAN --to convert takes it away",
				"'%s' holds a copy of disk '%s', which the plan does not have any "
				"more", l->dir, json_string_value(disk));
}

/* The plan may have another place than the one where it was begun. */
static void say_home(struct ctx *c, const struct layout *l)
{
	AUTO_FREE char *left = copy_home_left(c, l);
	AUTO_ERR e = { 0 };

	if (copy_home_check(c, l, &e) < 0)	/* no failure: rollback asks too */
		ctx_finding(c, "blocker", "target.moved", e.hint, "%s", e.what);
	if (left)
		ctx_finding_now(c, "warning", "target.left", "put the plan back as it was to go on "
				"with it, or to take it away: drover rollback PLAN --to convert",
				"%s", left);
}

static int probe_target(struct ctx *c, enum probe_state *state)
{
	AUTO_JSON *stable = json_object(), *fact = json_object();
	AUTO_ERR e = { 0 }, other = { 0 };
	struct seen s = { .c = c, .stable = stable, .fact = fact, .other = &other };
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	AUTO_LAYOUT l = { 0 };
	const char *name;
	json_t *spec;
	int owner;

	if (layout_of(ctx_machine(c), &l, &e) < 0)
		return ctx_fail_err(c, &e);
	owner = layout_owner(&l, ctx_machine(c), ctx_run(c), &e);
	if ((owner < 0 || owner == LAYOUT_OTHERS) &&
	    !jbool(ctx_machine(c), "target.replace", false))
		return ctx_fail_err(c, &e);
	say_home(c, &l);
	if (owner == LAYOUT_OURS)
		say_left(c, &l);
	json_object_foreach((json_t *)disks, name, spec) {
		if (copy_wants(c, name, spec) && probe_disk(&s, name, spec) < 0)
			return -1;
		if (!layout_copies(spec))
			ctx_change(c, '.', "%s not copied (copy: false)", name);
	}
	check_space(c);
	ctx_cost(c, 0, 0, s.write, 0);
	ctx_stable(c, "disks", json_incref(stable));
	*state = s.done == s.all ? STATE_DONE : s.begun ? STATE_PARTIAL : STATE_ABSENT;
	if (*state == STATE_DONE)
		ctx_set_fact(c, "disks", json_incref(fact), NULL);
	else if (err_is(&other) && !jbool(ctx_machine(c), "target.replace", false))
		ctx_finding(c, "blocker", "target.chunk", other.hint, "%s", other.what);
	return 0;
}

/* What an attempt that was killed measured is told by who comes after it. */
static void tell_measured(struct ctx *c, json_t *warm)
{
	if (json_array_size(jget(warm, "passes")) > json_array_size(jget(ctx_fact(c, "warm"), "passes")))
		ctx_set_fact(c, "warm", json_object(), json_incref(warm));
}

/* The machine writes faster than passes bring it over. */
static void judge_downtime(struct ctx *c)
{
	AUTO_JSON *warm = measured(c);
	int64_t allowed = jint(ctx_machine(c), "downtime_ms", 0);
	char last[24], most[24], dirty[24];
	struct warm_forecast f;

	tell_measured(c, warm);
	if (allowed <= 0 || !warm_forecast(jget(warm, "passes"), &f) ||
	    f.p50_ms <= (uint64_t)allowed)
		return;
	text_duration(f.p50_ms, last);
	text_duration((uint64_t)allowed, most);
	text_size(f.dirty, dirty);
	ctx_finding(c, "blocker", "convert.downtime", "quieten what writes there, allow more "
		    "`downtime`, or copy over a faster link; drover sync PLAN measures anew",
		    "the last pass would take %s, the plan's downtime is %s: %s/s become dirty",
		    last, most, dirty);
}

static int probe(struct ctx *c, enum probe_state *state)
{
	if (!at_source(c))
		return probe_target(c, state);
	*state = STATE_DONE;	/* the target says how far it is */
	if (copy_probe_source(c, true) < 0)
		return -1;
	insist_tell(c);
	copy_probe_changes(c, changes_of(c));
	judge_downtime(c);
	return 0;
}

static int apply(struct ctx *c)
{
	struct copy_how h = how_of(c);

	if (copy_args(c, &h) < 0)
		return -1;
	if (!at_source(c))
		return copy_receive(c, &h);
	if (h.changes == CHANGES_DIGEST && copy_unfollow(c) < 0)
		return -1;
	return insist_heed(c) < 0 ? -1 : copy_send(c, &h);
}

/* A base that changes under a test copy corrupts it, silently. */
static int mend(struct ctx *c)
{
	struct copy_how h = { .mend = true, .passes = 1, .goes_on = true };

	if (copy_args(c, &h) < 0)
		return -1;
	if (at_source(c))
		return copy_send(c, &h);
	return testcopy_none(c, "mend") < 0 ? -1 : copy_receive(c, &h);
}

static int undo(struct ctx *c)
{
	if (!at_source(c))
		return copy_remove(c);
	return checkpoint_stop(c) < 0 || snapshot_stop(c) < 0 ||
		track_back(c, (uint64_t)jint(ctx_args(c), "track", TRACK_KEEP_MS)) < 0 ? -1 : 0;
}

const struct module module_convert_disks = {
	.name = "convert.disks",
	.summary = "copy the disks to the target, digest by digest",
	.place = ON_BOTH,
	.flags = MOD_REVERSIBLE | MOD_LONG,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
	.undo = undo,
	.mend = mend,
};
