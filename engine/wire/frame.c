/* SPDX-License-Identifier: Apache-2.0
 * frame - encode and decode frames; nothing is believed before it was checked.
 */
#include "engine/wire/frame.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <string.h>
#include <xxhash.h>

#define SEEN_AT 4		/* the checksum covers the header from here ... */
#define SEEN_LEN 8		/* ... so far, and then the payload */
#define KEEP_CAP (256u << 10)	/* an idle reader holds no more than this */

struct header {
	uint32_t length;
	uint8_t type;
	uint32_t step;
	uint32_t sum;
};

struct frame_reader {
	struct str buf;		/* bytes fed */
	size_t at;		/* of them taken */
};

static void put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static uint32_t checksum(const uint8_t *head, const void *payload, size_t n)
{
	return XXH32(payload, n, XXH32(head + SEEN_AT, SEEN_LEN, 0));
}

void frame_clear(struct frame *f)
{
	json_decref(f->body);
	memset(f, 0, sizeof(*f));
}

int frame_encode(struct str *out, enum frame_type type, uint32_t step,
		 const json_t *body, struct err *e)
{
	uint8_t head[FRAME_HEADER] = { 0 };
	AUTO_FREE char *text = NULL;
	size_t n = 0;

	if (body) {
		text = json_dumps(body, JSON_COMPACT);
		if (!text)
			return err_set(e, ERR_SYSTEM,
				       "cannot encode a frame: not valid JSON");
		n = strlen(text);
	}
	if (n > FRAME_MAX)
		return err_set(e, ERR_SYSTEM,
			       "cannot encode a frame: %zu bytes, the bound is %u",
			       n, FRAME_MAX);
	put32(head, (uint32_t)n);
	head[4] = (uint8_t)type;
	put32(head + 8, step);
	put32(head + 12, checksum(head, text ? text : "", n));
	str_addn(out, head, sizeof(head));
	str_addn(out, text, n);
	return 0;
}

static int decode_header(const uint8_t *p, struct header *h, struct err *e)
{
	h->length = get32(p);
	h->type = p[4];
	h->step = get32(p + 8);
	h->sum = get32(p + 12);
	if (h->length > FRAME_MAX)
		return err_set(e, ERR_SYSTEM,
			       "cannot read a frame: %u bytes announced, the bound is %u",
			       h->length, FRAME_MAX);
	if (h->type == 0 || h->type >= FRAME_TYPE_END)
		return err_set(e, ERR_SYSTEM, "cannot read a frame: type %u is unknown",
			       h->type);
	if (p[5] != 0 || p[6] != 0 || p[7] != 0)
		return err_set(e, ERR_SYSTEM,
			       "cannot read a frame: reserved bits are set");
	return 0;
}

static int decode(const uint8_t *head, const struct header *h,
		  const void *payload, struct frame *f, struct err *e)
{
	json_t *body = NULL;

	if (checksum(head, payload, h->length) != h->sum)
		return err_set(e, ERR_SYSTEM,
			       "cannot read a frame: the checksum does not match");
	if (h->length > 0) {
		body = json_parse(payload, h->length, e);
		if (!body)
			return err_wrap(e, "cannot read a frame");
		if (!json_is_object(body)) {
			json_decref(body);
			return err_set(e, ERR_SYSTEM,
				       "cannot read a frame: not a JSON object");
		}
	}
	f->type = (enum frame_type)h->type;
	f->step = h->step;
	f->body = body;
	return 1;
}

struct frame_reader *frame_reader_new(void)
{
	return mem_alloc(sizeof(struct frame_reader));
}

void frame_reader_free(struct frame_reader *r)
{
	if (!r)
		return;
	str_free(&r->buf);
	free(r);
}

/* Drop what was taken, so that the buffer holds at most one partial frame. */
static void compact(struct frame_reader *r)
{
	size_t rest = r->buf.len - r->at;

	if (r->at == 0)
		return;
	if (rest == 0 && r->buf.cap > KEEP_CAP)
		str_free(&r->buf);
	else if (r->buf.s) {
		memmove(r->buf.s, r->buf.s + r->at, rest);
		r->buf.len = rest;
		r->buf.s[rest] = '\0';
	}
	r->at = 0;
}

int frame_reader_feed(struct frame_reader *r, const void *p, size_t n,
		      struct err *e)
{
	struct header h;

	compact(r);
	str_addn(&r->buf, p, n);
	if (r->buf.len < FRAME_HEADER)
		return 0;
	return decode_header((const uint8_t *)r->buf.s, &h, e);
}

int frame_reader_next(struct frame_reader *r, struct frame *f, struct err *e)
{
	const uint8_t *head = (const uint8_t *)r->buf.s + r->at;
	size_t have = r->buf.len - r->at;
	struct header h;
	int rc;

	memset(f, 0, sizeof(*f));
	if (have < FRAME_HEADER)
		return 0;
	if (decode_header(head, &h, e) < 0)
		return -1;
	if (have - FRAME_HEADER < h.length)
		return 0;
	rc = decode(head, &h, head + FRAME_HEADER, f, e);
	r->at += FRAME_HEADER + h.length;
	return rc;
}

int frame_read_fd(int fd, struct frame *f, struct err *e)
{
	uint8_t head[FRAME_HEADER];
	AUTO_FREE char *payload = NULL;
	struct header h;
	ssize_t n;

	memset(f, 0, sizeof(*f));
	n = io_read_full(fd, head, sizeof(head));
	if (n == 0)
		return 0;
	if (n < 0)
		return err_sys(e, "cannot read a frame");
	if (decode_header(head, &h, e) < 0)
		return -1;
	payload = mem_alloc((size_t)h.length + 1);
	if (h.length > 0 && io_read_full(fd, payload, h.length) <= 0)
		return err_sys(e, "cannot read a frame");
	return decode(head, &h, payload, f, e);
}

int frame_write_fd(int fd, enum frame_type type, uint32_t step,
		   const json_t *body, struct err *e)
{
	AUTO_STR out = { 0 };

	if (frame_encode(&out, type, step, body, e) < 0)
		return -1;
	if (io_write_full(fd, out.s, out.len) < 0)
		return err_sys(e, "cannot write a frame");
	return 0;
}

json_t *frame_failure(const char *kind, const char *text, const char *hint)
{
	json_t *result = json_object(), *error = json_object();

	jset_str(error, "kind", kind);
	jset_str(error, "text", text);
	if (hint)
		jset_str(error, "hint", hint);
	jset_bool(result, "ok", false);
	jset(result, "error", error);
	return result;
}
