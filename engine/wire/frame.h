/* SPDX-License-Identifier: Apache-2.0
 * frame - the protocol between engine and agent, and between an agent and the
 * child that runs a step. The same frames on every hop.
 *
 *   preamble (agent -> engine, once): "DROVER1 " nonce(32 hex) "\n"
 *   frame: length u32 | type u8 | flags u8 | zero u16 | step u32 | xxh32 u32 | payload
 *
 * Integers are big-endian. `length` counts the payload, at most FRAME_MAX, and is
 * checked before anything is allocated. xxh32 covers type..step and the payload,
 * so that a fault below SSH is found too. All payloads are JSON objects.
 *
 *   engine                      agent                      child (one per step)
 *     HELLO  ------------------->
 *     <------------------- HELLO     versions, build, uname, pid, capabilities
 *     PING / PONG both ways
 *     RUN    ------------------->  fork ------------------>  module runs
 *     <------------------- EVENT <------------------------- progress, log, keep ...
 *     ACK    -------------------> ------------------------>  an EVENT with "ack" is durable
 *     STOP   ------------------->  TERM, later KILL
 *     STREAM ------------------->  listen, connect or drop: a direct stream; its pace
 *     <------------------- STREAM    its port; it is up; it cannot be had
 *     <------------------- RESULT <------------------------ the outcome; step is over
 *     BYE    ------------------->  stop steps, undo temporary measures, sync, exit
 */
#ifndef DROVER_FRAME_H
#define DROVER_FRAME_H

#include "engine/base/err.h"
#include "engine/base/json.h"

#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION 1
#define FRAME_HEADER 16
#define FRAME_MAX (16u << 20)
#define FRAME_PREAMBLE "DROVER1 "

enum frame_type {
	FRAME_HELLO = 1, FRAME_PING, FRAME_PONG, FRAME_RUN, FRAME_EVENT,
	FRAME_ACK, FRAME_STOP, FRAME_RESULT, FRAME_BYE, FRAME_STREAM,
	FRAME_TYPE_END
};

struct frame {
	enum frame_type type;
	uint32_t step;		/* chosen by the engine; 0: the host itself */
	json_t *body;		/* owned by the frame; may be NULL (empty payload) */
};
void frame_clear(struct frame *f);

/* Append the encoded frame to a buffer. -1 when the payload is too large. */
struct str;
int frame_encode(struct str *out, enum frame_type type, uint32_t step,
		 const json_t *body, struct err *e);

/* An incremental decoder: feed bytes, take frames. */
struct frame_reader;
struct frame_reader *frame_reader_new(void);
void frame_reader_free(struct frame_reader *r);
/* -1 with e: the stream is broken for good. */
int frame_reader_feed(struct frame_reader *r, const void *p, size_t n,
		      struct err *e);
/* 1: *f is filled (frame_clear it); 0: more bytes are needed; -1 with e. */
int frame_reader_next(struct frame_reader *r, struct frame *f, struct err *e);

/* Blocking, for the child's side. 1, 0 at end of file, -1 with e. */
int frame_read_fd(int fd, struct frame *f, struct err *e);
int frame_write_fd(int fd, enum frame_type type, uint32_t step,
		   const json_t *body, struct err *e);

/* A RESULT's body that tells what failed; text and hint (may be NULL) may be any bytes. New. */
json_t *frame_failure(const char *kind, const char *text, const char *hint);

#endif
