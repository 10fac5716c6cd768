/* SPDX-License-Identifier: Apache-2.0
 * call.finalize - end the way back: merge each overlay into its base, while the target
 * runs or stands, and let the definition name the base. Cannot be undone; asked for by
 * `drover finalize` alone.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/disk.h"
#include "modules/lib/imgkind.h"
#include "modules/lib/layout.h"
#include "modules/lib/proof.h"
#include "modules/lib/qmp.h"
#include "modules/lib/serve.h"
#include "modules/lib/vm.h"
#include "modules/module.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECT_MS 10000

static const struct param params[] = { { .name = NULL } };
static const char *const wants[] = { "definition", "disks", NULL };
static const char *const tools[] = { "qemu-img", "virsh", NULL };

static bool on_tick(void *arg, uint64_t done, uint64_t total)
{
	struct ctx *c = arg;

	ctx_progress(c, done, total, "bytes", "merging");
	return !ctx_cancelled(c);
}

static int run(struct ctx *c, const char *const *argv)
{
	struct proc p = { .argv = argv };
	AUTO_ERR e = {0};
	int rc = proc_run(&p, &e);

	proc_free(&p);
	return rc < 0 ? ctx_fail_err(c, &e) : 0;
}

/* ---- three ways to merge one disk ------------------------------------------------- */

/* Where an earlier attempt merged it, the machine no longer has the overlay open. */
static int merge_by_monitor(struct ctx *c, const json_t *def, const json_t *disk, size_t i)
{
	AUTO_FREE char *node = mem_printf("disk%zu", i);
	AUTO_ERR e = {0};
	struct qmp *q = qmp_open(jstr(def, "monitor", ""), CONNECT_MS, &e);
	int rc = q ? qmp_uses(q, jstr(disk, "path", ""), &e) : -1;

	if (rc > 0)
		rc = qmp_commit(q, node, jstr(disk, "base", ""), on_tick, c, &e);
	qmp_free(q);
	return rc < 0 ? ctx_fail_err(c, &e) : 0;
}

static int merge_by_libvirt(struct ctx *c, const json_t *def, const json_t *disk)
{
	const char *name = jstr(def, "uuid", ""), *path = jstr(disk, "path", "");
	const char *const list[] = { "virsh", "-q", "domblklist", name, NULL };
	const char *const commit[] = { "virsh", "-q", "blockcommit", name, path, "--active",
				       "--pivot", "--wait", NULL };
	struct proc p = { .argv = list };
	AUTO_ERR e = {0};
	bool uses = proc_run(&p, &e) == 0 && p.out.s && strstr(p.out.s, path);

	proc_free(&p);
	if (err_is(&e))
		return ctx_fail_err(c, &e);
	return uses ? run(c, commit) : 0;
}

static int merge_file(struct ctx *c, const json_t *disk)
{
	const char *const argv[] = { "qemu-img", "commit", "-q", "-f", "qcow2", "-d",
				     jstr(disk, "path", ""), NULL };

	return run(c, argv);
}

static int sync_file(const char *path)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : fsync(fd);
}

/* Overlay and base as one new image, put in the base's place: a base that bears no end in
 * the middle is not written to. */
static int merge_anew(struct ctx *c, const json_t *disk, const char *format)
{
	const char *overlay = jstr(disk, "path", ""), *base = jstr(disk, "base", "");
	AUTO_FREE char *fresh = mem_printf("%s.merging", base);
	AUTO_FREE char *folder = mem_strndup(base, (size_t)(strrchr(base, '/') - base));
	const char *const argv[] = { "qemu-img", "convert", "-q", "-n", "--target-is-zero", "-f",
				     "qcow2", "-O", format, overlay, fresh, NULL };
	struct disk_info i;
	AUTO_ERR e = {0};

	if (unlink(fresh) < 0 && errno != ENOENT)
		return ctx_fail_sys(c, "cannot remove '%s'", fresh);
	if (disk_info(base, format, &i, &e) < 0 || img_create(fresh, format, i.size, &e) < 0)
		return ctx_fail_err(c, &e);
	if (run(c, argv) < 0)
		return -1;
	if (sync_file(fresh) < 0 || rename(fresh, base) < 0 || io_sync_dir(folder) < 0)
		return ctx_fail_sys(c, "cannot put '%s' in the place of '%s'", fresh, base);
	return 0;
}

static int merge(struct ctx *c, const json_t *def, const struct serve_way *way,
		 const json_t *disk, size_t i)
{
	const struct img_kind *kind = img_kind(jstr(disk, "base_format", "raw"));
	bool runs = way && way->running(def);

	if (kind && kind->torn && runs) {
		ctx_hint(c, "shut it down, then type drover finalize PLAN again");
		return ctx_fail(c, "cannot merge '%s' while it runs: an image of format '%s' does "
				"not bear a failed write", jstr(disk, "name", ""), kind->name);
	}
	if (kind && kind->torn)
		return merge_anew(c, disk, kind->name);
	if (!runs)
		return merge_file(c, disk);
	return strcmp(way->name, "libvirt") == 0 ? merge_by_libvirt(c, def, disk) :
						   merge_by_monitor(c, def, disk, i);
}

/* What is merged goes at once: merged again, after a machine has written to its base, it
 * would bring back what was there before. */
static int merge_away(struct ctx *c, const json_t *def, const struct serve_way *way,
		      const json_t *disk, size_t i)
{
	const char *path = jstr(disk, "path", "");

	if (access(path, F_OK) < 0)
		return 0;	/* merged by an earlier attempt */
	if (merge(c, def, way, disk, i) < 0)
		return -1;
	if (unlink(path) < 0 || io_sync_parent(path) < 0)
		return ctx_fail_sys(c, "cannot remove '%s', which is merged", path);
	return 0;
}

/* ---- the definition that names the bases ------------------------------------------- */

static json_t *merged(const json_t *def)
{
	struct vm_run plain = { .accel = NULL };
	AUTO_FREE char *xml = NULL;
	AUTO_FREE char *vars = vm_uefi_file(def);
	json_t *out = json_deep_copy(def), *disk;
	size_t i;

	jset_str(out, "vars", vars);	/* they stay, wherever the bases are */
	json_array_foreach(jget(out, "disks"), i, disk) {
		struct stat st;

		jset_str(disk, "path", jstr(disk, "base", ""));
		if (stat(jstr(disk, "base", ""), &st) == 0 && S_ISBLK(st.st_mode))
			jset_bool(disk, "block", true);
		jset_str(disk, "format", jstr(disk, "base_format", "raw"));
	}
	xml = vm_xml(out);
	jset_str(out, "xml", xml);
	jset(out, "argv", vm_argv(out, &plain));
	return out;
}

static int write_text(struct ctx *c, const char *dir, const char *name, const char *ext,
		      const char *text)
{
	AUTO_FREE char *path = mem_printf("%s/%s.%s", dir, name, ext);

	if (io_write_file(AT_FDCWD, path, text, strlen(text), 0600) < 0)
		return ctx_fail_sys(c, "cannot write '%s'", path);
	return 0;
}

static int write_definition(struct ctx *c, const json_t *def, const struct layout *place)
{
	AUTO_JSON *plain = json_copy((json_t *)def);
	AUTO_FREE char *json = NULL;
	const char *name = jstr(def, "name", "");

	json_object_del(plain, "xml");
	json = json_pretty(plain);
	if (write_text(c, place->dir, name, "xml", jstr(def, "xml", "")) < 0)
		return -1;
	return write_text(c, place->dir, name, "json", json);
}

/* What was only for further passes. */
static int drop_files(struct ctx *c, const json_t *def)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(jget(def, "disks"), i, disk) {
		AUTO_LAYOUT_DISK d = {0};
		AUTO_ERR e = {0};
		int begun = layout_of_begun(ctx_machine(c), jstr(disk, "name", ""), &d, &e);

		if (begun < 0)
			return ctx_fail_err(c, &e);
		if (begun && proof_mark_drop(&d, &e) < 0)
			return ctx_fail_err(c, &e);
		if (begun && ((unlink(d.map) < 0 && errno != ENOENT) ||
			      (unlink(d.record) < 0 && errno != ENOENT)))
			return ctx_fail_sys(c, "cannot remove what passes of '%s' needed",
					    jstr(disk, "name", ""));
	}
	return 0;
}

static int apply(struct ctx *c)
{
	const json_t *def = ctx_fact(c, "definition"), *disk;
	const struct serve_way *way = def ? serve_found(def) : NULL;
	AUTO_LAYOUT place = {0};
	AUTO_JSON *now = NULL;
	AUTO_ERR e = {0};
	size_t i;

	if (!def)
		return ctx_fail(c, "cannot finalize '%s': it was never defined",
				ctx_machine_name(c));
	if (layout_of(ctx_machine(c), &place, &e) < 0)
		return ctx_fail_err(c, &e);
	json_array_foreach(jget(def, "disks"), i, disk)
		if (merge_away(c, def, way, disk, i) < 0)
			return -1;
	now = merged(def);
	if (write_definition(c, now, &place) < 0 || (way && way->define(c, now) < 0))
		return -1;
	return drop_files(c, def);
}

static int probe(struct ctx *c, enum probe_state *state)
{
	const json_t *def = ctx_fact(c, "definition"), *disk;
	size_t i, left = 0;

	json_array_foreach(jget(def, "disks"), i, disk)
		if (access(jstr(disk, "path", ""), F_OK) == 0) {
			ctx_change(c, '-', "%s is merged into %s", jstr(disk, "path", ""),
				   jstr(disk, "base", ""));
			left++;
		}
	*state = left ? STATE_ABSENT : STATE_DONE;
	return 0;
}

const struct module module_call_finalize = {
	.name = "call.finalize",
	.summary = "merge the overlays; there is no way back",
	.place = ON_TARGET,
	.flags = MOD_LONG,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
};
