/* SPDX-License-Identifier: Apache-2.0
 * ntfs - records and streams of an NTFS.
 */
#include "modules/lib/ntfs.h"

#include "engine/base/mem.h"
#include "modules/lib/bytes.h"

#include <stdlib.h>
#include <string.h>

#define RUNS_MAX 100000u	/* of one file's list */
#define FIX 512u		/* each so many bytes of a structure end with a mark */
#define CLUSTERS_MAX (1ull << 40)	/* times any cluster: less than 2^63 */

/* The boot sector, by offset; little-endian. */
enum { BOOT_SECTOR = 11, BOOT_CLUSTER = 13, BOOT_SECTORS = 40, BOOT_MFT = 48, BOOT_RECORD = 64 };
/* A record, and an attribute in one. */
enum { REC_FIXES = 4, REC_FIX_COUNT = 6, REC_ATTRS = 20, REC_FLAGS = 22, REC_USED = 24 };
enum { A_LEN = 4, A_AWAY = 8, A_NAME = 9, A_FLAGS = 12, A_VALUE_LEN = 16, A_VALUE = 20,
	A_FIRST = 16, A_RUNS = 32, A_SIZE = 48, A_VALID = 56, A_HEAD = 24, A_AWAY_HEAD = 64,
	A_END = -1 };

const char ntfs_damaged[] = "it is damaged";
const char ntfs_unread[] = "it cannot be read";
const char ntfs_odd[] = "it is not understood";

void ntfs_stream_free(struct ntfs_stream *s)
{
	mem_free_ptr(&s->v);
	*s = (struct ntfs_stream){ .v = NULL };
}

bool ntfs_power_of_two(uint64_t v, uint64_t min, uint64_t max)
{
	return v >= min && v <= max && (v & (v - 1)) == 0;
}

/* ---- structures --------------------------------------------------------------------- */

/* Put back the bytes whose place the marks took; they must all be there. */
bool ntfs_fix_up(uint8_t *p, size_t n)
{
	unsigned at = get_le16(p + REC_FIXES), count = get_le16(p + REC_FIX_COUNT);

	if (count != n / FIX + 1 || at + 2 * count > FIX - 2 || at % 2)
		return false;
	for (unsigned i = 1; i < count; i++) {
		uint8_t *end = p + i * FIX - 2;

		if (memcmp(end, p + at, 2) != 0)
			return false;
		memcpy(end, p + at + 2 * i, 2);
	}
	return true;
}

/* Bytes of a stream, all of them inside of it. */
const char *ntfs_read(const struct ntfs *x, const struct ntfs_stream *s, uint8_t *p, size_t n,
		      uint64_t at)
{
	uint64_t known = 0;

	memset(p, 0, n);
	if (n > s->size || at > s->size - n)
		return ntfs_damaged;
	for (size_t i = 0; i < s->count && known < n; i++) {
		const struct ntfs_run *r = &s->v[i];
		uint64_t from = r->at * x->cluster, to = from + r->len * x->cluster;
		uint64_t lo = at > from ? at : from, hi = at + n < to ? at + n : to;

		if (lo >= hi)
			continue;
		known += hi - lo;
		if (!r->hole &&
		    blk_read(&x->part, p + (lo - at), hi - lo, r->lcn * x->cluster + lo - from,
			     NULL) < 0)
			return ntfs_unread;
	}
	if (known < n)	/* the rest of its runs stands in another record */
		return ntfs_odd;
	if (at + n > s->valid)
		memset(p + (s->valid > at ? s->valid - at : 0), 0,
		       s->valid > at ? at + n - s->valid : n);
	return NULL;
}

/* A signed number of `n` bytes; one that fits into 64 bits without a doubt. */
static int64_t number(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)p[i] << 8 * i;
	if (n && n < 8 && p[n - 1] & 0x80)
		v |= ~0ull << 8 * n;
	return (int64_t)v;
}

static const char *take_run(const struct ntfs *x, struct ntfs_stream *s, uint64_t len, bool hole,
			    int64_t lcn)
{
	uint64_t at = s->count ? s->v[s->count - 1].at + s->v[s->count - 1].len : 0;

	if (len == 0 || len > x->clusters || s->count == RUNS_MAX || at + len > CLUSTERS_MAX ||
	    (!hole && (lcn < 0 || (uint64_t)lcn > x->clusters - len)))
		return ntfs_damaged;
	s->v = mem_grow(s->v, s->count, &s->cap, sizeof(*s->v));
	s->v[s->count++] = (struct ntfs_run){ at, len, hole ? 0 : (uint64_t)lcn, hole };
	return NULL;
}

/* Pairs of (length, distance from the last run's place), each as long as its first byte
 * says. */
static const char *take_runs(const struct ntfs *x, const uint8_t *p, const uint8_t *end,
			     struct ntfs_stream *s)
{
	int64_t lcn = 0;

	while (p < end && *p) {
		unsigned ln = *p & 15, dn = *p >> 4;
		const char *why;

		if (ln == 0 || ln > 7 || dn > 7 || p + 1 + ln + dn > end)
			return ntfs_damaged;
		if (number(p + 1, ln) < 0)
			return ntfs_damaged;
		lcn += number(p + 1 + ln, dn);
		why = take_run(x, s, (uint64_t)number(p + 1, ln), dn == 0, lcn);
		if (why)
			return why;
		p += 1 + ln + dn;
	}
	return p < end ? NULL : ntfs_damaged;
}

/* ---- records ------------------------------------------------------------------------- */

/* The unnamed attribute of this type in a record; NULL: there is none, or it is damaged.
 * *n: its bytes. */
const uint8_t *ntfs_attribute(const struct ntfs *x, const uint8_t *rec, int type,
			      uint32_t *n)
{
	uint32_t used = get_le32(rec + REC_USED), at = get_le16(rec + REC_ATTRS);

	if (used > x->record)
		return NULL;
	while (at + A_HEAD <= used) {
		int is = (int)get_le32(rec + at);

		*n = get_le32(rec + at + A_LEN);
		if (is == A_END || *n < A_HEAD || *n % 8 || *n > used - at)
			return NULL;
		if (is == type && (rec[at + A_NAME] == 0 || type >= NTFS_INDEX_ROOT))
			return rec + at;
		at += *n;
	}
	return NULL;
}

bool ntfs_has_list(const struct ntfs *x, const uint8_t *rec)
{
	uint32_t n;

	return ntfs_attribute(x, rec, NTFS_LIST, &n) != NULL;
}

/* What stands in the record itself. */
const uint8_t *ntfs_value(const uint8_t *a, uint32_t n, uint32_t want)
{
	uint32_t len = get_le32(a + A_VALUE_LEN), at = get_le16(a + A_VALUE);

	return !a[A_AWAY] && at <= n && len <= n - at && len >= want ? a + at : NULL;
}

/* A stream that lies outside of its record, whole and plain. */
const char *ntfs_open(const struct ntfs *x, const uint8_t *rec, int type,
		      struct ntfs_stream *s)
{
	uint32_t n = 0, runs;
	const uint8_t *a = ntfs_attribute(x, rec, type, &n);
	const char *why;

	*s = (struct ntfs_stream){ .v = NULL };
	if (!a || n < A_AWAY_HEAD || !a[A_AWAY] || get_le64(a + A_FIRST) != 0 ||
	    get_le16(a + A_FLAGS) != 0)
		return ntfs_odd;	/* in pieces, compressed, encrypted or sparse */
	runs = get_le16(a + A_RUNS);
	s->size = get_le64(a + A_SIZE);
	s->valid = get_le64(a + A_VALID);
	if (runs < A_AWAY_HEAD || runs > n || s->valid > s->size)
		return ntfs_damaged;
	why = take_runs(x, a + runs, a + n, s);
	if (why)
		ntfs_stream_free(s);
	return why;
}

/* Record `no`, owned; NULL with *why. */
uint8_t *ntfs_record(const struct ntfs *x, uint64_t no, const char **why)
{
	uint8_t *rec = mem_alloc(x->record);

	*why = no < CLUSTERS_MAX ? ntfs_read(x, &x->mft, rec, x->record, no * x->record) :
		ntfs_damaged;
	if (!*why && (memcmp(rec, "FILE", 4) != 0 || !ntfs_fix_up(rec, x->record) ||
		      !(get_le16(rec + REC_FLAGS) & 1)))
		*why = ntfs_damaged;
	if (!*why)
		return rec;
	free(rec);
	return NULL;
}

/* ---- the volume ------------------------------------------------------------------------ */

static uint32_t two_to(uint8_t v)	/* 1 to 128, or a power of two as minus its exponent */
{
	return v <= 128 ? v : v >= 225 ? 1u << (256 - v) : 0;
}

static const char *take_boot(struct ntfs *x)
{
	uint64_t sectors, mft;
	uint32_t per_cluster;
	uint8_t b[512];

	if (blk_read(&x->part, b, sizeof(b), 0, NULL) < 0)
		return ntfs_unread;
	x->sector = get_le16(b + BOOT_SECTOR);
	sectors = get_le64(b + BOOT_SECTORS);
	mft = get_le64(b + BOOT_MFT);
	per_cluster = two_to(b[BOOT_CLUSTER]);
	if (!ntfs_power_of_two(x->sector, 512, 4096) || !ntfs_power_of_two(per_cluster, 1, 4096))
		return ntfs_odd;
	x->cluster = x->sector * per_cluster;
	x->record = b[BOOT_RECORD] < 128 ? x->cluster * b[BOOT_RECORD] : two_to(b[BOOT_RECORD]);
	if (!ntfs_power_of_two(x->record, FIX, NTFS_RECORD_MAX) || x->cluster > 2u << 20)
		return ntfs_odd;
	x->clusters = sectors / per_cluster;
	if (sectors > x->part.size / x->sector || x->clusters == 0 || mft >= x->clusters)
		return ntfs_damaged;
	/* where the table itself is says its first record */
	x->mft = (struct ntfs_stream){ .size = x->record, .valid = x->record };
	return take_run(x, &x->mft, x->record > x->cluster ? x->record / x->cluster : 1, false,
			(int64_t)mft);
}

static const char *take_mft(struct ntfs *x)
{
	AUTO_NTFS_STREAM first = { .v = NULL };
	const char *why;
	uint8_t *rec = ntfs_record(x, 0, &why);

	if (rec)
		why = ntfs_open(x, rec, NTFS_DATA, &first);
	free(rec);
	if (why)
		return why;
	ntfs_stream_free(&x->mft);
	x->mft = first;
	first = (struct ntfs_stream){ .v = NULL };
	return NULL;
}

const char *ntfs_begin(struct ntfs *x, const struct blk *part)
{
	const char *why;

	*x = (struct ntfs){ .part = *part };
	why = take_boot(x);
	return why ? why : take_mft(x);
}

void ntfs_end(struct ntfs *x)
{
	ntfs_stream_free(&x->mft);
}
