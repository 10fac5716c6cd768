/* SPDX-License-Identifier: Apache-2.0
 * freeze - the step's side: start the watchdog, talk to it, end it.
 */
#include "modules/lib/freeze.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/freeze_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MS 120000	/* a thaw may have much to write */
#define NAME_PREFIX "drover-freeze-"

struct freeze {
	char *name;		/* of the watchdog's abstract socket; owned */
};

static socklen_t address(const char *name, struct sockaddr_un *a)
{
	size_t n = strlen(name);

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (n > sizeof(a->sun_path) - 1)
		n = sizeof(a->sun_path) - 1;
	memcpy(a->sun_path + 1, name, n);	/* abstract: no file system knows it */
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

/* Say one word, take the answer. False: there is no watchdog any more. */
static bool say(const char *name, const char *word, char out[256])
{
	AUTO_FD fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;
	socklen_t n = address(name, &a);
	struct pollfd p = { fd, POLLIN, 0 };
	ssize_t got;

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, n) < 0 ||
	    send(fd, word, strlen(word), MSG_NOSIGNAL) < 0 || poll(&p, 1, ANSWER_MS) <= 0)
		return false;
	got = recv(fd, out, 255, 0);
	out[got > 0 ? got : 0] = '\0';
	return got > 0;
}

static struct freeze *handle(const char *name)
{
	struct freeze *f = mem_alloc(sizeof(*f));

	f->name = mem_strdup(name);
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

static int listener_of(const char *name)
{
	struct sockaddr_un a;
	socklen_t n = address(name, &a);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd >= 0 && (bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 8) < 0))
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
 * that nothing that ends the step's group ends it. */
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
			freeze_dog(d);
		_exit(pid < 0 ? 1 : 0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int dog_report(struct ctx *c, int fd)
{
	char text[256];
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

	d->agent_pid = getppid();
	d->agent = pidfd_of(d->agent_pid);
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
	mem_close_fd(&d->agent);
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
	return mem_printf(NAME_PREFIX "%s", hex);
}

int freeze_begin(struct ctx *c, const json_t *machine, unsigned deadline_ms,
		 struct freeze **f)
{
	AUTO_FREE char *name = make_name(c);
	struct freeze_dog d = { .listener = -1, .agent = -1, .deadline_ms = deadline_ms };
	AUTO_ERR e = {0};
	int rc;

	*f = NULL;
	if (freeze_mounts(machine, &d.mounts, &d.n, &e) < 0)
		rc = ctx_fail_err(c, &e);
	else if (ctx_keep(c, "freeze", name, strlen(name)) < 0 || open_mounts(c, &d) < 0)
		rc = -1;
	else
		rc = begin_with(c, &d, name);
	close_mounts(&d);
	freeze_mounts_free(d.mounts, d.n);
	if (rc == 0)
		*f = handle(name);
	return rc;
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
	char said[256] = "";
	bool there = say(name, "thaw", said);

	freeze_free(f);
	return there && strcmp(said, "thawed") == 0 ? 0 : it_is_over(c);
}

int freeze_attach(struct ctx *c, struct freeze **f)
{
	const char *name = ctx_kept(c, "freeze", NULL);
	char said[256];

	*f = NULL;
	if (!name)
		name = jstr(ctx_fact(c, "freeze"), "socket", NULL);
	if (name && strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX)) == 0 &&
	    say(name, "state", said))
		*f = handle(name);
	return 0;
}

bool freeze_held(struct freeze *f, unsigned *left_ms)
{
	char said[256];
	unsigned left = 0;
	size_t n;

	if (!say(f->name, "state", said) || sscanf(said, "frozen %zu %u", &n, &left) != 2)
		return false;
	if (left_ms)
		*left_ms = left;
	return left > 0;
}

int freeze_extend(struct ctx *c, struct freeze *f, unsigned deadline_ms)
{
	char word[64], said[256];

	snprintf(word, sizeof(word), "extend %u", deadline_ms);
	return say(f->name, word, said) ? 0 : it_is_over(c);
}

int freeze_power_off(struct ctx *c, struct freeze *f)
{
	char said[256];

	if (!say(f->name, "off", said))
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

int freeze_undo(struct ctx *c)
{
	const char *name = ctx_kept(c, "freeze", NULL);
	char said[256];

	if (name && say(name, "thaw", said) && say(name, "state", said))
		return ctx_fail(c, "the freeze's watchdog does not let go");
	return 0;
}
