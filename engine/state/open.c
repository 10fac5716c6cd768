/* SPDX-License-Identifier: Apache-2.0
 * open - open a state: look, lock, check, recover; and close it.
 */
#include "engine/state/inside.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/state/dir.h"
#include "engine/state/record.h"
#include "engine/state/verify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GIT_CACHE_BYTES (8 << 20)
#define SETTLE_EVERY 4096		/* records, while recovering */

static void mach_free(struct mach *m)
{
	json_decref(m->tree);
	for (size_t i = 0; i < m->n; i++) {
		json_decref(m->v[i].del);
		json_decref(m->v[i].set);
	}
	free(m->v);
}

static void state_free(struct state *s)
{
	for (size_t i = 0; i < s->mach_count; i++)
		mach_free(&s->machs[i]);
	free(s->machs);
	json_decref(s->index);
	json_decref(s->meta);
	repo_free(s->view);
	lock_release(&s->lock);
	free(s->dir);
	free(s->plan);
	free(s->notice);
	free(s->who);
	err_clear(&s->damage);
	free(s);
	git_libgit2_shutdown();
}

static struct state *state_new(const char *dir, const char *plan, enum state_mode mode,
			       struct loop *loop)
{
	struct state *s = mem_alloc(sizeof(*s));
	uint8_t raw[4];

	git_libgit2_init();
	git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 1);
	git_libgit2_opts(GIT_OPT_SET_CACHE_MAX_SIZE, (ssize_t)GIT_CACHE_BYTES);
	s->dir = mem_strdup(dir);
	s->plan = mem_strdup(plan);
	s->mode = mode;
	s->loop = loop;
	s->lock = (struct lock)LOCK_NONE;
	s->meta = json_object();
	s->index = json_object();
	io_random(raw, sizeof(raw));
	io_hex(raw, sizeof(raw), s->run);
	return s;
}

/* The document in git says whose it is; a clone or a copied ref may differ. */
static int lineage_check(const struct state *s, struct err *e)
{
	const char *theirs = jstr(s->meta, "lineage", s->lineage);

	if (strcmp(theirs, s->lineage) == 0)
		return 0;
	err_set(e, ERR_SYSTEM, "cannot use state '%s': refs/drover/%s/meta belongs to state "
		"%s, the directory is %s", s->dir, s->plan, theirs, s->lineage);
	return err_hint(e, "the histories of two state directories were mixed: bring back "
			"this one's, or use the other with --state DIR");
}

static int meta_load(struct state *s, struct repo *r, struct err *e)
{
	json_t *doc = repo_meta(r, e);

	if (!doc)
		return -1;
	json_decref(s->meta);
	s->meta = doc;
	s->epoch = (uint64_t)jint(doc, "epoch", 0);
	return lineage_check(s, e);
}

static int on_read_record(void *arg, const struct journal_record *rec, struct err *e)
{
	return repo_apply(arg, rec, e);
}

struct tail { struct journal_record *v; size_t n, cap; };

static int tail_keep(void *arg, const struct journal_record *rec, struct err *e)
{
	struct tail *t = arg;

	(void)e;
	t->v = mem_grow(t->v, t->n, &t->cap, sizeof(*t->v));
	t->v[t->n++] = (struct journal_record){ rec->seq, mem_strndup(rec->payload, rec->len),
		rec->len };
	return 0;
}

/* The journal first, git second: a writer that trims its journal in between has
 * put all of it in git, and what both have is passed over. */
static int open_read(struct state *s, struct err *e)
{
	AUTO_FREE char *journal = dir_journal(s->dir, s->plan);
	struct tail t = { 0 };
	int rc = dir_look(s->dir, s->lineage, e);

	if (rc == 0)		/* the one it would get: a saved preview brings it along */
		dir_draw(s->lineage);
	if (rc <= 0 || !repo_is_made(s->dir))
		return rc < 0 ? -1 : 0;
	rc = journal_read(journal, s->lineage, tail_keep, &t, NULL, e);
	if (rc == 0)
		rc = verify_objects(s->dir, false, false, e);
	if (rc == 0 && !(s->view = repo_open(s->dir, s->plan, e)))
		rc = -1;
	for (size_t i = 0; i < t.n; i++) {
		if (rc == 0)
			rc = on_read_record(s->view, &t.v[i], e);
		free((char *)(uintptr_t)t.v[i].payload);
	}
	free(t.v);
	return rc < 0 ? -1 : meta_load(s, s->view, e);
}

static int on_recover_record(void *arg, const struct journal_record *rec, struct err *e)
{
	struct repo *r = arg;

	if (repo_apply(r, rec, e) < 0)
		return -1;
	return r->meta_pending % SETTLE_EVERY == SETTLE_EVERY - 1 ?
		repo_settle(r, false, e) : 0;
}

/* Edits that wait for a commit since an earlier run was killed. */
static void rides_keep(struct state *s, const struct repo *r)
{
	for (size_t i = 0; i < r->tip_count; i++) {
		const struct tip *t = r->tips[i];

		if (t->ride_seq)
			ahead_add(mach_of(s, t->machine), t->ride_last, false, t->ride_del,
				  t->ride_set);
	}
}

static int recover(struct state *s, struct journal *j, struct repo *r, struct err *e)
{
	AUTO_FREE char *path = dir_journal(s->dir, s->plan);
	uint64_t highest = r->meta.seq;

	/* No journal: it begins behind all that git has. */
	if (access(path, F_OK) < 0 && repo_highest(r, &highest, e) < 0)
		return -1;
	if (journal_open(j, path, s->lineage, highest, on_recover_record, r, e) < 0 ||
	    repo_settle(r, true, e) < 0 || meta_load(s, r, e) < 0)
		return -1;
	if (j->last < highest)		/* an older journal was put back */
		j->last = highest;
	if (j->cut > 0)
		s->notice = mem_printf("the journal ended in %llu bytes of an unfinished "
			"record, which nobody was told of: cut", (unsigned long long)j->cut);
	s->seq = j->last;
	rides_keep(s, r);
	return 0;
}

static int epoch_raise(struct state *s, struct err *e)
{
	AUTO_JSON *meta = json_object();
	struct record r = { .kind = "run", .meta = meta };

	s->epoch++;
	jset_int(meta, "epoch", (int64_t)s->epoch);
	jset_str(meta, "lineage", s->lineage);
	state_append(s, &r, NULL, NULL);
	return writer_sync(s->writer, e);
}

static int open_write(struct state *s, const char *as, struct err *e)
{
	struct journal j = { .fd = -1 };
	struct repo *r;

	if (dir_look(s->dir, s->lineage, e) < 0 || dir_make(s->dir, e) < 0)
		return -1;
	if (lock_take(&s->lock, s->dir, s->run, clock_real.wall_s(clock_real.arg), e) < 0 ||
	    dir_make_all(s->dir, as, s->lineage, e) < 0)
		return -1;
	s->who = lock_holder(s->dir);
	repo_sweep(s->dir);
	if (dir_reserve(s->dir, e) < 0 || verify_objects(s->dir, true, true, e) < 0)
		return -1;
	r = repo_open(s->dir, s->plan, e);
	if (!r)
		return -1;
	if (repo_repack(r, e) < 0 || recover(s, &j, r, e) < 0 || !(s->view = repo_open(s->dir, s->plan, e))) {
		journal_close(&j);
		repo_free(r);
		return -1;
	}
	s->writer = writer_start(s->dir, &j, r, s->loop);
	return epoch_raise(s, e);
}

struct state *state_open(const char *dir, const char *plan, enum state_mode mode,
			 struct loop *loop, struct err *e)
{
	return state_open_as(dir, plan, mode, NULL, loop, e);
}

struct state *state_open_as(const char *dir, const char *plan, enum state_mode mode,
			    const char *lineage, struct loop *loop, struct err *e)
{
	struct state *s;

	if (!record_name_ok(plan)) {
		err_set(e, ERR_USAGE, "cannot open the state of '%s': it is no name of a plan",
			plan);
		return NULL;
	}
	s = state_new(dir, plan, mode, loop);
	if ((mode == STATE_WRITE ? open_write(s, lineage, e) : open_read(s, e)) == 0)
		return s;
	if (e && e->sys == ENOSPC && !e->hint)
		err_hint(e, "make room on that disk first: drover starts nothing that it might "
			 "not be able to record");
	state_close(s, NULL);
	return NULL;
}

int state_close(struct state *s, struct err *e)
{
	int rc = 0;

	if (!s)
		return 0;
	if (s->writer)
		rc = writer_stop(s->writer, e);
	s->writer = NULL;
	if (rc == 0 && err_is(&s->damage))
		rc = damage_tell(s, e);
	state_free(s);
	return rc;
}
