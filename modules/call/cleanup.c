/* SPDX-License-Identifier: Apache-2.0
 * call.cleanup - take away one thing that the ledger names. What is gone already is
 * fine. Cannot be undone: what the ledger calls temporary is nobody's.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/checkpoint.h"
#include "modules/lib/fence.h"
#include "modules/lib/freeze.h"
#include "modules/lib/snapshot.h"
#include "modules/lib/task.h"
#include "modules/lib/track.h"
#include "modules/lib/virsh.h"
#include "modules/module.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOOL_MS 60000

static const struct param params[] = {
	{ .name = "kind", .type = P_STR, .required = true,
	  .summary = "what the ledger calls it: process, file, netns ..." },
	{ .name = "name", .type = P_STR, .required = true,
	  .summary = "its name on this host" },
	{ .name = "detail", .type = P_ANY, .summary = "what else was entered with it" },
	{ .name = NULL },
};
static const char *const tools[] = { "ip", "virsh", "systemctl", "qemu-img", NULL };

static int run(struct ctx *c, const char *const *argv)
{
	struct proc p = { .argv = argv, .timeout_ms = TOOL_MS };
	AUTO_ERR e = {0};
	int rc = proc_run(&p, &e);

	proc_free(&p);
	return rc < 0 ? ctx_fail_err(c, &e) : 0;
}

static bool answers(const char *const *argv)
{
	struct proc p = { .argv = argv, .timeout_ms = TOOL_MS };
	bool yes = proc_run(&p, NULL) == 0;

	proc_free(&p);
	return yes;
}

static int end_process(struct ctx *c, const char *name)
{
	return task_end(name, 10000) ? 0 : ctx_fail(c, "process %d does not end",
						     (int)task_find(name));
}

/* A file, a link, a socket, or a directory that was made for one purpose. */
static int remove_file(struct ctx *c, const char *name)
{
	struct stat st;

	if (name[0] != '/' || strstr(name, "/../"))
		return ctx_fail(c, "cannot remove '%s': not an absolute path", name);
	if (lstat(name, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 :
		       ctx_fail_sys(c, "cannot look at '%s'", name);
	if (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode))
		return ctx_fail(c, "cannot remove '%s': it is a device", name);
	if ((S_ISDIR(st.st_mode) ? io_remove_tree(name) : unlink(name)) < 0 &&
	    errno != ENOENT)
		return ctx_fail_sys(c, "cannot remove '%s'", name);
	return 0;
}

static int remove_netns(struct ctx *c, const char *name)
{
	AUTO_ERR e = {0};

	return fence_remove(name, &e) < 0 ? ctx_fail_err(c, &e) : 0;
}

static int remove_port(struct ctx *c, const char *name)
{
	AUTO_ERR e = {0};

	return fence_tap_remove(name, &e) < 0 ? ctx_fail_err(c, &e) : 0;
}

/* By its uuid, where that was noted: another may have taken the name since. */
static int remove_domain(struct ctx *c, const char *said)
{
	const char *name = jstr(ctx_args(c), "detail.uuid", said);
	const char *const there[] = { "virsh", "-q", "dominfo", name, NULL };
	const char *const destroy[] = { "virsh", "-q", "destroy", name, NULL };
	const char *const undefine[] = { "virsh", "-q", "undefine", "--nvram", name, NULL };
	static const char *const list[] = { "list", "--all", "--name", NULL };
	AUTO_ERR e = {0};

	if (name[0] == '-')
		return 0;
	if (!answers(there)) {	/* nor does a libvirt that answers nobody have it */
		if (virsh_tell(list, NULL, &e) == 0)
			return 0;
		ctx_hint(c, "make libvirt there answer (virsh list --all), then type the same again");
		return ctx_fail(c, "cannot tell whether domain '%s' is gone: %s", said, e.what);
	}
	answers(destroy);	/* fine when it does not run */
	return run(c, undefine);
}

/* The next pass reads all of the disk instead of what was written. */
static int end_tracker(struct ctx *c, const char *name)
{
	AUTO_ERR e = {0};

	return track_end(name, &e) < 0 ? ctx_fail_err(c, &e) : 0;
}

/* The same, by dirty bitmap. */
static int end_checkpoint(struct ctx *c, const char *name)
{
	AUTO_ERR e = {0};

	return checkpoint_remove(name, jget(ctx_args(c), "detail"), &e) < 0 ?
		ctx_fail_err(c, &e) : 0;
}

/* And by snapshots of volumes. */
static int end_snapshots(struct ctx *c, const char *name)
{
	AUTO_ERR e = {0};

	return snapshot_remove(name, &e) < 0 ? ctx_fail_err(c, &e) : 0;
}

static int remove_unit(struct ctx *c, const char *name)
{
	const char *const stop[] = { "systemctl", "disable", "--now", name, NULL };
	const char *const reload[] = { "systemctl", "daemon-reload", NULL };
	AUTO_FREE char *path = mem_printf("/etc/systemd/system/%s", name);

	if (strchr(name, '/') || name[0] == '-')
		return ctx_fail(c, "cannot remove unit '%s': not a name", name);
	if (access(path, F_OK) < 0)
		return 0;
	if (run(c, stop) < 0)
		return -1;
	if (unlink(path) < 0)
		return ctx_fail_sys(c, "cannot remove '%s'", path);
	return run(c, reload);
}

static int let_go(struct ctx *c, const char *name)
{
	return freeze_release(c, name, jget(ctx_args(c), "detail.mounts"));
}

static const struct {
	const char *kind;
	int (*remove)(struct ctx *c, const char *name);
} kinds[] = {
	{ "process", end_process }, { "file", remove_file }, { "snapshot", remove_file },
	{ "netns", remove_netns }, { "port", remove_port },
	{ "domain", remove_domain }, { "unit", remove_unit },
	{ "freeze", let_go }, { "tracker", end_tracker },
	{ "checkpoint", end_checkpoint }, { "lvm-snapshot", end_snapshots },
};

static int apply(struct ctx *c)
{
	const char *kind = jstr(ctx_args(c), "kind", "");
	const char *name = jstr(ctx_args(c), "name", "");

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i].kind, kind) == 0)
			return name[0] ? kinds[i].remove(c, name) : 0;
	ctx_hint(c, "this agent is older than the state: take it away by hand");
	return ctx_fail(c, "cannot remove '%s': nothing is known of the kind '%s'", name,
			kind);
}

static int probe(struct ctx *c, enum probe_state *state)
{
	(void)c;
	*state = STATE_ABSENT;
	return 0;
}

const struct module module_call_cleanup = {
	.name = "call.cleanup",
	.summary = "take away one thing that the ledger names",
	.place = ON_AT,
	.params = params,
	.tools = tools,
	.probe = probe,
	.apply = apply,
};
