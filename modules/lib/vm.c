/* SPDX-License-Identifier: Apache-2.0
 * vm - from facts and plan to a definition.
 */
#include "modules/lib/vm.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define GUID_BIOS_BOOT "21686148-6449-6e6f-744e-656564454649"
#define GUID_ESP "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
#define MIB (1024 * 1024)

void vm_tap_name(const char *prefix, const char *machine, const char *nic, char out[16])
{
	AUTO_FREE char *what = mem_printf("%s/%s", machine, nic);
	char hex[SHA256_HEX];

	sha256_hex(what, strlen(what), hex);
	snprintf(out, 16, "%.3s%.10s", prefix, hex);
}

/* A uuid and a MAC that are the same whenever they are asked for. */
static void make_uuid(const struct vm_from *from, const char *name, char out[40])
{
	AUTO_FREE char *what = mem_printf("%s/%s", from->lineage ? from->lineage : "", name);
	char h[SHA256_HEX];

	sha256_hex(what, strlen(what), h);
	snprintf(out, 40, "%.8s-%.4s-4%.3s-8%.3s-%.12s", h, h + 8, h + 13, h + 17, h + 20);
}

static char *make_mac(const char *machine, const char *nic)
{
	AUTO_FREE char *what = mem_printf("%s/%s/mac", machine, nic);
	uint8_t d[SHA256_LEN];

	sha256_of(what, strlen(what), d);
	return mem_printf("52:54:00:%02x:%02x:%02x", d[0], d[1], d[2]);
}

static bool mac_ok(const char *mac)
{
	unsigned b[6];
	int end = 0;

	return strlen(mac) == 17 && sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1],
					   &b[2], &b[3], &b[4], &b[5], &end) == 6 &&
	       end == 17 && !(b[0] & 1);
}

/* What the plan says of the target, else of the source, else what was found. */
static int64_t amount(const struct vm_from *from, const char *key, int64_t dflt)
{
	int64_t v = jint(jget(from->machine, "target"), key, 0);

	if (!v)
		v = jint(jget(from->machine, "source"), key, 0);
	if (!v)
		v = jint(from->fact, key, 0);
	return v > 0 ? v : dflt;
}

/* A partition table tells how the machine was booted, where nothing else does. */
static const char *firmware_by_table(const json_t *disks)
{
	const char *found = "bios";
	const json_t *disk, *part;
	size_t i, k;

	json_array_foreach(disks, i, disk) {
		if (strcmp(jstr(disk, "table", ""), "gpt") != 0)
			continue;
		json_array_foreach(jget(disk, "partitions"), k, part) {
			if (strcasecmp(jstr(part, "type", ""), GUID_BIOS_BOOT) == 0)
				return "bios";
			if (strcasecmp(jstr(part, "type", ""), GUID_ESP) == 0)
				found = "uefi";
		}
	}
	return found;
}

static const char *firmware(const struct vm_from *from)
{
	const char *said = jstr(from->machine, "source.firmware", NULL);

	if (!said)
		said = jstr(from->fact, "firmware", NULL);
	if (said && (strcmp(said, "uefi") == 0 || strcmp(said, "bios") == 0))
		return said;
	return firmware_by_table(jget(from->fact, "disks"));
}

/* Can any of its kernels drive virtio? Unknown counts as yes: they all do since
 * 2.6.25. */
static bool has_virtio(const json_t *guest)
{
	const json_t *kernels = jget(guest, "kernels"), *k;
	size_t i;

	if (json_array_size(kernels) == 0)
		return true;
	json_array_foreach(kernels, i, k)
		if (jbool(k, "virtio", true))
			return true;
	return false;
}

static const struct { const char *id; int below; } old_systems[] = {
	{ "rhel", 5 }, { "centos", 5 }, { "sles", 10 }, { "debian", 5 }, { "windows", 6 },
};

/* Systems from before PCI Express was common boot from the older chip set only. */
static const char *chipset(const json_t *guest)
{
	const char *id = jstr(guest, "os.id", "");
	int version = atoi(jstr(guest, "os.version", "0"));

	for (size_t i = 0; i < ARRAY_LEN(old_systems); i++)
		if (strcmp(id, old_systems[i].id) == 0 && version > 0 &&
		    version < old_systems[i].below)
			return "pc";
	return "q35";
}

/* Its tables count in sectors of the source: the guest must see the same. QEMU's SATA disks
 * have sectors of 512 bytes only. */
static int sector_of(const struct vm_from *from, const char *name, bool virtio, int64_t *sector,
		     struct err *e)
{
	*sector = jint(jfind(jget(from->fact, "disks"), "name", name), "sector", 512);
	if (virtio || *sector <= 512)
		return 0;
	err_set(e, ERR_STEP, "cannot define '%s': disk '%s' has sectors of %lld bytes, which only a "
		"virtio disk can have, and none of the guest's kernels drives one",
		jstr(from->machine, "name", ""), name, (long long)*sector);
	return err_hint(e, "install a kernel with virtio_blk in the guest first");
}

static int add_disk(const struct vm_from *from, const char *name, bool virtio,
		    bool first, json_t *disks, struct err *e)
{
	const json_t *fact = json_object_get(from->disks, name);
	AUTO_LAYOUT_DISK place = {0};
	int64_t sector;
	json_t *d;

	if (layout_of_disk(from->machine, name, &place, e) < 0 ||
	    sector_of(from, name, virtio, &sector, e) < 0)
		return -1;
	d = json_object();
	jset_str(d, "name", name);
	jset_str(d, "path", place.overlay);
	jset_str(d, "format", "qcow2");
	jset_str(d, "base", jstr(fact, "path", place.base));
	jset_str(d, "base_format", jstr(fact, "format", place.format));
	jset_str(d, "bus", virtio ? "virtio" : "sata");
	if (sector > 512)
		jset_int(d, "sector", sector);
	if (first)
		json_array_insert_new(disks, 0, d);
	else
		jadd(disks, d);
	return 0;
}

static int add_disks(const struct vm_from *from, bool virtio, json_t *disks,
		     struct err *e)
{
	json_t *wanted = jget(from->machine, "source.disks"), *spec, *found;
	const json_t *known = jget(from->fact, "disks");
	const char *name;
	size_t i;

	/* in the order in which the machine has them, the boot disk first */
	json_array_foreach(known, i, found) {
		name = jstr(found, "name", "");
		spec = json_object_get(wanted, name);
		if (spec && layout_copies(spec) &&
		    add_disk(from, name, virtio, jbool(found, "boot", false), disks, e) < 0)
			return -1;
	}
	json_object_foreach(wanted, name, spec)
		if (layout_copies(spec) && !jfind(known, "name", name) &&
		    add_disk(from, name, virtio, false, disks, e) < 0)
			return -1;
	if (json_array_size(disks))
		return 0;
	err_set(e, ERR_STEP, "cannot define '%s': it has no disk that is copied",
		jstr(from->machine, "name", ""));
	return err_hint(e, "name its disks in the plan: source: { disks: { root: ... } }");
}

/* The plan's word, mapped; else what the plan maps the NIC or its old network to. */
static const char *network_of(const struct vm_from *from, const char *nic)
{
	const json_t *maps = jget(from->machine, "maps.networks");
	const char *net = jstr(json_object_get(jget(from->machine, "target.nics"), nic),
			       "network", NULL);
	const char *old = jstr(jfind(jget(from->fact, "nics"), "name", nic), "network", NULL);
	const json_t *mapped = json_object_get(maps, net ? net : nic);

	if (!net && !mapped && old)
		mapped = json_object_get(maps, old);

	return json_is_string(mapped) ? json_string_value(mapped) : net;
}

/* Where it answers: as the plan wants it, as its own configuration says, as it was
 * seen on the running source. */
static void add_address(const struct vm_from *from, const json_t *want, const char *nic,
			json_t *n)
{
	const json_t *guest = jfind(jget(from->guest, "network.interfaces"), "name", nic);
	const json_t *seen = jfind(jget(from->fact, "nics"), "name", nic);
	const char *first = json_string_value(json_array_get(jget(seen, "addresses"), 0));
	const char *address = jstr(want, "address", jstr(guest, "address", first));
	const char *gateway = jstr(want, "gateway", jstr(guest, "gateway",
							 jstr(seen, "gateway", NULL)));

	if (address)
		jset_str(n, "address", address);
	if (gateway)
		jset_str(n, "gateway", gateway);
}

static int add_nic(const struct vm_from *from, const char *nic, bool virtio,
		   json_t *nics, json_t *left_out, struct err *e)
{
	const json_t *want = json_object_get(jget(from->machine, "target.nics"), nic);
	const json_t *found = jfind(jget(from->fact, "nics"), "name", nic);
	const json_t *told = json_object_get(jget(from->machine, "source.nics"), nic);
	const char *machine = jstr(from->machine, "name", "");
	const char *net = network_of(from, nic), *mac = jstr(want, "mac", "keep");
	AUTO_FREE char *made = make_mac(machine, nic);
	char tap[16];
	json_t *n;

	if (!net) {
		jadd(left_out, json_string(nic));
		return 0;
	}
	if (strcmp(mac, "keep") == 0)
		mac = jstr(told, "mac", jstr(found, "mac", made));
	if (!mac_ok(mac))
		return err_set(e, ERR_PLAN, "cannot give NIC '%s' the MAC '%s': it is no "
			       "unicast address", nic, mac);
	vm_tap_name("drv", machine, nic, tap);
	n = json_object();
	jset_str(n, "name", nic);
	jset_str(n, "mac", mac);
	jset_str(n, "network", net);
	jset_str(n, "model", virtio ? "virtio" : "e1000");
	jset_str(n, "tap", tap);
	add_address(from, want, nic, n);
	jadd(nics, n);
	return 0;
}

static int add_nics(const struct vm_from *from, bool virtio, json_t *nics,
		    json_t *left_out, struct err *e)
{
	json_t *wanted = jget(from->machine, "target.nics"), *spec;
	const json_t *known = jget(from->fact, "nics"), *found;
	const char *name;
	size_t i;

	json_array_foreach(known, i, found)
		if (add_nic(from, jstr(found, "name", ""), virtio, nics, left_out, e) < 0)
			return -1;
	json_object_foreach(wanted, name, spec)
		if (!jfind(known, "name", name) &&
		    add_nic(from, name, virtio, nics, left_out, e) < 0)
			return -1;
	return 0;
}

json_t *vm_define(const struct vm_from *from, json_t *left_out, struct err *e)
{
	const char *name = jstr(from->machine, "name", "");
	const char *arch = jstr(from->fact, "arch", "x86_64");
	bool virtio = has_virtio(from->guest);
	AUTO_JSON *def = json_object();
	json_t *disks = json_array(), *nics = json_array();
	char uuid[40];

	jset(def, "disks", disks);
	jset(def, "nics", nics);
	if (strcmp(arch, "x86_64") != 0) {
		err_set(e, ERR_STEP, "cannot define '%s': its architecture is '%s'", name, arch);
		err_hint(e, "only x86_64 machines can be defined");
		return NULL;
	}
	if (add_disks(from, virtio, disks, e) < 0 ||
	    add_nics(from, virtio, nics, left_out, e) < 0)
		return NULL;
	make_uuid(from, name, uuid);
	jset_str(def, "name", name);
	jset_str(def, "uuid", uuid);
	jset_str(def, "arch", arch);
	jset_str(def, "machine", chipset(from->guest));
	jset_str(def, "accel", from->kvm ? "kvm" : "tcg");
	jset_str(def, "firmware", firmware(from));
	jset_int(def, "cpus", amount(from, "cpus", 1));
	jset_int(def, "memory", (amount(from, "memory", 1024 * MIB) + MIB - 1) / MIB * MIB);
	jset_str(def, "clock", strcmp(jstr(from->fact, "clock", "utc"), "localtime") == 0 ?
		 "localtime" : "utc");
	jset_strf(def, "dir", "/run/drover/%s", name);
	jset_strf(def, "console", "/run/drover/%s/console.sock", name);
	jset_strf(def, "monitor", "/run/drover/%s/qmp.sock", name);
	return json_incref(def);
}

static const char *first_there(const char *const *paths)
{
	for (; *paths; paths++)
		if (access(*paths, R_OK) == 0)
			return *paths;
	return NULL;
}

const char *vm_uefi_code(void)
{
	static const char *const paths[] = { "/usr/share/OVMF/OVMF_CODE_4M.fd",
		"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_CODE.fd", NULL };

	return first_there(paths);
}

const char *vm_uefi_vars(void)
{
	static const char *const paths[] = { "/usr/share/OVMF/OVMF_VARS_4M.fd",
		"/usr/share/OVMF/OVMF_VARS.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd", NULL };

	return first_there(paths);
}

char *vm_uefi_file(const json_t *def)
{
	const char *path = jstr(json_array_get(jget(def, "disks"), 0), "path", "");
	const char *slash = strrchr(path, '/'), *known = jstr(def, "vars", NULL);

	if (known)
		return mem_strdup(known);
	return mem_printf("%.*s/uefi-vars.fd", slash ? (int)(slash - path) : 0, path);
}
