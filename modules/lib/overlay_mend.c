/* SPDX-License-Identifier: Apache-2.0
 * overlay_mend - replay the journals of an overlay's file systems with e2fsck, which
 * sees one partition as a file: qemu-storage-daemon shows it by FUSE in a mount
 * namespace that ends with us. The host's kernel never mounts the guest.
 */
#include "modules/lib/overlay.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/guestfs.h"
#include "modules/lib/parttab.h"
#include "modules/lib/qemunbd.h"
#include "modules/lib/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHOWN_MS 20000		/* until the partition must be there */

/* What e2fsck may end with: see its manual. */
enum { FSCK_OK = 0, FSCK_MENDED = 1, FSCK_MENDED_REBOOT = 2, FSCK_LEFT = 4,
       NOT_SHOWN = 64 };

static pid_t show(const json_t *overlay, const json_t *part, const char *at)
{
	AUTO_FREE char *image = vm_blockdev("qcow2", "image", "file",
					    jstr(overlay, "path", ""), "read-only",
					    json_false());
	AUTO_FREE char *window = mem_printf("driver=raw,node-name=part,file=image,"
					    "offset=%lld,size=%lld",
					    (long long)jint(part, "start", 0),
					    (long long)jint(part, "size", 0));
	AUTO_FREE char *export = mem_printf("type=fuse,id=part,node-name=part,"
					    "mountpoint=%s,writable=on", at);
	AUTO_FREE char *program = proc_which("qemu-storage-daemon");
	char *argv[] = { program, "--blockdev", image, "--blockdev", window, "--export",
			 export, NULL };
	pid_t parent = getpid(), pid = program ? fork() : -1;

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(127);
		execv(program, argv);
		_exit(127);
	}
	return pid;
}

/* The file at `at` grows to the partition's size once it is shown. */
static int wait_shown(pid_t pid, const char *at, off_t size)
{
	uint64_t until = clock_real.mono_ms(clock_real.arg) + SHOWN_MS;
	struct stat st;

	while (stat(at, &st) == 0 && st.st_size != size) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return -1;
		if (clock_real.mono_ms(clock_real.arg) > until)
			return -1;
		usleep(5000);
	}
	return 0;
}

static int fsck(const char *at, bool fuzzy)
{
	const char *preen[] = { "e2fsck", "-f", "-p", at, NULL };
	const char *all[] = { "e2fsck", "-f", "-y", at, NULL };
	struct proc p = { .argv = preen, .timeout_ms = 3600 * 1000 };
	int status = proc_run(&p, NULL) == 0 ? 0 : p.status;

	proc_free(&p);
	if (status < FSCK_LEFT || !fuzzy)
		return status;
	p = (struct proc){ .argv = all, .timeout_ms = 3600 * 1000 };
	status = proc_run(&p, NULL) == 0 ? 0 : p.status;
	proc_free(&p);
	return status < FSCK_LEFT ? FSCK_MENDED_REBOOT : status;
}

static bool lies_in(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && path[n] == '/';
}

/* A file in a place that no other process sees, and that hides neither image. */
static char *private_file(const json_t *overlay)
{
	static const char *const dirs[] = { "/tmp", "/mnt", "/media", "/opt", "/srv" };

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		AUTO_FREE char *at = mem_printf("%s/part", dirs[i]);
		AUTO_FD fd = -1;

		if (lies_in(jstr(overlay, "path", ""), dirs[i]) ||
		    lies_in(jstr(overlay, "base", ""), dirs[i]) ||
		    mount("tmpfs", dirs[i], "tmpfs", 0, "size=1m") < 0)
			continue;
		fd = open(at, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
		if (fd >= 0)
			return mem_strdup(at);
	}
	return NULL;
}

/* In a child with mounts of its own. Exit status: e2fsck's; 64: not shown. */
static int mend_here(const json_t *overlay, const json_t *part, bool fuzzy)
{
	AUTO_FREE char *at = NULL;
	int status = NOT_SHOWN;
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    !(at = private_file(overlay)))
		return NOT_SHOWN;
	pid = show(overlay, part, at);
	if (pid < 0)
		return NOT_SHOWN;
	if (wait_shown(pid, at, (off_t)jint(part, "size", 0)) == 0)
		status = fsck(at, fuzzy);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	return status;
}

static int mend_one(struct ctx *c, const json_t *disk, const json_t *overlay,
		    const json_t *part, bool fuzzy)
{
	const char *name = jstr(disk, "name", "?");
	int number = (int)jint(part, "number", 0), status = 0;
	pid_t pid;

	ctx_log(c, "disk '%s', partition %d: its journal is replayed", name, number);
	pid = fork();
	if (pid == 0)
		_exit(mend_here(overlay, part, fuzzy));
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return ctx_fail_sys(c, "cannot start e2fsck");
	status = WIFEXITED(status) ? WEXITSTATUS(status) : NOT_SHOWN;
	if (status == FSCK_MENDED_REBOOT && fuzzy)
		ctx_finding(c, "warning", "replay.repaired", "rehearse with a quiesced pass for "
			    "an exact copy", "disk '%s', partition %d was copied while it was "
			    "written to; its file system was repaired on the overlay", name,
			    number);
	if (status < FSCK_LEFT)
		return 0;
	if (status >= NOT_SHOWN)
		return ctx_fail(c, "cannot replay the journal of disk '%s', partition %d: the "
				"partition cannot be shown to e2fsck (FUSE is needed)", name,
				number);
	ctx_fail(c, "cannot use disk '%s', partition %d: e2fsck finds damage that replaying "
		 "the journal does not mend (status %d)", name, number, status);
	ctx_hint(c, "check the file system on the source: e2fsck -f, while it is not mounted");
	return -1;
}

static int need_tools(struct ctx *c)
{
	static const char *const names[] = { "qemu-storage-daemon", "e2fsck" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO_FREE char *path = proc_which(names[i]);

		if (!path)
			return ctx_need_tool(c, names[i]);
	}
	return 0;
}

static int mend_disk(struct ctx *c, const json_t *disk, const json_t *overlay, bool fuzzy)
{
	bool dirty[PART_MAX] = { false };
	AUTO_ERR e = { 0 };
	struct disk *d = qemunbd_open_overlay(jstr(overlay, "path", ""),
					      jstr(overlay, "base", ""), 0, &e);
	size_t i;
	json_t *part;

	if (!d)
		return ctx_fail_err(c, &e);
	json_array_foreach(jget(disk, "partitions"), i, part)
		if (i < PART_MAX && guestfs_is_ext(part))
			dirty[i] = fsinfo_dirty(d, (uint64_t)jint(part, "start", 0),
						(uint64_t)jint(part, "size", 0));
	disk_close(&d, NULL);
	json_array_foreach(jget(disk, "partitions"), i, part)
		if (i < PART_MAX && dirty[i] &&
		    (need_tools(c) < 0 || mend_one(c, disk, overlay, part, fuzzy) < 0))
			return -1;
	return 0;
}

int overlay_mend(struct ctx *c, const json_t *machine, const json_t *overlays, bool fuzzy)
{
	size_t i;
	json_t *disk;

	json_array_foreach(jget(machine, "disks"), i, disk) {
		json_t *overlay = json_object_get(overlays, jstr(disk, "name", ""));

		if (overlay && mend_disk(c, disk, overlay, fuzzy) < 0)
			return -1;
	}
	return 0;
}
