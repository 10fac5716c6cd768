/* SPDX-License-Identifier: Apache-2.0
 * freeze_keep - the keeper: the watchdog's parent, which does nothing but look after
 * it. A watchdog that is killed has a successor with the same descriptors, which holds
 * the same freeze; one that is stuck beyond its time is thawed around. A keeper that is
 * killed is replaced by its watchdog. Only who kills both at once leaves a freeze
 * behind: that one stands in the ledger.
 */
#include "modules/lib/freeze_priv.h"

#include "engine/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LATE_MS 10000		/* after its time, a watchdog that is not over is stuck */
#define RESCUE_MS 10000		/* for a thaw by another process */
#define SUCCESSORS 100		/* who dies more often than that is not being killed */

static uint64_t now(void)
{
	return clock_real.mono_ms(NULL);
}

static void nap(void)
{
	struct timespec t = { 0, 50 * 1000000 };

	nanosleep(&t, NULL);
}

static bool ended(pid_t pid)
{
	pid_t got = waitpid(pid, NULL, WNOHANG);

	return got == pid || (got < 0 && errno == ECHILD);
}

/* In another process: FITHAW waits for ever behind a FIFREEZE that does. */
static void rescue(struct freeze_dog *d)
{
	uint64_t until = now() + RESCUE_MS;
	pid_t pid = fork();

	if (pid == 0) {
		freeze_thaw_all(d);
		_exit(0);
	}
	while (pid > 0 && !ended(pid)) {
		if (now() <= until) {
			nap();
			continue;
		}
		freeze_last_means(d, "FITHAW does not return");
		break;
	}
	atomic_store(&d->shared->phase, FREEZE_OVER);
}

/* Until the watchdog is dead or the freeze over. */
static void watch(struct freeze_dog *d, pid_t dog)
{
	while (!ended(dog)) {
		if (atomic_load(&d->shared->phase) != FREEZE_OVER &&
		    now() > atomic_load(&d->shared->until) + LATE_MS) {
			rescue(d);
			kill(dog, SIGKILL);
			return;
		}
		nap();
	}
}

_Noreturn void freeze_keep_on(struct freeze_dog *d)
{
	d->keeper = getpid();
	for (int i = 0; i < SUCCESSORS && atomic_load(&d->shared->phase) != FREEZE_OVER; i++) {
		pid_t dog = fork();

		if (dog == 0)
			freeze_dog(d);
		if (d->report >= 0)
			close(d->report);
		d->report = -1;		/* whoever comes now is a successor */
		if (dog < 0)
			break;
		watch(d, dog);
	}
	if (atomic_load(&d->shared->phase) != FREEZE_OVER)
		freeze_thaw_all(d);
	_exit(0);
}

/* ---- birth ----------------------------------------------------------------------- */

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

static void harden(struct freeze_dog *d)
{
	static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGQUIT };
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	if (fd >= 0) {
		if (write(fd, "-1000", 5) < 0)
			errno = 0;	/* not root of the whole machine: as it was */
		close(fd);
	}
	if (chdir("/proc") < 0)
		errno = 0;
	d->sysrq = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	d->kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	mlockall(MCL_CURRENT | MCL_FUTURE);
}

_Noreturn void freeze_keep(struct freeze_dog *d)
{
	d->shared = mmap(NULL, sizeof(*d->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (d->shared == MAP_FAILED)
		_exit(1);	/* the step hears nothing, and says so */
	prctl(PR_SET_NAME, "drover-freeze");
	let_go(d);
	harden(d);
	atomic_store(&d->shared->until, now() + d->deadline_ms);
	freeze_keep_on(d);
}
