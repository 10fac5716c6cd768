/* SPDX-License-Identifier: Apache-2.0
 * staterig - see the header.
 */
#include "tests/unit/staterig.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int st_setup(void **state)
{
	struct fix *f = mem_alloc(sizeof(*f));

	strcpy(f->root, "/tmp/drover-test.XXXXXX");
	assert_non_null(mkdtemp(f->root));
	snprintf(f->dir, sizeof(f->dir), "%s/.drover", f->root);
	f->loop = loop_new(&clock_real);
	*state = f;
	return 0;
}

int st_teardown(void **state)
{
	struct fix *f = *state;

	loop_free(f->loop);
	io_remove_tree(f->root);
	free(f);
	return 0;
}

struct state *st_open(struct fix *f, enum state_mode mode)
{
	AUTO_ERR e = { 0 };
	struct state *s = state_open(f->dir, "erp", mode, f->loop, &e);

	if (!s)
		fail_msg("%s", e.what);
	return s;
}

void st_close(struct state *s)
{
	AUTO_ERR e = { 0 };

	if (state_close(s, &e) < 0)
		fail_msg("%s", e.what);
}

void st_flush(struct state *s)
{
	AUTO_ERR e = { 0 };

	if (state_flush(s, &e) < 0)
		fail_msg("%s", e.what);
}

/* Opening must fail; the whole message is compared up to `rest`. */
void st_open_fails(struct fix *f, enum state_mode mode, enum err_kind kind,
		       const char *message)
{
	AUTO_ERR e = { 0 };

	if (state_open(f->dir, "erp", mode, f->loop, &e))
		fail_msg("the state was opened, not refused: %s", message);
	assert_int_equal(e.kind, kind);
	assert_non_null(e.hint);
	if (!strstr(e.what, message))
		fail_msg("'%s' is not in '%s'", message, e.what);
}

/* set is "path=text" or NULL. */
void st_put(struct state *s, const char *machine, const char *subject, const char *set,
		const char *trailers)
{
	AUTO_JSON *o = set ? json_object() : NULL;
	AUTO_JSON *t = trailers ? json_loads(trailers, 0, NULL) : NULL;
	AUTO_FREE char *path = set ? mem_strndup(set, strcspn(set, "=")) : NULL;
	struct record r = { .machine = machine, .kind = "outcome", .step = "convert.disks",
		.subject = subject, .set = o, .trailers = t };

	if (set)
		json_object_set_new(o, path, json_string(strchr(set, '=') + 1));
	state_append(s, &r, NULL, NULL);
}

void st_put_meta(struct state *s, const char *edits)
{
	AUTO_JSON *m = json_loads(edits, 0, NULL);
	struct record r = { .kind = "note", .meta = m };

	assert_non_null(m);
	state_append(s, &r, NULL, NULL);
}

void st_put_del(struct state *s, const char *machine, const char *path)
{
	AUTO_JSON *d = json_pack("[s]", path);
	struct record r = { .machine = machine, .kind = "undo", .subject = "removed",
		.del = d };

	state_append(s, &r, NULL, NULL);
}

/* git's own opinion: stdout of `git ARGS` in the state; caller frees. */
char *st_git(struct fix *f, const char *a, const char *b, const char *c)
{
	const char *argv[] = { "git", "-c", "safe.directory=*", "-C", f->dir, a, b, c, NULL };
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	AUTO_ERR e = { 0 };
	char *out;

	if (proc_run(&p, &e) < 0)
		fail_msg("%s", e.what);
	out = mem_strdup(p.out.s ? p.out.s : "");
	proc_free(&p);
	return out;
}

void st_fsck(struct fix *f)
{
	free(st_git(f, "fsck", "--full", "--strict"));
}

int st_count(const struct state_commit *c, void *arg)
{
	(void)c;
	(*(int *)arg)++;
	return 0;
}

int st_log_length(struct state *s, const char *machine)
{
	AUTO_ERR e = { 0 };
	int n = 0;

	if (state_log(s, machine, st_count, &n, &e) < 0)
		fail_msg("%s", e.what);
	return n;
}

void st_hear(void *arg, struct err *e)
{
	struct st_heard *h = arg;

	h->n++;
	if (e && !h->error)
		h->error = mem_strdup(e->what);
}
