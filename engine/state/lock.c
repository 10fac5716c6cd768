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

static void set_file_line(json_t *o, const char *key, const char *path)
{
	AUTO_FREE char *s = io_read_file(AT_FDCWD, path, 256, NULL);

	if (s)
		s[strcspn(s, "\n")] = '\0';
	jset_str(o, key, s ? s : "");
}

static char *info_make(const char *run, int64_t now)
{
	AUTO_JSON *o = json_object();
	const struct passwd *pw = getpwuid(geteuid());
	char host[256] = "", since[21];

	gethostname(host, sizeof(host) - 1);
	clock_iso(now, since);
	jset_int(o, "pid", getpid());
	jset_str(o, "host", host);
	if (pw)
		jset_str(o, "user", pw->pw_name);
	else
		jset_strf(o, "user", "uid %u", (unsigned)geteuid());
	jset_str(o, "run", run);
	jset_str(o, "since", since);
	set_file_line(o, "boot", "/proc/sys/kernel/random/boot_id");
	return json_pretty(o);
}

/* The text may be that of a holder who died, or not yet be there. */
static bool info_current(const json_t *o)
{
	AUTO_JSON *here = json_object();
	char host[256] = "";

	if (jint(o, "pid", 0) <= 0)
		return false;
	gethostname(host, sizeof(host) - 1);
	set_file_line(here, "boot", "/proc/sys/kernel/random/boot_id");
	if (strcmp(jstr(o, "host", ""), host) != 0)
		return true;		/* on another machine: cannot be asked */
	return strcmp(jstr(o, "boot", ""), jstr(here, "boot", "")) == 0 &&
		(kill((pid_t)jint(o, "pid", 0), 0) == 0 || errno == EPERM);
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
	return err_hint(e, "wait until that run ends; `drover status PLAN` shows it, "
			"`kill %lld` on %s stops it at a safe point",
			(long long)jint(o, "pid", 0), jstr(o, "host", "?"));
}

int lock_take(const char *dir, const char *run, int64_t now, struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/lock", dir), *info = NULL;
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int out;

	if (fd < 0) {
		err_sys(e, "cannot lock state '%s'", dir);
		return err_hint(e, "recording needs a directory that can be written to: "
				"mend that, or name another one with --state DIR");
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? held(dir, path, e) :
			err_sys(e, "cannot lock state '%s'", dir);
	info = info_make(run, now);
	if (ftruncate(fd, 0) < 0 || io_pwrite_full(fd, info, strlen(info), 0) < 0)
		return err_sys(e, "cannot lock state '%s'", dir);
	out = fd;
	fd = -1;
	return out;
}

void lock_release(int fd)
{
	if (fd < 0)
		return;
	/* Best effort: a text that stays names a dead pid and is not believed. */
	if (ftruncate(fd, 0) < 0)
		errno = 0;
	close(fd);
}

/* Asked of the text alone: trying the lock would make a start beside it fail. */
char *lock_holder(const char *dir)
{
	AUTO_FREE char *path = mem_printf("%s/lock", dir);
	AUTO_JSON *o = info_read(path);

	return o ? info_text(o) : NULL;
}
