/* SPDX-License-Identifier: Apache-2.0
 * freeze - the step's side: start the watchdog, ask it, end it.
 */
#include "modules/lib/freeze.h"

#include "engine/base/addr.h"
#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/freeze_priv.h"
#include "modules/lib/task.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define BIND_TRIES 500		/* of 20 ms, until the watchdog before is gone */

struct freeze {
	char *name;		/* of the watchdog's abstract socket; owned */
	uint64_t since_ms;	/* this process's clock, when it began; 0: an earlier one did */
	pid_t agent;		/* ours, with whom it is to end */
};

static struct freeze *handle(const struct ctx *c, const char *name)
{
	struct freeze *f = mem_alloc(sizeof(*f));

	f->name = mem_strdup(name);
	f->agent = ctx_agent(c);
	return f;
}

void freeze_free(struct freeze *f)
{
	if (!f)
		return;
	mem_free_ptr(&f->name);
	free(f);
}

/* ---- begin ------------------------------------------------------------------- */

static int pidfd_of(pid_t pid)
{
#ifdef SYS_pidfd_open
	return (int)syscall(SYS_pidfd_open, pid, 0);
#else
	errno = ENOSYS;
	return -1;
#endif
}

static int watch_agent(struct ctx *c, struct freeze_dog *d)
{
	d->agent_pid = ctx_agent(c);
	d->agent = pidfd_of(d->agent_pid);
	if (getppid() == d->agent_pid)	/* who took its number since is not the agent */
		return 0;
	return ctx_fail(c, "cannot freeze: the agent is gone");
}

/* An attempt before this one may have a watchdog that is just ending. */
static int listener_of(const char *name)
{
	struct sockaddr_un a;
	socklen_t n = addr_local(name, &a);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), tries = BIND_TRIES;

	while (fd >= 0 && bind(fd, (struct sockaddr *)&a, n) < 0) {
		if (errno != EADDRINUSE || tries-- == 0) {
			mem_close_fd(&fd);
			return -1;
		}
		task_sleep_ms(20);
	}
	if (fd >= 0 && listen(fd, 8) < 0)
		mem_close_fd(&fd);
	return fd;
}

static void close_mounts(struct freeze_dog *d)
{
	for (size_t i = 0; i < d->n; i++)
		mem_close_fd(&d->mounts[i].fd);
}

static int open_mounts(struct ctx *c, struct freeze_dog *d)
{
	for (size_t i = 0; i < d->n; i++) {
		struct freeze_mount *m = &d->mounts[i];

		m->fd = open(m->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOATIME);
		if (m->fd < 0)
			m->fd = open(m->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (m->fd < 0)
			return ctx_fail_sys(c, "cannot open '%s' to freeze it", m->dir);
	}
	return 0;
}

/* Twice forked, so that the step is not its parent; in a session of its own, so
 * that nothing that ends the step's group ends it. The keeper starts the watchdog. */
static int start_dog(struct freeze_dog *d)
{
	int status = 0;
	pid_t pid = fork();

	if (pid < 0)
		return -1;
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, 0);
		setsid();
		pid = fork();
		if (pid == 0)
			freeze_keep(d);
		_exit(pid < 0 ? 1 : 0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int dog_report(struct ctx *c, int fd)
{
	char text[FREEZE_ANSWER];
	ssize_t n = io_read_full(fd, text, 2);

	if (n == 2 && memcmp(text, "ok", 2) == 0)
		return 0;
	if (n <= 0)
		return ctx_fail(c, "cannot freeze: the watchdog died");
	n = read(fd, text + 2, sizeof(text) - 3);
	text[2 + (n > 0 ? n : 0)] = '\0';
	return ctx_fail(c, "%s", text);
}

static int begin_with(struct ctx *c, struct freeze_dog *d, const char *name)
{
	int pipes[2], rc = -1;

	d->listener = listener_of(name);
	if (d->listener < 0 || pipe2(pipes, O_CLOEXEC) < 0) {
		ctx_fail_sys(c, "cannot start the freeze's watchdog");
	} else {
		d->report = pipes[1];
		if (start_dog(d) < 0)
			ctx_fail_sys(c, "cannot start the freeze's watchdog");
		mem_close_fd(&pipes[1]);
		rc = dog_report(c, pipes[0]);
		mem_close_fd(&pipes[0]);
	}
	mem_close_fd(&d->listener);
	return rc;
}

/* A name that nobody can guess, the same one for all attempts of a step. */
static char *make_name(struct ctx *c)
{
	const char *kept = ctx_kept(c, "freeze", NULL);
	unsigned char nonce[16];
	char hex[33];

	if (kept)
		return mem_strdup(kept);
	io_random(nonce, sizeof(nonce));
	io_hex(nonce, sizeof(nonce), hex);
	return mem_printf(FREEZE_NAME "%s", hex);
}

/* What is needed to thaw it when nobody else is left to do so. */
static json_t *mounts_said(const struct freeze_dog *d)
{
	json_t *out = json_array(), *o;

	for (size_t i = 0; i < d->n; i++) {
		struct stat st;

		if (fstat(d->mounts[i].fd, &st) < 0)
			continue;
		o = json_object();
		jset_str(o, "dir", d->mounts[i].dir);
		jset_int(o, "dev", (int64_t)st.st_dev);
		jset_int(o, "flags", (int64_t)d->mounts[i].flags);
		jadd(out, o);
	}
	return out;
}

/* Durable before the first one is frozen: its name, what it holds, the ledger. */
static int note(struct ctx *c, const struct freeze_dog *d, const char *name)
{
	AUTO_JSON *mounts = mounts_said(d);
	AUTO_FREE char *text = json_canonical(mounts);
	json_t *detail = json_object();

	json_object_set(detail, "mounts", mounts);
	if (ctx_keep(c, "freeze", name, strlen(name)) < 0 ||
	    ctx_keep(c, "frozen", text, strlen(text)) < 0) {
		json_decref(detail);
		return -1;
	}
	return ctx_ledger_add(c, "freeze", name, false, detail);
}

int freeze_begin(struct ctx *c, const json_t *machine, unsigned deadline_ms,
		 struct freeze **f)
{
	AUTO_FREE char *name = make_name(c);
	struct freeze_dog d = { .listener = -1, .agent = -1, .report = -1, .sysrq = -1,
				.kmsg = -1, .deadline_ms = deadline_ms };
	AUTO_ERR e = {0};
	char said[FREEZE_ANSWER];
	uint64_t since_ms = 0;
	int rc;

	*f = NULL;
	freeze_say(name, "thaw", said);	/* an attempt before this one: it is of another instant */
	if (freeze_mounts(machine, &d.mounts, &d.n, &e) < 0)
		rc = ctx_fail_err(c, &e);
	else if (watch_agent(c, &d) < 0 || open_mounts(c, &d) < 0 || note(c, &d, name) < 0)
		rc = -1;
	else {
		since_ms = clock_real.mono_ms(clock_real.arg);
		rc = begin_with(c, &d, name);
		if (rc < 0)
			ctx_ledger_del(c, "freeze", name);
	}
	mem_close_fd(&d.agent);
	close_mounts(&d);
	freeze_mounts_free(d.mounts, d.n);
	if (rc == 0) {
		*f = handle(c, name);
		(*f)->since_ms = since_ms;
	}
	return rc;
}

unsigned freeze_age(const struct freeze *f)
{
	return f->since_ms ? (unsigned)(clock_real.mono_ms(clock_real.arg) - f->since_ms) : 0;
}

/* ---- while it lasts, and after ----------------------------------------------------- */

static int it_is_over(struct ctx *c)
{
	ctx_hint(c, "give it more time (the step's `hold`), or less to do meanwhile");
	return ctx_fail(c, "the freeze had ended before it was let go: what was read "
			"since then is not one instant");
}

int freeze_end(struct ctx *c, struct freeze *f)
{
	AUTO_FREE char *name = mem_strdup(f->name);
	char said[FREEZE_ANSWER] = "";
	bool there = freeze_say(name, "thaw", said);

	freeze_free(f);
	if (there && strcmp(said, "thawed") == 0)
		return ctx_ledger_del(c, "freeze", name);
	if (there)
		ctx_log(c, "the freeze: %s", said);
	return it_is_over(c);
}

int freeze_attach(struct ctx *c, struct freeze **f)
{
	const char *name = ctx_kept(c, "freeze", NULL);
	char said[FREEZE_ANSWER];

	*f = NULL;
	if (!name)
		name = jstr(ctx_fact(c, "freeze"), "socket", NULL);
	if (name && freeze_named(name) && freeze_say(name, "state", said))
		*f = handle(c, name);
	return 0;
}

/* Does it hold as long as our agent lives? Another agent's ends with that one, which may
 * be ending now; a sealed one (agent 0) with nobody. */
static bool holds(const struct freeze *f, const char *word, unsigned *left_ms)
{
	char said[FREEZE_ANSWER];
	int agent = -1;
	size_t n;

	*left_ms = 0;
	return freeze_say(f->name, word, said) &&
	       sscanf(said, "frozen %zu %u %d", &n, left_ms, &agent) == 3 && *left_ms > 0 &&
	       (agent == 0 || agent == (int)f->agent);
}

bool freeze_held(struct freeze *f, unsigned *left_ms)
{
	unsigned left;
	bool held = holds(f, "state", &left);

	if (left_ms)
		*left_ms = left;
	return held;
}

static int prolong(struct ctx *c, const struct freeze *f, const char *how, unsigned ms)
{
	unsigned left;
	char word[64];

	snprintf(word, sizeof(word), "%s %u", how, ms);
	return holds(f, word, &left) ? 0 : it_is_over(c);
}

int freeze_extend(struct ctx *c, struct freeze *f, unsigned deadline_ms)
{
	return prolong(c, f, "extend", deadline_ms);
}

int freeze_seal(struct ctx *c, struct freeze *f, unsigned deadline_ms)
{
	return prolong(c, f, "seal", deadline_ms);
}

int freeze_power_off(struct ctx *c, struct freeze *f)
{
	char said[FREEZE_ANSWER];

	if (!freeze_say(f->name, "off", said))
		return ctx_fail(c, "the watchdog did not answer: is the machine off?");
	return ctx_fail(c, "cannot cut this machine's power: %s", said);
}

json_t *freeze_fact(const struct freeze *f)
{
	json_t *o = json_object();

	jset_str(o, "socket", f->name);
	return o;
}

json_t *freeze_list(const json_t *machine)
{
	struct freeze_mount *mounts = NULL;
	json_t *out = json_array();
	size_t n = 0;

	freeze_mounts(machine, &mounts, &n, NULL);
	for (size_t i = 0; i < n; i++) {
		AUTO_FREE char *line = mem_printf("%s (%s)", mounts[i].dir, mounts[i].fs);

		jadd(out, jtext(line, strlen(line)));
	}
	freeze_mounts_free(mounts, n);
	return out;
}
