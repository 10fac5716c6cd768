/* SPDX-License-Identifier: Apache-2.0
 * test_nbd - an NBD server that lies.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/nbd.h"
#include "tests/unit/here.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <endian.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIB (1u << 20)

/* What it says after the handshake, to the first request. */
struct liar { int fd; const void *says; size_t n; };

static void tell(int fd, const void *p, size_t n)
{
	assert_int_equal(io_write_full(fd, p, n), 0);
}

static void option_reply(int fd, uint32_t opt, uint32_t type, const void *p, uint32_t n)
{
	struct { uint64_t magic; uint32_t opt, type, len; } __attribute__((packed)) h = {
		htobe64(0x3e889045565a9ull), htobe32(opt), htobe32(type), htobe32(n) };

	tell(fd, &h, sizeof(h));
	tell(fd, p, n);
}

static void *lie(void *arg)
{
	struct liar *l = arg;
	struct { uint64_t magic; uint32_t opt, len; } __attribute__((packed)) o;
	struct { uint16_t type; uint64_t size; uint16_t flags; } __attribute__((packed)) info = {
		0, htobe64(MIB), htobe16(1 | 4) };
	char junk[256];
	uint32_t opt = 0;

	tell(l->fd, "NBDMAGICIHAVEOPT\0\1", 18);
	io_read_full(l->fd, junk, 4);
	while (opt != 7 && io_read_full(l->fd, &o, sizeof(o)) > 0) {
		opt = be32toh(o.opt);
		io_read_full(l->fd, junk, be32toh(o.len) < 256 ? be32toh(o.len) : 256);
		if (opt == 7)
			option_reply(l->fd, 7, 3, &info, sizeof(info));
		option_reply(l->fd, opt, opt == 10 ? 0x80000001u : 1, "", 0);
	}
	io_read_full(l->fd, junk, 28);
	tell(l->fd, l->says, l->n);
	io_read_full(l->fd, junk, 1);
	close(l->fd);
	return NULL;
}

static void assert_lie_is_caught(const void *says, size_t n, const char *text)
{
	struct liar l = { .says = says, .n = n };
	AUTO_ERR e = { 0 };
	char buf[4096];
	struct nbd *nbd;
	pthread_t t;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	l.fd = fd[1];
	assert_int_equal(pthread_create(&t, NULL, lie, &l), 0);
	nbd = nbd_new(fd[0], "", &e);
	assert_non_null(nbd);
	assert_int_equal(nbd_read(nbd, buf, sizeof(buf), 8192, &e), -1);
	assert_string_equal(e.what, text);
	/* It is over for good. */
	err_clear(&e);
	assert_int_equal(nbd_read(nbd, buf, sizeof(buf), 0, &e), -1);
	nbd_free(nbd);
	pthread_join(t, NULL);
}

static void an_nbd_server_that_lies_is_left(void **s)
{
	/* magic, flags, type, handle 1, length, then what it says there */
#define CHUNK_HEAD "\x66\x8e\x33\xef\0\1"
	static const char beyond[] = CHUNK_HEAD "\0\1" "\0\0\0\0\0\0\0\1" "\0\0\0\x10"
		"\0\0\0\0\0\0\x40\0" "12345678";
	static const char huge[] = CHUNK_HEAD "\0\1" "\0\0\0\0\0\0\0\1" "\xff\0\0\0";
	static const char stranger[] = CHUNK_HEAD "\0\1" "\0\0\0\0\0\0\0\x9" "\0\0\0\x10";
	static const char hole[] = CHUNK_HEAD "\0\2" "\0\0\0\0\0\0\0\1" "\0\0\0\xc"
		"\0\0\0\0\0\0\x20\0" "\xff\xff\xff\xff";
	static const char kind[] = CHUNK_HEAD "\0\x63" "\0\0\0\0\0\0\0\1" "\0\0\0\0";
	static const struct { const char *p; size_t n; const char *why; } lies[] = {
		{ beyond, sizeof(beyond) - 1, "data that was not asked for" },
		{ huge, sizeof(huge) - 1, "an answer to nothing" },
		{ stranger, sizeof(stranger) - 1, "an answer to nothing" },
		{ hole, sizeof(hole) - 1, "data that was not asked for" },
		{ kind, sizeof(kind) - 1, "an answer of unknown kind" },
		{ "HTTP/1.1 200 OK", 15, "no NBD answer" },
	};

	(void)s;
	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		AUTO_FREE char *text = mem_printf("cannot read at byte 8192, length 4096: %s",
						  lies[i].why);

		assert_lie_is_caught(lies[i].p, lies[i].n, text);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, here_set_up, here_tear_down)
	const struct CMUnitTest tests[] = {
		T(an_nbd_server_that_lies_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
