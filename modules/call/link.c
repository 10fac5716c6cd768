/* SPDX-License-Identifier: Apache-2.0
 * call.link - measure the way between two hosts: the source sends bytes that cannot
 * be compressed, the target counts and digests them and sends the digest back.
 * Changes nothing.
 *
 * volatile, at both ends: {bytes, ms, digest}
 */
#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/pipe.h"
#include "modules/lib/pace.h"
#include "modules/module.h"

#include <string.h>
#include <time.h>

#define BLOCK (256u << 10)

static const struct param params[] = {
	{ .name = "bytes", .type = P_SIZE, .dflt = "16MiB", .min = 0,
	  .max = (int64_t)1 << 40, .summary = "how many bytes to send" },
	{ .name = NULL },
};

static void tell(struct ctx *c, uint64_t bytes, uint64_t began, const char *digest)
{
	ctx_volatile(c, "bytes", json_integer((json_int_t)bytes));
	ctx_volatile(c, "ms", json_integer((json_int_t)
		     (clock_real.mono_ms(clock_real.arg) - began)));
	ctx_volatile(c, "digest", json_string(digest));
}

/* Wait until n more bytes may go. */
static void keep_pace(struct ctx *c, struct pace *p, size_t n)
{
	struct timespec t;
	uint64_t wait;

	for (;;) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		wait = pace_wait_ns(p, (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec,
				    ctx_send_rate(c));
		if (wait == 0 || ctx_cancelled(c))
			break;
		t = (struct timespec){ 0, wait < 100000000 ? (long)wait : 100000000 };
		nanosleep(&t, NULL);
	}
	pace_spend(p, n);
}

static int send_all(struct ctx *c, struct pipe *p, uint64_t total)
{
	static uint8_t block[BLOCK];
	uint64_t began = clock_real.mono_ms(clock_real.arg);
	struct sha256 *h = sha256_new();
	uint8_t sum[SHA256_LEN], theirs[SHA256_LEN];
	char hex[SHA256_HEX];
	struct pace pace = { 0 };
	uint64_t sent = 0;

	io_random(block, sizeof(block));
	while (sent < total) {
		size_t n = total - sent < BLOCK ? (size_t)(total - sent) : BLOCK;

		memcpy(block, &sent, sizeof(sent));	/* no two blocks are equal */
		sha256_add(h, block, n);
		keep_pace(c, &pace, n);
		if (ctx_cancelled(c) || pipe_write_full(p, block, n) < 0) {
			sha256_end(h, sum);
			return ctx_fail_sys(c, "cannot send to the other end");
		}
		sent += n;
		ctx_progress(c, sent, total, "bytes", "link");
	}
	pipe_end(p);
	sha256_end(h, sum);
	if (pipe_read_full(p, theirs, sizeof(theirs)) <= 0)
		return ctx_fail(c, "cannot hear from the other end: it is gone");
	if (memcmp(sum, theirs, sizeof(sum)) != 0)
		return ctx_fail(c, "the other end received something else");
	io_hex(sum, sizeof(sum), hex);
	tell(c, sent, began, hex);
	return 0;
}

static int receive_all(struct ctx *c, struct pipe *p, uint64_t total)
{
	static uint8_t block[BLOCK];
	uint64_t began = clock_real.mono_ms(clock_real.arg), got = 0;
	struct sha256 *h = sha256_new();
	uint8_t sum[SHA256_LEN];
	char hex[SHA256_HEX];
	ssize_t n;

	while ((n = pipe_read(p, block, sizeof(block))) > 0) {
		sha256_add(h, block, (size_t)n);
		got += (uint64_t)n;
	}
	sha256_end(h, sum);
	if (got != total)
		return ctx_fail(c, "the other end is gone after %llu bytes",
				(unsigned long long)got);
	io_hex(sum, sizeof(sum), hex);
	tell(c, got, began, hex);
	if (pipe_write_full(p, sum, sizeof(sum)) < 0)
		return ctx_fail_sys(c, "cannot answer the other end");
	return 0;
}

static int probe(struct ctx *c, enum probe_state *state)
{
	ctx_change(c, '+', "measure the way from source to target");
	*state = STATE_ABSENT;
	return 0;
}

static int apply(struct ctx *c)
{
	uint64_t total = (uint64_t)jint(ctx_args(c), "bytes", 16 << 20);
	struct pipe *p = ctx_stream(c);

	return strcmp(ctx_role(c), "source") == 0 ? send_all(c, p, total) :
						    receive_all(c, p, total);
}

const struct module module_call_link = {
	.name = "call.link",
	.summary = "measure the way between two hosts",
	.place = ON_BOTH,
	.params = params,
	.probe = probe,
	.apply = apply,
};
