/* SPDX-License-Identifier: Apache-2.0
 * track_dog - the tracker: empties the CPUs' buffers into the bitmaps, and answers the
 * steps that ask it. It opens no file, writes none, and its memory is fixed from the
 * beginning.
 */
#include "modules/lib/track_priv.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define LOOK_MS 100		/* between two looks into the buffers */
#define ASK_MS 1000		/* for who connected to say what it wants */
#define PATIENCE_S 10		/* for it to take the answer */
#define SECTOR 512u
#define PAGE_MAX (64u << 10)
#define STATS_MAX 4096

struct life {
	struct track_dog *d;
	uint64_t until;		/* mono ms */
	uint8_t *page;		/* PAGE_MAX */
};

/* A signal handler has nothing else to write to. */
static volatile sig_atomic_t told_to_end;

static void on_term(int sig)
{
	told_to_end = sig;
}

static uint64_t now(void)
{
	return clock_real.mono_ms(NULL);
}

/* ---- bitmaps ------------------------------------------------------------------- */

static void mark_one(struct track_disk *k, uint64_t g)
{
	k->since[g / 8] |= (uint8_t)(1u << g % 8);
	k->all[g / 8] |= (uint8_t)(1u << g % 8);
}

static void mark(struct track_disk *k, uint64_t at, uint64_t len)
{
	uint64_t begin = at > k->at.start ? at - k->at.start : 0, end = at + len;

	if (len == 0 || end <= k->at.start || begin >= k->at.size)
		return;
	end -= k->at.start;
	if (end > k->at.size)
		end = k->at.size;
	for (uint64_t g = begin / k->granule; g <= (end - 1) / k->granule; g++)
		mark_one(k, g);
}

static void mark_all(struct track_disk *k, uint32_t why)
{
	memset(k->since, 0xff, (k->count + 7) / 8);
	memset(k->all, 0xff, (k->count + 7) / 8);
	k->gap_since |= why;
	k->gap_all |= why;
}

/* What was written is now what was taken and is not confirmed. */
static void take(struct track_disk *k)
{
	for (uint64_t i = 0; i < (k->count + 7) / 8; i++) {
		k->taken[i] |= k->since[i];
		k->since[i] = 0;
	}
	k->gap_taken |= k->gap_since;
	k->gap_since = 0;
}

static uint64_t count_set(const struct track_disk *k)
{
	uint64_t n = 0;

	for (uint64_t g = 0; g < k->count; g++)
		n += ((k->taken[g / 8] | k->since[g / 8]) >> g % 8) & 1;
	return n;
}

/* ---- the buffers ----------------------------------------------------------------- */

/* The kernel's filter looks for letters beyond the end of the text, where others may lie:
 * some reads get through it. */
static bool writes(const struct track_event *ev, const uint8_t *p)
{
	for (uint16_t i = 0; i < ev->letters && p[ev->rwbs + i]; i++)
		if (strchr("WDNZ", p[ev->rwbs + i]))
			return true;
	return ev->letters == 0;
}

static void take_event(struct track_dog *d, const uint8_t *p, size_t n)
{
	uint64_t sector;
	uint32_t dev, sectors;
	uint16_t id;

	if (n < sizeof(id))
		return;
	memcpy(&id, p, sizeof(id));
	for (size_t i = 0; i < TRACK_EVENTS; i++) {
		const struct track_event *ev = &d->trace.events[i];

		if (ev->id != id || n < ev->size || !writes(ev, p))
			continue;
		memcpy(&dev, p + ev->dev, sizeof(dev));
		memcpy(&sector, p + ev->sector, sizeof(sector));
		memcpy(&sectors, p + ev->sectors, sizeof(sectors));
		for (size_t k = 0; k < d->disk_count && sector < UINT64_MAX / SECTOR; k++)
			if (d->disks[k].at.dev == dev)
				mark(&d->disks[k], sector * SECTOR,
				     (uint64_t)sectors * SECTOR);
	}
}

/* A page as the kernel's ring buffer has it: time stamp, length, then records of
 * {type_len:5, time_delta:27} and their data. */
static void take_page(struct track_dog *d, const uint8_t *page, size_t n)
{
	enum { PADDING = 29, TIME_EXTEND = 30, TIME_STAMP = 31 };
	size_t at = 8 + sizeof(long), end;
	uint32_t head, length;

	if (n < at)
		return;
	memcpy(&length, page + 8, sizeof(length));
	end = at + (length & 0x3fffffff);	/* the top bits are flags */
	if (end > n)
		end = n;
	while (at + 8 <= end) {
		memcpy(&head, page + at, sizeof(head));
		memcpy(&length, page + at + 4, sizeof(length));
		switch (head & 31) {
		case PADDING:
			if (head >> 5 == 0)
				return;		/* to the end of the page */
			at += 4 + (size_t)length;
			continue;
		case TIME_EXTEND:
		case TIME_STAMP:
			at += 8;
			continue;
		case 0:
			if (length < 4 || length > end - at - 4)
				return;
			take_event(d, page + at + 8, length - 4);
			at += 4 + (size_t)length;
			continue;
		default:
			length = (head & 31) * 4;
			if (length > end - at - 4)
				return;
			take_event(d, page + at + 4, length);
			at += 4 + (size_t)length;
		}
	}
}

static void empty(struct life *l, struct track_cpu *c)
{
	long page = sysconf(_SC_PAGESIZE);
	ssize_t n;

	while ((n = read(c->pipe, l->page, page > 0 && page <= (long)PAGE_MAX ?
			 (size_t)page : PAGE_MAX)) > 0)
		take_page(l->d, l->page, (size_t)n);
}

static void empty_all(struct life *l)
{
	for (size_t i = 0; i < l->d->trace.cpu_count; i++)
		empty(l, &l->d->trace.cpus[i]);
}

static uint64_t stat_of(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

/* Events of this CPU that were written over, or found no room. */
static uint64_t lost_at(const struct track_cpu *c)
{
	char text[STATS_MAX];
	ssize_t n = pread(c->stats, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return UINT64_MAX;	/* who cannot tell cannot trust */
	text[n] = '\0';
	/* "overrun:" stands in "commit overrun:" too: from the line's beginning. */
	return stat_of(text, "\noverrun: ") + stat_of(text, "\ncommit overrun: ") +
		stat_of(text, "\ndropped events: ");
}

/* All that completed until now is in the bitmaps, or all of the disks is. Each buffer
 * is emptied on its own CPU, where nobody can be amid an event while we run. */
static void settle(struct life *l)
{
	struct track_dog *d = l->d;
	bool lost = false;
	cpu_set_t all;
	bool known = sched_getaffinity(0, sizeof(all), &all) == 0;

	for (size_t i = 0; i < d->trace.cpu_count; i++) {
		struct track_cpu *c = &d->trace.cpus[i];
		uint64_t now_lost;
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET(c->cpu % CPU_SETSIZE, &one);
		/* Refused for one that is off, or outside of our cpuset: an event takes
		 * microseconds to write, so a pause does as well. */
		if (sched_setaffinity(0, sizeof(one), &one) < 0)
			poll(NULL, 0, 2);
		empty(l, c);
		now_lost = lost_at(c);
		lost = lost || now_lost != c->lost || now_lost == UINT64_MAX;
		c->lost = now_lost;
	}
	if (known)
		sched_setaffinity(0, sizeof(all), &all);
	for (size_t k = 0; lost && k < d->disk_count; k++)
		mark_all(&d->disks[k], TRACK_GAP_LOST);
}

/* ---- being asked ------------------------------------------------------------------ */

static struct track_disk *find(struct track_dog *d, const struct track_ask *a)
{
	for (size_t i = 0; i < d->disk_count; i++) {
		struct track_disk *k = &d->disks[i];

		if (strncmp(k->name, a->disk, sizeof(k->name)) == 0 &&
		    memcmp(&k->at, &a->at, sizeof(k->at)) == 0)
			return k;
	}
	return NULL;
}

static void confirm(struct track_disk *k, const struct track_ask *a)
{
	memset(k->taken, 0, (k->count + 7) / 8);
	k->gap_taken = 0;
	memcpy(k->base, a->root, SHA256_LEN);
}

/* The same, of a copy to which passes may go back: what comes from here on is kept apart. */
static void anchor(struct track_disk *k, const struct track_ask *a)
{
	confirm(k, a);
	memcpy(k->all, k->since, (k->count + 7) / 8);
	k->gap_all = k->gap_since;
	memcpy(k->anchor, a->root, SHA256_LEN);
	k->anchored = true;
}

/* As if no pass had come since. */
static void go_back(struct track_disk *k)
{
	memcpy(k->taken, k->all, (k->count + 7) / 8);
	memset(k->since, 0, (k->count + 7) / 8);
	k->gap_taken = k->gap_all;
	k->gap_since = 0;
	memcpy(k->base, k->anchor, SHA256_LEN);
}

/* All that counts as written goes on to. */
static void rebase(struct track_disk *k, const struct track_ask *a)
{
	if (memcmp(k->base, a->from, SHA256_LEN) == 0)
		memcpy(k->base, a->root, SHA256_LEN);
}

static void tell(int fd, const struct track_disk *k, bool bits)
{
	struct track_told t = { .magic = TRACK_MAGIC, .ok = k != NULL };

	if (k) {
		t.gap = k->gap_taken | k->gap_since;
		t.granule = k->granule;
		t.count = k->count;
		t.set = count_set(k);
		memcpy(t.base, k->base, SHA256_LEN);
	}
	if (io_write_full(fd, &t, sizeof(t)) == 0 && k && bits)
		io_write_full(fd, k->taken, (k->count + 7) / 8);
}

/* True: it is over. */
static bool obey(struct life *l, int fd)
{
	struct timeval patience = { PATIENCE_S, 0 };
	struct pollfd p = { fd, POLLIN, 0 };
	struct ucred who = { 0 };
	socklen_t size = sizeof(who);
	struct track_ask a = { 0 };
	struct track_disk *k;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 ||
	    (who.uid != 0 && who.uid != geteuid()) || poll(&p, 1, ASK_MS) <= 0 ||
	    recv(fd, &a, sizeof(a), 0) < (ssize_t)offsetof(struct track_ask, pad) ||
	    a.magic != TRACK_MAGIC)
		return false;
	if (a.op == TRACK_END)
		return true;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	k = a.version == TRACK_VERSION ? find(l->d, &a) : NULL;
	if (k)
		settle(l);
	if (k && a.op == TRACK_TAKE)
		take(k);
	if (k && a.op == TRACK_CONFIRM)
		confirm(k, &a);
	if (k && a.op == TRACK_ANCHOR)
		anchor(k, &a);
	if (k && a.op == TRACK_REBASE)
		rebase(k, &a);
	if (k && a.op == TRACK_BACK && k->anchored)
		go_back(k);
	else if (a.op == TRACK_BACK)
		k = NULL;
	if (k && a.keep_ms)
		l->until = now() + a.keep_ms;
	tell(fd, k, a.op == TRACK_TAKE);
	return false;
}

/* The fd of who told us to end, to be closed once all is gone; -1: the time is over. */
static int live(struct life *l)
{
	while (!told_to_end && now() < l->until) {
		struct pollfd p = { l->d->listener, POLLIN, 0 };
		int fd;

		empty_all(l);
		if (poll(&p, 1, LOOK_MS) <= 0)
			continue;
		fd = accept4(l->d->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		if (obey(l, fd))
			return fd;
		close(fd);
	}
	return -1;
}

/* ---- from birth to death ---------------------------------------------------------- */

static bool is_kept(const struct track_dog *d, int fd)
{
	if (fd == d->listener || fd == d->trace.instances)
		return true;
	for (size_t i = 0; i < d->trace.cpu_count; i++)
		if (fd == d->trace.cpus[i].pipe || fd == d->trace.cpus[i].stats)
			return true;
	return false;
}

/* Nothing of the step stays open, and no directory is held. */
static void let_go(const struct track_dog *d)
{
	long most = sysconf(_SC_OPEN_MAX);
	int null = open("/dev/null", O_RDWR);

	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	for (int fd = 3; fd < (int)most && fd < 65536; fd++)
		if (!is_kept(d, fd))
			close(fd);
	if (chdir("/proc") < 0)
		errno = 0;
}

_Noreturn void track_dog(struct track_dog *d)
{
	struct life l = { .d = d, .until = now() + d->keep_ms, .page = mem_alloc(PAGE_MAX) };
	AUTO_FREE char *name = mem_strdup(d->trace.name);
	int instances, asker;

	let_go(d);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	prctl(PR_SET_NAME, "drover-track");
	mlockall(MCL_CURRENT | MCL_FUTURE);
	signal(SIGTERM, on_term);
	listen(d->listener, 8);		/* who connects is told our pid, not the step's */
	asker = live(&l);
	instances = dup(d->trace.instances);
	track_fs_close(&d->trace);
	unlinkat(instances, name, AT_REMOVEDIR);
	mem_close_fd(&d->listener);
	mem_close_fd(&asker);	/* who waits for this sees the end */
	_exit(0);
}
