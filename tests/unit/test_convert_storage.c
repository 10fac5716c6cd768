/* SPDX-License-Identifier: Apache-2.0
 * test_convert_storage - images on storage that fails beneath qemu-nbd: a write or a sync of it
 * ends in EIO. It is told, nothing is entered that is not there, and the same call goes on to
 * an equal copy.
 *
 * QEMU's own blkdebug is what fails, put there by a qemu-nbd of ours that comes first in PATH.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/map.h"
#include "tests/unit/convertrig.h"
#include "tests/unit/modtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* As the real one, but with what `fault` says between the image and its file. */
static const char wrapper[] =
	"#!/bin/sh\n"
	"real=%s fault=%s/fault\n"
	"[ -e $fault ] || exec $real \"$@\"\n"
	"for path; do :; done\n"
	"exec $real --image-opts --shared=1 -- \"driver=qcow2,file.driver=blkdebug,"
	"file.image.driver=file,file.image.filename=$path,$(cat $fault)\"\n";

static void put_program(struct rig *r, const char *name, const char *text)
{
	AUTO_FREE char *path = mem_printf("%s/bin/%s", r->dir, name);

	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0700), 0);
}

/* The sandbox shows qemu-nbd nothing but its image: without it ours is found. */
static int set_up(void **state)
{
	AUTO_FREE char *real = proc_which("qemu-nbd"), *text = NULL, *path = NULL, *bin = NULL;
	struct rig *r;

	cv_set_up(state);
	r = *state;
	bin = mem_printf("%s/bin", r->dir);
	assert_int_equal(mkdir(bin, 0700), 0);
	text = mem_printf(wrapper, real, r->dir);
	put_program(r, "qemu-nbd", text);
	put_program(r, "bwrap", "#!/bin/sh\nexit 1\n");
	path = mem_printf("%s:%s", bin, getenv("PATH"));
	assert_int_equal(setenv("PATH", path, 1), 0);
	return 0;
}

static int tear_down(void **state)
{
	char *path = strchr(getenv("PATH"), ':') + 1;
	AUTO_FREE char *before = mem_strdup(path);

	assert_int_equal(setenv("PATH", before, 1), 0);
	return cv_tear_down(state);
}

/* NULL: nothing fails any more. */
static void fail_by(struct rig *r, const char *rule)
{
	AUTO_FREE char *fault = mem_printf("%s/fault", r->dir);

	if (rule)
		assert_int_equal(io_write_file(AT_FDCWD, fault, rule, strlen(rule), 0600), 0);
	else
		assert_int_equal(unlink(fault), 0);
}

/* Chunks that the map of the base knows. */
static unsigned entered(struct rig *r)
{
	AUTO_MAP *m = map_open(r->map, false, NULL);
	uint8_t digest[SHA256_LEN];
	unsigned n = 0;

	for (uint64_t i = 0; m && i < (SIZE + MIB - 1) / MIB; i++)
		n += map_get(m, i, digest) != 0;
	return n;
}

/* What `event` begins is the first that fails, and the only one. */
static void storage_fails(struct rig *r, const char *event, const char *said)
{
	AUTO_FREE char *rule = mem_printf("file.inject-error.0.event=%s,"
					  "file.inject-error.0.errno=5,file.inject-error.0.once=on", event);
	AUTO_FREE char *begin = mem_printf("image '%s': %s", r->base, said);
	AUTO_JSON *out = NULL;

	fail_by(r, rule);
	out = cv_both(r, "convert.disks", NULL);
	fail_by(r, NULL);
	assert_false(jbool(out, "ok", true));
	if (!strstr(jstr(out, "error.text", ""), begin))
		fail_msg("'%s' is not in: %s", begin, jstr(out, "error.text", ""));
	assert_non_null(strstr(jstr(out, "error.text", ""), ": Input/output error"));
	assert_string_equal(jstr(out, "error.hint", ""), "have the storage there looked at, its host's "
			    "kernel log says more; the same command then goes on where it stopped");
}

static void goes_on(struct rig *r)
{
	cv_do_both(r, "convert.disks");
	cv_assert_same(r);
	cv_do_at(r, "target", "validate.disks", "apply");
}

static void a_write_that_fails_is_told_and_gone_on_with(void **s)
{
	storage_fails(*s, "write_aio", "cannot write at byte ");
	goes_on(*s);
}

static void of_a_sync_that_fails_nothing_is_entered(void **s)
{
	/* ours, or QEMU's own amid a write, when one table must be there before another */
	storage_fails(*s, "flush_to_os,file.inject-error.0.iotype=flush", "cannot ");
	assert_int_equal(entered(*s), 0);
	goes_on(*s);
}

int main(void)
{
#define ON(f, format) { #f "_as_" format, f, set_up, tear_down, (void *)(uintptr_t)format }
	const struct CMUnitTest tests[] = {
		ON(a_write_that_fails_is_told_and_gone_on_with, "qcow2"),
		ON(of_a_sync_that_fails_nothing_is_entered, "qcow2"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
