/* SPDX-License-Identifier: Apache-2.0
 * backup - images of machines' disks at a place that all of them share.
 *
 *   <place>/machines/<machine>/<name>/   name: the time it was begun, and the run
 *     index.json                         machine, time, disks: size, chunk, root
 *     <disk>.map                         map.h: the digest of every chunk
 *   <place>/{packs,index,lock}           chunkstore.h: the chunks by their digests
 *
 * A backup is written as .<name>.new and renamed when all of it is synced, chunks
 * first: one that can be seen is whole, and no older one is ever touched. What an
 * interrupted attempt stored is found again by the next. A new one begins with the
 * map of the newest of the same disk, else of one of equal size: what is equal is
 * neither sent nor stored.
 */
#ifndef DROVER_BACKUP_H
#define DROVER_BACKUP_H

#include "modules/lib/chunkstore.h"
#include "modules/lib/disk.h"
#include "modules/lib/map.h"
#include "modules/lib/stream.h"

/* <place>/machines/<machine>; owned. */
char *backup_machine_dir(const char *place, const char *machine);

/* ---- writing ------------------------------------------------------------- */

/* Where a disk goes. All borrowed for the sink's life. */
struct backup_target {
	struct chunkstore *store;	/* opened to add */
	const char *place, *dir;	/* dir: the .new one */
	const struct map_id *id;	/* of the disk */
};

/* A sink for one disk; it goes on with what an earlier attempt left in `dir`. */
struct sink *backup_sink(const struct backup_target *t, struct err *e);
/* Its line for index.json once it is finished: {size, chunk, digest, stored}, stored: the
 * bytes that it added. The sink is freed in either case. Owned; NULL: not finished. */
json_t *backup_sink_end(struct sink *k);

/* Write index.json, sync, rename dir to `final`. */
int backup_publish(const char *dir, const char *final, json_t *index, struct err *e);

/* ---- reading ------------------------------------------------------------- */

/* index.json, checked for its shape. Owned; NULL with e (e->sys ENOENT: none). */
json_t *backup_index(const char *dir, struct err *e);
/* A disk of it, to be read; every chunk is checked when it is read. `store` is
 * borrowed. NULL with e: also when the map has not the root that index.json says. */
struct disk *backup_open(struct chunkstore *store, const char *dir, const char *disk,
			 struct err *e);
uint32_t backup_chunk(const struct disk *d);
/* The digest of a chunk; true: it is one of zeros. */
bool backup_digest(const struct disk *d, uint64_t index, uint8_t digest[SHA256_LEN]);

/* Every backup at the place, also unfinished ones: machine and directory. Stops when
 * `each` returns not 0, and returns that. A place that is not there has none; -1 with e when
 * one that is there cannot be listed whole. */
struct backup_at { const char *machine, *name, *dir; bool finished; };
int backup_each(const char *place, int (*each)(void *arg, const struct backup_at *b), void *arg,
		struct err *e);

/* ---- taking away ----------------------------------------------------------- */

/* Remove one: first out of sight, then away. Its chunks stay until a sweep. */
int backup_remove(const char *dir, struct err *e);
/* Remove the backups of this list ({path}; NULL: none), and give back the room of chunks that
 * no backup names. -1 with e; ERR_HELD when backups are being made or read there: then nothing
 * is removed; ERR_STEP when one that stays is damaged. */
int backup_sweep(const char *place, const json_t *gone, uint64_t *freed, struct err *e);

#endif
