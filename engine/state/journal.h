/* SPDX-License-Identifier: Apache-2.0
 * journal - the write-ahead log of one plan: .drover/journal/<plan>.wal.
 *
 *	header	64 bytes: magic, version, lineage, number of the last record
 *		that went before, checksum
 *	record	40 bytes: magic, length, number, number known durable when it was
 *		written, checksum of the record before it, own checksum;
 *		then the payload (JSON)
 *	seal	24 bytes behind the last record: magic, 0, number known durable,
 *		own checksum; the next record is written over it
 *
 * All integers are little-endian. Checksums are XXH3-64. "Known durable" is what
 * tells damage from a torn tail: a bad record that a later one, or the seal, calls
 * durable was once whole, so that is damage; any other bad tail is a batch whose
 * fdatasync never returned, which nobody was told about, and is cut. The seal is not
 * synced: a power cut may take it, and then the last batch looks torn if it is bad.
 */
#ifndef DROVER_STATE_JOURNAL_H
#define DROVER_STATE_JOURNAL_H

#include "engine/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define JOURNAL_PAYLOAD_MAX (64u << 20)	/* bytes in one record */
#define LINEAGE_HEX 33

/* The disk as the journal sees it; tests give one that fills up or fails. */
struct journal_io {
	ssize_t (*pwrite)(int fd, const void *p, size_t n, off_t at);
	int (*fdatasync)(int fd);
};
extern const struct journal_io journal_io_real;

/* A journal open for appending. One thread at a time. */
struct journal {
	char *path;		/* owned */
	int fd;			/* -1: closed */
	char lineage[LINEAGE_HEX];
	uint64_t base;		/* last record before this file's first */
	uint64_t last;		/* last record in it; base when it is empty */
	uint64_t durable;	/* last record that fdatasync has confirmed */
	uint64_t chain;		/* checksum of the last record (or the header) */
	uint64_t end;		/* file offset where the next record goes */
	uint64_t cut;		/* bytes of torn tail cut when it was opened */
	bool broken;		/* a sync failed: nothing can be promised any more */
	const struct journal_io *io;
};

/* One record, as read or as to be written. */
struct journal_record {
	uint64_t seq;		/* its number; strictly increasing */
	const char *payload;	/* borrowed */
	size_t len;
};

typedef int journal_fn(void *arg, const struct journal_record *r, struct err *e);

/* Read a journal without writing: fn for each whole record in order, after all
 * of the file was checked. Tolerates a writer at work (its unfinished tail is
 * not seen). A missing file has no records. `lineage`: what the file must carry.
 * `last` (may be NULL) receives the number of the last record. -1 with e when it
 * is damaged or fn said so. */
int journal_read(const char *path, const char *lineage, journal_fn *fn, void *arg,
		 uint64_t *last, struct err *e);

/* Open for appending, made with `base` when missing; a torn tail is cut (j->cut),
 * then fn as above. j is filled in; journal_close() in any case. */
int journal_open(struct journal *j, const char *path, const char *lineage,
		 uint64_t base, journal_fn *fn, void *arg, struct err *e);
void journal_close(struct journal *j);

/* Write records in one piece and sync once. 0: all are durable. -1 with e:
 * none is in the file (e->sys is ENOSPC when the disk is full and trying again
 * may help; else j->broken is set). */
int journal_write(struct journal *j, const struct journal_record *v, size_t n,
		  struct err *e);

/* Replace the file by one without the records up to `upto` (all of which git
 * holds). Crash-safe: written beside, synced, renamed. */
int journal_trim(struct journal *j, uint64_t upto, struct err *e);

#endif
