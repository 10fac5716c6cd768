/* SPDX-License-Identifier: Apache-2.0
 * console - wait for a machine to come up; its console's text is the evidence.
 */
#include "modules/lib/console.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "modules/lib/qmp.h"
#include "modules/lib/task.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TEXT_HEAD (64u << 10)	/* always kept: the boot loader's words */
#define TEXT_MAX (768u << 10)
#define WINDOW 4096u		/* what a pattern is looked for in, from the end */
#define PORT_EVERY_MS 500
#define CONNECT_MS 30000

struct watch {
	struct ctx *c;
	const struct console_wait *w;
	int fd;			/* the console, -1: closed or none */
	int netns, home;	/* namespaces: the port's, ours */
	int try;		/* a connection being made, -1: none */
	uint64_t tried_at;	/* when */
	struct str text;	/* what the console said, cleaned */
	enum { PLAIN, ESCAPE, CSI } esc;
	bool seen, open;	/* pattern, port */
	bool dropped;		/* the middle of the text */
	regex_t re;
};

static uint64_t now(void)
{
	return clock_real.mono_ms(NULL);
}

static const char *const bad_signs[] = {
	"Kernel panic - not syncing", "grub rescue>", "No bootable device",
	"Boot failed: not a bootable disk", "You are in emergency mode",
	"You are in rescue mode", "Give root password for maintenance",
	"Dropping to a shell!", "(initramfs) ", "dracut:/#", "Failed to mount Root",
	"Cannot open access to console, the root account is locked",
	"error: no such partition", "error: no such device",
	"VFS: Unable to mount root fs",
};

const char *console_bad_sign(const char *text)
{
	for (size_t i = 0; text && i < ARRAY_LEN(bad_signs); i++)
		if (strstr(text, bad_signs[i]))
			return bad_signs[i];
	return NULL;
}

bool console_address(const char *cidr, char out[64])
{
	unsigned char bin[16];
	size_t n = cidr ? strcspn(cidr, "/") : 0;

	if (n == 0 || n >= 64)
		return false;
	memcpy(out, cidr, n);
	out[n] = '\0';
	return inet_pton(AF_INET, out, bin) == 1 || inet_pton(AF_INET6, out, bin) == 1;
}

int console_check(struct ctx *c, const char *pattern, const char *address, int port)
{
	char why[128], plain[64];
	regex_t re;
	int rc;

	rc = pattern ? regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) : 0;
	if (rc != 0) {
		regerror(rc, &re, why, sizeof(why));
		return ctx_fail(c, "cannot use the pattern '%s': %s", pattern, why);
	}
	if (pattern)
		regfree(&re);
	if (port && !console_address(address, plain)) {
		ctx_hint(c, "give the step the parameter `address: 10.1.0.5`");
		return ctx_fail(c, "cannot ask port %d: the machine's address is not known",
				port);
	}
	return 0;
}

/* ---- the text ---------------------------------------------------------------- */

/* Terminal sequences, carriage returns and NULs would hide what is looked for. */
static void add_clean(struct watch *t, const char *p, size_t n)
{
	for (; n; n--, p++) {
		unsigned char ch = (unsigned char)*p;

		if (t->esc == ESCAPE)
			t->esc = ch == '[' ? CSI : PLAIN;
		else if (t->esc == CSI)
			t->esc = ch >= 0x40 && ch <= 0x7e ? PLAIN : CSI;
		else if (ch == 0x1b)
			t->esc = ESCAPE;
		else if (ch == '\n' || ch == '\t' || ch >= 0x20)
			str_addc(&t->text, (char)ch);
	}
	if (t->text.len <= TEXT_MAX)
		return;
	n = t->text.len - TEXT_MAX / 2;
	memmove(t->text.s + TEXT_HEAD, t->text.s + n, t->text.len - n + 1);
	t->text.len -= n - TEXT_HEAD;
	t->dropped = true;
}

static void last_line(const struct watch *t, char out[160])
{
	size_t end = t->text.len, start;

	while (end && (t->text.s[end - 1] == '\n' || t->text.s[end - 1] == ' '))
		end--;
	for (start = end; start && t->text.s[start - 1] != '\n'; start--)
		;
	if (end - start > 159)
		end = start + 159;
	if (end > start)
		memcpy(out, t->text.s + start, end - start);
	out[end - start] = '\0';
}

static const char *window(const struct watch *t)
{
	if (!t->text.len)
		return "";
	return t->text.len > WINDOW ? t->text.s + t->text.len - WINDOW : t->text.s;
}

static void take(struct watch *t)
{
	char buf[8192];
	ssize_t n = read(t->fd, buf, sizeof(buf));

	if (n > 0) {
		add_clean(t, buf, (size_t)n);
		if (t->w->pattern && !t->seen)
			t->seen = regexec(&t->re, window(t), 0, NULL, 0) == 0;
	} else if (n == 0 && t->w->socket) {
		mem_close_fd(&t->fd);
	}
}

/* ---- the port ---------------------------------------------------------------- */

static int socket_in(struct watch *t, int family)
{
	int fd;

	if (t->netns >= 0 && setns(t->netns, CLONE_NEWNET) < 0)
		return -1;
	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (t->netns >= 0 && setns(t->home, CLONE_NEWNET) < 0)
		mem_close_fd(&fd);
	return fd;
}

static void port_try(struct watch *t)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)t->w->port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)t->w->port) };
	bool is4;
	char plain[64];

	mem_close_fd(&t->try);
	t->tried_at = now();
	if (!console_address(t->w->address, plain))
		return;
	is4 = inet_pton(AF_INET, plain, &v4.sin_addr) == 1;
	if (!is4 && inet_pton(AF_INET6, plain, &v6.sin6_addr) != 1)
		return;
	t->try = socket_in(t, is4 ? AF_INET : AF_INET6);
	if (t->try >= 0 &&
	    connect(t->try, is4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
		    is4 ? sizeof(v4) : sizeof(v6)) == 0)
		t->open = true;
}

static void port_answer(struct watch *t)
{
	int error = 0;
	socklen_t n = sizeof(error);

	if (getsockopt(t->try, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0)
		t->open = true;
	mem_close_fd(&t->try);
}

/* ---- waiting ----------------------------------------------------------------- */

static int listen_to(struct watch *t)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	uint64_t until = now() + CONNECT_MS;

	if (t->w->log)
		t->fd = open(t->w->log, O_RDONLY | O_CLOEXEC);
	if (!t->w->socket)
		return 0;
	if (strlen(t->w->socket) >= sizeof(addr.sun_path))
		return ctx_fail(t->c, "cannot listen to '%s': the path is too long",
				t->w->socket);
	memcpy(addr.sun_path, t->w->socket, strlen(t->w->socket) + 1);
	t->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	while (connect(t->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		if (now() > until)
			return ctx_fail_sys(t->c, "cannot listen to '%s'", t->w->socket);
		task_sleep_ms(50);
	}
	if (t->w->knock && send(t->fd, "\n", 1, MSG_NOSIGNAL) < 0)
		mem_close_fd(&t->fd);
	return 0;
}

static int let_go(struct watch *t)
{
	AUTO_ERR e = {0};
	struct qmp *q;
	int rc;

	if (!t->w->cont)
		return 0;
	q = qmp_open(t->w->monitor, CONNECT_MS, &e);
	rc = q ? qmp_call(q, "cont", NULL, NULL, &e) : -1;
	qmp_free(q);
	return rc < 0 ? ctx_fail_err(t->c, &e) : 0;
}

static int gave_up(struct watch *t, uint64_t waited)
{
	const struct console_wait *w = t->w;
	char line[160];

	last_line(t, line);
	if (line[0])
		ctx_hint(t->c, "its last console line: %s", line);
	if (w->pattern && !t->seen)
		return ctx_fail(t->c, "'%s' was not seen on the console within %llu s",
				w->pattern, (unsigned long long)waited / 1000);
	return ctx_fail(t->c, "port %d did not open at %s within %llu s", w->port,
			w->address, (unsigned long long)waited / 1000);
}

/* 1: up, 0: not yet, -1 (told): it will never be. */
static int judge(struct watch *t)
{
	const char *bad = t->seen ? NULL : console_bad_sign(window(t));
	char line[160];

	if ((!t->w->pattern || t->seen) && (!t->w->port || t->open))
		return 1;
	last_line(t, line);
	if (bad) {
		ctx_hint(t->c, "its last console line: %s", line);
		return ctx_fail(t->c, "the machine does not come up: '%s'", bad);
	}
	if (t->w->alive && !t->w->alive(t->w->arg)) {
		if (line[0])
			ctx_hint(t->c, "its last console line: %s", line);
		return ctx_fail(t->c, "the machine ended before it was up");
	}
	return ctx_cancelled(t->c) ? -1 : 0;
}

static void turn(struct watch *t)
{
	struct pollfd p[2] = { { t->w->socket ? t->fd : -1, POLLIN, 0 },
			       { t->try, POLLOUT, 0 } };

	if (t->w->port && !t->open && now() >= t->tried_at + PORT_EVERY_MS)
		port_try(t);
	p[1].fd = t->try;
	poll(p, 2, 100);
	if (t->try >= 0 && p[1].revents)
		port_answer(t);
	if (t->fd >= 0 && (p[0].revents || t->w->log))
		take(t);
	if (t->fd < 0 && t->w->log)
		t->fd = open(t->w->log, O_RDONLY | O_CLOEXEC);
}

static int wait_loop(struct watch *t)
{
	uint64_t start = now(), passed;
	char line[160];
	int rc;

	if (listen_to(t) < 0 || let_go(t) < 0)
		return -1;
	for (;;) {
		passed = now() - start;
		rc = judge(t);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
		if (passed > t->w->timeout_ms)
			return gave_up(t, passed);
		last_line(t, line);
		ctx_progress(t->c, passed / 1000, 0, "s", line);	/* nobody knows how long */
		turn(t);
	}
}

int console_wait(struct ctx *c, const struct console_wait *w)
{
	struct watch t = { .c = c, .w = w, .fd = -1, .try = -1, .netns = w->netns, .home = -1 };
	int rc;

	if (console_check(c, w->pattern, w->address, w->port) < 0)
		return -1;
	if (w->netns >= 0 &&
	    (t.home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) < 0)
		return ctx_fail_sys(c, "cannot find the way back from the fence");
	if (w->pattern)
		regcomp(&t.re, w->pattern, REG_EXTENDED | REG_NOSUB);
	rc = wait_loop(&t);
	if (t.text.len)
		ctx_evidence(c, "console", t.text.s, t.text.len);
	if (t.dropped)
		ctx_log(c, "the console said more than is kept: its middle was dropped");
	if (w->pattern)
		regfree(&t.re);
	mem_close_fd(&t.fd);
	mem_close_fd(&t.try);
	mem_close_fd(&t.home);
	str_free(&t.text);
	return rc;
}
