/* SPDX-License-Identifier: Apache-2.0
 * testcopy - a throw-away copy of a machine behind a fence.
 */
#include "modules/lib/testcopy.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/fence.h"
#include "modules/lib/layout.h"
#include "modules/lib/overlay.h"
#include "modules/lib/qemu.h"
#include "modules/lib/task.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int testcopy_of(struct ctx *c, struct testcopy *t)
{
	AUTO_LAYOUT place = {0};
	AUTO_ERR e = {0};

	*t = (struct testcopy){ .def = ctx_fact(c, "definition") };
	if (!t->def) {
		ctx_hint(c, "let the step reconfigure.machine run first");
		return ctx_fail(c, "cannot boot a copy of '%s': it is not defined yet",
				ctx_machine_name(c));
	}
	if (layout_of(ctx_machine(c), &place, &e) < 0)
		return ctx_fail_err(c, &e);
	t->dir = mem_printf("%s/.boot", place.dir);
	t->run = mem_printf("/run/drover/@%s", ctx_machine_name(c));
	t->console = mem_printf("%s/console.sock", t->run);
	t->monitor = mem_printf("%s/qmp.sock", t->run);
	t->marker = mem_printf("%s/qemu.pid", t->run);
	fence_name(ctx_machine_name(c), t->fence);
	return 0;
}

void testcopy_free(struct testcopy *t)
{
	mem_free_ptr(&t->dir);
	mem_free_ptr(&t->run);
	mem_free_ptr(&t->console);
	mem_free_ptr(&t->monitor);
	mem_free_ptr(&t->marker);
}

bool testcopy_running(const struct testcopy *t)
{
	return task_find(t->marker) != 0;
}

bool testcopy_there(const struct testcopy *t)
{
	return access(t->dir, F_OK) == 0 || access(t->run, F_OK) == 0 ||
	       fence_there(t->fence) || testcopy_running(t);
}

int testcopy_none(struct ctx *c, const char *verb)
{
	AUTO_TESTCOPY t = { 0 };

	if (!ctx_fact(c, "definition"))
		return 0;
	if (testcopy_of(c, &t) < 0)
		return -1;
	if (!testcopy_there(&t))
		return 0;
	ctx_hint(c, "end it first: let the step `release` run, or drover cleanup PLAN");
	return ctx_fail(c, "cannot %s '%s': a test copy of it stands on its images", verb,
			ctx_machine_name(c));
}

/* ---- making -------------------------------------------------------------------- */

static int enter(struct ctx *c, const struct testcopy *t)
{
	if (ctx_ledger_add(c, "file", t->dir, false, NULL) < 0 ||
	    ctx_ledger_add(c, "netns", t->fence, false, NULL) < 0 ||
	    ctx_ledger_add(c, "file", t->run, false, NULL) < 0)
		return -1;
	return ctx_ledger_add(c, "process", t->marker, false, NULL);
}

/* {DISK: {path, base, base_format}}; NULL (told). */
static json_t *overlays(struct ctx *c, const struct testcopy *t)
{
	AUTO_JSON *made = json_object();
	const json_t *disk;
	size_t i;

	json_array_foreach(jget(t->def, "disks"), i, disk) {
		const char *name = jstr(disk, "name", ""), *base = jstr(disk, "base", "");
		const char *format = jstr(disk, "base_format", "raw");
		AUTO_FREE char *path = mem_printf("%s/%s.qcow2", t->dir, name);
		json_t *o = json_object();

		jset(made, name, o);
		jset_str(o, "path", path);
		jset_str(o, "base", base);
		jset_str(o, "base_format", format);
		if (overlay_make(c, base, format, path) < 0)
			return NULL;
	}
	return json_incref(made);
}

/* Was the source serving while it was copied? Then what was copied is no instant, and
 * a test of it must bear that. */
static bool is_fuzzy(const struct ctx *c)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(jget(ctx_fact(c, "machine"), "disks"), i, disk)
		if (jbool(disk, "mounted", false))
			return true;
	return false;
}

static int change(struct ctx *c, const json_t *disks)
{
	const json_t *changes = ctx_fact(c, "changeset"), *machine = ctx_fact(c, "machine");

	if (!changes || json_array_size(jget(changes, "edits")) == 0)
		return 0;
	if (overlay_mend(c, machine, disks, is_fuzzy(c)) < 0)
		return -1;
	return changeset_apply(c, changes, machine, disks, NULL);
}

static int launch(struct ctx *c, const struct testcopy *t, const json_t *disks,
		  int64_t cpus, int64_t memory)
{
	AUTO_FREE char *vars = mem_printf("%s/uefi-vars.fd", t->dir);
	AUTO_ERR e = {0};
	AUTO_FD netns = fence_open(t->fence, &e);
	AUTO_JSON *paths = json_object();
	const char *name;
	json_t *disk;
	bool kvm = strcmp(jstr(t->def, "accel", ""), "kvm") == 0;
	struct vm_run how = {
		.accel = kvm ? "kvm" : "tcg", .dir = t->run, .vars = vars,
		.disks = paths, .cpus = cpus, .memory = memory,
		.paused = true,
	};

	if (netns < 0)
		return ctx_fail_err(c, &e);
	json_object_foreach((json_t *)disks, name, disk)
		jset_str(paths, name, jstr(disk, "path", ""));
	ctx_volatile(c, "accel", json_string(how.accel));
	if (!kvm)
		ctx_log(c, "no working KVM here: the copy is emulated, and slow");
	return qemu_launch(c, t->def, &how, netns);
}

int testcopy_begin(struct ctx *c, const struct testcopy *t, int64_t cpus, int64_t memory)
{
	AUTO_JSON *disks = NULL;
	AUTO_ERR e = {0};

	if (testcopy_end(c, t) < 0 || enter(c, t) < 0)
		return -1;
	if (io_mkdirs(t->dir, 0700) < 0)
		return ctx_fail_sys(c, "cannot make '%s'", t->dir);
	disks = overlays(c, t);
	if (!disks || change(c, disks) < 0)
		return -1;
	if (fence_make(t->fence, jget(t->def, "nics"), &e) < 0)
		return ctx_fail_err(c, &e);
	return launch(c, t, disks, cpus, memory);
}

/* ---- taking away ---------------------------------------------------------------- */

int testcopy_end(struct ctx *c, const struct testcopy *t)
{
	AUTO_ERR e = {0};

	if (qemu_end(c, t->run, 0) < 0)
		return -1;
	if (fence_remove(t->fence, &e) < 0)
		return ctx_fail_err(c, &e);
	if (io_remove_tree(t->dir) < 0 && errno != ENOENT)
		return ctx_fail_sys(c, "cannot remove '%s'", t->dir);
	if (ctx_ledger_del(c, "process", t->marker) < 0 ||
	    ctx_ledger_del(c, "file", t->run) < 0 ||
	    ctx_ledger_del(c, "netns", t->fence) < 0)
		return -1;
	return ctx_ledger_del(c, "file", t->dir);
}
