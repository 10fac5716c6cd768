/* SPDX-License-Identifier: Apache-2.0
 * The base: units, names, diffs, errors, JSON, the loop.
 */
#include "engine/base/io.h"
#include "engine/base/json.h"
#include "engine/base/loop.h"
#include "engine/base/text.h"
#include "engine/base/wrap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void sizes_have_binary_and_decimal_units(void **s)
{
	uint64_t v;

	(void)s;
	assert_int_equal(text_parse_size("40GiB", &v), 0);
	assert_true(v == 40ull << 30);
	assert_int_equal(text_parse_size("1.5TiB", &v), 0);
	assert_true(v == (3ull << 40) / 2);
	assert_int_equal(text_parse_size("1MB", &v), 0);
	assert_int_equal(v, 1000000);
	assert_int_equal(text_parse_size("4096", &v), 0);
	assert_int_equal(v, 4096);
}

static void sizes_that_are_none_are_refused(void **s)
{
	static const char *const bad[] = { "", "GiB", "-1", "1.GiB", "1.5", "12 GiB", "1gib",
		"99999999999999999999", "20000PiB", "0x10", "1e3" };
	uint64_t v;

	(void)s;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (text_parse_size(bad[i], &v) == 0)
			fail_msg("'%s' was taken for a size", bad[i]);
}

static void durations_add_up(void **s)
{
	uint64_t v;

	(void)s;
	assert_int_equal(text_parse_duration("1h30m", &v), 0);
	assert_int_equal(v, 5400000);
	assert_int_equal(text_parse_duration("250ms", &v), 0);
	assert_int_equal(v, 250);
	assert_int_equal(text_parse_duration("10", &v), -1);
}

static void a_near_name_is_found_and_a_far_one_is_not(void **s)
{
	static const char *const names[] = { "disks", "format", "machines" };
	static const char *const few[] = { "yes", "here" };

	(void)s;
	assert_string_equal(text_near("dsiks", names, 3), "disks");
	assert_string_equal(text_near("machine", names, 3), "machines");
	assert_null(text_near("colour", names, 3));
	assert_string_equal(text_near("hre", few, 2), "here");
	assert_null(text_near("kep", few, 2));	/* two letters of three differ */
}

static void blanks_of_the_mount_table_are_read(void **s)
{
	static const char *const rows[][2] = {
		{ "/srv/my\\040disk", "/srv/my disk" },
		{ "\\134\\011", "\\\t" },
		{ "a\\04", "a\\04" },		/* cut off: as it is */
		{ "\\089", "\\089" },		/* no octal */
		{ "", "" },
	};

	(void)s;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *got = mem_strdup(rows[i][0]);

		text_unescape(got);
		assert_string_equal(got, rows[i][1]);
	}
}

static void check_diff(const char *a, const char *b, const char *want)
{
	AUTO_FREE char *got = text_diff("a", "b", a, strlen(a), b, strlen(b));

	assert_string_equal(got, want);
}

static void a_diff_shows_three_lines_around_a_change(void **s)
{
	(void)s;
	check_diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n",
		   "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
	check_diff("same\n", "same\n", "");
	check_diff("", "new\n", "--- a\n+++ b\n@@ -0,0 +1,1 @@\n+new\n");
	check_diff("old\n", "", "--- a\n+++ b\n@@ -1,1 +0,0 @@\n-old\n");
	check_diff("x", "x\n", "--- a\n+++ b\n@@ -1,1 +1,1 @@\n-x\n"
		   "\\ No newline at end of file\n+x\n");
	check_diff("a\nb\nc\n", "b\nc\nd\n",
		   "--- a\n+++ b\n@@ -1,3 +1,3 @@\n-a\n b\n c\n+d\n");
}

/* The diff, applied by hand, gives the new text: over many small random pairs. */
static void every_diff_leads_from_old_to_new(void **state)
{
	unsigned seed = 7;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		char a[40] = "", b[40] = "", made[80] = "", gone[80] = "";
		int n = rand_r(&seed) % 9, m = rand_r(&seed) % 9;
		AUTO_FREE char *d = NULL;

		for (int i = 0; i < n; i++)
			strcat(a, (const char *[]){ "x\n", "y\n", "z\n" }[rand_r(&seed) % 3]);
		for (int i = 0; i < m; i++)
			strcat(b, (const char *[]){ "x\n", "y\n", "z\n" }[rand_r(&seed) % 3]);
		d = text_diff("a", "b", a, strlen(a), b, strlen(b));
		if (strcmp(a, b) == 0) {
			assert_string_equal(d, "");
			continue;
		}
		/* at most 8 lines: all in one hunk with all context, or the ends are equal */
		for (char *p = strstr(d, "\n@@"); p && (p = strchr(p + 1, '\n')) && p[1];) {
			if (p[1] == '@')
				continue;
			if (p[1] != '-')
				strncat(made, p + 2, 2);
			if (p[1] != '+')
				strncat(gone, p + 2, 2);
		}
		assert_non_null(strstr(b, made));
		assert_non_null(strstr(a, gone));
		assert_int_equal(strlen(b) - strlen(made), strlen(a) - strlen(gone));
	}
}

static void check_wrap(const char *text, size_t column, size_t indent, size_t width,
		       const char *want)
{
	AUTO_STR b = {0};

	str_add_wrapped(&b, text, column, indent, width);
	assert_string_equal(b.s ? b.s : "", want);
}

static void lines_are_broken_at_blanks_but_not_inside_a_path_or_command(void **state)
{
	(void)state;
	check_wrap("", 0, 2, 40, "");
	check_wrap("one two", 0, 2, 0, "one two");
	check_wrap("first line\nsecond", 9, 2, 40, "first line\n  second");
	check_wrap("the words of a sentence that goes on and on", 10, 4, 30,
		   "the words of a\n    sentence that goes on and\n    on");
	check_wrap("look: drover run a.yaml -m db --until convert, then again", 0, 2, 30,
		   "look:\n  drover run a.yaml -m db --until convert,\n  then again");
	check_wrap("`drover preview a.yaml` shows what would happen", 0, 2, 30,
		   "`drover preview a.yaml` shows\n  what would happen");
	check_wrap("on the host apt install qemu-utils ovmf", 0, 2, 30,
		   "on the host\n  apt install qemu-utils ovmf");
	check_wrap("cannot read '/srv/old machines/the first.raw': not there", 0, 2, 40,
		   "cannot read\n  '/srv/old machines/the first.raw': not\n  there");
	check_wrap("it is copied, at most 64.0 MiB to read", 0, 2, 28,
		   "it is copied, at most\n  64.0 MiB to read");
	/* what is too wide stays whole, escapes are shown, indents leave room */
	check_wrap("at /srv/images/a-very-long-name-of-an-image.qcow2", 0, 2, 30,
		   "at\n  /srv/images/a-very-long-name-of-an-image.qcow2");
	check_wrap("a\x1b[31mb", 0, 2, 30, "a\\x1b[31mb");
	check_wrap("the words of a sentence on and on", 20, 20, 30,
		   "the words\n    of a sentence on and on");
}

static void an_error_is_wrapped_but_not_its_source_line(void **state)
{
	struct place at = { "erp.yaml", 3, 1, "hosts: { a: { ssh: root@a }, b: { ssh: root@b } }" };
	AUTO_ERR e = {0};
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	(void)state;
	err_set(&e, ERR_PLAN, "the host is not defined anywhere in the plan");
	err_at(&e, &at);
	err_hint(&e, "define it, or see drover check erp.yaml");
	err_print_wrapped(f, &e, 40);
	fclose(f);
	assert_string_equal(text,
		"erp.yaml:3:1: the host is not defined\n"
		"  anywhere in the plan\n"
		"    3 | hosts: { a: { ssh: root@a }, b: { ssh: root@b } }\n"
		"      | ^\n"
		"  define it, or see\n"
		"  drover check erp.yaml\n");
	free(text);
}

static void an_error_prints_place_host_step_and_hint(void **s)
{
	struct place at = { "erp.yaml", 3, 5, "\thost: db9" };
	AUTO_ERR e = {0};
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	(void)s;
	err_set(&e, ERR_PLAN, "host '%s' is not defined", "db9");
	err_at(&e, &at);
	err_host(&e, "db9");
	err_step(&e, "erp convert.disks", 2, 3);
	err_hint(&e, "did you mean 'db1'?");
	err_print(f, &e);
	fclose(f);
	assert_string_equal(text,
		"erp.yaml:3:5: host db9, step erp convert.disks (attempt 2 of 3): "
		"host 'db9' is not defined\n"
		"    3 | \thost: db9\n      | \t   ^\n  did you mean 'db1'?\n");
	free(text);
}

static void canonical_json_does_not_depend_on_order(void **s)
{
	AUTO_JSON *a = json_pack("{s:i,s:[s]}", "b", 1, "a", "x");
	AUTO_JSON *b = json_pack("{s:[s],s:i}", "a", "x", "b", 1);
	char da[65], db[65];

	(void)s;
	json_digest(a, da);
	json_digest(b, db);
	assert_string_equal(da, db);
	assert_int_equal(jint(a, "b", 0), 1);
	assert_null(jget(a, "b.c"));
}

static void an_object_of_a_list_is_found_by_a_text_in_it(void **s)
{
	AUTO_JSON *list = json_pack("[{s:s}, i, {s:s, s:i}, {s:s, s:i}]", "name", "a", 7, "name",
				    "b", "n", 1, "name", "b", "n", 2);

	(void)s;
	assert_int_equal(jint(jfind(list, "name", "b"), "n", 0), 1);
	assert_null(jfind(list, "name", "c"));
	assert_null(jfind(list, "size", "a"));
	assert_null(jfind(NULL, "name", "a"));
}

static void bytes_that_are_not_text_become_replacement_characters(void **s)
{
	AUTO_JSON *j = jtext("a\xff" "b", 3);

	(void)s;
	assert_string_equal(json_string_value(j), "a\xef\xbf\xbd" "b");
}

static void base64_goes_there_and_back(void **s)
{
	(void)s;
	for (size_t n = 0; n < 40; n++) {
		uint8_t in[40];
		AUTO_FREE char *text = NULL;
		AUTO_FREE uint8_t *out = NULL;
		size_t got;

		io_random(in, sizeof(in));
		text = io_base64(in, n);
		out = io_unbase64(text, &got);
		assert_int_equal(got, n);
		assert_memory_equal(in, out, n);
	}
}

static void what_is_no_base64_is_refused(void **s)
{
	static const char *const wrong[] = { "A", "AA", "AAA", "AAAAA", "AA=A", "A===", "====",
					     "AA A", "AAA\n", "AA-_", "AA==AAAA" };
	size_t got;

	(void)s;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_null(io_unbase64(wrong[i], &got));
}

static void note(void *arg)
{
	str_addc(arg, 'x');
}

static void note_y(void *arg)
{
	str_addc(arg, 'y');
}

static void virtual_time_jumps_to_the_next_timer(void **s)
{
	struct clock_fake f;
	struct loop *l;
	struct loop_timer *t;
	AUTO_STR seen = {0};

	(void)s;
	clock_fake_init(&f);
	l = loop_new(&f.clock);
	loop_timer_add(l, 3600000, note_y, &seen);
	loop_timer_add(l, 1000, note, &seen);
	t = loop_timer_add(l, 2000, note, &seen);
	loop_timer_del(t);
	loop_post(l, note, &seen);
	while (loop_turn(l, -1))
		;
	assert_string_equal(seen.s, "xxy");
	assert_true(f.now_ms == 1000 + 3600000);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_have_binary_and_decimal_units),
		cmocka_unit_test(sizes_that_are_none_are_refused),
		cmocka_unit_test(durations_add_up),
		cmocka_unit_test(a_near_name_is_found_and_a_far_one_is_not),
		cmocka_unit_test(blanks_of_the_mount_table_are_read),
		cmocka_unit_test(a_diff_shows_three_lines_around_a_change),
		cmocka_unit_test(every_diff_leads_from_old_to_new),
		cmocka_unit_test(lines_are_broken_at_blanks_but_not_inside_a_path_or_command),
		cmocka_unit_test(an_error_is_wrapped_but_not_its_source_line),
		cmocka_unit_test(an_error_prints_place_host_step_and_hint),
		cmocka_unit_test(canonical_json_does_not_depend_on_order),
		cmocka_unit_test(an_object_of_a_list_is_found_by_a_text_in_it),
		cmocka_unit_test(bytes_that_are_not_text_become_replacement_characters),
		cmocka_unit_test(base64_goes_there_and_back),
		cmocka_unit_test(what_is_no_base64_is_refused),
		cmocka_unit_test(virtual_time_jumps_to_the_next_timer),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
