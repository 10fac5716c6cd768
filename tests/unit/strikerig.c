/* SPDX-License-Identifier: Apache-2.0
 * strikerig - see the header.
 */
#include "tests/unit/strikerig.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/convertrig.h"
#include "tests/unit/modtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int sk_set_up(void **state)
{
	struct strikerig *r = mem_alloc(sizeof(*r));
	AUTO_FREE char *p = mem_alloc(SK_SIZE);

	r->strike = *state;	/* what the table of tests says */
	r->strike->unsynced = 0;	/* a test that failed may have left these */
	r->strike->cached = false;
	r->strike->bad_end = 0;
	strcpy(r->dir, "/tmp/drover-test.killed.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	r->src = mem_printf("%s/src.raw", r->dir);
	r->home = mem_printf("%s/erp", r->dir);
	r->base = mem_printf("%s/root.base.raw", r->home);
	memset(p, 'x', SK_SIZE);
	memset(p + 2 * SK_CHUNK, 0, SK_CHUNK);
	assert_int_equal(io_write_file(AT_FDCWD, r->src, p, SK_SIZE, 0600), 0);
	*state = r;
	return 0;
}

int sk_tear_down(void **state)
{
	struct strikerig *r = *state;

	sk_loop_end(&r->from);
	sk_loop_end(&r->to);
	assert_int_equal(io_remove_tree(r->dir), 0);
	free(r->src);
	free(r->home);
	free(r->base);
	free(r);
	return 0;
}

/* ---- the calls ---------------------------------------------------------------------- */

json_t *sk_input(const struct strikerig *r, const char *role)
{
	json_t *rows = r->to ? json_pack("{s:{s:s,s:s}}", "root", "path", r->to, "format", "raw") :
		json_object();

	return json_pack("{s:{s:i,s:i,s:s},s:{},s:s,"
			 "s:{s:s,s:{s:s,s:s,s:{s:{s:s,s:s,s:b}}},s:{s:s,s:s,s:s,s:b,s:o}},"
			 "s:{s:s,s:s,s:s,s:i,s:s,s:s,s:b}}",
			 "args", "passes", 2, "chunk", (int)SK_CHUNK, "changes", "digest",
			 "facts", "role", role,
			 "machine", "name", "erp",
			 "source", "host", "a", "kind", r->from ? "block" : "image", "disks",
			 "root", r->from ? "path" : "image", r->from ? r->from : r->src,
			 "format", "raw", "copy", 1,
			 "target", "host", "b", "dir", r->dir, "format", "raw", "replace", 0,
			 "disks", rows,
			 "run", "plan", "p", "plan_dir", "/", "run", "abcd1234", "epoch", 1,
			 "lineage", cv_lineage(), "step", "convert.disks",
			 "preview", 0);
}

static bool good(struct strikerig *r, json_t *result)
{
	bool ok = jbool(result, "ok", false);

	snprintf(r->said, sizeof(r->said), "%s", jstr(result, "error.text", ""));
	json_decref(result);
	return ok;
}

bool sk_copies(struct strikerig *r, int at)
{
	struct modtest_end end[2] = {
		{ .module = "convert.disks", .in = sk_input(r, "source") },
		{ .module = "convert.disks", .in = sk_input(r, "target") },
	};

	r->strike->left = at;
	modtest_both(end);
	r->came = r->strike->left < 0;
	r->strike->left = -1;
	for (int i = 0; i < 2; i++) {
		json_decref(end[i].in);
		json_decref(end[i].events);
	}
	json_decref(end[0].out);
	return good(r, end[1].out);
}

bool sk_undoes(struct strikerig *r, int at)
{
	AUTO_JSON *in = sk_input(r, "target");
	json_t *out;

	r->strike->left = at;
	out = modtest_call("convert.disks", "undo", in, NULL);
	r->strike->left = -1;
	return good(r, out);
}

/* ---- the disk ------------------------------------------------------------------------- */

void sk_scribble(struct strikerig *r, int k)
{
	AUTO_FD fd = open(r->src, O_WRONLY | O_CLOEXEC);

	assert_int_equal(io_pwrite_full(fd, &k, sizeof(k), (uint64_t)(k % 7) * SK_CHUNK + 9), 0);
}

void sk_assert_equal(const struct strikerig *r)
{
	size_t n = 0, m = 0;
	AUTO_FREE char *a = io_read_file(AT_FDCWD, r->src, SK_SIZE, &n);
	AUTO_FREE char *b = io_read_file(AT_FDCWD, r->base, SK_SIZE, &m);

	assert_non_null(a);
	assert_non_null(b);
	assert_int_equal(n, m);
	assert_memory_equal(a, b, n);
}

char *sk_loop(const char *file)
{
	return geteuid() == 0 ? cv_loop(file, SK_SIZE, "4096") : NULL;
}

void sk_loop_end(char **dev)
{
	if (*dev)
		cv_run_ok((const char *[]){ "losetup", "-d", *dev, NULL });
	free(*dev);
	*dev = NULL;
}
