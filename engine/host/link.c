/* SPDX-License-Identifier: Apache-2.0
 * link - the life of one connection to an agent.
 */
#include "engine/host/link.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/host/relay.h"
#include "engine/wire/frame.h"

#include <pthread.h>
#include <string.h>

#define WORDS_MAX 4096		/* of stderr that are remembered */
#define QUOTE_LINES 4

enum link_state {
	LINK_IDLE,		/* the transport is still connecting */
	LINK_NOISE,		/* the preamble is awaited */
	LINK_HELLO,		/* the agent's hello is awaited */
	LINK_READY,
	LINK_CLOSING,		/* BYE is out */
	LINK_DOWN,
};

/* A call that has been started and has no result yet. */
struct flight {
	struct flight *next;
	struct link *link;
	struct call *call;
	json_t *early;		/* a result to be told on the loop's next turn, or NULL */
	bool sent;		/* RUN is out */
};

struct link {
	struct host *host;
	const struct link_ops *ops;
	void *transport;
	enum link_state state;
	char preamble[48];
	struct str noise;	/* before the preamble */
	struct str words;	/* the end of stderr */
	struct str quote;	/* what link_noise() and link_last_words() lend out */
	struct frame_reader *reader;
	struct str out;
	size_t out_at;
	struct flight *flights;
	uint32_t last_id;
	unsigned silent;	/* beats since anything was heard */
	struct loop_timer *beat, *soon, *end;
	struct err why;		/* of a link that is about to be told down */
	bool closed_told;
};

struct link *link_new(struct host *h, const struct link_ops *ops, void *transport)
{
	struct link *l = mem_alloc(sizeof(*l));

	l->host = h;
	l->ops = ops;
	l->transport = transport;
	l->reader = frame_reader_new();
	return l;
}

static void flight_free(struct flight *f)
{
	for (struct flight **at = &f->link->flights; *at; at = &(*at)->next)
		if (*at == f) {
			*at = f->next;
			break;
		}
	json_decref(f->early);
	free(f);
}

void link_free(struct link *l)
{
	if (!l)
		return;
	while (l->flights) {
		struct flight *f = l->flights;

		if (f->call->relay && !f->sent)
			relay_broken(f->call->relay, f->call->relay_end);
		flight_free(f);
	}
	loop_timer_del(l->beat);
	loop_timer_del(l->soon);
	loop_timer_del(l->end);
	frame_reader_free(l->reader);
	str_free(&l->noise);
	str_free(&l->words);
	str_free(&l->quote);
	str_free(&l->out);
	err_clear(&l->why);
	free(l);
}

/* ---- the agent's bytes ------------------------------------------------------------ */

extern const char drover_agent_blob[], drover_agent_blob_end[];

static char blob_build[SHA256_HEX];

static void digest_blob(void)
{
	sha256_hex(drover_agent_blob,
		   (size_t)(drover_agent_blob_end - drover_agent_blob), blob_build);
}

const void *link_agent_blob(size_t *n)
{
	*n = (size_t)(drover_agent_blob_end - drover_agent_blob);
	return drover_agent_blob;
}

const char *link_agent_build(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, digest_blob);
	return blob_build;
}

/* ---- words of the far side ---------------------------------------------------------- */

void link_stderr(struct link *l, const void *p, size_t n)
{
	str_addn(&l->words, p, n);
	if (l->words.len > WORDS_MAX) {
		size_t cut = l->words.len - WORDS_MAX;

		memmove(l->words.s, l->words.s + cut, WORDS_MAX + 1);
		l->words.len = WORDS_MAX;
	}
}

/* The last few lines, joined by " | ", printable, at most 600 bytes of them. */
static const char *quote(struct link *l, const struct str *from)
{
	AUTO_FREE char *text = mem_strndup(from->s ? from->s : "", from->len);
	char *start = text, *line, *save = NULL;
	int lines = 0;

	for (size_t i = strlen(text); i > 0; i--)
		if (text[i - 1] == '\n' && text[i] != '\0' &&
		    (++lines == QUOTE_LINES || strlen(text + i) > 600)) {
			start = text + i;
			break;
		}
	str_free(&l->quote);
	for (line = strtok_r(start, "\r\n", &save); line;
	     line = strtok_r(NULL, "\r\n", &save)) {
		if (l->quote.len > 0)
			str_add(&l->quote, " | ");
		str_add_safe(&l->quote, line);
	}
	return l->quote.s ? l->quote.s : "";
}

const char *link_last_words(struct link *l)
{
	return quote(l, &l->words);
}

const char *link_noise(struct link *l)
{
	return quote(l, &l->noise);
}

/* ---- results -------------------------------------------------------------------------- */

static json_t *failure(const char *kind, const char *text, const char *hint)
{
	json_t *result = json_object(), *error = json_object();

	jset_str(error, "kind", kind);
	jset(error, "text", jtext(text, strlen(text)));
	if (hint)
		jset_str(error, "hint", hint);
	jset_int(error, "errno", 0);
	jset_bool(result, "ok", false);
	jset(result, "error", error);
	return result;
}

/* The call is over: tell it and forget it. Steals the result. */
static void finish(struct flight *f, json_t *result)
{
	struct call *c = f->call;
	AUTO_JSON *held = result;

	if (c->relay && !f->sent)
		relay_broken(c->relay, c->relay_end);
	c->impl = NULL;
	flight_free(f);
	c->on_result(c, held, c->arg);
}

static void on_soon(void *arg);

static void soon(struct link *l)
{
	if (!l->soon)
		l->soon = loop_timer_add(l->host->loop, 0, on_soon, l);
}

/* End the call on the loop's next turn. Steals. */
static void finish_soon(struct flight *f, json_t *result)
{
	json_decref(f->early);
	f->early = result;
	soon(f->link);
}

static struct flight *next_early(struct link *l)
{
	struct flight *f;

	for (f = l->flights; f && !f->early; f = f->next)
		;
	return f;
}

static void tell_closed(struct link *l)
{
	struct host *h = l->host;

	if (l->closed_told)
		return;
	l->closed_told = true;
	if (h->on_closed)
		h->on_closed(h, h->arg);
}

static void on_soon(void *arg)
{
	struct link *l = arg;
	struct flight *f;

	l->soon = NULL;
	while ((f = next_early(l)))
		finish(f, json_incref(f->early));
	if (err_is(&l->why)) {
		AUTO_ERR e = { 0 };

		err_move(&e, &l->why);
		l->ops->drop(l->transport);
		link_down(l, &e);
	} else if (l->state == LINK_CLOSING && !l->end) {
		l->state = LINK_DOWN;
		tell_closed(l);
	}
}

static void lose_all(struct link *l, const char *text)
{
	while (l->flights) {
		struct flight *f = l->flights;

		if (f->early)
			finish(f, json_incref(f->early));
		else
			finish(f, failure("lost", text, NULL));
	}
}

void link_down(struct link *l, struct err *why)
{
	struct host *h = l->host;
	enum link_state was = l->state;
	AUTO_ERR e = { 0 };

	if (was == LINK_DOWN)
		return;
	err_move(&e, why);
	l->state = LINK_DOWN;
	h->ready = false;
	loop_timer_del(l->beat);
	loop_timer_del(l->end);
	l->beat = l->end = NULL;
	err_clear(&l->why);
	if (!err_is(&e)) {
		const char *words = link_last_words(l);

		err_set(&e, ERR_SYSTEM, "cannot reach '%s' any more: the connection ended%s%s",
			h->name, *words ? ": " : "", words);
	}
	err_host(&e, h->name);
	lose_all(l, e.what);
	if (was == LINK_CLOSING)
		tell_closed(l);
	else if (h->on_down)
		h->on_down(h, &e, h->arg);
}

/* The link is broken; told on the loop's next turn, as we may be deep in a call. */
static void break_soon(struct link *l, struct err *e)
{
	if (err_is(&l->why) || l->state == LINK_DOWN)
		err_clear(e);
	else
		err_move(&l->why, e);
	soon(l);
}

/* ---- out --------------------------------------------------------------------------------- */

static void flush(struct link *l)
{
	while (l->out_at < l->out.len && l->state != LINK_DOWN) {
		size_t n = l->ops->write(l->transport, l->out.s + l->out_at,
					 l->out.len - l->out_at);

		if (n == 0)
			break;
		l->out_at += n;
	}
	if (l->out_at == l->out.len) {
		if (l->out.cap > (1u << 20))
			str_free(&l->out);
		l->out.len = l->out_at = 0;
	}
}

void link_writable(struct link *l)
{
	flush(l);
}

static int send_frame(struct link *l, enum frame_type type, uint32_t step,
		      const json_t *body, struct err *e)
{
	if (frame_encode(&l->out, type, step, body, e) < 0)
		return -1;
	flush(l);
	return 0;
}

static void on_beat(void *arg)
{
	struct link *l = arg;
	AUTO_ERR e = { 0 };

	l->beat = loop_timer_add(l->host->loop, LINK_BEAT_MS, on_beat, l);
	if (++l->silent > LINK_BEATS_MAX) {
		err_set(&e, ERR_SYSTEM, "cannot reach '%s' any more: silent for %d s",
			l->host->name, LINK_BEAT_MS * LINK_BEATS_MAX / 1000);
		err_hint(&e, "is the host or the network to it down?");
		break_soon(l, &e);
		return;
	}
	if (l->state == LINK_READY)
		send_frame(l, FRAME_PING, 0, NULL, NULL);
}

/* ---- in ------------------------------------------------------------------------------------ */

void link_begin(struct link *l, const char nonce[33])
{
	snprintf(l->preamble, sizeof(l->preamble), FRAME_PREAMBLE "%s\n", nonce);
	l->state = LINK_NOISE;
	l->silent = 0;
	loop_timer_del(l->beat);
	l->beat = loop_timer_add(l->host->loop, LINK_BEAT_MS, on_beat, l);
}

static void say_hello(struct link *l)
{
	AUTO_JSON *hello = json_object();

	jset_int(hello, "wire", WIRE_VERSION);
	jset_str(hello, "version", DROVER_VERSION);
	l->state = LINK_HELLO;
	send_frame(l, FRAME_HELLO, 0, hello, NULL);
}

static struct flight *flight_of(struct link *l, uint32_t id)
{
	struct flight *f;

	for (f = l->flights; f && f->call->id != id; f = f->next)
		;
	return f;
}

static int on_hello(struct link *l, struct frame *f, struct err *e)
{
	struct host *h = l->host;

	if (jint(f->body, "wire", -1) != WIRE_VERSION ||
	    strcmp(jstr(f->body, "build", ""), link_agent_build()) != 0)
		return err_set(e, ERR_SYSTEM, "cannot use the agent on '%s': it is another "
			       "build (version %s) than this drover's", h->name,
			       jstr(f->body, "version", "unknown"));
	json_decref(h->hello);
	h->hello = json_incref(f->body);
	l->state = LINK_READY;
	h->ready = true;
	if (h->on_ready)
		h->on_ready(h, h->arg);
	return 0;
}

static int on_ping(struct link *l, struct frame *f, struct err *e)
{
	return send_frame(l, FRAME_PONG, 0, f->body, e);
}

static int on_pong(struct link *l, struct frame *f, struct err *e)
{
	(void)l;
	(void)f;
	(void)e;
	return 0;
}

static int on_event(struct link *l, struct frame *f, struct err *e)
{
	struct flight *fl = flight_of(l, f->step);

	(void)e;
	if (fl && f->body && !fl->early && fl->call->on_event)
		fl->call->on_event(fl->call, f->body, fl->call->arg);
	return 0;
}

static int on_result(struct link *l, struct frame *f, struct err *e)
{
	struct flight *fl = flight_of(l, f->step);

	(void)e;
	if (fl && f->body && !fl->early)
		finish(fl, json_incref(f->body));
	return 0;
}

/* What the agent may say, and when. */
static const struct {
	enum frame_type type;
	unsigned states;
	int (*fn)(struct link *l, struct frame *f, struct err *e);
} permitted[] = {
	{ FRAME_HELLO, 1u << LINK_HELLO, on_hello },
	{ FRAME_PING, 1u << LINK_READY | 1u << LINK_CLOSING, on_ping },
	{ FRAME_PONG, 1u << LINK_READY | 1u << LINK_CLOSING, on_pong },
	{ FRAME_EVENT, 1u << LINK_READY | 1u << LINK_CLOSING, on_event },
	{ FRAME_RESULT, 1u << LINK_READY | 1u << LINK_CLOSING, on_result },
};

static int dispatch(struct link *l, struct frame *f, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(permitted); i++)
		if (permitted[i].type == f->type && (permitted[i].states & 1u << l->state))
			return permitted[i].fn(l, f, e);
	return err_set(e, ERR_SYSTEM, "a frame of type %d is not permitted now", f->type);
}

static void feed_frames(struct link *l, const void *p, size_t n)
{
	AUTO_ERR e = { 0 };
	struct frame f;
	int rc = frame_reader_feed(l->reader, p, n, &e);

	while (rc >= 0 && l->state != LINK_DOWN &&
	       (rc = frame_reader_next(l->reader, &f, &e)) > 0) {
		rc = dispatch(l, &f, &e);
		frame_clear(&f);
	}
	if (rc < 0) {
		err_wrap(&e, "cannot understand the agent on '%s'", l->host->name);
		break_soon(l, &e);
	}
}

static void feed_noise(struct link *l, const void *p, size_t n)
{
	size_t len = strlen(l->preamble);
	AUTO_ERR e = { 0 };
	char *at;

	str_addn(&l->noise, p, n);
	at = memmem(l->noise.s, l->noise.len, l->preamble, len);
	if (at) {
		size_t before = (size_t)(at - l->noise.s);
		AUTO_FREE char *rest = mem_strndup(at + len, 0);
		size_t rest_len = l->noise.len - before - len;

		rest = mem_realloc(rest, rest_len + 1);
		memcpy(rest, at + len, rest_len);
		l->noise.len = before;
		l->noise.s[before] = '\0';
		say_hello(l);
		if (rest_len > 0)
			feed_frames(l, rest, rest_len);
		return;
	}
	if (l->noise.len > LINK_NOISE_MAX) {
		err_set(&e, ERR_SYSTEM, "cannot start the agent on '%s': more than 64 KiB "
			"came before it: %s", l->host->name, link_noise(l));
		err_hint(&e, "shell start-up files of that user must print nothing when "
			 "no terminal is there");
		break_soon(l, &e);
	}
}

void link_feed(struct link *l, const void *p, size_t n)
{
	l->silent = 0;
	if (l->state == LINK_NOISE)
		feed_noise(l, p, n);
	else if (l->state != LINK_DOWN && l->state != LINK_IDLE)
		feed_frames(l, p, n);
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Both ends of its stream are known, or it has none: off it goes. */
static void send_run(struct flight *f)
{
	struct call *c = f->call;
	AUTO_JSON *body = json_object();
	AUTO_ERR e = { 0 };

	jset_str(body, "module", c->module);
	jset_str(body, "op", c->op);
	jset(body, "input", c->input ? json_incref(c->input) : json_object());
	jset_bool(body, "stream", c->relay != NULL);
	jset_int(body, "timeout_ms", (int64_t)c->timeout_ms);
	if (send_frame(f->link, FRAME_RUN, c->id, body, &e) < 0)
		finish_soon(f, failure("failed", e.what, NULL));
	else
		f->sent = true;
}

void link_run(struct link *l, uint32_t call_id)
{
	struct flight *f = flight_of(l, call_id);

	if (f && !f->sent && !f->early)
		send_run(f);
}

void link_stream_failed(struct link *l, uint32_t call_id, struct err *why)
{
	struct flight *f = flight_of(l, call_id);

	if (f && !f->early) {
		send_frame(l, FRAME_STOP, call_id, NULL, NULL);
		finish_soon(f, failure("failed", why->what, why->hint));
	}
	err_clear(why);
}

void link_op_start(struct link *l, struct call *c)
{
	struct flight *f = mem_alloc(sizeof(*f));
	struct relay_party party = { 0 };

	f->link = l;
	f->call = c;
	f->next = l->flights;
	l->flights = f;
	c->id = ++l->last_id;
	c->impl = f;
	if (l->state != LINK_READY) {
		finish_soon(f, failure("lost", "the host is not connected", NULL));
	} else if (!c->relay) {
		send_run(f);
	} else {
		l->ops->party(l->transport, c, &party);
		relay_join(c->relay, c->relay_end, &party);
	}
}

void link_op_ack(struct link *l, struct call *c, int64_t ack)
{
	AUTO_JSON *body = json_object();

	if (!c->impl || l->state == LINK_DOWN)
		return;
	jset_int(body, "ack", ack);
	jset_bool(body, "answer", c->answer);
	send_frame(l, FRAME_ACK, c->id, body, NULL);
}

void link_op_stop(struct link *l, struct call *c)
{
	struct flight *f = c->impl;

	if (!f || f->early)
		return;
	if (f->sent)
		send_frame(l, FRAME_STOP, c->id, NULL, NULL);
	else
		finish_soon(f, failure("cancelled", "stopped before it was begun", NULL));
}

static void on_close_late(void *arg)
{
	struct link *l = arg;
	AUTO_ERR e = { 0 };

	l->end = NULL;
	l->ops->drop(l->transport);
	err_set(&e, ERR_SYSTEM, "cannot end the agent on '%s': no answer", l->host->name);
	link_down(l, &e);
}

void link_op_close(struct link *l)
{
	enum link_state was = l->state;

	if (was == LINK_CLOSING)
		return;
	l->state = was == LINK_DOWN ? was : LINK_CLOSING;
	if (was == LINK_READY || was == LINK_HELLO) {
		l->end = loop_timer_add(l->host->loop, LINK_CLOSE_MS, on_close_late, l);
		send_frame(l, FRAME_BYE, 0, NULL, NULL);
		return;
	}
	/* nobody is there to say goodbye to */
	l->ops->drop(l->transport);
	loop_timer_del(l->beat);
	l->beat = NULL;
	l->state = LINK_CLOSING;
	soon(l);
}
