/* SPDX-License-Identifier: Apache-2.0
 * night_medium - see night.h: a source that cannot be read everywhere, and a tracker that
 * lost count of its writes.
 */
#include "tests/unit/night.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/modtest.h"
#include "tests/unit/strike.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE 4096u		/* so much is lost at least */
#define BAD_MOST 24u		/* pieces of a stretch */
#define FLOOD 400		/* more writes than the smallest buffers hold */

static bool is_bad_now(const struct night *n)
{
	return n->strike->bad_end > 0;
}

/* Where it may be once a night: so what was read there before is known of one place alone. */
void night_medium(struct night *n)
{
	struct stat st;

	if (strcmp(n->from, "raw") != 0 || n->size < PIECE)
		return;
	if (is_bad_now(n)) {
		night_tell(n, "the source: all can be read again");
		n->strike->bad_end = 0;
		return;
	}
	if (!n->bad_end) {
		n->bad = night_dice(n, n->size / PIECE) * PIECE;
		n->bad_end = n->bad + (night_dice(n, BAD_MOST) + 1) * PIECE;
	}
	night_tell(n, "the source: what lies from %llu to %llu cannot be read",
		   (unsigned long long)n->bad, (unsigned long long)n->bad_end);
	assert_int_equal(stat(n->dev ? n->dev : n->r->src, &st), 0);
	n->strike->dev = st.st_dev;
	n->strike->ino = st.st_ino;
	n->strike->rdev = st.st_rdev;
	n->strike->bad = n->bad;
	n->strike->bad_end = n->bad_end;
}

uint64_t night_bad_end(const struct night *n)
{
	return n->bad_end < n->size ? n->bad_end : n->size;
}

bool night_reads_badly(const struct night *n)
{
	return is_bad_now(n) && strcmp(jstr(n->r->args, "bad_sectors", ""), "zero") != 0;
}

uint8_t *night_seen(const struct night *n)
{
	uint8_t *p = mem_alloc(n->size);

	memcpy(p, n->now, n->size);
	if (is_bad_now(n) && n->bad < n->size)
		memset(p + n->bad, 0, night_bad_end(n) - n->bad);
	return p;
}

bool night_blurs(const struct night *n)
{
	return n->bad_end && n->dev;
}

void night_blur(const struct night *n, uint8_t *is, const uint8_t *like)
{
	if (night_blurs(n) && n->bad < n->size)
		memcpy(is + n->bad, like + n->bad, night_bad_end(n) - n->bad);
}

/* ---- events that are lost ------------------------------------------------------------------- */

/* What the buffers of the tracker's instance hold, in KiB; what they held before. */
static void set_buffers(struct night *n, char was[24], const char *kib)
{
	AUTO_FREE char *dir = mem_printf("%s/tracefs", n->r->dir);
	AUTO_FREE char *path = mem_printf("%s/instances/%s/buffer_size_kb", dir, n->tracker);

	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(mount("none", dir, "tracefs", 0, NULL), 0);
	{
		AUTO_FREE char *text = io_read_file(AT_FDCWD, path, 64, NULL);
		AUTO_FD fd = open(path, O_WRONLY | O_CLOEXEC);

		assert_non_null(text);
		snprintf(was, 24, "%d", atoi(text));
		assert_int_equal(io_write_full(fd, kib, strlen(kib)), 0);
	}
	assert_int_equal(umount(dir), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void flood(struct night *n)
{
	AUTO_FD fd = open(n->dev, O_WRONLY | O_CLOEXEC | O_DIRECT);
	AUTO_FREE uint8_t *p = mem_aligned(PIECE, PIECE);

	assert_true(fd >= 0);
	for (unsigned i = 0; i < FLOOD; i++) {
		uint64_t at = night_dice(n, n->size / n->sector) * n->sector;

		memset(p, (int)(i + 1), n->sector);
		memcpy(n->now + at, p, n->sector);
		assert_int_equal(io_pwrite_full(fd, p, n->sector, at), 0);
	}
}

void night_overrun(struct night *n)
{
	pid_t pid = n->tracker ? modtest_listener(n->tracker) : 0;
	char was[24], small[24];

	if (!pid || !n->dev)
		return;
	night_tell(n, "the tracker sleeps over %u writes", FLOOD);
	set_buffers(n, was, "4");
	kill(pid, SIGSTOP);
	flood(n);
	kill(pid, SIGCONT);
	set_buffers(n, small, was);
	n->odd |= ODD_TRACKER;
}
