/* SPDX-License-Identifier: Apache-2.0
 * copy_target - passes of a machine's disks: the base and the map that are gone on with, or
 * made, and what must not be.
 */
#include "modules/lib/copy_recv.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void copy_map_id(struct map_id *id, const json_t *machine, const json_t *run,
		 const char *disk, uint64_t size, uint32_t chunk)
{
	*id = (struct map_id){ .size = size, .chunk = chunk };
	snprintf(id->lineage, sizeof(id->lineage), "%s", jstr(run, "lineage", ""));
	snprintf(id->machine, sizeof(id->machine), "%s", jstr(machine, "name", ""));
	snprintf(id->disk, sizeof(id->disk), "%s", disk);
}

int copy_check_chunk(const char *disk, uint32_t begun, uint32_t wanted, struct err *e)
{
	if (begun == wanted)
		return 0;
	err_set(e, ERR_STEP, "cannot go on with disk '%s' in chunks of %u bytes: it was begun with "
		"%u", disk, wanted, begun);
	return err_hint(e, "set chunk back, or drover rollback PLAN --to convert");
}

int copy_check_map(const struct layout_disk *at, const struct map_id *is,
		   const struct map_id *want, struct err *e)
{
	if (strcmp(is->lineage, want->lineage) || strcmp(is->machine, want->machine) ||
	    strcmp(is->disk, want->disk)) {
		err_set(e, ERR_STEP, "cannot write to '%s': it belongs to disk '%s' of "
			"'%s', made from another state", at->base, is->disk, is->machine);
		return err_hint(e, "move it away, or say target: { replace: true }");
	}
	if (is->size != want->size) {
		err_set(e, ERR_STEP, "cannot go on with disk '%s': it has %llu bytes now, "
			"the copy was begun with %llu", want->disk,
			(unsigned long long)want->size, (unsigned long long)is->size);
		return err_hint(e, "drover rollback PLAN --to convert, then drover run PLAN");
	}
	return copy_check_chunk(want->disk, is->chunk, want->chunk, e);
}

struct rereading {
	struct target *t;
	struct disk *d;
	void *buf;
};

static bool still_same(void *arg, uint64_t index, const uint8_t digest[SHA256_LEN])
{
	struct rereading *r = arg;
	const struct map_id *id = map_id(r->t->m);
	uint32_t n = map_chunk_len(r->t->m, index);
	uint8_t is[SHA256_LEN];

	if (r->d->ops->read(r->d, r->buf, n, index * id->chunk, NULL) < 0)
		return false;
	sha256_of(r->buf, n, is);
	return memcmp(is, digest, SHA256_LEN) == 0;
}

/* Going on: the map says what is there. Where a cut left it in doubt the base does. */
static struct disk *open_old(struct target *t, struct err *e)
{
	struct disk *d = base_open(t->name, &t->at, map_id(t->m)->size, e);
	struct rereading r = { t, d, NULL };

	if (!d && e->sys == ENOENT) {
		err_set(e, ERR_STEP, COPY_GONE, t->name, t->at.base);
		err_hint(e, COPY_GONE_HINT);
	}
	if (!d)
		return NULL;
	r.buf = disk_buffer(map_id(t->m)->chunk);
	if (map_settle(t->m, still_same, &r, e) < 0)
		disk_close(&d, NULL);
	free(r.buf);
	return d;
}

/* Nothing of it is there yet: make the base, then the map. */
static struct disk *make_new(const struct receiving *x, struct target *t, const struct map_id *id,
			     struct err *e)
{
	struct disk *d = base_make(x->c, t->name, &t->at, id->size, e);

	t->m = d ? map_create(t->at.map, id, e) : NULL;
	return d;
}

/* Behind all that were recorded, whichever map counted: what comes is none of them. */
static uint32_t next_pass(uint32_t pass, uint32_t recorded)
{
	return (pass > recorded ? pass : recorded) + 1;
}

/* Nothing is wrong with it: what differs is sent. But somebody did that. */
static void say_older(const struct receiving *x, const char *name, const struct map_state *s,
		      uint32_t recorded)
{
	if (s->generation > 0 && s->pass < recorded)
		ctx_finding_now(x->c, "warning", COPY_OLDER, "find out who did that, and whether "
				"the target's storage can be relied on", COPY_OLDER_TEXT ", and "
				"what came since is sent again", name, s->pass, recorded);
}

/* `base`: since which copy the sender knows all changes, or NULL. */
static int begin_pass(const struct receiving *x, struct target *t, const char *base, struct err *e)
{
	uint32_t recorded = copy_pass_recorded(x->c, t->name);
	char root[SHA256_HEX];
	struct map_state s;
	bool goes_on;

	map_state(t->m, &s);
	goes_on = !s.complete && s.pass > recorded;
	t->k.known = s.generation > 0;
	io_hex(s.root, SHA256_LEN, root);
	t->k.same = base && s.generation > 0 && strcmp(base, root) == 0;
	if (base && !t->k.same && x->how->known) {
		err_set(e, ERR_STEP, COPY_WHOLE_TEXT, t->name, COPY_OTHER);
		return err_hint(e, COPY_WHOLE_ACCEPT);
	}
	say_older(x, t->name, &s, recorded);
	if (!t->k.same)
		map_forget(t->m);
	t->k.pass = goes_on ? s.pass : next_pass(s.pass, recorded);
	return map_begin(t->m, t->k.pass, e);
}

/* What the map still knows stands. Of a source that stands still what comes is the pass
 * that was recorded; of one that serves it is of a later instant. */
static int begin_mend(const struct receiving *x, struct target *t, struct err *e)
{
	struct map_state s;

	map_state(t->m, &s);
	t->k.known = t->k.same = true;
	memcpy(t->k.since, s.root, SHA256_LEN);
	t->k.pass = x->how->held && s.pass > 0 ? s.pass :
		next_pass(s.pass, copy_pass_recorded(x->c, t->name));
	return map_begin_mend(t->m, t->k.pass, e);
}

/* Pass 0: passes of the source begin behind it. What came from the source is newer. */
static int begin_seed(struct target *t, struct err *e)
{
	struct map_state s;

	map_state(t->m, &s);
	if (s.pass > 0)
		return err_set(e, ERR_STEP, "cannot fill disk '%s' from a backup: pass %u of the "
			       "source is in it already", t->name, s.pass);
	t->k.known = s.generation > 0;
	map_forget(t->m);
	return map_begin(t->m, 0, e);
}

static int begin(const struct receiving *x, struct target *t, const char *base, struct err *e)
{
	if (x->how->seed)
		return begin_seed(t, e);
	return x->how->mend ? begin_mend(x, t, e) : begin_pass(x, t, base, e);
}

int copy_check_size(const char *disk, uint64_t planned, uint64_t source, struct err *e)
{
	char want[24], has[24];

	if (!planned || planned >= source)
		return 0;
	text_size(planned, want);
	text_size(source, has);
	err_set(e, ERR_PLAN, "cannot make disk '%s' %s (%llu bytes) long: the source has %s "
		"(%llu bytes)", disk, want, (unsigned long long)planned, has,
		(unsigned long long)source);
	return err_hint(e, "say a larger size under target.disks.%s, or leave it away", disk);
}

static int check_place(const char *disk, const struct layout_disk *d, uint64_t source,
		       struct err *e)
{
	if (!d->moved)
		return copy_check_size(disk, d->size, source, e);
	err_set(e, ERR_STEP, COPY_MOVED, disk, d->base);
	return err_hint(e, COPY_MOVED_HINT);
}

/* The host went down in the middle: what the map says of the image need not be so. */
static void begin_anew(const struct receiving *x, struct target *t, struct err *why)
{
	ctx_log(x->c, "%s: the host went down while '%s' was written to, which format '%s' does "
		"not bear: it is copied anew", t->name, t->at.base, t->at.format);
	map_close(t->m);
	t->m = NULL;
	why->sys = ENOENT;
}

/* The map of the copy that is gone on with; none stays open where it is made (again). */
static int find_map(const struct receiving *x, struct target *t, const struct map_id *id,
		    struct err *e)
{
	bool replace = jbool(ctx_machine(x->c), "target.replace", false);
	AUTO_ERR why = { 0 };

	t->m = map_open(t->at.map, true, &why);
	if (t->m && base_torn(&t->at))
		begin_anew(x, t, &why);
	if (t->m && copy_check_map(&t->at, map_id(t->m), id, &why) < 0) {
		map_close(t->m);
		t->m = NULL;
	}
	if (t->m)
		return 0;
	if (why.sys != ENOENT && !replace) {
		err_move(e, &why);
		return -1;
	}
	if (x->how->known && copy_was_made(x->c, t->name)) {
		AUTO_FREE char *lost = copy_lost(&t->at);

		err_set(e, ERR_STEP, COPY_AGAIN_TEXT, "all", t->name, lost);
		return err_hint(e, COPY_WHOLE_ACCEPT);
	}
	if (unlink(t->at.map) < 0 && errno != ENOENT)
		return err_sys(e, "cannot remove '%s'", t->at.map);
	return 0;
}

int target_open(const struct receiving *x, struct target *t, const struct stream_offer *o,
		struct err *e)
{
	const json_t *machine = ctx_machine(x->c);
	const json_t *spec = json_object_get(jget(machine, "source.disks"), o->disk);
	struct map_id id;

	if (!spec || !copy_wants(x->c, o->disk, spec))
		return err_set(e, ERR_STEP, "disk '%s' was offered, but it is not in the plan",
			       o->disk);
	if (layout_of_disk(machine, o->disk, &t->at, e) < 0 ||
	    check_place(o->disk, &t->at, o->size, e) < 0)
		return -1;
	snprintf(t->name, sizeof(t->name), "%s", o->disk);
	copy_map_id(&id, machine, ctx_run(x->c), o->disk, o->size, o->chunk);
	if (find_map(x, t, &id, e) < 0)
		return -1;
	t->d = t->m ? open_old(t, e) : make_new(x, t, &id, e);
	return t->d && t->m ? begin(x, t, o->base, e) : -1;
}
