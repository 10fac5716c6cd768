/* SPDX-License-Identifier: Apache-2.0
 * diskmap - tables and file systems as JSON, and mounts by way of sysfs.
 */
#include "modules/lib/diskmap.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "modules/lib/parttab.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what is on it --------------------------------------------------------- */

static void set_or_null(json_t *o, const char *key, const char *s)
{
	jset(o, key, s && *s ? jtext(s, strlen(s)) : json_null());
}

static json_t *partition(const struct blk *whole, const struct part *p)
{
	json_t *o = json_object();
	struct fsinfo f = { 0 };
	struct blk b;

	if (blk_window(whole, p->start, p->size, &b, NULL) == 0)
		fsinfo_read(&b, &f);
	jset_int(o, "number", p->number);
	jset_int(o, "start", (int64_t)p->start);
	jset_int(o, "size", (int64_t)p->size);
	set_or_null(o, "type", p->type);
	set_or_null(o, "name", p->label);
	set_or_null(o, "fs", f.fs);
	set_or_null(o, "uuid", f.uuid);
	set_or_null(o, "partuuid", p->partuuid);
	set_or_null(o, "label", f.label);
	jset(o, "mount", json_null());
	return o;
}

int diskmap_read(struct disk *d, json_t *disk, struct err *e)
{
	struct blk whole = blk_of(d);
	AUTO_PARTTAB t = { 0 };
	json_t *parts = json_array();

	jset(disk, "partitions", parts);
	if (parttab_read(&whole, &t, e) < 0)
		return -1;
	jset_str(disk, "table", table_names[t.kind]);
	set_or_null(disk, "table_id", t.id);
	jset_bool(disk, "grub", t.grub);
	jset_bool(disk, "backup_table", t.backup);
	if (t.kind == TABLE_GPT && !d->block)	/* nothing else of a file tells its sectors */
		jset_int(disk, "sector", t.sector);
	for (size_t i = 0; i < t.count; i++)
		jadd(parts, partition(&whole, &t.parts[i]));
	if (t.kind == TABLE_NONE) {
		struct part all = { .size = whole.size };
		struct fsinfo f;

		fsinfo_read(&whole, &f);
		jset_bool(disk, "blank", f.blank);
		if (*f.fs)
			jadd(parts, partition(&whole, &all));
	}
	return 0;
}

/* ---- where it is mounted --------------------------------------------------- */

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw" */
static void take_mount(json_t *mounts, char *line)
{
	char *field[6], *save = NULL, *tail = strstr(line, " - ");
	json_t *m;

	if (!tail)
		return;
	*tail = 0;
	for (int i = 0; i < 6; i++)
		if (!(field[i] = strtok_r(i ? NULL : line, " ", &save)))
			return;
	if (strncmp(field[2], "0:", 2) == 0 || jfind(mounts, "dev", field[2]) ||
	    strcmp(field[3], "/") != 0)
		return;
	text_unescape(field[4]);
	m = json_object();
	jset_str(m, "dev", field[2]);
	jset(m, "dir", jtext(field[4], strlen(field[4])));
	jset(m, "fs", jtext(tail + 3, strcspn(tail + 3, " ")));
	jset_bool(m, "rw", strncmp(field[5], "rw", 2) == 0);
	jadd(mounts, m);
}

json_t *diskmap_mounts(void)
{
	AUTO_FREE char *text = io_read_file(AT_FDCWD, "/proc/self/mountinfo",
					    4 << 20, NULL);
	json_t *mounts = json_array();
	char *save = NULL;

	for (char *l = text ? strtok_r(text, "\n", &save) : NULL; l;
	     l = strtok_r(NULL, "\n", &save))
		take_mount(mounts, l);
	return mounts;
}

static char *sys_line(const char *path)
{
	char *s = io_read_file(AT_FDCWD, path, 4096, NULL);

	if (s)
		s[strcspn(s, "\n")] = 0;
	return s;
}

static const json_t *mount_of(const json_t *mounts, const char *dev)
{
	size_t i;
	json_t *m;

	json_array_foreach(mounts, i, m)
		if (dev && strcmp(jstr(m, "dev", ""), dev) == 0)
			return m;
	return NULL;
}

static bool is_root(const json_t *mount)
{
	return strcmp(jstr(mount, "dir", ""), "/") == 0;
}

/* The mount of what is built on the device in this sysfs directory: of several volumes on
 * one device the root, which tells whose machine this is. */
static const json_t *mount_above(const char *sys, const json_t *mounts, char **kind,
				 int depth)
{
	AUTO_FREE char *dir = mem_printf("%s/holders", sys);
	DIR *d = depth < 8 ? opendir(dir) : NULL;
	const json_t *found = NULL;

	for (struct dirent *de; d && !(found && is_root(found)) && (de = readdir(d)); ) {
		AUTO_FREE char *up = mem_printf("/sys/class/block/%s", de->d_name);
		AUTO_FREE char *devp = mem_printf("%s/dev", up);
		AUTO_FREE char *uuidp = mem_printf("%s/dm/uuid", up);
		AUTO_FREE char *dev = NULL, *uuid = NULL, *here = NULL;
		const json_t *m;

		if (de->d_name[0] == '.')
			continue;
		dev = sys_line(devp);
		uuid = sys_line(uuidp);
		here = uuid ? mem_strndup(uuid, strcspn(uuid, "-")) : mem_strdup("MD");
		m = mount_of(mounts, dev);
		if (!m)
			m = mount_above(up, mounts, &here, depth + 1);
		if (!m || (found && !is_root(m)))
			continue;
		found = m;
		free(*kind);
		*kind = here;
		here = NULL;
	}
	if (d)
		closedir(d);
	return found;
}

static void place_one(json_t *disk, json_t *part, const char *sys,
		      const json_t *mounts)
{
	AUTO_FREE char *devp = mem_printf("%s/dev", sys);
	AUTO_FREE char *dev = sys_line(devp);
	AUTO_FREE char *kind = NULL;
	const json_t *m = mount_of(mounts, dev);

	if (!m && (m = mount_above(sys, mounts, &kind, 0)))
		jset_str(part, "stack", kind);
	if (!m)
		return;
	jset(part, "mount", json_copy(jget(m, "dir")));
	jset_bool(disk, "mounted", true);
	if (jbool(m, "rw", false))
		jset_bool(disk, "mounted_rw", true);
}

/* The sysfs directory of partition `number`: the kernel says which it is. */
static char *partition_sys(const char *disk_sys, const char *kernel, int64_t number)
{
	AUTO_FREE char *plain = mem_printf("%s/%s%lld", disk_sys, kernel,
					   (long long)number);

	if (number == 0)
		return mem_strdup(disk_sys);
	return access(plain, F_OK) == 0 ? mem_strdup(plain)
		: mem_printf("%s/%sp%lld", disk_sys, kernel, (long long)number);
}

char *diskmap_place(json_t *disk, const char *path, const json_t *mounts)
{
	AUTO_FREE char *sys = disk_sys(path);
	const char *kernel;
	size_t i;
	json_t *part;

	if (!sys)
		return NULL;
	kernel = strrchr(sys, '/') + 1;
	json_array_foreach(jget(disk, "partitions"), i, part) {
		AUTO_FREE char *at = partition_sys(sys, kernel, jint(part, "number", 0));

		place_one(disk, part, at, mounts);
	}
	return mem_strdup(kernel);
}
