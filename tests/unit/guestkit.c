/* SPDX-License-Identifier: Apache-2.0
 * guestkit - making the guests that tests look into.
 */
#include "tests/unit/guestkit.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct kit *kit_new(void)
{
	struct kit *k = mem_alloc(sizeof(*k));

	strcpy(k->dir, "/tmp/drover-test.XXXXXX");
	assert_non_null(mkdtemp(k->dir));
	k->tree = mem_printf("%s/tree", k->dir);
	kit_clear(k);
	return k;
}

void kit_free(struct kit *k)
{
	for (int i = 0; i < k->count; i++)
		disk_close(&k->disks[i], NULL);
	for (int i = 0; i < k->images; i++)
		free(k->paths[i]);
	io_remove_tree(k->dir);
	free(k->tree);
	free(k);
}

void kit_clear(struct kit *k)
{
	io_remove_tree(k->tree);
	assert_int_equal(io_mkdirs(k->tree, 0755), 0);
}

static char *place(struct kit *k, const char *path)
{
	char *full = mem_printf("%s/%s", k->tree, path);
	AUTO_FREE char *dir = mem_strdup(full);

	*strrchr(dir, '/') = 0;
	assert_int_equal(io_mkdirs(dir, 0755), 0);
	return full;
}

void kit_bytes(struct kit *k, const char *path, const void *p, size_t n)
{
	AUTO_FREE char *full = place(k, path);

	assert_int_equal(io_write_file(AT_FDCWD, full, p, n, 0644), 0);
}

void kit_file(struct kit *k, const char *path, const char *text)
{
	kit_bytes(k, path, text, strlen(text));
}

void kit_link(struct kit *k, const char *path, const char *target)
{
	AUTO_FREE char *full = place(k, path);

	assert_int_equal(symlink(target, full), 0);
}

void kit_run(const char *const *argv, const char *input)
{
	struct proc p = { .argv = argv, .input = input,
			  .input_len = input ? strlen(input) : 0 };
	AUTO_ERR e = { 0 };
	int r = proc_run(&p, &e);

	if (r < 0)
		print_error("%s\n%s", e.what, p.out.s ? p.out.s : "");
	proc_free(&p);
	assert_int_equal(r, 0);
}

const char *kit_image(struct kit *k, const char *name, unsigned mib, uint64_t offset)
{
	char *path = mem_printf("%s/%s", k->dir, name);
	AUTO_FREE char *opts = mem_printf("offset=%llu,root_owner=0:0",
					  (unsigned long long)offset);
	AUTO_FREE char *size = mem_printf("%um", mib);
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	off_t end = (off_t)(offset + ((uint64_t)mib << 20));

	assert_true(fd >= 0 && k->images < 8);
	k->paths[k->images++] = path;
	if (lseek(fd, 0, SEEK_END) < end)
		assert_int_equal(ftruncate(fd, end), 0);
	kit_run((const char *[]){ "mke2fs", "-q", "-F", "-t", "ext4", "-E", opts, "-d",
				  k->tree, path, size, NULL }, NULL);
	return path;
}

void kit_fsck(struct kit *k, const char *name, uint64_t offset)
{
	AUTO_FREE char *at = mem_printf("%s/%s?offset=%llu", k->dir, name,
					(unsigned long long)offset);

	kit_run((const char *[]){ "e2fsck", "-f", "-n", at, NULL }, NULL);
}

struct gtree *kit_open_err(struct kit *k, const char *name, uint64_t offset, bool rw,
			   struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/%s", k->dir, name);
	struct disk *d = disk_open_image(path, "raw", rw ? DISK_WRITE : 0, e);
	struct gtree *t = NULL;
	struct blk whole, part;

	if (!d)
		return NULL;
	whole = blk_of(d);
	if (blk_window(&whole, offset, d->size - offset, &part, e) == 0)
		t = gtree_ext(&part, rw, e);
	if (!t) {
		disk_close(&d, NULL);
		return NULL;
	}
	assert_true(k->count < 8);
	k->disks[k->count++] = d;
	return t;
}

struct gtree *kit_open(struct kit *k, const char *name, uint64_t offset, bool rw)
{
	AUTO_ERR e = { 0 };
	struct gtree *t = kit_open_err(k, name, offset, rw, &e);

	if (!t)
		print_error("%s\n", e.what);
	assert_non_null(t);
	return t;
}
