/* SPDX-License-Identifier: Apache-2.0
 * vm_text - a definition as a libvirt domain and as a QEMU command line. Both say
 * the same machine.
 */
#include "modules/lib/vm.h"

#include "modules/lib/xml.h"

#include <stdarg.h>
#include <string.h>

#define MIB (1024 * 1024)

static bool is(const json_t *o, const char *key, const char *word)
{
	return strcmp(jstr(o, key, ""), word) == 0;
}

/* ---- libvirt ------------------------------------------------------------- */

static void xml_leaf(struct xml *x, const char *name, const char *key, const char *value)
{
	xml_open(x, name);
	xml_attr(x, key, value);
	xml_close(x);
}

static void xml_leaf2(struct xml *x, const char *name, const char *k1, const char *v1,
		      const char *k2, const char *v2)
{
	xml_open(x, name);
	xml_attr(x, k1, v1);
	xml_attr(x, k2, v2);
	xml_close(x);
}

static void xml_platform(struct xml *x, const json_t *def)
{
	xml_open(x, "os");
	if (is(def, "firmware", "uefi"))
		xml_attr(x, "firmware", "efi");
	xml_open(x, "type");
	xml_attr(x, "arch", jstr(def, "arch", ""));
	xml_attr(x, "machine", jstr(def, "machine", ""));
	xml_close_text(x, "hvm");
	xml_close(x);
	xml_open(x, "features");
	xml_open(x, "acpi");
	xml_close(x);
	xml_open(x, "apic");
	xml_close(x);
	xml_close(x);
	xml_leaf2(x, "cpu", "mode",
		  is(def, "accel", "kvm") ? "host-passthrough" : "maximum", "check", "none");
	xml_leaf(x, "clock", "offset", jstr(def, "clock", "utc"));
	xml_text(x, "on_poweroff", "destroy");
	xml_text(x, "on_reboot", "restart");
	xml_text(x, "on_crash", "destroy");
}

static void xml_disk(struct xml *x, const json_t *disk, size_t i)
{
	bool virtio = is(disk, "bus", "virtio"), block = jbool(disk, "block", false);
	long long sector = (long long)jint(disk, "sector", 0);	/* 0: 512, as always */

	xml_open(x, "disk");
	xml_attr(x, "type", block ? "block" : "file");
	xml_attr(x, "device", "disk");
	xml_open(x, "driver");
	xml_attr(x, "name", "qemu");
	xml_attr(x, "type", jstr(disk, "format", "qcow2"));
	xml_attr(x, "discard", "unmap");
	xml_close(x);
	xml_leaf(x, "source", block ? "dev" : "file", jstr(disk, "path", ""));
	xml_open(x, "target");
	xml_attrf(x, "dev", "%s%c", virtio ? "vd" : "sd", (char)('a' + (int)(i % 26)));
	xml_attr(x, "bus", virtio ? "virtio" : "sata");
	xml_close(x);
	if (sector) {
		xml_open(x, "blockio");
		xml_attrf(x, "logical_block_size", "%lld", sector);
		xml_attrf(x, "physical_block_size", "%lld", sector);
		xml_close(x);
	}
	xml_open(x, "boot");
	xml_attrf(x, "order", "%zu", i + 1);
	xml_close(x);
	xml_close(x);
}

static void xml_nic(struct xml *x, const json_t *nic)
{
	xml_open(x, "interface");
	xml_attr(x, "type", "bridge");
	xml_leaf(x, "mac", "address", jstr(nic, "mac", ""));
	xml_leaf(x, "source", "bridge", jstr(nic, "network", ""));
	xml_leaf(x, "model", "type", jstr(nic, "model", "virtio"));
	xml_close(x);
}

static void xml_devices(struct xml *x, const json_t *def)
{
	const json_t *item;
	size_t i;

	xml_open(x, "devices");
	json_array_foreach(jget(def, "disks"), i, item)
		xml_disk(x, item, i);
	json_array_foreach(jget(def, "nics"), i, item)
		xml_nic(x, item);
	xml_open(x, "serial");
	xml_attr(x, "type", "pty");
	xml_open(x, "log");
	xml_attrf(x, "file", "/var/log/libvirt/qemu/%s-console.log", jstr(def, "name", ""));
	xml_attr(x, "append", "off");
	xml_close(x);
	xml_leaf(x, "target", "port", "0");
	xml_close(x);
	xml_open(x, "video");
	xml_leaf(x, "model", "type", "vga");
	xml_close(x);
	xml_open(x, "rng");
	xml_attr(x, "model", "virtio");
	xml_open(x, "backend");
	xml_attr(x, "model", "random");
	xml_close_text(x, "/dev/urandom");
	xml_close(x);
	xml_leaf(x, "memballoon", "model", "virtio");
	xml_close(x);
}

char *vm_xml(const json_t *def)
{
	AUTO_FREE char *mib = mem_printf("%lld", (long long)(jint(def, "memory", 0) / MIB));
	struct xml x = {0};

	xml_open(&x, "domain");
	xml_attr(&x, "type", is(def, "accel", "kvm") ? "kvm" : "qemu");
	xml_text(&x, "name", jstr(def, "name", ""));
	xml_text(&x, "uuid", jstr(def, "uuid", ""));
	xml_open(&x, "memory");
	xml_attr(&x, "unit", "MiB");
	xml_close_text(&x, mib);
	xml_textf(&x, "vcpu", "%lld", (long long)jint(def, "cpus", 1));
	xml_platform(&x, def);
	xml_devices(&x, def);
	return xml_take(&x);
}

/* ---- QEMU ---------------------------------------------------------------- */

static void opt(json_t *argv, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void opt(json_t *argv, const char *name, const char *fmt, ...)
{
	AUTO_FREE char *value = NULL;
	va_list ap;

	va_start(ap, fmt);
	value = mem_vprintf(fmt, ap);
	va_end(ap);
	jadd(argv, json_string(name));
	jadd(argv, json_string(value));
}

char *vm_blockdev(const char *driver, const char *node, const char *protocol,
		  const char *path, const char *key, json_t *value)
{
	AUTO_JSON *o = json_object();
	json_t *file = json_object();

	jset_str(file, "driver", protocol);
	jset_str(file, "filename", path);
	jset_str(o, "driver", driver);
	jset_str(o, "node-name", node);
	jset(o, key, value);
	jset(o, "file", file);
	return json_canonical(o);
}

static void blockdev(json_t *argv, const char *driver, const char *node,
		     const char *protocol, const char *path, const char *key, json_t *value)
{
	AUTO_FREE char *text = vm_blockdev(driver, node, protocol, path, key, value);

	opt(argv, "-blockdev", "%s", text);
}

static void argv_disk(json_t *argv, const json_t *disk, const struct vm_run *run, size_t i)
{
	const json_t *other = json_object_get(run->disks, jstr(disk, "name", ""));
	AUTO_FREE char *node = mem_printf("disk%zu", i), *blocks = NULL;
	long long sector = (long long)jint(disk, "sector", 0);

	blocks = sector ? mem_printf(",logical_block_size=%lld,physical_block_size=%lld", sector,
				     sector) : mem_strdup("");
	if (other)
		blockdev(argv, "qcow2", node, "file", json_string_value(other), "discard",
			 json_string("unmap"));
	else
		blockdev(argv, jstr(disk, "format", "qcow2"), node,
			 jbool(disk, "block", false) ? "host_device" : "file",
			 jstr(disk, "path", ""), "discard", json_string("unmap"));
	opt(argv, "-device", is(disk, "bus", "virtio") ?
	    "virtio-blk-pci,drive=disk%zu,id=vd%zu,bootindex=%zu%s" :
	    "ide-hd,drive=disk%zu,id=sd%zu,bootindex=%zu%s", i, i, i + 1, blocks);
}

static void argv_nic(json_t *argv, const json_t *nic, size_t i)
{
	opt(argv, "-netdev", "tap,id=net%zu,ifname=%s,script=no,downscript=no", i,
	    jstr(nic, "tap", ""));
	opt(argv, "-device", "%s,netdev=net%zu,mac=%s,romfile=",
	    is(nic, "model", "virtio") ? "virtio-net-pci" : "e1000", i, jstr(nic, "mac", ""));
}

static void argv_firmware(json_t *argv, const json_t *def, const struct vm_run *run)
{
	AUTO_FREE char *beside = vm_uefi_file(def);
	const char *code = vm_uefi_code();

	if (!is(def, "firmware", "uefi"))
		return;
	blockdev(argv, "raw", "code", "file", code ? code : "OVMF_CODE_4M.fd", "read-only",
		 json_true());
	blockdev(argv, "raw", "vars", "file", run->vars ? run->vars : beside, "read-only",
		 json_false());
}

static void argv_sockets(json_t *argv, const json_t *def, const struct vm_run *run)
{
	const char *dir = run->dir ? run->dir : jstr(def, "dir", "");

	opt(argv, "-chardev", "socket,id=console,path=%s/console.sock,server=on,wait=off", dir);
	opt(argv, "-serial", "chardev:console");
	opt(argv, "-chardev", "socket,id=monitor,path=%s/qmp.sock,server=on,wait=off", dir);
	opt(argv, "-mon", "chardev=monitor,mode=control");
	opt(argv, "-pidfile", "%s/qemu.pid", dir);
	if (run->paused)
		jadd(argv, json_string("-S"));
}

json_t *vm_argv(const json_t *def, const struct vm_run *run)
{
	const char *accel = run->accel ? run->accel : jstr(def, "accel", "tcg");
	bool kvm = strcmp(accel, "kvm") == 0, uefi = is(def, "firmware", "uefi");
	int64_t memory = run->memory ? run->memory : jint(def, "memory", 0);
	json_t *argv = json_array(), *item;
	size_t i;

	jadd(argv, json_string("qemu-system-x86_64"));
	opt(argv, "-name", "guest=%s", jstr(def, "name", ""));
	opt(argv, "-uuid", "%s", jstr(def, "uuid", ""));
	opt(argv, "-machine", "%s%s", jstr(def, "machine", "q35"),
	    uefi ? ",pflash0=code,pflash1=vars" : "");
	opt(argv, "-accel", "%s", kvm ? "kvm" : "tcg,thread=multi");
	opt(argv, "-cpu", "%s", kvm ? "host" : "max");
	opt(argv, "-smp", "%lld", (long long)(run->cpus ? run->cpus : jint(def, "cpus", 1)));
	opt(argv, "-m", "%lld", (long long)(memory / MIB));
	jadd(argv, json_string("-nodefaults"));
	jadd(argv, json_string("-no-user-config"));
	opt(argv, "-display", "none");
	opt(argv, "-vga", "std");
	opt(argv, "-rtc", "base=%s", jstr(def, "clock", "utc"));
	opt(argv, "-boot", "strict=on");
	opt(argv, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
	    "resourcecontrol=deny");
	argv_firmware(argv, def, run);
	json_array_foreach(jget(def, "disks"), i, item)
		argv_disk(argv, item, run, i);
	json_array_foreach(jget(def, "nics"), i, item)
		argv_nic(argv, item, i);
	opt(argv, "-device", "virtio-rng-pci");
	argv_sockets(argv, def, run);
	return argv;
}
