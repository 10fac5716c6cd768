/* SPDX-License-Identifier: Apache-2.0
 * snapcow - the exceptions of a dm-snapshot.
 */
#include "modules/lib/snapcow.h"

#include "engine/base/mem.h"
#include "modules/lib/bytes.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC 0x70416e53u	/* "SnAp" */
#define VERSION 1u
#define SECTOR 512u
#define EXCEPTION 16u		/* bytes */
#define CHUNK_MIN 4096u		/* LVM makes none below 4 KiB, and none above 512 */
#define CHUNK_MAX (1u << 20)

struct store {
	struct disk *d;
	uint64_t size;		/* of the volume */
	uint32_t chunk;		/* bytes; a power of two */
	uint64_t chunks;	/* that it has */
	uint32_t per_area;	/* exceptions */
};

static int damaged(const struct store *s, const char *how, struct err *e)
{
	return err_set(e, ERR_STEP, "its store '%s' is damaged: %s", s->d->path, how);
}

static int read_header(struct store *s, uint8_t *buf, struct err *e)
{
	uint64_t chunk;

	if (s->d->size < CHUNK_MIN)
		return damaged(s, "it is too short", e);
	if (s->d->ops->read(s->d, buf, CHUNK_MIN, 0, e) < 0)
		return -1;
	chunk = (uint64_t)get_le32(buf + 12) * SECTOR;
	if (get_le32(buf) != MAGIC || get_le32(buf + 8) != VERSION)
		return damaged(s, "it has no header", e);
	if (chunk < CHUNK_MIN || chunk > CHUNK_MAX || chunk & (chunk - 1))
		return damaged(s, "it has an odd chunk size", e);
	if (get_le32(buf + 4) == 0)
		return err_set(e, ERR_STEP, "it ran full, or could not be written");
	s->chunk = (uint32_t)chunk;
	s->chunks = s->d->size / chunk;
	s->per_area = s->chunk / EXCEPTION;
	return 0;
}

/* A chunk of the store that holds what the volume had: neither header nor area. */
static bool holds_data(const struct store *s, uint64_t chunk)
{
	return chunk < s->chunks && (chunk - 1) % (s->per_area + 1) != 0;
}

/* 1: its last entry is used, there is another area; 0: it is the last; -1 with e. */
static int take_area(const struct store *s, const uint8_t *p, struct track_changes *t,
		     struct err *e)
{
	for (uint32_t i = 0; i < s->per_area; i++, p += EXCEPTION) {
		uint64_t old = get_le64(p), at = get_le64(p + 8);

		if (at == 0)
			return 0;
		if (!holds_data(s, at) || old >= (s->size + s->chunk - 1) / s->chunk)
			return damaged(s, "an entry leads nowhere", e);
		old *= s->chunk;
		track_changes_add(t, old, s->size - old < s->chunk ? s->size - old : s->chunk);
	}
	return 1;
}

static int take_all(const struct store *s, uint8_t *buf, struct track_changes *t, struct err *e)
{
	int more = 1;

	for (uint64_t at = 1; more == 1; at += s->per_area + 1) {
		if (at >= s->chunks)
			return damaged(s, "it ends amid its list", e);
		if (s->d->ops->read(s->d, buf, s->chunk, at * s->chunk, e) < 0)
			return -1;
		more = take_area(s, buf, t, e);
	}
	return more;
}

int snapcow_read(struct disk *cow, uint64_t size, struct track_changes *t, struct err *e)
{
	struct store s = { .d = cow, .size = size };
	AUTO_FREE uint8_t *buf = disk_buffer(CHUNK_MAX);
	int rc = read_header(&s, buf, e);

	*t = (struct track_changes){ 0 };
	if (rc < 0)
		return -1;
	track_changes_make(t, size);
	rc = take_all(&s, buf, t, e);
	if (rc == 0)	/* it may have run full meanwhile */
		rc = read_header(&s, buf, e);
	if (rc < 0)
		track_changes_free(t);
	else if (t->bytes > size)
		t->bytes = size;
	return rc;
}
