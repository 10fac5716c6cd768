/* SPDX-License-Identifier: Apache-2.0
 * test_frame - the decoder believes nothing.
 */
#include "engine/base/mem.h"
#include "engine/wire/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void encode(struct str *out, enum frame_type type, uint32_t step, const char *text)
{
	AUTO_JSON *body = text ? json_loads(text, 0, NULL) : NULL;

	assert_int_equal(frame_encode(out, type, step, body, NULL), 0);
}

static void a_frame_survives_the_way_byte_by_byte(void **state)
{
	struct frame_reader *r = frame_reader_new();
	AUTO_STR out = { 0 };
	struct frame f;
	int seen = 0;

	(void)state;
	encode(&out, FRAME_RUN, 7, "{\"module\":\"call.read\",\"n\":[1,2]}");
	encode(&out, FRAME_PING, 0, NULL);
	for (size_t i = 0; i < out.len; i++) {
		assert_int_equal(frame_reader_feed(r, out.s + i, 1, NULL), 0);
		while (frame_reader_next(r, &f, NULL) == 1) {
			if (seen++ == 0) {
				assert_int_equal(f.type, FRAME_RUN);
				assert_int_equal(f.step, 7);
				assert_string_equal(jstr(f.body, "module", ""), "call.read");
			} else {
				assert_int_equal(f.type, FRAME_PING);
				assert_null(f.body);
			}
			frame_clear(&f);
		}
	}
	assert_int_equal(seen, 2);
	frame_reader_free(r);
}

/* Feed it whole; the error's text, or "" when it is only incomplete. */
static void expect(const struct str *bytes, const char *text)
{
	struct frame_reader *r = frame_reader_new();
	AUTO_ERR e = { 0 };
	struct frame f = { 0 };

	if (frame_reader_feed(r, bytes->s, bytes->len, &e) == 0)
		frame_reader_next(r, &f, &e);
	assert_string_equal(e.what ? e.what : "", text);
	frame_clear(&f);
	frame_reader_free(r);
}

static void any_flipped_bit_is_found(void **state)
{
	AUTO_STR good = { 0 };

	(void)state;
	encode(&good, FRAME_EVENT, 3, "{\"e\":\"log\",\"text\":\"hello\"}");
	for (size_t bit = 0; bit < good.len * 8; bit++) {
		struct frame_reader *r = frame_reader_new();
		AUTO_STR bad = { 0 };
		struct frame f = { 0 };
		int rc;

		str_addn(&bad, good.s, good.len);
		bad.s[bit / 8] ^= (char)(1 << bit % 8);
		rc = frame_reader_feed(r, bad.s, bad.len, NULL);
		if (rc == 0)
			rc = frame_reader_next(r, &f, NULL);
		if (rc == 1)
			fail_msg("bit %zu was not noticed", bit);
		frame_clear(&f);
		frame_reader_free(r);
	}
}

static void a_huge_length_is_refused_before_it_is_allocated(void **state)
{
	AUTO_STR bytes = { 0 };

	(void)state;
	encode(&bytes, FRAME_PING, 0, NULL);
	memcpy(bytes.s, "\xff\xff\xff\xff", 4);
	expect(&bytes, "cannot read a frame: 4294967295 bytes announced, the bound is 16777216");
}

static void an_unknown_type_is_refused(void **state)
{
	AUTO_STR bytes = { 0 };

	(void)state;
	encode(&bytes, (enum frame_type)99, 0, NULL);
	expect(&bytes, "cannot read a frame: type 99 is unknown");
}

static void a_body_must_be_an_object(void **state)
{
	AUTO_STR bytes = { 0 };
	AUTO_JSON *list = json_array();

	(void)state;
	frame_encode(&bytes, FRAME_RUN, 1, list, NULL);
	expect(&bytes, "cannot read a frame: not a JSON object");
}

static void a_body_beyond_the_bound_is_not_sent(void **state)
{
	AUTO_FREE char *text = mem_alloc(FRAME_MAX + 1);
	AUTO_JSON *body = json_object();
	AUTO_STR out = { 0 };
	AUTO_ERR e = { 0 };

	(void)state;
	memset(text, 'x', FRAME_MAX);
	jset_str(body, "x", text);
	assert_int_equal(frame_encode(&out, FRAME_RUN, 1, body, &e), -1);
	assert_string_equal(e.what, "cannot encode a frame: 16777224 bytes, the bound is 16777216");
	assert_int_equal(out.len, 0);
}

static void the_end_of_a_stream_is_told_from_a_torn_frame(void **state)
{
	AUTO_STR out = { 0 };
	struct frame f;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	encode(&out, FRAME_PING, 0, "{\"n\":1}");
	assert_int_equal(write(pair[0], out.s, out.len), out.len);
	assert_int_equal(write(pair[0], out.s, out.len - 1), out.len - 1);
	close(pair[0]);
	assert_int_equal(frame_read_fd(pair[1], &f, NULL), 1);
	frame_clear(&f);
	assert_int_equal(frame_read_fd(pair[1], &f, NULL), -1);
	assert_int_equal(frame_read_fd(pair[1], &f, NULL), 0);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_survives_the_way_byte_by_byte),
		cmocka_unit_test(any_flipped_bit_is_found),
		cmocka_unit_test(a_huge_length_is_refused_before_it_is_allocated),
		cmocka_unit_test(an_unknown_type_is_refused),
		cmocka_unit_test(a_body_must_be_an_object),
		cmocka_unit_test(a_body_beyond_the_bound_is_not_sent),
		cmocka_unit_test(the_end_of_a_stream_is_told_from_a_torn_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
