/* SPDX-License-Identifier: Apache-2.0
 * stream - records, and the little that both ends do.
 */
#include "modules/lib/stream_impl.h"

#include "engine/base/fdpass.h"
#include "engine/base/mem.h"

#include <endian.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINGER_NS 2000000000u	/* to let the last words get across */

struct wire {
	uint8_t type, flags;
	uint16_t check;		/* CRC-16 (0x1021, from 0xffff) of all of it, this being 0 */
	uint32_t length;
	uint64_t index;
	uint32_t count, plain;
} __attribute__((packed));

_Static_assert(sizeof(struct wire) == RECORD_HEAD, "the record's head");

/* A length that was changed on the way would have both ends wait for ever, each for the other:
 * payloads are known by their digests, the heads by this. */
static uint16_t check_of(struct wire w)
{
	const uint8_t *p = (const uint8_t *)&w;
	uint16_t crc = 0xffff;

	w.check = 0;
	for (size_t i = 0; i < sizeof(w) * 8; i++) {
		bool one = (crc >> 15 ^ p[i / 8] >> (7 - i % 8)) & 1;

		crc = (uint16_t)(crc << 1 ^ (one ? 0x1021 : 0));
	}
	return crc;
}

static struct wire to_wire(const struct record *r, size_t payload)
{
	struct wire w = { r->type, r->flags, 0, htobe32((uint32_t)payload),
		htobe64(r->index), htobe32(r->count), htobe32(r->plain) };

	w.check = htobe16(check_of(w));
	return w;
}

/* 1, or -1 with errno. */
static int of_wire(const struct wire *w, struct record *r)
{
	*r = (struct record){ w->type, w->flags, be32toh(w->length), be64toh(w->index),
		be32toh(w->count), be32toh(w->plain) };
	if (be16toh(w->check) == check_of(*w))
		return 1;
	errno = EBADMSG;
	return -1;
}

void record_head(const struct record *r, uint8_t head[RECORD_HEAD])
{
	struct wire w = to_wire(r, r->length);

	memcpy(head, &w, sizeof(w));
}

int record_write(struct pipe *p, const struct record *r, const void *a, size_t an,
		 const void *b, size_t bn)
{
	struct wire w = to_wire(r, an + bn);
	struct iovec v[3] = { { &w, sizeof(w) }, { (void *)a, an }, { (void *)b, bn } };

	return pipe_writev_full(p, v, 3);
}

int record_read(struct pipe *p, struct record *r)
{
	struct wire w;
	int n = pipe_read_full(p, &w, sizeof(w));

	return n <= 0 ? n : of_wire(&w, r);
}

int record_write_fd(struct pipe *p, const struct record *r, int fd)
{
	struct wire w = to_wire(r, 0);
	ssize_t put = pipe_is_socket(p) ? fdpass_send(p->fd, &w, sizeof(w), fd) : 0;

	if (put < 0)
		return -1;
	return pipe_write_full(p, (char *)&w + put, sizeof(w) - (size_t)put);
}

int record_read_fd(struct pipe *p, struct record *r, int *fd)
{
	struct wire w;
	ssize_t got;
	int n;

	*fd = -1;
	if (!pipe_is_socket(p))
		return record_read(p, r);
	got = fdpass_recv(p->fd, &w, sizeof(w), fd);
	if (got <= 0)
		return (int)got;
	n = got < (ssize_t)sizeof(w) ? pipe_read_full(p, (char *)&w + got, sizeof(w) - (size_t)got) : 1;
	if (n <= 0 || of_wire(&w, r) < 0) {
		mem_close_fd(fd);
		return -1;
	}
	return 1;
}

int record_write_json(struct pipe *p, enum record_type type, const json_t *j)
{
	AUTO_FREE char *text = json_canonical(j);
	struct record r = { .type = (uint8_t)type };

	return record_write(p, &r, text, strlen(text), NULL, 0);
}

json_t *record_read_json(struct pipe *p, const struct record *r, struct err *e)
{
	AUTO_FREE char *text = NULL;

	if (r->length > JSON_MAX) {
		err_set(e, ERR_STEP, "the other end sent a record of %u bytes", r->length);
		return NULL;
	}
	text = mem_alloc(r->length + 1);
	if (r->length && pipe_read_full(p, text, r->length) <= 0) {
		err_set(e, ERR_STEP, "the stream ended in the middle of a record");
		return NULL;
	}
	return json_parse(text, r->length, e);
}

int record_failure(struct pipe *p, const struct record *r, struct err *e)
{
	AUTO_JSON *j = record_read_json(p, r, e);

	if (!j)
		return -1;
	err_set(e, ERR_STOPPED, "the other end stopped: %s", jstr(j, "text", "no reason given"));
	if (jstr(j, "hint", NULL))
		err_hint(e, "%s", jstr(j, "hint", ""));
	return -1;
}

int record_compare_root(const json_t *done, const char *other,
			const uint8_t root[SHA256_LEN], const char *us, struct err *e)
{
	const char *said = jstr(done, "root", "");
	char hex[SHA256_HEX];

	io_hex(root, SHA256_LEN, hex);
	if (strcmp(said, hex) == 0)
		return 1;
	err_set(e, ERR_STEP, "the %s's digest %.12s is not the %s's %.12s", other, said, us, hex);
	return err_hint(e, DAMAGED_HINT);
}

void record_fail(struct pipe *p, const struct err *e)
{
	const char *text = e->what ? e->what : "stopped";
	AUTO_JSON *j = json_object();

	jset(j, "text", jtext(text, strlen(text)));
	if (e->hint)
		jset(j, "hint", jtext(e->hint, strlen(e->hint)));
	record_write_json(p, REC_FAIL, j);
}

void stream_fail(const struct stream *s, const struct err *e)
{
	signal(SIGPIPE, SIG_IGN);
	record_fail(s->pipe, e);
	record_linger(s->pipe);
}

void record_linger(struct pipe *p)
{
	uint64_t until = record_now_ns() + LINGER_NS;
	char junk[65536];

	pipe_end(p);	/* also lets go of whoever waits in writing */
	while (record_now_ns() < until) {
		int n = record_wait(p);

		if (n < 0 || (n > 0 && pipe_read(p, junk, sizeof(junk)) <= 0))
			return;
	}
}

int record_broke(struct err *e)
{
	err_set(e, ERR_STOPPED, "the stream to the other end broke: its connection was lost, or "
		"something on the way changed it");
	if (e)
		e->sys = EPIPE;		/* nobody wanted that */
	return -1;
}

int stream_bye(const struct stream *s, struct err *e)
{
	struct record r = { .type = REC_BYE };

	return record_write(s->pipe, &r, NULL, 0, NULL, 0) < 0 ? record_broke(e) : 0;
}

int record_wait(struct pipe *p)
{
	return pipe_wait(p, TICK_MS);
}

unsigned record_threads(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 2 ? 2 : n > THREADS_MAX ? THREADS_MAX : (unsigned)n;
}

uint64_t record_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
