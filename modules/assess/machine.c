/* SPDX-License-Identifier: Apache-2.0
 * assess.machine - describe the machine that moves: firmware, CPUs, memory, disks
 * with what they hold, interfaces. Read only.
 *
 * A running source is asked itself. Of image files the tables and file systems are
 * read, and the rest is what the plan says; of a domain libvirt says it.
 */
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/diskmap.h"
#include "modules/lib/domain.h"
#include "modules/lib/guestfs.h"
#include "modules/lib/hw.h"
#include "modules/lib/parttab.h"
#include "modules/module.h"

#include <string.h>
#include <sys/statvfs.h>

static const struct param params[] = {
	{ 0 }
};

struct look {
	struct ctx *c;
	const json_t *spec;
	json_t *domain;			/* as libvirt describes it; NULL: not asked */
	json_t *machine;		/* stable part of the fact */
	json_t *used, *kernel_names;	/* volatile parts, by disk */
	json_t *mounts;			/* of this host */
	struct disk *disks[GUEST_DISKS_MAX];
	size_t count;
};

/* ---- disks ------------------------------------------------------------------ */

static void set_identity(json_t *disk, const json_t *said, const struct disk *d)
{
	static const char *const keys[] = { "id", "serial", "path", "image", "store" };
	AUTO_FREE char *device = disk_device(d->path);
	json_t *ids = json_object();

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (jstr(said, keys[i], NULL))
			jset_str(ids, keys[i], jstr(said, keys[i], NULL));
	jset(disk, "ids", ids);
	jset_str(disk, "path", d->path);
	jset_str(disk, "device", device);
	jset_str(disk, "kind", d->block ? "block" : "file");
	jset_str(disk, "format", jstr(said, "format", "raw"));
	jset_int(disk, "size", (int64_t)d->size);
	jset_int(disk, "sector", d->sector);
	jset_bool(disk, "copy", jbool(said, "copy", true));
}

static void look_use(struct look *l, const char *name, const struct disk *d,
		     const char *format)
{
	struct disk_info info;

	if (disk_info(d->path, format, &info, NULL) < 0)
		return;
	if (info.used)
		jset_int(l->used, name, (int64_t)info.used);
	if (info.busy)
		ctx_finding(l->c, "warning", "disk.busy",
			    "shut the machine down, or let cutover quiesce it",
			    "disk '%s' (%s) is in use by another program on the source",
			    name, d->path);
}

static int look_disk(struct look *l, const char *name, const json_t *said)
{
	AUTO_ERR e = { 0 };
	AUTO_FREE char *kernel = NULL;
	json_t *disk = json_object();
	struct disk *d = disk_open_source(name, said, DISK_LIVE, &e);

	jadd(jget(l->machine, "disks"), disk);
	jset_str(disk, "name", name);
	if (!d)
		return ctx_fail_err(l->c, &e);
	if (l->count >= GUEST_DISKS_MAX) {
		disk_close(&d, NULL);
		return ctx_fail(l->c, "cannot describe '%s': more than %d disks",
				ctx_machine_name(l->c), GUEST_DISKS_MAX);
	}
	l->disks[l->count++] = d;
	set_identity(disk, said, d);
	jset_bool(disk, "mounted", false);
	jset_bool(disk, "boot", false);
	if (diskmap_read(d, disk, &e) < 0)
		return ctx_fail_err(l->c, &e);
	kernel = diskmap_place(disk, d->path, l->mounts);
	if (kernel)
		jset_str(l->kernel_names, name, kernel);
	look_use(l, name, d, jstr(said, "format", "raw"));
	return 0;
}

/* A domain is asked for what the plan does not say. */
static int look_domain(struct look *l)
{
	const char *name = jstr(l->spec, "source.domain", "");
	AUTO_FREE char *virsh = NULL;
	AUTO_ERR e = { 0 };

	if (strcmp(jstr(l->spec, "source.kind", ""), "domain") != 0)
		return 0;
	virsh = proc_which("virsh");
	if (!virsh)
		return ctx_need_tool(l->c, "virsh");
	l->domain = domain_ask(name, &e);
	return l->domain ? 0 : ctx_fail_err(l->c, &e);
}

static int look_disks(struct look *l)
{
	json_t *said, *disks = jget(l->domain, "disks");
	const char *name;

	if (!disks)
		disks = jget(l->spec, "source.disks");
	jset(l->machine, "disks", json_array());
	if (json_object_size(disks) == 0)
		return ctx_fail(l->c, "cannot describe '%s': the plan names no disks "
				"of it", ctx_machine_name(l->c)),
		       ctx_hint(l->c, "name them under source.disks"), -1;
	json_object_foreach(disks, name, said)
		if (look_disk(l, name, said) < 0)
			return -1;
	return 0;
}

static bool has_type(const json_t *disk, const char *type)
{
	size_t i;
	json_t *part;

	json_array_foreach(jget(disk, "partitions"), i, part)
		if (strcmp(jstr(part, "type", ""), type) == 0)
			return true;
	return false;
}

/* The disk the firmware starts from: that of a boot loader, else that of the root. */
static void mark_boot_disk(json_t *machine)
{
	size_t i;
	json_t *disk, *boot = NULL, *root = NULL;

	guestfs_mounted_at(machine, "/", &root);
	json_array_foreach(jget(machine, "disks"), i, disk)
		if (!boot && (jbool(disk, "grub", false) || has_type(disk, GPT_ESP)))
			boot = disk;
	if (!boot)
		boot = root ? root : json_array_get(jget(machine, "disks"), 0);
	if (boot)
		jset_bool(boot, "boot", true);
}

/* ---- what is not a disk ----------------------------------------------------- */

static const char *image_firmware(const json_t *machine)
{
	const char *firmware = "bios";
	size_t i;
	json_t *disk;

	json_array_foreach(jget(machine, "disks"), i, disk) {
		if (has_type(disk, GPT_BIOS_BOOT) || jbool(disk, "grub", false))
			return "bios";
		if (has_type(disk, GPT_ESP) || has_type(disk, DOS_ESP))
			firmware = "uefi";
	}
	return firmware;
}

static json_t *said_nics(const json_t *spec)
{
	json_t *out = json_array(), *nic;
	const char *name;

	json_object_foreach(jget(spec, "source.nics"), name, nic) {
		json_t *o = json_object();

		jset_str(o, "name", name);
		jset_str(o, "mac", jstr(nic, "mac", NULL));
		jset(o, "addresses", json_array());
		jset(o, "gateway", json_null());
		jset_int(o, "mtu", jint(nic, "mtu", 1500));
		jset(o, "driver", json_null());
		jadd(out, o);
	}
	return out;
}

/* Of a device that is in use: what its mounted file systems hold. */
static uint64_t used_by_mounts(const json_t *disk)
{
	uint64_t used = 0;
	size_t i;
	json_t *part;

	json_array_foreach(jget(disk, "partitions"), i, part) {
		struct statvfs v;

		if (jstr(part, "mount", NULL) && statvfs(jstr(part, "mount", ""), &v) == 0)
			used += (uint64_t)(v.f_blocks - v.f_bfree) * v.f_frsize;
	}
	return used;
}

static void look_used(struct look *l)
{
	size_t i;
	json_t *disk;

	json_array_foreach(jget(l->machine, "disks"), i, disk) {
		uint64_t used = used_by_mounts(disk);

		if (used)
			jset_int(l->used, jstr(disk, "name", ""), (int64_t)used);
	}
}

static void look_live(struct look *l)
{
	json_t *m = l->machine;

	jset_str(m, "firmware", jstr(l->spec, "source.firmware", hw_firmware()));
	jset_int(m, "cpus", hw_cpus());
	jset_int(m, "memory", (int64_t)hw_memory());
	jset_str(m, "clock", hw_clock());
	jset(m, "system", hw_system());
	jset(m, "nics", hw_nics(jget(l->spec, "source.nics")));
	look_used(l);
}

static void look_said(struct look *l)
{
	json_t *m = l->machine, *d = l->domain;
	const char *firmware = jstr(d, "firmware", image_firmware(m));

	jset_str(m, "firmware", jstr(l->spec, "source.firmware", firmware));
	jset_int(m, "cpus", jint(l->spec, "source.cpus", jint(d, "cpus", 1)));
	jset_int(m, "memory", jint(l->spec, "source.memory", jint(d, "memory", 1 << 30)));
	jset_str(m, "arch", jstr(d, "arch", jstr(m, "arch", NULL)));
	jset_str(m, "clock", jstr(d, "clock", "utc"));
	jset(m, "system", json_null());
	jset(m, "nics", d ? domain_nics(d, l->spec) : said_nics(l->spec));
}

/* ---- findings ---------------------------------------------------------------- */

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

static void say_unsupported(struct look *l, const char *what, const json_t *disk,
			    const json_t *part, const char *words)
{
	ctx_finding(l->c, "blocker", "guest.root-unsupported",
		    "move it without reconfigure.guest (skip: true) and mend the guest "
		    "by hand, or wait for a release that can",
		    "%s lies in %s (disk '%s', partition %d): guest files in it cannot "
		    "be changed yet", what, words, jstr(disk, "name", "?"),
		    (int)jint(part, "number", 0));
}

static void find_root(struct look *l)
{
	json_t *disk = NULL, *part = guestfs_mounted_at(l->machine, "/", &disk);
	size_t i, k;

	if (part && jstr(part, "stack", NULL)) {
		say_unsupported(l, "the root", disk, part,
				words_for(jstr(part, "fs", "")) ?: "a stacked device");
		return;
	}
	if (part && !guestfs_is_ext(part))
		say_unsupported(l, "the root", disk, part,
				words_for(jstr(part, "fs", "")) ?: "an unknown file system");
	if (part)
		return;
	json_array_foreach(jget(l->machine, "disks"), i, disk)
		json_array_foreach(jget(disk, "partitions"), k, part) {
			const char *words = words_for(jstr(part, "fs", ""));

			if (words) {
				say_unsupported(l, "no root was found in the open; it "
						"probably", disk, part, words);
				return;
			}
		}
	ctx_finding(l->c, "blocker", "guest.no-root",
		    "name the disk with the system under source.disks",
		    "no disk of '%s' holds a root file system", ctx_machine_name(l->c));
}

static void find_on_disk(struct look *l, const json_t *disk)
{
	const char *name = jstr(disk, "name", "?");

	if (jbool(disk, "blank", false) && jbool(disk, "copy", true))
		ctx_finding(l->c, "warning", "disk.blank", "leave it out of the plan, or "
			    "say copy: false", "disk '%s' is blank", name);
	if (jbool(disk, "backup_table", false))
		ctx_finding(l->c, "warning", "disk.gpt-damaged",
			    "mend it with gdisk or sfdisk on the source",
			    "disk '%s': the GPT is damaged, its copy was read", name);
	if (jbool(disk, "mounted_rw", false))
		ctx_finding(l->c, "info", "disk.mounted", NULL,
			    "disk '%s' is mounted and written to while it is copied; "
			    "cutover quiesces it", name);
}

/* Of a domain's NIC the host knows the MAC only. */
static void find_nameless(struct look *l)
{
	size_t i;
	json_t *nic;

	json_array_foreach(jget(l->machine, "nics"), i, nic)
		if (!jbool(nic, "named", true))
			ctx_finding(l->c, "warning", "net.no-name", "say what it is called "
				    "there: source: { nics: { NAME: { mac: ... } } }",
				    "%s (%s): its name inside the machine is not known; it "
				    "may have another one at the target", jstr(nic, "name", "?"),
				    jstr(nic, "mac", "no MAC"));
}

static bool is_ours(const struct look *l, const char *dir)
{
	json_t *part = guestfs_mounted_at(l->machine, dir, NULL);

	return part != NULL;
}

/* What a running source has mounted from disks that stay behind. */
static void find_left_behind(struct look *l)
{
	size_t i;
	json_t *m;

	json_array_foreach(l->mounts, i, m)
		if (!is_ours(l, jstr(m, "dir", "")))
			ctx_finding(l->c, "warning", "disk.not-in-plan",
				    "name its disk under source.disks, with copy: false "
				    "if it stays",
				    "%s (%s) is mounted from a disk that the plan does "
				    "not name", jstr(m, "dir", "?"), jstr(m, "fs", "?"));
}

static bool is_dirty(struct disk *d, const json_t *part)
{
	struct blk whole = blk_of(d), b;
	struct fsinfo f = { 0 };

	if (blk_window(&whole, (uint64_t)jint(part, "start", 0),
		       (uint64_t)jint(part, "size", 0), &b, NULL) == 0)
		fsinfo_read(&b, &f);
	return f.dirty;
}

/* An image whose journal was not replayed: its machine runs, or died. */
static void find_dirty(struct look *l)
{
	size_t i, k;
	json_t *disk, *part;

	json_array_foreach(jget(l->machine, "disks"), i, disk)
		json_array_foreach(jget(disk, "partitions"), k, part)
			if (is_dirty(l->disks[i], part))
				ctx_finding(l->c, "info", "disk.journal", NULL, "disk '%s', "
					    "partition %d is in use or was not shut down: what "
					    "is read from it may be a little older than what its "
					    "machine sees", jstr(disk, "name", "?"),
					    (int)jint(part, "number", 0));
}

static int look_files(struct look *l)
{
	AUTO_ERR e = { 0 };
	int roots = guestfs_find_mounts(l->machine, l->disks, &e);

	if (roots < 0)
		return ctx_fail_err(l->c, &e);
	find_dirty(l);
	if (roots > 1)
		ctx_finding(l->c, "blocker", "guest.several-roots",
			    "name only the disks of one system",
			    "the disks of '%s' hold %d root file systems",
			    ctx_machine_name(l->c), roots);
	else
		find_root(l);
	return 0;
}

/* Where this host has mounted the disks of a machine that is not itself. */
static void forget_mounts(json_t *machine)
{
	size_t i, k;
	json_t *disk, *part;

	json_array_foreach(jget(machine, "disks"), i, disk)
		json_array_foreach(jget(disk, "partitions"), k, part) {
			jset(part, "mount", json_null());
			json_object_del(part, "stack");
		}
}

/* ---- the probe ---------------------------------------------------------------- */

static int look_all(struct look *l)
{
	json_t *m = l->machine;
	size_t i;
	json_t *disk;
	bool live;

	if (look_domain(l) < 0 || look_disks(l) < 0)
		return -1;
	live = guestfs_mounted_at(m, "/", NULL) != NULL;
	jset_str(m, "kind", jstr(l->spec, "source.kind", "block"));
	jset_bool(m, "live", live);
	jset_str(m, "arch", hw_arch());
	if (live) {
		look_live(l);
		find_root(l);
		find_left_behind(l);
	} else {
		forget_mounts(m);
		look_said(l);
		find_nameless(l);
		if (look_files(l) < 0)
			return -1;
	}
	mark_boot_disk(m);
	json_array_foreach(jget(m, "disks"), i, disk)
		find_on_disk(l, disk);
	return 0;
}

static int probe(struct ctx *c, enum probe_state *state)
{
	struct look l = { .c = c, .spec = ctx_machine(c), .machine = json_object(),
			  .used = json_object(), .kernel_names = json_object(),
			  .mounts = diskmap_mounts() };
	json_t *volatile_part = json_object();
	int r = look_all(&l);

	*state = STATE_DONE;
	for (size_t i = 0; i < l.count; i++)
		disk_close(&l.disks[i], NULL);
	json_decref(l.mounts);
	json_decref(l.domain);
	jset(volatile_part, "used", l.used);
	jset(volatile_part, "kernel_names", l.kernel_names);
	if (r == 0) {
		ctx_set_fact(c, "machine", l.machine, volatile_part);
		return 0;
	}
	json_decref(l.machine);
	json_decref(volatile_part);
	return -1;
}

static const char *const tools[] = { "qemu-nbd", "virsh", NULL };

const struct module module_assess_machine = {
	.name = "assess.machine",
	.summary = "describe the machine: firmware, disks, partitions, interfaces",
	.place = ON_SOURCE,
	.flags = MOD_READ_ONLY,
	.params = params,
	.tools = tools,
	.probe = probe,
};
