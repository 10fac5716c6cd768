/* SPDX-License-Identifier: Apache-2.0
 * test_convert_faults - the receiving end of a copy, and its undo, killed before each single
 * change they make to a file or a directory, or refused it: whenever it was, the same call
 * goes on to an equal copy, and undo leaves nothing at all. And maps that are not what they
 * were, storage that does not keep what it was given, and sectors of 4096 bytes.
 */
#define STRIKE_HERE
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "tests/unit/modtest.h"
#include "tests/unit/strike.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (64u << 10)
#define SIZE (7u * CHUNK + 4096)	/* no multiple of the chunk */
#define STRIKES_MAX 200

/* ---- the calls ---------------------------------------------------------------------- */

struct rig {
	char dir[64];
	char *src, *home, *base;
	char *from, *to;	/* devices instead of the files, or NULL */
};

static int set_up(void **state)
{
	struct rig *r = mem_alloc(sizeof(*r));
	AUTO_FREE char *p = mem_alloc(SIZE);

	strike->unsynced = 0;	/* a test that failed may have left it */
	strcpy(r->dir, "/tmp/drover-test.killed.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	r->src = mem_printf("%s/src.raw", r->dir);
	r->home = mem_printf("%s/erp", r->dir);
	r->base = mem_printf("%s/root.base.raw", r->home);
	memset(p, 'x', SIZE);
	memset(p + 2 * CHUNK, 0, CHUNK);
	assert_int_equal(io_write_file(AT_FDCWD, r->src, p, SIZE, 0600), 0);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	assert_int_equal(io_remove_tree(r->dir), 0);
	free(r->src);
	free(r->home);
	free(r->base);
	free(r);
	return 0;
}

/* A state of this process's own: the host ends what it takes for a lost agent of one. */
static const char *lineage(void)
{
	static char id[33];

	if (!*id)
		snprintf(id, sizeof(id), "%032x", (unsigned)getpid());
	return id;
}

static json_t *input(const struct rig *r, const char *role)
{
	json_t *rows = r->to ? json_pack("{s:{s:s,s:s}}", "root", "path", r->to, "format", "raw") :
		json_object();

	return json_pack("{s:{s:i,s:i,s:s},s:{},s:s,"
			 "s:{s:s,s:{s:s,s:s,s:{s:{s:s,s:s,s:b}}},s:{s:s,s:s,s:s,s:b,s:o}},"
			 "s:{s:s,s:s,s:s,s:i,s:s,s:s,s:b}}",
			 "args", "passes", 2, "chunk", (int)CHUNK, "changes", "digest",
			 "facts", "role", role,
			 "machine", "name", "erp",
			 "source", "host", "a", "kind", r->from ? "block" : "image", "disks",
			 "root", r->from ? "path" : "image", r->from ? r->from : r->src,
			 "format", "raw", "copy", 1,
			 "target", "host", "b", "dir", r->dir, "format", "raw", "replace", 0,
			 "disks", rows,
			 "run", "plan", "p", "plan_dir", "/", "run", "abcd1234", "epoch", 1,
			 "lineage", lineage(), "step", "convert.disks",
			 "preview", 0);
}

static char said[300];	/* why the last call ended badly */
static bool came;	/* the strike, in the last copy */

static bool good(json_t *result)
{
	bool ok = jbool(result, "ok", false);

	snprintf(said, sizeof(said), "%s", jstr(result, "error.text", ""));
	json_decref(result);
	return ok;
}

/* Both ends of an apply; true when the target's ended well. */
static bool copies(struct rig *r, int at)
{
	struct modtest_end end[2] = {
		{ .module = "convert.disks", .in = input(r, "source") },
		{ .module = "convert.disks", .in = input(r, "target") },
	};

	strike->left = at;
	modtest_both(end);
	came = strike->left < 0;
	strike->left = -1;
	for (int i = 0; i < 2; i++) {
		json_decref(end[i].in);
		json_decref(end[i].events);
	}
	json_decref(end[0].out);
	return good(end[1].out);
}

static bool undoes(struct rig *r, int at)
{
	AUTO_JSON *in = input(r, "target");
	json_t *out;

	strike->left = at;
	out = modtest_call("convert.disks", "undo", in, NULL);
	strike->left = -1;
	return good(out);
}

static void scribble(struct rig *r, int k)
{
	AUTO_FD fd = open(r->src, O_WRONLY | O_CLOEXEC);

	assert_int_equal(io_pwrite_full(fd, &k, sizeof(k), (uint64_t)(k % 7) * CHUNK + 9), 0);
}

static void assert_equal(const struct rig *r)
{
	size_t n = 0, m = 0;
	AUTO_FREE char *a = io_read_file(AT_FDCWD, r->src, SIZE, &n);
	AUTO_FREE char *b = io_read_file(AT_FDCWD, r->base, SIZE, &m);

	assert_non_null(a);
	assert_non_null(b);
	assert_int_equal(n, m);
	assert_memory_equal(a, b, n);
}

static void assert_no_trace(const struct rig *r, int k)
{
	if (access(r->home, F_OK) == 0)
		fail_msg("change %d: something is left in %s", k, r->home);
}

/* ---- a kill, an error ----------------------------------------------------------------- */

static void goes_on(struct rig *r, int error)
{
	int k;

	strike->error = error;
	for (k = 0; k < STRIKES_MAX; k++) {
		bool ok = copies(r, k);

		if (ok && !came)
			break;		/* there are not so many changes */
		if (ok)
			assert_equal(r);
		scribble(r, k);
		if (!copies(r, -1))
			fail_msg("change %d: it does not go on: %s", k, said);
		assert_equal(r);
		assert_true(undoes(r, -1));
		assert_no_trace(r, k);
	}
	assert_in_range(k, 20, STRIKES_MAX - 1);
}

static void a_copy_killed_at_any_change_of_a_file_goes_on(void **s)
{
	goes_on(*s, 0);
}

static void a_copy_whose_disk_fails_at_any_change_goes_on(void **s)
{
	goes_on(*s, EIO);
}

static void a_copy_killed_at_any_change_of_a_file_is_undone_without_a_trace(void **s)
{
	struct rig *r = *s;
	int k;

	strike->error = 0;
	for (k = 0; k < STRIKES_MAX && !copies(r, k); k++) {
		if (!undoes(r, -1))
			fail_msg("change %d: it cannot be undone: %s", k, said);
		assert_no_trace(r, k);
	}
	assert_in_range(k, 20, STRIKES_MAX - 1);
}

static void an_undo_killed_at_any_change_of_a_file_ends_when_it_is_repeated(void **s)
{
	struct rig *r = *s;
	int k;

	strike->error = 0;
	assert_true(copies(r, -1));
	for (k = 0; k < STRIKES_MAX && !undoes(r, k); k++) {
		if (!undoes(r, -1))
			fail_msg("change %d: it cannot be undone: %s", k, said);
		assert_no_trace(r, k);
		assert_true(copies(r, -1));
	}
	assert_in_range(k, 4, STRIKES_MAX - 1);
	assert_no_trace(r, k);
}

/* ---- maps that are not what they were ------------------------------------------------- */

static char *map_of(const struct rig *r)
{
	return mem_printf("%s/root.map", r->home);
}

/* It goes on to an equal copy, or says that the map is damaged; then without both it does. */
static void assert_mends(struct rig *r, const char *what, size_t at)
{
	AUTO_FREE char *map = map_of(r);

	if (!copies(r, -1)) {
		if (!strstr(said, "root.map': it is damaged"))
			fail_msg("%s at %zu: %s", what, at, said);
		assert_int_equal(unlink(map), 0);	/* as its hint says */
		assert_int_equal(unlink(r->base), 0);
		if (!copies(r, -1))
			fail_msg("%s at %zu, without them: %s", what, at, said);
	}
	assert_equal(r);
}

static void a_map_cut_short_anywhere_is_mended_or_told(void **s)
{
	static const size_t cuts[] = { 0, 1, 300, 4095, 4096, 4396, 8191, 8192, 8193, 9000, 12287 };
	struct rig *r = *s;
	AUTO_FREE char *map = map_of(r);

	for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
		assert_true(copies(r, -1));
		scribble(r, (int)i);
		assert_int_equal(truncate(map, (off_t)cuts[i]), 0);
		assert_mends(r, "cut short", cuts[i]);
	}
}

static void a_map_with_a_flipped_byte_anywhere_is_mended_or_told(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *map = map_of(r);

	for (size_t at = 0; at < 12288; at += at < 8192 ? 97 : 613) {
		AUTO_FD fd = -1;
		char c = 0;

		assert_true(copies(r, -1));
		scribble(r, (int)at);
		fd = open(map, O_RDWR | O_CLOEXEC);
		assert_int_equal(io_pread_full(fd, &c, 1, at), 0);
		c ^= 0x41;
		assert_int_equal(io_pwrite_full(fd, &c, 1, at), 0);
		assert_mends(r, "a flipped byte", at);
	}
}

/* The map of an earlier pass, put back: of what it says rightly nothing is sent, and nothing
 * in it tells that the disk is further on. Who reads it back sees it. */
static void a_map_of_an_earlier_pass_is_found_out_by_the_proof(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *map = map_of(r), *before = NULL, *was = NULL;
	size_t n = 0, m = 0;
	AUTO_JSON *in = NULL, *out = NULL;

	assert_true(copies(r, -1));
	was = io_read_file(AT_FDCWD, r->src, SIZE, &m);
	before = io_read_file(AT_FDCWD, map, 1 << 20, &n);
	assert_non_null(before);
	scribble(r, 5);
	assert_true(copies(r, -1));
	assert_equal(r);
	assert_int_equal(io_write_file(AT_FDCWD, map, before, n, 0600), 0);
	assert_int_equal(io_write_file(AT_FDCWD, r->src, was, m, 0600), 0);
	in = input(r, "target");
	out = modtest_call("validate.disks", "apply", in, NULL);
	assert_false(jbool(out, "ok", true));
	if (!strstr(jstr(out, "error.text", ""), "is not what was sent: byte 327680, length 65536"))
		fail_msg("%s", jstr(out, "error.text", ""));
}

/* ---- storage that lies beneath the base ------------------------------------------------ */

static ino_t inode(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

/* What was written before it may be lost, with nobody to tell so later: here it is. */
static void a_sync_that_fails_ends_the_copy_and_nothing_of_it_counts(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *before = NULL;
	size_t n = 0;

	assert_true(copies(r, -1));
	before = io_read_file(AT_FDCWD, r->base, SIZE, &n);
	assert_non_null(before);
	scribble(r, 5);
	strike->unsynced = inode(r->base);
	assert_false(copies(r, -1));
	strike->unsynced = 0;
	if (!strstr(said, "cannot sync '") || !strstr(said, ": Input/output error"))
		fail_msg("%s", said);
	{
		AUTO_FD fd = open(r->base, O_WRONLY | O_CLOEXEC);

		assert_int_equal(io_pwrite_full(fd, before, n, 0), 0);
	}
	assert_true(copies(r, -1));
	assert_equal(r);
}

/* Zeros alone are written over what the map knows, and then nobody needs them any more. */
static void zeros_of_which_a_sync_failed_do_not_stay(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *was = NULL, *zeros = mem_alloc(CHUNK);
	AUTO_FD fd = -1;
	size_t n = 0;

	assert_true(copies(r, -1));
	was = io_read_file(AT_FDCWD, r->src, SIZE, &n);
	assert_non_null(was);
	fd = open(r->src, O_WRONLY | O_CLOEXEC);
	assert_int_equal(io_pwrite_full(fd, zeros, CHUNK, 4 * CHUNK), 0);
	strike->unsynced = inode(r->base);
	assert_false(copies(r, -1));
	strike->unsynced = 0;
	assert_int_equal(io_pwrite_full(fd, was, n, 0), 0);
	assert_true(copies(r, -1));
	assert_equal(r);
}

/* What lies in it may be other than what the storage has. */
static void a_proof_reads_past_the_page_cache(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *in = NULL, *out = NULL;
	struct stat st;
	AUTO_FD fd = -1;

	assert_true(copies(r, -1));
	fd = open(r->base, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		skip();		/* this file system has no such thing */
	assert_int_equal(fstat(fd, &st), 0);
	strike->dev = st.st_dev;
	strike->ino = st.st_ino;
	strike->bad_end = SIZE;
	strike->cached = true;
	in = input(r, "target");
	out = modtest_call("validate.disks", "apply", in, NULL);
	strike->cached = false;
	strike->bad_end = 0;
	if (!jbool(out, "ok", false))
		fail_msg("%s", jstr(out, "error.text", ""));
}

/* ---- 4096-byte sectors ---------------------------------------------------------------- */

static bool run(const char *const *argv, char **out)
{
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	bool ok = proc_run(&p, NULL) == 0;

	if (ok && out) {
		*out = str_take(&p.out);
		(*out)[strcspn(*out, "\n")] = '\0';
	}
	proc_free(&p);
	return ok;
}

/* NULL: this kernel has none of such sectors. */
static char *loop_of(const char *file)
{
	const char *const argv[] = { "losetup", "-f", "--show", "-b", "4096", file, NULL };
	char *dev = NULL;

	run(argv, &dev);
	return dev;
}

static void loop_end(char **dev)
{
	const char *const argv[] = { "losetup", "-d", *dev, NULL };

	if (*dev)
		assert_true(run(argv, NULL));
	mem_free_ptr(dev);
}

static void a_disk_of_4096_byte_sectors_is_copied_to_another(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *zeros = mem_alloc(SIZE);
	AUTO_FREE char *got = NULL;
	size_t n = 0;

	free(r->base);
	r->base = mem_printf("%s/device", r->dir);
	assert_int_equal(io_write_file(AT_FDCWD, r->base, zeros, SIZE, 0600), 0);
	r->from = geteuid() == 0 ? loop_of(r->src) : NULL;
	r->to = r->from ? loop_of(r->base) : NULL;
	if (!r->to) {
		loop_end(&r->from);
		skip();
	}
	if (!copies(r, -1))
		fail_msg("%s", said);
	assert_equal(r);
	scribble(r, 3);
	assert_true(copies(r, -1));
	assert_equal(r);
	assert_true(undoes(r, -1));
	loop_end(&r->from);
	loop_end(&r->to);
	got = io_read_file(AT_FDCWD, r->base, SIZE, &n);
	assert_int_equal(n, SIZE);
	assert_memory_equal(got, zeros, SIZE);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_copy_killed_at_any_change_of_a_file_goes_on),
		T(a_copy_whose_disk_fails_at_any_change_goes_on),
		T(a_copy_killed_at_any_change_of_a_file_is_undone_without_a_trace),
		T(an_undo_killed_at_any_change_of_a_file_ends_when_it_is_repeated),
		T(a_map_cut_short_anywhere_is_mended_or_told),
		T(a_map_with_a_flipped_byte_anywhere_is_mended_or_told),
		T(a_map_of_an_earlier_pass_is_found_out_by_the_proof),
		T(a_sync_that_fails_ends_the_copy_and_nothing_of_it_counts),
		T(zeros_of_which_a_sync_failed_do_not_stay),
		T(a_proof_reads_past_the_page_cache),
		T(a_disk_of_4096_byte_sectors_is_copied_to_another),
	};

	strike_begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
