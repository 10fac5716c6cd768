/* SPDX-License-Identifier: Apache-2.0
 * trackrig - a serving disk whose writes are traced: a loop device with a mounted ext4, both
 * ends as the agent runs them. Needs root. What fails, fails the test.
 */
#ifndef DROVER_TESTS_TRACKRIG_H
#define DROVER_TESTS_TRACKRIG_H

#include "engine/base/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MIB (1u << 20)
#define SIZE (64u * MIB)

struct rig {
	char dir[64];
	char *img, *loop, *mnt, *file, *target, *base;
	char lineage[33];	/* of this rig alone: a tracker's name is the host's */
	char *tracker;		/* its name, once the ledger has it */
	json_t *facts, *args;
	pid_t writer;		/* writes on while the test goes on; 0: none */
	bool strict;		/* its plan does not accept a last pass that reads all */
	const char *by;		/* how the last pass of the source found what changed */
	int64_t read;		/* what it read */
	char *said;		/* its log */
};

extern bool tk_can_run;		/* else each test is skipped */

/* Once, before all tests: may they run here? Goes into a mount namespace of its own. */
void tk_look(void);
int tk_set_up(void **state);
int tk_tear_down(void **state);

/* Into the file on it: n bytes that this seed makes. */
void tk_write(struct rig *r, uint64_t at, size_t n, unsigned seed);
/* One that writes all over the file, until it is ended. True: it wrote until then. */
void tk_writer_begin(struct rig *r, unsigned seed);
bool tk_writer_end(struct rig *r);

/* One end's call: its input, the caller's. */
json_t *tk_input(struct rig *r, const char *role);
/* Both ends of one operation, which must end well; of an apply. */
void tk_both(struct rig *r, const char *module, const char *op);
void tk_copy(struct rig *r, const char *module);
/* As a cutover does it: frozen, then the last pass, after which the copy is equal. */
void tk_last_pass(struct rig *r);
/* Did the last call's log at the source? */
bool tk_said(struct rig *r, const char *what);

/* The tracker from outside: 0: there is none. */
pid_t tk_pid(struct rig *r);
/* More events than its buffers hold, while it sleeps. */
void tk_lose_events(struct rig *r);
/* Its directory in tracefs, which the test mounts for itself. Owned. */
char *tk_instance(struct rig *r, const char *what);
void tk_mount(struct rig *r);
void tk_umount(struct rig *r);

#endif
