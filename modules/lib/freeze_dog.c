/* SPDX-License-Identifier: Apache-2.0
 * freeze_dog - the watchdog. Between the first freeze and the last thaw it touches
 * no file system that may be frozen: its memory is locked, its descriptors are
 * open, it allocates nothing, runs nothing and looks up no path but /proc/self/fd.
 */
#include "modules/lib/freeze_priv.h"

#include "engine/base/clock.h"
#include "engine/base/io.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOK_MS 200		/* how often it looks whether agent and keeper live */

static uint64_t now(void)
{
	return clock_real.mono_ms(NULL);
}

/* ---- being told ------------------------------------------------------------------ */

static void answer(int fd, const char *text)
{
	send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void tell_state(struct freeze_dog *d, int fd)
{
	char text[FREEZE_ANSWER];
	uint64_t until = atomic_load(&d->shared->until), t = now();

	if (freeze_lasts(d))
		snprintf(text, sizeof(text), "frozen %zu %llu %d", d->n,
			 (unsigned long long)(until > t ? until - t : 0),
			 atomic_load(&d->shared->sealed) ? 0 : (int)d->agent_pid);
	else
		snprintf(text, sizeof(text), "error something else thawed it");
	answer(fd, text);
}

static void tell_power_off(int fd)
{
	char text[FREEZE_ANSWER];

	reboot(RB_POWER_OFF);
	snprintf(text, sizeof(text), "error %s", strerror(errno));
	answer(fd, text);
}

static void tell_thaw(struct freeze_dog *d, int fd)
{
	bool good = freeze_lasts(d);

	good = freeze_thaw_all(d) && good;
	answer(fd, good ? "thawed" : atomic_load(&d->shared->last_means) ?
	       "error it did not thaw: the kernel's emergency thaw (sysrq j) let go of all "
	       "freezes of this machine, others' too" : "error something else had thawed it");
}

/* "extend 5000": so long from now. "seal 5000": that long, even without the agent. */
static bool prolong(struct freeze_dog *d, const char *word)
{
	const char *ms = strchr(word, ' ');

	if (!ms || (strncmp(word, "extend ", 7) != 0 && strncmp(word, "seal ", 5) != 0))
		return false;
	atomic_store(&d->shared->until, now() + strtoul(ms + 1, NULL, 10));
	if (word[0] == 's')
		atomic_store(&d->shared->sealed, true);
	return true;
}

static bool may_say(int fd)
{
	struct ucred who = {0};
	socklen_t size = sizeof(who);
	struct pollfd p = { fd, POLLIN, 0 };

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
	       (who.uid == 0 || who.uid == geteuid()) && poll(&p, 1, 1000) > 0;
}

static void obey(struct freeze_dog *d, int fd)
{
	char word[64] = {0};

	if (!may_say(fd) || recv(fd, word, sizeof(word) - 1, 0) <= 0)
		return;
	if (strcmp(word, "thaw") == 0) {
		tell_thaw(d, fd);
	} else if (strcmp(word, "off") == 0) {
		tell_power_off(fd);
	} else {
		prolong(d, word);
		tell_state(d, fd);
	}
}

static bool agent_gone(const struct freeze_dog *d)
{
	struct pollfd p = { d->agent, POLLIN, 0 };

	if (atomic_load(&d->shared->sealed))
		return false;
	if (d->agent >= 0)
		return poll(&p, 1, 0) > 0;
	return kill(d->agent_pid, 0) < 0 && errno == ESRCH;
}

/* Until the freeze is over, or the keeper is. */
static void live(struct freeze_dog *d)
{
	while (getppid() == d->keeper && atomic_load(&d->shared->phase) != FREEZE_OVER) {
		struct pollfd p[2] = { { d->listener, POLLIN, 0 }, { d->agent, POLLIN, 0 } };
		uint64_t until = atomic_load(&d->shared->until), t = now();
		bool sealed = atomic_load(&d->shared->sealed);
		int fd;

		if (t >= until || agent_gone(d)) {
			freeze_thaw_all(d);
			return;
		}
		poll(p, sealed ? 1 : 2, until - t < LOOK_MS ? (int)(until - t) : LOOK_MS);
		if (!(p[0].revents & POLLIN) || agent_gone(d))
			continue;
		fd = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		obey(d, fd);
		close(fd);
	}
}

static int begin(struct freeze_dog *d)
{
	char why[FREEZE_ANSWER] = "ok";
	int rc = freeze_all(d, why);

	io_write_full(d->report, why, strlen(why));
	close(d->report);
	d->report = -1;
	return rc;
}

_Noreturn void freeze_dog(struct freeze_dog *d)
{
	bool takes_over = d->report < 0;

	mlockall(MCL_CURRENT | MCL_FUTURE);	/* a fork is not locked */
	if (takes_over && atomic_load(&d->shared->phase) == FREEZE_BEGINS)
		freeze_thaw_all(d);	/* nobody waits for this freeze any more */
	if (!takes_over && begin(d) < 0)
		_exit(0);
	live(d);
	if (atomic_load(&d->shared->phase) != FREEZE_OVER)
		freeze_keep_on(d);
	_exit(0);
}
