/* SPDX-License-Identifier: Apache-2.0
 * grub - root= and resume= by UUID, wherever a kernel's arguments are kept: grub.cfg
 * (BIOS, and the wrapper on the ESP), grub 1's menu.lst, entries of the boot loader
 * specification, extlinux, and the defaults from which they are made again.
 */
#include "engine/base/mem.h"
#include "modules/lib/devname.h"
#include "modules/lib/fstab.h"
#include "modules/lib/guestlook.h"
#include "modules/reconfigure/rules/rules.h"

#include <string.h>

/* Kernel arguments whose value is a device. */
static const char *const device_args[] = { "root=", "resume=", "real_root=" };

/* Where defaults are kept that become a configuration later. */
static const char *const defaults[] = {
	"/etc/default/grub", "/etc/sysconfig/grub", "/etc/kernel/cmdline",
	"/etc/initramfs-tools/conf.d/resume", "/etc/sysconfig/bootloader",
};

static bool word_begins(const char *line, const char *p)
{
	return p == line || strchr(" \t\"'=", p[-1]);
}

static char *stable_of(struct rule_env *r, int line, const char *arg,
		       const char *device)
{
	json_t *part = devname_partition(r->machine, device);
	char *stable = part ? devname_stable(part) : NULL;

	if (!stable)
		rule_find(r, "warning", "guest.boot-unknown",
			  "name its disk in the plan, or mend the boot loader by hand",
			  "%s%s in the boot loader's configuration (line %d) is no partition "
			  "of the disks in the plan", arg, device, line);
	return stable;
}

/* If an argument at p names a device that will change: its stable form goes to out.
 * Returns how much of the line that was. */
static size_t take_arg(struct rule_env *r, int line, const char *whole, const char *p,
		       struct str *out)
{
	for (size_t i = 0; i < ARRAY_LEN(device_args); i++) {
		size_t n = strlen(device_args[i]), len;
		AUTO_FREE char *device = NULL, *stable = NULL;

		if (strncasecmp(p, device_args[i], n) != 0 || !word_begins(whole, p))
			continue;
		len = strcspn(p + n, " \t\"'\r");
		device = mem_strndup(p + n, len);
		if (!devname_is_unstable(device))
			return 0;
		stable = stable_of(r, line, device_args[i], device);
		if (!stable)
			return 0;
		str_addn(out, p, n);
		str_add(out, stable);
		return n + len;
	}
	return 0;
}

static char *mend_line(void *arg, int number, const char *line)
{
	AUTO_STR out = { 0 };
	const char *p = line;

	/* The next update-grub would write device names again. */
	if (strncmp(line, "GRUB_DISABLE_LINUX_UUID=", 24) == 0)
		return mem_printf("#%s", line);
	if (line[strspn(line, " \t")] == '#' && !strstr(line, "kopt="))
		return NULL;
	while (*p) {
		size_t n = take_arg(arg, number, line, p, &out);

		if (!n)
			str_addc(&out, *p++);
		p += n;
	}
	return str_take(&out);
}

static int mend(struct rule_env *r, const char *path)
{
	AUTO_FREE char *text = changeset_text(r->set, path);

	if (!text)
		return 0;
	return rule_put(r, path, lines_map(text, mend_line, r), "kernel arguments by UUID");
}

/* (hd0) /dev/sda: grub finds its disks without it, and wrong ones with it. */
static int drop_device_map(struct rule_env *r)
{
	static const char *const maps[] = { "/boot/grub/device.map",
					    "/boot/grub2/device.map" };

	for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
		AUTO_FREE char *text = changeset_text(r->set, maps[i]);

		if (text && strstr(text, "/dev/") &&
		    rule_put_new(r, maps[i], NULL, 0, "names disks of the old machine") < 0)
			return -1;
	}
	return 0;
}

static int run(struct rule_env *r)
{
	AUTO_JSON *found = guestlook_boot_configs(r->set->tree);
	size_t i;
	json_t *path;

	json_array_foreach(found, i, path)
		if (mend(r, json_string_value(path)) < 0)
			return -1;
	for (i = 0; i < ARRAY_LEN(defaults); i++)
		if (mend(r, defaults[i]) < 0)
			return -1;
	return drop_device_map(r);
}

const struct rule rule_grub = {
	.name = "grub",
	.summary = "tell the kernel its root by UUID",
	.run = run,
};
