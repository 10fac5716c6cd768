/* SPDX-License-Identifier: Apache-2.0
 * streamrig - both ends of a stream in one process: a disk and a sink in memory, and a proxy
 * between them that cuts and flips, or nothing. What fails, fails the test.
 */
#ifndef DROVER_TESTS_STREAMRIG_H
#define DROVER_TESTS_STREAMRIG_H

#include "modules/lib/stream.h"

#include <stdbool.h>
#include <stdint.h>

#define CHUNK (64u << 10)
#define CHUNKS 200u
#define SIZE ((uint64_t)CHUNK * CHUNKS - 5000)	/* no multiple of the chunk */

/* A third noise, a third text that shrinks, a third zeros. */
struct ram {
	struct disk d;
	uint8_t *p;
	uint64_t bad;		/* reading this byte fails; UINT64_MAX: none */
	uint64_t hole, hole_end;	/* said to be a hole */
};

/* It held other data before. */
struct pot {
	struct sink k;
	uint8_t *p;
	uint8_t (*digest)[SHA256_LEN];	/* durable only */
	bool known[CHUNKS];
	uint64_t data, zero;		/* chunks that came; atomic */
	uint64_t shared;		/* of data, those in memory that both ends see; atomic */
	uint64_t fail_at;		/* writing this chunk fails; UINT64_MAX: none */
	bool fail_sync;
	uint8_t root[SHA256_LEN];
};

struct rig {
	struct ram ram;
	struct pot pot;
	int send_fd, recv_fd, proxy[2];
	bool joined;		/* nothing lies between them */
	enum stream_zip zip;
	uint64_t (*read_rate)(void *arg);	/* or NULL */
	/* of the bytes from the sender: cut after so many, flip the one at */
	uint64_t cut, flip;
	struct stream_stat st;
	struct err send_err, recv_err;
	int send_rc, recv_rc;
};

int sr_set_up(void **state);
int sr_set_up_joined(void **state);	/* nothing lies between the ends */
int sr_tear_down(void **state);
/* One pass, and goodbye: both results are in the rig. */
void sr_run(struct rig *r);
void sr_assert_arrived(struct rig *r);
/* One pass over a disk that cannot be read at a place, and one into a pot that is full: both
 * ends end, and say where or why; what was not written is not entered. */
void sr_assert_read_error_told(struct rig *r);
void sr_assert_full_target_told(struct rig *r);
/* What takes a pass into the rig's pot. */
struct stream_receiver sr_receiver(struct rig *r);
/* Of a sink that leaves nothing to be done. */
int sr_close(void *arg, struct sink *k, const struct stream_stat *st, bool ok, struct err *e);

#endif
