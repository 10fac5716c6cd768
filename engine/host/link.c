/* SPDX-License-Identifier: Apache-2.0
 * link - the life of one connection to an agent.
 */
#include "engine/host/link_impl.h"

#include "engine/base/io.h"

#include <pthread.h>
#include <string.h>

#define WORDS_MAX 4096		/* of stderr that are remembered */
#define QUOTE_LINES 4

struct link *link_new(struct host *h, const struct link_ops *ops, void *transport)
{
	struct link *l = mem_alloc(sizeof(*l));

	l->host = h;
	l->ops = ops;
	l->transport = transport;
	l->reader = frame_reader_new();
	return l;
}

void link_free(struct link *l)
{
	if (!l)
		return;
	flights_free(l);
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

const char *link_host_name(const struct link *l)
{
	return l->host->name;
}

/* ---- the agent's bytes ------------------------------------------------------------ */

extern const char drover_agent_blob[], drover_agent_blob_end[];
extern const char drover_agent_packed[], drover_agent_packed_end[];

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

const void *link_agent_packed(size_t *n)
{
	*n = (size_t)(drover_agent_packed_end - drover_agent_packed);
	return drover_agent_packed;
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

/* ---- the end -------------------------------------------------------------------------- */

static void on_soon(void *arg);

void link_soon(struct link *l)
{
	if (!l->soon)
		l->soon = loop_timer_add(l->host->loop, 0, on_soon, l);
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

	l->soon = NULL;
	flights_tell(l);
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
	flights_lose(l, e.what);
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
	link_soon(l);
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

int link_send(struct link *l, enum frame_type type, uint32_t step, const json_t *body,
	      struct err *e)
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
		link_send(l, FRAME_PING, 0, NULL, NULL);
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
	link_send(l, FRAME_HELLO, 0, hello, NULL);
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
	return link_send(l, FRAME_PONG, 0, f->body, e);
}

static int on_pong(struct link *l, struct frame *f, struct err *e)
{
	(void)l;
	(void)f;
	(void)e;
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
	{ FRAME_EVENT, 1u << LINK_READY | 1u << LINK_CLOSING, flight_on_event },
	{ FRAME_RESULT, 1u << LINK_READY | 1u << LINK_CLOSING, flight_on_result },
	{ FRAME_STREAM, 1u << LINK_READY | 1u << LINK_CLOSING, flight_on_stream },
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
		link_send(l, FRAME_BYE, 0, NULL, NULL);
		return;
	}
	/* nobody is there to say goodbye to */
	l->ops->drop(l->transport);
	loop_timer_del(l->beat);
	l->beat = NULL;
	l->state = LINK_CLOSING;
	link_soon(l);
}
