/* SPDX-License-Identifier: Apache-2.0
 * state - append, and what is known now. Opening and closing are in open.c.
 */
#include "engine/state/inside.h"
#include "engine/base/mem.h"
#include "engine/state/lock.h"
#include "engine/state/record.h"
#include "engine/state/tree.h"

#include <stdlib.h>
#include <string.h>

const char *state_run_id(const struct state *s) { return s->run; }
uint64_t state_epoch(const struct state *s) { return s->epoch; }
const char *state_who(const struct state *s) { return s->who ? s->who : ""; }
const char *state_lineage(const struct state *s) { return s->lineage; }
const char *state_notice(const struct state *s) { return s->notice; }
const json_t *state_meta(const struct state *s) { return s->meta; }
char *state_holder(const char *dir) { return lock_holder(dir); }
int state_offer(struct state *s, struct err *e) { return lock_offer(&s->lock, e); }
bool state_wanted(const struct state *s) { return lock_wanted(&s->lock); }
bool state_offered(const char *dir) { return lock_offered(dir); }
int state_ask(const char *dir, struct err *e) { return lock_ask(dir, e); }

bool state_is_empty(const struct state *s)
{
	return json_object_size(s->meta) == 0;
}

int state_flush(struct state *s, struct err *e)
{
	return s->writer ? writer_flush(s->writer, e) : 0;
}

/* ---- what is known of a machine's tree ------------------------------------------ */

struct mach *mach_of(struct state *s, const char *name)
{
	json_t *at = json_object_get(s->index, name);

	if (at)
		return &s->machs[json_integer_value(at)];
	s->machs = mem_grow(s->machs, s->mach_count, &s->mach_cap, sizeof(*s->machs));
	s->machs[s->mach_count] = (struct mach){ 0 };
	jset_int(s->index, name, (int64_t)s->mach_count);
	return &s->machs[s->mach_count++];
}

void ahead_add(struct mach *m, uint64_t seq, bool commits, const json_t *del,
	       const json_t *set)
{
	m->v = mem_grow(m->v, m->n, &m->cap, sizeof(*m->v));
	m->v[m->n++] = (struct ahead){ seq, commits, json_deep_copy(del),
		json_deep_copy(set) };
}

int damage_tell(const struct state *s, struct err *e)
{
	err_set(e, s->damage.kind, "%s", s->damage.what);
	return s->damage.hint ? err_hint(e, "%s", s->damage.hint) : -1;
}

/* Forget what is in commits that git has. */
static void ahead_prune(struct mach *m, uint64_t in_git)
{
	size_t keep = 0;

	for (size_t i = 0; i < m->n; i++)
		if (m->v[i].commits && m->v[i].seq <= in_git)
			keep = i + 1;
	for (size_t i = 0; i < keep; i++) {
		json_decref(m->v[i].del);
		json_decref(m->v[i].set);
	}
	if (keep > 0)
		memmove(m->v, m->v + keep, (m->n - keep) * sizeof(*m->v));
	m->n -= keep;
}

static void mach_edit(struct state *s, const struct record *r, uint64_t seq)
{
	struct mach *m = mach_of(s, r->machine);

	if (m->tree) {
		tree_apply(m->tree, r->del, r->set);
		return;
	}
	ahead_prune(m, writer_in_git(s->writer));
	ahead_add(m, seq, r->subject != NULL, r->del, r->set);
}

/* The newest commit's files, and the edits it does not hold. */
static json_t *tree_load(struct state *s, const char *machine, struct mach *m, struct err *e)
{
	AUTO_ERR own = { 0 };
	struct tip *t = NULL;
	json_t *tree = NULL;

	if (s->mode == STATE_READ || repo_refresh(s->view, &own) == 0)
		t = repo_tip(s->view, machine, &own);
	if (t)
		tree = git_oid_is_zero(&t->id) ? json_object() :
			tree_read(s->view->git, &t->tree, &own);
	if (!tree) {
		err_move(e, &own);
		return NULL;
	}
	tree_apply(tree, t->ride_del, t->ride_set);
	for (size_t i = 0; i < m->n; i++)
		if (m->v[i].seq > t->seq)
			tree_apply(tree, m->v[i].del, m->v[i].set);
	return tree;
}

/* A tree that cannot be read must not look like one that is empty: whoever asks
 * without an error of his own cannot append any more. */
static const json_t *tree_known(struct state *s, const char *machine, struct err *e)
{
	AUTO_ERR own = { 0 };
	struct mach *m;

	if (!s->view || !record_name_ok(machine))
		return NULL;
	m = mach_of(s, machine);
	if (!m->tree) {
		m->tree = tree_load(s, machine, m, &own);
		if (m->tree) {
			ahead_prune(m, UINT64_MAX);
		} else {
			err_move(&s->damage, &own);
			damage_tell(s, e);
		}
	}
	return m->tree;
}

const json_t *state_tree(const struct state *s, const char *machine)
{
	const json_t *tree = tree_known((struct state *)(uintptr_t)s, machine, NULL);

	return json_object_size(tree) > 0 ? tree : NULL;
}

int state_tree_id(struct state *s, const char *machine, char hex[41], struct err *e)
{
	AUTO_ERR own = { 0 };
	const json_t *tree = tree_known(s, machine, &own);
	git_oid id;

	if (err_is(&own)) {
		err_move(e, &own);
		return -1;
	}
	if (!s->view)
		return err_set(e, ERR_SYSTEM, "cannot tell the tree of '%s': state '%s' "
			       "does not exist", machine, s->dir);
	if (tree_edit(s->view->git, NULL, NULL, tree, &id, e) < 0)
		return -1;
	git_oid_tostr(hex, 41, &id);
	if (s->mode == STATE_WRITE)
		store_drop(s->view->store);
	return 0;
}

int state_view(struct state *s, struct err *e)
{
	if (s->mode == STATE_READ)
		return 0;
	return state_flush(s, e) < 0 ? -1 : repo_refresh(s->view, e);
}

/* ---- appending ------------------------------------------------------------------ */

void state_append(struct state *s, const struct record *r,
		  void (*on_durable)(void *arg, struct err *e), void *arg)
{
	const struct clock *clock = loop_clock(s->loop);
	AUTO_ERR e = { 0 };
	size_t len;
	char *payload = record_encode(r, s->run, clock->wall_s(clock->arg), &len, &e);
	bool starts = strcmp(r->kind, "intent") == 0 || strcmp(r->kind, "begin") == 0;

	if (err_is(&s->damage))
		damage_tell(s, &e);
	if (!payload || err_is(&e)) {
		free(payload);
		writer_refuse(s->writer, &e, on_durable, arg);
		return;
	}
	s->seq++;
	meta_apply(s->meta, r->meta);
	if (r->machine && (r->set || r->del || r->subject))
		mach_edit(s, r, s->seq);
	writer_put(s->writer, s->seq, payload, len, starts, on_durable, arg);
}
