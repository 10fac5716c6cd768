/* SPDX-License-Identifier: Apache-2.0
 * serve_qemu - keep a target machine running: as a process of its own, on taps of its own.
 */
#include "modules/lib/serve_priv.h"

#include "modules/lib/fence.h"
#include "modules/lib/qemu.h"

static int taps_make(struct ctx *c, const json_t *def)
{
	const json_t *nic;
	size_t i;

	json_array_foreach(jget(def, "nics"), i, nic) {
		AUTO_ERR e = {0};

		if (ctx_ledger_add(c, "port", jstr(nic, "tap", ""), true, NULL) < 0)
			return -1;
		if (fence_tap_make(jstr(nic, "tap", ""), jstr(nic, "network", ""), &e) < 0)
			return ctx_fail_err(c, &e);
	}
	return 0;
}

static int taps_remove(struct ctx *c, const json_t *def)
{
	const json_t *nic;
	size_t i;

	json_array_foreach(jget(def, "nics"), i, nic) {
		AUTO_ERR e = {0};

		if (fence_tap_remove(jstr(nic, "tap", ""), &e) < 0)
			return ctx_fail_err(c, &e);
		if (ctx_ledger_del(c, "port", jstr(nic, "tap", "")) < 0)
			return -1;
	}
	return 0;
}

static bool qemu_usable(void)
{
	return true;
}

static bool qemu_is_running(const json_t *def)
{
	return qemu_running(jstr(def, "dir", "")) != 0;
}

static int qemu_define(struct ctx *c, const json_t *def)
{
	(void)c;
	(void)def;
	return 0;	/* registered nowhere: its file is all there is */
}

static int qemu_begin(struct ctx *c, const json_t *def)
{
	const char *dir = jstr(def, "dir", "");
	AUTO_FREE char *marker = mem_printf("%s/qemu.pid", dir);
	struct vm_run how = { .dir = dir, .paused = true };

	if (qemu_is_running(def))
		return 0;
	if (ctx_ledger_add(c, "process", marker, true, NULL) < 0 ||
	    ctx_ledger_add(c, "file", dir, true, NULL) < 0 || taps_make(c, def) < 0)
		return -1;
	return qemu_launch(c, def, &how, -1);
}

static int qemu_finish(struct ctx *c, const json_t *def, unsigned grace_ms)
{
	const char *dir = jstr(def, "dir", "");
	AUTO_FREE char *marker = mem_printf("%s/qemu.pid", dir);

	if (qemu_end(c, dir, grace_ms) < 0 || taps_remove(c, def) < 0 ||
	    ctx_ledger_del(c, "file", dir) < 0)
		return -1;
	return ctx_ledger_del(c, "process", marker);
}

const struct serve_way serve_qemu = {
	.name = "qemu", .usable = qemu_usable, .known = qemu_is_running,
	.running = qemu_is_running, .define = qemu_define, .begin = qemu_begin,
	.end = qemu_finish, .lacks = "", .paused = true,
};
