/* SPDX-License-Identifier: Apache-2.0
 * stream - records, and the little that both ends do.
 */
#include "modules/lib/stream_impl.h"

#include "engine/base/mem.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define LINGER_NS 2000000000u	/* to let the last words get across */

struct wire {
	uint8_t type, flags;
	uint16_t zero;
	uint32_t length;
	uint64_t index;
	uint32_t count, plain;
} __attribute__((packed));

_Static_assert(sizeof(struct wire) == RECORD_HEAD, "the record's head");

int record_write(int fd, const struct record *r, const void *a, size_t an,
		 const void *b, size_t bn)
{
	struct wire w = { r->type, r->flags, 0, htobe32((uint32_t)(an + bn)),
		htobe64(r->index), htobe32(r->count), htobe32(r->plain) };
	struct iovec iov[3] = { { &w, sizeof(w) }, { (void *)a, an }, { (void *)b, bn } };
	size_t left = sizeof(w) + an + bn;

	while (left > 0) {
		ssize_t put = writev(fd, iov, 3);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		left -= (size_t)put;
		for (int i = 0; i < 3; i++) {
			size_t n = (size_t)put < iov[i].iov_len ? (size_t)put : iov[i].iov_len;

			iov[i].iov_base = (char *)iov[i].iov_base + n;
			iov[i].iov_len -= n;
			put -= (ssize_t)n;
		}
	}
	return 0;
}

int record_read(int fd, struct record *r)
{
	struct wire w;
	ssize_t n = io_read_full(fd, &w, sizeof(w));

	if (n <= 0)
		return (int)n;
	*r = (struct record){ w.type, w.flags, be32toh(w.length), be64toh(w.index),
		be32toh(w.count), be32toh(w.plain) };
	return 1;
}

int record_write_json(int fd, enum record_type type, const json_t *j)
{
	AUTO_FREE char *text = json_canonical(j);
	struct record r = { .type = (uint8_t)type };

	return record_write(fd, &r, text, strlen(text), NULL, 0);
}

json_t *record_read_json(int fd, const struct record *r, struct err *e)
{
	AUTO_FREE char *text = NULL;

	if (r->length > JSON_MAX) {
		err_set(e, ERR_STEP, "the other end sent a record of %u bytes", r->length);
		return NULL;
	}
	text = mem_alloc(r->length + 1);
	if (r->length && io_read_full(fd, text, r->length) <= 0) {
		err_set(e, ERR_STEP, "the stream ended in the middle of a record");
		return NULL;
	}
	return json_parse(text, r->length, e);
}

int record_failure(int fd, const struct record *r, struct err *e)
{
	AUTO_JSON *j = record_read_json(fd, r, e);

	if (!j)
		return -1;
	err_set(e, ERR_STOPPED, "the other end stopped: %s", jstr(j, "text", "no reason given"));
	if (jstr(j, "hint", NULL))
		err_hint(e, "%s", jstr(j, "hint", ""));
	return -1;
}

void record_fail(int fd, const struct err *e)
{
	const char *text = e->what ? e->what : "stopped";
	AUTO_JSON *j = json_object();

	jset(j, "text", jtext(text, strlen(text)));
	if (e->hint)
		jset(j, "hint", jtext(e->hint, strlen(e->hint)));
	record_write_json(fd, REC_FAIL, j);
}

void stream_fail(const struct stream *s, const struct err *e)
{
	signal(SIGPIPE, SIG_IGN);
	record_fail(s->fd, e);
	record_linger(s->fd);
}

void record_linger(int fd)
{
	uint64_t until = record_now_ns() + LINGER_NS;
	char junk[65536];

	shutdown(fd, SHUT_WR);	/* also lets go of whoever waits in writing */
	while (record_now_ns() < until) {
		int n = record_wait(fd);

		if (n < 0 || (n > 0 && read(fd, junk, sizeof(junk)) <= 0))
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

	return record_write(s->fd, &r, NULL, 0, NULL, 0) < 0 ? record_broke(e) : 0;
}

int record_wait(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n = poll(&p, 1, TICK_MS);

	if (n < 0)
		return errno == EINTR ? 0 : -1;
	if (n == 0)
		return 0;
	return p.revents & (POLLIN | POLLHUP) ? 1 : -1;
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
