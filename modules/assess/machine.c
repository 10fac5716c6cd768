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
#include "modules/lib/obstacles.h"
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
		ctx_finding_now(l->c, "warning", "disk.busy",
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
	return jfind(jget(disk, "partitions"), "type", type) != NULL;
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

/* Its files tell where its disks are mounted, and more of what stands in the way. */
static int look_files(struct look *l)
{
	AUTO_ERR e = { 0 };
	int roots = guestfs_find_mounts(l->machine, l->disks, &e);

	if (roots < 0)
		return ctx_fail_err(l->c, &e);
	obstacles_still(l->c, l->machine, l->disks, roots);
	return 0;
}

static int look_all(struct look *l)
{
	json_t *m = l->machine;
	bool live;

	if (look_domain(l) < 0 || look_disks(l) < 0)
		return -1;
	live = guestfs_mounted_at(m, "/", NULL) != NULL;
	jset_str(m, "kind", jstr(l->spec, "source.kind", "block"));
	jset_bool(m, "live", live);
	jset_str(m, "arch", hw_arch());
	if (live) {
		look_live(l);
		obstacles_live(l->c, m, l->mounts);
	} else {
		forget_mounts(m);
		look_said(l);
		if (look_files(l) < 0)
			return -1;
	}
	mark_boot_disk(m);
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
