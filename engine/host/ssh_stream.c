/* SPDX-License-Identifier: Apache-2.0
 * ssh_stream - the stream of a two-ended step: a second exec channel in the same
 * session, with the agent's own executable at its end (engine/wire/pass.h). What the host may
 * send is granted: libssh opens a channel's window at each read, however much of it waits.
 */
#include "engine/host/relay.h"
#include "engine/host/ssh.h"

#include "engine/base/io.h"
#include "engine/wire/frame.h"
#include "engine/wire/pass.h"

#include <endian.h>
#include <string.h>

struct sstream {
	struct sshost *host;
	struct chan *chan;
	struct relay *relay;
	int end;
	uint32_t id;
	char preamble[48];
	struct str noise;	/* before the preamble */
	struct str words;
	bool found;		/* the preamble came */
	bool runs;		/* the secret is out: bytes flow */
	bool finish;		/* no more is to be written, ... */
	bool finished;		/* ... and that was said */
	uint8_t word[4];	/* goes before all else, as far as ... */
	size_t word_len;	/* ... its last bytes have not gone */
	uint32_t left;		/* bytes for the step that are announced and not written */
	uint32_t owed;		/* bytes that were read and not granted anew */
	uint64_t taken;		/* bytes that the relay has read */
	bool ended;		/* the step told its last byte: `total` is known */
	uint64_t total;
};

#define WORDS_MAX 8192
#define GRANT_LEAST (64u << 10)

static size_t on_data(struct chan *c, const void *p, size_t n)
{
	struct sstream *st = c->arg;
	size_t len = strlen(st->preamble);
	char *at;

	if (st->found)
		return 0;	/* the relay reads it in its turn */
	str_addn(&st->noise, p, n);
	at = memmem(st->noise.s, st->noise.len, st->preamble, len);
	if (at) {
		size_t rest = st->noise.len - (size_t)(at - st->noise.s) - len;

		st->found = c->pulls = true;
		str_free(&st->noise);
		return n - rest;
	}
	if (st->noise.len > LINK_NOISE_MAX)
		c->failed = "more than 64 KiB came before it";
	return n;
}

/* Noise, errors, and the one line that says how many bytes there are. */
static void on_words(struct chan *c, const void *p, size_t n)
{
	struct sstream *st = c->arg;
	AUTO_FREE char *mark = mem_printf(STREAM_END "%.32s ",
					  st->preamble + strlen(FRAME_PREAMBLE));
	char *at;

	str_addn(&st->words, p, n);
	at = memmem(st->words.s, st->words.len, mark, strlen(mark));
	if (at && strchr(at, '\n')) {
		st->total = strtoull(at + strlen(mark), NULL, 10);
		st->ended = true;
	}
	if (!st->ended && st->words.len > 2 * WORDS_MAX) {
		memmove(st->words.s, st->words.s + st->words.len - WORDS_MAX, WORDS_MAX + 1);
		st->words.len = WORDS_MAX;
	}
}

/* ---- what goes to the host ------------------------------------------------------- */

static bool put_word(struct sstream *st)
{
	const uint8_t *rest = st->word + sizeof(st->word) - st->word_len;

	if (st->word_len > 0)
		st->word_len -= chan_write(st->chan, rest, st->word_len);
	return st->word_len == 0;
}

/* Nothing else is under way. */
static bool say(struct sstream *st, uint32_t w)
{
	w = htobe32(w);
	memcpy(st->word, &w, sizeof(w));
	st->word_len = sizeof(w);
	return put_word(st);
}

static bool may_say(struct sstream *st)
{
	return st->runs && put_word(st) && st->left == 0;
}

static void grant(struct sstream *st)
{
	if (st->owed < GRANT_LEAST || !may_say(st))
		return;
	say(st, STREAM_GRANT | st->owed);
	st->owed = 0;
}

/* Where not all that was announced will come, only the channel's end says so. */
static void finish(struct sstream *st)
{
	if (!st->finish || st->finished || !st->runs || !put_word(st))
		return;
	st->finished = true;
	if (st->left > 0)
		chan_send_eof(st->chan);
	else
		say(st, 0);
}

static void on_turn(struct chan *c)
{
	struct sstream *st = c->arg;
	AUTO_FREE char *secret = NULL;

	if (!st->found)
		return;
	if (!st->runs) {
		secret = mem_printf("%s\n", jstr(st->host->host->hello, "secret", ""));
		if (chan_write(c, secret, strlen(secret)) != strlen(secret))
			return;
		st->runs = true;
		link_opened(st->host->link, st->id);
	}
	put_word(st);
	grant(st);
	finish(st);
	relay_ready(st->relay, st->end);
}

static void on_end(struct chan *c)
{
	struct sstream *st = c->arg;
	AUTO_ERR e = { 0 };
	AUTO_STR safe = { 0 };

	if (st->runs) {
		relay_ready(st->relay, st->end);	/* reads the end of file */
		return;
	}
	str_add_safe(&safe, st->words.s ? st->words.s : "");
	err_set(&e, ERR_SYSTEM, "cannot open a stream to '%s': %s", st->host->host->name,
		c->failed ? c->failed : safe.len ? safe.s : "it ended at once");
	err_hint(&e, "each copy needs a session beside the first: see MaxSessions in "
		 "sshd_config there");
	link_stream_failed(st->host->link, st->id, &e);
	relay_broken(st->relay, st->end);
}

static const struct chan_ops stream_ops = {
	.data = on_data, .words = on_words, .turn = on_turn, .end = on_end,
};

/* ---- what the relay sees ------------------------------------------------------------ */

static ssize_t pipe_read(void *arg, void *buf, size_t n)
{
	struct sstream *st = arg;
	ssize_t got;

	if (!st->runs)
		return 0;
	if (st->chan->waiting > STREAM_CREDIT)
		return -1;	/* not granted: nobody of ours */
	if (st->ended && st->taken >= st->total)
		return -1;
	got = chan_read(st->chan, buf, n);
	if (got > 0) {
		st->taken += (uint64_t)got;
		st->owed += (uint32_t)got;
		grant(st);
	}
	return got;
}

static ssize_t pipe_write(void *arg, const void *p, size_t n)
{
	struct sstream *st = arg;
	size_t put;

	if (st->chan->closed)
		return -1;
	if (may_say(st)) {
		st->left = (uint32_t)n;
		say(st, st->left);
	}
	if (!st->runs || !put_word(st))
		return 0;
	put = chan_write(st->chan, p, n < st->left ? n : st->left);
	st->left -= (uint32_t)put;
	return (ssize_t)put;
}

static void pipe_finish(void *arg)
{
	struct sstream *st = arg;

	st->finish = true;
	finish(st);
}

static void pipe_close(void *arg)
{
	struct sstream *st = arg;

	chan_close(st->chan);
	st->chan->arg = NULL;
	str_free(&st->noise);
	str_free(&st->words);
	free(st);
}

static const struct relay_pipe stream_pipe = {
	.read = pipe_read, .write = pipe_write, .finish = pipe_finish, .close = pipe_close,
};

void ssh_stream_open(void *arg, uint32_t id, struct relay *r, int end)
{
	struct sshost *s = arg;
	const json_t *hello = s->host->hello;
	struct sstream *st = mem_alloc(sizeof(*st));
	AUTO_FREE char *tail = NULL;
	uint8_t raw[16];
	char nonce[33];

	io_random(raw, sizeof(raw));
	io_hex(raw, sizeof(raw), nonce);
	snprintf(st->preamble, sizeof(st->preamble), FRAME_PREAMBLE "%s\n", nonce);
	st->host = s;
	st->relay = r;
	st->end = end;
	st->id = id;
	link_run(s->link, id);
	/* the agent is hostile until proven otherwise: only plain letters pass */
	if (strspn(jstr(hello, "attach", ""), "drove-0123456789abcdef") !=
	    strlen(jstr(hello, "attach", "")))
		tail = mem_strdup("false");
	else
		tail = mem_printf("/proc/%d/exe --attach %s %u %s",
				  (int)jint(hello, "door", 0), jstr(hello, "attach", "-"),
				  id, nonce);
	st->chan = chan_new(s, tail, &stream_ops, st);
	relay_opened(r, end, &stream_pipe, st);
}

void ssh_streams_lost(struct sshost *s)
{
	struct chan *next;

	for (struct chan *c = s->chans; c; c = next) {
		next = c->next;
		if (c->ops == &stream_ops && !c->dead) {
			struct sstream *st = c->arg;

			relay_broken(st->relay, st->end);
		}
	}
}
