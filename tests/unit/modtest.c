/* SPDX-License-Identifier: Apache-2.0
 * modtest - call a module as the agent would, without an engine.
 */
#include "tests/unit/modtest.h"

#include "engine/agent/child.h"
#include "engine/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static void gather(const json_t *event, void *arg)
{
	if (arg)
		json_array_append(arg, (json_t *)event);
}

/* No engine holds the host for it: tests of one plan, run beside each other, would end each
 * other's agents as lost ones. */
static const json_t *unheld(const json_t *input)
{
	json_object_del(json_object_get(input, "run"), "epoch");
	return input;
}

json_t *modtest_call_with(const char *module, const char *op,
			  const json_t *input, int stream, int yes,
			  json_t **events_out)
{
	struct child_spec spec = {
		.module = module, .op = op, .input = unheld(input), .step = 1,
		.stream = stream,
	};
	json_t *events = events_out ? json_array() : NULL;
	json_t *result = child_call(&spec, yes, gather, events);

	if (events_out)
		*events_out = events;
	return result;
}

json_t *modtest_call(const char *module, const char *op, const json_t *input,
		     json_t **events_out)
{
	return modtest_call_with(module, op, input, -1, -1, events_out);
}

struct half { struct modtest_end *end; struct child_spec spec; pid_t pid; int fd; };

static void *follow(void *arg)
{
	struct half *h = arg;

	h->end->out = child_follow(&h->spec, h->pid, h->fd, -1, gather, h->end->events);
	return NULL;
}

static void begin(struct half *h, struct modtest_end *end, int stream)
{
	AUTO_ERR e = { 0 };

	end->events = json_array();
	*h = (struct half){ end, { .module = end->module, .op = end->op ? end->op : "apply",
		.input = unheld(end->in), .step = 1, .stream = stream }, -1, -1 };
	h->pid = child_spawn(&h->spec, &h->fd, &e);
	if (h->pid < 0)
		abort();
	close(stream);
}

static void join(int pair[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
}

void modtest_both(struct modtest_end end[2])
{
	struct half h[2];
	pthread_t t;
	int pair[2];

	join(pair);
	for (int i = 0; i < 2; i++)
		begin(&h[i], &end[i], pair[i]);
	if (pthread_create(&t, NULL, follow, &h[0]) != 0)
		abort();
	follow(&h[1]);
	pthread_join(t, NULL);
}

void modtest_both_through(struct modtest_end end[2],
			  void (*between)(void *arg, int fd[2], const pid_t pid[2]), void *arg)
{
	struct half h[2];
	pthread_t t[2];
	int pair[2][2];

	for (int i = 0; i < 2; i++)
		join(pair[i]);
	for (int i = 0; i < 2; i++)
		begin(&h[i], &end[i], pair[i][0]);
	for (int i = 0; i < 2; i++)
		if (pthread_create(&t[i], NULL, follow, &h[i]) != 0)
			abort();
	between(arg, (int[2]){ pair[0][1], pair[1][1] }, (pid_t[2]){ h[0].pid, h[1].pid });
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

pid_t modtest_listener(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t n = strlen(name);
	AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct ucred who = { 0 };
	socklen_t size = sizeof(who);

	memcpy(a.sun_path + 1, name, n);
	if (connect(fd, (struct sockaddr *)&a,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) < 0)
		return 0;
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size), 0);
	return who.pid;
}

void modtest_kill(pid_t pid)
{
	AUTO_FD fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { fd, POLLIN, 0 };

	assert_true(fd >= 0);
	kill(pid, SIGKILL);
	while (poll(&p, 1, -1) < 0)
		;
}

void modtest_keep(json_t *input, const json_t *events)
{
	json_t *kept = json_object_get(input, "kept"), *event;
	size_t i;

	if (!kept) {
		kept = json_object();
		jset(input, "kept", kept);
	}
	json_array_foreach(events, i, event) {
		const char *name = jstr(event, "name", "");
		json_t *content;

		if (strcmp(jstr(event, "e", ""), "keep") != 0 ||
		    json_object_get(kept, name))
			continue;
		content = json_copy(event);
		json_object_del(content, "e");
		json_object_del(content, "name");
		json_object_del(content, "ack");
		jset(kept, name, content);
	}
}

static json_t *keeping(json_t *input, const char *module, const char *op)
{
	AUTO_JSON *events = NULL;
	json_t *result = modtest_call(module, op, input, &events);

	modtest_keep(input, events);
	return result;
}

void modtest_must(json_t *input, const char *module, const char *op)
{
	AUTO_JSON *r = keeping(input, module, op);

	if (!jbool(r, "ok", false))
		fail_msg("%s %s: %s", module, op, jstr(r, "error.text", "?"));
}

void modtest_fails(json_t *input, const char *module, const char *op, const char *text)
{
	AUTO_JSON *r = keeping(input, module, op);

	assert_false(jbool(r, "ok", true));
	assert_string_equal(jstr(r, "error.text", ""), text);
}

void modtest_state(json_t *input, const char *module, const char *want)
{
	AUTO_JSON *r = keeping(input, module, "probe");

	if (!jbool(r, "ok", false))
		fail_msg("%s probe: %s", module, jstr(r, "error.text", "?"));
	assert_string_equal(jstr(r, "state", ""), want);
}

json_t *modtest_sh(const char *fmt, ...)
{
	AUTO_FREE char *script = NULL;
	va_list ap;

	va_start(ap, fmt);
	script = mem_vprintf(fmt, ap);
	va_end(ap);
	return json_pack("[s,s,s]", "sh", "-c", script);
}
