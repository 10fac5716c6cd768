/* SPDX-License-Identifier: Apache-2.0
 * freentfs - the free clusters of an NTFS that was cleanly unmounted: those whose bit in
 * $Bitmap is not set.
 *
 * Windows that hibernates, or shuts down fast, keeps a part of the file system in its
 * memory: the volume is neither dirty nor at rest. So the log ($LogFile) must say that it
 * is clean, and a hiberfil.sys must not hold a system.
 */
#include "modules/lib/freefs.h"

#include "modules/lib/bytes.h"
#include "modules/lib/ntfs.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ROOT_MAX (16u << 20)	/* bytes of the root's index that are looked through */
#define PIECE (64u << 10)	/* of the bitmap, read at once */
#define FIX 512u		/* no index block is shorter */

/* Records of the table of files. */
enum { NO_LOG = 2, NO_VOLUME = 3, NO_ROOT = 5, NO_BITMAP = 6 };
/* By offset: an index block and an entry in it, a page of the log, what it says. */
enum { INDEX_BLOCK_HEAD = 24, E_LEN = 8, E_FLAGS = 12, E_HEAD = 16, NAME_LEN = 64, NAME = 66 };
enum { RSTR_PAGE = 16, RSTR_AREA = 24, AREA_LSN = 0, AREA_CLIENT = 12, AREA_FLAGS = 14 };
#define VOLUME_FINE 0x8000u	/* "chkdsk has changed it" is no fault */
#define LOG_CLEAN 2u
#define NO_CLIENT 0xffffu

static const char hibernated[] = "a hibernated Windows is on it";

static const char *check_volume(const struct ntfs *x)
{
	const char *why;
	uint8_t *rec = ntfs_record(x, NO_VOLUME, &why);
	const uint8_t *a, *v = NULL;
	uint32_t n = 0;

	if (!rec)
		return why;
	a = ntfs_attribute(x, rec, NTFS_VOLUME, &n);
	v = a ? ntfs_value(a, n, 12) : NULL;
	if (!v)
		why = ntfs_odd;
	else if (get_le16(v + 10) & ~VOLUME_FINE)
		why = "it was not cleanly unmounted";
	free(rec);
	return why;
}

/* ---- the log --------------------------------------------------------------------- */

/* One of the two pages that tell how the log ended. */
static const char *take_restart(uint8_t *page, size_t n, uint64_t *lsn, bool *clean)
{
	unsigned at;

	if (memcmp(page, "RSTR", 4) != 0 || !ntfs_fix_up(page, n))
		return "its log is not understood";
	at = get_le16(page + RSTR_AREA);
	if (at % 8 || at + 16u > n)
		return "its log is not understood";
	*lsn = get_le64(page + at + AREA_LSN);
	*clean = get_le16(page + at + AREA_CLIENT) == NO_CLIENT ||
		(get_le16(page + at + AREA_FLAGS) & LOG_CLEAN);
	return NULL;
}

static bool all_are(const uint8_t *p, size_t n, uint8_t byte)
{
	return n == 0 || (p[0] == byte && memcmp(p, p + 1, n - 1) == 0);
}

static const char *read_restarts(const struct ntfs *x, const struct ntfs_stream *log,
				 uint8_t *page)
{
	uint64_t lsn[2];
	bool clean[2];
	uint32_t n;
	const char *why = ntfs_read(x, log, page, 8192, 0);

	if (why)
		return why;
	if (all_are(page, 8192, 0xff))
		return NULL;	/* emptied: nothing is in it */
	n = get_le32(page + RSTR_PAGE);
	if (!ntfs_power_of_two(n, 4096, NTFS_RECORD_MAX))
		return "its log is not understood";
	for (int i = 0; !why && i < 2; i++) {
		why = ntfs_read(x, log, page, n, (uint64_t)i * n);
		if (!why)
			why = take_restart(page, n, &lsn[i], &clean[i]);
	}
	if (why)
		return why;
	return clean[lsn[1] > lsn[0]] ? NULL : "it was not cleanly unmounted, or Windows keeps "
		"a part of it (fast startup)";
}

static const char *check_log(const struct ntfs *x)
{
	AUTO_NTFS_STREAM log = { .v = NULL };
	AUTO_FREE uint8_t *page = mem_alloc(NTFS_RECORD_MAX);
	const char *why;
	AUTO_FREE uint8_t *rec = ntfs_record(x, NO_LOG, &why);

	if (rec)
		why = ntfs_open(x, rec, NTFS_DATA, &log);
	return why ? why : read_restarts(x, &log, page);
}

/* ---- a system that sleeps -------------------------------------------------------- */

static bool is_hiberfil(const uint8_t *name, unsigned chars)
{
	static const char want[] = "hiberfil.sys";

	if (chars != sizeof(want) - 1)
		return false;
	for (unsigned i = 0; i < chars; i++) {
		unsigned c = get_le16(name + 2 * i);

		if (c >= 'A' && c <= 'Z')
			c += 'a' - 'A';
		if (c != (unsigned char)want[i])
			return false;
	}
	return true;
}

/* Does this file hold the memory of a system? */
static const char *look_at_hiberfil(const struct ntfs *x, uint64_t ref)
{
	AUTO_NTFS_STREAM s = { .v = NULL };
	const char *why;
	AUTO_FREE uint8_t *rec = ntfs_record(x, ref & 0xffffffffffffull, &why);
	uint8_t head[4];

	if (rec)
		why = ntfs_open(x, rec, NTFS_DATA, &s);
	if (!why && s.size < 4096)
		return NULL;
	if (!why)
		why = ntfs_read(x, &s, head, 4, 0);
	if (why)
		return hibernated;	/* who cannot tell must fear it */
	return strncasecmp((char *)head, "hibr", 4) == 0 ||
		strncasecmp((char *)head, "rstr", 4) == 0 ? hibernated : NULL;
}

/* Entries of an index: of the node whose head is at `p`. */
static const char *look_at_entries(const struct ntfs *x, const uint8_t *p, size_t n)
{
	uint64_t at = get_le32(p), end = get_le32(p + 4);

	if (end > n)
		return ntfs_damaged;
	while (at + E_HEAD <= end) {
		const uint8_t *e = p + at;
		unsigned len = get_le16(e + E_LEN);
		const char *why = NULL;

		if (get_le16(e + E_FLAGS) & 2)
			return NULL;	/* the last one */
		if (len < E_HEAD + NAME || len % 8 || len > end - at ||
		    (unsigned)E_HEAD + NAME + 2 * e[E_HEAD + NAME_LEN] > len)
			return ntfs_damaged;
		if (is_hiberfil(e + E_HEAD + NAME, e[E_HEAD + NAME_LEN]))
			why = look_at_hiberfil(x, get_le64(e));
		if (why)
			return why;
		at += len;
	}
	return ntfs_damaged;
}

/* The rest of the root's index, block by block in the order in which they lie. */
static const char *look_at_blocks(const struct ntfs *x, const uint8_t *rec, uint32_t size)
{
	AUTO_NTFS_STREAM s = { .v = NULL };
	AUTO_FREE uint8_t *b = mem_alloc(NTFS_RECORD_MAX);
	const char *why = ntfs_open(x, rec, NTFS_INDEX, &s);

	if (why || s.size > ROOT_MAX)
		return why ? why : ntfs_odd;
	for (uint64_t at = 0; !why && at + size <= s.size; at += size) {
		why = ntfs_read(x, &s, b, size, at);
		if (why || memcmp(b, "INDX", 4) != 0)
			continue;	/* not in use yet */
		why = ntfs_fix_up(b, size) ? look_at_entries(x, b + INDEX_BLOCK_HEAD,
							size - INDEX_BLOCK_HEAD) : ntfs_damaged;
	}
	return why;
}

static const char *check_sleep(const struct ntfs *x)
{
	const char *why;
	AUTO_FREE uint8_t *rec = ntfs_record(x, NO_ROOT, &why);
	const uint8_t *a, *v;
	uint32_t n = 0, size;

	if (!rec)
		return why;
	a = ntfs_attribute(x, rec, NTFS_INDEX_ROOT, &n);
	v = a ? ntfs_value(a, n, 32) : NULL;
	if (!v || ntfs_has_list(x, rec))
		return ntfs_odd;
	size = get_le32(v + 8);
	if (!ntfs_power_of_two(size, FIX, NTFS_RECORD_MAX))
		return ntfs_odd;
	why = look_at_entries(x, v + 16, (size_t)(a + n - v) - 16);
	if (why || !ntfs_attribute(x, rec, NTFS_INDEX, &n))
		return why;
	return look_at_blocks(x, rec, size);
}

/* ---- the bitmap ------------------------------------------------------------------ */

/* The run of free clusters that is open goes on, or ends. */
struct walk {
	const struct ntfs *x;
	struct freespace *f;
	uint64_t from, to;	/* clusters */
};

static void end_run(struct walk *w)
{
	if (w->to > w->from)
		freespace_add(w->f, w->x->part.start + w->from * w->x->cluster,
			      (w->to - w->from) * w->x->cluster);
}

static void take_free(struct walk *w, uint64_t at, uint64_t n)
{
	if (at != w->to) {
		end_run(w);
		w->from = at;
	}
	w->to = at + n;
}

static void take_bits(struct walk *w, const uint8_t *p, uint64_t at, uint64_t n)
{
	for (uint64_t i = 0; i < n;) {
		if (i % 8 == 0 && n - i >= 8 && (p[i / 8] == 0 || p[i / 8] == 0xff)) {
			if (p[i / 8] == 0)
				take_free(w, at + i, 8);
			i += 8;
			continue;
		}
		if (!(p[i / 8] >> i % 8 & 1))
			take_free(w, at + i, 1);
		i++;
	}
}

static const char *walk_bitmap(const struct ntfs *x, struct freespace *f)
{
	AUTO_NTFS_STREAM bits = { .v = NULL };
	AUTO_FREE uint8_t *p = mem_alloc(PIECE);
	struct walk w = { .x = x, .f = f };
	const char *why;
	AUTO_FREE uint8_t *rec = ntfs_record(x, NO_BITMAP, &why);

	if (rec && ntfs_has_list(x, rec))
		return ntfs_odd;
	if (rec)
		why = ntfs_open(x, rec, NTFS_DATA, &bits);
	if (!why && bits.valid < (x->clusters + 7) / 8)
		why = ntfs_damaged;
	for (uint64_t at = 0; !why && at < x->clusters; at += PIECE * 8) {
		uint64_t n = x->clusters - at < PIECE * 8 ? x->clusters - at : PIECE * 8;

		why = ntfs_read(x, &bits, p, (n + 7) / 8, at / 8);
		if (!why)
			take_bits(&w, p, at, n);
	}
	if (!why)
		end_run(&w);
	return why;
}

const char *freentfs_find(struct freespace *f, const struct blk *part)
{
	struct ntfs x;
	const char *why = ntfs_begin(&x, part);

	if (!why)
		why = check_volume(&x);
	if (!why)
		why = check_log(&x);
	if (!why)
		why = check_sleep(&x);
	if (!why)
		why = walk_bitmap(&x, f);
	ntfs_end(&x);
	return why;
}
