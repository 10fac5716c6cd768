/* SPDX-License-Identifier: Apache-2.0
 * base_claim - whose an image file is that lies in a directory which others share.
 */
#include "modules/lib/base_claim.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define CLAIM_MAX 4096u

/* The directory, with its last slash; d->base is absolute. Owned. */
static char *folder_of(const struct layout_disk *d)
{
	return mem_strndup(d->base, (size_t)(strrchr(d->base, '/') + 1 - d->base));
}

static char *claim_of(const struct layout_disk *d)
{
	AUTO_FREE char *folder = folder_of(d);

	return mem_printf("%s.%s.drover", folder, strrchr(d->base, '/') + 1);
}

int base_claimed(const struct layout_disk *d, const char *tag, struct err *e)
{
	AUTO_FREE char *path = claim_of(d);
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, CLAIM_MAX, NULL);

	if (!text && errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, "cannot read '%s'", path);
	if (!text)
		return BASE_NOBODYS;
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, tag) == 0 ? BASE_OURS : BASE_OTHERS;
}

int base_claim_hold(const struct layout_disk *d, struct err *e)
{
	AUTO_FREE char *folder = folder_of(d);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, "cannot open directory '%s'", folder);
	while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
		;
	return fd;
}

int base_claim(const struct layout_disk *d, const char *tag, struct err *e)
{
	AUTO_FREE char *path = claim_of(d), *text = mem_printf("%s\n", tag);

	return io_write_file(AT_FDCWD, path, text, strlen(text), 0600) == 0 ? 0 :
		err_sys(e, "cannot write '%s'", path);
}

int base_unclaim(const struct layout_disk *d, struct err *e)
{
	AUTO_FREE char *path = claim_of(d), *half = mem_printf("%s.new", path);

	unlink(half);	/* of a claim that was cut off */
	if (unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, "cannot remove '%s'", path);
	return 0;
}
