/* SPDX-License-Identifier: Apache-2.0
 * YAML trees: places, typing, aliases, limits.
 */
#include "engine/base/text.h"
#include "engine/plan/errlist.h"
#include "engine/plan/names.h"
#include "engine/plan/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

struct doc {
	struct arena *arena;
	struct err_list errors;
	struct yaml_node *root;
};

static struct doc parse(const char *text)
{
	struct doc d = { .arena = arena_new() };

	d.root = yaml_parse(d.arena, "t.yaml", arena_strdup(d.arena, text), strlen(text), 0,
			    &d.errors);
	return d;
}

static void done(struct doc *d)
{
	err_list_free(&d->errors);
	arena_free(d->arena);
}

static void scalars_are_typed_as_yaml_1_2_core_says(void **s)
{
	static const struct { const char *text; enum yaml_kind kind; } table[] = {
		{ "", YAML_NULL }, { "~", YAML_NULL }, { "null", YAML_NULL }, { "nUll", YAML_STR },
		{ "true", YAML_BOOL }, { "False", YAML_BOOL }, { "yes", YAML_STR },
		{ "on", YAML_STR }, { "0", YAML_INT }, { "-12", YAML_INT }, { "+3", YAML_INT },
		{ "0o17", YAML_INT }, { "0o8", YAML_STR }, { "0xfF", YAML_INT }, { "0x", YAML_STR },
		{ "1_000", YAML_STR }, { "1:30", YAML_STR }, { "1.5", YAML_FLOAT },
		{ ".5", YAML_FLOAT }, { "1.", YAML_FLOAT }, { "1e3", YAML_FLOAT },
		{ "-1.5E-3", YAML_FLOAT }, { ".", YAML_STR }, { "e3", YAML_STR }, { "1e", YAML_STR },
		{ ".inf", YAML_FLOAT }, { "-.INF", YAML_FLOAT }, { ".nan", YAML_FLOAT },
		{ "+.nan", YAML_STR }, { "-", YAML_STR }, { "1.2.3", YAML_STR },
		{ "2027-02-01", YAML_STR }, { "10GiB", YAML_STR },
	};

	(void)s;
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (yaml_kind_of(table[i].text) != table[i].kind)
			fail_msg("'%s' is taken for kind %d", table[i].text,
				 yaml_kind_of(table[i].text));
}

static void quoted_and_block_scalars_are_text(void **s)
{
	struct doc d = parse("a: \"1\"\nb: 'true'\nc: |\n  2\n  3\nd: 4\n");

	(void)s;
	assert_int_equal(yaml_get(d.root, "a")->kind, YAML_STR);
	assert_int_equal(yaml_get(d.root, "b")->kind, YAML_STR);
	assert_int_equal(yaml_get(d.root, "c")->kind, YAML_STR);
	assert_string_equal(yaml_get(d.root, "c")->text, "2\n3\n");
	assert_true(yaml_get(d.root, "c")->block);
	assert_int_equal(yaml_get(d.root, "d")->kind, YAML_INT);
	done(&d);
}

static void every_node_knows_its_line_column_and_text(void **s)
{
	struct doc d = parse("a: x\r\n# a comment\r\nb:\r\n  - { c: y }\r\n");
	const struct yaml_node *c = yaml_get(yaml_get(d.root, "b")->items[0], "c");
	struct place at = yaml_place(c);

	(void)s;
	assert_string_equal(at.file, "t.yaml");
	assert_int_equal(at.line, 4);
	assert_int_equal(at.column, 10);
	assert_string_equal(at.text, "  - { c: y }");
	done(&d);
}

static void columns_count_characters_and_not_bytes(void **s)
{
	struct doc d = parse("{ \"gr\xc3\xbc\xc3\x9f\": x, b: y }\n");

	(void)s;
	assert_int_equal(yaml_get(d.root, "b")->column, 17);
	done(&d);
}

static void a_key_given_twice_is_told_with_both_lines(void **s)
{
	struct doc d = parse("a: 1\nb: 2\na: 3\n");

	(void)s;
	assert_int_equal(d.errors.count, 1);
	assert_string_equal(d.errors.v[0].what, "the key 'a' stands here twice");
	assert_string_equal(d.errors.v[0].hint, "it was given before in line 1");
	assert_int_equal(d.errors.v[0].at.line, 3);
	assert_string_equal(d.errors.v[0].at.text, "a: 3");
	done(&d);
}

static void an_alias_is_the_node_itself(void **s)
{
	struct doc d = parse("a: &x { b: 1 }\nc: *x\nd: [*x, *x]\n");

	(void)s;
	assert_int_equal(d.errors.count, 0);
	assert_ptr_equal(yaml_get(d.root, "c"), yaml_get(d.root, "a"));
	assert_ptr_equal(yaml_get(d.root, "d")->items[1], yaml_get(d.root, "a"));
	done(&d);
}

static void an_anchor_given_again_means_the_newer_node(void **s)
{
	struct doc d = parse("a: &x 1\nb: *x\nc: &x 2\nd: *x\n");

	(void)s;
	assert_string_equal(yaml_get(d.root, "b")->text, "1");
	assert_string_equal(yaml_get(d.root, "d")->text, "2");
	done(&d);
}

/* `levels` lists of `width` aliases to the one before. */
static char *bomb(int levels, int width)
{
	struct str b = { 0 };

	str_add(&b, "- &l0 [x, x, x]\n");
	for (int i = 1; i <= levels; i++) {
		str_addf(&b, "- &l%d [", i);
		for (int k = 0; k < width; k++)
			str_addf(&b, "%s*l%d", k ? ", " : "", i - 1);
		str_add(&b, "]\n");
	}
	return str_take(&b);
}

static void aliases_may_repeat_ten_times_what_is_written_and_no_more(void **s)
{
	AUTO_FREE char *fine = bomb(1, 5);
	AUTO_FREE char *small = bomb(9, 9);
	AUTO_FREE char *vast = bomb(60, 9);
	struct doc d = parse(fine);

	(void)s;
	assert_non_null(d.root);
	assert_int_equal(d.errors.count, 0);
	done(&d);
	d = parse(small);
	assert_null(d.root);
	assert_int_equal(d.errors.count, 1);
	done(&d);
	d = parse(vast);	/* 9^60 does not fit any number */
	assert_null(d.root);
	assert_int_equal(d.errors.count, 1);
	done(&d);
}

static void nesting_ends_at_sixty_four_levels(void **s)
{
	AUTO_STR deep = { 0 };

	(void)s;
	for (int i = 0; i < YAML_MAX_DEPTH; i++)
		str_addc(&deep, '[');
	for (int i = 0; i < YAML_MAX_DEPTH; i++)
		str_addc(&deep, ']');
	struct doc d = parse(deep.s);
	assert_non_null(d.root);
	done(&d);
	AUTO_FREE char *deeper = mem_printf("[%s]", deep.s);
	d = parse(deeper);
	assert_null(d.root);
	assert_string_equal(d.errors.v[0].what, "nested deeper than 64 levels");
	done(&d);
}

static void aliases_do_not_hide_depth(void **s)
{
	struct str b = { 0 };

	(void)s;
	str_add(&b, "- &l0 [[[[x]]]]\n");
	for (int i = 1; i < 30; i++)
		str_addf(&b, "- &l%d [[[[*l%d]]]]\n", i, i - 1);
	struct doc d = parse(b.s);
	assert_null(d.root);
	assert_string_equal(d.errors.v[0].what, "nested deeper than 64 levels");
	done(&d);
	str_free(&b);
}

static void a_big_map_finds_every_key_and_no_other(void **s)
{
	struct str b = { 0 };
	char key[16];

	(void)s;
	for (int i = 0; i < 5000; i++)
		str_addf(&b, "k%d: v%d\n", i, i);
	struct doc d = parse(b.s);
	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_string_equal(yaml_get(d.root, key)->text + 1, key + 1);
	}
	assert_null(yaml_get(d.root, "k5000"));
	done(&d);
	str_free(&b);
}

static void a_map_laid_over_another_keeps_what_it_does_not_name(void **s)
{
	struct doc base = parse("a: 1\nb: { c: 2, d: 3 }\ne: [4]\n");
	struct doc over = parse("b: { d: 5, f: 6 }\ne: [7]\ng: 8\n");
	struct yaml_node *n = yaml_merge(base.arena, base.root, over.root);

	(void)s;
	assert_int_equal(n->count, 4);
	assert_string_equal(yaml_get(n, "a")->text, "1");
	assert_string_equal(yaml_get(yaml_get(n, "b"), "c")->text, "2");
	assert_string_equal(yaml_get(yaml_get(n, "b"), "d")->text, "5");
	assert_string_equal(yaml_get(yaml_get(n, "b"), "f")->text, "6");
	assert_int_equal(yaml_get(n, "e")->count, 1);
	assert_string_equal(yaml_get(n, "e")->items[0]->text, "7");
	assert_string_equal(yaml_get(n, "g")->text, "8");
	assert_string_equal(yaml_get(yaml_get(base.root, "b"), "d")->text, "3");
	done(&over);
	done(&base);
}

static void long_lines_are_not_quoted_in_errors(void **s)
{
	AUTO_FREE char *text = mem_printf("a: %0500d\nb: x\n", 1);
	struct doc d = parse(text);

	(void)s;
	assert_null(yaml_place(yaml_get(d.root, "a")).text);
	assert_non_null(yaml_place(yaml_get(d.root, "b")).text);
	done(&d);
}

static void errors_are_sorted_by_place_and_told_once(void **s)
{
	static const char *const files[] = { "main", "other" };
	struct err_list l = { 0 };
	struct place at[] = { { "other", 1, 1, NULL }, { "main", 3, 2, NULL },
			      { "main", 3, 1, NULL }, { "main", 3, 2, NULL } };

	(void)s;
	for (size_t i = 0; i < ARRAY_LEN(at); i++)
		err_list_add(&l, &at[i], "wrong");
	err_list_add(&l, &at[1], "also wrong");
	err_list_sort(&l, files, 2);
	assert_int_equal(l.count, 4);
	assert_int_equal(l.v[0].at.column, 1);
	assert_string_equal(l.v[1].what, "also wrong");
	assert_string_equal(l.v[2].what, "wrong");
	assert_string_equal(l.v[3].at.file, "other");
	err_list_free(&l);
}

static void names_are_found_after_the_table_has_grown(void **s)
{
	struct names n = { 0 };
	char keys[1000][8];

	(void)s;
	for (uintptr_t i = 0; i < 1000; i++) {
		snprintf(keys[i], sizeof(keys[i]), "n%u", (unsigned)i);
		*names_slot(&n, keys[i]) = (void *)(i + 1);
	}
	for (uintptr_t i = 0; i < 1000; i++)
		assert_ptr_equal(names_get(&n, keys[i]), (void *)(i + 1));
	assert_null(names_get(&n, "other"));
	assert_int_equal(n.count, 1000);
	names_free(&n);
	assert_null(names_get(&n, "n1"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(scalars_are_typed_as_yaml_1_2_core_says),
		cmocka_unit_test(quoted_and_block_scalars_are_text),
		cmocka_unit_test(every_node_knows_its_line_column_and_text),
		cmocka_unit_test(columns_count_characters_and_not_bytes),
		cmocka_unit_test(a_key_given_twice_is_told_with_both_lines),
		cmocka_unit_test(an_alias_is_the_node_itself),
		cmocka_unit_test(an_anchor_given_again_means_the_newer_node),
		cmocka_unit_test(aliases_may_repeat_ten_times_what_is_written_and_no_more),
		cmocka_unit_test(nesting_ends_at_sixty_four_levels),
		cmocka_unit_test(aliases_do_not_hide_depth),
		cmocka_unit_test(a_big_map_finds_every_key_and_no_other),
		cmocka_unit_test(a_map_laid_over_another_keeps_what_it_does_not_name),
		cmocka_unit_test(long_lines_are_not_quoted_in_errors),
		cmocka_unit_test(errors_are_sorted_by_place_and_told_once),
		cmocka_unit_test(names_are_found_after_the_table_has_grown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
