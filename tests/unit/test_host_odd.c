/* SPDX-License-Identifier: Apache-2.0
 * test_host_odd - the real agent on hosts where root is had by sudo, where shells talk,
 * and where something stands in its way; a real sshd on loopback.
 */
#include "engine/base/mem.h"
#include "engine/host/link.h"
#include "engine/host/ssh.h"
#include "tests/unit/sshtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

/* ---- becoming root -------------------------------------------------------------------- */

static void sudo_with_password(const struct sshd *s)
{
	sshd_overlay(s, "/etc/sudoers", "Defaults use_pty\nroot ALL=(ALL:ALL) ALL\n"
		     "drover ALL=(root) ALL\n", 0440);
}

static void sudo_without_password(const struct sshd *s)
{
	sshd_overlay(s, "/etc/sudoers", "drover ALL=(root) NOPASSWD: ALL\n", 0440);
}

static void sudo_for_others(const struct sshd *s)
{
	sshd_overlay(s, "/etc/sudoers", "root ALL=(ALL:ALL) ALL\n", 0440);
}

static int setup_sudo_password(void **state)
{
	return sshtest_setup(state, NULL, sudo_with_password);
}

static int setup_sudo_free(void **state)
{
	return sshtest_setup(state, NULL, sudo_without_password);
}

static int setup_sudo_others(void **state)
{
	return sshtest_setup(state, NULL, sudo_for_others);
}

static json_t *sudo_spec(const struct sshtest *f, const char *password)
{
	json_t *spec = sshd_spec(f->sshd, "db1", "drover");

	if (password)
		jset(spec, "become", json_pack("{s:{s:s+}}", "sudo", "password", "secret:",
					       password));
	else
		jset(spec, "become", json_pack("{s:b}", "sudo", 1));
	return spec;
}

static void check_root(struct sshtest *f, const char *password)
{
	AUTO_JSON *spec = sudo_spec(f, password);
	AUTO_JSON *local = json_pack("{s:s, s:b}", "name", "here", "local", 1);
	struct hosttest t, here;

	sshtest_open(&t, f, spec);
	sshtest_open(&here, f, local);
	assert_int_equal(jint(t.host->hello, "uid", -1), 0);
	sshtest_join(f, &t, &here, 10000000);
	sshtest_join(f, &here, &t, 10000000);
	hosttest_close(&t);
	hosttest_close(&here);
}

static void sudo_takes_the_password(void **state)
{
	check_root(*state, "secret");
}

static void sudo_wants_no_password(void **state)
{
	check_root(*state, NULL);
}

static void a_password_that_nobody_wants_does_no_harm(void **state)
{
	check_root(*state, "secret");
}

/* Whatever the agent's programs say later: the password goes to sudo alone. */
static void what_looks_like_a_prompt_later_is_not_answered(void **state)
{
	struct sshtest *f = *state;
	AUTO_JSON *spec = sudo_spec(f, "secret");
	struct hosttest t;

	sshtest_open(&t, f, spec);
	for (int i = 0; i < 2; i++) {
		AUTO_FREE char *line = mem_printf("echo '[drover asks for a password]' "
			">/proc/%d/fd/2", (int)jint(t.host->hello, "pid", 0));
		AUTO_JSON *result = hosttest_call(&t, "call.exec", "apply",
			json_pack("{s:[s,s,s]}", "argv", "sh", "-c", line));

		assert_true(jbool(result, "ok", false));
		assert_int_equal(jint(result, "volatile.status", -1), 0);
	}
	hosttest_close(&t);
}

static void sudo_wants_a_password_that_is_not_given(void **state)
{
	struct sshtest *f = *state;

	sshtest_refused(f, sudo_spec(f, NULL), "cannot become root on 'db1': sudo: a password is required | "
		"give the password: become: { sudo: { password: \"secret:NAME\" } }, or let "
		"sudoers ask for none: drover ALL=(root) NOPASSWD: ALL");
}

static void the_password_is_wrong(void **state)
{
	struct sshtest *f = *state;

	sshtest_refused(f, sudo_spec(f, "wrong"), "cannot become root on 'db1': the password is wrong | "
		"is drover in sudoers there, and the password the right one? "
		"ssh -t drover@127.0.0.1 sudo true");
}

static void the_user_is_not_in_sudoers(void **state)
{
	struct sshtest *f = *state;

	sshtest_refused(f, sudo_spec(f, "secret"), "cannot become root on 'db1': drover is not in the "
		"sudoers file. | is drover in sudoers there, and the password the right one? "
		"ssh -t drover@127.0.0.1 sudo true");
}

/* ---- what stands in the way -------------------------------------------------------------------------- */

static void rc_file(const struct sshd *s, const char *text)
{
	AUTO_FREE char *path = sshd_file(s, "home/.bashrc", text);

	if (!path)
		_exit(126);
}

static void some_noise(const struct sshd *s)
{
	rc_file(s, "echo welcome to the machine; echo DROVER1 nonsense; echo oops >&2\n");
}

static void much_noise(const struct sshd *s)
{
	rc_file(s, "echo welcome to the machine; head -c 100000 /dev/zero | tr '\\0' x\n");
}

static void a_shell_that_ends(const struct sshd *s)
{
	rc_file(s, "echo maintenance, come back later >&2; exit 3\n");
}

static int setup_some_noise(void **state)
{
	return sshtest_setup(state, NULL, some_noise);
}

static int setup_much_noise(void **state)
{
	return sshtest_setup(state, NULL, much_noise);
}

static int setup_shell_ends(void **state)
{
	return sshtest_setup(state, NULL, a_shell_that_ends);
}

static void some_noise_is_passed_over(void **state)
{
	struct sshtest *f = *state;
	AUTO_JSON *spec = sshd_spec(f->sshd, "db1", "drover");
	AUTO_JSON *local = json_pack("{s:s, s:b}", "name", "here", "local", 1);
	struct hosttest t, here;

	sshtest_open(&t, f, spec);
	sshtest_open(&here, f, local);
	assert_int_equal(jint(t.host->hello, "uid", -1), 4242);
	sshtest_join(f, &t, &here, 1000000);
	hosttest_close(&t);
	hosttest_close(&here);
}

static void much_noise_is_quoted(void **state)
{
	struct sshtest *f = *state;

	sshtest_refused(f, sshd_spec(f->sshd, "db1", "drover"), "cannot start the agent on 'db1': more than "
		"64 KiB came before it, beginning with 'welcome to the machine' | start-up files "
		"of the shell must print nothing when no terminal is there");
}

static void a_shell_that_ends_is_quoted(void **state)
{
	struct sshtest *f = *state;

	sshtest_refused(f, sshd_spec(f->sshd, "db1", "drover"), "cannot start the agent on 'db1': the shell "
		"ended with status 3: maintenance, come back later | does "
		"`ssh drover@127.0.0.1 true` work?");
}

static void mount_shm(const char *options)
{
	if (mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | (strstr(options, "noexec") ? MS_NOEXEC : 0),
		  strstr(options, "size") ? options : "mode=1777") < 0)
		_exit(126);
}

static void noexec(const struct sshd *s)
{
	(void)s;
	mount_shm("noexec");
}

static void little_space(const struct sshd *s)
{
	(void)s;
	mount_shm("size=1m,mode=1777");
}

static void no_tmpfs(const struct sshd *s)
{
	if (mount(s->dir, "/dev/shm", NULL, MS_BIND, NULL) < 0)
		_exit(126);
}

static void other_machine(const struct sshd *s)
{
	sshd_overlay(s, "/usr/bin/uname", "#!/bin/sh\necho Linux riscv64\n", 0755);
}

static void no_zstd(const struct sshd *s)
{
	if (access("/usr/bin/zstd", F_OK) == 0)
		sshd_overlay(s, "/usr/bin/zstd", "", 0644);
}

static int setup_no_zstd(void **state)
{
	return sshtest_setup(state, NULL, no_zstd);
}

static int setup_noexec(void **state)
{
	return sshtest_setup(state, NULL, noexec);
}

static int setup_little_space(void **state)
{
	return sshtest_setup(state, NULL, little_space);
}

static int setup_no_tmpfs(void **state)
{
	return sshtest_setup(state, NULL, no_tmpfs);
}

static int setup_other_machine(void **state)
{
	return sshtest_setup(state, NULL, other_machine);
}

static void a_host_without_zstd_gets_the_agent_as_it_is(void **state)
{
	struct sshtest *f = *state;
	AUTO_JSON *spec = sshd_spec(f->sshd, "db1", "drover");
	struct hosttest t;
	size_t size;

	link_agent_blob(&size);
	sshtest_open(&t, f, spec);
	assert_true(((struct sshost *)t.host->impl)->sent == size);
	hosttest_close(&t);
}

static void programs_may_not_run_from_memory(void **state)
{
	struct sshtest *f = *state;

	sshtest_refused(f, sshd_spec(f->sshd, "db1", "drover"), "cannot start the agent on 'db1': programs "
		"may not run from any tmpfs there: /dev/shm | allow it for one of them: mount -o "
		"remount,exec /dev/shm");
}

static void there_is_no_memory_for_it(void **state)
{
	struct sshtest *f = *state;

	sshtest_refused(f, sshd_spec(f->sshd, "db1", "drover"), "cannot start the agent on 'db1': not "
		"enough space in /dev/shm | it needs 8 MiB: remove files there, or make it "
		"larger: mount -o remount,size=64m");
}

static void no_disk_is_written_to(void **state)
{
	struct sshtest *f = *state;

	sshtest_refused(f, sshd_spec(f->sshd, "db1", "drover"), "cannot start the agent on 'db1': no tmpfs "
		"there can be written to, and no disk may be | mount one: mount -t tmpfs -o "
		"mode=1777 tmpfs /dev/shm");
}

static void the_machine_is_of_another_kind(void **state)
{
	struct sshtest *f = *state;

	sshtest_refused(f, sshd_spec(f->sshd, "db1", "drover"), "cannot start the agent on 'db1': it is a "
		"machine of another kind: Linux riscv64 | drover's agent runs on machines of the "
		"same kind as drover itself");
}

static int setup_one_session(void **state)
{
	return sshtest_setup(state, "MaxSessions 1", NULL);
}

static void a_stream_needs_a_second_session(void **state)
{
	struct sshtest *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "db1", "root");
	AUTO_JSON *two = json_pack("{s:s, s:b}", "name", "here", "local", 1);
	struct hosttest a, b;
	struct calltest from = { 0 }, to = { 0 };
	struct relay *relay = relay_new(f->loop);

	sshtest_open(&a, f, one);
	sshtest_open(&b, f, two);
	from.call.relay = to.call.relay = relay;
	to.call.relay_end = 1;
	calltest_start(&from, &a, "call.link", "apply", "source", NULL);
	calltest_start(&to, &b, "call.link", "apply", "target", NULL);
	calltest_wait(&from);
	calltest_wait(&to);
	assert_string_equal(jstr(from.result, "error.text", ""),
			    "cannot open a stream to 'db1': the host allows no further session");
	assert_string_equal(jstr(from.result, "error.hint", ""), "each copy needs a session "
			    "beside the first: see MaxSessions in sshd_config there");
	assert_false(jbool(to.result, "ok", true));
	calltest_clear(&from);
	calltest_clear(&to);
	relay_free(relay);
	hosttest_close(&a);
	hosttest_close(&b);
}

/* Who judges a key that is not known is killed meanwhile, and so is the shell of one that is. */
static int setup_killed(void **state)
{
	return sshtest_setup(state, "ForceCommand kill -9 $$\nAuthorizedKeysCommand /bin/sh -c \"kill -9 $PPID\"\n"
			     "AuthorizedKeysCommandUser root", NULL);
}

static void a_login_that_is_cut_off_is_no_refusal(void **state)
{
	struct sshtest *f = *state;
	AUTO_FREE char *key = mem_printf("%s/host_key", f->sshd->dir);
	AUTO_FREE char *expected = mem_printf("cannot log in to 'db1' as root: the connection "
		"ended: Socket error: disconnected; tried: %s | does `ssh root@127.0.0.1 true` work? "
		"then the same command again", key);
	json_t *spec = sshd_spec(f->sshd, "db1", "root");

	unsetenv("SSH_AUTH_SOCK");
	jset_str(spec, "identity", key);
	sshtest_refused(f, spec, expected);
}

static void a_shell_that_is_killed_has_no_status(void **state)
{
	struct sshtest *f = *state;

	sshtest_refused(f, sshd_spec(f->sshd, "db1", "root"), "cannot start the agent on 'db1': the "
		"shell was cut off | does `ssh root@127.0.0.1 true` work?");
}

int main(void)
{
	int failed = 0;
	const struct CMUnitTest password[] = {
		cmocka_unit_test(sudo_takes_the_password),
		cmocka_unit_test(what_looks_like_a_prompt_later_is_not_answered),
		cmocka_unit_test(sudo_wants_a_password_that_is_not_given),
		cmocka_unit_test(the_password_is_wrong),
	};
	const struct CMUnitTest free_sudo[] = {
		cmocka_unit_test(sudo_wants_no_password),
		cmocka_unit_test(a_password_that_nobody_wants_does_no_harm),
		cmocka_unit_test(what_looks_like_a_prompt_later_is_not_answered),
	};
	const struct CMUnitTest others[] = { cmocka_unit_test(the_user_is_not_in_sudoers) };
	const struct CMUnitTest unpacked[] = {
		cmocka_unit_test(a_host_without_zstd_gets_the_agent_as_it_is)
	};
	const struct CMUnitTest noise[] = { cmocka_unit_test(some_noise_is_passed_over) };
	const struct CMUnitTest flood[] = { cmocka_unit_test(much_noise_is_quoted) };
	const struct CMUnitTest ends[] = { cmocka_unit_test(a_shell_that_ends_is_quoted) };
	const struct CMUnitTest no_exec[] = { cmocka_unit_test(programs_may_not_run_from_memory) };
	const struct CMUnitTest space[] = { cmocka_unit_test(there_is_no_memory_for_it) };
	const struct CMUnitTest disk[] = { cmocka_unit_test(no_disk_is_written_to) };
	const struct CMUnitTest machine[] = { cmocka_unit_test(the_machine_is_of_another_kind) };
	const struct CMUnitTest killed[] = {
		cmocka_unit_test(a_login_that_is_cut_off_is_no_refusal),
		cmocka_unit_test(a_shell_that_is_killed_has_no_status),
	};
	const struct CMUnitTest sessions[] = { cmocka_unit_test(a_stream_needs_a_second_session) };

	if (!sshtest_can())
		return 77;
	SSHTEST_SUITE(password, setup_sudo_password, "sudo with a password");
	SSHTEST_SUITE(free_sudo, setup_sudo_free, "sudo without one");
	SSHTEST_SUITE(others, setup_sudo_others, "sudo for others");
	SSHTEST_SUITE(unpacked, setup_no_zstd, "no zstd");
	SSHTEST_SUITE(noise, setup_some_noise, "some noise");
	SSHTEST_SUITE(flood, setup_much_noise, "much noise");
	SSHTEST_SUITE(ends, setup_shell_ends, "a shell that ends");
	SSHTEST_SUITE(no_exec, setup_noexec, "noexec");
	SSHTEST_SUITE(space, setup_little_space, "little space");
	SSHTEST_SUITE(disk, setup_no_tmpfs, "no tmpfs");
	SSHTEST_SUITE(machine, setup_other_machine, "another machine");
	SSHTEST_SUITE(killed, setup_killed, "who is killed");
	SSHTEST_SUITE(sessions, setup_one_session, "one session");
	return failed;
}
