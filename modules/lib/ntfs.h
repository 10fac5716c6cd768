/* SPDX-License-Identifier: Apache-2.0
 * ntfs - records and streams of an NTFS, read for freentfs.c: what is damaged, or not
 * understood, ends the reading.
 *
 * A function that returns a text returns NULL when all is well, else why not.
 */
#ifndef DROVER_NTFS_H
#define DROVER_NTFS_H

#include "modules/lib/blkio.h"

#include <stdbool.h>
#include <stdint.h>

#define NTFS_RECORD_MAX 65536u	/* bytes of any record, index block or page */

/* Types of attributes. */
enum { NTFS_LIST = 0x20, NTFS_VOLUME = 0x70, NTFS_DATA = 0x80, NTFS_INDEX_ROOT = 0x90,
	NTFS_INDEX = 0xa0 };

struct ntfs_run {
	uint64_t at, len, lcn;	/* clusters: in the stream, and on the volume */
	bool hole;
};

/* The content of a file: what of its list of runs stands in one record. */
struct ntfs_stream {
	struct ntfs_run *v;	/* owned */
	size_t count, cap;
	uint64_t size, valid;	/* bytes; behind `valid` all reads as zeros */
};
#define AUTO_NTFS_STREAM __attribute__((cleanup(ntfs_stream_free))) struct ntfs_stream
void ntfs_stream_free(struct ntfs_stream *s);

struct ntfs {
	struct blk part;
	uint32_t sector, cluster, record;	/* bytes */
	uint64_t clusters;
	struct ntfs_stream mft;			/* the table of files */
};

/* Find the table of files; ntfs_end() is due in any case. */
const char *ntfs_begin(struct ntfs *x, const struct blk *part);
void ntfs_end(struct ntfs *x);

/* Record `no` of the table, owned; NULL with *why. */
uint8_t *ntfs_record(const struct ntfs *x, uint64_t no, const char **why);
/* The unnamed attribute of this type in a record (an index: of any name), and its bytes;
 * NULL: there is none. */
const uint8_t *ntfs_attribute(const struct ntfs *x, const uint8_t *rec, int type, uint32_t *n);
/* Some of its attributes stand in other records. */
bool ntfs_has_list(const struct ntfs *x, const uint8_t *rec);
/* The value, of `want` bytes at least, of an attribute that is in its record; or NULL. */
const uint8_t *ntfs_value(const uint8_t *a, uint32_t n, uint32_t want);
/* An attribute's content that lies outside of its record, whole and plain. */
const char *ntfs_open(const struct ntfs *x, const uint8_t *rec, int type,
		      struct ntfs_stream *s);
/* Bytes of it, all of them inside. */
const char *ntfs_read(const struct ntfs *x, const struct ntfs_stream *s, uint8_t *p, size_t n,
		      uint64_t at);

/* Put back the bytes of a structure whose place its marks took; they must all be there. */
bool ntfs_fix_up(uint8_t *p, size_t n);
bool ntfs_power_of_two(uint64_t v, uint64_t min, uint64_t max);

extern const char ntfs_damaged[], ntfs_unread[], ntfs_odd[];

#endif
