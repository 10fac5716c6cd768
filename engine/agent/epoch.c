/* SPDX-License-Identifier: Apache-2.0
 * epoch - see the header. POSIX record locks: they are the process's own, so that what a
 * step leaves running (a freeze's watchdog, a machine) does not hold them.
 */
#include "engine/agent/epoch.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define TMPFS 0x01021994
#define RAMFS 0x858458f6u
#define RECORD_MAX (32u << 10)
#define LINEAGE_LEN 32
#define GUARD 0			/* the byte that guards the record */
#define FIRST 8			/* the byte of epoch 0 */
#define WAIT_MS 60000		/* for older steps: more than an agent gives its own */
#define TICK_MS 50

/* ---- where it is remembered -------------------------------------------------------- */

/* Ours alone, and in memory: nothing is written to a disk of this host. -1: not here. */
static int open_in(const char *above, const char *name)
{
	AUTO_FREE char *path = mem_printf("%s/%s", above, name);
	struct statfs fs;
	struct stat st;
	int fd;

	if (statfs(above, &fs) < 0 ||
	    (fs.f_type != TMPFS && (unsigned)fs.f_type != RAMFS) ||
	    (mkdir(path, 0700) < 0 && errno != EEXIST))
		return -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() && !(st.st_mode & 022))
		return fd;
	mem_close_fd(&fd);
	return -1;
}

static int open_memory(void)
{
	unsigned uid = geteuid();
	AUTO_FREE char *user = mem_printf("/run/user/%u", uid);
	AUTO_FREE char *shared = mem_printf("drover-epochs-%u", uid);
	int fd = open_in(uid == 0 ? "/run" : user, "drover-epochs");

	return fd >= 0 ? fd : open_in("/dev/shm", shared);
}

/* ---- the record ----------------------------------------------------------------------- */

static int lock(int fd, int how, int type, int64_t from, int64_t n)
{
	struct flock l = { .l_type = (short)type, .l_whence = SEEK_SET, .l_start = from,
			   .l_len = n };

	return fcntl(fd, how, &l);
}

/* The time since boot at which a process began: a pid alone may be another's by now. 0: there
 * is none, or it is dead and nobody has asked how. */
static int64_t started(int64_t pid)
{
	AUTO_FREE char *path = mem_printf("/proc/%lld/stat", (long long)pid);
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, RECORD_MAX, NULL);
	const char *p = text ? strrchr(text, ')') : NULL;

	if (p && strncmp(p, ") Z", 3) == 0)
		return 0;
	for (int field = 2; p && field < 22; field++)
		if ((p = strchr(p, ' ')))
			p++;
	return p ? strtoll(p, NULL, 10) : 0;
}

static bool is_alive(const json_t *agent)
{
	int64_t pid = jint(agent, "pid", 0);

	return pid > 1 && started(pid) == jint(agent, "started", -1);
}

static json_t *record_read(int fd)
{
	char text[RECORD_MAX];
	ssize_t n = pread(fd, text, sizeof(text), 0);
	json_t *o = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;

	if (json_is_object(o))
		return o;
	json_decref(o);
	return json_object();		/* nobody yet, or torn by a power cut: gone with it */
}

/* The other agents of the record that still live; new. *known: ours is in it, too. */
static json_t *others_alive(const json_t *record, bool *known)
{
	json_t *others = json_array(), *one;
	size_t i;

	*known = false;
	json_array_foreach(json_object_get(record, "agents"), i, one) {
		if (!is_alive(one))
			continue;
		if (jint(one, "pid", 0) == getppid())
			*known = true;
		else
			jadd(others, json_incref(one));
	}
	return others;
}

/* Of these the ones that this run had for the same host of its plan, of which two may be one
 * machine; new. */
static json_t *lost_agents(const json_t *others, const json_t *run)
{
	json_t *lost = json_array(), *one;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)others, i, one)
		if (!strcmp(jstr(one, "host", ""), jstr(run, "host", "")))
			jadd(lost, json_incref(one));
	return lost;
}

static int record_write(int fd, const json_t *run, const json_t *others)
{
	AUTO_JSON *o = json_object(), *agents = json_copy((json_t *)(uintptr_t)others);
	AUTO_FREE char *text = NULL;
	size_t n;

	jadd(agents, json_pack("{s:I, s:I, s:s}", "pid", (json_int_t)getppid(), "started",
			       (json_int_t)started(getppid()), "host", jstr(run, "host", "")));
	json_object_set(o, "agents", agents);
	jset_int(o, "epoch", jint(run, "epoch", 0));
	jset_str(o, "run", jstr(run, "run", ""));
	jset_str(o, "holder", jstr(run, "holder", ""));
	text = json_canonical(o);
	n = strlen(text);
	return n > RECORD_MAX || io_pwrite_full(fd, text, n, 0) < 0 ||
		ftruncate(fd, (off_t)n) < 0 ? -1 : 0;
}

/* An agent that is told to ends its steps, and itself. */
static void end_agents(const json_t *agents)
{
	const json_t *one;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)agents, i, one)
		if (is_alive(one))
			kill((pid_t)jint(one, "pid", 0), SIGTERM);
}

/* The RESULT of a step that may not go on. `copy`: of a run of the same epoch. */
static json_t *refusal(const json_t *record, bool copy)
{
	struct utsname u = { .nodename = "?" };
	AUTO_FREE char *text = NULL;
	json_t *result;

	uname(&u);
	text = mem_printf("cannot change anything on '%s': %s: %s", u.nodename, copy ?
		"a run with another copy of this state does" : "a newer run of this state does",
		jstr(record, "holder", "nobody knows who"));
	result = ctx_result_error("refused", text, "see there how far it is; when it has "
		"really ended, repeat the command: then that one is kept out");
	jset(result, "volatile", json_object());
	jset_int(json_object_get(result, "volatile"), "epoch", jint(record, "epoch", 0));
	return result;
}

static int refuse(struct ctx *c, const json_t *record, bool copy)
{
	AUTO_JSON *result = refusal(record, copy);

	ctx_hint(c, "%s", jstr(result, "error.hint", ""));
	ctx_volatile(c, "epoch", json_incref(jget(result, "volatile.epoch")));
	return ctx_set_failure(c, "refused", 0, jstr(result, "error.text", ""));
}

/* Under the guard: is it ours, or do we take it? *lost: agents to wait for; the caller's. */
static int claim(struct ctx *c, int fd, const json_t *run, json_t **lost)
{
	AUTO_JSON *record = record_read(fd), *others = NULL;
	int64_t mine = jint(run, "epoch", 0), theirs = jint(record, "epoch", 0);
	bool same = mine == theirs && !strcmp(jstr(run, "run", ""), jstr(record, "run", ""));
	bool known;

	if (theirs > mine || (theirs == mine && !same))
		return refuse(c, record, theirs == mine);
	others = others_alive(record, &known);
	*lost = same ? lost_agents(others, run) : json_array();
	if (!(same && known) && record_write(fd, run, same ? others : *lost) < 0)
		return ctx_fail_sys(c, "cannot remember who works on this host");
	end_agents(same ? *lost : others);
	return lock(fd, F_SETLK, F_RDLCK, FIRST + mine, 1) < 0 ?
		ctx_fail_sys(c, "cannot hold the run's epoch on this host") : 0;
}

/* Until no step of an older epoch is left. */
static int wait_for_older(struct ctx *c, int fd, int64_t mine)
{
	struct timespec tick = { 0, TICK_MS * 1000000L };

	for (int ms = 0; lock(fd, F_SETLK, F_WRLCK, FIRST, mine) < 0; ms += TICK_MS) {
		struct flock who = { .l_type = F_WRLCK, .l_whence = SEEK_SET,
				     .l_start = FIRST, .l_len = mine };

		if (ctx_cancelled(c))
			return -1;
		if (ms >= WAIT_MS) {
			fcntl(fd, F_GETLK, &who);
			ctx_hint(c, "look at it there; it must end before this run may go on");
			return ctx_fail(c, "cannot change anything here: a step of an earlier run "
					"is still at work, process %d", (int)who.l_pid);
		}
		if (ms == 0)
			ctx_log(c, "waits for a step of an earlier run to end");
		nanosleep(&tick, NULL);
	}
	lock(fd, F_SETLK, F_UNLCK, FIRST, mine);
	return 0;
}

/* Until the agents that this run has lost are gone: an agent goes after its steps. */
static int wait_for_lost(struct ctx *c, const json_t *lost)
{
	struct timespec tick = { 0, TICK_MS * 1000000L };
	const json_t *one;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)lost, i, one)
		for (int ms = 0; is_alive(one); ms += TICK_MS) {
			if (ctx_cancelled(c))
				return -1;
			if (ms >= WAIT_MS) {
				ctx_hint(c, "look at it there; it must end before this run may go on");
				return ctx_fail(c, "cannot change anything here: an agent whose "
						"connection was lost does not end, process %lld",
						(long long)jint(one, "pid", 0));
			}
			if (ms == 0)
				ctx_log(c, "waits for what was at work here when the connection was "
					"lost");
			nanosleep(&tick, NULL);
		}
	return 0;
}

/* The record of the run's plan and state; NULL: it is no run that changes things. */
static char *record_name(const json_t *run)
{
	const char *lineage = jstr(run, "lineage", ""), *plan = jstr(run, "plan", "");

	if (jint(run, "epoch", 0) <= 0 || strlen(lineage) != LINEAGE_LEN ||
	    strspn(lineage, "0123456789abcdef") != LINEAGE_LEN || !text_name_ok(plan))
		return NULL;
	return mem_printf("%s.%s", lineage, plan);
}

int epoch_claim(struct ctx *c)
{
	const json_t *run = ctx_run(c);
	AUTO_FREE char *name = record_name(run);
	AUTO_JSON *lost = NULL;
	AUTO_FD dir = -1;
	int fd, rc;	/* fd stays open: closing it would let go of the locks */

	if (!name)
		return 0;
	dir = open_memory();
	if (dir < 0) {
		ctx_log(c, "no tmpfs here remembers the run: an older engine is not kept out");
		return 0;
	}
	fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || lock(fd, F_SETLKW, F_WRLCK, GUARD, 1) < 0)
		return ctx_fail_sys(c, "cannot remember who works on this host");
	rc = claim(c, fd, run, &lost);
	lock(fd, F_SETLK, F_UNLCK, GUARD, 1);
	if (rc < 0 || wait_for_lost(c, lost) < 0)
		return -1;
	return wait_for_older(c, fd, jint(run, "epoch", 0));
}

json_t *epoch_lost(const json_t *run)
{
	AUTO_FREE char *name = record_name(run);
	AUTO_FD dir = name ? open_memory() : -1;
	AUTO_FD fd = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_JSON *record = fd < 0 ? NULL : record_read(fd);

	return jint(record, "epoch", 0) > jint(run, "epoch", 0) ? refusal(record, false) : NULL;
}
