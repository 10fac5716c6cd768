/* SPDX-License-Identifier: Apache-2.0
 * sshtest - the real agent over a real sshd on loopback, for tests of several hosts.
 */
#ifndef DROVER_SSHTEST_H
#define DROVER_SSHTEST_H

#include "tests/unit/hosttest.h"
#include "tests/unit/sshd.h"

struct sshtest {
	struct loop *loop;
	struct sshd *sshd;
};

/* Is there root, and an sshd? Says so when not. */
bool sshtest_can(void);
/* As sshd_start(); a test's setup and teardown. */
int sshtest_setup(void **state, const char *extra, void (*prepare)(const struct sshd *s));
int sshtest_teardown(void **state);
/* It must come up. */
void sshtest_open(struct hosttest *t, struct sshtest *f, const json_t *spec);
/* The host cannot be had; what people read is exactly this. Steals the spec. */
void sshtest_refused(struct sshtest *f, json_t *spec, const char *expected);

struct sshtest_way { int told; bool direct; char how[200]; };
/* A stream of so many bytes from the one to the other, whole; the way that it took. */
struct sshtest_way sshtest_join_by(struct sshtest *f, struct hosttest *from,
				   struct hosttest *to, int bytes, enum stream_way way);
void sshtest_join(struct sshtest *f, struct hosttest *from, struct hosttest *to, int bytes);

/* Needs `int failed` beside it. */
#define SSHTEST_SUITE(tests, setup, name) \
	(failed += cmocka_run_group_tests_name(name, tests, setup, sshtest_teardown))

#endif
