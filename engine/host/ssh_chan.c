/* SPDX-License-Identifier: Apache-2.0
 * ssh_chan - one exec channel: opened, its command run (through sudo where the host
 * says so), its bytes handed on. libssh's callbacks only note or consume; whatever
 * may free or write happens afterwards, in chan_step().
 */
#include "engine/host/ssh.h"

#include <string.h>

#define PROMPT "[drover asks for a password]"

static void on_eof(ssh_session session, ssh_channel ch, void *userdata)
{
	(void)session;
	(void)ch;
	((struct chan *)userdata)->eof = true;
	((struct chan *)userdata)->host->active = true;
}

static void on_close(ssh_session session, ssh_channel ch, void *userdata)
{
	struct chan *c = userdata;

	(void)session;
	(void)ch;
	c->eof = c->closed = true;
	c->host->active = true;
}

static void on_status(ssh_session session, ssh_channel ch, int status, void *userdata)
{
	(void)session;
	(void)ch;
	((struct chan *)userdata)->status = status;
}

/* sudo's prompt is answered, and kept out of the words. */
static void take_words(struct chan *c, const char *p, size_t n)
{
	const char *password = c->spoke ? NULL : c->host->to.sudo_password;
	char *at;

	if (!password && c->words.len > 0) {	/* the start of a prompt that was none */
		c->ops->words(c, c->words.s, c->words.len);
		c->words.len = 0;
	}
	if (!password) {
		c->ops->words(c, p, n);
		return;
	}
	str_addn(&c->words, p, n);
	while (c->words.s && (at = strstr(c->words.s, PROMPT))) {
		size_t before = (size_t)(at - c->words.s);

		if (before > 0)
			c->ops->words(c, c->words.s, before);
		memmove(c->words.s, at + strlen(PROMPT),
			c->words.len - before - strlen(PROMPT) + 1);
		c->words.len -= before + strlen(PROMPT);
		c->prompted++;
		if (c->state == CHAN_RUNS)
			c->state = CHAN_ASKING;
	}
	if (c->words.len >= sizeof(PROMPT) || c->state == CHAN_RUNS) {
		/* the start of a prompt may be in its last bytes */
		size_t keep = 0;

		for (size_t k = sizeof(PROMPT) - 1; k > 0 && !keep; k--)
			if (k <= c->words.len &&
			    memcmp(c->words.s + c->words.len - k, PROMPT, k) == 0)
				keep = k;
		if (c->words.len > keep) {
			c->ops->words(c, c->words.s, c->words.len - keep);
			memmove(c->words.s, c->words.s + c->words.len - keep, keep + 1);
			c->words.len = keep;
		}
	}
}

static int on_data(ssh_session session, ssh_channel ch, void *data, uint32_t len,
		   int is_stderr, void *userdata)
{
	struct chan *c = userdata;
	size_t taken;

	(void)session;
	(void)ch;
	if (c->dead)
		return (int)len;
	c->host->active = true;
	if (is_stderr) {
		take_words(c, data, len);
		return (int)len;
	}
	c->spoke = true;
	taken = c->host->nested ? 0 : c->ops->data(c, data, len);
	c->waiting = len - taken;
	return (int)taken;
}

/* The words that make root of it: no secret is among them. */
static char *full_command(const struct sshost *s, const char *tail)
{
	if (!s->to.sudo)
		return mem_printf("exec %s", tail);
	if (s->to.sudo_password)
		return mem_printf("exec env LC_ALL=C sudo -S -p '" PROMPT "' -- %s", tail);
	return mem_printf("exec env LC_ALL=C sudo -n -- %s", tail);
}

struct chan *chan_new(struct sshost *s, const char *tail, const struct chan_ops *ops,
		      void *arg)
{
	struct chan *c = mem_alloc(sizeof(*c));

	c->host = s;
	c->ops = ops;
	c->arg = arg;
	c->status = -1;
	c->command = full_command(s, tail);
	c->ch = ssh_channel_new(s->session);
	c->cb.userdata = c;
	c->cb.channel_data_function = on_data;
	c->cb.channel_eof_function = on_eof;
	c->cb.channel_close_function = on_close;
	c->cb.channel_exit_status_function = on_status;
	ssh_callbacks_init(&c->cb);
	if (c->ch)
		ssh_set_channel_callbacks(c->ch, &c->cb);
	else
		c->failed = "out of channels";
	c->next = s->chans;
	s->chans = c;
	sshost_again(s);
	return c;
}

void chan_free(struct chan *c)
{
	for (struct chan **at = &c->host->chans; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	if (c->ch) {
		/* it may live on in libssh until the host has closed it, too */
		ssh_remove_channel_callbacks(c->ch, &c->cb);
		ssh_channel_free(c->ch);
	}
	free(c->command);
	str_free(&c->words);
	free(c);
}

void chan_close(struct chan *c)
{
	c->dead = true;
	sshost_again(c->host);
}

/* libssh polls and calls back in nearly all of its functions. */
static bool enter(struct sshost *s)
{
	bool was = s->polling;

	s->polling = s->nested = true;
	return was;
}

static void leave(struct sshost *s, bool was)
{
	s->polling = was;
	s->nested = false;
}

/* Data that came while it could only be noted. */
static void take_noted(struct chan *c)
{
	char buf[16384];

	while (c->waiting > 0 && !c->dead && !c->pulls) {
		size_t before = c->waiting, taken;
		uint32_t n = before < sizeof(buf) ? (uint32_t)before : sizeof(buf);
		bool was = enter(c->host);
		int got = ssh_channel_read_nonblocking(c->ch, buf, n, 0);

		leave(c->host, was);
		if (got <= 0)
			return;
		c->waiting -= (size_t)got < c->waiting ? (size_t)got : c->waiting;
		taken = c->ops->data(c, buf, (size_t)got);
		if (taken < (size_t)got)
			c->failed = "it spoke before it was asked";
	}
}

static void open_step(struct chan *c)
{
	bool was = enter(c->host);
	int rc = SSH_OK;

	if (!c->opened) {
		rc = ssh_channel_open_session(c->ch);
		c->opened = rc == SSH_OK;
		if (rc != SSH_OK && rc != SSH_AGAIN)
			c->failed = "the host allows no further session";
	}
	if (c->opened && !c->closed && c->status < 0)
		rc = ssh_channel_request_exec(c->ch, c->command);
	leave(c->host, was);
	if (rc == SSH_AGAIN)
		return;
	/* what was quick may have asked, or be over, already */
	if (rc == SSH_OK || c->closed || c->status >= 0)
		c->state = c->prompted > 0 ? CHAN_ASKING : CHAN_RUNS;
	else if (!c->failed)
		c->failed = "the host runs no commands for this user";
}

/* sudo waits: the password goes once; asking again means that it was wrong. */
static void answer_prompt(struct chan *c)
{
	AUTO_FREE char *line = NULL;
	bool was;

	if (c->prompted > 1) {
		c->failed = "the password is wrong";
		return;
	}
	c->state = CHAN_RUNS;	/* before writing, in which it may ask again */
	was = enter(c->host);
	line = mem_printf("%s\n", c->host->to.sudo_password);
	ssh_channel_write(c->ch, line, (uint32_t)strlen(line));
	leave(c->host, was);
	explicit_bzero(line, strlen(line));
}

void chan_step(struct chan *c)
{
	if (c->dead || c->end_told)
		return;
	if (c->waiting > 0 && !c->pulls)
		take_noted(c);
	if (c->dead)
		return;
	if (!c->failed && c->state == CHAN_OPENING)
		open_step(c);
	if (!c->failed && c->state == CHAN_ASKING)
		answer_prompt(c);
	if (!c->failed && c->state == CHAN_RUNS && c->ops->turn)
		c->ops->turn(c);
	if (!c->dead && (c->failed || (c->eof && c->waiting == 0 && c->closed))) {
		if (c->words.len > 0 && !c->failed)
			c->ops->words(c, c->words.s, c->words.len);
		c->state = CHAN_ENDED;
		c->end_told = true;
		c->ops->end(c);
	}
}

size_t chan_write(struct chan *c, const void *p, size_t n)
{
	int put;
	bool was;

	/* inside a callback, with a full socket, or before it runs: later */
	if (c->host->polling || c->dead || c->state != CHAN_RUNS || c->closed ||
	    c->eof_sent || (ssh_get_poll_flags(c->host->session) & SSH_WRITE_PENDING) ||
	    ssh_channel_window_size(c->ch) == 0)
		return 0;	/* the socket's next event brings another turn */
	was = enter(c->host);
	put = ssh_channel_write(c->ch, p, (uint32_t)(n < SSH_CHUNK ? n : SSH_CHUNK));
	leave(c->host, was);
	sshost_again(c->host);
	return put > 0 ? (size_t)put : 0;
}

ssize_t chan_read(struct chan *c, void *buf, size_t n)
{
	int got;
	bool was;

	if (c->waiting == 0)
		return c->eof ? -1 : 0;
	if (c->host->polling)
		return 0;
	if (n > c->waiting)
		n = c->waiting;
	was = enter(c->host);
	got = ssh_channel_read_nonblocking(c->ch, buf, (uint32_t)n, 0);
	leave(c->host, was);
	if (got <= 0)
		return got == 0 ? 0 : -1;
	c->waiting -= (size_t)got;
	sshost_again(c->host);	/* libssh may have opened the window: send that */
	return got;
}

void chan_send_eof(struct chan *c)
{
	bool was = enter(c->host);

	if (!c->eof_sent && c->state == CHAN_RUNS && !c->closed)
		ssh_channel_send_eof(c->ch);
	leave(c->host, was);
	c->eof_sent = true;
	sshost_again(c->host);
}
