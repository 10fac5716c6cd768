/* SPDX-License-Identifier: Apache-2.0
 * repo - commits from records, branches by compare-and-swap.
 */
#include "engine/state/repo.h"
#include "engine/base/mem.h"
#include "engine/state/giterr.h"
#include "engine/state/record.h"
#include "engine/state/tree.h"

#include <git2/sys/repository.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char no_reader[] = "it was damaged, or changed by another program";

/* ---- opening ---------------------------------------------------------------- */

static int open_failed(const char *dir, int rc, struct err *e)
{
	struct stat st;

	/* libgit2 says so in two ways, depending on the user's configuration. */
	if (rc != GIT_EOWNER && stat(dir, &st) == 0 && st.st_uid == geteuid()) {
		giterr(e, "cannot open state '%s'", dir);
		return err_hint(e, "%s; `git -C %s fsck` says more", no_reader, dir);
	}
	err_set(e, ERR_SYSTEM, "cannot open state '%s': it belongs to another user", dir);
	return err_hint(e, "run drover as that user, or give it to this one: "
			"chown -R \"$(id -u)\" %s", dir);
}

/* open_ext with NO_SEARCH: never a repository further up. */
static int git_open(struct repo *r, struct err *e)
{
	int rc = git_repository_open_ext(&r->git, r->dir, GIT_REPOSITORY_OPEN_NO_SEARCH |
					 GIT_REPOSITORY_OPEN_BARE, NULL);
	git_odb *odb;

	if (rc < 0)
		return open_failed(r->dir, rc, e);
	odb = store_open(r->dir, &r->store, e);
	if (!odb)
		return -1;
	rc = git_repository_set_odb(r->git, odb);
	git_odb_free(odb);		/* git holds it now */
	return rc < 0 ? open_failed(r->dir, rc, e) : 0;
}

static void tip_clear(struct tip *t)
{
	free(t->machine);
	free(t->ref);
	json_decref(t->ride_del);
	json_decref(t->ride_set);
	*t = (struct tip){ 0 };
}

static void tips_free(struct repo *r)
{
	for (size_t i = 0; i < r->tip_count; i++) {
		tip_clear(r->tips[i]);
		free(r->tips[i]);
	}
	r->tip_count = 0;
	json_object_clear(r->tip_index);
	tip_clear(&r->meta);
}

/* Where the branch stands, what its commit holds. */
static int tip_load(struct repo *r, struct tip *t, struct err *e)
{
	AUTO_GIT(git_commit) *c = NULL;
	int rc = git_reference_name_to_id(&t->id, r->git, t->ref);

	if (rc == GIT_ENOTFOUND) {
		t->id = (git_oid){ { 0 } };
		return 0;
	}
	if (rc == 0)
		rc = git_commit_lookup(&c, r->git, &t->id);
	if (rc < 0) {
		giterr(e, "cannot read '%s' of state '%s'", t->ref, r->dir);
		return err_hint(e, "%s; `git -C %s fsck` says more", no_reader, r->dir);
	}
	AUTO_JSON *trailers = message_trailers(git_commit_message(c), NULL);

	t->on_disk = t->id;
	t->tree = *git_commit_tree_id(c);
	t->seq = strtoull(jstr(trailers, "Seq", "0"), NULL, 10);
	return 0;
}

int repo_refresh(struct repo *r, struct err *e)
{
	tips_free(r);
	store_drop(r->store);
	r->meta.ref = mem_printf("refs/drover/%s/meta", r->plan);
	return tip_load(r, &r->meta, e);
}

struct repo *repo_open(const char *dir, const char *plan, struct err *e)
{
	struct repo *r = mem_alloc(sizeof(*r));

	r->dir = mem_strdup(dir);
	r->plan = mem_strdup(plan);
	r->tip_index = json_object();
	r->meta_edits = json_object();
	if (git_open(r, e) < 0 || repo_refresh(r, e) < 0) {
		repo_free(r);
		return NULL;
	}
	r->seq = r->meta.seq;
	return r;
}

void repo_free(struct repo *r)
{
	if (!r)
		return;
	tips_free(r);
	free(r->tips);
	json_decref(r->tip_index);
	json_decref(r->meta_edits);
	git_repository_free(r->git);
	free(r->dir);
	free(r->plan);
	free(r);
}

/* ---- tips ------------------------------------------------------------------- */

struct tip *repo_tip(struct repo *r, const char *machine, struct err *e)
{
	json_t *at = json_object_get(r->tip_index, machine);
	struct tip *t;

	if (at)
		return r->tips[json_integer_value(at)];
	t = mem_alloc(sizeof(*t));
	t->machine = mem_strdup(machine);
	t->ref = mem_printf("refs/heads/%s/%s/main", r->plan, machine);
	if (tip_load(r, t, e) < 0) {
		tip_clear(t);
		free(t);
		return NULL;
	}
	r->tips = mem_grow(r->tips, r->tip_count, &r->tip_cap, sizeof(*r->tips));
	jset_int(r->tip_index, machine, (int64_t)r->tip_count);
	r->tips[r->tip_count++] = t;
	return t;
}

/* The machine's name in refs/heads/<plan>/<machine>/main; caller frees. */
static char *ref_machine(const struct repo *r, const char *ref)
{
	AUTO_FREE char *prefix = mem_printf("refs/heads/%s/", r->plan);
	size_t n = strlen(prefix);
	const char *slash;

	if (strncmp(ref, prefix, n) != 0)
		return NULL;
	slash = strchr(ref + n, '/');
	if (!slash || strcmp(slash, "/main") != 0)
		return NULL;
	return mem_strndup(ref + n, (size_t)(slash - ref) - n);
}

json_t *repo_machines(struct repo *r, struct err *e)
{
	AUTO_FREE char *glob = mem_printf("refs/heads/%s/*/main", r->plan);
	AUTO_GIT(git_reference_iterator) *it = NULL;
	AUTO_JSON *names = json_object();
	json_t *out;
	const char *ref, *key;
	json_t *v;
	int rc = git_reference_iterator_glob_new(&it, r->git, glob);

	while (rc == 0 && (rc = git_reference_next_name(&ref, it)) == 0) {
		AUTO_FREE char *name = ref_machine(r, ref);

		if (name)
			json_object_set_new(names, name, json_true());
	}
	if (rc < 0 && rc != GIT_ITEROVER) {
		giterr(e, "cannot list the branches of state '%s'", r->dir);
		return NULL;
	}
	for (size_t i = 0; i < r->tip_count; i++)
		if (!git_oid_is_zero(&r->tips[i]->id))
			json_object_set_new(names, r->tips[i]->machine, json_true());
	out = json_array();
	json_object_foreach(names, key, v)
		jadd(out, json_string(key));
	return out;
}

int repo_highest(struct repo *r, uint64_t *seq, struct err *e)
{
	AUTO_JSON *names = repo_machines(r, e);
	size_t i;
	json_t *v;

	*seq = r->meta.seq;
	if (!names)
		return -1;
	json_array_foreach(names, i, v) {
		const struct tip *t = repo_tip(r, json_string_value(v), e);

		if (!t)
			return -1;
		if (t->seq > *seq)
			*seq = t->seq;
	}
	return 0;
}

/* ---- commits ---------------------------------------------------------------- */

int repo_commit(struct repo *r, struct tip *t, const git_oid *tree, int64_t at,
		const char *message, uint64_t seq, struct err *e)
{
	AUTO_STR c = { 0 };
	char hex[41];
	git_oid id;
	git_odb *odb = NULL;
	int rc;

	str_addf(&c, "tree %s\n", git_oid_tostr(hex, sizeof(hex), tree));
	if (!git_oid_is_zero(&t->id))
		str_addf(&c, "parent %s\n", git_oid_tostr(hex, sizeof(hex), &t->id));
	for (int i = 0; i < 2; i++)
		str_addf(&c, "%s drover <drover@localhost> %lld +0000\n",
			 i ? "committer" : "author", (long long)at);
	str_addc(&c, '\n');
	str_add(&c, message);
	rc = git_repository_odb(&odb, r->git);
	if (rc == 0)
		rc = git_odb_write(&id, odb, c.s, c.len, GIT_OBJECT_COMMIT);
	git_odb_free(odb);
	if (rc < 0)
		return giterr(e, "cannot make a commit on '%s'", t->ref);
	t->id = id;
	t->tree = *tree;
	t->seq = seq;
	return 0;
}

static void ride_add(struct tip *t, const json_t *rec, uint64_t seq)
{
	json_t *del = json_object_get(rec, "del");

	if (!t->ride_set) {
		t->ride_set = json_object();
		t->ride_del = json_array();
	}
	if (t->ride_seq == 0)
		t->ride_seq = seq;
	t->ride_last = seq;
	tree_apply(t->ride_set, del, json_object_get(rec, "set"));
	if (del)
		json_array_extend(t->ride_del, del);
}

static void ride_clear(struct tip *t)
{
	json_decref(t->ride_del);
	json_decref(t->ride_set);
	t->ride_del = t->ride_set = NULL;
	t->ride_seq = t->ride_last = 0;
}

static int machine_apply(struct repo *r, const json_t *rec, uint64_t seq, struct err *e)
{
	struct tip *t = repo_tip(r, jstr(rec, "machine", ""), e);
	AUTO_FREE char *message = NULL;
	git_oid tree;

	if (!t)
		return -1;
	if (seq <= t->seq || seq <= t->ride_last)
		return 0;
	if (json_object_get(rec, "set") || json_object_get(rec, "del"))
		ride_add(t, rec, seq);
	if (!json_object_get(rec, "subject"))
		return 0;
	message = record_message(rec, seq);
	if (tree_edit(r->git, git_oid_is_zero(&t->id) ? NULL : &t->tree, t->ride_del,
		      t->ride_set, &tree, e) < 0 ||
	    repo_commit(r, t, &tree, jint(rec, "at", 0), message, seq, e) < 0)
		return -1;
	ride_clear(t);
	return 0;
}

int repo_apply(struct repo *r, const struct journal_record *rec, struct err *e)
{
	AUTO_JSON *o = json_loadb(rec->payload, rec->len, 0, NULL);
	const char *key;
	json_t *v;

	if (!json_is_object(o))
		return err_set(e, ERR_SYSTEM, "cannot use record %llu of plan '%s': "
			       "it is no JSON object", (unsigned long long)rec->seq, r->plan);
	if (json_object_get(o, "machine") && machine_apply(r, o, rec->seq, e) < 0)
		return -1;
	if (rec->seq > r->seq)
		r->seq = rec->seq;
	if (rec->seq <= r->meta.seq)
		return 0;
	json_object_foreach(jget(o, "meta"), key, v) {
		json_object_del(r->meta_edits, key);	/* keeps the order of edits */
		json_object_set(r->meta_edits, key, v);
	}
	r->meta_at = jint(o, "at", 0);
	r->meta_pending++;
	return 0;
}

/* ---- settling --------------------------------------------------------------- */

static int ref_move(struct repo *r, struct tip *t, struct err *e)
{
	AUTO_GIT(git_reference) *ref = NULL;
	bool fresh = git_oid_is_zero(&t->on_disk);
	int rc;

	if (git_oid_equal(&t->id, &t->on_disk))
		return 0;
	rc = git_reference_create_matching(&ref, r->git, t->ref, &t->id, !fresh,
					   fresh ? NULL : &t->on_disk, NULL);
	if (rc == GIT_EMODIFIED || rc == GIT_EEXISTS) {
		err_set(e, ERR_SYSTEM, "cannot record in '%s' of state '%s': another program "
			"has moved it", t->ref, r->dir);
		return err_hint(e, "the journal holds what is missing; put the branch back "
				"where it was, then repeat the command");
	}
	if (rc < 0)
		return giterr(e, "cannot move '%s' of state '%s'", t->ref, r->dir);
	if (fresh && repo_sync_above(r->dir, t->ref) < 0)
		return err_sys(e, "cannot sync '%s' of state '%s'", t->ref, r->dir);
	t->on_disk = t->id;
	return 0;
}

int repo_settle(struct repo *r, bool with_meta, struct err *e)
{
	if (with_meta && r->seq > r->meta.seq && repo_meta_commit(r, e) < 0)
		return -1;
	if (store_staged(r->store) > 0 && store_settle(r->store, r->git, e) < 0)
		return -1;
	for (size_t i = 0; i < r->tip_count; i++)
		if (ref_move(r, r->tips[i], e) < 0)
			return -1;
	return ref_move(r, &r->meta, e);
}

uint64_t repo_settled(const struct repo *r)
{
	uint64_t seq = r->seq;

	for (size_t i = 0; i < r->tip_count; i++)
		if (r->tips[i]->ride_seq && r->tips[i]->ride_seq <= seq)
			seq = r->tips[i]->ride_seq - 1;
	return seq;
}
