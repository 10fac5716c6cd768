/* SPDX-License-Identifier: Apache-2.0
 * convertrig - one disk, a directory at each end, and the calls that copy, prove and back
 * it up. What fails, fails the test.
 */
#ifndef DROVER_TESTS_CONVERTRIG_H
#define DROVER_TESTS_CONVERTRIG_H

#include "engine/base/json.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MIB (1u << 20)
#define SIZE (24u * MIB + 512)		/* no multiple of a chunk */

struct rig {
	char dir[64];		/* holds all of it; gone at the end */
	char *src, *target;	/* the source image, the target's directory */
	char *base, *map;	/* what a copy leaves in it */
	char *loop;		/* a device that ends with the test, or NULL */
	const char *format;	/* of base */
	json_t *facts;		/* as the calls so far told them */
	json_t *kept;		/* and what they kept */
	json_t *args;		/* of the next call */
	json_t *more;		/* for target; merged */
	json_t *from;		/* the disk at the source; NULL: src, raw */
	json_t *also;		/* other disks there, by name; NULL: none */
	const char *machine;
	const char *lineage;	/* NULL: cv_lineage() */
	int64_t downtime_ms;	/* that its plan allows; 0: it does not say */
};

/* Files: n bytes of p, or of a pattern of that seed, at an offset. */
void cv_put(const char *path, uint64_t at, const void *p, size_t n);
/* One byte, as a storage does that lies: nothing says that it was written to. */
void cv_put_unseen(const char *path, uint64_t at);
void cv_fill(const char *path, uint64_t at, size_t n, unsigned seed);
/* Data, holes and zeros, its end in the middle of a chunk. */
void cv_make_source(struct rig *r);
void cv_run_ok(const char *const *argv);
void cv_assert_same(struct rig *r);
/* A copy of a file beside the rig's: its path, owned. */
char *cv_copy_aside(struct rig *r, const char *path, const char *name);
/* A loop device with sectors of so many bytes over a file that is made this long: its path,
 * owned, or NULL where none can be made. The rig ends it when it is told as r->loop. */
char *cv_loop(const char *path, off_t size, const char *sector);
/* As QEMU says that it writes to the source: until this descriptor is closed.
 * -1: it cannot be said. */
int cv_hold(struct rig *r);
int cv_set_up_as(void **state, const char *format);
int cv_set_up(void **state);
int cv_tear_down(void **state);
/* A state of this process's own: the host ends what it takes for a lost agent of one. */
const char *cv_lineage(void);
/* One end's call: its input; its result, the caller's. */
json_t *cv_input(struct rig *r, const char *role);
json_t *cv_at(struct rig *r, const char *role, const char *module, const char *op);
/* Both ends of one operation; the target's result, the source's in *source. */
json_t *cv_both_do(struct rig *r, const char *module, const char *op, json_t **source);
json_t *cv_both(struct rig *r, const char *module, json_t **source);
/* What a result told or kept goes into the rig. */
void cv_take_facts(struct rig *r, json_t *result);
/* An apply that must end well, and its facts. */
void cv_do_both(struct rig *r, const char *module);
/* The same, and what the source's end told too. */
void cv_do_both_told(struct rig *r, const char *module);
void cv_do_at(struct rig *r, const char *role, const char *module, const char *op);
/* What a probe says of the disk, its lines. Owned. */
char *cv_lines(const json_t *result);
void cv_assert_error(json_t *result, const char *text, const char *hint);
/* It found the chunk at 5 MiB damaged; `history` is what it says of that chunk, and T of times. */
void cv_assert_damage(struct rig *r, json_t *result, const char *kind, const char *history);
void cv_assert_state(struct rig *r, const char *role, const char *module, const char *state);

/* An entry in the table of tests: run with a target of that format. For after <cmocka.h>. */
#define AS(f, format) { #f "_as_" format, f, cv_set_up, cv_tear_down, (void *)(uintptr_t)format }
#define RAW(f) AS(f, "raw")
#define QCOW2(f) AS(f, "qcow2")
#define FOREIGN(f) AS(f, "vmdk"), AS(f, "vhdx"), AS(f, "vpc"), AS(f, "vdi")

#endif
