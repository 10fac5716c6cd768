/* SPDX-License-Identifier: Apache-2.0
 * test_proc - programs that are run, and threads.
 */
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "engine/base/thread.h"

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

static void assert_cannot_run(const char *program, const char *why)
{
	struct proc p = { .argv = (const char *[]){ program, NULL } };
	AUTO_ERR e = {0};

	assert_int_equal(proc_run(&p, &e), -1);
	assert_string_equal(e.what, why);
	proc_free(&p);
}

static void a_program_that_cannot_be_executed_says_why(void **s)
{
	(void)s;
	assert_cannot_run("/dev", "cannot run '/dev': Permission denied");
}

static void a_program_that_is_missing_is_named(void **s)
{
	(void)s;
	assert_cannot_run("no-such-program",
			  "cannot run 'no-such-program': No such file or directory");
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

	return cmocka_run_group_tests(tests, NULL, NULL);
}
