/* SPDX-License-Identifier: Apache-2.0
 * lock - flock and the text that says who.
 */
#include "engine/state/lock.h"
#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define INFO_MAX 4096
#define ASKING "next"		/* who asks has a lock on it; many may at once */
#define OFFERED "yields"
#define NAMELESS_MS 5000	/* how long one is waited for that does not say who it is ... */
#define NAP_MS 50		/* ... and how often it is looked at */

static void set_file_line(json_t *o, const char *key, const char *path)
{
	AUTO_FREE char *s = io_read_file(AT_FDCWD, path, 256, NULL);

	if (s)
		s[strcspn(s, "\n")] = '\0';
	jset_str(o, key, s ? s : "");
}

/* The 22nd field of /proc/PID/stat: with it a pid is never taken for that of a process
 * that had the number before. 0: no such process. */
static int64_t started(int64_t pid)
{
	AUTO_FREE char *path = mem_printf("/proc/%lld/stat", (long long)pid);
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, INFO_MAX, NULL);
	const char *p = text ? strrchr(text, ')') : NULL;	/* behind its name */

	for (int field = 2; p && field < 22; field++)
		if ((p = strchr(p, ' ')))
			p++;
	return p ? strtoll(p, NULL, 10) : 0;
}

/* Where a pid means something: this boot of this machine, these pids. */
static void set_here(json_t *o)
{
	char name[256] = "", pids[64] = "";

	gethostname(name, sizeof(name) - 1);
	if (readlink("/proc/self/ns/pid", pids, sizeof(pids) - 1) < 0)
		pids[0] = '\0';
	jset_str(o, "host", name);
	jset_str(o, "pids", pids);
	set_file_line(o, "boot", "/proc/sys/kernel/random/boot_id");
	set_file_line(o, "machine", "/etc/machine-id");
}

static char *info_make(const char *run, int64_t now)
{
	AUTO_JSON *o = json_object();
	const struct passwd *pw = getpwuid(geteuid());
	char since[21];

	clock_iso(now, since);
	jset_int(o, "pid", getpid());
	jset_int(o, "started", started(getpid()));
	if (pw)
		jset_str(o, "user", pw->pw_name);
	else
		jset_strf(o, "user", "uid %u", (unsigned)geteuid());
	jset_str(o, "run", run);
	jset_str(o, "since", since);
	set_here(o);
	return json_pretty(o);
}

static bool same(const json_t *a, const json_t *b, const char *key)
{
	const char *x = jstr(a, key, "");

	return *x && strcmp(x, jstr(b, key, "")) == 0;
}

/* The text may be that of a holder who died, or not yet be there. What runs on another
 * machine, or under other pids, cannot be asked, and is believed. */
static bool info_current(const json_t *o)
{
	AUTO_JSON *here = json_object();
	int64_t pid = jint(o, "pid", 0);

	if (pid <= 0)
		return false;
	set_here(here);
	if (!same(o, here, "boot"))
		return !same(o, here, "machine") && !same(o, here, "host");
	if (!same(o, here, "pids"))
		return true;
	return (kill((pid_t)pid, 0) == 0 || errno == EPERM) &&
		started(pid) == jint(o, "started", 0);
}

static json_t *info_read(const char *path)
{
	size_t n;
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, INFO_MAX, &n);
	json_t *o = text ? json_loadb(text, n, 0, NULL) : NULL;

	if (json_is_object(o) && info_current(o))
		return o;
	json_decref(o);
	return NULL;
}

static char *info_text(const json_t *o)
{
	return mem_printf("pid %lld on %s (user %s, run %s) since %s",
			  (long long)jint(o, "pid", 0), jstr(o, "host", "?"),
			  jstr(o, "user", "?"), jstr(o, "run", "?"), jstr(o, "since", "?"));
}

static int held(const char *dir, const char *path, struct err *e)
{
	AUTO_JSON *o = info_read(path);
	AUTO_FREE char *who = o ? info_text(o) : NULL;

	err_set(e, ERR_HELD, "cannot use state '%s': it is held by %s", dir,
		who ? who : "another drover that is just starting");
	if (!o)
		return err_hint(e, "repeat the command in a moment");
	if (jbool(o, OFFERED, false))
		return err_hint(e, "it is a `drover sync --keep`: `drover cutover PLAN` takes over from "
				"it, `kill %lld` on %s ends it",
				(long long)jint(o, "pid", 0), jstr(o, "host", "?"));
	return err_hint(e, "wait until that run ends; `drover status PLAN` shows it, "
			"`kill %lld` on %s stops it at a safe point",
			(long long)jint(o, "pid", 0), jstr(o, "host", "?"));
}

/* 1: held by others. */
static int try_lock(int fd)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? 1 : -1;
}

static int not_locked(const char *dir, struct err *e)
{
	err_sys(e, "cannot lock state '%s'", dir);
	return err_hint(e, "recording needs a directory that can be written to: "
			"mend that, or name another one with --state DIR");
}

/* 1: held by others. */
static int take(struct lock *l, const char *dir, const char *path, struct err *e)
{
	l->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	l->dir = l->file < 0 ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (l->file < 0 || l->dir < 0)
		return not_locked(dir, e);
	/* a directory cannot be locked everywhere; its file can */
	if (try_lock(l->dir) > 0)
		return 1;
	switch (try_lock(l->file)) {
	case 0:
		return 0;
	case 1:
		return 1;
	default:
		return not_locked(dir, e);
	}
}

/* Who holds it and does not say so is about to say it, or was killed, and what it had
 * started is about to end. */
static bool is_nameless(const char *path)
{
	AUTO_JSON *o = info_read(path);

	return !o;
}

static int take_or_wait(struct lock *l, const char *dir, const char *path, struct err *e)
{
	for (int left = NAMELESS_MS / NAP_MS;; left--) {
		int rc = take(l, dir, path, e);

		if (rc == 0)
			return 0;
		mem_close_fd(&l->dir);
		mem_close_fd(&l->file);
		if (rc < 0)
			return -1;
		if (left == 0 || !is_nameless(path))
			return held(dir, path, e);
		usleep(NAP_MS * 1000);
	}
}

int lock_take(struct lock *l, const char *dir, const char *run, int64_t now, struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/lock", dir), *info = NULL;

	*l = (struct lock)LOCK_NONE;
	if (take_or_wait(l, dir, path, e) < 0)
		return -1;
	info = info_make(run, now);
	if (ftruncate(l->file, 0) < 0 || io_pwrite_full(l->file, info, strlen(info), 0) < 0) {
		err_sys(e, "cannot lock state '%s'", dir);
		lock_release(l);
		return -1;
	}
	return 0;
}

void lock_release(struct lock *l)
{
	if (l->file < 0)
		return;
	/* Best effort: a text that stays names a dead pid and is not believed. */
	if (ftruncate(l->file, 0) < 0)
		errno = 0;
	mem_close_fd(&l->file);
	mem_close_fd(&l->dir);
}

/* The text only grows: one write puts it in the place of the one before. */
int lock_offer(struct lock *l, struct err *e)
{
	AUTO_FREE char *text = mem_alloc(INFO_MAX), *now = NULL;
	ssize_t n = pread(l->file, text, INFO_MAX, 0);
	AUTO_JSON *o = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;

	if (!o)
		return err_sys(e, "cannot offer the state to others");
	jset_bool(o, OFFERED, true);
	now = json_pretty(o);
	if (io_pwrite_full(l->file, now, strlen(now), 0) < 0)
		return err_sys(e, "cannot offer the state to others");
	return 0;
}

bool lock_offered(const char *dir)
{
	AUTO_FREE char *path = mem_printf("%s/lock", dir);
	AUTO_JSON *o = info_read(path);

	return jbool(o, OFFERED, false);
}

bool lock_wanted(const struct lock *l)
{
	AUTO_FD fd = openat(l->dir, ASKING, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct flock f = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fd >= 0 && fcntl(fd, F_OFD_GETLK, &f) == 0 && f.l_type != F_UNLCK;
}

int lock_ask(const char *dir, struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/" ASKING, dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct flock f = { .l_type = F_RDLCK, .l_whence = SEEK_SET };

	if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &f) == 0)
		return fd;
	err_sys(e, "cannot ask for state '%s'", dir);
	mem_close_fd(&fd);
	return -1;
}

/* Asked of the text alone: trying the lock would make a start beside it fail. */
char *lock_holder(const char *dir)
{
	AUTO_FREE char *path = mem_printf("%s/lock", dir);
	AUTO_JSON *o = info_read(path);

	return o ? info_text(o) : NULL;
}
