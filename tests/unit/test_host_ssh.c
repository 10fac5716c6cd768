/* SPDX-License-Identifier: Apache-2.0
 * test_host_ssh - the real agent over a real sshd on loopback: what works, and what
 * people read when it does not.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/host/link.h"
#include "engine/host/ssh.h"
#include "tests/unit/hosttest.h"
#include "tests/unit/sshd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

struct fixture {
	struct loop *loop;
	struct sshd *sshd;
};

static int setup_with(void **state, const char *extra, void (*prepare)(const struct sshd *s))
{
	struct fixture *f = mem_alloc(sizeof(*f));

	f->loop = loop_new(&clock_real);
	f->sshd = sshd_start(extra, prepare);
	*state = f;
	return f->sshd ? 0 : -1;
}

static int setup(void **state)
{
	return setup_with(state, NULL, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sshd_stop(f->sshd);
	loop_free(f->loop);
	free(f);
	return 0;
}

static void open_up(struct hosttest *t, struct fixture *f, const json_t *spec)
{
	hosttest_open(t, f->loop, spec);
	if (t->down)
		fail_msg("%s", t->why.what);
}

/* The host cannot be had; what people read is exactly this. Steals the spec. */
static void refused(struct fixture *f, json_t *spec, const char *expected)
{
	struct hosttest t;

	hosttest_open(&t, f->loop, spec);
	json_decref(spec);
	assert_true(t.down);
	AUTO_FREE char *why = hosttest_why(&t);
	assert_string_equal(why, expected);
	hosttest_close(&t);
}

/* ---- what works -------------------------------------------------------------------- */

static void a_call_runs_over_ssh(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *spec = sshd_spec(f->sshd, "db1", "root");
	struct hosttest t;

	open_up(&t, f, spec);
	AUTO_JSON *r = hosttest_call(&t, "call.stat", "probe",
				     json_pack("{s:s}", "path", "/proc"));
	assert_true(jbool(r, "ok", false));
	assert_string_equal(jstr(r, "volatile.kind", ""), "dir");
	hosttest_close(&t);
}

static void nothing_of_the_agent_lies_on_the_host(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *spec = sshd_spec(f->sshd, "db1", "root");
	struct hosttest t;
	const char *name;
	json_t *entry;
	size_t i;

	open_up(&t, f, spec);
	const char *nonce = ((struct sshost *)t.host->impl)->nonce;
	AUTO_JSON *r = hosttest_call(&t, "call.list", "probe",
				     json_pack("{s:s}", "path", "/dev/shm"));
	json_array_foreach(jget(r, "volatile.entries"), i, entry) {
		name = json_string_value(entry);
		/* others may just be connecting */
		if (strncmp(name, "drover-", 7) == 0 && strcmp(name + 7, nonce) == 0)
			fail_msg("/dev/shm/%s is left", name);
	}
	AUTO_FREE char *exe = mem_printf("/proc/%d/exe",
					 (int)jint(t.host->hello, "pid", 0));
	char target[256] = "";
	assert_true(readlink(exe, target, sizeof(target) - 1) > 0);
	assert_non_null(strstr(target, "(deleted)"));
	hosttest_close(&t);
}

struct way { int told; bool direct; char how[200]; };

static void on_way(void *arg, bool direct, const char *how)
{
	struct way *w = arg;

	w->told++;
	w->direct = direct;
	snprintf(w->how, sizeof(w->how), "%s", how);
}

static struct way join_by(struct fixture *f, struct hosttest *from, struct hosttest *to,
			  int bytes, enum stream_way way)
{
	struct calltest a = { 0 }, b = { 0 };
	struct relay *relay = relay_new(f->loop);
	struct way w = { 0 };

	relay_way(relay, way, on_way, &w);
	a.call.relay = b.call.relay = relay;
	b.call.relay_end = 1;
	calltest_start(&b, to, "call.link", "apply", "target",
		       json_pack("{s:i}", "bytes", bytes));
	calltest_start(&a, from, "call.link", "apply", "source",
		       json_pack("{s:i}", "bytes", bytes));
	calltest_wait(&a);
	calltest_wait(&b);
	if (!jbool(a.result, "ok", false))
		fail_msg("source: %s", jstr(a.result, "error.text", "?"));
	if (!jbool(b.result, "ok", false))
		fail_msg("target: %s", jstr(b.result, "error.text", "?"));
	assert_string_equal(jstr(a.result, "volatile.digest", "a"),
			    jstr(b.result, "volatile.digest", "b"));
	calltest_clear(&a);
	calltest_clear(&b);
	assert_int_equal(w.told, 1);
	assert_true(w.direct == (relay_bytes(relay) == 0 && bytes > 0));
	relay_free(relay);
	return w;
}

static void join(struct fixture *f, struct hosttest *from, struct hosttest *to, int bytes)
{
	join_by(f, from, to, bytes, WAY_RELAY);
}

static void a_direct_stream_passes_the_engine_by(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "one", "root");
	AUTO_JSON *two = sshd_spec(f->sshd, "two", "drover");
	AUTO_JSON *here = json_pack("{s:s, s:b}", "name", "here", "local", 1);
	struct hosttest a, b, c;
	struct way w;

	open_up(&a, f, one);
	open_up(&b, f, two);
	open_up(&c, f, here);
	w = join_by(f, &a, &b, 50000000, WAY_DIRECT);
	assert_true(w.direct);
	assert_non_null(strstr(w.how, "directly from 'one' to 'two' at 127.0.0.1 port "));
	/* who has no address of his own connects */
	w = join_by(f, &a, &c, 20000000, WAY_DIRECT);
	assert_non_null(strstr(w.how, "directly from 'here' to 'one' at 127.0.0.1 port "));
	hosttest_close(&a);
	hosttest_close(&b);
	hosttest_close(&c);
}

static void a_stream_that_cannot_go_directly_goes_through_the_engine(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "one", "root");
	AUTO_JSON *two = sshd_spec(f->sshd, "two", "root");
	struct hosttest a, b;
	struct way w;

	/* an address that is nobody's here (TEST-NET-1) */
	jset_str(two, "data", "192.0.2.1:7000-7001");
	open_up(&a, f, one);
	open_up(&b, f, two);
	w = join_by(f, &a, &b, 3000000, WAY_AUTO);
	assert_false(w.direct);
	assert_string_equal(w.how, "through the engine, as it cannot go directly: 'two': cannot "
			    "listen on 192.0.2.1, ports 7000 to 7001: Cannot assign requested "
			    "address");
	hosttest_close(&a);
	hosttest_close(&b);
}

static void a_stream_that_may_only_go_directly_fails_when_it_cannot(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "one", "root");
	AUTO_JSON *two = sshd_spec(f->sshd, "two", "root");
	struct relay *relay = relay_new(f->loop);
	struct calltest from = { 0 }, to = { 0 };
	struct hosttest a, b;

	jset_str(two, "data", "192.0.2.1");
	open_up(&a, f, one);
	open_up(&b, f, two);
	relay_way(relay, WAY_DIRECT, NULL, NULL);
	from.call.relay = to.call.relay = relay;
	to.call.relay_end = 1;
	calltest_start(&from, &a, "call.link", "apply", "source", NULL);
	calltest_start(&to, &b, "call.link", "apply", "target", NULL);
	calltest_wait(&from);
	calltest_wait(&to);
	assert_string_equal(jstr(from.result, "error.text", ""), "cannot open a direct stream: "
			    "'two': cannot listen on 192.0.2.1: Cannot assign requested address");
	assert_string_equal(jstr(from.result, "error.hint", ""), "open TCP between the two hosts "
			    "(hosts: data names address and ports), or say stream: auto");
	assert_string_equal(jstr(to.result, "error.text", ""), jstr(from.result, "error.text", "-"));
	calltest_clear(&from);
	calltest_clear(&to);
	relay_free(relay);
	hosttest_close(&a);
	hosttest_close(&b);
}

static void a_direct_stream_that_is_not_wanted_any_more_is_forgotten(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "one", "root");
	AUTO_JSON *two = sshd_spec(f->sshd, "two", "root");
	struct hosttest a, b;

	open_up(&a, f, one);
	open_up(&b, f, two);
	/* stopped after so many turns of the loop: before, while and after they meet */
	for (int turns = 0; turns < 40; turns++) {
		struct relay *relay = relay_new(f->loop);
		struct calltest from = { 0 }, to = { 0 };

		relay_way(relay, WAY_DIRECT, NULL, NULL);
		from.call.relay = to.call.relay = relay;
		to.call.relay_end = 1;
		calltest_start(&from, &a, "call.link", "apply", "source", NULL);
		calltest_start(&to, &b, "call.link", "apply", "target", NULL);
		for (int i = 0; i < turns && !from.result; i++)
			loop_turn(f->loop, 1000);
		if (!from.result)
			a.host->ops->stop(a.host, &from.call);
		if (!to.result)
			b.host->ops->stop(b.host, &to.call);
		calltest_wait(&from);
		calltest_wait(&to);
		calltest_clear(&from);
		calltest_clear(&to);
		relay_free(relay);
	}
	hosttest_close(&a);
	hosttest_close(&b);
}

static void a_stream_joins_two_ssh_hosts(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "one", "root");
	AUTO_JSON *two = sshd_spec(f->sshd, "two", "drover");
	struct hosttest a, b;

	open_up(&a, f, one);
	open_up(&b, f, two);
	join(f, &a, &b, 50000000);
	join(f, &b, &a, 0);
	hosttest_close(&a);
	hosttest_close(&b);
}

static void a_stream_joins_ssh_and_local(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "one", "root");
	AUTO_JSON *two = json_pack("{s:s, s:b}", "name", "here", "local", 1);
	struct hosttest a, b;

	open_up(&a, f, one);
	open_up(&b, f, two);
	join(f, &a, &b, 20000000);
	join(f, &b, &a, 20000000);
	hosttest_close(&a);
	hosttest_close(&b);
}

static void a_dying_session_harms_nobody(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "one", "root");
	AUTO_JSON *two = sshd_spec(f->sshd, "two", "root");
	struct hosttest a, b;
	struct calltest c = { 0 };

	open_up(&a, f, one);
	open_up(&b, f, two);
	calltest_start(&c, &a, "call.exec", "apply", "here",
		       json_pack("{s:[s,s]}", "argv", "sleep", "1000"));
	kill((pid_t)jint(a.host->hello, "pid", 0), SIGKILL);
	calltest_wait(&c);
	assert_string_equal(jstr(c.result, "error.kind", ""), "lost");
	assert_true(a.down);
	AUTO_JSON *r = hosttest_call(&b, "call.stat", "probe",
				     json_pack("{s:s}", "path", "/"));
	assert_true(jbool(r, "ok", false));
	calltest_clear(&c);
	hosttest_close(&a);
	hosttest_close(&b);
}

static void twenty_hosts_come_up_at_once(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *spec = sshd_spec(f->sshd, "many", "root");
	struct hosttest t[20];

	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		hosttest_begin(&t[i], f->loop, spec);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		while (!t[i].ready && !t[i].down)
			loop_turn(f->loop, -1);
		if (t[i].down)
			fail_msg("%s", t[i].why.what);
	}
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		hosttest_close(&t[i]);
}

static void closing_while_it_connects_is_fine(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *spec = sshd_spec(f->sshd, "db1", "root");

	for (int turns = 0; turns < 60; turns += 3) {
		struct hosttest t;

		hosttest_begin(&t, f->loop, spec);
		for (int i = 0; i < turns && !t.ready; i++)
			loop_turn(f->loop, 100);
		hosttest_close(&t);
	}
}

/* ---- who may not -------------------------------------------------------------------- */

static void nobody_listens(void **state)
{
	struct fixture *f = *state;
	json_t *spec = sshd_spec(f->sshd, "db1", "root");

	json_object_set_new(json_object_get(spec, "ssh"), "port", json_integer(1));
	refused(f, spec, "cannot connect to '127.0.0.1' (127.0.0.1 port 1): Connection refused | "
		"is sshd running there, and on this port?");
}

static void the_name_is_nobodys(void **state)
{
	struct fixture *f = *state;
	json_t *spec = sshd_spec(f->sshd, "db1", "root");
	struct hosttest t;

	json_object_set_new(json_object_get(spec, "ssh"), "host",
			    json_string("no-such-host.invalid"));
	hosttest_open(&t, f->loop, spec);
	json_decref(spec);
	assert_true(t.down);
	assert_ptr_equal(strstr(t.why.what,
		"cannot find the address of 'no-such-host.invalid': "), t.why.what);
	hosttest_close(&t);
}

static void the_key_may_not_log_in(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *host_key = mem_printf("%s/host_key", f->sshd->dir);
	AUTO_FREE char *expected = mem_printf("cannot log in to 'db1' as root: no key was "
		"accepted; tried: %s | add the public key to ~root/.ssh/authorized_keys there, "
		"or name another with identity: in the plan", host_key);
	json_t *spec = sshd_spec(f->sshd, "db1", "root");

	unsetenv("SSH_AUTH_SOCK");
	jset_str(spec, "identity", host_key);
	refused(f, spec, expected);
}

static char *fingerprint(const struct fixture *f)
{
	uint8_t sum[SHA256_LEN];
	size_t n;
	AUTO_FREE void *blob = io_unbase64(strchr(f->sshd->host_key, ' ') + 1, &n);
	AUTO_FREE char *b64 = NULL;

	sha256_of(blob, n, sum);
	b64 = io_base64(sum, sizeof(sum));
	b64[strcspn(b64, "=")] = '\0';
	return mem_printf("ssh-ed25519 SHA256:%s", b64);
}

static json_t *spec_knowing(const struct fixture *f, const char *known)
{
	json_t *spec = sshd_spec(f->sshd, "db1", "root");
	AUTO_FREE char *path = sshd_file(f->sshd, "known_hosts_2", known);

	jset_str(spec, "known_hosts", path);
	return spec;
}

static void the_host_key_is_unknown(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *print = fingerprint(f);
	AUTO_FREE char *expected = mem_printf("cannot trust 'db1': no key is known for 127.0.0.1 "
		"port %d; it shows %s | compare it with what the host's own console says "
		"(ssh-keygen -lf /etc/ssh/ssh_host_*.pub), then: drover hosts PLAN --pin db1",
		f->sshd->port, print);

	refused(f, spec_knowing(f, ""), expected);
}

#define OTHER_KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void the_host_key_has_changed(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *print = fingerprint(f);
	AUTO_FREE char *line = mem_printf("[127.0.0.1]:%d " OTHER_KEY "\n", f->sshd->port);
	AUTO_FREE char *expected = mem_printf("cannot trust 'db1': its key has changed: "
		"%s/known_hosts_2:1 lists another, it shows %s | somebody may be in between; if "
		"the host was really installed anew: ssh-keygen -R '[127.0.0.1]:%d' -f "
		"%s/known_hosts_2, then: drover hosts PLAN --pin db1",
		f->sshd->dir, print, f->sshd->port, f->sshd->dir);

	refused(f, spec_knowing(f, line), expected);
}

static void the_host_key_is_revoked(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *print = fingerprint(f);
	AUTO_FREE char *lines = mem_printf("[127.0.0.1]:%d %s\n@revoked * %s\n",
		f->sshd->port, f->sshd->host_key, f->sshd->host_key);
	AUTO_FREE char *expected = mem_printf("cannot trust 'db1': its key %s is revoked at "
		"%s/known_hosts_2:2 | the host needs a new key; a revoked one is never accepted",
		print, f->sshd->dir);

	refused(f, spec_knowing(f, lines), expected);
}

static void host_certificates_are_not_supported(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *line = mem_printf("@cert-authority * %s\n", f->sshd->host_key);
	AUTO_FREE char *expected = mem_printf("cannot trust 'db1': %s/known_hosts_2:1 expects a "
		"host certificate, and those are not supported | pin the host's own key beside "
		"it: drover hosts PLAN --pin db1", f->sshd->dir);

	refused(f, spec_knowing(f, line), expected);
}

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
	return setup_with(state, NULL, sudo_with_password);
}

static int setup_sudo_free(void **state)
{
	return setup_with(state, NULL, sudo_without_password);
}

static int setup_sudo_others(void **state)
{
	return setup_with(state, NULL, sudo_for_others);
}

static json_t *sudo_spec(const struct fixture *f, const char *password)
{
	json_t *spec = sshd_spec(f->sshd, "db1", "drover");

	if (password)
		jset(spec, "become", json_pack("{s:{s:s+}}", "sudo", "password", "secret:",
					       password));
	else
		jset(spec, "become", json_pack("{s:b}", "sudo", 1));
	return spec;
}

static void check_root(struct fixture *f, const char *password)
{
	AUTO_JSON *spec = sudo_spec(f, password);
	AUTO_JSON *local = json_pack("{s:s, s:b}", "name", "here", "local", 1);
	struct hosttest t, here;

	open_up(&t, f, spec);
	open_up(&here, f, local);
	assert_int_equal(jint(t.host->hello, "uid", -1), 0);
	join(f, &t, &here, 10000000);
	join(f, &here, &t, 10000000);
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
	struct fixture *f = *state;
	AUTO_JSON *spec = sudo_spec(f, "secret");
	struct hosttest t;

	open_up(&t, f, spec);
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
	struct fixture *f = *state;

	refused(f, sudo_spec(f, NULL), "cannot become root on 'db1': sudo: a password is required | "
		"give the password: become: { sudo: { password: \"secret:NAME\" } }, or let "
		"sudoers ask for none: drover ALL=(root) NOPASSWD: ALL");
}

static void the_password_is_wrong(void **state)
{
	struct fixture *f = *state;

	refused(f, sudo_spec(f, "wrong"), "cannot become root on 'db1': the password is wrong | "
		"is drover in sudoers there, and the password the right one? "
		"ssh -t drover@127.0.0.1 sudo true");
}

static void the_user_is_not_in_sudoers(void **state)
{
	struct fixture *f = *state;

	refused(f, sudo_spec(f, "secret"), "cannot become root on 'db1': drover is not in the "
		"sudoers file. | is drover in sudoers there, and the password the right one? "
		"ssh -t drover@127.0.0.1 sudo true");
}

/* ---- odd hosts -------------------------------------------------------------------------- */

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
	return setup_with(state, NULL, some_noise);
}

static int setup_much_noise(void **state)
{
	return setup_with(state, NULL, much_noise);
}

static int setup_shell_ends(void **state)
{
	return setup_with(state, NULL, a_shell_that_ends);
}

static void some_noise_is_passed_over(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *spec = sshd_spec(f->sshd, "db1", "drover");
	AUTO_JSON *local = json_pack("{s:s, s:b}", "name", "here", "local", 1);
	struct hosttest t, here;

	open_up(&t, f, spec);
	open_up(&here, f, local);
	assert_int_equal(jint(t.host->hello, "uid", -1), 4242);
	join(f, &t, &here, 1000000);
	hosttest_close(&t);
	hosttest_close(&here);
}

static void much_noise_is_quoted(void **state)
{
	struct fixture *f = *state;

	refused(f, sshd_spec(f->sshd, "db1", "drover"), "cannot start the agent on 'db1': more than "
		"64 KiB came before it, beginning with 'welcome to the machine' | start-up files "
		"of the shell must print nothing when no terminal is there");
}

static void a_shell_that_ends_is_quoted(void **state)
{
	struct fixture *f = *state;

	refused(f, sshd_spec(f->sshd, "db1", "drover"), "cannot start the agent on 'db1': the shell "
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
	return setup_with(state, NULL, no_zstd);
}

static int setup_noexec(void **state)
{
	return setup_with(state, NULL, noexec);
}

static int setup_little_space(void **state)
{
	return setup_with(state, NULL, little_space);
}

static int setup_no_tmpfs(void **state)
{
	return setup_with(state, NULL, no_tmpfs);
}

static int setup_other_machine(void **state)
{
	return setup_with(state, NULL, other_machine);
}

/* The frame is a frame of the agent: who can unpack it is sent less than half of it. */
static void the_agent_is_packed_for_who_can_unpack_it(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *spec = sshd_spec(f->sshd, "db1", "drover");
	struct hosttest t;
	size_t size, packed;

	link_agent_blob(&size);
	link_agent_packed(&packed);
	assert_true(packed < size / 2);
	open_up(&t, f, spec);
	assert_true(((struct sshost *)t.host->impl)->sent == packed);
	hosttest_close(&t);
}

static void a_host_without_zstd_gets_the_agent_as_it_is(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *spec = sshd_spec(f->sshd, "db1", "drover");
	struct hosttest t;
	size_t size;

	link_agent_blob(&size);
	open_up(&t, f, spec);
	assert_true(((struct sshost *)t.host->impl)->sent == size);
	hosttest_close(&t);
}

static void programs_may_not_run_from_memory(void **state)
{
	struct fixture *f = *state;

	refused(f, sshd_spec(f->sshd, "db1", "drover"), "cannot start the agent on 'db1': programs "
		"may not run from any tmpfs there: /dev/shm | allow it for one of them: mount -o "
		"remount,exec /dev/shm");
}

static void there_is_no_memory_for_it(void **state)
{
	struct fixture *f = *state;

	refused(f, sshd_spec(f->sshd, "db1", "drover"), "cannot start the agent on 'db1': not "
		"enough space in /dev/shm | it needs 8 MiB: remove files there, or make it "
		"larger: mount -o remount,size=64m");
}

static void no_disk_is_written_to(void **state)
{
	struct fixture *f = *state;

	refused(f, sshd_spec(f->sshd, "db1", "drover"), "cannot start the agent on 'db1': no tmpfs "
		"there can be written to, and no disk may be | mount one: mount -t tmpfs -o "
		"mode=1777 tmpfs /dev/shm");
}

static void the_machine_is_of_another_kind(void **state)
{
	struct fixture *f = *state;

	refused(f, sshd_spec(f->sshd, "db1", "drover"), "cannot start the agent on 'db1': it is a "
		"machine of another kind: Linux riscv64 | drover's agent runs on machines of the "
		"same kind as drover itself");
}

static int setup_one_session(void **state)
{
	return setup_with(state, "MaxSessions 1", NULL);
}

static void a_stream_needs_a_second_session(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "db1", "root");
	AUTO_JSON *two = json_pack("{s:s, s:b}", "name", "here", "local", 1);
	struct hosttest a, b;
	struct calltest from = { 0 }, to = { 0 };
	struct relay *relay = relay_new(f->loop);

	open_up(&a, f, one);
	open_up(&b, f, two);
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

#define SUITE(tests, setup, name) do { \
	if (access("/usr/sbin/sshd", X_OK) == 0 && geteuid() == 0) \
		failed += cmocka_run_group_tests_name(name, tests, setup, teardown); \
} while (0)

int main(void)
{
	int failed = 0;
	const struct CMUnitTest plain[] = {
		cmocka_unit_test(a_call_runs_over_ssh),
		cmocka_unit_test(the_agent_is_packed_for_who_can_unpack_it),
		cmocka_unit_test(nothing_of_the_agent_lies_on_the_host),
		cmocka_unit_test(a_stream_joins_two_ssh_hosts),
		cmocka_unit_test(a_stream_joins_ssh_and_local),
		cmocka_unit_test(a_direct_stream_passes_the_engine_by),
		cmocka_unit_test(a_stream_that_cannot_go_directly_goes_through_the_engine),
		cmocka_unit_test(a_stream_that_may_only_go_directly_fails_when_it_cannot),
		cmocka_unit_test(a_direct_stream_that_is_not_wanted_any_more_is_forgotten),
		cmocka_unit_test(a_dying_session_harms_nobody),
		cmocka_unit_test(twenty_hosts_come_up_at_once),
		cmocka_unit_test(closing_while_it_connects_is_fine),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(the_name_is_nobodys),
		cmocka_unit_test(the_key_may_not_log_in),
		cmocka_unit_test(the_host_key_is_unknown),
		cmocka_unit_test(the_host_key_has_changed),
		cmocka_unit_test(the_host_key_is_revoked),
		cmocka_unit_test(host_certificates_are_not_supported),
	};
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
	const struct CMUnitTest sessions[] = { cmocka_unit_test(a_stream_needs_a_second_session) };

	if (geteuid() != 0 || access("/usr/sbin/sshd", X_OK) < 0) {
		fprintf(stderr, "needs root and /usr/sbin/sshd\n");
		return 77;
	}
	SUITE(plain, setup, "a plain host");
	SUITE(password, setup_sudo_password, "sudo with a password");
	SUITE(free_sudo, setup_sudo_free, "sudo without one");
	SUITE(others, setup_sudo_others, "sudo for others");
	SUITE(unpacked, setup_no_zstd, "no zstd");
	SUITE(noise, setup_some_noise, "some noise");
	SUITE(flood, setup_much_noise, "much noise");
	SUITE(ends, setup_shell_ends, "a shell that ends");
	SUITE(no_exec, setup_noexec, "noexec");
	SUITE(space, setup_little_space, "little space");
	SUITE(disk, setup_no_tmpfs, "no tmpfs");
	SUITE(machine, setup_other_machine, "another machine");
	SUITE(sessions, setup_one_session, "one session");
	return failed;
}
