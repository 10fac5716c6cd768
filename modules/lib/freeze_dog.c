/* SPDX-License-Identifier: Apache-2.0
 * freeze_dog - the watchdog. Between the first freeze and the last thaw it touches
 * no file system that may be frozen: its memory is locked, its descriptors are
 * open, it allocates nothing, runs nothing and looks up no path but /proc/self/fd.
 */
#include "modules/lib/freeze_priv.h"

#include "engine/base/clock.h"
#include "engine/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LAST_MEANS_MS 10000	/* after the deadline, when thawing itself is stuck */
#define ANSWER_MAX 256

struct guard {
	pthread_mutex_t lock;
	uint64_t until;		/* mono ms; 0: all is thawed */
	int sysrq;		/* /proc/sysrq-trigger, or -1 */
};
static struct guard guard = { PTHREAD_MUTEX_INITIALIZER, 0, -1 };

static uint64_t now(void)
{
	return clock_real.mono_ms(NULL);
}

static void guard_until(uint64_t until)
{
	pthread_mutex_lock(&guard.lock);
	guard.until = until;
	pthread_mutex_unlock(&guard.lock);
}

/* The kernel's own emergency thaw: for when FIFREEZE or FITHAW does not return. */
static void last_means(void)
{
	if (guard.sysrq >= 0)
		io_write_full(guard.sysrq, "j", 1);
}

static void *guard_main(void *arg)
{
	struct timespec nap = { 0, 200 * 1000000 };

	for (;;) {
		uint64_t until;

		nanosleep(&nap, NULL);
		pthread_mutex_lock(&guard.lock);
		until = guard.until;
		pthread_mutex_unlock(&guard.lock);
		if (until && now() > until + LAST_MEANS_MS) {
			last_means();
			guard_until(now());
		}
	}
	return arg;
}

/* ---- freeze and thaw ------------------------------------------------------------ */

static int remount(const struct freeze_mount *m, bool read_only)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", m->fd);
	return mount(NULL, path, NULL, MS_REMOUNT | m->flags | (read_only ? MS_RDONLY : 0), NULL);
}

/* In reverse order. False: some was not frozen any more, or does not thaw. */
static bool thaw_all(struct freeze_dog *d)
{
	bool good = true;

	for (size_t i = d->n; i-- > 0;) {
		struct freeze_mount *m = &d->mounts[i];

		if (m->frozen && ioctl(m->fd, FITHAW, 0) < 0) {
			good = false;
			if (errno != EINVAL)
				last_means();
		}
		if (m->read_only && remount(m, false) < 0)
			good = false;
		m->frozen = m->read_only = false;
	}
	guard_until(0);
	return good;
}

/* A file system that has no freeze (the ESP) is synced, and read-only where nobody
 * writes to it just now. */
static int freeze_one(struct freeze_mount *m)
{
	if (ioctl(m->fd, FIFREEZE, 0) == 0) {
		m->frozen = true;
		return 0;
	}
	if (errno != EOPNOTSUPP && errno != ENOTTY)
		return -1;
	if (remount(m, true) == 0)
		m->read_only = true;
	return syncfs(m->fd);
}

static int freeze_all(struct freeze_dog *d, char why[ANSWER_MAX])
{
	for (size_t i = 0; i < d->n; i++)
		syncfs(d->mounts[i].fd);	/* the bulk of it, while all still runs */
	for (size_t i = 0; i < d->n; i++) {
		struct freeze_mount *m = &d->mounts[i];
		int saved;

		if (freeze_one(m) == 0)
			continue;
		saved = errno;
		thaw_all(d);
		snprintf(why, ANSWER_MAX, "cannot freeze '%.150s': %s", m->dir,
			 saved == EBUSY ? "somebody froze it already" : strerror(saved));
		return -1;
	}
	return 0;
}

/* ---- being told ------------------------------------------------------------------ */

struct life {
	struct freeze_dog *d;
	uint64_t until;		/* the deadline */
};

static void answer(int fd, const char *text)
{
	send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void tell_state(struct life *l, int fd)
{
	char text[ANSWER_MAX];
	uint64_t t = now();

	snprintf(text, sizeof(text), "frozen %zu %llu", l->d->n,
		 (unsigned long long)(l->until > t ? l->until - t : 0));
	answer(fd, text);
}

static void tell_power_off(int fd)
{
	char text[ANSWER_MAX];

	reboot(RB_POWER_OFF);
	snprintf(text, sizeof(text), "error %s", strerror(errno));
	answer(fd, text);
}

/* True: the freeze is over. */
static bool obey(struct life *l, int fd)
{
	struct ucred who = {0};
	socklen_t size = sizeof(who);
	char word[64] = {0};
	struct pollfd p = { fd, POLLIN, 0 };
	bool good;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 ||
	    (who.uid != 0 && who.uid != geteuid()) || poll(&p, 1, 1000) <= 0 ||
	    recv(fd, word, sizeof(word) - 1, 0) <= 0)
		return false;
	if (strcmp(word, "thaw") == 0) {
		good = thaw_all(l->d);
		answer(fd, good ? "thawed" : "error something else had thawed it");
		return true;
	}
	if (strncmp(word, "extend ", 7) == 0) {
		l->until = now() + strtoul(word + 7, NULL, 10);
		guard_until(l->until);
	}
	if (strcmp(word, "off") == 0)
		tell_power_off(fd);
	else
		tell_state(l, fd);
	return false;
}

static bool agent_gone(const struct freeze_dog *d)
{
	struct pollfd p = { d->agent, POLLIN, 0 };

	if (d->agent >= 0)
		return poll(&p, 1, 0) > 0;
	return kill(d->agent_pid, 0) < 0 && errno == ESRCH;
}

static void live(struct life *l)
{
	struct freeze_dog *d = l->d;

	for (;;) {
		struct pollfd p[2] = { { d->listener, POLLIN, 0 }, { d->agent, POLLIN, 0 } };
		uint64_t t = now();
		int fd;

		if (t >= l->until || agent_gone(d))
			return;
		poll(p, 2, l->until - t < 500 ? (int)(l->until - t) : 500);
		if (!(p[0].revents & POLLIN))
			continue;
		fd = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		if (obey(l, fd)) {
			close(fd);
			return;
		}
		close(fd);
	}
}

/* ---- from birth to death ---------------------------------------------------------- */

static bool is_kept(const struct freeze_dog *d, int fd)
{
	if (fd == d->listener || fd == d->agent || fd == d->report)
		return true;
	for (size_t i = 0; i < d->n; i++)
		if (fd == d->mounts[i].fd)
			return true;
	return false;
}

/* Nothing of the step stays open: whoever waits for its end must see it. */
static void let_go(const struct freeze_dog *d)
{
	int null = open("/dev/null", O_RDWR);

	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	for (int fd = 3; fd < (int)sysconf(_SC_OPEN_MAX) && fd < 65536; fd++)
		if (!is_kept(d, fd))
			close(fd);
}

static void harden(void)
{
	static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGQUIT };
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	pthread_t t;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	if (fd >= 0) {
		if (write(fd, "-1000", 5) < 0)
			errno = 0;	/* not root of the whole machine: as it was */
		close(fd);
	}
	if (chdir("/proc") < 0)
		errno = 0;
	guard.sysrq = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	mlockall(MCL_CURRENT | MCL_FUTURE);
	if (pthread_create(&t, NULL, guard_main, NULL) == 0)
		pthread_detach(t);
}

_Noreturn void freeze_dog(struct freeze_dog *d)
{
	char why[ANSWER_MAX] = "ok";
	struct life l = { .d = d };
	int rc;

	let_go(d);
	harden();
	l.until = now() + d->deadline_ms;
	guard_until(l.until);
	rc = freeze_all(d, why);
	io_write_full(d->report, why, strlen(why));
	close(d->report);
	if (rc == 0)
		live(&l);
	thaw_all(d);
	_exit(0);
}
