/* SPDX-License-Identifier: Apache-2.0
 * stream - move one pass of a disk over a byte pipe.
 *
 * Records: type u8 | flags u8 | check u16 | length u32 | index u64 | count u32 |
 * plain u32, big-endian, then `length` bytes. index and count are chunks.
 *
 *   sender                              receiver
 *     OPEN  {disk, size, chunk, base} -->
 *     <-- READY {window, known, pass, same, since, slots}   or FAIL
 *     <-- SLOTS count                     (if `slots`) memory, its descriptor beside it
 *     WANT  index, count            -->   (only if `known`: it has digests already)
 *     <-- HAVE  index, count, digests     zeros: not known
 *     DATA  index, plain length     -->   digest of the plain data, then the data;
 *                                         flag ZIP: as one zstd frame; flag SLOT: the
 *                                         digest, then the slot that the data lies in
 *     ZERO  index, count            -->   these chunks are zeros
 *     <-- CREDIT count                    so many bytes were taken from the window;
 *                                         flag SLOT: slot `index` is free again
 *     DONE  {root}                  -->   the root that the source's data has
 *     <-- DONE {root}                     synced; the same root from the map
 *     ... OPEN of the next disk, or BYE
 *   FAIL {text, hint} from either side, at any time, ends it.
 *
 * `base` is the root of a copy since which the sender knows all that was written; where
 * the receiver has the same, and nothing else came since, the rest need not be read:
 * its digests stand. `since` is said of a pass that only brings again what the receiver does
 * not know (any more): the root of the copy that all else is relative to, as `base` is.
 *
 * A chunk that is equal to what the receiver has is not sent. Not more than the
 * window is ever under way: DATA costs its length and RECORD_COST, ZERO
 * RECORD_COST. The receiver checks every digest before it writes, but for data in a slot:
 *
 * Where nothing but a socket is between two processes of one machine, the receiver's memory
 * (stream_slots.h) gets to the sender, which reads each chunk into a slot of it, digests
 * what is in the slot and lets go of it until it is credited. No transport carried those
 * bytes: the digest is taken as it is. What memory itself breaks the proof finds, which reads
 * the target back. Through anything else the descriptor does not come, and DATA carries
 * its bytes.
 */
#ifndef DROVER_STREAM_H
#define DROVER_STREAM_H

#include "engine/base/err.h"
#include "engine/base/io.h"
#include "engine/base/json.h"
#include "engine/base/pipe.h"
#include "modules/lib/disk.h"
#include "modules/lib/map.h"
#include "modules/lib/track.h"

#include <stdbool.h>
#include <stdint.h>

#define STREAM_CHUNK_MIN (64u << 10)
#define STREAM_CHUNK_MAX (4u << 20)
#define STREAM_WINDOW (16u << 20)
#define STREAM_TWICE (64u << 20)	/* bytes of data that a cut has done again, at most */

enum stream_zip { ZIP_AUTO, ZIP_NONE, ZIP_ZSTD };

/* Counts of bytes of the disk unless said otherwise. */
struct stream_stat {
	uint64_t size;
	uint64_t scanned;	/* looked at so far */
	uint64_t due;		/* to be read, about: all but holes, or what was written */
	uint64_t data;		/* sent as data */
	uint64_t wire;		/* bytes that this took in the pipe */
	uint64_t zero;		/* sent as zeros */
	uint64_t same;		/* left out: the receiver has it */
	uint64_t read;		/* read from the disk */
	uint64_t ms;
	uint32_t pass;		/* which pass it was; the receiver counts */
	bool partly;		/* only what `changes` named was read */
	uint8_t since[SHA256_LEN];	/* that the receiver told; zeros: it did not */
	uint8_t root[SHA256_LEN];	/* once it is over */
};

struct stream {
	struct pipe *pipe;	/* to the other end; borrowed */
	enum stream_zip zip;
	/* Called by the caller's own thread some times a second. */
	void (*tick)(void *arg, const struct stream_stat *st);
	bool (*cancelled)(void *arg);
	/* Bytes a second that may be sent, and read from the disk, now; 0: no limit. May be
	 * NULL. Called by several threads. */
	uint64_t (*send_rate)(void *arg);
	uint64_t (*read_rate)(void *arg);
	void *arg;
};

/* ---- the sending end ----------------------------------------------------- */

struct stream_open {
	const char *disk;	/* its name */
	uint32_t chunk;		/* STREAM_CHUNK_MIN..MAX, a multiple of 4096 */
	/* What was written since the copy with root changes->base; borrowed, or NULL. If
	 * the receiver has that copy, only these chunks and those it does not know are
	 * read. */
	const struct track_changes *changes;
};

/* Send one pass of `d`. 0 when the receiver has all of it, synced. */
int stream_send(const struct stream *s, struct disk *d, const struct stream_open *o,
		struct stream_stat *st, struct err *e);
int stream_bye(const struct stream *s, struct err *e);
/* Tell the other end why we stop, and let it read that. */
void stream_fail(const struct stream *s, const struct err *e);

/* ---- the receiving end --------------------------------------------------- */

struct stream_chunk {
	uint64_t index;
	const uint8_t *digest;	/* SHA256_LEN, checked */
	const void *plain;	/* aligned, plain_len bytes */
	uint32_t plain_len;
	const void *frame;	/* the zstd frame it came in, or NULL: it came plain */
	uint32_t frame_len;
};

/* Where a pass goes. data and zero are called by several threads at once. */
struct sink {
	/* The digest it has of a chunk; false: none. */
	bool (*have)(struct sink *k, uint64_t index, uint8_t digest[SHA256_LEN]);
	int (*data)(struct sink *k, const struct stream_chunk *c, struct err *e);
	int (*zero)(struct sink *k, uint64_t index, uint64_t count, struct err *e);
	/* Make durable what was written until now. No two of sync and enter at a time. */
	int (*sync)(struct sink *k, struct err *e);
	/* Have these as its own, which are durable. Not called once a write failed: storage
	 * that is written back amid it may have lost what was written before, too. */
	int (*enter)(struct sink *k, const struct map_update *u, size_t n, struct err *e);
	/* The pass is whole; its root. */
	int (*finish)(struct sink *k, uint8_t root[SHA256_LEN], struct err *e);
	bool known;		/* ask for what it has */
	bool frames;		/* it keeps what came as a frame, so data is to come as one */
	uint32_t pass;		/* which pass this is */
	bool same;		/* it has the copy that was offered as base */
	uint8_t since[SHA256_LEN];	/* to be told; zeros: it is not */
};

/* What the sender announced; the texts are borrowed from a JSON document. */
struct stream_offer {
	const char *disk, *base;	/* base: hex, or NULL */
	uint64_t size;
	uint32_t chunk;
};

struct stream_receiver {
	/* Prepare for what is offered. */
	struct sink *(*open)(void *arg, const struct stream_offer *o, struct err *e);
	/* The pass is over, whether it went well or not: free the sink. */
	int (*close)(void *arg, struct sink *k, const struct stream_stat *st,
		     bool ok, struct err *e);
	void *arg;
};

/* Receive one pass: 1 when it is whole, 0 when the sender said BYE, -1 with e. */
int stream_recv(const struct stream *s, const struct stream_receiver *r,
		struct err *e);

#endif
