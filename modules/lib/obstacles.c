/* SPDX-License-Identifier: Apache-2.0
 * obstacles - what stands in the way of moving a machine, or has to be known before.
 */
#include "modules/lib/obstacles.h"

#include "engine/base/mem.h"
#include "modules/lib/devstack.h"
#include "modules/lib/guestfs.h"
#include "modules/lib/parttab.h"

#include <stdio.h>
#include <string.h>

/* What cannot be moved yet, in plain words. */
static const struct { const char *fs, *words; } not_yet[] = {
	{ "LVM2_member", "an LVM volume group" },
	{ "crypto_LUKS", "a LUKS container" },
	{ "linux_raid_member", "a software RAID" },
	{ "btrfs", "a btrfs file system" },
	{ "xfs", "an XFS file system" },
	{ "zfs_member", "a ZFS pool" },
	{ "ntfs", "an NTFS file system (Windows)" },
};

static const char *words_for(const char *fs)
{
	for (size_t i = 0; i < ARRAY_LEN(not_yet); i++)
		if (strcmp(not_yet[i].fs, fs) == 0)
			return not_yet[i].words;
	return NULL;
}

static void say_unsupported(struct ctx *c, const char *what, const json_t *disk,
			    const json_t *part, const char *words)
{
	ctx_finding(c, "blocker", "guest.root-unsupported",
		    "move it without reconfigure.guest (skip: true) and mend the guest "
		    "by hand, or wait for a release that can",
		    "%s lies in %s (disk '%s', partition %d): guest files in it cannot "
		    "be changed yet", what, words, jstr(disk, "name", "?"),
		    (int)jint(part, "number", 0));
}

static void find_root(struct ctx *c, const json_t *machine)
{
	json_t *disk = NULL, *part = guestfs_mounted_at(machine, "/", &disk);
	size_t i, k;

	if (part && jstr(part, "stack", NULL)) {
		say_unsupported(c, "the root", disk, part,
				words_for(jstr(part, "fs", "")) ?: "a stacked device");
		return;
	}
	if (part && !guestfs_is_ext(part))
		say_unsupported(c, "the root", disk, part,
				words_for(jstr(part, "fs", "")) ?: "an unknown file system");
	if (part)
		return;
	json_array_foreach(jget(machine, "disks"), i, disk)
		json_array_foreach(jget(disk, "partitions"), k, part) {
			const char *words = words_for(jstr(part, "fs", ""));

			if (words) {
				say_unsupported(c, "no root was found in the open; it "
						"probably", disk, part, words);
				return;
			}
		}
	ctx_finding(c, "blocker", "guest.no-root",
		    "name the disk with the system under source.disks",
		    "no disk of '%s' holds a root file system", ctx_machine_name(c));
}

static void find_on_disk(struct ctx *c, const json_t *disk)
{
	const char *name = jstr(disk, "name", "?");

	if (jbool(disk, "blank", false) && jbool(disk, "copy", true))
		ctx_finding(c, "warning", "disk.blank", "leave it out of the plan, or "
			    "say copy: false", "disk '%s' is blank", name);
	if (jbool(disk, "backup_table", false))
		ctx_finding(c, "warning", "disk.gpt-damaged",
			    "mend it with gdisk or sfdisk on the source",
			    "disk '%s': the GPT is damaged, its copy was read", name);
	if (jbool(disk, "mounted_rw", false))
		ctx_finding(c, "info", "disk.mounted", NULL,
			    "disk '%s' is mounted and written to while it is copied; "
			    "cutover quiesces it", name);
}

/* Of a domain's NIC the host knows the MAC only. */
static void find_nameless(struct ctx *c, const json_t *machine)
{
	size_t i;
	json_t *nic;

	json_array_foreach(jget(machine, "nics"), i, nic)
		if (!jbool(nic, "named", true))
			ctx_finding(c, "warning", "net.no-name", "say what it is called "
				    "there: source: { nics: { NAME: { mac: ... } } }",
				    "%s (%s): its name inside the machine is not known; it "
				    "may have another one at the target", jstr(nic, "name", "?"),
				    jstr(nic, "mac", "no MAC"));
}

/* What a running source has mounted from disks that stay behind. */
static void find_left_behind(struct ctx *c, const json_t *machine, const json_t *mounts)
{
	size_t i;
	json_t *m;

	json_array_foreach(mounts, i, m)
		if (!guestfs_mounted_at(machine, jstr(m, "dir", ""), NULL))
			ctx_finding(c, "warning", "disk.not-in-plan",
				    "name its disk under source.disks, with copy: false "
				    "if it stays",
				    "%s (%s) is mounted from a disk that the plan does "
				    "not name", jstr(m, "dir", "?"), jstr(m, "fs", "?"));
}

/* An image whose journal was not replayed: its machine runs, or died. */
static void find_dirty(struct ctx *c, const json_t *machine, struct disk *const *disks)
{
	size_t i, k;
	json_t *disk, *part;

	json_array_foreach(jget(machine, "disks"), i, disk)
		json_array_foreach(jget(disk, "partitions"), k, part) {
			char number[32] = "";	/* none: of a disk without a table */

			if (!fsinfo_dirty(disks[i], (uint64_t)jint(part, "start", 0),
					  (uint64_t)jint(part, "size", 0)))
				continue;
			if (jint(part, "number", 0) > 0)
				snprintf(number, sizeof(number), ", partition %d",
					 (int)jint(part, "number", 0));
			ctx_finding(c, "info", "disk.journal", NULL, "disk '%s'%s is in use or "
				    "was not shut down: what is read from it may be a little "
				    "older than what its machine sees", jstr(disk, "name", "?"),
				    number);
		}
}

/* Both are copied. */
static void compare(struct ctx *c, const json_t *top, const json_t *bottom)
{
	static const char remedy[] = "leave one of them out of the plan, or say copy: false of it";
	const char *name = jstr(top, "name", "?"), *path = jstr(top, "path", "");
	const char *under = jstr(bottom, "name", "?"), *below = jstr(bottom, "path", "");
	struct devstack_id t, b;

	if (devstack_id(path, &t) < 0 || devstack_id(below, &b) < 0)
		return;		/* who opens it says so */
	if (t.dev != b.dev || t.ino != b.ino) {
		if (devstack_on(&b, 1, t.dev, NULL))
			ctx_finding(c, "blocker", "disk.twice", remedy, "disk '%s' ('%s') lies on "
				    "disk '%s' ('%s'), which is copied whole as well: two copies of "
				    "the same bytes, of two instants", name, path, under, below);
	} else if (strcmp(name, under) < 0) {	/* once */
		ctx_finding(c, "blocker", "disk.twice", remedy, "disks '%s' ('%s') and '%s' ('%s') "
			    "are the same one", name, path, under, below);
	}
}

void obstacles_twice(struct ctx *c, const json_t *disks)
{
	const json_t *top, *bottom;
	size_t i, k;

	json_array_foreach(disks, i, top)
		json_array_foreach(disks, k, bottom)
			if (i != k && jbool(top, "copy", true) && jbool(bottom, "copy", true))
				compare(c, top, bottom);
}

static void find_on_disks(struct ctx *c, const json_t *machine)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(jget(machine, "disks"), i, disk)
		find_on_disk(c, disk);
	obstacles_twice(c, jget(machine, "disks"));
}

void obstacles_live(struct ctx *c, const json_t *machine, const json_t *mounts)
{
	find_root(c, machine);
	find_left_behind(c, machine, mounts);
	find_on_disks(c, machine);
}

void obstacles_still(struct ctx *c, const json_t *machine, struct disk *const *disks,
		     int roots)
{
	find_nameless(c, machine);
	find_dirty(c, machine, disks);
	if (roots > 1)
		ctx_finding(c, "blocker", "guest.several-roots",
			    "name only the disks of one system",
			    "the disks of '%s' hold %d root file systems",
			    ctx_machine_name(c), roots);
	else
		find_root(c, machine);
	find_on_disks(c, machine);
}
