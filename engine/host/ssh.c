/* SPDX-License-Identifier: Apache-2.0
 * ssh - the life of one SSH session: its turn to connect, keys, login, the agent.
 */
#include "engine/host/ssh.h"

#include "engine/base/io.h"
#include "engine/host/relay.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define POLLS_AT_ONCE 64	/* libssh reads 4 KiB in each */

static void turn(struct sshost *s);

static void on_again(void *arg)
{
	struct sshost *s = arg;

	s->again = NULL;
	turn(s);
}

void sshost_again(struct sshost *s)
{
	if (!s->again && !s->turning && s->state != SSH_DEAD)
		s->again = loop_timer_add(s->host->loop, 0, on_again, s);
}

/* An empty error means: it just ended. */
void sshost_fail(struct sshost *s, struct err *e)
{
	if (err_is(&s->why)) {
		err_clear(e);
		return;
	}
	if (err_is(e)) {
		err_move(&s->why, e);
	} else {
		const char *words = link_last_words(s->link);

		err_set(&s->why, ERR_SYSTEM, "cannot reach '%s' any more: the connection "
			"ended%s%s", s->host->name, *words ? ": " : "", words);
	}
	sshost_again(s);
}

/* ---- the end ------------------------------------------------------------------------ */

static void clean_up(struct sshost *s)
{
	s->state = SSH_DEAD;
	loop_timer_del(s->deadline);
	loop_timer_del(s->again);
	loop_fd_del(s->handle);
	s->deadline = s->again = NULL;
	s->handle = NULL;
	ssh_streams_lost(s);
	while (s->chans)
		chan_free(s->chans);
	s->control = NULL;
	ssh_key_free(s->key);
	s->key = NULL;
	if (s->event && s->session)
		ssh_event_remove_session(s->event, s->session);
	if (s->event)
		ssh_event_free(s->event);
	if (s->session) {
		ssh_disconnect(s->session);
		ssh_free(s->session);
	}
	s->event = NULL;
	s->session = NULL;
	mem_close_fd(&s->fd);
	net_free(s->net);
	s->net = NULL;
	limit_release(s->slot);
	s->slot = NULL;
	str_free(&s->start_noise);
	str_free(&s->tried);
}

static void drop(void *transport)
{
	struct sshost *s = transport;

	/* our own turn ends it, if we are in it */
	if (s->turning || s->polling)
		s->state = SSH_DEAD;
	else
		clean_up(s);
}

/* ---- deadlines ------------------------------------------------------------------------ */

static void on_deadline(void *arg)
{
	struct sshost *s = arg;
	AUTO_ERR e = { 0 };
	const char *words;

	s->deadline = NULL;
	words = link_last_words(s->link);
	if (s->state == SSH_CONNECTING)
		err_set(&e, ERR_SYSTEM, "cannot connect to '%s' (port %d): no answer within %d s",
			s->to.host, s->to.port, SSH_CONNECT_MS / 1000);
	else if (s->state < SSH_STARTING)
		err_set(&e, ERR_SYSTEM, "cannot log in to '%s': no answer within %d s%s%s",
			s->host->name, SSH_LOGIN_MS / 1000, *words ? ": " : "", words);
	else
		err_set(&e, ERR_SYSTEM, "cannot start the agent on '%s': no answer within %d s%s%s",
			s->host->name, SSH_START_MS / 1000, *words ? ": " : "", words);
	err_hint(&e, "is the host up, and is there a way to it from here?");
	sshost_fail(s, &e);
}

static void set_deadline(struct sshost *s, uint64_t ms)
{
	loop_timer_del(s->deadline);
	s->deadline = ms ? loop_timer_add(s->host->loop, ms, on_deadline, s) : NULL;
}

/* ---- the states ------------------------------------------------------------------------- */

/* A proxy says why before it lets go of the connection. */
static void proxy_error(struct sshost *s, const char *what)
{
	AUTO_ERR e = { 0 };
	const char *words;

	net_drain(s->net);
	words = link_last_words(s->link);
	err_set(&e, ERR_SYSTEM, "cannot %s '%s' through its proxy: %s", what, s->host->name,
		*words ? words : ssh_get_error(s->session));
	err_hint(&e, "does `ssh %s true` work? the proxy is: %s", s->to.alias, s->to.proxy);
	sshost_fail(s, &e);
}

static void session_error(struct sshost *s, const char *what)
{
	AUTO_ERR e = { 0 };
	const char *words = link_last_words(s->link);

	if (s->to.proxy) {
		proxy_error(s, what);
		return;
	}
	err_set(&e, ERR_SYSTEM, "cannot %s '%s': %s%s%s", what, s->host->name,
		ssh_get_error(s->session), *words ? ": " : "", words);
	sshost_fail(s, &e);
}

/* libssh takes the flag away: its sends would block the loop. */
static void keep_nonblocking(struct sshost *s)
{
	int fd = ssh_get_fd(s->session);

	if (fd >= 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void step_keys(struct sshost *s)
{
	int rc = ssh_connect(s->session);
	AUTO_ERR e = { 0 };

	keep_nonblocking(s);
	if (rc == SSH_AGAIN)
		return;
	if (rc != SSH_OK) {
		session_error(s, "connect to");
		return;
	}
	if (ssh_check_host_key(s, &e) < 0) {
		sshost_fail(s, &e);
		return;
	}
	s->host->met = true;
	s->state = SSH_AUTH;
}

static void step_auth(struct sshost *s)
{
	AUTO_ERR e = { 0 };
	int rc = ssh_auth_step(s, &e);

	if (rc < 0)
		sshost_fail(s, &e);
	if (rc <= 0)
		return;
	limit_release(s->slot);
	s->slot = NULL;
	s->event = ssh_event_new();
	ssh_event_add_session(s->event, s->session);
	s->state = SSH_STARTING;
	set_deadline(s, SSH_START_MS);
	bootstrap_begin(s);
}

static void step_channels(struct sshost *s)
{
	struct chan *next;
	int rc = SSH_OK;

	s->polling = true;
	for (int i = 0; i < POLLS_AT_ONCE && rc == SSH_OK; i++)
		rc = ssh_event_dopoll(s->event, 0);
	s->polling = false;
	s->active = false;
	for (struct chan *c = s->chans; c; c = next) {
		next = c->next;
		chan_step(c);
	}
	for (struct chan *c = s->chans; c; c = next) {
		next = c->next;
		if (c->dead)
			chan_free(c);
	}
	if (s->state == SSH_STARTING && s->host->ready) {
		s->state = SSH_UP;
		set_deadline(s, 0);
	}
	if (rc == SSH_ERROR || !ssh_is_connected(s->session)) {
		AUTO_ERR e = { 0 };

		if (s->control)
			s->control->ops->end(s->control);
		sshost_fail(s, &e);
	}
}

static void watch(struct sshost *s)
{
	short events = POLLIN;

	if (ssh_get_poll_flags(s->session) & SSH_WRITE_PENDING)
		events |= POLLOUT;
	loop_fd_events(s->handle, events);
}

/* One turn: whatever can be done now. All frees happen at its end. */
static void turn(struct sshost *s)
{
	enum ssh_state was;
	AUTO_ERR e = { 0 };

	if (s->turning)
		return;
	s->turning = true;
	do {
		was = s->state;
		if (err_is(&s->why))
			break;
		if (s->state == SSH_KEYS)
			step_keys(s);
		else if (s->state == SSH_AUTH)
			step_auth(s);
		else if (s->state == SSH_STARTING || s->state == SSH_UP)
			step_channels(s);
	} while (s->state != was && s->state != SSH_DEAD);
	s->turning = false;
	if (s->state != SSH_DEAD && !err_is(&s->why)) {
		if (s->handle)
			watch(s);
		if (s->active)
			sshost_again(s);
		return;
	}
	err_move(&e, &s->why);
	clean_up(s);
	if (err_is(&e))
		link_down(s->link, &e);
}

static void on_socket(void *arg, short revents)
{
	(void)revents;
	turn(arg);
}

/* ---- getting there -------------------------------------------------------------------------- */

static void on_connected(void *arg, int fd)
{
	struct sshost *s = arg;

	s->fd = fd;
	ssh_options_set(s->session, SSH_OPTIONS_FD, &fd);
	ssh_set_blocking(s->session, 0);
	s->state = SSH_KEYS;
	s->handle = loop_fd_add(s->host->loop, fd, POLLIN, on_socket, s);
	set_deadline(s, SSH_LOGIN_MS);
	turn(s);
}

static void on_not_connected(void *arg, struct err *e)
{
	sshost_fail(arg, e);
}

static void on_proxy_words(void *arg, const void *p, size_t n)
{
	link_stderr(((struct sshost *)arg)->link, p, n);
}

static void on_my_turn(void *arg)
{
	struct sshost *s = arg;

	s->state = SSH_CONNECTING;
	set_deadline(s, SSH_CONNECT_MS);
	s->net = net_connect(s->host->loop, &s->to, on_connected, on_not_connected,
			     on_proxy_words, s);
}

static void on_open(void *arg)
{
	struct sshost *s = arg;
	AUTO_FREE char *target = NULL;
	AUTO_ERR e = { 0 };

	s->again = NULL;
	s->session = ssh_new();
	if (!s->session)
		err_set(&e, ERR_SYSTEM, "cannot connect to '%s': out of memory", s->host->name);
	else
		ssh_target_read(s, &e);
	if (err_is(&e)) {
		sshost_fail(s, &e);
		return;
	}
	s->state = SSH_WAITING;
	target = mem_printf("%s:%d", s->to.host, s->to.port);
	s->slot = limit_acquire(s->host->loop, target, on_my_turn, s);
}

/* ---- link_ops and host_ops --------------------------------------------------------------------- */

static size_t ssh_write_link(void *transport, const void *p, size_t n)
{
	struct sshost *s = transport;

	if (!s->control || s->state == SSH_DEAD || !s->blob || s->sent < s->size)
		return 0;
	return chan_write(s->control, p, n);
}

static void party(void *transport, struct call *c, struct relay_party *out)
{
	struct sshost *s = transport;
	const char *data = jstr(s->spec, "data", NULL);

	*out = (struct relay_party){ .open = ssh_stream_open, .arg = s, .id = c->id };
	if (data)
		addr_parse(data, &out->at);
	else
		addr_peer(s->fd, &out->at);	/* none behind a proxy */
}

static const struct link_ops ssh_link_ops = {
	.write = ssh_write_link, .party = party, .drop = drop,
};

static void op_open(struct host *h)
{
	struct sshost *s = h->impl;

	s->again = loop_timer_add(h->loop, 0, on_open, s);
}

static void op_start(struct host *h, struct call *c)
{
	link_op_start(((struct sshost *)h->impl)->link, c);
}

static void op_ack(struct host *h, struct call *c, int64_t ack)
{
	link_op_ack(((struct sshost *)h->impl)->link, c, ack);
}

static void op_stop(struct host *h, struct call *c)
{
	link_op_stop(((struct sshost *)h->impl)->link, c);
}

static void op_go(struct host *h, struct call *c)
{
	link_op_go(((struct sshost *)h->impl)->link, c);
}

static void op_pace(struct host *h, struct call *c)
{
	link_op_pace(((struct sshost *)h->impl)->link, c);
}

static void op_close(struct host *h)
{
	link_op_close(((struct sshost *)h->impl)->link);
}

static void op_free(struct host *h)
{
	struct sshost *s = h->impl;

	clean_up(s);
	link_free(s->link);
	err_clear(&s->why);
	ssh_target_clear(&s->to);
	json_decref(s->spec);
	free(s);
}

static const struct host_ops ssh_ops = {
	.open = op_open, .start = op_start, .ack = op_ack, .stop = op_stop, .go = op_go,
	.pace = op_pace,
	.close = op_close, .free = op_free,
};

struct host *host_ssh_new(struct loop *loop, const char *name, const json_t *spec)
{
	struct host *h = mem_alloc(sizeof(*h));
	struct sshost *s = mem_alloc(sizeof(*s));

	h->name = mem_strdup(name);
	h->ops = &ssh_ops;
	h->loop = loop;
	h->impl = s;
	s->host = h;
	s->fd = -1;
	s->spec = json_deep_copy(spec);
	s->link = link_new(h, &ssh_link_ops, s);
	return h;
}
