/* SPDX-License-Identifier: Apache-2.0
 * track_changes - what was written to a disk, in granules.
 */
#include "modules/lib/track.h"

#include "engine/base/mem.h"
#include "modules/lib/track_priv.h"

#include <stdlib.h>

#define GRANULE_MIN (64u << 10)
#define GRANULES_MAX (64ull << 20)	/* 8 MiB of bits; the tracker has them three times */

uint64_t track_granule(uint64_t size)
{
	uint64_t granule = GRANULE_MIN;

	while (size / granule > GRANULES_MAX)
		granule *= 2;
	return granule;
}

void track_changes_make(struct track_changes *t, uint64_t size)
{
	*t = (struct track_changes){ .granule = track_granule(size) };
	t->count = (size + t->granule - 1) / t->granule;
	t->bits = mem_alloc((t->count + 7) / 8 + 1);
}

void track_changes_add(struct track_changes *t, uint64_t at, uint64_t len)
{
	for (uint64_t g = at / t->granule; g <= (at + len - 1) / t->granule; g++) {
		uint8_t bit = (uint8_t)(1u << g % 8);

		if (!(t->bits[g / 8] & bit))
			t->bytes += t->granule;
		t->bits[g / 8] |= bit;
	}
}

bool track_changed(const struct track_changes *t, uint64_t at, uint64_t len)
{
	uint64_t last = len ? (at + len - 1) / t->granule : at / t->granule;

	for (uint64_t g = at / t->granule; g <= last; g++)
		if (g >= t->count || t->bits[g / 8] >> g % 8 & 1)
			return true;
	return false;
}

void track_changes_free(struct track_changes *t)
{
	mem_free_ptr(&t->bits);
	t->bits = NULL;
}
