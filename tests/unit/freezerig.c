/* SPDX-License-Identifier: Apache-2.0
 * freezerig - two file systems of the test's own to freeze, and the calls that do it.
 */
#include "tests/unit/freezerig.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "tests/unit/modtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define HANG_MS 120000		/* a test takes seconds */

bool fz_can_run;

static int run(const char *const *argv, struct str *out)
{
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	int rc = proc_run(&p, NULL);

	if (out) {
		*out = p.out;
		p.out = (struct str){0};
	}
	proc_free(&p);
	return rc;
}

/* Any one of its kind, on a loop device of its own. */
static char *make_loop(const char *file, const char *const *mkfs)
{
	const char *const attach[] = { "losetup", "-f", "--show", file, NULL };
	AUTO_STR out = {0};
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(ftruncate(fd, 8 << 20), 0);
	close(fd);
	assert_int_equal(run(mkfs, NULL), 0);
	assert_int_equal(run(attach, &out), 0);
	out.s[strcspn(out.s, "\n")] = '\0';
	return mem_strdup(out.s);
}

/* Where it is mounted is made, too. */
static void make_disk(struct fz_world *w, int i, const char *file, const char *where, bool ntfs)
{
	const char *const mkfs[] = { "mkfs.ext4", "-q", "-O", "^has_journal", file, NULL };
	const char *const mkntfs[] = { "mkntfs", "-q", "-F", file, NULL };

	w->loop[i] = make_loop(file, ntfs ? mkntfs : mkfs);
	w->mount[i] = mem_printf("%s/%s", w->dir, where);
	assert_int_equal(io_mkdirs(w->mount[i], 0700), 0);
	if (ntfs) {
		const char *const ntfs_3g[] = { "ntfs-3g", w->loop[i], w->mount[i], NULL };

		assert_int_equal(run(ntfs_3g, NULL), 0);
		return;
	}
	assert_int_equal(mount(w->loop[i], w->mount[i], "ext4", 0, NULL), 0);
}

static json_t *fact_disk(const char *name, const char *path)
{
	return json_pack("{s:s,s:s,s:s}", "name", name, "path", path, "kind", "block");
}

static bool can_ntfs(void)
{
	AUTO_FREE char *mkntfs = proc_which("mkntfs"), *ntfs_3g = proc_which("ntfs-3g");

	return mkntfs && ntfs_3g && access("/dev/fuse", R_OK | W_OK) == 0;
}

/* ---- what is taken away, whatever became of the test ------------------------------------- */

static bool holds(const char *pid, const char *dir)
{
	AUTO_FREE char *path = mem_printf("/proc/%s/fd", pid);
	DIR *fds = atoi(pid) > 0 && atoi(pid) != getpid() ? opendir(path) : NULL;
	struct dirent *entry;
	bool yes = false;

	while (fds && !yes && (entry = readdir(fds))) {
		char to[256] = "";

		yes = readlinkat(dirfd(fds), entry->d_name, to, sizeof(to) - 1) > 0 &&
		      !strcmp(to, dir);
	}
	if (fds)
		closedir(fds);
	return yes;
}

/* Keeper and watchdog, of which each starts the other anew. */
static void end_holders(const struct fz_world *w)
{
	bool any = true;

	while (any) {
		DIR *proc = opendir("/proc");
		struct dirent *entry;

		any = false;
		while (proc && (entry = readdir(proc)))
			if (holds(entry->d_name, w->mount[0]) || holds(entry->d_name, w->mount[1])) {
				kill((pid_t)atoi(entry->d_name), SIGKILL);
				any = true;
			}
		if (proc)
			closedir(proc);
	}
}

/* The first one first: the other may lie in a file of it, and writes as it thaws. */
static void thaw(const struct fz_world *w)
{
	for (int i = 0; i < 2; i++) {
		AUTO_FD fd = w->mount[i] ? open(w->mount[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

		if (fd >= 0)
			ioctl(fd, FITHAW, 0);
	}
}

static void take_away(const struct fz_world *w)
{
	thaw(w);	/* what is frozen would keep its device without any mount */
	for (int i = 1; i >= 0; i--) {
		const char *const detach[] = { "losetup", "-d", w->loop[i], NULL };

		if (!w->loop[i])
			continue;
		umount2(w->mount[i], MNT_DETACH);
		run(detach, NULL);
	}
	io_remove_tree(w->dir);
}

/* Who waits for a frozen file system gets no signal before the thaw. */
static _Noreturn void guard(const struct fz_world *w, int test, int ms)
{
	struct pollfd p = { .fd = test, .events = POLLIN };

	setsid();	/* what ends the test's group must not end its guard */
	if (poll(&p, 1, ms) == 0) {
		fprintf(stderr, "a test hung for %d ms: it is killed, and what it froze is thawed\n", ms);
		syscall(SYS_pidfd_send_signal, test, SIGKILL, NULL, 0);
		thaw(w);
		poll(&p, 1, -1);
	}
	thaw(w);
	end_holders(w);
	take_away(w);
	_exit(0);
}

static void unguard(struct fz_world *w)
{
	if (!w->guard)
		return;
	kill(w->guard, SIGKILL);
	waitpid(w->guard, NULL, 0);
	w->guard = 0;
}

void fz_guard(struct fz_world *w, int ms)
{
	AUTO_FD test = (int)syscall(SYS_pidfd_open, getpid(), 0);

	assert_true(test >= 0);
	unguard(w);
	w->guard = fork();
	if (w->guard == 0)
		guard(w, test, ms);
	assert_true(w->guard > 0);
}

/* ---- set up, tear down -------------------------------------------------------------------- */

static void set_up(void **state, const char *second, const char *where, bool ntfs)
{
	struct fz_world *w = mem_alloc(sizeof(*w));
	AUTO_FREE char *first = NULL, *file = NULL;

	*state = w;
	snprintf(w->dir, sizeof(w->dir), "/tmp/drover-test.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	if (!fz_can_run || (ntfs && !can_ntfs()))
		return;
	first = mem_printf("%s/disk0", w->dir);
	file = mem_printf("%s/%s", w->dir, second);
	make_disk(w, 0, first, "a", false);
	make_disk(w, 1, file, where, ntfs);
	fz_guard(w, HANG_MS);
	w->input = json_pack("{s:{s:i}, s:{s:s,s:{s:s,s:s}}, s:{s:{s:[o,o]}}, s:{s:b}}",
			     "args", "hold", 60000, "machine", "name", "m", "source", "host",
			     "a", "kind", "block", "facts", "machine", "disks",
			     fact_disk("root", w->loop[0]), fact_disk("data", w->loop[1]),
			     "run", "preview", 0);
	assert_non_null(w->input);
}

int fz_set_up(void **state)
{
	set_up(state, "disk1", "a/b", false);
	return 0;
}

int fz_set_up_nested(void **state)
{
	set_up(state, "a/disk1", "b", false);
	return 0;
}

int fz_set_up_unfrozen(void **state)
{
	set_up(state, "disk1", "a/b", true);
	return 0;
}

int fz_tear_down(void **state)
{
	struct fz_world *w = *state;

	unguard(w);
	take_away(w);
	for (int i = 0; i < 2; i++) {
		free(w->loop[i]);
		free(w->mount[i]);
	}
	json_decref(w->input);
	free(w);
	return 0;
}

/* A second freeze is refused where there is one; else it is taken back at once. */
bool fz_frozen(const char *dir)
{
	AUTO_FD fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	if (ioctl(fd, FIFREEZE, 0) < 0) {
		assert_int_equal(errno, EBUSY);
		return true;
	}
	assert_int_equal(ioctl(fd, FITHAW, 0), 0);
	return false;
}

/* A write waits as long as the file system is frozen: no clock is needed. */
void fz_wait_for_thaw(const char *dir)
{
	AUTO_FREE char *path = mem_printf("%s/written", dir);

	assert_int_equal(io_write_file(AT_FDCWD, path, "x", 1, 0600), 0);
}

/* What the ledger holds after these events: the last entry, or NULL. Borrowed. */
static const json_t *entry_of(const json_t *events)
{
	const json_t *event, *entry = NULL;
	size_t i;

	json_array_foreach(events, i, event)
		if (!strcmp(jstr(event, "e", ""), "ledger"))
			entry = strcmp(jstr(event, "op", ""), "add") ? NULL : event;
	return entry;
}

json_t *fz_call(struct fz_world *w, const char *op)
{
	json_t *events = NULL;
	json_t *r = modtest_call("cutover.quiesce", op, w->input, &events);

	modtest_keep(w->input, events);
	if (!strcmp(op, "apply") || !strcmp(op, "undo"))
		jset(w->input, "ledger", json_deep_copy(entry_of(events)));
	json_decref(events);
	return r;
}

void fz_must(struct fz_world *w, const char *op)
{
	AUTO_JSON *r = fz_call(w, op);

	if (!jbool(r, "ok", false))
		fail_msg("%s: %s", op, jstr(r, "error.text", "?"));
}

void fz_state_is(struct fz_world *w, const char *want)
{
	AUTO_JSON *r = fz_call(w, "probe");

	assert_true(jbool(r, "ok", false));
	assert_string_equal(jstr(r, "state", ""), want);
}

static pid_t parent_of(pid_t pid)
{
	AUTO_FREE char *path = mem_printf("/proc/%d/stat", (int)pid);
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, 4096, NULL);
	const char *after = text ? strrchr(text, ')') : NULL;

	return after ? (pid_t)strtol(after + 4, NULL, 10) : 0;
}

/* Keeper and watchdog, once both are there. */
void fz_find_pair(const struct fz_world *w, pid_t *keeper, pid_t *dog)
{
	*keeper = *dog = 0;
	while (!*dog) {
		pid_t found[2] = { 0, 0 };
		DIR *proc = opendir("/proc");
		struct dirent *entry;
		int n = 0;

		while ((entry = readdir(proc)))
			if (holds(entry->d_name, w->mount[0]) && n++ < 2)
				found[n - 1] = (pid_t)atoi(entry->d_name);
		closedir(proc);
		for (int i = 0; n == 2 && i < 2; i++)
			if (parent_of(found[i]) == found[!i]) {
				*keeper = found[!i];
				*dog = found[i];
			}
	}
}

void fz_look(void)
{
	AUTO_FREE char *losetup = proc_which("losetup"), *mkfs = proc_which("mkfs.ext4");

	fz_can_run = geteuid() == 0 && losetup && mkfs && unshare(CLONE_NEWNS) == 0 &&
		     mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}
