/* SPDX-License-Identifier: Apache-2.0
 * nbd_hello - a small NBD client: the handshake.
 */
#include "modules/lib/nbd_impl.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <endian.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAGIC_OPTION 0x49484156454f5054ull	/* "IHAVEOPT" */
#define MAGIC_REPLY 0x3e889045565a9ull
#define ALLOCATION "base:allocation"
#define DIRTY "qemu:dirty-bitmap:"
#define REPLY_MAX 65536u

enum { OPT_GO = 7, OPT_STRUCTURED = 8, OPT_META = 10 };
enum { REP_ACK = 1, REP_INFO = 3, REP_META = 4 };
#define REP_ERROR 0x80000000u
enum { FLAG_FIXED = 1, FLAG_NO_ZEROES = 2 };

struct reply {
	uint32_t type, len;
	uint8_t *data;		/* owned */
};

static int refused(struct err *e, const char *why)
{
	return err_set(e, ERR_STEP, "cannot begin with the NBD server: %s", why);
}

static int get(struct nbd *n, void *p, size_t len, struct err *e)
{
	return io_read_full(n->fd, p, len) > 0 ? 0 : refused(e, "it ended the connection");
}

static int put(struct nbd *n, const void *p, size_t len, struct err *e)
{
	while (len > 0) {
		ssize_t r = send(n->fd, p, len, MSG_NOSIGNAL);

		if (r < 0)
			return refused(e, "it ended the connection");
		p = (const char *)p + r;
		len -= (size_t)r;
	}
	return 0;
}

static int send_option(struct nbd *n, uint32_t opt, const struct str *data, struct err *e)
{
	struct { uint64_t magic; uint32_t opt, len; } h = { htobe64(MAGIC_OPTION),
		htobe32(opt), htobe32(data ? (uint32_t)data->len : 0) };

	if (put(n, &h, sizeof(h), e) < 0)
		return -1;
	return data ? put(n, data->s, data->len, e) : 0;
}

static int get_reply(struct nbd *n, uint32_t opt, struct reply *r, struct err *e)
{
	struct { uint64_t magic; uint32_t opt, type, len; } __attribute__((packed)) h;

	mem_free_ptr(&r->data);
	if (get(n, &h, sizeof(h), e) < 0)
		return -1;
	r->type = be32toh(h.type);
	r->len = be32toh(h.len);
	if (be64toh(h.magic) != MAGIC_REPLY || be32toh(h.opt) != opt || r->len > REPLY_MAX)
		return refused(e, "a malformed answer");
	r->data = mem_alloc(r->len + 1);
	return r->len ? get(n, r->data, r->len, e) : 0;
}

static void add32(struct str *s, uint32_t v)
{
	v = htobe32(v);
	str_addn(s, &v, sizeof(v));
}

static void add_text(struct str *s, const char *text)
{
	add32(s, (uint32_t)strlen(text));
	str_add(s, text);
}

/* 1: agreed, 0: the server cannot, -1 with e. */
static int ask_structured(struct nbd *n, struct err *e)
{
	AUTO_FREE uint8_t *data = NULL;
	struct reply r = { 0 };
	int rc;

	if (send_option(n, OPT_STRUCTURED, NULL, e) < 0)
		return -1;
	rc = get_reply(n, OPT_STRUCTURED, &r, e);
	data = r.data;
	return rc < 0 ? -1 : r.type == REP_ACK;
}

/* Is it this context? Then its number. */
static bool reply_names(const struct reply *r, const char *context, uint32_t *id)
{
	size_t len = strlen(context);

	if (r->len != 4 + len || memcmp(r->data + 4, context, len) != 0)
		return false;
	memcpy(id, r->data, 4);
	*id = be32toh(*id);
	return true;
}

/* Asks for the contexts: base:allocation, and the bitmap's, if there is one to ask for.
 * A server may have neither; it may not name what was not asked for. */
static int ask_contexts(struct nbd *n, const char *export, const char *bitmap, struct err *e)
{
	AUTO_FREE char *dirty = bitmap ? mem_printf(DIRTY "%s", bitmap) : NULL;
	AUTO_STR q = { 0 };
	struct reply r = { 0 };
	int rc;

	add_text(&q, export);
	add32(&q, dirty ? 2 : 1);
	add_text(&q, ALLOCATION);
	if (dirty)
		add_text(&q, dirty);
	if (send_option(n, OPT_META, &q, e) < 0)
		return -1;
	while ((rc = get_reply(n, OPT_META, &r, e)) == 0 && r.type == REP_META) {
		if (reply_names(&r, ALLOCATION, &n->status_id))
			n->status = true;
		else if (dirty && reply_names(&r, dirty, &n->dirty_id))
			n->dirty = true;
	}
	mem_free_ptr(&r.data);
	if (rc == 0 && r.type != REP_ACK)
		n->status = n->dirty = false;
	return rc;
}

static void take_info(struct nbd *n, const struct reply *r)
{
	uint16_t type, flags;

	memcpy(&type, r->data, 2);
	if (be16toh(type) != 0)
		return;
	memcpy(&n->size, r->data + 2, 8);
	memcpy(&flags, r->data + 10, 2);
	n->size = be64toh(n->size);
	n->flags = be16toh(flags);
}

static int ask_go(struct nbd *n, const char *export, struct err *e)
{
	AUTO_STR q = { 0 };
	struct reply r = { 0 };
	int rc;

	add_text(&q, export);
	str_addn(&q, "\0\0", 2);
	if (send_option(n, OPT_GO, &q, e) < 0)
		return -1;
	while ((rc = get_reply(n, OPT_GO, &r, e)) == 0 && r.type == REP_INFO)
		if (r.len >= 12)
			take_info(n, &r);
	if (rc == 0 && r.type != REP_ACK)
		rc = refused(e, r.type & REP_ERROR && r.len ? (char *)r.data :
			     "it does not serve that export");
	mem_free_ptr(&r.data);
	return rc;
}

static int hello(struct nbd *n, const char *export, const char *bitmap, struct err *e)
{
	struct { char magic[8]; uint64_t option; uint16_t flags; } __attribute__((packed)) h;
	uint32_t flags;
	int rc;

	if (get(n, &h, sizeof(h), e) < 0)
		return -1;
	if (memcmp(h.magic, "NBDMAGIC", 8) != 0 || be64toh(h.option) != MAGIC_OPTION ||
	    !(be16toh(h.flags) & FLAG_FIXED))
		return refused(e, "it is no NBD server of the fixed newstyle");
	flags = htobe32(FLAG_FIXED | (be16toh(h.flags) & FLAG_NO_ZEROES));
	if (put(n, &flags, sizeof(flags), e) < 0)
		return -1;
	rc = ask_structured(n, e);
	n->structured = rc > 0;
	if (rc > 0)
		rc = ask_contexts(n, export, bitmap, e);
	if (rc < 0 || ask_go(n, export, e) < 0)
		return -1;
	if (bitmap && !n->dirty)
		return refused(e, "it has no such bitmap");
	n->go = true;
	return 0;
}

struct nbd *nbd_new(int fd, const char *export, struct err *e)
{
	return nbd_new_dirty(fd, export, NULL, e);
}

struct nbd *nbd_new_dirty(int fd, const char *export, const char *bitmap, struct err *e)
{
	struct nbd *n = mem_alloc(sizeof(*n));

	n->fd = fd;
	io_widen(fd);
	pthread_mutex_init(&n->lock, NULL);
	pthread_mutex_init(&n->sending, NULL);
	pthread_cond_init(&n->turn, NULL);
	if (hello(n, export, bitmap, e) == 0)
		return n;
	nbd_free(n);
	return NULL;
}
