/* SPDX-License-Identifier: Apache-2.0
 * night - see the header: the two disks, and what others do to them.
 */
#include "tests/unit/night.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/track.h"
#include "tests/unit/here.h"
#include "tests/unit/modtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define NIGHT_MAX (9u * MIB)

/* ---- dice and story -------------------------------------------------------------------- */

/* splitmix64 */
uint64_t night_dice(struct night *n, uint64_t below)
{
	uint64_t z = n->dice += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return below ? (z ^ (z >> 31)) % below : 0;
}

static bool one_in(struct night *n, unsigned k)
{
	return night_dice(n, k) == 0;
}

void night_tell(struct night *n, const char *fmt, ...)
{
	AUTO_FREE char *line = NULL;
	va_list ap;

	va_start(ap, fmt);
	line = mem_vprintf(fmt, ap);
	va_end(ap);
	str_addf(&n->story, "\t%s\n", line);
	if (getenv("NIGHT_LOUD"))
		fprintf(stderr, "\t%s\n", line);
}

void night_broken(struct night *n, const char *fmt, ...)
{
	AUTO_FREE char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = mem_vprintf(fmt, ap);
	va_end(ap);
	night_tell(n, "BROKEN: %s", text);
	fail();
	abort();
}

/* ---- the source -------------------------------------------------------------------------- */

static void qemu_io(const char *format, const char *path, const char *what, uint64_t at, uint64_t len)
{
	AUTO_FREE char *command = mem_printf("%s %llu %llu", what, (unsigned long long)at,
					     (unsigned long long)len);
	const char *argv[] = { "qemu-io", "-f", format, "-c", command, path, NULL };
	int rc = -1;

	/* the server of a command that was killed may be just ending */
	for (int i = 0; i < 100 && rc < 0; i++) {
		struct proc p = { .argv = argv, .timeout_ms = 60000 };

		rc = proc_run(&p, NULL);
		proc_free(&p);
		if (rc < 0)
			usleep(50000);
	}
	assert_int_equal(rc, 0);
}

static void fill(struct night *n, uint8_t *p, size_t len, unsigned how)
{
	uint64_t x = night_dice(n, UINT64_MAX);

	for (size_t i = 0; i < len; i++)
		p[i] = how == 0 ? (uint8_t)(x >> 8 | 1) :
			how == 1 ? (uint8_t)((x = x * 6364136223846793005u + 1) >> 56) :
			(uint8_t)("drover"[(i + x) % 6]);
}

/* Bytes [at, at + len) become p's, or zeros (NULL), by one of the calls that do. */
static void write_now(struct night *n, uint64_t at, uint64_t len, const uint8_t *p)
{
	AUTO_FD fd = open(n->dev ? n->dev : n->r->src, O_WRONLY | O_CLOEXEC);
	AUTO_FREE uint8_t *zeros = mem_alloc(len);
	uint64_t range[2] = { at, len };

	assert_true(fd >= 0);
	if (p)
		assert_int_equal(io_pwrite_full(fd, p, len, at), 0);
	else if (one_in(n, 2) || fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					   (off_t)at, (off_t)len) < 0)
		assert_int_equal(n->dev ? ioctl(fd, BLKZEROOUT, range) :
				 io_pwrite_full(fd, zeros, len, at), 0);
	assert_int_equal(fsync(fd), 0);
}

void night_scribble(struct night *n)
{
	unsigned how = (unsigned)night_dice(n, 5);	/* 3, 4: zeros */
	uint64_t units = n->size / n->sector, most = units >> night_dice(n, 12);
	uint64_t len = (night_dice(n, most ? most : 1) + 1) * n->sector;
	uint64_t at = night_dice(n, units - len / n->sector + 1) * n->sector;
	bool image = strcmp(n->from, "qcow2") == 0;
	AUTO_FREE uint8_t *p = mem_alloc(len);
	char what[32] = "write -z";

	if (how < 3)
		fill(n, p, len, image ? 0 : how);
	night_tell(n, "the source: %s at %llu, %llu", how < 3 ? "bytes" : "zeros",
		   (unsigned long long)at, (unsigned long long)len);
	memcpy(n->now + at, p, len);
	if (how < 3)
		snprintf(what, sizeof(what), "write -P %u", p[0]);
	else if (how == 4)
		strcpy(what, "write -z -u");
	if (image)
		qemu_io("qcow2", n->r->src, what, at, len);
	else
		write_now(n, at, len, how < 3 ? p : NULL);
}

/* What was of another size. */
static void take_away(struct night *n)
{
	uint8_t **const all[] = { &n->sent, &n->was, &n->tried, &n->then, &n->saved };

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		free(*all[i]);
		*all[i] = NULL;
	}
}

/* Longer or shorter by some sectors; the device that it is follows. */
void night_resize(struct night *n)
{
	uint64_t step = n->dev ? 4096 : 512, by = (night_dice(n, 64) + 1) * step;
	bool less = one_in(n, 2) && n->size > by + step;
	uint64_t size = less ? n->size - by : n->size + by;
	AUTO_FREE char *bytes = mem_printf("%llu", (unsigned long long)size);
	const char *resize[] = { "qemu-img", "resize", "-q", "--shrink", "-f", n->from, n->r->src,
		bytes, NULL };
	const char *again[] = { "losetup", "-c", n->dev, NULL };
	uint8_t *now;

	if (n->room && size > n->room)
		return;
	night_tell(n, "the source: %llu bytes instead of %llu", (unsigned long long)size,
		   (unsigned long long)n->size);
	cv_run_ok(resize);
	if (n->dev)
		cv_run_ok(again);
	if (!less && strcmp(n->from, "qcow2") == 0)	/* of a cluster that was cut its data is back */
		qemu_io("qcow2", n->r->src, "write -z", n->size, by);
	now = mem_alloc(size);
	memcpy(now, n->now, less ? size : n->size);
	free(n->now);
	n->now = now;
	n->size = size;
	take_away(n);
	if (access(n->r->map, F_OK) == 0)
		n->odd |= ODD_SIZE;
}

void night_end_tracker(struct night *n)
{
	pid_t pid = n->tracker ? modtest_listener(n->tracker) : 0;

	if (!pid)
		return;
	night_tell(n, "the tracker is killed");
	modtest_kill(pid);
	n->odd |= ODD_TRACKER;
}

/* ---- the target ---------------------------------------------------------------------------- */

static const char *base_file(const struct night *n)
{
	return n->to ? n->to_file : n->r->base;
}

void night_harm_map(struct night *n)
{
	struct stat st;
	unsigned how = (unsigned)night_dice(n, 3);

	if (stat(n->r->map, &st) < 0)
		return;
	n->odd |= ODD_MAP;
	if (how == 0) {
		night_tell(n, "the map is gone");
		assert_int_equal(unlink(n->r->map), 0);
	} else if (how == 1) {
		off_t to = (off_t)night_dice(n, (uint64_t)st.st_size);

		night_tell(n, "the map is cut to %lld", (long long)to);
		assert_int_equal(truncate(n->r->map, to), 0);
	} else {
		uint64_t at = night_dice(n, one_in(n, 2) ? 8192 : (uint64_t)st.st_size);
		AUTO_FD fd = open(n->r->map, O_RDWR | O_CLOEXEC);
		uint8_t c = 0;

		if (io_pread_full(fd, &c, 1, at) < 0)
			return;
		night_tell(n, "the map has a flipped bit at %llu", (unsigned long long)at);
		c ^= (uint8_t)(1 << night_dice(n, 8));
		assert_int_equal(io_pwrite_full(fd, &c, 1, at), 0);
	}
}

void night_harm_base(struct night *n)
{
	uint64_t len = (night_dice(n, 64) + 1) * 512, at;
	AUTO_FREE uint8_t *p = mem_alloc(len);
	bool raw = strcmp(n->r->format, "raw") == 0;

	if (access(base_file(n), F_OK) < 0 || (!n->to && !n->sent))
		return;
	if (!n->to && one_in(n, 4)) {
		night_tell(n, "the target is gone");
		assert_int_equal(unlink(n->r->base), 0);
		n->odd |= ODD_BASE;
		return;
	}
	if (!n->sent || len > n->size)
		return;
	at = night_dice(n, (n->size - len) / 512 + 1) * 512;
	night_tell(n, "the target: bytes at %llu, %llu", (unsigned long long)at,
		   (unsigned long long)len);
	fill(n, p, len, 1);
	night_forget_proven(n);		/* it was right then */
	if (raw)
		cv_put(base_file(n), at, p, len);
	else
		qemu_io(n->r->format, n->r->base, "write -P 77", at, len);
	n->odd |= ODD_TARGET;
}

static void copy_file(const char *from, const char *to)
{
	const char *argv[] = { "cp", "--sparse=always", from, to, NULL };

	cv_run_ok(argv);
}

void night_keep_files(struct night *n)
{
	if (access(n->r->map, F_OK) < 0 || access(base_file(n), F_OK) < 0)
		return;
	night_tell(n, "the target's files are kept as they are");
	if (!n->map_was)
		n->map_was = mem_printf("%s/map.was", n->r->dir);
	if (!n->base_was && !n->to)
		n->base_was = mem_printf("%s/base.was", n->r->dir);
	copy_file(n->r->map, n->map_was);
	if (n->base_was)
		copy_file(n->r->base, n->base_was);
}

void night_put_back(struct night *n)
{
	/* not both: that would be a whole copy, of an earlier time */
	unsigned which = (unsigned)night_dice(n, 2) + 1;

	if (!n->map_was || access(n->r->map, F_OK) < 0)
		return;
	if (which & 1) {
		night_tell(n, "the map is put back as it was");
		copy_file(n->map_was, n->r->map);
	}
	if ((which & 2) && n->base_was && access(n->r->base, F_OK) == 0) {
		night_tell(n, "the target is put back as it was");
		copy_file(n->base_was, n->r->base);
	}
	n->odd |= ODD_TARGET | ODD_MAP;
	free(n->map_was);
	n->map_was = NULL;
}

/* ---- set up ---------------------------------------------------------------------------------- */

char *night_loop(const char *file, unsigned sector)
{
	AUTO_FREE char *bytes = mem_printf("%u", sector);
	const char *argv[] = { "losetup", "-f", "--show", "-b", bytes, file, NULL };

	return here_ask(argv);
}

void night_end_loop(char **dev)
{
	const char *argv[] = { "losetup", "-d", *dev, NULL };

	if (*dev)
		cv_run_ok(argv);
	mem_free_ptr(dev);
}

/* Its disk, with something on it. */
static void make_source(struct night *n)
{
	static const struct { const char *format; unsigned sector; bool device; } kinds[] = {
		{ "raw", 512, false }, { "raw", 512, true }, { "raw", 4096, true },
		{ "qcow2", 512, false },
	};
	unsigned k = (unsigned)night_dice(n, 4);
	AUTO_FREE char *bytes = NULL;

	n->from = kinds[k].format;
	n->sector = kinds[k].sector;
	n->size = (night_dice(n, (NIGHT_MAX >> night_dice(n, 6)) / n->sector) + 1) * n->sector;
	n->now = mem_alloc(n->size);
	bytes = mem_printf("%llu", (unsigned long long)n->size);
	const char *make[] = { "qemu-img", "create", "-q", "-f", n->from, n->r->src, bytes, NULL };
	unlink(n->r->src);
	cv_run_ok(make);
	n->dev = kinds[k].device ? night_loop(n->r->src, n->sector) : NULL;
	n->r->from = n->dev ?
		json_pack("{s:s,s:s,s:b}", "path", n->dev, "format", "raw", "copy", 1) :
		json_pack("{s:s,s:s,s:b}", "image", n->r->src, "format", n->from, "copy", 1);
	night_tell(n, "source: %s%s of %s bytes, sectors of %u", n->from, n->dev ? " device" : "",
		   bytes, n->sector);
	for (unsigned i = (unsigned)night_dice(n, 5); i > 0; i--)
		night_scribble(n);
}

/* What the plan says of the target's disk. */
static void make_target(struct night *n)
{
	json_t *row = json_object();

	if (strcmp(n->r->format, "raw") == 0 && one_in(n, 2)) {
		n->room = (n->size + 4095) / 4096 * 4096 + night_dice(n, 3) * 65536;
		n->to_file = mem_printf("%s/to", n->r->dir);
		AUTO_FD fd = open(n->to_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_int_equal(ftruncate(fd, (off_t)n->room), 0);
		n->to = night_loop(n->to_file, one_in(n, 2) ? 512 : 4096);
		jset_str(row, "path", n->to);
		jset_str(row, "format", "raw");
	}
	if (!n->to && one_in(n, 4))
		jset_int(row, "size", (int64_t)(n->size / 512 * 512 + night_dice(n, 300) * 512));
	json_object_set_new(n->r->more, "disks", json_pack("{s:o}", "root", row));
	night_tell(n, "target: %s%s, %lld at least", n->r->format, n->to ? " device" : "",
		   (long long)jint(row, "size", 0));
}

static void choose_args(struct night *n)
{
	static const unsigned chunks[] = { 64, 64, 68, 128, 1024, 4096 };
	static const char *const zips[] = { "auto", "none", "zstd" };
	static const char *const ways[] = { "auto", "auto", "digest" }, *const bads[] = { "fail", "zero" };
	AUTO_FREE char *to = mem_printf("b:%s/backup", n->r->dir);
	unsigned chunk = chunks[night_dice(n, 6)] << 10;
	const char *zip = zips[night_dice(n, 3)], *way = ways[night_dice(n, 3)];
	const char *bad = bads[night_dice(n, 2)];

	json_object_update_new(n->r->args, json_pack("{s:i,s:s,s:s,s:s,s:s,s:s,s:i}", "chunk",
			       (int)chunk, "compress", zip, "changes", way, "bad_sectors", bad,
			       "to", to, "from", to, "follow", 3600000));
	night_tell(n, "chunks of %u, compress %s, changes %s, bad sectors %s", chunk, zip, way, bad);
}

int night_set_up(void **state)
{
	static const char *const formats[] = { "raw", "raw", "raw", "raw", "qcow2", "qcow2", "vmdk",
		"vhdx", "vdi", "vpc" };
	struct night *n = mem_alloc(sizeof(*n));
	void *r;

	n->seed = (unsigned)(uintptr_t)*state;
	n->dice = n->seed;
	*state = n;
	cv_set_up_as(&r, formats[night_dice(n, 10)]);
	n->r = r;
	make_source(n);
	make_target(n);
	choose_args(n);
	if (one_in(n, 2))
		night_other_make(n);
	return 0;
}

int night_tear_down(void **state)
{
	struct night *n = *state;
	void *r = n->r;

	if (!n->over)
		fprintf(stderr, "the night of SEED=%u:\n%s", n->seed, n->story.s);
	if (n->tracker)
		track_end(n->tracker, NULL);
	night_end_loop(&n->dev);
	night_end_loop(&n->to);
	night_other_free(n);
	cv_tear_down(&r);
	free(n->to_file);
	free(n->now);
	free(n->was);
	free(n->sent);
	free(n->tried);
	free(n->then);
	free(n->saved);
	free(n->tracker);
	free(n->map_was);
	free(n->base_was);
	str_free(&n->story);
	free(n);
	return 0;
}
