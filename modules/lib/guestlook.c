/* SPDX-License-Identifier: Apache-2.0
 * guestlook - a guest's system, from its files.
 */
#include "modules/lib/guestlook.h"
#include "engine/base/mem.h"
#include "modules/lib/conf.h"
#include "modules/lib/fstab.h"
#include "modules/lib/initramfs.h"

#include <stdlib.h>
#include <string.h>

static void set_text(json_t *o, const char *key, const char *s)
{
	jset(o, key, s ? jtext(s, strlen(s)) : json_null());
}

/* ---- what it is ---------------------------------------------------------------- */

static const char *family_of(const char *id, const char *like)
{
	static const struct { const char *word, *family; } rows[] = {
		{ "debian", "debian" }, { "ubuntu", "debian" }, { "rhel", "redhat" },
		{ "fedora", "redhat" }, { "centos", "redhat" }, { "suse", "suse" },
		{ "alt", "alt" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strstr(id, rows[i].word) || strstr(like, rows[i].word))
			return rows[i].family;
	return "unknown";
}

json_t *guestlook_os(struct gtree *t)
{
	AUTO_FREE char *a = gtree_read(t, "/etc/os-release", 65536, NULL);
	AUTO_FREE char *b = a ? NULL : gtree_read(t, "/usr/lib/os-release", 65536, NULL);
	const char *text = a ? a : b ? b : "";
	AUTO_FREE char *id = conf_get(text, NULL, "ID");
	AUTO_FREE char *like = conf_get(text, NULL, "ID_LIKE");
	AUTO_FREE char *version = conf_get(text, NULL, "VERSION_ID");
	AUTO_FREE char *name = conf_get(text, NULL, "PRETTY_NAME");
	json_t *o = json_object();

	set_text(o, "id", id ? id : "unknown");
	set_text(o, "version", version);
	set_text(o, "name", name);
	jset_str(o, "family", family_of(id ? id : "", like ? like : ""));
	return o;
}

/* ---- kernels --------------------------------------------------------------------- */

/* What a guest needs to find its root on a virtio disk. */
static const char *const disk_drivers[] = { "virtio_pci", "virtio_blk" };

static bool has_name(const json_t *list, const char *name)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
		if (strcmp(json_string_value(v), name) == 0)
			return true;
	return false;
}

static json_t *builtin_modules(struct gtree *t, const char *version)
{
	static const char *const roots[] = { "/lib/modules", "/usr/lib/modules" };
	json_t *out = json_array();

	for (size_t i = 0; i < ARRAY_LEN(roots) && !json_array_size(out); i++) {
		AUTO_FREE char *path = mem_printf("%s/%s/modules.builtin", roots[i], version);
		AUTO_FREE char *text = gtree_read(t, path, GTREE_FILE_MAX, NULL);
		char *save = NULL;

		for (char *l = text ? strtok_r(text, "\n", &save) : NULL; l;
		     l = strtok_r(NULL, "\n", &save)) {
			AUTO_FREE char *name = initramfs_module_name(l);

			if (name)
				jadd(out, jtext(name, strlen(name)));
		}
	}
	return out;
}

static char *find_initrd(struct gtree *t, const char *version)
{
	static const char *const forms[] = {
		"/boot/initrd.img-%s", "/boot/initramfs-%s.img", "/boot/initrd-%s",
		"/boot/initrd-%s.img",
	};

	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		AUTO_STR path = { 0 };
		const char *mark = strstr(forms[i], "%s");

		str_addn(&path, forms[i], (size_t)(mark - forms[i]));
		str_add(&path, version);
		str_add(&path, mark + 2);
		if (gtree_is_file(t, path.s))
			return str_take(&path);
	}
	return NULL;
}

static json_t *read_initrd(struct gtree *t, const char *path, struct err *e)
{
	size_t n = 0;
	AUTO_FREE char *p = gtree_read(t, path, INITRAMFS_MAX, &n);

	if (!p) {
		err_sys(e, "it cannot be read");
		return NULL;
	}
	return initramfs_modules(p, n, e);
}

static void judge_virtio(struct gtree *t, json_t *k, const char *version)
{
	AUTO_JSON *builtin = builtin_modules(t, version);
	json_t *modules = jget(k, "modules"), *missing = json_array();

	for (size_t i = 0; i < ARRAY_LEN(disk_drivers); i++)
		if (!has_name(modules, disk_drivers[i]) &&
		    !has_name(builtin, disk_drivers[i]))
			jadd(missing, json_string(disk_drivers[i]));
	jset_bool(k, "virtio", json_array_size(missing) == 0);
	jset_bool(k, "sata", has_name(modules, "ahci") || has_name(builtin, "ahci"));
	jset(k, "missing", missing);
}

static json_t *kernel(struct gtree *t, const char *image, const char *version)
{
	AUTO_FREE char *initrd = find_initrd(t, version);
	AUTO_ERR e = { 0 };
	json_t *k = json_object();
	json_t *modules = initrd ? read_initrd(t, initrd, &e) : json_array();

	set_text(k, "version", version);
	set_text(k, "image", image);
	set_text(k, "initrd", initrd);
	jset(k, "modules", modules ? modules : json_array());
	judge_virtio(t, k, version);
	if (!modules && !jbool(k, "virtio", false)) {
		jset(k, "virtio", json_null());
		set_text(k, "why", e.what);
	}
	return k;
}

static int newest_first(const void *a, const void *b)
{
	return -strverscmp(*(char *const *)a, *(char *const *)b);
}

json_t *guestlook_kernels(struct gtree *t)
{
	static const char *const heads[] = { "vmlinuz-", "vmlinux-", "linux-" };
	AUTO_NAMES **names = gtree_list(t, "/boot");
	json_t *out = json_array();
	size_t n = 0;

	while (names && names[n])
		n++;
	if (n)
		qsort(names, n, sizeof(*names), newest_first);
	for (size_t i = 0; i < n; i++)
		for (size_t h = 0; h < ARRAY_LEN(heads); h++) {
			size_t len = strlen(heads[h]);
			AUTO_FREE char *image = mem_printf("/boot/%s", names[i]);

			if (strncmp(names[i], heads[h], len) == 0 &&
			    !strstr(names[i], "rescue") && gtree_is_file(t, image))
				jadd(out, kernel(t, image, names[i] + len));
		}
	return out;
}

/* ---- boot loader -------------------------------------------------------------------- */

static const struct { const char *loader, *path; } configs[] = {
	{ "grub2", "/boot/grub/grub.cfg" },
	{ "grub2", "/boot/grub2/grub.cfg" },
	{ "grub2", "/boot/efi/EFI/debian/grub.cfg" },
	{ "grub2", "/boot/efi/EFI/ubuntu/grub.cfg" },
	{ "grub2", "/boot/efi/EFI/redhat/grub.cfg" },
	{ "grub2", "/boot/efi/EFI/centos/grub.cfg" },
	{ "grub2", "/boot/efi/EFI/rocky/grub.cfg" },
	{ "grub2", "/boot/efi/EFI/almalinux/grub.cfg" },
	{ "grub2", "/boot/efi/EFI/fedora/grub.cfg" },
	{ "grub2", "/boot/efi/EFI/opensuse/grub.cfg" },
	{ "grub1", "/boot/grub/menu.lst" },
	{ "grub1", "/boot/grub/grub.conf" },
	{ "extlinux", "/boot/extlinux/extlinux.conf" },
	{ "extlinux", "/boot/syslinux/syslinux.cfg" },
};

/* Entries of the boot loader specification: grub's blscfg and systemd-boot. */
static const char *const entry_dirs[] = { "/boot/loader/entries", "/boot/efi/loader/entries" };

static void add_entries(struct gtree *t, json_t *out, const char *dir)
{
	AUTO_NAMES **names = gtree_list(t, dir);

	for (char **n = names; n && *n; n++) {
		size_t len = strlen(*n);

		if (len > 5 && strcmp(*n + len - 5, ".conf") == 0) {
			AUTO_FREE char *path = mem_printf("%s/%s", dir, *n);

			jadd(out, jtext(path, strlen(path)));
		}
	}
}

json_t *guestlook_boot_configs(struct gtree *t)
{
	json_t *out = json_array();

	for (size_t i = 0; i < ARRAY_LEN(configs); i++)
		if (gtree_is_file(t, configs[i].path))
			jadd(out, json_string(configs[i].path));
	for (size_t i = 0; i < ARRAY_LEN(entry_dirs); i++)
		add_entries(t, out, entry_dirs[i]);
	return out;
}

static const char *loader_of(const json_t *found)
{
	const char *first = json_string_value(json_array_get(found, 0));

	for (size_t i = 0; first && i < ARRAY_LEN(configs); i++)
		if (strcmp(configs[i].path, first) == 0)
			return configs[i].loader;
	return first ? "systemd-boot" : "unknown";
}

/* The arguments of the first kernel that the configuration starts. */
static char *first_cmdline(const char *text)
{
	static const char *const words[] = { "linux", "linux16", "linuxefi", "kernel",
					     "append", "options" };
	const char *line, *f, *rest = text;
	size_t n, len;

	while (line_next(&rest, &line, &n)) {
		if (!line_field(line, n, 0, &f, &len))
			continue;
		for (size_t i = 0; i < ARRAY_LEN(words); i++) {
			int skip = i < 4 ? 2 : 1;

			if (strlen(words[i]) == len && strncmp(f, words[i], len) == 0 &&
			    line_field(line, n, skip, &f, &len))
				return mem_strndup(f, (size_t)(line + n - f));
		}
	}
	return NULL;
}

json_t *guestlook_boot(struct gtree *t)
{
	json_t *o = json_object(), *found = guestlook_boot_configs(t);
	const char *config = json_string_value(json_array_get(found, 0));
	AUTO_FREE char *text = config ? gtree_read(t, config, GTREE_FILE_MAX, NULL) : NULL;
	AUTO_FREE char *cmdline = text ? first_cmdline(text) : NULL;

	jset_str(o, "loader", loader_of(found));
	set_text(o, "config", config);
	set_text(o, "cmdline", cmdline);
	jset(o, "configs", found);
	return o;
}

/* ---- services and LUKS ----------------------------------------------------------------- */

json_t *guestlook_services(struct gtree *t)
{
	static const char *const wants[] = { "multi-user", "graphical", "default",
					     "sysinit", "sockets", "timers", "network-online" };
	json_t *out = json_array();

	for (size_t i = 0; i < ARRAY_LEN(wants); i++) {
		AUTO_FREE char *dir = mem_printf("/etc/systemd/system/%s.target.wants", wants[i]);
		AUTO_NAMES **names = gtree_list(t, dir);

		for (char **n = names; n && *n; n++)
			if (!has_name(out, *n))
				jadd(out, jtext(*n, strlen(*n)));
	}
	return out;
}

json_t *guestlook_crypttab(struct gtree *t)
{
	AUTO_FREE char *text = gtree_read(t, "/etc/crypttab", GTREE_FILE_MAX, NULL);
	json_t *out = json_array();
	const char *line, *f, *rest = text ? text : "";
	size_t n, len;

	for (int number = 1; line_next(&rest, &line, &n); number++) {
		json_t *o;

		if (!line_field(line, n, 1, &f, &len))
			continue;
		o = json_object();
		jset_int(o, "line", number);
		jset(o, "device", jtext(f, len));
		line_field(line, n, 0, &f, &len);
		jset(o, "name", jtext(f, len));
		jadd(out, o);
	}
	return out;
}
