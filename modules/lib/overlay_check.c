/* SPDX-License-Identifier: Apache-2.0
 * overlay_check - would it boot? What can be told from the files, without starting
 * anything.
 */
#include "modules/lib/overlay.h"
#include "engine/base/mem.h"
#include "modules/lib/changeset.h"
#include "modules/lib/devname.h"
#include "modules/lib/fstab.h"
#include "modules/lib/guestfs.h"
#include "modules/lib/guestlook.h"
#include "modules/lib/parttab.h"

#include <string.h>

static int check_edits(struct ctx *c, struct gtree *t, const json_t *changeset)
{
	size_t i;
	json_t *edit;

	json_array_foreach(jget(changeset, "edits"), i, edit)
		if (!edit_done(t, edit))
			return ctx_fail(c, "the overlay is not as it should be: '%s' does not "
					"hold what was written", jstr(edit, "path", "?"));
	return 0;
}

static int check_clean(struct ctx *c, const struct guestfs *g, const json_t *machine,
		       const json_t *overlays)
{
	size_t i, k, open = 0;
	json_t *disk, *part;

	json_array_foreach(jget(machine, "disks"), i, disk) {
		struct blk whole, b;
		struct fsinfo f = { 0 };

		if (!json_object_get(overlays, jstr(disk, "name", "")) || open >= g->count)
			continue;
		whole = blk_of(g->disks[open++]);
		json_array_foreach(jget(disk, "partitions"), k, part) {
			if (!guestfs_is_ext(part) ||
			    blk_window(&whole, (uint64_t)jint(part, "start", 0),
				       (uint64_t)jint(part, "size", 0), &b, NULL) < 0)
				continue;
			fsinfo_read(&b, &f);
			if (f.dirty || strcmp(f.uuid, jstr(part, "uuid", "")) != 0)
				return ctx_fail(c, "the overlay is not as it should be: disk '%s', "
						"partition %d %s", jstr(disk, "name", "?"),
						(int)jint(part, "number", 0), f.dirty
						? "has a journal that was not replayed"
						: "holds another file system than the source's");
		}
	}
	return 0;
}

/* A line that stops the boot when its device is not there. */
static bool is_needed(const json_t *entry)
{
	const char *options = jstr(entry, "options", "");

	return !strstr(options, "noauto") && !strstr(options, "nofail") &&
	       strcmp(jstr(entry, "type", ""), "swap") != 0;
}

static bool names_device(const char *spec)
{
	static const char *const heads[] = { "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=" };

	for (size_t i = 0; i < ARRAY_LEN(heads); i++)
		if (strncmp(spec, heads[i], strlen(heads[i])) == 0)
			return true;
	return devname_is_unstable(spec);
}

static int check_fstab(struct ctx *c, struct gtree *t, const json_t *machine)
{
	AUTO_FREE char *text = gtree_read(t, "/etc/fstab", GTREE_FILE_MAX, NULL);
	AUTO_JSON *entries = fstab_parse(text ? text : "");
	size_t i;
	json_t *entry;

	json_array_foreach(entries, i, entry) {
		const char *spec = jstr(entry, "spec", "");

		if (!names_device(spec) || !is_needed(entry) || devname_partition(machine, spec))
			continue;
		ctx_fail(c, "the target would wait for %s: line %d of its /etc/fstab names it, "
			 "and no disk of the machine holds it", spec,
			 (int)jint(entry, "line", 0));
		ctx_hint(c, "name that disk in the plan, or add `nofail` to the line on the source");
		return -1;
	}
	return 0;
}

/* What a boot entry loads: "linux /boot/vmlinuz-6 ..." on a file system that may be
 * that of /boot. */
static bool is_there(struct gtree *t, const char *path)
{
	AUTO_FREE char *below = mem_printf("/boot%s", path);

	return gtree_is_file(t, path) || gtree_is_file(t, below);
}

static int check_loads(struct ctx *c, struct gtree *t, const char *config)
{
	static const char *const words[] = { "linux", "linux16", "linuxefi", "initrd",
					     "initrd16", "initrdefi", "kernel" };
	AUTO_FREE char *text = gtree_read(t, config, GTREE_FILE_MAX, NULL);
	const char *line, *f, *rest = text ? text : "";
	size_t n, len;

	for (int number = 1; line_next(&rest, &line, &n); number++)
		for (size_t i = 0; i < ARRAY_LEN(words); i++) {
			AUTO_FREE char *path = NULL;

			if (!line_field(line, n, 0, &f, &len) || strlen(words[i]) != len ||
			    strncmp(f, words[i], len) != 0 || !line_field(line, n, 1, &f, &len))
				continue;
			path = mem_strndup(f, len);
			if (path[0] == '/' && !strchr(path, '$') && !is_there(t, path))
				return ctx_fail(c, "the target would not boot: %s line %d loads "
						"'%s', which is not there", config, number, path);
		}
	return 0;
}

static int check_boot(struct ctx *c, struct gtree *t)
{
	AUTO_JSON *boot = guestlook_boot(t);
	const char *loader = jstr(boot, "loader", "unknown");
	size_t i;
	json_t *config;

	if (strncmp(loader, "grub", 4) != 0)
		return 0;
	json_array_foreach(jget(boot, "configs"), i, config)
		if (check_loads(c, t, json_string_value(config)) < 0)
			return -1;
	return 0;
}

int overlay_check(struct ctx *c, const json_t *changeset, const json_t *machine,
		  const json_t *overlays)
{
	AUTO_GUESTFS g = { 0 };
	AUTO_ERR e = { 0 };

	if (guestfs_open_overlays(machine, overlays, false, &g, &e) < 0)
		return ctx_fail_err(c, &e);
	if (check_edits(c, g.tree, changeset) < 0 || check_clean(c, &g, machine, overlays) < 0 ||
	    check_fstab(c, g.tree, machine) < 0 || check_boot(c, g.tree) < 0)
		return -1;
	return 0;
}
