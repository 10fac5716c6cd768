/* SPDX-License-Identifier: Apache-2.0
 * fsinfo - signatures of file systems and of what lies under them.
 */
#include "modules/lib/parttab.h"
#include "engine/base/mem.h"
#include "modules/lib/bytes.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define WINDOW (1024 * 1024)

/* The first bytes of what is looked at. */
struct view {
	uint8_t *p;
	size_t n;
	uint64_t size;		/* of the whole */
};

static bool at(const struct view *v, size_t off, const void *magic, size_t n)
{
	return off + n <= v->n && memcmp(v->p + off, magic, n) == 0;
}

static void put_uuid(struct fsinfo *f, const uint8_t *u)
{
	snprintf(f->uuid, sizeof(f->uuid), "%02x%02x%02x%02x-%02x%02x-%02x%02x-"
		 "%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2], u[3],
		 u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13],
		 u[14], u[15]);
}

/* Labels come from outside: kept when they are plain text. */
static void put_label(struct fsinfo *f, const uint8_t *p, size_t n)
{
	size_t len = strnlen((const char *)p, n);

	while (len && p[len - 1] == ' ')
		len--;
	if (len >= sizeof(f->label))
		len = sizeof(f->label) - 1;
	for (size_t i = 0; i < len; i++)
		f->label[i] = isprint(p[i]) ? (char)p[i] : '?';
	f->label[len] = 0;
}

static void put_name(struct fsinfo *f, const char *name)
{
	snprintf(f->fs, sizeof(f->fs), "%s", name);
}

static bool probe_ext(const struct view *v, struct fsinfo *f)
{
	const uint8_t *s = v->p + 1024;
	uint32_t compat, incompat, ro;

	if (!at(v, 1080, "\x53\xef", 2) || v->n < 2048)
		return false;
	compat = get_le32(s + 92);
	incompat = get_le32(s + 96);
	ro = get_le32(s + 100);
	if (incompat & 0x8)
		put_name(f, "jbd");
	else if (incompat & ~0x16u || ro & ~0x7u)
		put_name(f, "ext4");
	else
		put_name(f, compat & 0x4 ? "ext3" : "ext2");
	f->dirty = incompat & 0x4;
	put_uuid(f, s + 104);
	put_label(f, s + 120, 16);
	return true;
}

static bool probe_xfs(const struct view *v, struct fsinfo *f)
{
	if (!at(v, 0, "XFSB", 4) || v->n < 512)
		return false;
	put_name(f, "xfs");
	put_uuid(f, v->p + 32);
	put_label(f, v->p + 108, 12);
	return true;
}

static bool probe_btrfs(const struct view *v, struct fsinfo *f)
{
	if (!at(v, 0x10040, "_BHRfS_M", 8))
		return false;
	put_name(f, "btrfs");
	put_uuid(f, v->p + 0x10020);
	put_label(f, v->p + 0x1012b, 64);
	return true;
}

static bool probe_swap(const struct view *v, struct fsinfo *f)
{
	static const size_t pages[] = { 4096, 8192, 16384, 65536 };

	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		if (!at(v, pages[i] - 10, "SWAPSPACE2", 10))
			continue;
		put_name(f, "swap");
		put_uuid(f, v->p + 1036);
		put_label(f, v->p + 1052, 16);
		return true;
	}
	return false;
}

static bool probe_luks(const struct view *v, struct fsinfo *f)
{
	if (!at(v, 0, "LUKS\xba\xbe", 6) || v->n < 512)
		return false;
	put_name(f, "crypto_LUKS");
	for (size_t i = 0; i < 39 && isxdigit(v->p[168 + i]) + (v->p[168 + i] == '-'); i++)
		f->uuid[i] = (char)v->p[168 + i];
	return true;
}

static bool probe_lvm(const struct view *v, struct fsinfo *f)
{
	for (size_t off = 0; off < 2048; off += 512) {
		size_t pv;

		if (!at(v, off, "LABELONE", 8) || !at(v, off + 24, "LVM2 001", 8))
			continue;
		put_name(f, "LVM2_member");
		pv = off + get_le32(v->p + off + 20);
		for (size_t i = 0, o = 0; pv + 32 <= v->n && i < 32; i++) {
			if (i >= 6 && (i - 2) % 4 == 0 && i < 30)
				f->uuid[o++] = '-';
			f->uuid[o++] = isalnum(v->p[pv + i]) ? (char)v->p[pv + i] : '?';
		}
		return true;
	}
	return false;
}

static bool probe_md(const struct view *v, struct fsinfo *f)
{
	static const uint8_t magic[4] = { 0xfc, 0x4e, 0x2b, 0xa9 };

	if (!at(v, 4096, magic, 4) && !at(v, 0, magic, 4))
		return false;
	put_name(f, "linux_raid_member");
	put_uuid(f, v->p + (at(v, 0, magic, 4) ? 0 : 4096) + 16);
	return true;
}

/* Metadata 1.0 and 0.90 stand at the end of the member. */
static bool probe_md_end(const struct blk *b, struct fsinfo *f)
{
	uint64_t places[2] = { ((b->size / 512 - 16) & ~7ull) * 512,
			       (b->size & ~65535ull) - 65536 };
	uint8_t s[32];

	for (size_t i = 0; b->size > 131072 && i < 2; i++) {
		if (blk_read(b, s, sizeof(s), places[i], NULL) < 0 ||
		    get_le32(s) != 0xa92b4efc)
			continue;
		put_name(f, "linux_raid_member");
		if (i == 0)
			put_uuid(f, s + 16);
		return true;
	}
	return false;
}

static void put_serial(struct fsinfo *f, const uint8_t *p)
{
	snprintf(f->uuid, sizeof(f->uuid), "%02X%02X-%02X%02X", p[3], p[2], p[1], p[0]);
}

static bool probe_boot_sector(const struct view *v, struct fsinfo *f)
{
	if (!at(v, 510, "\x55\xaa", 2))
		return false;
	if (at(v, 3, "NTFS    ", 8)) {
		put_name(f, "ntfs");
		snprintf(f->uuid, sizeof(f->uuid), "%08X%08X", get_le32(v->p + 0x4c),
			 get_le32(v->p + 0x48));
	} else if (at(v, 3, "EXFAT   ", 8)) {
		put_name(f, "exfat");
		put_serial(f, v->p + 100);
	} else if (at(v, 82, "FAT32   ", 8)) {
		put_name(f, "vfat");
		put_serial(f, v->p + 67);
		put_label(f, v->p + 71, 11);
	} else if (at(v, 54, "FAT1", 4)) {
		put_name(f, "vfat");
		put_serial(f, v->p + 39);
		put_label(f, v->p + 43, 11);
	} else {
		return false;
	}
	return true;
}

static bool probe_other(const struct view *v, struct fsinfo *f)
{
	if (at(v, 32769, "CD001", 5))
		put_name(f, "iso9660");
	else if (at(v, 0, "hsqs", 4))
		put_name(f, "squashfs");
	else
		return false;
	return true;
}

static bool (*const probes[])(const struct view *v, struct fsinfo *f) = {
	probe_luks, probe_lvm, probe_md, probe_xfs, probe_ext, probe_btrfs,
	probe_swap, probe_boot_sector, probe_other,
};

static bool all_zero(const struct view *v)
{
	return v->n == 0 || (v->p[0] == 0 && memcmp(v->p, v->p + 1, v->n - 1) == 0);
}

void fsinfo_read(const struct blk *b, struct fsinfo *f)
{
	struct view v = { .n = b->size < WINDOW ? b->size : WINDOW,
			  .size = b->size };
	AUTO_FREE uint8_t *p = mem_alloc(v.n + 1);

	memset(f, 0, sizeof(*f));
	v.p = p;
	if (blk_read(b, p, v.n, 0, NULL) < 0)
		return;
	f->blank = all_zero(&v);
	if (probe_md_end(b, f))
		return;
	for (size_t i = 0; i < ARRAY_LEN(probes); i++)
		if (probes[i](&v, f))
			return;
}

bool fsinfo_dirty(struct disk *d, uint64_t start, uint64_t size)
{
	struct blk whole = blk_of(d), b;
	struct fsinfo f = { 0 };

	if (blk_window(&whole, start, size, &b, NULL) == 0)
		fsinfo_read(&b, &f);
	return f.dirty;
}
