/* SPDX-License-Identifier: Apache-2.0
 * test_initramfs - module names out of cpio archives, plain and compressed, one after
 * another; what is damaged or a bomb ends in an error.
 */
#include "modules/lib/initramfs.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/guestkit.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

static int up(void **state)
{
	*state = kit_new();
	return 0;
}

static int down(void **state)
{
	kit_free(*state);
	return 0;
}

/* A cpio archive of empty files with these names. */
static void archive(struct str *out, const char *const *names, uint32_t size)
{
	for (bool last = false; !last; names++) {
		const char *name = *names ? *names : "TRAILER!!!";

		last = !*names;
		str_addf(out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1,
			 0100644, 0, 0, 1, 0, last ? 0 : size, 0, 0, 0, 0,
			 (unsigned)strlen(name) + 1, 0);
		str_addn(out, name, strlen(name) + 1);
		while (out->len % 4)
			str_addn(out, "", 1);
		for (uint32_t i = 0; !last && i < (size + 3) / 4 * 4; i++)
			str_addn(out, "x", 1);
	}
}

/* What a compressor makes of it. */
static void packed(struct kit *k, struct str *out, const char *program, const char *arg,
		   const struct str *plain)
{
	AUTO_FREE char *in = mem_printf("%s/plain", k->dir);
	AUTO_FREE char *to = mem_printf("%s/plain%s", k->dir,
					strcmp(program, "gzip") == 0 ? ".gz" :
					strcmp(program, "xz") == 0 ? ".xz" : ".zst");
	AUTO_FREE char *p = NULL;
	size_t n;

	assert_int_equal(io_write_file(AT_FDCWD, in, plain->s, plain->len, 0600), 0);
	kit_run((const char *[]){ program, "-k", "-f", "-q", arg, in, NULL }, NULL);
	p = io_read_file(AT_FDCWD, to, 1 << 20, &n);
	assert_non_null(p);
	str_addn(out, p, n);
}

static const char *const early[] = { "kernel/x86/microcode/AuthenticAMD.bin", NULL };
static const char *const late[] = {
	"init", "usr/lib/modules/6.1/kernel/drivers/block/virtio_blk.ko.xz",
	"usr/lib/modules/6.1/kernel/drivers/net/virtio-net.ko",
	"usr/lib/modules/6.1/modules.dep", "x/ext4.ko.zst", NULL
};

static void expect(const struct str *image)
{
	AUTO_ERR e = { 0 };
	AUTO_JSON *m = initramfs_modules(image->s, image->len, &e);
	AUTO_FREE char *text = m ? json_canonical(m) : NULL;

	if (!m)
		print_error("%s\n", e.what);
	assert_non_null(m);
	assert_string_equal(text, "[\"ext4\",\"virtio_blk\",\"virtio_net\"]");
}

static void initramfs_reads_plain_and_padded_segments(void **state)
{
	AUTO_STR image = { 0 };

	(void)state;
	archive(&image, early, 1001);
	for (int i = 0; i < 776; i++)
		str_addn(&image, "", 1);
	archive(&image, late, 3);
	expect(&image);
}

static void initramfs_reads_each_compression(void **state)
{
	static const struct { const char *program, *arg; } ways[] = {
		{ "gzip", "-9" }, { "xz", "--check=crc32" }, { "zstd", "-19" },
	};

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		AUTO_STR plain = { 0 }, image = { 0 };

		archive(&plain, late, 70000);
		archive(&image, early, 50);
		packed(*state, &image, ways[i].program, ways[i].arg, &plain);
		expect(&image);
	}
}

static void initramfs_says_what_it_cannot_read(void **state)
{
	AUTO_ERR e = { 0 };
	AUTO_STR image = { 0 };

	(void)state;
	archive(&image, early, 5);
	str_addn(&image, "\x02\x21\x4c\x18rest", 8);
	assert_null(initramfs_modules(image.s, image.len, &e));
	assert_string_equal(e.what, "it is compressed with lz4, which is not read here");
}

static void initramfs_ends_at_a_cut_at_every_length(void **state)
{
	AUTO_STR plain = { 0 }, image = { 0 };

	archive(&plain, late, 10);
	packed(*state, &image, "zstd", "-3", &plain);
	for (size_t n = 1; n < image.len; n++)
		assert_null(initramfs_modules(image.s, n, NULL));
	for (size_t n = 1; n < plain.len - 2; n++)
		assert_null(initramfs_modules(plain.s, n, NULL));
}

static void initramfs_survives_every_turned_byte(void **state)
{
	AUTO_STR plain = { 0 }, image = { 0 };

	archive(&plain, late, 10);
	packed(*state, &image, "gzip", "-9", &plain);
	str_addn(&image, plain.s, plain.len);
	for (size_t i = 0; i < image.len; i++) {
		AUTO_JSON *m = NULL;

		image.s[i] = (char)~image.s[i];
		m = initramfs_modules(image.s, image.len, NULL);
		image.s[i] = (char)~image.s[i];
	}
	expect(&image);
}

static void initramfs_refuses_a_bomb(void **state)
{
	const size_t n = (1u << 30) + (64u << 20);
	AUTO_ERR e = { 0 };
	AUTO_STR plain = { 0 }, image = { 0 };
	ZSTD_CCtx *z = ZSTD_createCCtx();
	static uint8_t zeroes[1 << 20];
	uint8_t out[1 << 17];

	(void)state;
	str_addf(&plain, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, 0100644,
		 0, 0, 1, 0, 0xfffffff0u, 0, 0, 0, 0, 2, 0);
	str_addn(&plain, "a", 2);
	for (size_t done = 0; done < n; ) {
		ZSTD_inBuffer in = { done ? (void *)zeroes : plain.s,
				     done ? sizeof(zeroes) : plain.len, 0 };

		done += in.size;
		while (in.pos < in.size) {
			ZSTD_outBuffer o = { out, sizeof(out), 0 };

			ZSTD_compressStream2(z, &o, &in, ZSTD_e_continue);
			str_addn(&image, out, o.pos);
		}
	}
	ZSTD_freeCCtx(z);
	assert_true(image.len < 1 << 20);
	assert_null(initramfs_modules(image.s, image.len, &e));
	assert_string_equal(e.what, "it unpacks to more than 1 GiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, up, down)
		T(initramfs_reads_plain_and_padded_segments),
		T(initramfs_reads_each_compression),
		T(initramfs_says_what_it_cannot_read),
		T(initramfs_ends_at_a_cut_at_every_length),
		T(initramfs_survives_every_turned_byte),
		T(initramfs_refuses_a_bomb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
