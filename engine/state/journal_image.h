/* SPDX-License-Identifier: Apache-2.0
 * journal_image - the bytes of a journal, as journal.h describes them: headers, records and
 * seals made; a whole file in memory, and how far it is good.
 */
#ifndef DROVER_STATE_JOURNAL_IMAGE_H
#define DROVER_STATE_JOURNAL_IMAGE_H

#include "engine/state/journal.h"

#define HEADER_LEN 64
#define RECORD_LEN 40		/* of its head; the payload follows */
#define SEAL_LEN 24

/* ---- made ---- */
/* Both give their own checksum: the chain's next link. */
uint64_t image_header(uint8_t h[HEADER_LEN], const char *lineage, uint64_t base);
uint64_t image_record(uint8_t head[RECORD_LEN], const struct journal_record *r,
		      uint64_t durable, uint64_t chain);
void image_seal(uint8_t s[SEAL_LEN], uint64_t durable);

/* ---- read ---- */
struct image {
	uint8_t *p;		/* owned */
	size_t len;
	uint64_t base;		/* from the header */
	uint64_t last;		/* last good record */
	uint64_t chain;		/* its checksum */
	size_t end;		/* offset after it */
	size_t torn;		/* bytes there that are no seal */
};

#define AUTO_IMAGE __attribute__((cleanup(image_free))) struct image

void image_free(struct image *m);
/* Read all of a file and check it: what a crash can leave behind its good end is m->torn,
 * anything else is damage. -1 with e. */
int image_load(struct image *m, int fd, const char *path, const char *lineage, struct err *e);
/* fn for each record behind `after`, in order; -1 when it said so. */
int image_each(const struct image *m, uint64_t after, journal_fn *fn, void *arg,
	       struct err *e);

#endif
