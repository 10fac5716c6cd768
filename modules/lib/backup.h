/* SPDX-License-Identifier: Apache-2.0
 * backup - images of a machine's disks, compressed and checked by digest, in a
 * directory that is either whole or not there.
 *
 *   <place>/<machine>/<name>/            name: the time it was begun, and the run
 *     index.json                         machine, time, disks: size, chunk, root
 *     <disk>.index                       64 bytes of header, 48 bytes a chunk: digest,
 *                                        offset u64, length u32, flags u32, in
 *                                        little-endian; all zeros: a chunk of zeros
 *     <disk>.data                        the chunks, as zstd frames or as they are
 *
 * It is written as .<name>.new and renamed when all of it is synced: a backup that
 * can be seen is whole, and no older one is ever touched. Chunks are known by their
 * SHA-256, so that a repository by content can take them over as they lie.
 */
#ifndef DROVER_BACKUP_H
#define DROVER_BACKUP_H

#include "modules/lib/disk.h"
#include "modules/lib/stream.h"

/* ---- writing ------------------------------------------------------------- */

/* A sink for one disk of the backup in directory `dir` (the .new one). */
struct sink *backup_sink(const char *dir, const struct stream_offer *o, struct err *e);
/* Its line for index.json once it is finished: {size, chunk, digest, stored}; the
 * sink is freed in either case. Owned; NULL when it was not finished. */
json_t *backup_sink_end(struct sink *k);

/* Write index.json, sync, rename dir to `final`. */
int backup_publish(const char *dir, const char *final, json_t *index, struct err *e);

/* ---- reading ------------------------------------------------------------- */

/* index.json, checked for its shape. Owned; NULL with e (e->sys ENOENT: none). */
json_t *backup_index(const char *dir, struct err *e);
/* A disk of it, to be read: every chunk is checked when it is read. */
struct disk *backup_open(const char *dir, const char *disk, struct err *e);
/* Chunk of the disk, and the root that its index says. */
uint32_t backup_chunk(const struct disk *d);
void backup_root(const struct disk *d, uint8_t root[SHA256_LEN]);
/* Is chunk `index` a chunk of zeros, by the index? */
bool backup_is_zero(struct disk *d, uint64_t index);

#endif
