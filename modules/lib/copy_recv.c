/* SPDX-License-Identifier: Apache-2.0
 * copy_recv - passes of a machine's disks: the target's end.
 */
#include "modules/lib/copy.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A sink into a base and its map. */
struct target {
	struct sink k;
	struct layout_disk at;
	struct disk *d;
	struct map *m;
	bool broken;		/* a write failed */
	char name[72];
};

struct receiving {
	struct ctx *c;
	const struct copy_how *how;
	json_t *fact;		/* what is told as `how->fact` */
	json_t *loose;		/* its volatile part */
};

static struct target *of(struct sink *k)
{
	return (struct target *)k;
}

/* ---- the sink ------------------------------------------------------------ */

static bool t_have(struct sink *k, uint64_t index, uint8_t digest[SHA256_LEN])
{
	return map_get(of(k)->m, index, digest) != 0;
}

/* By several threads at once. */
static int wrote(struct target *t, int rc)
{
	if (rc < 0)
		__atomic_store_n(&t->broken, true, __ATOMIC_RELAXED);
	return rc;
}

static int t_data(struct sink *k, const struct stream_chunk *c, struct err *e)
{
	struct target *t = of(k);
	uint64_t at = c->index * map_id(t->m)->chunk;

	if (map_cover(t->m, c->index, 1, e) < 0)
		return -1;
	return wrote(t, t->d->ops->write(t->d, c->plain, c->plain_len, at, e));
}

static int t_zero(struct sink *k, uint64_t index, uint64_t count, struct err *e)
{
	struct target *t = of(k);
	uint64_t at = index * map_id(t->m)->chunk, n = count * map_id(t->m)->chunk;

	if (t->d->blank)
		return 0;	/* nothing was ever written there */
	if (map_cover(t->m, index, count, e) < 0)
		return -1;
	if (n > map_id(t->m)->size - at)
		n = map_id(t->m)->size - at;
	return wrote(t, t->d->ops->zero(t->d, at, n, e));
}

static int t_sync(struct sink *k, struct err *e)
{
	return wrote(of(k), of(k)->d->ops->flush(of(k)->d, e));
}

static int t_enter(struct sink *k, const struct map_update *u, size_t n, struct err *e)
{
	return map_commit(of(k)->m, u, n, e);
}

static int t_finish(struct sink *k, uint8_t root[SHA256_LEN], struct err *e)
{
	return map_finish(of(k)->m, root, e);
}

/* An image that is closed in order can be gone on with, whatever happens to the host. What
 * its format does not bear ends the copy: without a map it is begun anew. */
static int close_base(struct target *t, struct err *e)
{
	bool open = t->d != NULL;
	int rc = disk_close(&t->d, e);

	if (t->broken && t->at.boot)
		return unlink(t->at.map) < 0 ? err_sys(e, "cannot remove '%s'", t->at.map) : rc;
	return rc == 0 && open ? base_closed(&t->at, e) : rc;
}

static void target_free(struct target *t)
{
	close_base(t, NULL);
	map_close(t->m);
	layout_disk_free(&t->at);
	free(t);
}

/* ---- opening ------------------------------------------------------------- */

void copy_map_id(struct map_id *id, const json_t *machine, const json_t *run,
		 const char *disk, uint64_t size, uint32_t chunk)
{
	*id = (struct map_id){ .size = size, .chunk = chunk };
	snprintf(id->lineage, sizeof(id->lineage), "%s", jstr(run, "lineage", ""));
	snprintf(id->machine, sizeof(id->machine), "%s", jstr(machine, "name", ""));
	snprintf(id->disk, sizeof(id->disk), "%s", disk);
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
	if (is->chunk != want->chunk) {
		err_set(e, ERR_STEP, "cannot go on with disk '%s' in chunks of %u bytes: it "
			"was begun with %u", want->disk, want->chunk, is->chunk);
		return err_hint(e, "set chunk back, or drover rollback PLAN --to convert");
	}
	return 0;
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
static struct disk *make_new(struct receiving *x, struct target *t, const struct map_id *id,
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
static void begin_anew(struct receiving *x, struct target *t, struct err *why)
{
	ctx_log(x->c, "%s: the host went down while '%s' was written to, which format '%s' does "
		"not bear: it is copied anew", t->name, t->at.base, t->at.format);
	map_close(t->m);
	t->m = NULL;
	why->sys = ENOENT;
}

/* The map of the copy that is gone on with; none stays open where it is made (again). */
static int find_map(struct receiving *x, struct target *t, const struct map_id *id,
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

static int open_target(struct receiving *x, struct target *t, const struct stream_offer *o,
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

static struct sink *on_open(void *arg, const struct stream_offer *o, struct err *e)
{
	struct target *t = mem_alloc(sizeof(*t));

	t->k = (struct sink){ .have = t_have, .data = t_data, .zero = t_zero,
		.sync = t_sync, .enter = t_enter, .finish = t_finish };
	if (open_target(arg, t, o, e) == 0)
		return &t->k;
	target_free(t);
	return NULL;
}

static int on_close(void *arg, struct sink *k, const struct stream_stat *st, bool ok,
		    struct err *e)
{
	struct receiving *x = arg;
	struct target *t = of(k);
	int rc = close_base(t, e);

	if (ok && rc == 0) {
		struct copy_there there = { .base = true, .map = true,
			.size = map_id(t->m)->size, .chunk = map_id(t->m)->chunk };
		json_t *one = json_object();

		map_state(t->m, &there.state);
		jset(x->fact, t->name, copy_fact(&t->at, &there));
		jset_int(one, "changed", (int64_t)st->data);
		jset_int(one, "wire", (int64_t)st->wire);
		jset_int(one, "ms", (int64_t)st->ms);
		jset(x->loose, t->name, one);
		base_announce(x->c, &t->at);
	}
	target_free(t);
	return rc;
}

/* ---- the end of the module ------------------------------------------------ */

static bool on_cancelled(void *arg)
{
	return ctx_cancelled(((struct receiving *)arg)->c);
}

int copy_receive(struct ctx *c, const struct copy_how *h)
{
	AUTO_JSON *fact = json_object(), *loose = json_object();
	struct receiving x = { .c = c, .how = h, .fact = fact, .loose = loose };
	struct stream s = { .pipe = ctx_stream(c), .cancelled = on_cancelled, .arg = &x };
	struct stream_receiver r = { .open = on_open, .close = on_close, .arg = &x };
	AUTO_LAYOUT l = { 0 };
	AUTO_ERR e = { 0 };
	int rc;

	if (layout_of(ctx_machine(c), &l, &e) < 0 ||
	    layout_claim(&l, ctx_machine(c), ctx_run(c), &e) < 0) {
		stream_fail(&s, &e);
		return ctx_fail_err(c, &e);
	}
	while ((rc = stream_recv(&s, &r, &e)) == 1)
		;
	if (rc < 0)
		return ctx_fail_err(c, &e);
	if (h->fact)
		ctx_set_fact(c, h->fact, json_incref(fact), json_incref(loose));
	return 0;
}
