/* SPDX-License-Identifier: Apache-2.0
 * imgkind - making images of every format: qemu-img does it, but for raw ones.
 */
#include "modules/lib/imgkind.h"

#include "engine/base/mem.h"
#include "engine/base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define GIB (1ull << 30)
#define CREATE_MS 60000

/* vpc: `force_size` keeps the size that was asked for, else it becomes one that cylinders,
 * heads and sectors can name. A vmdk counts its sectors in 32 bits, its tables among them;
 * a vhdx writes its tables by way of a log. */
static const struct img_kind kinds[] = {
	{ "raw", NULL, 0, true, false, true },
	{ "qcow2", "compat=1.1,lazy_refcounts=off,preallocation=off", 0, true, false, true },
	{ "vmdk", "subformat=monolithicSparse", 2040 * GIB, false, true, true },
	{ "vhdx", "subformat=dynamic", 64 * 1024 * GIB, false, false, false },
	{ "vpc", "subformat=dynamic,force_size=on", 2040 * GIB, false, true, true },
	{ "vdi", "static=off", 512 * 1024 * GIB, false, true, true },
};

const struct img_kind *img_kind(const char *format)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i].name, format) == 0)
			return &kinds[i];
	return NULL;
}

static int create_plain(const char *path, uint64_t size, struct err *e)
{
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_sys(e, "cannot create '%s'", path);
	if (ftruncate(fd, (off_t)size) < 0 || fsync(fd) < 0) {
		err_sys(e, "cannot create '%s' with %llu bytes", path,
			(unsigned long long)size);
		unlink(path);
		return -1;
	}
	return 0;
}

static int sync_file(const char *path, struct err *e)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? err_sys(e, "cannot sync '%s'", path) : 0;
}

int img_create(const char *path, const char *format, uint64_t size, struct err *e)
{
	const struct img_kind *kind = img_kind(format);
	AUTO_FREE char *bytes = mem_printf("%llu", (unsigned long long)size);
	const char *argv[] = { "qemu-img", "create", "-q", "-f", format, "-o",
			       kind ? kind->options : NULL, path, bytes, NULL };
	struct proc p = { .argv = argv, .timeout_ms = CREATE_MS };
	int rc;

	if (!kind)
		return err_set(e, ERR_STEP, "cannot create '%s': format '%s' is not supported",
			       path, format);
	if (!kind->options)
		return create_plain(path, size, e);
	/* qemu-img overwrites what is there: take the name first. */
	if (create_plain(path, 0, e) < 0)
		return -1;
	rc = proc_run(&p, e);
	proc_free(&p);
	if (rc < 0)
		err_wrap(e, "cannot create '%s'", path);
	else
		rc = sync_file(path, e);
	if (rc < 0)
		unlink(path);
	return rc;
}
