/* SPDX-License-Identifier: Apache-2.0
 * stream_impl - what the two ends of a stream share.
 */
#ifndef DROVER_STREAM_IMPL_H
#define DROVER_STREAM_IMPL_H

#include "modules/lib/stream.h"
#include "modules/lib/stream_slots.h"

#define RECORD_COST 4096u	/* what a record costs beside its payload */
#define RECORD_HEAD 24u
#define JSON_MAX (64u << 10)
#define HAVE_MAX 4096u		/* chunks in one WANT and HAVE */
#define ZERO_MAX 65536u		/* chunks in one ZERO */
#define TICK_MS 200
#define ZIP_FLAG 1u
#define SLOT_FLAG 2u
#define SLOT_LEN 4u		/* bytes that name a slot, behind the digest */
#define ZIP_LEVEL 1
#define THREADS_MAX 4

enum record_type {
	REC_OPEN = 1, REC_READY, REC_WANT, REC_HAVE, REC_DATA, REC_ZERO, REC_CREDIT,
	REC_DONE, REC_FAIL, REC_BYE, REC_SLOTS,
};

struct record {
	uint8_t type, flags;
	uint32_t length;	/* of the payload that follows */
	uint64_t index;
	uint32_t count, plain;
};

/* -1 with errno; EPIPE when the other end is gone. */
int record_write(struct pipe *p, const struct record *r, const void *a, size_t an,
		 const void *b, size_t bn);
/* Its head as it is sent, which says that r->length bytes follow. */
void record_head(const struct record *r, uint8_t head[RECORD_HEAD]);
/* 1, 0 at end of file, -1 with errno; EBADMSG: its head is not what was sent. */
int record_read(struct pipe *p, struct record *r);
/* The same of a record without payload, with a descriptor beside it where the pipe is a
 * socket that takes one; reading, *fd is -1 where none came, else the caller's. */
int record_write_fd(struct pipe *p, const struct record *r, int fd);
int record_read_fd(struct pipe *p, struct record *r, int *fd);
/* A JSON payload: written with type; read with a bound. */
int record_write_json(struct pipe *p, enum record_type type, const json_t *j);
json_t *record_read_json(struct pipe *p, const struct record *r, struct err *e);
/* Read a FAIL's payload into e; ERR_STOPPED: the cause lies at the other end, which
 * tells it itself. Always -1. */
int record_failure(struct pipe *p, const struct record *r, struct err *e);
/* DONE names the digest of the whole disk at the other end: is it ours? 1, or -1 with e. */
int record_compare_root(const json_t *done, const char *other,
			const uint8_t root[SHA256_LEN], const char *us, struct err *e);
/* 1: readable, 0: TICK_MS went by, -1: hang-up without data, or error. */
int record_wait(struct pipe *p);
void record_fail(struct pipe *p, const struct err *e);
/* After the last record: end our side, drop what still comes, for 2 s at most, so
 * that a close does not overtake what was written. */
void record_linger(struct pipe *p);
/* The pipe broke: the other end, or what lies between, knows why. Always -1. */
int record_broke(struct err *e);
unsigned record_threads(void);
uint64_t record_now_ns(void);

/* What is said of bytes that are others than were sent: no transport lets that happen. */
#define DAMAGED_HINT "the same command goes on where it stopped; if it comes again have the memory " \
	"of both hosts tested"

#endif
