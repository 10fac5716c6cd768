/* SPDX-License-Identifier: Apache-2.0
 * snapcow - what was written to a volume since a snapshot of it was made, from the store in
 * which the kernel's dm-snapshot keeps what was overwritten (its persistent format 1).
 *
 * Little-endian, in chunks:
 *
 *   chunk 0		magic "SnAp", valid u32, version u32, chunk size u32 in sectors
 *   area i		chunk 1 + i * (n + 1), n = chunk size / 16: n exceptions {chunk of the
 *			volume u64, chunk of this store u64}; the latter is 0 behind the last
 *   all others	what the volume had there
 *
 * An exception is on disk before the write that made it reaches the volume, so all writes
 * that were over when reading began are found; later ones may be. The store is read past the
 * page cache, which does not see what the kernel writes there.
 */
#ifndef DROVER_SNAPCOW_H
#define DROVER_SNAPCOW_H

#include "modules/lib/disk.h"
#include "modules/lib/track.h"

/* Fill t (the caller frees it), but for its base, of a volume of `size` bytes. -1 with e, and
 * nothing in t: it is no such store, is damaged, or is marked invalid, as one that ran full. */
int snapcow_read(struct disk *cow, uint64_t size, struct track_changes *t, struct err *e);

#endif
