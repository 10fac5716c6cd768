/* SPDX-License-Identifier: Apache-2.0
 * The command line: options as people type them, help made from the tables, and
 * questions that are answered or refused.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/cli/cli.h"
#include "engine/cli/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Parse a line of words; the error's text and hint, or "". */
static char *parse(struct cli *c, const char *line)
{
	static char words[512];
	char *argv[64] = { (char[]){ "drover" } }, *save = NULL;
	AUTO_ERR e = {0};
	int argc = 1;

	snprintf(words, sizeof(words), "%s", line);
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	argv[argc] = NULL;
	cli_init(c);
	c->tty_in = c->tty_out = false;
	if (cli_parse(c, argc, argv, &e) == 0)
		return mem_strdup("");
	assert_int_equal(e.kind, ERR_USAGE);
	return mem_printf("%s\n%s", e.what, e.hint ? e.hint : "");
}

static void expect_error(const char *line, const char *want)
{
	AUTO_FREE char *got = NULL;
	struct cli c;

	got = parse(&c, line);
	assert_string_equal(got, want);
}

static void options_are_taken_in_every_spelling(void **state)
{
	static const char *const lines[] = {
		"run -m db plan.yaml", "run plan.yaml --machine db", "run --machine=db plan.yaml",
		"run -machine db plan.yaml", "-m=db run plan.yaml", "run -m db -- plan.yaml",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		struct cli c;
		AUTO_FREE char *got = parse(&c, lines[i]);

		assert_string_equal(got, "");
		assert_string_equal(c.verb->name, "run");
		assert_int_equal(c.arg_count, 1);
		assert_string_equal(c.args[0], "plan.yaml");
		assert_string_equal(c.opt[OPT_MACHINE], "db");
	}
}

static void verbose_counts(void **state)
{
	struct cli c;
	AUTO_FREE char *a = parse(&c, "run p -v --verbose -vv");

	(void)state;
	assert_string_equal(a, "");
	assert_int_equal(c.verbose, 4);
}

static void slips_of_the_finger_are_answered_with_what_was_meant(void **state)
{
	(void)state;
	expect_error("preveiw p", "unknown verb 'preveiw'\ndid you mean `drover preview`?");
	expect_error("frobnicate", "unknown verb 'frobnicate'\n`drover help` lists the verbs");
	expect_error("run --unitl convert p", "unknown option '--unitl'\ndid you mean --until?");
	expect_error("run --zzzzzzz p", "unknown option '--zzzzzzz'\n`drover help run` lists the options");
	expect_error("check --discard-target-writes p",
		     "`drover check` takes no option --discard-target-writes\n"
		     "--discard-target-writes belongs to: rollback");
	expect_error("--to convert run p", "`drover run` takes no option --to\n--to belongs to: rollback");
	expect_error("run --only converts p", "option --only: 'converts' is no PHASE\n"
		     "one of: assess backup convert reconfigure validate cutover");
	expect_error("run --only= p", "option --only: '' is no PHASE\n"
		     "one of: assess backup convert reconfigure validate cutover");
	expect_error("run p --machine", "option --machine needs a value\n"
		     "--machine NAME: only these machines: a name, a glob, or label=value");
	expect_error("run p --machine=", "option --machine: the value is empty\n"
		     "--machine NAME: only these machines: a name, a glob, or label=value");
	expect_error("run p --json=yes", "option --json takes no value\nwrite --json alone");
	expect_error("run p -m a -m b", "option --machine is given twice: 'a' and 'b'\ngive it once");
	expect_error("run", "`drover run` needs PLAN|PREVIEW\nusage: drover run [options] PLAN|PREVIEW");
	expect_error("run a b", "`drover run` does not know what to do with 'b'\n"
		     "usage: drover run [options] PLAN|PREVIEW");
}

static void help_is_given_whichever_way_it_is_asked_for(void **state)
{
	static const char *const lines[] = { "help run", "run --help", "run -h", "--help run" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		struct cli c;
		AUTO_FREE char *got = parse(&c, lines[i]);

		assert_string_equal(got, "");
		assert_string_equal(c.verb->name, "help");
		assert_string_equal(c.args[0], "run");
	}
}

static char *capture(void (*fn)(FILE *, const struct verb *), const struct verb *v)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	if (fn)
		fn(f, v);
	else
		help_all(f);
	fclose(f);
	return text;
}

static void assert_narrow(const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		if (n > 80)
			fail_msg("%zu columns: %.*s", n, (int)n, text);
		text += n + (text[n] == '\n');
	}
}

static void help_fits_into_80_columns_and_tells_every_option(void **state)
{
	AUTO_FREE char *all = capture(NULL, NULL);

	(void)state;
	assert_narrow(all);
	for (const struct verb *v = verbs; v->name; v++) {
		AUTO_FREE char *text = capture(help_verb, v);

		assert_narrow(text);
		assert_non_null(strstr(all, v->name));
		for (int o = 0; o < OPT_COUNT; o++) {
			AUTO_FREE char *name = mem_printf("--%s", option_rows[o].name);

			if (option_rows[o].summary && verb_takes(v, (enum opt)o))
				assert_non_null(strstr(text, name));
		}
	}
}

static void every_verb_has_a_summary_an_example_and_a_row_of_its_own(void **state)
{
	(void)state;
	for (const struct verb *v = verbs; v->name; v++) {
		assert_non_null(v->run);
		assert_non_null(v->example);
		assert_true(strlen(v->summary) < 68);
		assert_ptr_equal(verb_find(v->name), v);
		assert_int_equal(strncmp(v->example, "drover ", 7), 0);
	}
}

static void assert_page(const struct verb *v, const char *name)
{
	AUTO_FREE char *path = mem_printf("docs/man/drover%s%s.1", v ? "-" : "", name);
	AUTO_FREE char *want = capture(help_man, v);
	AUTO_FREE char *got = io_read_file(-100, path, 1 << 20, NULL);

	if (!got)
		fail_msg("%s is missing: drover help --man %s > %s", path, name, path);
	if (strcmp(got, want) != 0)
		fail_msg("%s is old: drover help --man %s > %s", path, name, path);
}

/* The pages in docs/man are what the tables say. */
static void man_pages_are_up_to_date(void **state)
{
	(void)state;
	assert_page(NULL, "");
	for (const struct verb *v = verbs; v->name; v++)
		assert_page(v, v->name);
}

/* ---- questions ----------------------------------------------------------- */

struct talk {
	struct cli c;
	char *out, *err;
	size_t out_len, err_len;
};

static void talk_begin(struct talk *t, bool tty, const char *input)
{
	memset(t, 0, sizeof(*t));
	cli_init(&t->c);
	t->c.tty_in = t->c.tty_out = tty;
	t->c.in = fmemopen((void *)(uintptr_t)input, strlen(input), "r");
	t->c.out = open_memstream(&t->out, &t->out_len);
	t->c.err = open_memstream(&t->err, &t->err_len);
}

static void talk_end(struct talk *t, const char *out, const char *err)
{
	fclose(t->c.in);
	fclose(t->c.out);
	fclose(t->c.err);
	assert_string_equal(t->out, out);
	assert_string_equal(t->err, err);
	free(t->out);
	free(t->err);
}

static void only_yes_is_a_yes(void **state)
{
	static const char *const inputs[] = { "yes\n", "y\n", "YES\n", "\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(inputs); i++) {
		struct talk t;

		talk_begin(&t, true, inputs[i]);
		assert_int_equal(cli_confirm(&t.c, "Cut over %s.", "db"), i == 0 ? 0 : ERR_WAITING);
		talk_end(&t, "\nCut over db.\n  only 'yes' is accepted: ",
			 i == 0 ? "" : "drover: not confirmed; nothing was done\n");
	}
}

static void without_a_terminal_the_answer_has_to_be_given_beforehand(void **state)
{
	struct talk t;

	(void)state;
	talk_begin(&t, false, "yes\n");
	assert_int_equal(cli_confirm(&t.c, "Cut over db."), ERR_WAITING);
	talk_end(&t, "", "drover: nobody is at a terminal to confirm: Cut over db.\n"
		 "  give -y to say yes beforehand\n");
	talk_begin(&t, false, "no\n");
	t.c.opt[OPT_YES] = "";
	assert_int_equal(cli_confirm(&t.c, "Cut over db."), 0);
	talk_end(&t, "", "");
}

static void a_name_is_typed_for_what_minus_y_does_not_answer(void **state)
{
	struct talk t;

	(void)state;
	talk_begin(&t, true, "erp\n");
	t.c.opt[OPT_YES] = "";
	assert_int_equal(cli_confirm_word(&t.c, "erp", "Finalize."), 0);
	talk_end(&t, "\nFinalize.\n  only 'erp' is accepted: ", "");
	talk_begin(&t, true, "yes\n");
	assert_int_equal(cli_confirm_word(&t.c, "erp", "Finalize."), ERR_WAITING);
	talk_end(&t, "\nFinalize.\n  only 'erp' is accepted: ",
		 "drover: not confirmed; nothing was done\n");
	talk_begin(&t, false, "erp\n");
	t.c.opt[OPT_YES] = "";
	assert_int_equal(cli_confirm_word(&t.c, "erp", "Finalize."), ERR_WAITING);
	talk_end(&t, "", "drover: nobody is at a terminal to confirm: Finalize.\n"
		 "  give --confirm erp to say yes beforehand\n");
	talk_begin(&t, false, "x");
	t.c.opt[OPT_CONFIRM] = "erq";
	assert_int_equal(cli_confirm_word(&t.c, "erp", "Finalize."), ERR_USAGE);
	talk_end(&t, "", "drover: --confirm 'erq' is not 'erp'; nothing was done\n"
		 "  give --confirm erp\n");
}

/* ---- tables, JSON, files ------------------------------------------------- */

static void tables_are_aligned_and_escaped(void **state)
{
	static const char *const titles[] = { "machine", ">steps", "what", NULL };
	static const char *const a[] = { "erp-db", "12", "fine" }, *const b[] = { "x", "3", "a\x1b[2J" };
	static const char *const none[] = { "y", NULL, NULL };
	struct talk t;
	struct table *table;

	(void)state;
	talk_begin(&t, false, "x");
	table = table_new(&t.c, titles);
	table_row(table, a);
	table_row(table, b);
	table_row(table, none);
	table_print(table);
	talk_end(&t, "machine  steps  what\n"
		     "erp-db      12  fine\n"
		     "x            3  a\\x1b[2J\n"
		     "y            -  -\n", "");
}

static void what_a_table_cuts_ends_with_a_mark(void **state)
{
	static const char *const titles[] = { "host", "~has", "lacks", NULL };
	static const char *const a[] = { "here", "qemu-img, qemu-nbd", "virsh" };
	static const char *const b[] = { "there", "ip", "-" };
	struct talk t;
	struct table *table;

	(void)state;
	setenv("COLUMNS", "24", 1);
	talk_begin(&t, true, "x");
	table = table_new(&t.c, titles);
	table_row(table, a);
	table_row(table, b);
	table_print(table);
	unsetenv("COLUMNS");
	talk_end(&t, "host   has         lacks\n"
		     "here   qemu-img,~  virsh\n"
		     "there  ip          -\n", "");
}

static void json_lines_begin_with_version_and_type(void **state)
{
	struct talk t;

	(void)state;
	talk_begin(&t, false, "x");
	cli_json(&t.c, "host", json_pack("{s:s}", "host", "db1"));
	fflush(t.c.out);
	assert_int_equal(strncmp(t.out, "{\"v\":1,\"t\":\"host\",\"at\":\"", 24), 0);
	assert_non_null(strstr(t.out, ",\"host\":\"db1\"}\n"));
	fclose(t.c.in);
	fclose(t.c.out);
	fclose(t.c.err);
	free(t.out);
	free(t.err);
}

static void a_plan_is_no_saved_preview_and_a_broken_one_is_told(void **state)
{
	static const struct { const char *text, *error; int rc; } rows[] = {
		{ "plan: erp\n", NULL, 0 },
		{ "{plan: erp}\n", NULL, 0 },
		{ "{\"drover\": \"preview\", \"v\": 1, \"file\": \"p\", \"preview\": {}}", NULL, 1 },
		{ "{\"drover\": \"preview\", \"v\": 9, \"file\": \"p\", \"preview\": {}}",
		  "cannot use the saved preview 'x': another version of drover made it", -1 },
		{ "{\"drover\": \"preview\", \"v\": 1, \"preview\": {}}",
		  "cannot use the saved preview 'x': it is damaged", -1 },
		{ "{\"drover\": \"preview\", \"v\": 1, ", "cannot use the saved preview 'x': it is damaged", -1 },
	};
	char dir[] = "/tmp/drover-test.XXXXXX", *cwd = getcwd(NULL, 0);

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_JSON *doc = NULL;
		AUTO_ERR e = {0};

		io_write_file(-100, "x", rows[i].text, strlen(rows[i].text), 0644);
		assert_int_equal(report_saved("x", &doc, &e), rows[i].rc);
		if (rows[i].error)
			assert_string_equal(e.what, rows[i].error);
	}
	assert_int_equal(chdir(cwd), 0);
	free(cwd);
	io_remove_tree(dir);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_taken_in_every_spelling),
		cmocka_unit_test(verbose_counts),
		cmocka_unit_test(slips_of_the_finger_are_answered_with_what_was_meant),
		cmocka_unit_test(help_is_given_whichever_way_it_is_asked_for),
		cmocka_unit_test(help_fits_into_80_columns_and_tells_every_option),
		cmocka_unit_test(every_verb_has_a_summary_an_example_and_a_row_of_its_own),
		cmocka_unit_test(man_pages_are_up_to_date),
		cmocka_unit_test(only_yes_is_a_yes),
		cmocka_unit_test(without_a_terminal_the_answer_has_to_be_given_beforehand),
		cmocka_unit_test(a_name_is_typed_for_what_minus_y_does_not_answer),
		cmocka_unit_test(tables_are_aligned_and_escaped),
		cmocka_unit_test(what_a_table_cuts_ends_with_a_mark),
		cmocka_unit_test(json_lines_begin_with_version_and_type),
		cmocka_unit_test(a_plan_is_no_saved_preview_and_a_broken_one_is_told),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
