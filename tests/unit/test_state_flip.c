/* SPDX-License-Identifier: Apache-2.0
 * test_state_flip - a byte that is not as it was written: an error or a sound state, never a crash.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/part.h"
#include "tests/unit/staterig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef void file_fn(struct fix *f, const char *path);

static void each_file(struct fix *f, const char *path, file_fn *fn)
{
	DIR *d = opendir(path);
	struct dirent *entry;

	assert_non_null(d);
	while ((entry = readdir(d))) {
		AUTO_FREE char *sub = mem_printf("%s/%s", path, entry->d_name);

		if (entry->d_name[0] == '.')
			continue;
		if (entry->d_type == DT_DIR)
			each_file(f, sub, fn);
		else
			fn(f, sub);
	}
	closedir(d);
}

static void read_all(struct fix *f, enum state_mode mode, const char *path, bool must_fail)
{
	AUTO_ERR e = { 0 };
	struct state *s = state_open(f->dir, "erp", mode, f->loop, &e);
	int n = 0;

	if (s && state_log(s, NULL, st_count, &n, &e) == 0 && n > 0)
		for (const char *const *m = (const char *const []){ "a", "b", NULL }; *m; m++) {
			AUTO_JSON *list = state_show(s, *m, "HEAD", NULL, &e);
			const json_t *tree = err_is(&e) ? NULL : state_tree(s, *m);

			if (!list || !tree) {
				if (!err_is(&e))
					err_set(&e, ERR_SYSTEM, "no tree");
				break;
			}
		}
	if (must_fail && !err_is(&e))
		fail_msg("the damage of '%s' was not seen", path);
	state_close(s, NULL);
}

/* Not synced: thousands of these are written. */
static void overwrite(const char *path, const char *p, size_t n)
{
	int fd;

	chmod(path, 0600);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, p, n), 0);
	close(fd);
}

/* The file with one byte changed, at its start, middle and end, is never a
 * crash: reading tells, opening for writing refuses. */
static void flip(struct fix *f, const char *path)
{
	size_t n;
	AUTO_FREE char *was = io_read_file(AT_FDCWD, path, 1 << 20, &n);
	const size_t at[] = { 0, n / 2, n - 1 };

	assert_non_null(was);
	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		char keep = was[at[i]];

		was[at[i]] = (char)(keep ^ (1 << (i % 8)));
		overwrite(path, was, n);
		read_all(f, STATE_READ, path, false);
		if (!strstr(path, ".rev") && !strstr(path, ".bitmap"))
			st_open_fails(f, STATE_WRITE, ERR_SYSTEM, path);
		was[at[i]] = keep;
	}
	overwrite(path, was, n);
}

static void a_flipped_byte_in_any_object_is_an_error_not_a_crash(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);
	AUTO_FREE char *objects = mem_printf("%s/objects", f->dir);

	st_put(s, "a", "one", "facts/x.json={\"long\":\"text text text text\"}", NULL);
	st_put(s, "b", "two", "n=2", NULL);
	st_put(s, "a", "three", "m=3", NULL);
	st_close(s);
	each_file(f, objects, flip);
	st_close(st_open(f, STATE_WRITE));	/* all is back as it was */
}

/* The same for what steers git: an error or a sound state, never a crash. */
static void flip_any(struct fix *f, const char *path)
{
	size_t n;
	AUTO_FREE char *was = io_read_file(AT_FDCWD, path, 1 << 20, &n);

	for (size_t i = 0; i < n; i += (size_t)test_part(3, 13)) {
		was[i] ^= 0x10;
		overwrite(path, was, n);
		read_all(f, STATE_READ, path, false);
		was[i] ^= 0x10;
	}
	overwrite(path, was, n);
}

static void a_flipped_byte_in_refs_and_config_is_never_a_crash(void **state)
{
	static const char *const files[] = { "HEAD", "config", "drover.json",
		"refs/heads/erp/a/main", "refs/drover/erp/meta" };
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);

	st_put(s, "a", "one", "x=1", NULL);
	st_close(s);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_FREE char *path = mem_printf("%s/%s", f->dir, files[i]);

		flip_any(f, path);
	}
	st_close(st_open(f, STATE_WRITE));
}

static void a_flipped_byte_in_a_pack_is_seen(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);
	AUTO_FREE char *pack = mem_printf("%s/objects/pack", f->dir);

	st_put(s, "a", "one", "x=1", NULL);
	st_put(s, "b", "two", "y=2", NULL);
	st_close(s);
	free(st_git(f, "gc", "-q", "--prune=now"));
	each_file(f, pack, flip);
	st_close(st_open(f, STATE_WRITE));
}

#define T(name) cmocka_unit_test_setup_teardown(name, st_setup, st_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_flipped_byte_in_any_object_is_an_error_not_a_crash),
		T(a_flipped_byte_in_refs_and_config_is_never_a_crash),
		T(a_flipped_byte_in_a_pack_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
