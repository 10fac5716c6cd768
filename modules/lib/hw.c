/* SPDX-License-Identifier: Apache-2.0
 * hw - CPU, memory, firmware and interfaces of this host.
 */
#include "modules/lib/hw.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

char *hw_line(const char *path)
{
	char *s = io_read_file(AT_FDCWD, path, 64 * 1024, NULL);

	if (s)
		s[strcspn(s, "\n")] = 0;
	return s;
}

int hw_cpus(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? (int)n : 1;
}

static uint64_t memory_blocks(void)
{
	AUTO_FREE char *s = hw_line("/sys/devices/system/memory/block_size_bytes");
	DIR *d = s ? opendir("/sys/devices/system/memory") : NULL;
	uint64_t n = 0;

	for (struct dirent *de; d && (de = readdir(d)); ) {
		AUTO_FREE char *path = NULL, *online = NULL;

		if (strncmp(de->d_name, "memory", 6) != 0)
			continue;
		path = mem_printf("/sys/devices/system/memory/%s/online", de->d_name);
		online = hw_line(path);
		n += online && *online == '1';
	}
	if (d)
		closedir(d);
	return s ? n * strtoull(s, NULL, 16) : 0;
}

uint64_t hw_memory(void)
{
	const uint64_t step = 64ull << 20;
	AUTO_FREE char *s = NULL;
	uint64_t blocks = memory_blocks();

	if (blocks)
		return blocks;
	s = hw_line("/proc/meminfo");
	if (!s || strncmp(s, "MemTotal:", 9) != 0)
		return 0;
	return (strtoull(s + 9, NULL, 10) * 1024 + step - 1) / step * step;
}

const char *hw_arch(void)
{
	static struct utsname u;

	return uname(&u) == 0 ? u.machine : "unknown";
}

const char *hw_firmware(void)
{
	return access("/sys/firmware/efi", F_OK) == 0 ? "uefi" : "bios";
}

char *hw_virtualization(void)
{
	static const struct { const char *dmi, *name; } vendors[] = {
		{ "QEMU", "qemu" }, { "VMware", "vmware" }, { "Xen", "xen" },
		{ "innotek", "virtualbox" }, { "Microsoft", "hyperv" },
		{ "Amazon", "kvm" }, { "Google", "kvm" }, { "Bochs", "qemu" },
	};
	AUTO_FREE char *vendor = hw_line("/sys/class/dmi/id/sys_vendor");
	AUTO_FREE char *hyper = hw_line("/sys/hypervisor/type");
	AUTO_FREE char *cpu = NULL;

	for (size_t i = 0; vendor && i < ARRAY_LEN(vendors); i++)
		if (strncmp(vendor, vendors[i].dmi, strlen(vendors[i].dmi)) == 0)
			return mem_strdup(vendors[i].name);
	if (hyper)
		return mem_strdup(hyper);
	cpu = io_read_file(AT_FDCWD, "/proc/cpuinfo", 4 << 20, NULL);
	return mem_strdup(cpu && strstr(cpu, " hypervisor") ? "other" : "none");
}

const char *hw_clock(void)
{
	AUTO_FREE char *s = io_read_file(AT_FDCWD, "/etc/adjtime", 4096, NULL);

	return s && strstr(s, "LOCAL") ? "localtime" : "utc";
}

json_t *hw_system(void)
{
	static const struct { const char *key, *file; } rows[] = {
		{ "vendor", "sys_vendor" }, { "product", "product_name" },
		{ "serial", "product_serial" },
	};
	json_t *o = json_object();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *path = mem_printf("/sys/class/dmi/id/%s", rows[i].file);
		AUTO_FREE char *s = hw_line(path);

		jset(o, rows[i].key, s && *s ? jtext(s, strlen(s)) : json_null());
	}
	return o;
}

/* ---- interfaces ------------------------------------------------------------ */

static char *nic_line(const char *name, const char *file)
{
	AUTO_FREE char *path = mem_printf("/sys/class/net/%s/%s", name, file);

	return hw_line(path);
}

static bool nic_has(const char *name, const char *file)
{
	AUTO_FREE char *path = mem_printf("/sys/class/net/%s/%s", name, file);

	return access(path, F_OK) == 0;
}

static json_t *nic_driver(const char *name)
{
	AUTO_FREE char *path = mem_printf("/sys/class/net/%s/device/driver", name);
	AUTO_FREE char *real = realpath(path, NULL);

	return real ? json_string(strrchr(real, '/') + 1) : json_null();
}

static void add_address(json_t *out, int family, const void *p, int prefix)
{
	char text[INET6_ADDRSTRLEN];
	AUTO_FREE char *full = NULL;

	inet_ntop(family, p, text, sizeof(text));
	full = mem_printf("%s/%d", text, prefix);
	jadd(out, json_string(full));
}

/* IPv6 addresses that were configured: those that come and go by themselves are not
 * the machine's. "fe80...  02 40 20 80 eth0", flag 0x80: permanent. */
static void add_v6(json_t *out, const char *table, const char *name)
{
	for (const char *l = table; l && *l; l = strchr(l, '\n') ? strchr(l, '\n') + 1 : NULL) {
		char hex[33], dev[IFNAMSIZ + 1];
		unsigned prefix, scope, flags;
		uint8_t raw[16];

		if (sscanf(l, "%32s %*x %x %x %x %16s", hex, &prefix, &scope, &flags, dev) == 5 &&
		    strcmp(dev, name) == 0 && scope == 0 && (flags & 0x80) &&
		    io_unhex(hex, raw, 16) == 0)
			add_address(out, AF_INET6, raw, (int)prefix);
	}
}

static json_t *nic_addresses(const struct ifaddrs *all, const char *name)
{
	AUTO_FREE char *v6 = io_read_file(AT_FDCWD, "/proc/net/if_inet6", 1 << 20, NULL);
	json_t *out = json_array();

	for (const struct ifaddrs *a = all; a; a = a->ifa_next)
		if (strcmp(a->ifa_name, name) == 0 && a->ifa_addr && a->ifa_netmask &&
		    a->ifa_addr->sa_family == AF_INET)
			add_address(out, AF_INET, &((struct sockaddr_in *)a->ifa_addr)->sin_addr,
				    __builtin_popcount(((struct sockaddr_in *)a->ifa_netmask)
						       ->sin_addr.s_addr));
	add_v6(out, v6, name);
	return out;
}

/* The default route of /proc/net/route: "ens3 00000000 0102000A ..." */
static json_t *nic_gateway(const char *routes, const char *name)
{
	for (const char *l = routes; l && *l; l = strchr(l, '\n') ? strchr(l, '\n') + 1 : NULL) {
		char dev[IFNAMSIZ + 1], text[INET_ADDRSTRLEN];
		unsigned dest, gate;
		struct in_addr in;

		if (sscanf(l, "%16s %x %x", dev, &dest, &gate) != 3 || dest || !gate ||
		    strcmp(dev, name) != 0)
			continue;
		in.s_addr = gate;
		return json_string(inet_ntop(AF_INET, &in, text, sizeof(text)));
	}
	return json_null();
}

static json_t *nic(const struct ifaddrs *all, const char *routes, const char *name)
{
	AUTO_FREE char *perm = nic_line(name, "bonding_slave/perm_hwaddr");
	AUTO_FREE char *mac = nic_line(name, "address"), *mtu = nic_line(name, "mtu");
	json_t *o = json_object();

	jset_str(o, "name", name);
	jset_str(o, "mac", perm ? perm : mac);
	jset(o, "addresses", nic_addresses(all, name));
	jset(o, "gateway", nic_gateway(routes, name));
	jset_int(o, "mtu", mtu ? atoi(mtu) : 1500);
	jset(o, "driver", nic_driver(name));
	return o;
}

static bool is_ether(const char *name)
{
	AUTO_FREE char *type = nic_line(name, "type");

	return type && atoi(type) == ARPHRD_ETHER;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t ether_names(char **names, size_t max)
{
	DIR *d = opendir("/sys/class/net");
	size_t n = 0;

	for (struct dirent *de; d && n < max && (de = readdir(d)); )
		if (de->d_name[0] != '.' && is_ether(de->d_name))
			names[n++] = mem_strdup(de->d_name);
	if (d)
		closedir(d);
	qsort(names, n, sizeof(*names), by_name);
	return n;
}

json_t *hw_nics(const json_t *wanted)
{
	AUTO_FREE char *routes = io_read_file(AT_FDCWD, "/proc/net/route", 1 << 20, NULL);
	struct ifaddrs *all = NULL;
	char *names[256];
	size_t n = ether_names(names, ARRAY_LEN(names));
	bool hardware = json_object_size(wanted) > 0;
	json_t *out = json_array();

	if (getifaddrs(&all) < 0)
		all = NULL;
	for (size_t i = 0; i < n; i++)
		hardware |= nic_has(names[i], "device");
	for (size_t i = 0; i < n; i++) {
		if (!hardware || nic_has(names[i], "device") ||
		    json_object_get(wanted, names[i]))
			jadd(out, nic(all, routes, names[i]));
		free(names[i]);
	}
	if (all)
		freeifaddrs(all);
	return out;
}
