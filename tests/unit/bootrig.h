/* SPDX-License-Identifier: Apache-2.0
 * bootrig - a machine of one small disk at its target, which boots, prints a text to its serial
 * line and halts. What fails, fails the test.
 */
#ifndef DROVER_TESTS_BOOTRIG_H
#define DROVER_TESTS_BOOTRIG_H

#include "engine/base/json.h"

#include <stdbool.h>

struct bootrig {
	char dir[64];		/* target.dir */
	char name[32];		/* of the machine, this test's own */
	json_t *input;		/* of the next call, with what the calls so far kept */
	json_t *events;		/* of all calls */
};

/* Is there root, and a QEMU? The test program gets a network of its own the first time. */
bool bt_can_run(void);
int bt_setup(void **state);
/* Ends the machine too: it must not be taken for the next test's. */
int bt_teardown(void **state);
/* The base image of disk root: prints `text`, then halts. */
void bt_make_base(struct bootrig *w, const char *text);
/* Its overlay; on the base as setup made it, or on another. */
void bt_make_overlay(struct bootrig *w);
void bt_make_overlay_on(struct bootrig *w, const char *base, const char *format);
/* The file by which its QEMU is found; "@" before it: that of the copy that a boot test runs.
 * The caller's. */
char *bt_marker(const struct bootrig *w, const char *prefix);

/* The arguments of the next calls, JSON. */
void bt_args(struct bootrig *w, const char *text);
/* As their namesakes in modtest.h; all events are gathered too. */
json_t *bt_call(struct bootrig *w, const char *module, const char *op);
void bt_must(struct bootrig *w, const char *module, const char *op);
void bt_fails(struct bootrig *w, const char *module, const char *op, const char *text);
void bt_state(struct bootrig *w, const char *module, const char *want);
/* reconfigure.machine, and its fact for the steps after it. */
void bt_define(struct bootrig *w);

/* Things in the ledger that were not struck. */
int bt_ledger_left(const struct bootrig *w);
/* The last of that name, "" if none; borrowed from the events. */
const char *bt_evidence(const struct bootrig *w, const char *name);
void bt_nothing_is_left(struct bootrig *w);
/* ip(8) with up to five words: its status. */
int bt_ip(const char *a, const char *b, const char *c, const char *d, const char *e);

#endif
