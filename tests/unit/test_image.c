/* SPDX-License-Identifier: Apache-2.0
 * test_image - images behind qemu-nbd: read and written, in use, with a dirty bitmap.
 */
#include "engine/base/mem.h"
#include "modules/lib/disk.h"
#include "modules/lib/imgkind.h"
#include "modules/lib/nbd.h"
#include "modules/lib/qemunbd.h"
#include "tests/unit/here.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1u << 20)

static void a_qcow2_is_written_and_read_back_through_qemu_nbd(void **s)
{
	struct here *h = *s;
	AUTO_FREE char *buf = disk_buffer(MIB), *got = disk_buffer(MIB);
	AUTO_ERR e = { 0 };
	AUTO_DISK *d = NULL;
	uint64_t len, at, data = 0;
	bool hole;

	memset(buf, 'q', MIB);
	assert_int_equal(img_create(h->path, "qcow2", 64 * MIB + 512, &e), 0);
	d = disk_open_image(h->path, "qcow2", DISK_WRITE, &e);
	if (!d)
		fail_msg("%s", e.what);
	assert_non_null(d->sandbox);
	assert_true(d->size == 64 * MIB + 512);
	assert_int_equal(d->ops->write(d, buf, MIB, 7 * MIB, &e), 0);
	assert_int_equal(d->ops->write(d, buf, MIB, 9 * MIB, &e), 0);
	assert_int_equal(d->ops->write(d, buf, 512, 64 * MIB, &e), 0);
	assert_int_equal(d->ops->zero(d, 9 * MIB, MIB, &e), 0);
	assert_int_equal(d->ops->flush(d, &e), 0);
	assert_int_equal(disk_close(&d, &e), 0);
	d = disk_open_image(h->path, "qcow2", DISK_DIRECT, &e);
	assert_int_equal(d->ops->read(d, got, MIB, 7 * MIB, &e), 0);
	assert_memory_equal(buf, got, MIB);
	assert_int_equal(d->ops->read(d, got, MIB, 9 * MIB, &e), 0);
	assert_int_equal(got[0] | got[MIB - 1], 0);
	for (at = 0; at < d->size; at += len) {
		assert_int_equal(d->ops->extent(d, at, &len, &hole, &e), 0);
		assert_true(len > 0);
		data += hole ? 0 : len;
	}
	assert_true(at == d->size && data >= MIB + 512 && data < 2 * MIB);
	/* Beyond the end the server says no, and the next request still works. */
	assert_int_equal(d->ops->read(d, got, 4096, d->size, &e), -1);
	assert_int_equal(e.sys, EINVAL);
	err_clear(&e);
	assert_int_equal(d->ops->read(d, got, 512, 64 * MIB, &e), 0);
	assert_int_equal(got[511], 'q');
}

static void an_image_in_use_is_told(void **s)
{
	struct here *h = *s;
	AUTO_FREE char *text = mem_printf("cannot open image '%s': another process uses it", h->path);
	AUTO_ERR e = { 0 };
	AUTO_DISK *first = NULL;

	assert_int_equal(img_create(h->path, "qcow2", MIB, &e), 0);
	first = disk_open_image(h->path, "qcow2", DISK_WRITE, &e);
	assert_non_null(first);
	/* who wants to write waits some seconds for it */
	assert_null(disk_open_image(h->path, "qcow2", 0, &e));
	assert_string_equal(e.what, text);
	assert_string_equal(e.hint, "stop it first, or copy from inside the running machine");
}

static void an_image_in_use_is_opened_for_looking_only(void **s)
{
	struct here *h = *s;
	AUTO_ERR e = { 0 };
	AUTO_DISK *first = NULL, *second = NULL;
	AUTO_FREE char *buf = disk_buffer(DISK_ALIGN);

	assert_int_equal(img_create(h->path, "qcow2", MIB, &e), 0);
	first = disk_open_image(h->path, "qcow2", DISK_WRITE, &e);
	assert_non_null(first);
	memset(buf, 7, DISK_ALIGN);
	assert_int_equal(first->ops->write(first, buf, DISK_ALIGN, 0, &e), 0);
	assert_int_equal(first->ops->flush(first, &e), 0);
	second = disk_open_image(h->path, "qcow2", DISK_LIVE, &e);
	assert_non_null(second);
	assert_int_equal(second->ops->read(second, buf, DISK_ALIGN, 0, &e), 0);
	assert_int_equal(buf[DISK_ALIGN - 1], 7);
	assert_int_equal(second->ops->write(second, buf, DISK_ALIGN, 0, &e), -1);
}

static void an_image_is_in_use_while_it_is_written_to_and_not_while_it_is_read(void **s)
{
	struct here *h = *s;
	AUTO_ERR e = { 0 };
	AUTO_DISK *d = NULL;
	struct disk_info i;

	assert_int_equal(img_create(h->path, "qcow2", MIB, &e), 0);
	d = disk_open_image(h->path, "qcow2", 0, &e);
	assert_non_null(d);
	assert_int_equal(disk_info(h->path, "qcow2", &i, &e), 0);
	assert_false(i.busy);
	assert_int_equal(disk_close(&d, &e), 0);
	d = disk_open_image(h->path, "qcow2", DISK_WRITE, &e);
	assert_non_null(d);
	assert_int_equal(disk_info(h->path, "qcow2", &i, &e), 0);
	assert_true(i.busy);
}

static void an_image_that_is_only_for_its_owner_is_read_as_that_one(void **s)
{
	struct here *h = *s;
	AUTO_FREE char *buf = disk_buffer(DISK_ALIGN);
	AUTO_ERR e = { 0 };
	AUTO_DISK *d = NULL;

	if (geteuid() != 0)
		skip();
	assert_int_equal(img_create(h->path, "qcow2", MIB, &e), 0);
	assert_int_equal(chown(h->path, 65534, 65534), 0);
	assert_int_equal(chmod(h->path, 0600), 0);
	assert_int_equal(chmod(h->dir, 0711), 0);
	d = disk_open_image(h->path, "qcow2", 0, &e);
	assert_non_null(d);
	assert_int_equal(d->ops->read(d, buf, DISK_ALIGN, 0, &e), 0);
}

/* ---- dirty bitmaps --------------------------------------------------------------------- */

struct runs { uint64_t at[8], len[8]; size_t n; };

static void note_run(void *arg, uint64_t at, uint64_t len)
{
	struct runs *r = arg;

	assert_true(r->n < ARRAY_LEN(r->at));
	r->at[r->n] = at;
	r->len[r->n++] = len;
}

static void a_dirty_bitmap_tells_what_was_written_since_it_began(void **s)
{
	struct here *h = *s;
	const char *begin[] = { "qemu-img", "bitmap", "--add", "-f", "qcow2", h->path, "b", NULL };
	AUTO_FREE char *buf = disk_buffer(1 << 16);
	struct nbd *nbd = NULL;
	struct runs r = { .n = 0 };
	AUTO_ERR e = { 0 };
	AUTO_DISK *d = NULL;

	assert_int_equal(img_create(h->path, "qcow2", 64 * MIB, &e), 0);
	here_run(begin);
	d = disk_open_image(h->path, "qcow2", DISK_WRITE, &e);
	assert_non_null(d);
	memset(buf, 1, 1 << 16);
	assert_int_equal(d->ops->write(d, buf, 1 << 16, 3 * MIB, &e), 0);
	assert_int_equal(d->ops->write(d, buf, 512, 40 * MIB, &e), 0);
	assert_int_equal(d->ops->flush(d, &e), 0);
	disk_close(&d, NULL);
	d = qemunbd_open_dirty(h->path, "b", &nbd, &e);
	assert_non_null(d);
	for (uint64_t at = 0, far; at < d->size; at += far)
		assert_int_not_equal(far = nbd_dirty(nbd, at, note_run, &r, &e), 0);
	assert_int_equal(r.n, 2);
	assert_int_equal(r.at[0], 3 * MIB);
	assert_int_equal(r.len[0], 1 << 16);
	assert_int_equal(r.at[1], 40 * MIB);
	assert_int_equal(r.len[1], 1 << 16);
	/* What is a hole is told beside it. */
	bool hole = false;
	uint64_t len = 0;
	assert_int_equal(d->ops->extent(d, 0, &len, &hole, &e), 0);
	assert_true(hole);
	assert_int_equal(len, 3 * MIB);
	disk_close(&d, NULL);
	assert_null(qemunbd_open_dirty(h->path, "c", &nbd, &e));
	assert_non_null(strstr(e.what, "cannot open image"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, here_set_up, here_tear_down)
	const struct CMUnitTest tests[] = {
		T(a_qcow2_is_written_and_read_back_through_qemu_nbd),
		T(an_image_in_use_is_opened_for_looking_only),
		T(an_image_is_in_use_while_it_is_written_to_and_not_while_it_is_read),
		T(an_image_that_is_only_for_its_owner_is_read_as_that_one),
		T(a_dirty_bitmap_tells_what_was_written_since_it_began),
		T(an_image_in_use_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
