/* SPDX-License-Identifier: Apache-2.0
 * domain - read a libvirt domain's definition.
 */
#include "modules/lib/domain.h"

#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "engine/base/text.h"
#include "modules/lib/xmlread.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ASK_MS 60000

static bool is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* ---- disks ---------------------------------------------------------------------- */

/* Where its content lies: {image, format}, {path} or {store, volume, format}; NULL with e. */
static json_t *place_of(const json_t *disk, const char *name, struct err *e)
{
	const char *type = xml_word(disk, "", "type", "file");
	const char *file = xml_word(disk, "source", "file", NULL);
	const char *dev = xml_word(disk, "source", "dev", NULL);
	const char *format = xml_word(disk, "driver", "type", "raw");
	const char *pool = xml_word(disk, "source", "pool", NULL);
	const char *volume = xml_word(disk, "source", "volume", NULL);
	json_t *place;

	if (is(type, "block") && dev && !is(format, "raw")) {
		err_set(e, ERR_STEP, "cannot read disk '%s': a %s image on the device '%s'", name,
			format, dev);
		err_hint(e, "only raw content of devices is read");
		return NULL;
	}
	if (is(type, "volume") && pool && volume) {
		place = json_object();
		jset_str(place, "store", pool);
		jset_str(place, "volume", volume);
		jset_str(place, "format", format);
		return place;
	}
	if (!(is(type, "file") && file) && !(is(type, "block") && dev)) {
		err_set(e, ERR_STEP, "cannot read disk '%s': its content is a '%s', neither a file "
			"nor a device", name, type);
		err_hint(e, "name what is to be copied in the plan: source: { images: {...} } or "
			 "{ disks: {...} }");
		return NULL;
	}
	place = json_object();
	jset_str(place, file ? "image" : "path", file ? file : dev);
	if (file)
		jset_str(place, "format", format);
	return place;
}

static int add_disk(const json_t *disk, json_t *disks, struct err *e)
{
	const char *name = xml_word(disk, "target", "dev", "");
	json_t *place;

	if (!is(xml_word(disk, "", "device", "disk"), "disk"))
		return 0;	/* cdrom, floppy */
	if (!text_name_ok(name))
		return err_set(e, ERR_STEP, "cannot read a disk: '%s' is no name for one", name);
	place = place_of(disk, name, e);
	if (!place)
		return -1;
	jset(disks, name, place);
	return 0;
}

static int add_disks(const json_t *domain, json_t *disks, struct err *e)
{
	const json_t *device;
	size_t i;

	json_array_foreach(jget(xml_kid(domain, "devices"), "kids"), i, device)
		if (is(jstr(device, "name", ""), "disk") && add_disk(device, disks, e) < 0)
			return -1;
	return json_object_size(disks) ? 0 : err_set(e, ERR_STEP, "it has no disk");
}

/* ---- the rest -------------------------------------------------------------------- */

static json_t *nics_of(const json_t *domain)
{
	static const char *const sources[] = { "bridge", "network", "dev" };
	json_t *nics = json_array(), *nic;
	const json_t *device;
	size_t i;

	json_array_foreach(jget(xml_kid(domain, "devices"), "kids"), i, device) {
		const char *net = NULL;

		if (!is(jstr(device, "name", ""), "interface"))
			continue;
		for (size_t k = 0; k < ARRAY_LEN(sources) && !net; k++)
			net = xml_word(device, "source", sources[k], NULL);
		nic = json_object();
		jset_str(nic, "mac", xml_word(device, "mac", "address", NULL));
		jset_str(nic, "network", net);
		jset_str(nic, "driver", xml_word(device, "model", "type", NULL));
		jadd(nics, nic);
	}
	return nics;
}

/* The plan's name for it: that of its MAC; where there is but one NIC, the only name. */
static const char *planned_name(const json_t *spec, const char *mac, bool only)
{
	static const char *const sides[] = { "source.nics", "target.nics" };
	json_t *nics, *nic;
	const char *name;

	json_object_foreach(jget(spec, "source.nics"), name, nic)
		if (strcasecmp(jstr(nic, "mac", ""), mac) == 0)
			return name;
	for (size_t i = 0; only && i < ARRAY_LEN(sides); i++) {
		nics = jget(spec, sides[i]);
		name = json_object_iter_key(json_object_iter(nics));
		if (json_object_size(nics) == 1 &&
		    !jstr(json_object_get(jget(spec, "source.nics"), name), "mac", NULL))
			return name;
	}
	return NULL;
}

json_t *domain_nics(const json_t *domain, const json_t *spec)
{
	const json_t *known = jget(domain, "nics"), *nic;
	json_t *out = json_array(), *o;
	size_t i;

	json_array_foreach(known, i, nic) {
		AUTO_FREE char *number = mem_printf("nic%zu", i);
		const char *name = planned_name(spec, jstr(nic, "mac", ""),
						json_array_size(known) == 1);

		o = json_deep_copy(nic);
		jset_str(o, "name", name ? name : number);
		jset_bool(o, "named", name && !is(name, number));
		jset(o, "addresses", json_array());
		jset(o, "gateway", json_null());
		jset_int(o, "mtu", 1500);
		jadd(out, o);
	}
	return out;
}

static int64_t memory_of(const json_t *domain)
{
	static const struct { const char *unit; int64_t bytes; } units[] = {
		{ "b", 1 }, { "bytes", 1 }, { "KB", 1000 }, { "k", 1024 }, { "KiB", 1024 },
		{ "MB", 1000000 }, { "M", 1 << 20 }, { "MiB", 1 << 20 },
		{ "GB", 1000000000 }, { "G", 1 << 30 }, { "GiB", 1 << 30 },
	};
	const char *unit = xml_word(domain, "memory", "unit", "KiB");
	long long n = strtoll(xml_word(domain, "memory", NULL, "0"), NULL, 10);

	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (is(units[i].unit, unit) && n > 0 && n <= INT64_MAX / units[i].bytes)
			return n * units[i].bytes;
	return 0;
}

static const char *firmware_of(const json_t *domain)
{
	const char *said = xml_word(domain, "os", "firmware", NULL);

	if (!said && !is(xml_word(domain, "os/loader", "type", ""), "pflash"))
		return "bios";
	return !said || is(said, "efi") ? "uefi" : "bios";
}

json_t *domain_read(const char *name, const char *xml, size_t n, struct err *e)
{
	AUTO_JSON *domain = xml_read(xml, n, e), *disks = json_object();
	json_t *o;

	if (!domain || add_disks(domain, disks, e) < 0) {
		err_wrap(e, "cannot describe domain '%s'", name);
		return NULL;
	}
	o = json_object();
	jset(o, "disks", json_incref(disks));
	jset(o, "nics", nics_of(domain));
	jset_str(o, "firmware", firmware_of(domain));
	jset_str(o, "arch", xml_word(domain, "os/type", "arch", "x86_64"));
	jset_int(o, "cpus", strtol(xml_word(domain, "vcpu", NULL, "1"), NULL, 10));
	jset_int(o, "memory", memory_of(domain));
	jset_str(o, "clock", is(xml_word(domain, "clock", "offset", "utc"), "localtime") ?
		 "localtime" : "utc");
	return o;
}

bool domain_name_ok(const char *name)
{
	return name && name[0] && name[0] != '-' && name[strspn(name, "0123456789")];
}

/* ---- pools ------------------------------------------------------------------------ */

/* The first line that virsh answers; NULL with e. */
static char *answer(const char *const *argv, struct err *e)
{
	struct proc p = { .argv = argv, .timeout_ms = ASK_MS };
	char *line = NULL;

	if (proc_run(&p, e) == 0 && p.out.s)
		line = mem_strndup(p.out.s, strcspn(p.out.s, "\r\n"));
	proc_free(&p);
	return line;
}

/* Where a volume is that is named by its pool. */
static int find_volume(json_t *disk, const char *name, struct err *e)
{
	AUTO_FREE char *pool = mem_printf("--pool=%s", jstr(disk, "store", ""));
	AUTO_FREE char *vol = mem_printf("--vol=%s", jstr(disk, "volume", ""));
	const char *const argv[] = { "virsh", "-q", "vol-path", pool, vol, NULL };
	AUTO_FREE char *path = answer(argv, e);
	bool device = path && strncmp(path, "/dev/", 5) == 0;

	if (!path || path[0] != '/') {
		if (!err_is(e))
			err_set(e, ERR_STEP, "libvirt names no path of it");
		err_wrap(e, "cannot read disk '%s'", name);
		return err_hint(e, "is its pool started? virsh pool-list --all");
	}
	jset_str(disk, device ? "path" : "image", path);
	json_object_del(disk, "volume");
	if (device)
		json_object_del(disk, "format");
	return 0;
}

/* In which pool a file or device lies; that it lies in none is no fault. */
static void find_pool(json_t *disk)
{
	AUTO_FREE char *vol = mem_printf("--vol=%s", jstr(disk, "image", jstr(disk, "path", "")));
	const char *const argv[] = { "virsh", "-q", "vol-pool", vol, NULL };
	AUTO_FREE char *pool = answer(argv, NULL);

	if (pool && *pool)
		jset_str(disk, "store", pool);
}

static int find_stores(json_t *domain, struct err *e)
{
	const char *name;
	json_t *disk;

	json_object_foreach(jget(domain, "disks"), name, disk) {
		if (!jstr(disk, "volume", NULL))
			find_pool(disk);
		else if (find_volume(disk, name, e) < 0)
			return -1;
	}
	return 0;
}

json_t *domain_ask(const char *name, struct err *e)
{
	AUTO_FREE char *which = mem_printf("--domain=%s", name);
	const char *const argv[] = { "virsh", "-q", "dumpxml", "--inactive", which, NULL };
	struct proc p = { .argv = argv, .timeout_ms = ASK_MS, .max_output = XML_READ_MAX };
	json_t *o = NULL;

	if (!domain_name_ok(name)) {
		err_set(e, ERR_STEP, "cannot describe domain '%s'", name);
		err_hint(e, DOMAIN_NAME_HINT);
		return NULL;
	}
	if (proc_run(&p, e) < 0) {
		err_wrap(e, "cannot describe domain '%s'", name);
		err_hint(e, "type on its host: virsh list --all");
	} else {
		o = domain_read(name, p.out.s ? p.out.s : "", p.out.len, e);
	}
	proc_free(&p);
	if (o && find_stores(o, e) < 0) {
		err_wrap(e, "cannot describe domain '%s'", name);
		json_decref(o);
		o = NULL;
	}
	return o;
}
