/* SPDX-License-Identifier: Apache-2.0
 * ssh_net - a connected descriptor: names are looked up in a thread, addresses are
 * tried in turn without waiting for slow ones, a proxy is a program on a socketpair.
 */
#include "engine/host/ssh.h"

#include "engine/base/io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ADDRS_MAX 8
#define NEXT_MS 250		/* an address gets this long before the next is tried too */
#define USER_TIMEOUT_MS 30000

/* A name being looked up. Shared with a thread; the last of the two frees it. */
struct lookup {
	pthread_mutex_t lock;
	int users;
	char *host;
	char port[8];
	int done;		/* eventfd, the loop's */
	int rc;
	struct addrinfo *found;
};

struct attempt {
	struct net *net;
	int fd;
	struct loop_fd *handle;
	char text[INET6_ADDRSTRLEN];
};

struct net {
	struct loop *loop;
	char *host;
	int port;
	void (*done)(void *arg, int fd);
	void (*failed)(void *arg, struct err *e);
	void (*words)(void *arg, const void *p, size_t n);
	void *arg;
	struct lookup *lookup;
	struct loop_fd *lookup_handle;
	struct sockaddr_storage addrs[ADDRS_MAX];
	socklen_t lens[ADDRS_MAX];
	size_t count, next;		/* addresses; the next to try */
	struct attempt attempts[ADDRS_MAX];
	struct loop_timer *timer;
	int last_errno;
	char last_addr[INET6_ADDRSTRLEN];
	pid_t proxy;			/* a program of ours, or 0 */
	int words_fd;
	struct loop_fd *words_handle;
};

/* ---- names ----------------------------------------------------------------------- */

static void lookup_put(struct lookup *l)
{
	int left;

	pthread_mutex_lock(&l->lock);
	left = --l->users;
	pthread_mutex_unlock(&l->lock);
	if (left > 0)
		return;
	if (l->found)
		freeaddrinfo(l->found);
	pthread_mutex_destroy(&l->lock);
	close(l->done);
	free(l->host);
	free(l);
}

static int look_up(struct lookup *l, int flags)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
				  .ai_flags = flags | AI_NUMERICSERV };

	return getaddrinfo(l->host, l->port, &hints, &l->found);
}

static void *lookup_thread(void *arg)
{
	struct lookup *l = arg;
	uint64_t one = 1;

	l->rc = look_up(l, AI_ADDRCONFIG);
	if (write(l->done, &one, sizeof(one)) < 0)
		l->rc = EAI_SYSTEM;
	lookup_put(l);
	return NULL;
}

/* ---- the end ----------------------------------------------------------------------- */

static void close_attempts(struct net *n, int keep)
{
	for (size_t i = 0; i < n->count; i++) {
		struct attempt *a = &n->attempts[i];

		loop_fd_del(a->handle);
		a->handle = NULL;
		if (a->fd >= 0 && a->fd != keep)
			close(a->fd);
		a->fd = -1;
	}
	loop_timer_del(n->timer);
	n->timer = NULL;
}

void net_free(struct net *n)
{
	if (!n)
		return;
	close_attempts(n, -1);
	loop_fd_del(n->lookup_handle);
	if (n->lookup)
		lookup_put(n->lookup);
	loop_fd_del(n->words_handle);
	mem_close_fd(&n->words_fd);
	if (n->proxy > 0) {
		kill(-n->proxy, SIGKILL);
		while (waitpid(n->proxy, NULL, 0) < 0 && errno == EINTR)
			;
	}
	free(n->host);
	free(n);
}

static void give_up(struct net *n)
{
	AUTO_ERR e = { 0 };

	close_attempts(n, -1);
	errno = n->last_errno;
	err_sys(&e, "cannot connect to '%s' (%s port %d)", n->host, n->last_addr, n->port);
	err_hint(&e, n->last_errno == ECONNREFUSED ?
		 "is sshd running there, and on this port?" :
		 "is the host up, and is there a way to it from here?");
	n->failed(n->arg, &e);
}

/* ---- addresses ---------------------------------------------------------------------- */

static void try_next(struct net *n);

static void on_connected(void *arg, short revents)
{
	struct attempt *a = arg;
	struct net *n = a->net;
	socklen_t len = sizeof(int);
	int error = 0, fd = a->fd;

	(void)revents;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error == 0) {
		close_attempts(n, fd);
		n->done(n->arg, fd);
		return;
	}
	n->last_errno = error;
	snprintf(n->last_addr, sizeof(n->last_addr), "%s", a->text);
	loop_fd_del(a->handle);
	a->handle = NULL;
	mem_close_fd(&a->fd);
	try_next(n);
}

static void on_slow(void *arg)
{
	struct net *n = arg;

	n->timer = NULL;
	try_next(n);
}

static void set_options(int fd)
{
	int on = 1, ms = USER_TIMEOUT_MS;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

static bool any_under_way(const struct net *n)
{
	for (size_t i = 0; i < n->next; i++)
		if (n->attempts[i].fd >= 0)
			return true;
	return false;
}

/* Start the next address; report when none is left and none is under way. */
static void try_next(struct net *n)
{
	loop_timer_del(n->timer);
	n->timer = NULL;
	while (n->next < n->count) {
		size_t i = n->next++;
		struct attempt *a = &n->attempts[i];
		struct sockaddr *sa = (struct sockaddr *)&n->addrs[i];

		getnameinfo(sa, n->lens[i], a->text, sizeof(a->text), NULL, 0,
			    NI_NUMERICHOST);
		a->net = n;
		a->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (a->fd >= 0)
			set_options(a->fd);
		if (a->fd >= 0 && (connect(a->fd, sa, n->lens[i]) == 0 ||
				   errno == EINPROGRESS)) {
			a->handle = loop_fd_add(n->loop, a->fd, POLLOUT, on_connected, a);
			if (n->next < n->count)
				n->timer = loop_timer_add(n->loop, NEXT_MS, on_slow, n);
			return;
		}
		n->last_errno = errno;
		snprintf(n->last_addr, sizeof(n->last_addr), "%s", a->text);
		mem_close_fd(&a->fd);
	}
	if (!any_under_way(n))
		give_up(n);
}

static const struct addrinfo *next_of(const struct addrinfo *a, int family, bool same)
{
	while (a && (a->ai_family == family) != same)
		a = a->ai_next;
	return a;
}

static const struct addrinfo *take(struct net *n, const struct addrinfo *a, int family,
				   bool same)
{
	a = next_of(a, family, same);
	if (!a || n->count == ADDRS_MAX)
		return NULL;
	memcpy(&n->addrs[n->count], a->ai_addr, a->ai_addrlen);
	n->lens[n->count] = a->ai_addrlen;
	n->attempts[n->count++].fd = -1;
	return a->ai_next;
}

/* Take turns between the families, each in the resolver's order. */
static void take_addresses(struct net *n, const struct addrinfo *list)
{
	const struct addrinfo *same = list, *other = list;
	int family = list ? list->ai_family : AF_INET;

	while (same || other) {
		same = take(n, same, family, true);
		other = take(n, other, family, false);
	}
}

static void on_looked_up(void *arg, short revents)
{
	struct net *n = arg;
	struct lookup *l = n->lookup;
	AUTO_ERR e = { 0 };
	uint64_t one;

	(void)revents;
	loop_fd_del(n->lookup_handle);
	n->lookup_handle = NULL;
	/* what the thread wrote before it wrote this is there */
	if (read(l->done, &one, sizeof(one)) < 0)
		l->rc = EAI_SYSTEM;
	if (l->rc == 0) {
		take_addresses(n, l->found);
		try_next(n);
		return;
	}
	err_set(&e, ERR_SYSTEM, "cannot find the address of '%s': %s", n->host,
		gai_strerror(l->rc));
	err_hint(&e, "is the name right? `ssh %s` would look it up in the same way", n->host);
	n->failed(n->arg, &e);
}

static void start_lookup(struct net *n)
{
	struct lookup *l = mem_alloc(sizeof(*l));
	uint64_t one = 1;
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_mutex_init(&l->lock, NULL);
	l->users = 1;
	l->host = mem_strdup(n->host);
	snprintf(l->port, sizeof(l->port), "%d", n->port);
	l->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	n->lookup = l;
	n->lookup_handle = loop_fd_add(n->loop, l->done, POLLIN, on_looked_up, n);
	/* an address needs no thread */
	l->rc = look_up(l, AI_NUMERICHOST);
	if (l->rc != 0) {
		l->users = 2;
		pthread_attr_init(&attr);
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		pthread_attr_setstacksize(&attr, 256 << 10);
		rc = pthread_create(&thread, &attr, lookup_thread, l);
		pthread_attr_destroy(&attr);
		if (rc == 0)
			return;
		l->users = 1;
		l->rc = EAI_AGAIN;
	}
	if (write(l->done, &one, sizeof(one)) < 0)
		l->rc = EAI_SYSTEM;
}

/* ---- proxies ---------------------------------------------------------------------------- */

static void on_words(void *arg, short revents)
{
	struct net *n = arg;
	char buf[4096];
	ssize_t got = read(n->words_fd, buf, sizeof(buf));

	(void)revents;
	if (got > 0) {
		n->words(n->arg, buf, (size_t)got);
	} else if (got == 0) {
		loop_fd_del(n->words_handle);
		n->words_handle = NULL;
	}
}

void net_drain(struct net *n)
{
	char buf[4096];
	ssize_t got;

	while (n && n->words_fd >= 0 && (got = read(n->words_fd, buf, sizeof(buf))) > 0)
		n->words(n->arg, buf, (size_t)got);
}

static _Noreturn void exec_proxy(const char *command, int sock, int words)
{
	AUTO_FREE char *line = mem_printf("exec %s", command);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	sock = fcntl(sock, F_DUPFD_CLOEXEC, 16);
	words = fcntl(words, F_DUPFD_CLOEXEC, 16);
	dup2(sock, 0);
	dup2(sock, 1);
	dup2(words, 2);
	syscall(SYS_close_range, 3, 15, 0);
	execl("/bin/sh", "sh", "-c", line, (char *)NULL);
	_exit(127);
}

static void on_proxy(void *arg)
{
	struct net *n = arg;
	int fd = n->attempts[0].fd;

	n->timer = NULL;
	n->attempts[0].fd = -1;
	n->done(n->arg, fd);
}

static void on_no_proxy(void *arg)
{
	struct net *n = arg;

	n->timer = NULL;
	snprintf(n->last_addr, sizeof(n->last_addr), "by a proxy");
	give_up(n);
}

static void start_proxy(struct net *n, const char *command)
{
	int sock[2], words[2];

	n->count = 1;
	n->attempts[0].fd = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) < 0 ||
	    pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0) {
		n->last_errno = errno;
		n->timer = loop_timer_add(n->loop, 0, on_no_proxy, n);
		return;
	}
	n->proxy = fork();
	if (n->proxy == 0)
		exec_proxy(command, sock[1], words[1]);
	close(sock[1]);
	close(words[1]);
	n->attempts[0].fd = sock[0];
	n->words_fd = words[0];
	n->words_handle = loop_fd_add(n->loop, n->words_fd, POLLIN, on_words, n);
	n->timer = loop_timer_add(n->loop, 0, on_proxy, n);
}

struct net *net_connect(struct loop *loop, const struct ssh_target *to,
			void (*done)(void *arg, int fd),
			void (*failed)(void *arg, struct err *e),
			void (*words)(void *arg, const void *p, size_t n), void *arg)
{
	struct net *n = mem_alloc(sizeof(*n));

	n->loop = loop;
	n->host = mem_strdup(to->host);
	n->port = to->port;
	n->done = done;
	n->failed = failed;
	n->words = words;
	n->arg = arg;
	n->words_fd = -1;
	if (to->proxy)
		start_proxy(n, to->proxy);
	else
		start_lookup(n);
	return n;
}
