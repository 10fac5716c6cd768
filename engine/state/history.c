/* SPDX-License-Identifier: Apache-2.0
 * history - what git tells: log, show, diff, the beginning of a phase.
 */
#include "engine/state/inside.h"
#include "engine/base/mem.h"
#include "engine/base/phase.h"
#include "engine/state/giterr.h"
#include "engine/state/record.h"
#include "engine/state/tree.h"

#include <stdlib.h>
#include <string.h>

/* One commit, read. */
struct commit {
	git_oid id, tree, parent;	/* parent: zero for the first */
	int64_t when;
	uint64_t seq;
	char *subject;			/* owned */
	json_t *trailers;		/* owned */
};

static void commit_clear(struct commit *c)
{
	free(c->subject);
	json_decref(c->trailers);
	*c = (struct commit){ 0 };
}

#define AUTO_COMMIT __attribute__((cleanup(commit_clear))) struct commit

static int commit_read(struct state *s, const git_oid *id, struct commit *out, struct err *e)
{
	AUTO_GIT(git_commit) *c = NULL;
	const git_oid *parent;
	char hex[41];

	if (git_commit_lookup(&c, s->view->git, id) < 0) {
		giterr(e, "cannot read commit %s of state '%s'",
		       git_oid_tostr(hex, sizeof(hex), id), s->dir);
		return err_hint(e, "`git -C %s fsck` says what is damaged", s->dir);
	}
	parent = git_commit_parent_id(c, 0);
	out->id = *id;
	out->tree = *git_commit_tree_id(c);
	out->parent = parent ? *parent : (git_oid){ { 0 } };
	out->when = git_commit_time(c);
	out->trailers = message_trailers(git_commit_message(c), &out->subject);
	out->seq = strtoull(jstr(out->trailers, "Seq", "0"), NULL, 10);
	return 0;
}

/* ---- walking one machine ------------------------------------------------------- */

typedef bool wanted_fn(const struct commit *c, void *arg);	/* true: stop here */

/* From the tip back to the first commit that is wanted. 1 found, 0 none, -1. */
static int walk(struct state *s, const char *machine, wanted_fn *wanted, void *arg,
		struct commit *found, struct err *e)
{
	struct tip *t = repo_tip(s->view, machine, e);
	git_oid id;

	if (!t)
		return -1;
	for (id = t->id; !git_oid_is_zero(&id); id = found->parent) {
		commit_clear(found);
		if (commit_read(s, &id, found, e) < 0)
			return -1;
		if (wanted(found, arg))
			return 1;
	}
	return 0;
}

static bool begins(const struct commit *c, void *arg)
{
	return strcmp(jstr(c->trailers, "Begins", ""), arg) == 0;
}

static bool at_distance(const struct commit *c, void *arg)
{
	unsigned long *left = arg;

	(void)c;
	return (*left)-- == 0;
}

static bool has_prefix(const struct commit *c, void *arg)
{
	char hex[41];

	return strncmp(git_oid_tostr(hex, sizeof(hex), &c->id), arg, strlen(arg)) == 0;
}

int state_begin_id(struct state *s, const char *machine, const char *phase, char hex[41],
		   struct err *e)
{
	AUTO_COMMIT c = { 0 };
	int rc;

	if (!s->view || !record_name_ok(machine))
		return 0;
	if (state_view(s, e) < 0)
		return -1;
	rc = walk(s, machine, begins, (void *)(uintptr_t)phase, &c, e);
	if (rc == 1)
		git_oid_tostr(hex, 41, &c.tree);
	return rc;
}

/* ---- naming a revision ----------------------------------------------------------- */

static int no_such(struct state *s, const char *machine, const char *rev, struct err *e)
{
	err_set(e, ERR_USAGE, "cannot find '%s' in the history of '%s'", rev, machine);
	return err_hint(e, "name HEAD, HEAD~N, a phase (%s, ... %s: its beginning) or a commit "
			"as `drover log` shows it; state '%s'", phase_names[0],
			phase_names[PHASE_COUNT - 1], s->dir);
}

static int rev_find(struct state *s, const char *machine, const char *rev, struct commit *c,
		    struct err *e)
{
	unsigned long back = 0;
	char *end = NULL;
	int rc;

	if (strncmp(rev, "HEAD", 4) == 0 && (!rev[4] || (rev[4] == '~' && rev[5] >= '0' &&
							 rev[5] <= '9'))) {
		if (rev[4])
			back = strtoul(rev + 5, &end, 10);
		if (end && *end)
			return no_such(s, machine, rev, e);
		rc = walk(s, machine, at_distance, &back, c, e);
	} else if (phase_of(rev) >= 0) {
		rc = walk(s, machine, begins, (void *)(uintptr_t)rev, c, e);
	} else if (strlen(rev) >= 4 && strspn(rev, "0123456789abcdef") == strlen(rev)) {
		rc = walk(s, machine, has_prefix, (void *)(uintptr_t)rev, c, e);
	} else {
		rc = 0;
	}
	return rc < 0 ? -1 : rc == 0 ? no_such(s, machine, rev, e) : 0;
}

/* The machine has a history that can be read. */
static int machine_check(struct state *s, const char *machine, struct err *e)
{
	const struct tip *t = NULL;

	if (s->view && state_view(s, e) < 0)
		return -1;
	if (s->view && record_name_ok(machine) && !(t = repo_tip(s->view, machine, e)))
		return -1;
	if (t && !git_oid_is_zero(&t->id))
		return 0;
	err_set(e, ERR_USAGE, "cannot find '%s' in state '%s': nothing was recorded of it",
		machine, s->dir);
	return err_hint(e, "`drover run PLAN` begins its history");
}

/* ---- show and diff ---------------------------------------------------------------- */

json_t *state_show(struct state *s, const char *machine, const char *rev, const char *path,
		   struct err *e)
{
	AUTO_COMMIT c = { 0 };
	AUTO_FREE char *text = NULL;
	AUTO_ERR own = { 0 };
	size_t len;

	if (machine_check(s, machine, e) < 0 || rev_find(s, machine, rev, &c, e) < 0)
		return NULL;
	if (!path)
		return tree_list(s->view->git, &c.tree, e);
	text = tree_file(s->view->git, &c.tree, path, &len, &own);
	if (text)
		return jtext(text, len);
	if (err_is(&own)) {
		err_move(e, &own);
		return NULL;
	}
	err_set(e, ERR_USAGE, "cannot show '%s' of '%s': it is not there at %s", path, machine,
		rev);
	err_hint(e, "without a path the names of all are listed");
	return NULL;
}

static int diff_text(struct state *s, const git_oid *a, const git_oid *b, git_buf *out)
{
	AUTO_GIT(git_tree) *ta = NULL, *tb = NULL;
	AUTO_GIT(git_diff) *d = NULL;

	if (git_tree_lookup(&ta, s->view->git, a) < 0 ||
	    git_tree_lookup(&tb, s->view->git, b) < 0 ||
	    git_diff_tree_to_tree(&d, s->view->git, ta, tb, NULL) < 0)
		return -1;
	return git_diff_to_buf(out, d, GIT_DIFF_FORMAT_PATCH);
}

char *state_diff(struct state *s, const char *machine, const char *rev_a, const char *rev_b,
		 struct err *e)
{
	AUTO_COMMIT a = { 0 }, b = { 0 };
	git_buf buf = { 0 };
	char *text = NULL;

	if (machine_check(s, machine, e) < 0 || rev_find(s, machine, rev_a, &a, e) < 0 ||
	    rev_find(s, machine, rev_b, &b, e) < 0)
		return NULL;
	if (diff_text(s, &a.tree, &b.tree, &buf) < 0)
		giterr(e, "cannot compare %s and %s of '%s'", rev_a, rev_b, machine);
	else
		text = mem_strndup(buf.ptr ? buf.ptr : "", buf.size);
	git_buf_dispose(&buf);
	return text;
}

/* ---- log: all machines, newest record first ---------------------------------------- */

struct head { const char *machine; struct commit c; };

static void head_down(struct head *v, size_t n, size_t i)
{
	for (size_t kid; (kid = 2 * i + 1) < n; i = kid) {
		struct head tmp;

		if (kid + 1 < n && v[kid + 1].c.seq > v[kid].c.seq)
			kid++;
		if (v[i].c.seq >= v[kid].c.seq)
			return;
		tmp = v[i];
		v[i] = v[kid];
		v[kid] = tmp;
	}
}

static int heads_add(struct state *s, struct head *v, size_t *n, const char *machine,
		     struct err *e)
{
	struct tip *t = repo_tip(s->view, machine, e);

	if (!t)
		return -1;
	if (git_oid_is_zero(&t->id))
		return 0;
	v[*n] = (struct head){ t->machine, { .when = 0 } };
	if (commit_read(s, &t->id, &v[*n].c, e) < 0)
		return -1;
	(*n)++;
	return 0;
}

static int tell(const struct head *h, int (*fn)(const struct state_commit *c, void *arg),
		void *arg)
{
	struct state_commit out = { .machine = h->machine, .when = h->c.when,
		.subject = h->c.subject, .trailers = h->c.trailers };

	git_oid_tostr(out.id, sizeof(out.id), &h->c.id);
	git_oid_tostr(out.tree, sizeof(out.tree), &h->c.tree);
	return fn(&out, arg);
}

/* A heap of one commit per machine by record number; 0, or -1 with e. */
static int heads_run(struct state *s, struct head *v, size_t *n,
		     int (*fn)(const struct state_commit *c, void *arg), void *arg,
		     struct err *e)
{
	for (size_t i = *n / 2; i-- > 0;)
		head_down(v, *n, i);
	while (*n > 0) {
		git_oid parent = v[0].c.parent;

		if (tell(&v[0], fn, arg) != 0)
			return 0;
		commit_clear(&v[0].c);
		if (git_oid_is_zero(&parent)) {
			v[0] = v[--*n];
			v[*n].c = (struct commit){ 0 };
		} else if (commit_read(s, &parent, &v[0].c, e) < 0) {
			return -1;
		}
		head_down(v, *n, 0);
	}
	return 0;
}

int state_log(struct state *s, const char *machine,
	      int (*fn)(const struct state_commit *c, void *arg), void *arg, struct err *e)
{
	AUTO_JSON *names = NULL;
	AUTO_FREE struct head *v = NULL;
	size_t i, n = 0;
	json_t *name;
	int rc = 0;

	if (!s->view || (machine && !record_name_ok(machine)))
		return 0;
	if (state_view(s, e) < 0)
		return -1;
	names = machine ? json_pack("[s]", machine) : repo_machines(s->view, e);
	if (!names)
		return -1;
	v = mem_alloc((json_array_size(names) + 1) * sizeof(*v));
	json_array_foreach(names, i, name)
		if ((rc = heads_add(s, v, &n, json_string_value(name), e)) < 0)
			break;
	if (rc == 0)
		rc = heads_run(s, v, &n, fn, arg, e);
	while (n-- > 0)
		commit_clear(&v[n].c);
	return rc;
}
