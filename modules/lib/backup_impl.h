/* SPDX-License-Identifier: Apache-2.0
 * backup_impl - the files of a backup, as the writing and the reading half see
 * them.
 */
#ifndef DROVER_BACKUP_IMPL_H
#define DROVER_BACKUP_IMPL_H

#include "modules/lib/backup.h"

#define BACKUP_MAGIC "DRBAK01\n"
enum { BACKUP_PLAIN = 1, BACKUP_ZIP = 2 };	/* flags; 0: a chunk of zeros */

struct backup_head {
	char magic[8];
	uint64_t size;
	uint32_t chunk, zero;
	uint8_t root[SHA256_LEN];
	uint8_t pad[8];
};

struct backup_entry {
	uint8_t digest[SHA256_LEN];
	uint64_t offset;
	uint32_t length, flags;
};

_Static_assert(sizeof(struct backup_head) == 64, "the header of an index");
_Static_assert(sizeof(struct backup_entry) == 48, "an entry of an index");

static inline uint64_t backup_entry_at(uint64_t index)
{
	return sizeof(struct backup_head) + index * sizeof(struct backup_entry);
}

/* The root of what the index file holds. -1 with errno. */
int backup_compute_root(int fd, const struct backup_head *h, uint8_t root[SHA256_LEN]);

#endif
