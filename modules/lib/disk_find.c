/* SPDX-License-Identifier: Apache-2.0
 * disk_find - from what a plan says to the device or file that stands there, and
 * what can be said of it without work.
 */
#include "modules/lib/disk.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/imgcheck.h"
#include "modules/lib/imgforeign.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* ---- finding ------------------------------------------------------------- */

/* One attribute of a block device in sysfs, without blanks at either end. */
static char *sys_attr(const char *dev, const char *attr)
{
	AUTO_FREE char *path = mem_printf("/sys/block/%s/%s", dev, attr);
	char *s = io_read_file(AT_FDCWD, path, 4096, NULL);
	size_t n, skip;

	if (!s)
		return NULL;
	skip = strspn(s, " \t\n");
	n = strlen(s + skip);
	while (n > 0 && strchr(" \t\n", s[skip + n - 1]))
		n--;
	memmove(s, s + skip, n);
	s[n] = '\0';
	return s;
}

/* The unit serial number page of a SCSI disk: 4 bytes of header, then text. */
static char *sys_page80(const char *dev)
{
	AUTO_FREE char *path = mem_printf("/sys/block/%s/device/vpd_pg80", dev);
	size_t n = 0, len;
	AUTO_FREE char *raw = io_read_file(AT_FDCWD, path, 4096, &n);
	char *s;

	if (!raw || n < 4)
		return NULL;
	len = (uint8_t)raw[3];
	len = len > n - 4 ? n - 4 : len;
	s = mem_strndup(raw + 4, len);
	memmove(s, s + strspn(s, " "), strlen(s + strspn(s, " ")) + 1);
	for (len = strlen(s); len > 0 && s[len - 1] == ' ';)
		s[--len] = '\0';
	return s;
}

static bool serial_is(const char *dev, const char *want)
{
	AUTO_FREE char *a = sys_attr(dev, "serial");
	AUTO_FREE char *b = sys_attr(dev, "device/serial");
	AUTO_FREE char *c = sys_page80(dev);

	return (a && strcmp(a, want) == 0) || (b && strcmp(b, want) == 0) ||
		(c && strcmp(c, want) == 0);
}

/* As udev would name it, where udev is not there to ask. */
static bool id_is(const char *dev, const char *want)
{
	AUTO_FREE char *w = sys_attr(dev, "wwid");
	AUTO_FREE char *v = sys_attr(dev, "device/wwid");
	const char *wwid = w ? w : v;

	if (strncmp(want, "wwn-0x", 6) == 0)
		return wwid && strncmp(wwid, "naa.", 4) == 0 &&
			strcmp(wwid + 4, want + 6) == 0;
	if (strncmp(want, "nvme-", 5) == 0)
		return wwid && strcmp(wwid, want + 5) == 0;
	if (strncmp(want, "virtio-", 7) == 0)
		return serial_is(dev, want + 7);
	return false;
}

char *disk_node(const char *kernel_name)
{
	char *path = mem_printf("/dev/%s", kernel_name);

	for (char *p = path; (p = strchr(p, '!'));)
		*p = '/';
	return path;
}

/* The one device of which `is` holds. */
static char *scan(const char *name, const char *kind, const char *want,
		  bool (*is)(const char *dev, const char *want), struct err *e)
{
	DIR *d = opendir("/sys/block");
	char *found = NULL;
	bool several = false;
	struct dirent *de;

	while (d && (de = readdir(d))) {
		if (de->d_name[0] == '.' || !is(de->d_name, want))
			continue;
		several = found != NULL;
		free(found);
		found = disk_node(de->d_name);
	}
	if (d)
		closedir(d);
	if (found && !several)
		return found;
	free(found);
	err_set(e, ERR_STEP, "cannot find disk '%s': %s disk here has the %s '%s'", name,
		several ? "more than one" : "no", kind, want);
	err_hint(e, several ? "name it by path" : "what is there: lsblk -do "
		 "NAME,SIZE,SERIAL,WWN, and ls -l /dev/disk/by-id");
	return NULL;
}

static char *by_id(const char *name, const char *id, struct err *e)
{
	char *path;

	if (strchr(id, '/')) {
		err_set(e, ERR_PLAN, "cannot find disk '%s': '%s' is no id", name, id);
		err_hint(e, "an id is a name in /dev/disk/by-id; a path goes in `path:`");
		return NULL;
	}
	path = mem_printf("/dev/disk/by-id/%s", id);
	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return scan(name, "id", id, id_is, e);
}

char *disk_find(const char *name, const json_t *spec, struct err *e)
{
	const char *id = jstr(spec, "id", NULL), *serial = jstr(spec, "serial", NULL);
	const char *path = jstr(spec, "path", jstr(spec, "image", NULL));

	if (id)
		return by_id(name, id, e);
	if (serial)
		return scan(name, "serial number", serial, serial_is, e);
	if (!path) {
		err_set(e, ERR_PLAN, "cannot find disk '%s': the plan does not say which it "
			"is", name);
		err_hint(e, "give it an id, path, serial or image");
		return NULL;
	}
	if (access(path, F_OK) == 0)
		return mem_strdup(path);
	err_set(e, ERR_STEP, "cannot find disk '%s': '%s': %s", name, path,
		strerror(errno));
	err_hint(e, "it is looked for on the source's host: is it attached, and the path right?");
	return NULL;
}

/* ---- which one it is ------------------------------------------------------- */

/* A whole disk, by the first of these that it has. */
static char *disk_identity(const char *dev)
{
	static const char *const attrs[] = { "dm/uuid", "md/uuid", "wwid", "device/wwid",
					     "serial", "device/serial", "loop/backing_file" };
	char *page, *gone;

	for (size_t i = 0; i < ARRAY_LEN(attrs); i++) {
		AUTO_FREE char *said = sys_attr(dev, attrs[i]);

		if (!said || !*said)
			continue;
		gone = strstr(said, " (deleted)");	/* of a loop's file: it is the same */
		if (gone && gone[10] == '\0')
			*gone = '\0';
		return mem_printf("%s:%s", attrs[i], said);
	}
	page = sys_page80(dev);
	if (page && *page) {
		AUTO_FREE char *serial = page;

		return mem_printf("serial:%s", serial);
	}
	free(page);
	return NULL;
}

char *disk_sys(const char *path)
{
	AUTO_FREE char *link = NULL;
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISBLK(st.st_mode))
		return NULL;
	link = mem_printf("/sys/dev/block/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	return realpath(link, NULL);
}

char *disk_device(const char *path)
{
	AUTO_FREE char *sys = disk_sys(path), *file = NULL, *number = NULL, *whole = NULL;

	if (!sys)
		return NULL;
	file = mem_printf("%s/partition", sys);
	number = io_read_file(AT_FDCWD, file, 32, NULL);
	if (!number)
		return disk_identity(strrchr(sys, '/') + 1);
	number[strcspn(number, "\n")] = '\0';
	*strrchr(sys, '/') = '\0';
	whole = disk_identity(strrchr(sys, '/') + 1);
	return whole ? mem_printf("%s, partition %s", whole, number) : NULL;
}

/* ---- looking ------------------------------------------------------------- */

/* QEMU says by a lock on this byte that it may write to the image; that nobody else may, also
 * one says that only reads it, such as ours. */
#define QEMU_LOCK_WRITE 101

static bool qemu_writes(int fd)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET,
		.l_start = QEMU_LOCK_WRITE, .l_len = 1 };

	return fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK;
}

static int block_info(int fd, const char *path, struct disk_info *i, struct err *e)
{
	int sector = 512;

	if (ioctl(fd, BLKGETSIZE64, &i->size) < 0 || ioctl(fd, BLKSSZGET, &sector) < 0)
		return err_sys(e, "cannot ask '%s' for its size", path);
	i->sector = (unsigned)sector;
	i->block = true;
	return 0;
}

/* Only who reads such an image knows its size: a vpc's depends on who made it. */
static int foreign_size(const char *path, const char *format, uint64_t *size, struct err *e)
{
	AUTO_DISK *d = disk_open_image(path, format, 0, e);

	if (!d)
		return -1;
	*size = d->size;
	return 0;
}

int disk_info(const char *path, const char *format, struct disk_info *i, struct err *e)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	*i = (struct disk_info){ .sector = 512 };
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "cannot open disk '%s'", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, ERR_STEP, "cannot open disk '%s': it is neither a file "
			       "nor a block device", path);
	if (S_ISBLK(st.st_mode) && block_info(fd, path, i, e) < 0)
		return -1;
	if (S_ISREG(st.st_mode)) {
		i->size = (uint64_t)st.st_size;
		i->used = (uint64_t)st.st_blocks * 512;
		i->busy = qemu_writes(fd);
	}
	if (imgforeign_is(format) && foreign_size(path, format, &i->size, e) < 0)
		return -1;
	if (strcmp(format, "qcow2") == 0 && imgcheck_qcow2(path, &i->size, e) < 0)
		return -1;
	if (i->used > i->size)
		i->used = i->size;
	if (i->size == 0)
		return err_set(e, ERR_STEP, "cannot use disk '%s': it is empty", path);
	return 0;
}
