/* SPDX-License-Identifier: Apache-2.0
 * planrig - plans as texts, in a directory that goes with the group of tests.
 */
#ifndef DROVER_TESTS_PLANRIG_H
#define DROVER_TESTS_PLANRIG_H

#include "engine/plan/plan.h"

/* Two hosts; a step. */
#define HEAD "plan: t\nhosts: { old: { ssh: root@old }, new: { ssh: ops@new:2222 } }\n"
#define STEP "    assess: [ file: { path: /etc/hostname } ]\n"

/* A plan of one machine with two disks, each named in its own way. */
extern const char planrig_two_disks[];

/* The group's set-up and tear-down. */
int planrig_up(void **state);
int planrig_down(void **state);
/* A file beside the plan; its path, the caller's. */
char *planrig_put(const char *name, const char *text);
/* The plan of a text; fails the test with its errors when it has any. */
struct plan *planrig_load(const char *text);

#endif
