/* SPDX-License-Identifier: Apache-2.0
 * parttab - MBR with its chain of logical partitions, GPT with its check sums.
 */
#include "modules/lib/parttab.h"
#include "engine/base/mem.h"
#include "modules/lib/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

const char *const table_names[] = { "none", "dos", "gpt" };

#define MBR_ENTRY 446
#define EBR_MAX 128		/* logical partitions that are followed */

static struct part *add_part(struct parttab *t, int number)
{
	t->parts = mem_grow(t->parts, t->count, &t->cap, sizeof(*t->parts));
	memset(&t->parts[t->count], 0, sizeof(*t->parts));
	t->parts[t->count].number = number;
	return &t->parts[t->count++];
}

static bool has_text(const uint8_t *p, size_t n, const char *s)
{
	return memmem(p, n, s, strlen(s)) != NULL;
}

/* ---- MBR ----------------------------------------------------------------- */

static bool is_extended(uint8_t type)
{
	return type == 0x05 || type == 0x0f || type == 0x85;
}

static void dos_add(struct parttab *t, const uint8_t *entry, uint64_t base,
		    int number)
{
	struct part *p = add_part(t, number);

	p->start = (base + get_le32(entry + 8)) * t->sector;
	p->size = (uint64_t)get_le32(entry + 12) * t->sector;
	p->active = entry[0] == 0x80;
	snprintf(p->type, sizeof(p->type), "0x%02x", entry[4]);
	snprintf(p->partuuid, sizeof(p->partuuid), "%.8s-%02x", t->id,
		 number & 0xff);
}

/* Logical partitions: a chain of tables, each naming one and the next table. */
static int dos_logical(const struct blk *b, struct parttab *t, uint64_t first,
		       struct err *e)
{
	uint64_t next = first;
	uint8_t s[512];

	for (int number = 5; number < 5 + EBR_MAX; number++) {
		const uint8_t *entry = s + MBR_ENTRY;

		if (blk_read(b, s, sizeof(s), next * t->sector, e) < 0)
			return err_wrap(e, "cannot read the table of logical "
					"partition %d", number);
		if (get_le16(s + 510) != 0xaa55)
			return 0;
		if (entry[4] && get_le32(entry + 12))
			dos_add(t, entry, next, number);
		entry += 16;
		if (!is_extended(entry[4]) || !get_le32(entry + 8))
			return 0;
		next = first + get_le32(entry + 8);
	}
	return err_set(e, ERR_STEP, "cannot read the partition table: "
		       "its chain of logical partitions does not end");
}

/* A file system's boot sector also ends in 55 aa: only entries that make sense
 * are a table. */
static bool dos_plausible(const uint8_t *s)
{
	int used = 0;

	if (get_le16(s + 510) != 0xaa55)
		return false;
	for (int i = 0; i < 4; i++) {
		const uint8_t *entry = s + MBR_ENTRY + 16 * i;

		if (entry[0] != 0 && entry[0] != 0x80)
			return false;
		used += entry[4] != 0 && get_le32(entry + 12) != 0;
	}
	return used > 0;
}

static int dos_read(const struct blk *b, struct parttab *t, const uint8_t *s,
		    struct err *e)
{
	t->kind = TABLE_DOS;
	snprintf(t->id, sizeof(t->id), "%08x", get_le32(s + 440));
	for (int i = 0; i < 4; i++) {
		const uint8_t *entry = s + MBR_ENTRY + 16 * i;

		if (entry[4] && get_le32(entry + 12))
			dos_add(t, entry, 0, i + 1);
	}
	for (int i = 0; i < 4; i++) {
		const uint8_t *entry = s + MBR_ENTRY + 16 * i;

		if (is_extended(entry[4]) && get_le32(entry + 8))
			return dos_logical(b, t, get_le32(entry + 8), e);
	}
	return 0;
}

/* ---- GPT ----------------------------------------------------------------- */

static void guid_text(const uint8_t *g, char out[37])
{
	snprintf(out, 37, "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 get_le32(g), get_le16(g + 4), get_le16(g + 6), g[8], g[9], g[10], g[11],
		 g[12], g[13], g[14], g[15]);
}

/* UCS-2 as GPT has it; what is no character becomes '?'. */
static void gpt_name(const uint8_t *p, char out[109])
{
	char *o = out;

	for (int i = 0; i < 36; i++) {
		uint16_t u = get_le16(p + 2 * i);

		if (!u)
			break;
		if (u < 0x80 && u >= 0x20) {
			*o++ = (char)u;
		} else if (u >= 0xa0 && u < 0x800) {
			*o++ = (char)(0xc0 | u >> 6);
			*o++ = (char)(0x80 | (u & 0x3f));
		} else if (u >= 0x800 && (u < 0xd800 || u > 0xdfff)) {
			*o++ = (char)(0xe0 | u >> 12);
			*o++ = (char)(0x80 | (u >> 6 & 0x3f));
			*o++ = (char)(0x80 | (u & 0x3f));
		} else {
			*o++ = '?';
		}
	}
	*o = 0;
}

static void gpt_add(struct parttab *t, const struct blk *b, const uint8_t *entry,
		    int number)
{
	static const uint8_t unused[16];
	uint64_t first = get_le64(entry + 32), last = get_le64(entry + 40);
	uint64_t sectors = b->size / t->sector;
	struct part *p;

	if (memcmp(entry, unused, 16) == 0 || first > last || last >= sectors)
		return;
	p = add_part(t, number);
	p->start = first * t->sector;
	p->size = (last - first + 1) * t->sector;
	p->active = get_le64(entry + 48) & 4;
	guid_text(entry, p->type);
	guid_text(entry + 16, p->partuuid);
	gpt_name(entry + 56, p->label);
}

/* False: no valid header there. */
static bool gpt_read_at(const struct blk *b, struct parttab *t, uint64_t lba)
{
	uint8_t h[512], zero[4] = { 0 };
	uint32_t hlen, count, esize;
	AUTO_FREE uint8_t *entries = NULL;

	if (blk_read(b, h, sizeof(h), lba * t->sector, NULL) < 0 ||
	    memcmp(h, "EFI PART", 8) != 0)
		return false;
	hlen = get_le32(h + 12);
	count = get_le32(h + 80);
	esize = get_le32(h + 84);
	if (hlen < 92 || hlen > sizeof(h) || esize < 128 || esize > 4096 ||
	    count > 4096 || get_le64(h + 24) != lba)
		return false;
	uLong crc = crc32(0, h, 16);
	crc = crc32(crc, zero, 4);
	crc = crc32(crc, h + 20, hlen - 20);
	if (crc != get_le32(h + 16) || get_le64(h + 72) > b->size / t->sector)
		return false;
	entries = mem_alloc((size_t)count * esize + 1);
	if (blk_read(b, entries, (size_t)count * esize,
		     get_le64(h + 72) * t->sector, NULL) < 0 ||
	    crc32(0, entries, count * esize) != get_le32(h + 88))
		return false;
	t->kind = TABLE_GPT;
	guid_text(h + 56, t->id);
	for (uint32_t i = 0; i < count && i < PART_MAX; i++)
		gpt_add(t, b, entries + (size_t)i * esize, (int)i + 1);
	return true;
}

static bool gpt_read(const struct blk *b, struct parttab *t)
{
	if (gpt_read_at(b, t, 1))
		return true;
	t->backup = gpt_read_at(b, t, b->size / t->sector - 1);
	return t->backup;
}

static bool has_protective_entry(const uint8_t *s)
{
	for (int i = 0; i < 4; i++)
		if (s[MBR_ENTRY + 16 * i + 4] == 0xee)
			return true;
	return false;
}

int parttab_read(const struct blk *b, struct parttab *t, struct err *e)
{
	uint8_t s[512];

	memset(t, 0, sizeof(*t));
	t->sector = b->sector;
	if (b->size < 4096)
		return 0;
	if (blk_read(b, s, sizeof(s), 0, e) < 0)
		return -1;
	t->boot_code = s[0] == 0xeb || s[0] == 0xfa || s[0] == 0x33;
	t->grub = has_text(s, MBR_ENTRY, "GRUB");
	if (!dos_plausible(s))
		return 0;
	if (!has_protective_entry(s))
		return dos_read(b, t, s, e);
	if (gpt_read(b, t))
		return 0;
	/* An image of a 4K disk, kept in a file, does not tell its sectors. */
	t->sector = 4096;
	if (b->sector == 512 && gpt_read(b, t))
		return 0;
	return err_set(e, ERR_STEP, "cannot read the GPT of '%s': neither the table "
		       "nor its copy at the end has a valid check sum",
		       b->disk->path);
}

void parttab_free(struct parttab *t)
{
	free(t->parts);
	memset(t, 0, sizeof(*t));
}
