/* SPDX-License-Identifier: Apache-2.0
 * night_other - see night.h: the machine's other disk, whose copy lies on a file system of its
 * own. Nobody harms it: whatever comes over the first disk, this one's copy and what is known
 * of it stay.
 */
#include "tests/unit/night.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define OTHER_MAX (2u * MIB)
#define OTHER_ROOM "size=64m"

/* ---- what there is --------------------------------------------------------------------- */

void night_other_scribble(struct night *n)
{
	struct night_other *o = &n->other;
	uint64_t units = o->size / 512, len, at;
	AUTO_FD fd = -1;

	if (!o->src)
		return;
	len = (night_dice(n, units >> night_dice(n, 10)) + 1) * 512;
	at = night_dice(n, units - len / 512 + 1) * 512;
	night_tell(n, "the other source: bytes at %llu, %llu", (unsigned long long)at,
		   (unsigned long long)len);
	memset(o->now + at, (int)night_dice(n, 256), len);
	fd = open(o->dev ? o->dev : o->src, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(io_pwrite_full(fd, o->now + at, len, at), 0);
	assert_int_equal(fsync(fd), 0);
}

void night_other_make(struct night *n)
{
	struct night_other *o = &n->other;
	bool raw = night_dice(n, 2) == 0;
	const char *format = raw ? "raw" : n->r->format;

	o->size = (night_dice(n, OTHER_MAX / 4096) + 1) * 4096;
	o->now = mem_alloc(o->size);
	o->src = mem_printf("%s/other", n->r->dir);
	o->place = mem_printf("%s/other.place", n->r->dir);
	o->base = mem_printf("%s/%s-other.%s", o->place, n->r->machine, format);
	o->format = format;
	assert_int_equal(mkdir(o->place, 0700), 0);
	assert_int_equal(mount("none", o->place, "tmpfs", 0, OTHER_ROOM), 0);
	AUTO_FD fd = open(o->src, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, (off_t)o->size), 0);
	o->dev = n->dev && night_dice(n, 4) ? night_loop(o->src, 512) : NULL;
	n->r->also = o->dev ?
		json_pack("{s:{s:s,s:s,s:b}}", "other", "path", o->dev, "format", "raw", "copy", 1) :
		json_pack("{s:{s:s,s:s,s:b}}", "other", "image", o->src, "format", "raw", "copy", 1);
	json_object_set_new(json_object_get(n->r->more, "disks"), "other",
			    json_pack("{s:s,s:s}", "dir", o->place, "format", format));
	night_tell(n, "another disk: %s of %llu bytes, to %s in a file system of its own",
		   o->dev ? "device" : "raw", (unsigned long long)o->size, format);
	night_other_scribble(n);
}

void night_other_free(struct night *n)
{
	struct night_other *o = &n->other;

	if (!o->src)
		return;
	night_end_loop(&o->dev);
	assert_int_equal(umount(o->place), 0);
	free(o->now);
	free(o->sent);
	free(o->tried);
	free(o->src);
	free(o->place);
	free(o->base);
	json_decref(o->row);
	json_decref(o->spec);
}

/* ---- what is true of it -------------------------------------------------------------------- */

static uint8_t *copy_of_it(struct night *n)
{
	struct night_other *o = &n->other;
	AUTO_FREE char *raw = mem_printf("%s/other.seen", n->r->dir);
	const char *argv[] = { "qemu-img", "convert", "-f", o->format, "-O", "raw", o->base, raw,
		NULL };
	bool plain = strcmp(o->format, "raw") == 0;
	size_t got = 0;
	char *p;

	if (!plain)
		cv_run_ok(argv);
	p = io_read_file(AT_FDCWD, plain ? o->base : raw, OTHER_MAX * 2, &got);
	if (!p || got < o->size)
		night_broken(n, "the other disk's target has %zu bytes", got);
	return (uint8_t *)p;
}

static void assert_holds(struct night *n, const uint8_t *what, const char *fact)
{
	AUTO_FREE uint8_t *is = copy_of_it(n);

	if (memcmp(is, what, n->other.size) != 0)
		night_broken(n, "the other disk's target is not what was sent");
	night_assert_root(n, fact, "other",
			  &(struct night_bytes){ what, n->other.size, n->chunk });
}

void night_other_tried(struct night *n)
{
	if (n->other.src && !n->other.out)
		night_take(&n->other.tried, n->other.now, n->other.size);
}

/* What had come before, whatever came since, does not come again. */
static void assert_sent_once(struct night *n, const char *fact)
{
	struct night_other *o = &n->other;
	AUTO_FREE char *key = mem_printf("%s.other.changed", fact);

	if (o->sent && memcmp(o->sent, o->now, o->size) == 0 && jint(n->r->facts, key, 0) > 0)
		night_broken(n, "%lld bytes of the other disk are sent again",
			     (long long)jint(n->r->facts, key, 0));
}

void night_other_passed(struct night *n, const char *fact)
{
	if (!n->other.src || n->other.out)
		return;
	assert_holds(n, n->other.now, fact);
	assert_sent_once(n, fact);
	night_take(&n->other.sent, n->other.now, n->other.size);
}

/* Of one whose end was not told: it may be the one that was tried. */
void night_other_proven(struct night *n, const char *fact)
{
	struct night_other *o = &n->other;
	AUTO_FREE uint8_t *is = NULL;

	if (!o->src || !o->sent || o->out)
		return;
	is = copy_of_it(n);
	if (memcmp(is, o->sent, o->size) != 0)
		night_take(&o->sent, o->tried, o->size);
	assert_holds(n, o->sent, fact);
}

/* Rolled back: nothing of it is left. */
void night_other_gone(struct night *n)
{
	struct night_other *o = &n->other;

	if (!o->src)
		return;
	if (access(o->base, F_OK) == 0)
		night_broken(n, "an undo left '%s'", o->base);
	night_take(&o->sent, NULL, 0);
}
