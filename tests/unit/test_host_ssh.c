/* SPDX-License-Identifier: Apache-2.0
 * test_host_ssh - the real agent over a real sshd on loopback: what works, and what
 * people read when it does not.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/host/link.h"
#include "engine/host/ssh.h"
#include "tests/unit/sshtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static int setup(void **state)
{
	return sshtest_setup(state, NULL, NULL);
}

/* ---- what works -------------------------------------------------------------------- */

static void a_call_runs_over_ssh(void **state)
{
	struct sshtest *f = *state;
	AUTO_JSON *spec = sshd_spec(f->sshd, "db1", "root");
	struct hosttest t;

	sshtest_open(&t, f, spec);
	AUTO_JSON *r = hosttest_call(&t, "call.stat", "probe",
				     json_pack("{s:s}", "path", "/proc"));
	assert_true(jbool(r, "ok", false));
	assert_string_equal(jstr(r, "volatile.kind", ""), "dir");
	hosttest_close(&t);
}

/* The frame is a frame of the agent: who can unpack it is sent less than half of it. */
static void the_agent_is_packed_for_who_can_unpack_it(void **state)
{
	struct sshtest *f = *state;
	AUTO_JSON *spec = sshd_spec(f->sshd, "db1", "drover");
	struct hosttest t;
	size_t size, packed;

	link_agent_blob(&size);
	link_agent_packed(&packed);
	if (packed == 0 || access("/usr/bin/zstd", X_OK) < 0)
		skip();
	assert_true(packed < size / 2);
	sshtest_open(&t, f, spec);
	assert_true(((struct sshost *)t.host->impl)->sent == packed);
	hosttest_close(&t);
}

static void nothing_of_the_agent_lies_on_the_host(void **state)
{
	struct sshtest *f = *state;
	AUTO_JSON *spec = sshd_spec(f->sshd, "db1", "root");
	struct hosttest t;
	const char *name;
	json_t *entry;
	size_t i;

	sshtest_open(&t, f, spec);
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

static void a_direct_stream_passes_the_engine_by(void **state)
{
	struct sshtest *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "one", "root");
	AUTO_JSON *two = sshd_spec(f->sshd, "two", "drover");
	AUTO_JSON *here = json_pack("{s:s, s:b}", "name", "here", "local", 1);
	struct hosttest a, b, c;
	struct sshtest_way w;

	sshtest_open(&a, f, one);
	sshtest_open(&b, f, two);
	sshtest_open(&c, f, here);
	w = sshtest_join_by(f, &a, &b, 50000000, WAY_DIRECT);
	assert_true(w.direct);
	assert_non_null(strstr(w.how, "directly from 'one' to 'two' at 127.0.0.1 port "));
	/* who has no address of his own connects */
	w = sshtest_join_by(f, &a, &c, 20000000, WAY_DIRECT);
	assert_non_null(strstr(w.how, "directly from 'here' to 'one' at 127.0.0.1 port "));
	hosttest_close(&a);
	hosttest_close(&b);
	hosttest_close(&c);
}

static void both_ends_on_one_host_are_joined_there(void **state)
{
	struct sshtest *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "one", "drover");
	struct sshtest_way w;
	struct hosttest t;

	/* where nobody could meet it */
	jset_str(one, "data", "192.0.2.1:7000-7001");
	sshtest_open(&t, f, one);
	w = sshtest_join_by(f, &t, &t, 20000000, WAY_AUTO);
	assert_true(w.direct);
	assert_string_equal(w.how, "directly on 'one', from process to process");
	w = sshtest_join_by(f, &t, &t, 3000000, WAY_RELAY);
	assert_false(w.direct);
	hosttest_close(&t);
}

static void a_stream_that_cannot_go_directly_goes_through_the_engine(void **state)
{
	struct sshtest *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "one", "root");
	AUTO_JSON *two = sshd_spec(f->sshd, "two", "root");
	struct hosttest a, b;
	struct sshtest_way w;

	/* an address that is nobody's here (TEST-NET-1) */
	jset_str(two, "data", "192.0.2.1:7000-7001");
	sshtest_open(&a, f, one);
	sshtest_open(&b, f, two);
	w = sshtest_join_by(f, &a, &b, 3000000, WAY_AUTO);
	assert_false(w.direct);
	assert_string_equal(w.how, "through the engine, as it cannot go directly: 'two': cannot "
			    "listen on 192.0.2.1, ports 7000 to 7001: Cannot assign requested "
			    "address");
	hosttest_close(&a);
	hosttest_close(&b);
}

static void a_stream_that_may_only_go_directly_fails_when_it_cannot(void **state)
{
	struct sshtest *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "one", "root");
	AUTO_JSON *two = sshd_spec(f->sshd, "two", "root");
	struct relay *relay = relay_new(f->loop);
	struct calltest from = { 0 }, to = { 0 };
	struct hosttest a, b;

	jset_str(two, "data", "192.0.2.1");
	sshtest_open(&a, f, one);
	sshtest_open(&b, f, two);
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
	struct sshtest *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "one", "root");
	AUTO_JSON *two = sshd_spec(f->sshd, "two", "root");
	struct hosttest a, b;

	sshtest_open(&a, f, one);
	sshtest_open(&b, f, two);
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
	struct sshtest *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "one", "root");
	AUTO_JSON *two = sshd_spec(f->sshd, "two", "drover");
	struct hosttest a, b;

	sshtest_open(&a, f, one);
	sshtest_open(&b, f, two);
	sshtest_join(f, &a, &b, 50000000);
	sshtest_join(f, &b, &a, 0);
	hosttest_close(&a);
	hosttest_close(&b);
}

static void a_stream_joins_ssh_and_local(void **state)
{
	struct sshtest *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "one", "root");
	AUTO_JSON *two = json_pack("{s:s, s:b}", "name", "here", "local", 1);
	struct hosttest a, b;

	sshtest_open(&a, f, one);
	sshtest_open(&b, f, two);
	sshtest_join(f, &a, &b, 20000000);
	sshtest_join(f, &b, &a, 20000000);
	hosttest_close(&a);
	hosttest_close(&b);
}

static void a_dying_session_harms_nobody(void **state)
{
	struct sshtest *f = *state;
	AUTO_JSON *one = sshd_spec(f->sshd, "one", "root");
	AUTO_JSON *two = sshd_spec(f->sshd, "two", "root");
	struct hosttest a, b;
	struct calltest c = { 0 };

	sshtest_open(&a, f, one);
	sshtest_open(&b, f, two);
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
	struct sshtest *f = *state;
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
	struct sshtest *f = *state;
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
	struct sshtest *f = *state;
	json_t *spec = sshd_spec(f->sshd, "db1", "root");

	json_object_set_new(json_object_get(spec, "ssh"), "port", json_integer(1));
	sshtest_refused(f, spec, "cannot connect to '127.0.0.1' (127.0.0.1 port 1): Connection refused | "
		"is sshd running there, and on this port?");
}

static void the_name_is_nobodys(void **state)
{
	struct sshtest *f = *state;
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
	struct sshtest *f = *state;
	AUTO_FREE char *host_key = mem_printf("%s/host_key", f->sshd->dir);
	AUTO_FREE char *expected = mem_printf("cannot log in to 'db1' as root: no key was "
		"accepted; tried: %s | add the public key to ~root/.ssh/authorized_keys there, "
		"or name another with identity: in the plan", host_key);
	json_t *spec = sshd_spec(f->sshd, "db1", "root");

	unsetenv("SSH_AUTH_SOCK");
	jset_str(spec, "identity", host_key);
	sshtest_refused(f, spec, expected);
}

static char *fingerprint(const struct sshtest *f)
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

static json_t *spec_knowing(const struct sshtest *f, const char *known)
{
	json_t *spec = sshd_spec(f->sshd, "db1", "root");
	AUTO_FREE char *path = sshd_file(f->sshd, "known_hosts_2", known);

	jset_str(spec, "known_hosts", path);
	return spec;
}

static void the_host_key_is_unknown(void **state)
{
	struct sshtest *f = *state;
	AUTO_FREE char *print = fingerprint(f);
	AUTO_FREE char *expected = mem_printf("cannot trust 'db1': no key is known for 127.0.0.1 "
		"port %d; it shows %s | compare it with what the host's own console says "
		"(ssh-keygen -lf /etc/ssh/ssh_host_*.pub), then: drover hosts PLAN --pin db1",
		f->sshd->port, print);

	sshtest_refused(f, spec_knowing(f, ""), expected);
}

#define OTHER_KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void the_host_key_has_changed(void **state)
{
	struct sshtest *f = *state;
	AUTO_FREE char *print = fingerprint(f);
	AUTO_FREE char *line = mem_printf("[127.0.0.1]:%d " OTHER_KEY "\n", f->sshd->port);
	AUTO_FREE char *expected = mem_printf("cannot trust 'db1': its key has changed: "
		"%s/known_hosts_2:1 lists another, it shows %s | somebody may be in between; if "
		"the host was really installed anew: ssh-keygen -R '[127.0.0.1]:%d' -f "
		"%s/known_hosts_2, then: drover hosts PLAN --pin db1",
		f->sshd->dir, print, f->sshd->port, f->sshd->dir);

	sshtest_refused(f, spec_knowing(f, line), expected);
}

static void the_host_key_is_revoked(void **state)
{
	struct sshtest *f = *state;
	AUTO_FREE char *print = fingerprint(f);
	AUTO_FREE char *lines = mem_printf("[127.0.0.1]:%d %s\n@revoked * %s\n",
		f->sshd->port, f->sshd->host_key, f->sshd->host_key);
	AUTO_FREE char *expected = mem_printf("cannot trust 'db1': its key %s is revoked at "
		"%s/known_hosts_2:2 | the host needs a new key; a revoked one is never accepted",
		print, f->sshd->dir);

	sshtest_refused(f, spec_knowing(f, lines), expected);
}

static void host_certificates_are_not_supported(void **state)
{
	struct sshtest *f = *state;
	AUTO_FREE char *line = mem_printf("@cert-authority * %s\n", f->sshd->host_key);
	AUTO_FREE char *expected = mem_printf("cannot trust 'db1': %s/known_hosts_2:1 expects a "
		"host certificate, and those are not supported | pin the host's own key beside "
		"it: drover hosts PLAN --pin db1", f->sshd->dir);

	sshtest_refused(f, spec_knowing(f, line), expected);
}

int main(void)
{
	const struct CMUnitTest plain[] = {
		cmocka_unit_test(a_call_runs_over_ssh),
		cmocka_unit_test(the_agent_is_packed_for_who_can_unpack_it),
		cmocka_unit_test(nothing_of_the_agent_lies_on_the_host),
		cmocka_unit_test(a_stream_joins_two_ssh_hosts),
		cmocka_unit_test(a_stream_joins_ssh_and_local),
		cmocka_unit_test(a_direct_stream_passes_the_engine_by),
		cmocka_unit_test(both_ends_on_one_host_are_joined_there),
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

	if (!sshtest_can())
		return 77;
	return cmocka_run_group_tests(plain, setup, sshtest_teardown);
}
