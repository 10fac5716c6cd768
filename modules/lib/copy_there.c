/* SPDX-License-Identifier: Apache-2.0
 * copy_there - what stands at the target of a copy: looked at, told, taken away.
 */
#include "modules/lib/copy.h"
#include "modules/lib/proof.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int copy_look(const struct layout_disk *d, struct copy_there *t, struct err *e)
{
	AUTO_ERR why = { 0 };
	AUTO_MAP *m = map_open(d->map, false, &why);
	struct disk_info i = { 0 };

	if (base_torn(d)) {	/* as if it were not begun */
		map_close(m);
		m = NULL;
		why.sys = ENOENT;
	}
	*t = (struct copy_there){ .base = access(d->base, F_OK) == 0, .map = m != NULL,
				  .room = d->room };
	if (t->base && !d->room && disk_info(d->base, d->format, &i, NULL) == 0)
		t->room = i.size;
	if (!m && why.sys != ENOENT && why.sys != ENOTDIR) {
		err_move(e, &why);
		return -1;
	}
	if (!m)
		return 0;
	map_state(m, &t->state);
	t->size = map_id(m)->size;
	t->chunk = map_id(m)->chunk;
	return 0;
}

void copy_say_later(struct ctx *c, const char *name, const char *what)
{
	const json_t *disk = copy_seen(c, name);

	if (disk)
		ctx_unknown(c, "read", (uint64_t)jint(disk, "size", 0), "%s %s, once it is copied",
			    name, what);
	else
		ctx_unknown(c, "changes", 1, "%s %s, once it is copied", name, what);
}

/* ---- before a last pass ---------------------------------------------------------------- */

bool copy_was_made(const struct ctx *c, const char *disk)
{
	return json_object_get(ctx_fact(c, "disks"), disk) != NULL;
}

/* Each says of a disk which pass it is, and its digest. */
static const char *const records[] = { "disks", "sync", "pass", "proof", "final" };

static const json_t *record_of(const struct ctx *c, size_t i, const char *disk)
{
	return json_object_get(ctx_fact(c, records[i]), disk);
}

uint32_t copy_pass_recorded(const struct ctx *c, const char *disk)
{
	int64_t newest = 0;

	for (size_t i = 0; i < ARRAY_LEN(records); i++) {
		int64_t n = jint(record_of(c, i, disk), "pass", 0);

		newest = n > newest && n < INT32_MAX ? n : newest;
	}
	return (uint32_t)newest;
}

const char *copy_digest_recorded(const struct ctx *c, const char *disk, uint32_t pass)
{
	for (size_t i = 0; i < ARRAY_LEN(records); i++) {
		const json_t *one = record_of(c, i, disk);

		if (one && jint(one, "pass", -1) == (int64_t)pass)
			return jstr(one, "digest", NULL);
	}
	return NULL;
}

char *copy_lost(const struct layout_disk *d)
{
	if (base_torn(d))
		return mem_printf("the host went down while '%s' was written to, which format '%s' "
				  "does not bear", d->base, d->format);
	return mem_printf(access(d->map, F_OK) == 0 ? "its map '%s' is of no use" :
			  "its map '%s' is gone", d->map);
}

static void say_again(struct ctx *c, const char *name, const char *much, const char *why)
{
	ctx_finding_now(c, "blocker", COPY_WHOLE, COPY_WHOLE_HINT, COPY_AGAIN_TEXT, much, name,
			why);
}

/* The map of the copy that convert made, and passes went on with; NULL with e. */
static struct map *open_map(struct ctx *c, const char *name, const struct layout_disk *d,
			    struct err *e)
{
	const json_t *was = json_object_get(ctx_fact(c, "disks"), name);
	AUTO_MAP *m = map_open(d->map, false, e);
	struct map *found = m;
	struct map_id want;

	copy_map_id(&want, ctx_machine(c), ctx_run(c), name, (uint64_t)jint(was, "size", 0),
		    (uint32_t)jint(was, "chunk", 0));
	if (!m || copy_check_map(d, map_id(m), &want, e) < 0)
		return NULL;
	m = NULL;
	return found;
}

/* Put back from an earlier time, with its base or without it, or cut short. */
static void say_gaps(struct ctx *c, const char *name, const struct layout_disk *d, struct map *m,
		     const struct map_state *s, const char *root)
{
	const char *want = s->complete ? copy_digest_recorded(c, name, s->pass) : NULL;
	AUTO_FREE char *other = mem_printf("its map '%s' is of another copy than was recorded",
					   d->map);
	AUTO_FREE char *since = mem_printf("what came since pass %u", s->pass);
	AUTO_FREE char *old = mem_printf("its map '%s' was put back from then", d->map);
	AUTO_FREE char *less = mem_printf("its map '%s' is not whole any more", d->map);
	/* Of a pass that was cut off something is always missing. */
	uint64_t unknown = s->complete ? map_unknown(m) : 0;
	char size[24];

	text_size(unknown, size);
	if (s->pass < copy_pass_recorded(c, name))
		say_again(c, name, since, old);
	else if (want && strcmp(want, root) != 0)
		say_again(c, name, "what differs", other);
	else if (unknown)
		say_again(c, name, size, less);
}

/* The map can be gone on with: from where it was left, and from where the source goes on? */
static void say_differences(struct ctx *c, const char *name, const struct layout_disk *d,
			    struct map *m)
{
	AUTO_FREE char *key = mem_printf(COPY_SINCE ".%s", name);
	char root[SHA256_HEX];
	struct map_state s;

	map_state(m, &s);
	io_hex(s.root, SHA256_LEN, root);
	ctx_finding_now(c, "blocker", COPY_WHOLE, COPY_WHOLE_HINT, COPY_WHOLE_TEXT, name,
			COPY_OTHER);
	ctx_finding_unlike(c, key, root);
	say_gaps(c, name, d, m, &s, root);
}

/* What would not let the last pass begin. */
static void say_stuck(struct ctx *c, const char *hint, const char *what)
{
	ctx_finding_now(c, "blocker", "target.copy", hint, "%s", what);
}

static int check_ours(struct ctx *c, const struct layout_disk *d, struct err *e)
{
	AUTO_LAYOUT l = { 0 };
	int owner;

	if (layout_of(ctx_machine(c), &l, e) < 0)
		return -1;
	owner = layout_owner(&l, ctx_machine(c), ctx_run(c), e);
	if ((owner < 0 || owner == LAYOUT_OTHERS) &&
	    !jbool(ctx_machine(c), "target.replace", false))
		return -1;
	err_clear(e);
	return base_still_ours(d, e);
}

/* Does the plan have another directory since it was copied? *base is what it was copied to. */
static bool is_elsewhere(struct ctx *c, const char *name, const struct layout_disk *d,
			 const char **base)
{
	const json_t *was = json_object_get(ctx_fact(c, "disks"), name);

	if (d->recorded || strcmp(jstr(was, "map", d->map), d->map) == 0)
		return false;
	*base = jstr(was, "path", NULL);
	return true;
}

bool copy_probe_there(struct ctx *c, const char *name, const struct layout_disk *d)
{
	AUTO_FREE char *lost = copy_lost(d), *gone = mem_printf(COPY_GONE, name, d->base);
	const char *base = NULL;
	AUTO_ERR e = { 0 };
	AUTO_MAP *m = NULL;

	if (!copy_was_made(c, name))
		return true;
	if (d->moved || is_elsewhere(c, name, d, &base)) {
		ctx_finding_now(c, "blocker", "target.moved", COPY_MOVED_HINT, COPY_MOVED, name,
				base ? base : d->base);
		return false;
	}
	if (check_ours(c, d, &e) < 0) {
		say_stuck(c, e.hint, e.what);
		return false;
	}
	m = open_map(c, name, d, &e);
	if (base_torn(d) || (!m && e.sys == ENOENT)) {
		say_again(c, name, "all", lost);
		return true;
	}
	if (m && access(d->base, F_OK) == 0)
		say_differences(c, name, d, m);
	else if (m)
		say_stuck(c, COPY_GONE_HINT, gone);
	else if (jbool(ctx_machine(c), "target.replace", false))
		say_again(c, name, "all", lost);
	else
		say_stuck(c, e.hint, e.what);
	return m != NULL;
}

/* ---- what is told ----------------------------------------------------------------------- */

json_t *copy_fact(const struct layout_disk *d, const struct copy_there *t)
{
	char hex[SHA256_HEX];
	json_t *o = json_object();

	io_hex(t->state.root, SHA256_LEN, hex);
	jset_str(o, "path", d->base);
	jset_str(o, "format", d->format);
	jset_int(o, "size", (int64_t)t->size);
	jset_int(o, "pass", t->state.pass);
	jset_str(o, "digest", hex);
	jset_int(o, "chunk", t->chunk);
	jset_str(o, "map", d->map);
	return o;
}

/* How much of a device we may have written to; 0: nothing. -1 with e: it cannot be told. */
static int written(const struct layout_disk *at, uint64_t *bytes, struct err *e)
{
	bool there = at->kind == AT_DEVICE && (access(at->map, F_OK) == 0 || errno != ENOENT);
	AUTO_MAP *m = there ? map_open(at->map, false, e) : NULL;
	struct map_state s = { 0 };

	if (there && !m)
		return err_hint(e, "wipe '%s' by hand if the copy is on it (wipefs -a, blkdiscard), "
				"remove '%s', then type the same again", at->base, at->map);
	if (m)
		map_state(m, &s);
	*bytes = s.generation ? map_id(m)->size : 0;
	return 0;
}

static int remove_disk(struct ctx *c, const char *name, struct err *e)
{
	AUTO_LAYOUT_DISK at = { 0 };
	uint64_t bytes = 0;
	int begun = layout_of_begun(ctx_machine(c), name, &at, e);

	if (begun <= 0)
		return begun;
	if (written(&at, &bytes, e) < 0 || base_remove(c, name, &at, bytes, e) < 0 ||
	    proof_mark_drop(&at, e) < 0)
		return -1;
	if (unlink(at.map) < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, "cannot remove '%s'", at.map);
	if (unlink(at.record) < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, "cannot remove '%s'", at.record);
	return 0;
}

int copy_remove(struct ctx *c)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	AUTO_JSON *left = NULL;
	AUTO_LAYOUT l = { 0 };
	AUTO_ERR e = { 0 };
	const char *name;
	json_t *spec;
	size_t i;
	int owner;

	if (layout_of(ctx_machine(c), &l, &e) < 0 || copy_home_check(c, &l, &e) < 0)
		return ctx_fail_err(c, &e);
	owner = layout_owner(&l, ctx_machine(c), ctx_run(c), &e);
	if (owner < 0)
		return ctx_fail_err(c, &e);
	if (owner == LAYOUT_OTHERS)	/* never take away what is not ours */
		return 0;
	json_object_foreach((json_t *)disks, name, spec)
		if (owner == LAYOUT_OURS && copy_wants(c, name, spec) && remove_disk(c, name, &e) < 0)
			return ctx_fail_err(c, &e);
	left = owner == LAYOUT_OURS ? layout_left(&l, ctx_machine(c)) : NULL;
	json_array_foreach(left, i, spec)
		if (remove_disk(c, json_string_value(spec), &e) < 0)
			return ctx_fail_err(c, &e);
	return layout_release(&l, &e) < 0 ? ctx_fail_err(c, &e) : 0;
}
