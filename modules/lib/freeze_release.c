/* SPDX-License-Identifier: Apache-2.0
 * freeze_release - letting go of a freeze by its name: the watchdog is told to, and when
 * none is left it is done here.
 */
#include "modules/lib/freeze.h"

#include "engine/base/addr.h"
#include "engine/base/mem.h"
#include "modules/lib/freeze_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MS 120000	/* a thaw may have much to write */

bool freeze_named(const char *name)
{
	return strncmp(name, FREEZE_NAME, strlen(FREEZE_NAME)) == 0;
}

bool freeze_say(const char *name, const char *word, char out[FREEZE_ANSWER])
{
	AUTO_FD fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;
	socklen_t n = addr_local(name, &a);
	struct pollfd p = { fd, POLLIN, 0 };
	ssize_t got;

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, n) < 0 ||
	    send(fd, word, strlen(word), MSG_NOSIGNAL) < 0 || poll(&p, 1, ANSWER_MS) <= 0)
		return false;
	got = recv(fd, out, FREEZE_ANSWER - 1, 0);
	out[got > 0 ? got : 0] = '\0';
	return got > 0;
}

/* ---- when no watchdog is left ----------------------------------------------------------- */

/* It had no freeze: it was remounted. */
static int rw_again(struct ctx *c, const char *dir, unsigned long flags)
{
	struct statvfs v;

	if (statvfs(dir, &v) < 0 || !(v.f_flag & ST_RDONLY))
		return 0;
	if (mount(NULL, dir, NULL, MS_REMOUNT | flags, NULL) < 0)
		return ctx_fail_sys(c, "cannot make '%s' writable again", dir);
	ctx_log(c, "'%s' is writable again", dir);
	return 0;
}

/* Fine when it is not frozen, or when another file system is there by now. */
static int thaw_by_hand(struct ctx *c, const json_t *mount)
{
	const char *dir = jstr(mount, "dir", "");
	AUTO_FD fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 ||
	    (int64_t)st.st_dev != jint(mount, "dev", (int64_t)st.st_dev))
		return 0;
	if (ioctl(fd, FITHAW, 0) == 0) {
		ctx_log(c, "thawed '%s', whose watchdog had been killed", dir);
		return 0;
	}
	if (errno == EOPNOTSUPP || errno == ENOTTY)
		return rw_again(c, dir, (unsigned long)jint(mount, "flags", 0));
	return errno == EINVAL ? 0 : ctx_fail_sys(c, "cannot thaw '%s'", dir);
}

int freeze_release(struct ctx *c, const char *name, const json_t *mounts)
{
	char said[FREEZE_ANSWER];
	size_t n = json_array_size(mounts);
	int rc = 0;

	if (!freeze_named(name))
		return ctx_fail(c, "cannot let go of '%s': that is no freeze", name);
	if (freeze_say(name, "thaw", said)) {
		if (strcmp(said, "thawed") != 0)
			ctx_log(c, "the freeze: %s", said);
		return 0;
	}
	while (n-- > 0)		/* as it was frozen, backwards */
		if (thaw_by_hand(c, json_array_get(mounts, n)) < 0)
			rc = -1;
	return rc;
}

/* What would be frozen now: for a list of what was that cannot be read. */
static json_t *mounts_now(const json_t *machine)
{
	struct freeze_mount *mounts = NULL;
	json_t *out = json_array(), *o;
	size_t n = 0;

	freeze_mounts(machine, &mounts, &n, NULL);
	for (size_t i = 0; i < n; i++) {
		o = json_object();
		jset_str(o, "dir", mounts[i].dir);
		jset_int(o, "flags", (int64_t)mounts[i].flags);
		jadd(out, o);
	}
	freeze_mounts_free(mounts, n);
	return out;
}

int freeze_undo(struct ctx *c)
{
	const char *name = ctx_kept(c, "freeze", NULL), *text = ctx_kept(c, "frozen", NULL);
	AUTO_JSON *mounts = text ? json_parse(text, strlen(text), NULL) : NULL;

	if (!name)
		return 0;
	if (text && !mounts) {
		ctx_log(c, "the list of what was frozen is damaged: all that could be is thawed; "
			"what cannot freeze, such as /boot/efi, may be read-only still");
		mounts = mounts_now(ctx_fact(c, "machine"));
	}
	if (freeze_release(c, name, mounts) < 0)
		return -1;
	return ctx_ledger_del(c, "freeze", name);
}
