/* SPDX-License-Identifier: Apache-2.0
 * sshtest - the real agent over a real sshd on loopback, for tests of several hosts.
 */
#include "tests/unit/sshtest.h"

#include "engine/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool sshtest_can(void)
{
	if (geteuid() == 0 && access("/usr/sbin/sshd", X_OK) == 0)
		return true;
	fprintf(stderr, "needs root and /usr/sbin/sshd\n");
	return false;
}

int sshtest_setup(void **state, const char *extra, void (*prepare)(const struct sshd *s))
{
	struct sshtest *f = mem_alloc(sizeof(*f));

	f->loop = loop_new(&clock_real);
	f->sshd = sshd_start(extra, prepare);
	*state = f;
	return f->sshd ? 0 : -1;
}

int sshtest_teardown(void **state)
{
	struct sshtest *f = *state;

	sshd_stop(f->sshd);
	loop_free(f->loop);
	free(f);
	return 0;
}

void sshtest_open(struct hosttest *t, struct sshtest *f, const json_t *spec)
{
	hosttest_open(t, f->loop, spec);
	if (t->down)
		fail_msg("%s", t->why.what);
}

void sshtest_refused(struct sshtest *f, json_t *spec, const char *expected)
{
	struct hosttest t;

	hosttest_open(&t, f->loop, spec);
	json_decref(spec);
	assert_true(t.down);
	AUTO_FREE char *why = hosttest_why(&t);
	assert_string_equal(why, expected);
	hosttest_close(&t);
}

static void on_way(void *arg, bool direct, const char *how)
{
	struct sshtest_way *w = arg;

	w->told++;
	w->direct = direct;
	snprintf(w->how, sizeof(w->how), "%s", how);
}

struct sshtest_way sshtest_join_by(struct sshtest *f, struct hosttest *from, struct hosttest *to,
			  int bytes, enum stream_way way)
{
	struct calltest a = { 0 }, b = { 0 };
	struct relay *relay = relay_new(f->loop);
	struct sshtest_way w = { 0 };

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

void sshtest_join(struct sshtest *f, struct hosttest *from, struct hosttest *to, int bytes)
{
	sshtest_join_by(f, from, to, bytes, WAY_RELAY);
}
