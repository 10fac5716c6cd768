/* SPDX-License-Identifier: Apache-2.0
 * devstack - what lies on which disk, by sysfs.
 */
#include "modules/lib/devstack.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define STACK_MAX 8		/* devices on devices */

struct disks { const struct devstack_id *id; size_t n; };

static bool is_disk(const struct disks *d, dev_t dev, ino_t ino)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->id[i].dev == dev && d->id[i].ino == ino)
			return true;
	return false;
}

static char *sysfs(dev_t dev, const char *what)
{
	AUTO_FREE char *path = mem_printf("/sys/dev/block/%u:%u/%s", major(dev),
					  minor(dev), what);
	char *text = io_read_file(AT_FDCWD, path, 65536, NULL);

	if (text)
		text[strcspn(text, "\n")] = '\0';
	return text;
}

dev_t devstack_parse(const char *text)
{
	unsigned a = 0, b = 0;

	return text && sscanf(text, "%u:%u", &a, &b) == 2 ? makedev(a, b) : 0;
}

static bool on_disks(const struct disks *d, dev_t dev, int left, int *level);

static bool slaves_on_disks(const struct disks *d, dev_t dev, int left, int *level)
{
	AUTO_FREE char *path = mem_printf("/sys/dev/block/%u:%u/slaves", major(dev), minor(dev));
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		AUTO_FREE char *name = mem_printf("slaves/%s/dev", entry->d_name);
		AUTO_FREE char *text = entry->d_name[0] == '.' ? NULL : sysfs(dev, name);

		found = text && on_disks(d, devstack_parse(text), left - 1, level);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Levels are counted by the loops below. */
static bool loop_on_disks(const struct disks *d, dev_t dev, int left, int *level)
{
	AUTO_FREE char *file = sysfs(dev, "loop/backing_file");
	struct stat st;

	if (!file || stat(file, &st) < 0)
		return false;
	if (is_disk(d, st.st_dev, st.st_ino))
		return true;
	if (!on_disks(d, st.st_dev, left - 1, level))
		return false;
	++*level;
	return true;
}

static bool on_disks(const struct disks *d, dev_t dev, int left, int *level)
{
	AUTO_FREE char *part = NULL, *parent = NULL;

	if (left == 0 || dev == 0)
		return false;
	if (is_disk(d, dev, 0)) {
		loop_on_disks(d, dev, left, level);	/* one disk in a file on another */
		return true;
	}
	part = sysfs(dev, "partition");
	parent = part ? sysfs(dev, "../dev") : NULL;
	return (parent && on_disks(d, devstack_parse(parent), left - 1, level)) ||
	       slaves_on_disks(d, dev, left, level) || loop_on_disks(d, dev, left, level);
}

bool devstack_on(const struct devstack_id *disk, size_t n, dev_t dev, int *level)
{
	const struct disks d = { disk, n };
	int levels = 0;
	bool on = on_disks(&d, dev, STACK_MAX, &levels);

	if (level)
		*level += levels;
	return on;
}

int devstack_id(const char *path, struct devstack_id *id)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -1;
	*id = S_ISBLK(st.st_mode) ? (struct devstack_id){ st.st_rdev, 0 } :
		(struct devstack_id){ st.st_dev, st.st_ino };
	return 0;
}
