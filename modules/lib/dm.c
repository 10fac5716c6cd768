/* SPDX-License-Identifier: Apache-2.0
 * dm - what the kernel's device mapper says of its devices.
 */
#include "modules/lib/dm.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define ANSWER 8192u		/* room for what a target says */

/* ---- by sysfs ---------------------------------------------------------------------- */

static char *uuid_at(const char *dir)
{
	AUTO_FREE char *file = mem_printf("%s/dm/uuid", dir);
	char *s = io_read_file(AT_FDCWD, file, 4096, NULL);

	if (s)
		s[strcspn(s, "\n")] = '\0';
	return s;
}

char *dm_uuid(const char *path)
{
	AUTO_FREE char *dir = disk_sys(path);

	return dir ? uuid_at(dir) : NULL;
}

char *dm_node(const char *uuid)
{
	DIR *d = opendir("/sys/block");
	char *found = NULL;
	struct dirent *de;

	while (d && !found && (de = readdir(d))) {
		AUTO_FREE char *dir = mem_printf("/sys/block/%s", de->d_name);
		AUTO_FREE char *is = strncmp(de->d_name, "dm-", 3) == 0 ? uuid_at(dir) : NULL;

		if (is && strcmp(is, uuid) == 0)
			found = mem_printf("/dev/%s", de->d_name);
	}
	if (d)
		closedir(d);
	return found;
}

/* ---- by asking it ------------------------------------------------------------------- */

int dm_open(struct err *e)
{
	int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);

	return fd < 0 ? err_sys(e, "cannot ask the device mapper") : fd;
}

/* The text behind the first target of an answer; NULL: it is not to be believed. */
static const char *text_of(const struct dm_ioctl *io)
{
	const char *at = (const char *)io + io->data_start;

	if (io->flags & DM_BUFFER_FULL_FLAG || io->target_count != 1 ||
	    io->data_start < sizeof(*io) ||
	    io->data_start + sizeof(struct dm_target_spec) >= ANSWER)
		return NULL;
	at += sizeof(struct dm_target_spec);
	return memchr(at, '\0', (size_t)((const char *)io + ANSWER - at)) ? at : NULL;
}

char *dm_status(int dm, const char *uuid, struct err *e)
{
	AUTO_FREE char *buf = mem_alloc(ANSWER);
	struct dm_ioctl *io = (struct dm_ioctl *)buf;
	const char *text;

	*io = (struct dm_ioctl){ .version = { DM_VERSION_MAJOR, 0, 0 }, .data_size = ANSWER,
		.data_start = sizeof(*io), .flags = DM_NOFLUSH_FLAG };
	snprintf(io->uuid, sizeof(io->uuid), "%s", uuid);
	if (ioctl(dm, DM_TABLE_STATUS, io) < 0) {
		err_sys(e, "cannot ask the device mapper for '%s'", uuid);
		return NULL;
	}
	text = text_of(io);
	if (!text)
		err_set(e, ERR_STEP, "cannot read what the device mapper says of '%s'", uuid);
	return mem_strdup(text);
}

bool dm_fill_of(const char *status, struct dm_fill *f)
{
	unsigned long long used, total;

	if (!status || sscanf(status, "%llu/%llu", &used, &total) != 2)
		return false;
	*f = (struct dm_fill){ used, total };
	return true;
}
