/* SPDX-License-Identifier: Apache-2.0
 * spacerig - disks of which not all is in use, looked at and copied as a migration does it.
 */
#include "tests/unit/spacerig.h"

#include "engine/base/io.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

const char space_junk[4096] = "what nobody needs";

int space_set_up(void **state)
{
	*state = kit_new();
	return 0;
}

int space_tear_down(void **state)
{
	kit_free(*state);
	return 0;
}

struct disk *space_look(const char *path, struct freespace *f)
{
	struct disk *d = disk_open_image(path, "raw", 0, NULL);

	assert_non_null(d);
	freespace_find(d, f);
	return d;
}

static void copy_data(struct disk *d, int to, uint64_t at, uint64_t len)
{
	AUTO_FREE char *buf = disk_buffer(MIB);

	for (uint64_t done = 0, n; done < len; done += n) {
		n = len - done < MIB ? len - done : MIB;
		assert_int_equal(d->ops->read(d, buf, n, at + done, NULL), 0);
		assert_int_equal(io_pwrite_full(to, buf, n, at + done), 0);
	}
}

void space_copy_rest(const char *path, uint64_t least, uint64_t most, const char *to)
{
	AUTO_FREESPACE f = { 0 };
	struct disk *d = space_look(path, &f);
	AUTO_FD fd = open(to, O_RDWR | O_CREAT, 0600);

	assert_in_range(f.bytes, least, most);
	d = freespace_skip(d, &f);
	assert_int_equal(ftruncate(fd, (off_t)d->size), 0);
	for (uint64_t at = 0, len; at < d->size; at += len) {
		bool hole;

		assert_int_equal(d->ops->extent(d, at, &len, &hole, NULL), 0);
		if (!hole)
			copy_data(d, fd, at, len);
	}
	disk_close(&d, NULL);
}
