/* SPDX-License-Identifier: Apache-2.0
 * freeze_hold - freeze and thaw what the watchdog holds. Nothing here allocates or
 * looks up a path but /proc/self/fd: some of it may be frozen.
 */
#include "modules/lib/freeze_priv.h"

#include "engine/base/io.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

void freeze_last_means(struct freeze_dog *d, const char *why)
{
	char text[FREEZE_ANSWER];

	if (d->sysrq < 0 || atomic_exchange(&d->shared->last_means, true))
		return;
	io_write_full(d->sysrq, "j", 1);
	snprintf(text, sizeof(text), "drover: all file systems thawed (sysrq j), because "
		 "%.150s\n", why);
	if (d->kmsg >= 0)
		io_write_full(d->kmsg, text, strlen(text));
}

static int remount(const struct freeze_mount *m, bool read_only)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", m->fd);
	return mount(NULL, path, NULL, MS_REMOUNT | m->flags | (read_only ? MS_RDONLY : 0), NULL);
}

/* EINVAL: it is not frozen. */
static bool thaw_one(struct freeze_dog *d, size_t i, int *failed)
{
	const struct freeze_mount *m = &d->mounts[i];
	bool good = true;

	if (atomic_load(&d->shared->frozen[i]) && ioctl(m->fd, FITHAW, 0) < 0) {
		good = false;
		if (errno != EINVAL)
			*failed = errno;
	}
	if (atomic_load(&d->shared->read_only[i]) && remount(m, false) < 0)
		good = false;
	atomic_store(&d->shared->frozen[i], false);
	atomic_store(&d->shared->read_only[i], false);
	return good;
}

bool freeze_thaw_all(struct freeze_dog *d)
{
	bool good = true;
	int failed = 0;

	for (size_t i = d->n; i-- > 0;)
		good = thaw_one(d, i, &failed) && good;
	if (failed) {
		char why[FREEZE_ANSWER];

		snprintf(why, sizeof(why), "FITHAW failed: %s", strerror(failed));
		freeze_last_means(d, why);
	}
	atomic_store(&d->shared->phase, FREEZE_OVER);
	return good;
}

/* A file system that has no freeze (the ESP) is synced, and read-only where nobody
 * writes to it just now. */
static int freeze_one(struct freeze_dog *d, size_t i)
{
	const struct freeze_mount *m = &d->mounts[i];
	int saved;

	atomic_store(&d->shared->frozen[i], true);
	if (ioctl(m->fd, FIFREEZE, 0) == 0)
		return 0;
	saved = errno;
	atomic_store(&d->shared->frozen[i], false);
	errno = saved;
	if (saved != EOPNOTSUPP && saved != ENOTTY)
		return -1;
	atomic_store(&d->shared->read_only[i], true);
	if (remount(m, true) < 0)
		atomic_store(&d->shared->read_only[i], false);
	return syncfs(m->fd);
}

int freeze_all(struct freeze_dog *d, char why[FREEZE_ANSWER])
{
	for (size_t i = 0; i < d->n; i++)
		syncfs(d->mounts[i].fd);	/* the bulk of it, while all still runs */
	for (size_t i = 0; i < d->n; i++) {
		int saved;

		if (freeze_one(d, i) == 0)
			continue;
		saved = errno;
		freeze_thaw_all(d);
		snprintf(why, FREEZE_ANSWER, "cannot freeze '%.150s': %s", d->mounts[i].dir,
			 saved == EBUSY ? "somebody froze it already" : strerror(saved));
		return -1;
	}
	atomic_store(&d->shared->phase, FREEZE_HELD);
	return 0;
}

/* Who is frozen refuses a second freeze. */
bool freeze_lasts(struct freeze_dog *d)
{
	for (size_t i = 0; i < d->n; i++) {
		int fd = d->mounts[i].fd;

		if (!atomic_load(&d->shared->frozen[i]) || ioctl(fd, FIFREEZE, 0) < 0)
			continue;
		ioctl(fd, FITHAW, 0);
		atomic_store(&d->shared->frozen[i], false);
		atomic_store(&d->shared->lost, true);
	}
	return !atomic_load(&d->shared->lost);
}
