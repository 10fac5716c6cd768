/* SPDX-License-Identifier: Apache-2.0
 * grow - a disk that is bigger at the target: what its owner then types in the guest.
 *
 * The base stays byte for byte the source's, or nothing could prove it: the partition
 * table does not know of the space behind it, and the copy of a GPT stays where it was.
 * The guest's own programs mend that in a moment, while it runs.
 */
#include "modules/lib/grow.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <string.h>

#define DOS_REACH (2ull << 40)	/* bytes that a DOS table can name, with 512-byte sectors */

static bool begins(const char *s, const char *head)
{
	return strncmp(s, head, strlen(head)) == 0;
}

/* The partition that lies last; NULL: none. */
static const json_t *last_partition(const json_t *disk)
{
	const json_t *last = NULL, *p;
	size_t i;

	json_array_foreach(jget(disk, "partitions"), i, p)
		if (!last || jint(p, "start", 0) > jint(last, "start", 0))
			last = p;
	return last;
}

/* "resize2fs /dev/DISK1": what makes the content of a partition as long as it is. */
static void add_inner(struct str *b, const json_t *part)
{
	const char *fs = jstr(part, "fs", "");
	AUTO_FREE char *dev = jint(part, "number", 0) ?
		mem_printf("/dev/DISK%lld", (long long)jint(part, "number", 0)) :
		mem_strdup("/dev/DISK");

	if (begins(fs, "ext"))
		str_addf(b, "resize2fs %s", dev);
	else if (strcmp(fs, "xfs") == 0)
		str_addf(b, "xfs_growfs %s", jstr(part, "mount", "MOUNTPOINT"));
	else if (strcmp(fs, "btrfs") == 0)
		str_addf(b, "btrfs filesystem resize max %s", jstr(part, "mount", "MOUNTPOINT"));
	else if (strcmp(fs, "LVM2_member") == 0)
		str_addf(b, "pvresize %s", dev);
	else
		str_addf(b, "grow what is in %s by its own program", dev);
}

static char *remedy(const json_t *disk)
{
	const json_t *last = last_partition(disk);
	const char *table = jstr(disk, "table", "none");
	AUTO_STR b = { 0 };

	str_add(&b, "in the guest, once it runs: ");
	if (strcmp(table, "gpt") == 0)
		str_add(&b, "sgdisk --move-second-header /dev/DISK; ");
	if (strcmp(table, "none") != 0 && last)
		str_addf(&b, "growpart /dev/DISK %lld; ", (long long)jint(last, "number", 0));
	if (last)
		add_inner(&b, last);
	else
		str_add(&b, "use it as you like");
	return str_take(&b);
}

void grow_tell(struct ctx *c, const char *name, const json_t *disk, uint64_t size)
{
	AUTO_FREE char *mend = remedy(disk);
	char from[24], to[24];

	text_size((uint64_t)jint(disk, "size", 0), from);
	text_size(size, to);
	ctx_finding(c, "info", "disk.grows", mend, "disk '%s' grows from %s to %s; its partition "
		    "table and file systems do not use the new space by themselves", name, from, to);
	if (strcmp(jstr(disk, "table", ""), "dos") == 0 && size > DOS_REACH)
		ctx_finding(c, "warning", "disk.dos-table", "make it no longer than 2 TiB, or turn "
			    "its table into a GPT (sgdisk -g) in the guest", "disk '%s' has a DOS "
			    "partition table, which reaches 2 TiB of its %s", name, to);
}
