/* SPDX-License-Identifier: Apache-2.0
 * initramfs - a cpio reader fed by whatever decompressor a segment asks for.
 */
#include "modules/lib/initramfs.h"
#include "engine/base/mem.h"

#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define CPIO_HEADER 110
#define NAME_MAX_LEN 4096

/* ---- cpio, a piece at a time ------------------------------------------------- */

struct cpio {
	enum { HEADER, NAME, DATA } state;
	uint8_t buf[CPIO_HEADER + NAME_MAX_LEN + 4];
	size_t have, want;	/* in buf, of header or name */
	uint64_t skip;		/* data still to pass over, padding included */
	uint64_t total;		/* plain bytes seen */
	bool ended;		/* the trailer was seen */
	void (*fn)(void *arg, const char *name);
	void *arg;
};

static uint32_t hex8(const uint8_t *p)
{
	char s[9];

	memcpy(s, p, 8);
	s[8] = 0;
	return (uint32_t)strtoul(s, NULL, 16);
}

static int cpio_header(struct cpio *c, struct err *e)
{
	uint32_t size = hex8(c->buf + 54), name = hex8(c->buf + 94);

	if (memcmp(c->buf, "070701", 6) != 0 && memcmp(c->buf, "070702", 6) != 0)
		return err_set(e, ERR_STEP, "it holds something that is no cpio archive");
	if (name == 0 || name > NAME_MAX_LEN)
		return err_set(e, ERR_STEP, "a name in it is %u bytes long", name);
	c->want = (CPIO_HEADER + name + 3) & ~3u;
	c->skip = (size + 3ull) & ~3ull;
	c->state = NAME;
	return 0;
}

static void cpio_name(struct cpio *c)
{
	const char *name = (const char *)c->buf + CPIO_HEADER;

	c->buf[c->want] = 0;
	c->state = DATA;
	c->have = 0;
	c->want = CPIO_HEADER;
	if (strcmp(name, "TRAILER!!!") == 0)
		c->ended = true;
	else
		c->fn(c->arg, name);
}

/* Returns how many bytes were taken (less than n once the trailer was seen), or -1. */
static ssize_t cpio_feed(struct cpio *c, const uint8_t *p, size_t n, struct err *e)
{
	size_t at = 0;

	c->total += n;
	if (c->total > INITRAMFS_PLAIN_MAX)
		return err_set(e, ERR_STEP, "it unpacks to more than 1 GiB");
	while (at < n && !c->ended) {
		size_t k = n - at;

		if (c->state == DATA) {
			k = k < c->skip ? k : (size_t)c->skip;
			c->skip -= k;
			at += k;
			if (!c->skip)
				c->state = HEADER;
			continue;
		}
		if (k > c->want - c->have)
			k = c->want - c->have;
		memcpy(c->buf + c->have, p + at, k);
		c->have += k;
		at += k;
		if (c->have < c->want)
			break;
		if (c->state == HEADER && cpio_header(c, e) < 0)
			return -1;
		else if (c->state == NAME && c->have == c->want)
			cpio_name(c);
	}
	return (ssize_t)at;
}

/* ---- decompressors: each returns the bytes of input it used, or -1 ------------- */

static ssize_t plain(struct cpio *c, const uint8_t *p, size_t n, struct err *e)
{
	return cpio_feed(c, p, n, e);
}

static ssize_t gunzip(struct cpio *c, const uint8_t *p, size_t n, struct err *e)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)p, .avail_in = (uInt)n };
	uint8_t out[65536];
	ssize_t r = 0;
	int status = inflateInit2(&z, 15 + 32);

	while (status == Z_OK && r >= 0) {
		z.next_out = out;
		z.avail_out = sizeof(out);
		status = inflate(&z, Z_NO_FLUSH);
		if (status == Z_OK || status == Z_STREAM_END)
			r = cpio_feed(c, out, sizeof(out) - z.avail_out, e);
	}
	inflateEnd(&z);
	if (r >= 0 && status != Z_STREAM_END)
		return err_set(e, ERR_STEP, "its gzip data is damaged");
	return r < 0 ? -1 : (ssize_t)(n - z.avail_in);
}

static ssize_t unxz(struct cpio *c, const uint8_t *p, size_t n, struct err *e)
{
	lzma_stream z = LZMA_STREAM_INIT;
	uint8_t out[65536];
	ssize_t r = 0;
	lzma_ret status = lzma_auto_decoder(&z, 512ull << 20, 0);

	z.next_in = p;
	z.avail_in = n;
	while (status == LZMA_OK && r >= 0) {
		z.next_out = out;
		z.avail_out = sizeof(out);
		status = lzma_code(&z, z.avail_in ? LZMA_RUN : LZMA_FINISH);
		if (status == LZMA_OK || status == LZMA_STREAM_END)
			r = cpio_feed(c, out, sizeof(out) - z.avail_out, e);
	}
	n -= z.avail_in;
	lzma_end(&z);
	if (r >= 0 && status != LZMA_STREAM_END)
		return err_set(e, ERR_STEP, "its xz data is damaged");
	return r < 0 ? -1 : (ssize_t)n;
}

static ssize_t unzstd(struct cpio *c, const uint8_t *p, size_t n, struct err *e)
{
	ZSTD_inBuffer in = { .src = p, .size = n };
	ZSTD_DCtx *z = ZSTD_createDCtx();
	AUTO_FREE uint8_t *out = mem_alloc(ZSTD_DStreamOutSize());
	ssize_t r = 0;
	size_t left = 1;

	ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, 27);
	while (left && !ZSTD_isError(left) && r >= 0) {
		ZSTD_outBuffer o = { .dst = out, .size = ZSTD_DStreamOutSize() };
		size_t was = in.pos;

		left = ZSTD_decompressStream(z, &o, &in);
		if (!ZSTD_isError(left))
			r = cpio_feed(c, out, o.pos, e);
		if (left && in.pos == was && o.pos == 0)
			break;
	}
	ZSTD_freeDCtx(z);
	if (r >= 0 && left)
		return err_set(e, ERR_STEP, "its zstd data is damaged");
	return r < 0 ? -1 : (ssize_t)in.pos;
}

static const struct {
	const char *magic;
	size_t n;
	ssize_t (*unpack)(struct cpio *c, const uint8_t *p, size_t n, struct err *e);
	const char *name;	/* of what is known but not read */
} kinds[] = {
	{ "0707", 4, plain, NULL },
	{ "\x1f\x8b", 2, gunzip, NULL },
	{ "\xfd" "7zXZ", 5, unxz, NULL },
	{ "\x5d\x00\x00", 3, unxz, NULL },
	{ "\x28\xb5\x2f\xfd", 4, unzstd, NULL },
	{ "\x02\x21\x4c\x18", 4, NULL, "lz4" },
	{ "BZh", 3, NULL, "bzip2" },
	{ "\x89LZO", 4, NULL, "lzo" },
};

static ssize_t segment(struct cpio *c, const uint8_t *p, size_t n, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (n < kinds[i].n || memcmp(p, kinds[i].magic, kinds[i].n) != 0)
			continue;
		if (!kinds[i].unpack)
			return err_set(e, ERR_STEP, "it is compressed with %s, which is "
				       "not read here", kinds[i].name);
		return kinds[i].unpack(c, p, n, e);
	}
	return err_set(e, ERR_STEP, "it is neither a cpio archive nor compressed in a "
		       "known way");
}

int initramfs_names(const void *data, size_t n,
		    void (*fn)(void *arg, const char *name), void *arg, struct err *e)
{
	AUTO_FREE struct cpio *c = mem_alloc(sizeof(*c));
	const uint8_t *p = data;
	uint64_t total = 0;

	while (n) {
		ssize_t used;

		if (!*p) {
			p++;
			n--;
			continue;
		}
		memset(c, 0, sizeof(*c));
		*c = (struct cpio){ .want = CPIO_HEADER, .fn = fn, .arg = arg,
				    .total = total };
		used = segment(c, p, n, e);
		if (used <= 0)
			return used < 0 ? -1 : err_set(e, ERR_STEP, "it is cut off");
		if (!c->ended)
			return err_set(e, ERR_STEP, "it is cut off");
		total = c->total;
		p += used;
		n -= (size_t)used;
	}
	return 0;
}

/* ---- modules -------------------------------------------------------------------- */

char *initramfs_module_name(const char *path)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	const char *end = strstr(base, ".ko");
	char *name;

	if (!end || end == base || (end[3] && strcmp(end + 3, ".xz") != 0 &&
	    strcmp(end + 3, ".gz") != 0 && strcmp(end + 3, ".zst") != 0))
		return NULL;
	name = mem_strndup(base, (size_t)(end - base));
	for (char *s = name; *s; s++)
		if (*s == '-')
			*s = '_';
	return name;
}

static void take(void *arg, const char *path)
{
	AUTO_FREE char *name = initramfs_module_name(path);

	if (name)
		jset_bool(arg, name, true);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

json_t *initramfs_modules(const void *p, size_t n, struct err *e)
{
	AUTO_JSON *set = json_object();
	AUTO_FREE const char **names = NULL;
	const char *name;
	json_t *v, *out;
	size_t count = 0;

	if (initramfs_names(p, n, take, set, e) < 0)
		return NULL;
	names = mem_alloc((json_object_size(set) + 1) * sizeof(*names));
	json_object_foreach(set, name, v)
		names[count++] = name;
	qsort(names, count, sizeof(*names), by_name);
	out = json_array();
	for (size_t i = 0; i < count; i++)
		jadd(out, jtext(names[i], strlen(names[i])));
	return out;
}
