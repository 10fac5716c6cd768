/* SPDX-License-Identifier: Apache-2.0
 * The base: units, names, diffs, errors, JSON, the loop, programs.
 */
#include "engine/base/io.h"
#include "engine/base/json.h"
#include "engine/base/loop.h"
#include "engine/base/proc.h"
#include "engine/base/text.h"
#include "engine/base/thread.h"
#include "engine/base/wrap.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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

	(void)s;
	assert_string_equal(text_near("dsiks", names, 3), "disks");
	assert_string_equal(text_near("machine", names, 3), "machines");
	assert_null(text_near("colour", names, 3));
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

static void a_program_gets_its_words_unharmed(void **s)
{
	struct proc p = { .argv = (const char *[]){ "printf", "%s|", "a b", "$HOME;`id`", NULL } };
	AUTO_ERR e = {0};

	(void)s;
	assert_int_equal(proc_run(&p, &e), 0);
	assert_string_equal(p.out.s, "a b|$HOME;`id`|");
	proc_free(&p);
}

static void a_program_that_fails_is_quoted(void **s)
{
	struct proc p = { .argv = (const char *[]){ "sh", "-c", "echo no such disk >&2; exit 3", NULL } };
	AUTO_ERR e = {0};

	(void)s;
	assert_int_equal(proc_run(&p, &e), -1);
	assert_string_equal(e.what,
		"'sh -c 'echo no such disk >&2; exit 3'' exited with status 3: no such disk");
	proc_free(&p);
}

static void a_program_that_does_not_end_is_killed(void **s)
{
	struct proc p = { .argv = (const char *[]){ "sleep", "600", NULL }, .timeout_ms = 50 };
	AUTO_ERR e = {0};

	(void)s;
	assert_int_equal(proc_run(&p, &e), -1);
	assert_true(p.timed_out);
	assert_int_equal(p.status, 128 + 9);
	proc_free(&p);
}

static bool asked_twice(void *n)
{
	return ++*(int *)n > 1;
}

static void a_program_is_told_when_it_is_to_stop(void **s)
{
	int n = 0;
	struct proc p = { .argv = (const char *[]){ "sleep", "600", NULL },
			  .stopped = asked_twice, .arg = &n };
	AUTO_ERR e = {0};

	(void)s;
	assert_int_equal(proc_run(&p, &e), -1);
	assert_false(p.timed_out);
	assert_int_equal(p.status, 128 + SIGTERM);
	proc_free(&p);
}

static void a_daemon_left_behind_does_not_hold_its_starter(void **s)
{
	struct proc p = { .argv = (const char *[]){ "sh", "-c", "sleep 600 & echo $!", NULL },
			  .timeout_ms = 60000 };
	AUTO_ERR e = {0};

	(void)s;
	assert_int_equal(proc_run(&p, &e), 0);
	assert_false(p.timed_out);
	assert_int_equal(kill((pid_t)atoi(p.out.s), 9), 0);
	proc_free(&p);
}

static void a_daemon_that_goes_on_writing_does_not_hold_its_starter(void **s)
{
	struct proc p = { .argv = (const char *[]){ "sh", "-c", "echo $$; yes & echo $!", NULL },
			  .timeout_ms = 60000 };
	AUTO_ERR e = {0};
	int sh, yes;

	(void)s;
	assert_int_equal(proc_run(&p, &e), 0);
	assert_int_equal(sscanf(p.out.s, "%d", &sh), 1);
	/* the group that it ran in is still there, with the daemon in it */
	yes = kill(-sh, 9);
	proc_free(&p);
	assert_int_equal(yes, 0);
}

static void a_program_that_closed_its_outputs_is_still_ended(void **s)
{
	const char *words[] = { "sh", "-c", "exec sleep 600 >&- 2>&-", NULL };
	struct proc late = { .argv = words, .timeout_ms = 50 };
	int n = 0;
	struct proc told = { .argv = words, .stopped = asked_twice, .arg = &n };
	AUTO_ERR e = {0};

	(void)s;
	assert_int_equal(proc_run(&late, &e), -1);
	assert_true(late.timed_out);
	assert_int_equal(late.status, 128 + SIGKILL);
	assert_int_equal(proc_run(&told, &e), -1);
	assert_false(told.timed_out);
	assert_int_equal(told.status, 128 + SIGTERM);
	proc_free(&late);
	proc_free(&told);
}

static void a_program_starts_with_no_signal_held_back(void **s)
{
	struct proc term = { .argv = (const char *[]){ "sh", "-c", "kill -TERM $$", NULL } };
	struct proc pipe = { .argv = (const char *[]){ "sh", "-c", "kill -PIPE $$", NULL } };
	sigset_t set, old;
	AUTO_ERR e = {0};

	(void)s;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, &old);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(proc_run(&term, &e), -1);
	assert_int_equal(proc_run(&pipe, &e), -1);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &old, NULL);
	assert_int_equal(term.status, 128 + SIGTERM);
	assert_int_equal(pipe.status, 128 + SIGPIPE);
	proc_free(&term);
	proc_free(&pipe);
}

/* In this process that system call fails. */
static void deny(unsigned call, unsigned error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_LEN(code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		_exit(2);
}

static void old_kernels_see_the_end_of_a_program_too(void **s)
{
	pid_t pid = fork();
	int st;

	(void)s;
	if (pid == 0) {
		struct proc late = { .argv = (const char *[]){ "sh", "-c",
				     "exec sleep 600 >&- 2>&-", NULL }, .timeout_ms = 50 };
		struct proc well = { .argv = (const char *[]){ "sh", "-c",
				     "exec sleep 0.01 >&- 2>&-", NULL } };

		deny(SYS_pidfd_open, ENOSYS);	/* a kernel before 5.3 */
		_exit(proc_run(&late, NULL) < 0 && late.timed_out &&
		      proc_run(&well, NULL) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_int_equal(st, 0);
}

static void *idle(void *arg) { return arg; }

static void no_thread_is_like_no_memory(void **s)
{
	static const char want[] = "drover: cannot start a thread: Resource temporarily "
				   "unavailable; ";
	char said[sizeof(want)] = "";
	int out[2], st;
	pid_t pid;

	(void)s;
	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (pid == 0) {
		pthread_t t;

		dup2(out[1], 2);
		deny(SYS_clone3, EAGAIN);
		deny(SYS_clone, EAGAIN);
		thread_start(&t, idle, NULL);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_true(WIFEXITED(st));
	assert_int_equal(WEXITSTATUS(st), MEM_NONE);
	assert_true(read(out[0], said, sizeof(said) - 1) > 0);
	assert_string_equal(said, want);
	close(out[0]);
	close(out[1]);
}

static void a_program_that_cannot_be_executed_says_why(void **s)
{
	struct proc p = { .argv = (const char *[]){ "/dev", NULL } };
	AUTO_ERR e = {0};

	(void)s;
	assert_int_equal(proc_run(&p, &e), -1);
	assert_string_equal(e.what, "cannot run '/dev': Permission denied");
	proc_free(&p);
}

static void a_program_that_is_missing_is_named(void **s)
{
	struct proc p = { .argv = (const char *[]){ "no-such-program", NULL } };
	AUTO_ERR e = {0};

	(void)s;
	assert_int_equal(proc_run(&p, &e), -1);
	assert_string_equal(e.what, "cannot run 'no-such-program': No such file or directory");
	proc_free(&p);
}

static void input_reaches_a_program_whole(void **s)
{
	size_t n = 300000;
	AUTO_FREE char *in = mem_alloc(n + 1);
	struct proc p = { .argv = (const char *[]){ "cat", NULL }, .input_len = n };
	AUTO_ERR e = {0};

	(void)s;
	memset(in, 'z', n);
	p.input = in;
	assert_int_equal(proc_run(&p, &e), 0);
	assert_int_equal(p.out.len, n);
	assert_memory_equal(p.out.s, in, n);
	proc_free(&p);
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
		cmocka_unit_test(a_program_gets_its_words_unharmed),
		cmocka_unit_test(a_program_that_fails_is_quoted),
		cmocka_unit_test(a_program_that_does_not_end_is_killed),
		cmocka_unit_test(a_program_is_told_when_it_is_to_stop),
		cmocka_unit_test(a_daemon_left_behind_does_not_hold_its_starter),
		cmocka_unit_test(a_daemon_that_goes_on_writing_does_not_hold_its_starter),
		cmocka_unit_test(a_program_that_closed_its_outputs_is_still_ended),
		cmocka_unit_test(a_program_starts_with_no_signal_held_back),
		cmocka_unit_test(old_kernels_see_the_end_of_a_program_too),
		cmocka_unit_test(no_thread_is_like_no_memory),
		cmocka_unit_test(a_program_that_cannot_be_executed_says_why),
		cmocka_unit_test(a_program_that_is_missing_is_named),
		cmocka_unit_test(input_reaches_a_program_whole),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
