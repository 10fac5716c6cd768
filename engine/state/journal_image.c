/* SPDX-License-Identifier: Apache-2.0
 * journal_image - the bytes of a journal: made, and checked when they are read.
 */
#include "engine/state/journal_image.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define HEADER_MAGIC "drover\nj"
#define RECORD_MAGIC 0x0a636572u	/* "rec\n" */
#define SEAL_MAGIC 0x0a646e65u		/* "end\n" */
#define VERSION 1
#define FILE_MAX (2ull << 30)		/* more was never written in one piece */

void image_free(struct image *m)
{
	free(m->p);
}

static void put64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, 8);
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return le64toh(v);
}

static void put32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, 4);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return le32toh(v);
}

/* ---- header and records ---------------------------------------------------- */

uint64_t image_header(uint8_t h[HEADER_LEN], const char *lineage, uint64_t base)
{
	uint64_t sum;

	memset(h, 0, HEADER_LEN);
	memcpy(h, HEADER_MAGIC, 8);
	put32(h + 8, VERSION);
	put32(h + 12, HEADER_LEN);
	io_unhex(lineage, h + 16, 16);
	put64(h + 32, base);
	sum = XXH3_64bits(h, HEADER_LEN - 8);
	put64(h + HEADER_LEN - 8, sum);
	return sum;
}

static int damaged(struct err *e, const char *path, const char *why)
{
	err_set(e, ERR_SYSTEM, "cannot read journal '%s': %s", path, why);
	return err_hint(e, "what git holds is whole and readable (git -C DIR log --all); "
			"to go on from there put the journal aside: mv %s %s.damaged",
			path, path);
}

static int header_check(struct image *m, const char *path, const char *lineage,
			struct err *e)
{
	char hex[LINEAGE_HEX];

	if (m->len < HEADER_LEN)
		return damaged(e, path, "it is cut off in its header");
	if (memcmp(m->p, HEADER_MAGIC, 8) != 0)
		return damaged(e, path, "it does not begin as a journal does");
	m->chain = XXH3_64bits(m->p, HEADER_LEN - 8);
	if (m->chain != get64(m->p + HEADER_LEN - 8))
		return damaged(e, path, "its header is damaged");
	if (get32(m->p + 8) > VERSION) {
		err_set(e, ERR_SYSTEM, "cannot read journal '%s': it has format %u, "
			"this drover knows %d", path, get32(m->p + 8), VERSION);
		return err_hint(e, "a newer drover wrote it: use that one");
	}
	io_hex(m->p + 16, 16, hex);
	if (strcmp(hex, lineage) != 0) {
		err_set(e, ERR_SYSTEM, "cannot use journal '%s': it belongs to state %s, "
			"this is %s", path, hex, lineage);
		return err_hint(e, "it was copied here from another state directory: "
				"put it aside, mv %s %s.foreign", path, path);
	}
	m->base = m->last = get64(m->p + 32);
	m->end = HEADER_LEN;
	return 0;
}

static uint64_t record_sum(const uint8_t *head, const void *payload, size_t len)
{
	return XXH3_64bits_withSeed(payload, len, XXH3_64bits(head, RECORD_LEN - 8));
}

/* A record that is whole in itself begins at `at`. */
static bool record_whole(const struct image *m, size_t at)
{
	const uint8_t *h = m->p + at;
	size_t room = m->len - at;
	uint32_t len;

	if (room < RECORD_LEN || get32(h) != RECORD_MAGIC)
		return false;
	len = get32(h + 4);
	return len <= JOURNAL_PAYLOAD_MAX && len <= room - RECORD_LEN &&
		record_sum(h, h + RECORD_LEN, len) == get64(h + 32);
}

void image_seal(uint8_t s[SEAL_LEN], uint64_t durable)
{
	put32(s, SEAL_MAGIC);
	put32(s + 4, 0);
	put64(s + 8, durable);
	put64(s + 16, XXH3_64bits(s, SEAL_LEN - 8));
}

/* A seal that is whole begins at `at`: the number that it calls durable, else 0. */
static uint64_t seal_at(const struct image *m, size_t at)
{
	const uint8_t *s = m->p + at;

	if (m->len - at < SEAL_LEN || get32(s) != SEAL_MAGIC ||
	    XXH3_64bits(s, SEAL_LEN - 8) != get64(s + 16))
		return 0;
	return get64(s + 8);
}

uint64_t image_record(uint8_t head[RECORD_LEN], const struct journal_record *r,
		      uint64_t durable, uint64_t chain)
{
	uint64_t sum;

	put32(head, RECORD_MAGIC);
	put32(head + 4, (uint32_t)r->len);
	put64(head + 8, r->seq);
	put64(head + 16, durable);
	put64(head + 24, chain);
	sum = record_sum(head, r->payload, r->len);
	put64(head + 32, sum);
	return sum;
}

/* ---- reading --------------------------------------------------------------- */

static int record_damaged(struct err *e, const char *path, const struct image *m,
			  uint64_t later)
{
	AUTO_FREE char *why = mem_printf("record %llu at offset %zu is damaged, and record "
		"%llu behind it is whole", (unsigned long long)m->last + 1, m->end,
		(unsigned long long)later);

	return damaged(e, path, why);
}

/* The last batch was durable, says the seal behind it; and is not what it was. */
static int seal_check(const struct image *m, const char *path, struct err *e)
{
	for (size_t at = m->end; at < m->len; at++) {
		AUTO_FREE char *why = NULL;

		if (seal_at(m, at) <= m->last)
			continue;
		why = mem_printf("record %llu at offset %zu is damaged, and was once whole up "
				 "to record %llu", (unsigned long long)m->last + 1, m->end,
				 (unsigned long long)seal_at(m, at));
		return damaged(e, path, why);
	}
	return 0;
}

/* After the last good record comes something else: a torn tail, or damage? */
static int tail_check(const struct image *m, const char *path, struct err *e)
{
	for (size_t at = m->end; at + RECORD_LEN <= m->len; at++) {
		const uint8_t *p = memchr(m->p + at, RECORD_MAGIC & 0xff, m->len - at);

		if (!p)
			break;
		at = (size_t)(p - m->p);
		if (record_whole(m, at) && (get64(p + 16) > m->last || at == m->end))
			return record_damaged(e, path, m, get64(p + 8));
	}
	return seal_check(m, path, e);
}

static int image_check(struct image *m, const char *path, const char *lineage,
		       struct err *e)
{
	if (header_check(m, path, lineage, e) < 0)
		return -1;
	while (record_whole(m, m->end)) {
		const uint8_t *h = m->p + m->end;

		if (get64(h + 24) != m->chain || get64(h + 8) <= m->last)
			break;
		m->last = get64(h + 8);
		m->chain = get64(h + 32);
		m->end += RECORD_LEN + get32(h + 4);
	}
	m->torn = m->len - m->end;
	if (m->torn >= SEAL_LEN && seal_at(m, m->end) == m->last)
		m->torn -= SEAL_LEN;
	return m->torn == 0 ? 0 : tail_check(m, path, e);
}

static int read_all(struct image *m, int fd, const char *path, struct err *e)
{
	struct stat st;
	ssize_t n = 0;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "cannot read journal '%s'", path);
	if ((uint64_t)st.st_size > FILE_MAX)
		return damaged(e, path, "it is larger than any journal");
	m->p = mem_alloc((size_t)st.st_size + 1);
	while (m->len < (size_t)st.st_size) {
		n = pread(fd, m->p + m->len, (size_t)st.st_size - m->len, (off_t)m->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;		/* cut by its writer meanwhile: what is there */
		m->len += (size_t)n;
	}
	return n < 0 ? err_sys(e, "cannot read journal '%s'", path) : 0;
}

int image_load(struct image *m, int fd, const char *path, const char *lineage, struct err *e)
{
	return read_all(m, fd, path, e) < 0 ? -1 : image_check(m, path, lineage, e);
}

int image_each(const struct image *m, uint64_t after, journal_fn *fn, void *arg,
	       struct err *e)
{
	for (size_t at = HEADER_LEN; at < m->end;) {
		const uint8_t *h = m->p + at;
		struct journal_record r = { get64(h + 8), (const char *)h + RECORD_LEN,
			get32(h + 4) };

		if (r.seq > after && fn(arg, &r, e) < 0)
			return -1;
		at += RECORD_LEN + r.len;
	}
	return 0;
}
