/* SPDX-License-Identifier: Apache-2.0
 * assess.guest - look into the guest: system, kernels and their drivers, boot loader,
 * file systems, network, services. Read only: from the live root of a running source,
 * or from the files in its images.
 */
#include "engine/base/mem.h"
#include "modules/lib/devname.h"
#include "modules/lib/fstab.h"
#include "modules/lib/guestfs.h"
#include "modules/lib/guestlook.h"
#include "modules/lib/netconf.h"
#include "modules/module.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct param params[] = {
	{ 0 }
};

/* ---- the fact -------------------------------------------------------------------- */

static json_t *look_root(const json_t *machine)
{
	json_t *disk = NULL, *part = guestfs_mounted_at(machine, "/", &disk);
	json_t *o = json_object();

	jset_str(o, "disk", jstr(disk, "name", NULL));
	jset_int(o, "partition", jint(part, "number", 0));
	jset_str(o, "fs", jstr(part, "fs", NULL));
	jset_str(o, "uuid", jstr(part, "uuid", NULL));
	return o;
}

static json_t *look_fstab(struct gtree *t)
{
	AUTO_FREE char *text = gtree_read(t, "/etc/fstab", GTREE_FILE_MAX, NULL);

	return fstab_parse(text ? text : "");
}

/* "  0: 0100007F:0016 00000000:0000 0A ..." */
static void take_socket(json_t *out, const char *line, const char *proto)
{
	unsigned long addr, port, state;
	char *text;

	if (sscanf(line, " %*u: %*[0-9A-F]:%lx %*[0-9A-F]:%*x %lx", &port, &state) != 2 ||
	    state != 0x0a)
		return;
	if (sscanf(line, " %*u: %8lx:", &addr) != 1)
		return;
	text = mem_printf("%s:%lu%s", proto, port,
			  strcmp(proto, "tcp") == 0 && (addr & 0xff) == 127 ? " local" : "");
	for (size_t i = 0; i < json_array_size(out); i++)
		if (strcmp(json_string_value(json_array_get(out, i)), text) == 0) {
			free(text);
			return;
		}
	jadd(out, json_string(text));
	free(text);
}

static json_t *look_listening(struct gtree *t)
{
	static const struct { const char *path, *proto; } tables[] = {
		{ "/proc/net/tcp", "tcp" }, { "/proc/net/tcp6", "tcp6" },
	};
	json_t *out = json_array();

	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		/* /proc/net is a link to self/net, which this process resolves. */
		AUTO_FREE char *text = gtree_read(t, tables[i].path, 4 << 20, NULL);
		char *save = NULL;

		for (char *l = text ? strtok_r(text, "\n", &save) : NULL; l;
		     l = strtok_r(NULL, "\n", &save))
			take_socket(out, l, tables[i].proto);
	}
	return out;
}

/* ---- findings ---------------------------------------------------------------------- */

static char *driver_remedy(const json_t *guest, const char *version)
{
	const char *family = jstr(guest, "os.family", "");

	if (strcmp(family, "debian") == 0)
		return mem_printf("on the source: printf 'virtio_pci\\nvirtio_blk\\n' >> "
				  "/etc/initramfs-tools/modules && update-initramfs -u -k %s",
				  version);
	return mem_printf("on the source: dracut -f --add-drivers 'virtio_pci virtio_blk "
			  "virtio_net' --kver %s", version);
}

static void find_driver(struct ctx *c, const json_t *guest, const json_t *k, bool newest)
{
	const char *version = jstr(k, "version", "?");
	AUTO_FREE char *mend = driver_remedy(guest, version);

	if (jbool(k, "virtio", false))
		return;
	if (json_is_null(jget(k, "virtio")))
		ctx_finding(c, "unknown", "guest.initramfs", mend,
			    "whether kernel %s finds a virtio disk cannot be told: the "
			    "initramfs %s: %s", version, jstr(k, "initrd", "?"),
			    jstr(k, "why", "?"));
	else if (jbool(k, "sata", false) || !newest)
		ctx_finding(c, "warning", "guest.no-virtio", mend,
			    "kernel %s has no virtio_blk and virtio_pci at hand when it "
			    "starts: at the target its disks cannot be virtio", version);
	else
		ctx_finding(c, "blocker", "guest.no-virtio", mend,
			    "kernel %s would not find its disk at the target: neither the "
			    "initramfs nor the kernel has virtio_blk and virtio_pci", version);
}

static void find_kernels(struct ctx *c, const json_t *guest)
{
	json_t *kernels = jget(guest, "kernels"), *k;
	size_t i;

	if (json_array_size(kernels) == 0)
		ctx_finding(c, "blocker", "guest.no-kernel", "install a kernel package on the "
			    "source", "the guest has no kernel in /boot");
	json_array_foreach(kernels, i, k)
		find_driver(c, guest, k, i == 0);
	if (strcmp(jstr(guest, "boot.loader", "unknown"), "unknown") == 0)
		ctx_finding(c, "unknown", "guest.no-boot-loader",
			    "see how it boots; the target starts it from its first disk",
			    "no configuration of a boot loader was found in the guest");
}

static void find_fstab(struct ctx *c, const json_t *guest, const json_t *machine)
{
	size_t i;
	json_t *entry;

	json_array_foreach(jget(guest, "fstab"), i, entry) {
		const char *spec = jstr(entry, "spec", "");
		int line = (int)jint(entry, "line", 0);

		if (!devname_is_unstable(spec))
			continue;
		if (devname_partition(machine, spec) || devname_disk(machine, spec))
			ctx_finding(c, "info", "guest.fstab", NULL, "/etc/fstab line %d names "
				    "%s: reconfigure.guest will write its UUID", line, spec);
		else
			ctx_finding(c, "warning", "guest.fstab-unknown",
				    "name its disk in the plan, or take the line out of the "
				    "guest's fstab", "/etc/fstab line %d names %s, which is no "
				    "partition of the disks in the plan", line, spec);
	}
}

/* What a guest needs free so that changing it cannot fill it up. */
static const struct { const char *dir; uint64_t need; } room[] = {
	{ "/", 100 << 20 }, { "/boot", 50 << 20 },
};

static void find_space(struct ctx *c, struct gtree *t, const json_t *machine)
{
	for (size_t i = 0; i < ARRAY_LEN(room); i++) {
		struct gspace s;

		if (!guestfs_mounted_at(machine, room[i].dir, NULL) ||
		    gtree_space(t, room[i].dir, &s) < 0)
			continue;
		if (s.free < room[i].need || s.inodes_free < 100)
			ctx_finding(c, "warning", "guest.space", "free space on the source",
				    "%s of the guest has %llu MiB and %llu inodes free; %llu "
				    "MiB and 100 are wanted", room[i].dir,
				    (unsigned long long)(s.free >> 20),
				    (unsigned long long)s.inodes_free,
				    (unsigned long long)(room[i].need >> 20));
	}
}

static void find_crypttab(struct ctx *c, const json_t *guest)
{
	if (json_array_size(jget(guest, "crypttab")))
		ctx_finding(c, "warning", "guest.crypttab", "have the pass phrases at hand: the "
			    "target asks for them on its console",
			    "the guest opens encrypted devices when it starts");
}

/* ---- the probe -------------------------------------------------------------------------- */

static int need_machine(struct ctx *c)
{
	ctx_fail(c, "cannot look into the guest: fact 'machine' is not known");
	ctx_hint(c, "put assess.machine before this step");
	return -1;
}

static int probe(struct ctx *c, enum probe_state *state)
{
	const json_t *machine = ctx_fact(c, "machine");
	AUTO_GUESTFS g = { 0 };
	AUTO_ERR e = { 0 };
	json_t *o, *v;

	*state = STATE_DONE;
	if (!machine)
		return need_machine(c);
	if (guestfs_open(ctx_machine(c), machine, &g, &e) < 0)
		return ctx_fail_err(c, &e);
	o = json_object();
	v = json_object();
	jset(o, "os", guestlook_os(g.tree));
	jset(o, "root", look_root(machine));
	jset(o, "kernels", guestlook_kernels(g.tree));
	jset(o, "boot", guestlook_boot(g.tree));
	jset(o, "fstab", look_fstab(g.tree));
	jset(o, "crypttab", guestlook_crypttab(g.tree));
	jset(o, "network", netconf_read(g.tree));
	jset(o, "services", guestlook_services(g.tree));
	jset(v, "listening", g.live ? look_listening(g.tree) : json_array());
	find_kernels(c, o);
	find_fstab(c, o, machine);
	find_space(c, g.tree, machine);
	find_crypttab(c, o);
	ctx_set_fact(c, "guest", o, v);
	return 0;
}

static const char *const wants[] = { "machine", NULL };
static const char *const tools[] = { "qemu-nbd", NULL };

const struct module module_assess_guest = {
	.name = "assess.guest",
	.summary = "look into the guest: system, kernels, boot loader, network",
	.place = ON_SOURCE,
	.flags = MOD_READ_ONLY,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
};
