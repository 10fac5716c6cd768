/* SPDX-License-Identifier: Apache-2.0
 * imguse - who uses an image file of this host.
 */
#include "modules/lib/imguse.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MAPS_MAX (16u << 20)
#define BLIND (-1)		/* it could not be looked at: nobody knows */

static bool is_it(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* ---- processes ----------------------------------------------------------------------- */

/* 1, 0 or BLIND. */
static int has_open(const char *pid, const struct stat *image)
{
	AUTO_FREE char *path = mem_printf("/proc/%s/fd", pid);
	DIR *fds = opendir(path);
	struct dirent *fd;
	int found = 0;

	if (!fds)
		return errno == ENOENT || errno == ESRCH ? 0 : BLIND;
	while (!found && (fd = readdir(fds))) {
		struct stat st;

		found = fstatat(dirfd(fds), fd->d_name, &st, 0) == 0 && is_it(&st, image);
	}
	closedir(fds);
	return found;
}

/* "7f1c-7f1d rw-s 00000000 08:01 1234 /path": a mapping needs no descriptor. */
static bool has_mapped(const char *pid, const struct stat *image)
{
	AUTO_FREE char *path = mem_printf("/proc/%s/maps", pid);
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, MAPS_MAX, NULL);
	char *save = NULL;

	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		unsigned a = 0, b = 0;
		unsigned long long ino = 0;

		if (sscanf(line, "%*s %*s %*s %x:%x %llu", &a, &b, &ino) == 3 &&
		    ino == image->st_ino && makedev(a, b) == image->st_dev)
			return true;
	}
	return false;
}

/* Its number, 0 or BLIND. */
static pid_t process_of(const struct stat *image)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	bool blind = true;	/* until the first process is seen: others may be hidden */
	pid_t found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		pid_t pid = (pid_t)atoi(entry->d_name);
		int open = pid > 0 ? has_open(entry->d_name, image) : 0;

		if (open == 1 || (pid > 0 && has_mapped(entry->d_name, image)))
			found = pid;
		blind = (blind && pid != 1) || open == BLIND;
	}
	if (proc)
		closedir(proc);
	return found ? found : blind ? BLIND : 0;
}

static char *name_of(pid_t pid)
{
	AUTO_FREE char *path = mem_printf("/proc/%d/comm", (int)pid);
	char *name = io_read_file(AT_FDCWD, path, 64, NULL);

	if (name)
		name[strcspn(name, "\n")] = '\0';
	return name ? name : mem_strdup("?");
}

/* ---- loop devices ---------------------------------------------------------------------- */

/* The kernel holds it open itself: no process has to. The device says it best; its file's
 * name may be of another mount namespace. */
static int stands_on(const char *loop, const struct stat *image)
{
	AUTO_FREE char *path = mem_printf("/sys/block/%s/loop/backing_file", loop);
	AUTO_FREE char *node = mem_printf("/dev/%s", loop);
	AUTO_FREE char *file = io_read_file(AT_FDCWD, path, 8192, NULL);
	AUTO_FD fd = file ? open(node, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	struct loop_info64 info;
	struct stat st;

	if (!file)
		return 0;	/* it stands on nothing */
	if (fd >= 0 && ioctl(fd, LOOP_GET_STATUS64, &info) == 0)
		return info.lo_inode == image->st_ino &&
		       (dev_t)info.lo_device == image->st_dev;
	if (fd >= 0 && errno == ENXIO)
		return 0;	/* it was let go of just now */
	file[strcspn(file, "\n")] = '\0';
	return stat(file, &st) == 0 ? is_it(&st, image) : BLIND;
}

/* "loop3", "" for none; NULL when one could not be looked at. Owned. */
static char *loop_of(const struct stat *image)
{
	DIR *blocks = opendir("/sys/block");
	struct dirent *entry;
	char *found = NULL;
	bool blind = false;

	while (blocks && !found && (entry = readdir(blocks))) {
		int on = strncmp(entry->d_name, "loop", 4) == 0 ?
			 stands_on(entry->d_name, image) : 0;

		if (on == 1)
			found = mem_strdup(entry->d_name);
		blind = blind || on == BLIND;
	}
	if (blocks)
		closedir(blocks);
	return found ? found : blind ? NULL : mem_strdup("");
}

/* ---- all of them ------------------------------------------------------------------------ */

/* A lock by anybody, QEMU's own included, also from another namespace. */
static bool is_locked(const char *path)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	/* who cannot ask does not know */
	return fd < 0 || fcntl(fd, F_OFD_GETLK, &l) < 0 || l.l_type != F_UNLCK;
}

char *imguse_who(const char *path)
{
	AUTO_FREE char *loop = NULL, *name = NULL;
	struct stat image;
	pid_t pid;

	if (stat(path, &image) < 0)
		return mem_printf("nobody knows whom: it cannot be looked at (%s)",
				  strerror(errno));
	loop = loop_of(&image);
	if (loop && *loop)
		return mem_printf("the device /dev/%s", loop);
	pid = process_of(&image);
	if (pid > 0) {
		name = name_of(pid);
		return mem_printf("process %d (%s)", (int)pid, name);
	}
	if (pid < 0)
		return mem_strdup("nobody knows whom: the agent may not look at all "
				  "processes (become: sudo)");
	if (!loop)
		return mem_strdup("nobody knows whom: the agent may not look at all loop "
				  "devices (become: sudo)");
	return is_locked(path) ? mem_strdup("somebody who holds a lock on it") : NULL;
}
