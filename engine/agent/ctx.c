/* SPDX-License-Identifier: Apache-2.0
 * ctx - what a call is given, and what must be durable before its effect.
 */
#include "engine/agent/ctx.h"

#include "engine/agent/child.h"
#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/wire/frame.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define ASK_POLL_MS 200		/* how soon an unanswered question sees a stop */

/* Kept bytes that were lent out; they live as long as the call. */
struct ctx_bytes {
	struct ctx_bytes *next;
	char *name;
	char *p;
	size_t n;
};

/* Set by the signal handler of this process, which runs one call. */
static volatile sig_atomic_t told_to_stop;

void ctx_on_term(int sig)
{
	(void)sig;
	told_to_stop = 1;
}

static struct ctx *ctx_make(int fd, uint32_t step, const json_t *input, const json_t *kept)
{
	struct ctx *c = mem_alloc(sizeof(*c));

	c->fd = fd;
	c->step = step;
	c->input = input ? json_incref((json_t *)input) : json_object();
	c->kept = json_is_object(kept) ? json_copy((json_t *)kept) : json_object();
	c->changes = json_array();
	c->findings = json_array();
	c->facts = json_object();
	c->stable = json_object();
	c->volatile_part = json_object();
	return c;
}

struct ctx *ctx_new(int fd, uint32_t step, const json_t *input,
		    struct pipe *stream)
{
	struct ctx *c = ctx_make(fd, step, input, jget(input, "kept"));

	told_to_stop = 0;
	c->stream = stream;
	return c;
}

struct ctx *ctx_next(const struct ctx *c)
{
	struct ctx *next = ctx_make(c->fd, c->step, c->input, c->kept);

	next->agent = c->agent;
	next->pace = c->pace;
	next->acks = c->acks;
	next->gone = c->gone;
	return next;
}

void ctx_free(struct ctx *c)
{
	if (!c)
		return;
	while (c->bytes) {
		struct ctx_bytes *b = c->bytes;

		c->bytes = b->next;
		free(b->name);
		free(b->p);
		free(b);
	}
	json_decref(c->input);
	json_decref(c->kept);
	json_decref(c->changes);
	json_decref(c->findings);
	json_decref(c->facts);
	json_decref(c->stable);
	json_decref(c->volatile_part);
	free(c->kind);
	free(c->text);
	free(c->hint);
	free(c);
}

/* ---- given ---------------------------------------------------------------- */

const json_t *ctx_args(const struct ctx *c)
{
	return jget(c->input, "args");
}

const json_t *ctx_machine(const struct ctx *c)
{
	return jget(c->input, "machine");
}

const char *ctx_machine_name(const struct ctx *c)
{
	return jstr(c->input, "machine.name", "");
}

const json_t *ctx_fact(const struct ctx *c, const char *name)
{
	/* a fact's own name may hold a dot: "source.host" */
	return json_object_get(jget(c->input, "facts"), name);
}

const char *ctx_role(const struct ctx *c)
{
	return jstr(c->input, "role", "");
}

const json_t *ctx_run(const struct ctx *c)
{
	return jget(c->input, "run");
}

bool ctx_is_preview(const struct ctx *c)
{
	return jbool(c->input, "run.preview", false);
}

pid_t ctx_agent(const struct ctx *c)
{
	return c->agent ? c->agent : getppid();
}

struct pipe *ctx_stream(const struct ctx *c)
{
	return c->stream;
}

uint64_t ctx_send_rate(const struct ctx *c)
{
	return c->pace ? __atomic_load_n(&c->pace->send, __ATOMIC_RELAXED) : 0;
}

uint64_t ctx_read_rate(const struct ctx *c)
{
	return c->pace ? __atomic_load_n(&c->pace->read, __ATOMIC_RELAXED) : 0;
}

bool ctx_cancelled(struct ctx *c)
{
	return told_to_stop || c->gone;
}

bool ctx_stopped(void *ctx)
{
	return ctx_cancelled(ctx);
}

/* ---- durable before the effect ---------------------------------------------- */

static bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) > 0;
}

/* Send an event that wants an answer and wait for it; steals `event`. The
 * answer (owned), or NULL with the failure told. A question ends when the step
 * is told to stop; what must be durable does not. */
static json_t *ask_agent(struct ctx *c, json_t *event, bool question)
{
	AUTO_JSON *held = event;
	AUTO_ERR e = { 0 };
	int64_t ack = ++c->acks;
	struct frame f;

	jset_int(held, "ack", ack);
	if (frame_write_fd(c->fd, FRAME_EVENT, c->step, held, &e) < 0)
		c->gone = true;
	while (!c->gone) {
		if (question && told_to_stop) {
			ctx_set_failure(c, "cancelled", 0, "stopped while waiting for an answer");
			return NULL;
		}
		if (question && !readable(c->fd, ASK_POLL_MS))
			continue;
		if (frame_read_fd(c->fd, &f, &e) <= 0) {
			c->gone = true;
			break;
		}
		if (f.type == FRAME_ACK && jint(f.body, "ack", -1) == ack)
			return f.body;
		frame_clear(&f);
	}
	ctx_set_failure(c, "lost", 0, "the engine is gone");
	return NULL;
}

/* 0 once it is durable; -1 with the failure told. Steals. */
static int durable(struct ctx *c, json_t *event)
{
	AUTO_JSON *answer = ask_agent(c, event, false);
	const char *error = jstr(answer, "error", NULL);

	if (!answer)
		return -1;
	if (error)
		return ctx_fail(c, "cannot record before the change: %s", error);
	return 0;
}

int ctx_keep(struct ctx *c, const char *name, const void *p, size_t n)
{
	AUTO_JSON *content = NULL;
	json_t *event;

	if (json_object_get(c->kept, name))
		return 0;
	if (n > CTX_KEEP_MAX)
		return ctx_fail(c, "cannot keep '%s': %zu bytes, the bound is %u",
				name, n, CTX_KEEP_MAX);
	content = json_object();
	if (!(n > 0 && memchr(p, '\0', n)) &&
	    json_object_set_new(content, "text", json_stringn(n ? p : "", n)) < 0) {
		/* not UTF-8: below */
	}
	if (!json_object_get(content, "text")) {
		AUTO_FREE char *b64 = io_base64(p, n);

		jset_str(content, "base64", b64);
	}
	event = json_copy(content);
	jset_str(event, "e", "keep");
	jset_str(event, "name", name);
	if (durable(c, event) < 0)
		return -1;
	jset(c->kept, name, json_incref(content));
	return 0;
}

const char *ctx_kept(struct ctx *c, const char *name, size_t *n)
{
	const json_t *content = json_object_get(c->kept, name);
	const json_t *text = json_object_get(content, "text");
	struct ctx_bytes *b;

	if (!content)
		return NULL;
	for (b = c->bytes; b && strcmp(b->name, name) != 0; b = b->next)
		;
	if (!b) {
		b = mem_alloc(sizeof(*b));
		b->name = mem_strdup(name);
		if (text) {
			b->n = json_string_length(text);
			b->p = mem_strndup(json_string_value(text), b->n);
		} else {
			b->p = io_unbase64(jstr(content, "base64", ""), &b->n);
		}
		b->next = c->bytes;
		c->bytes = b;
	}
	if (n)
		*n = b->n;
	return b->p;
}

static json_t *ledger_event(const char *op, const char *kind, const char *name)
{
	json_t *event = json_object();

	jset_str(event, "e", "ledger");
	jset_str(event, "op", op);
	jset_str(event, "kind", kind);
	jset_str(event, "name", name);
	return event;
}

int ctx_ledger_add(struct ctx *c, const char *kind, const char *name,
		   bool lasting, json_t *detail)
{
	json_t *event = ledger_event("add", kind, name);

	jset_bool(event, "lasting", lasting);
	jset(event, "detail", detail ? detail : json_object());
	return durable(c, event);
}

int ctx_ledger_del(struct ctx *c, const char *kind, const char *name)
{
	return durable(c, ledger_event("del", kind, name));
}

int ctx_ask(struct ctx *c, const char *fmt, ...)
{
	AUTO_FREE char *question = NULL;
	AUTO_FREE char *text = NULL;
	AUTO_JSON *answer = NULL;
	json_t *event = json_object(), *said;
	va_list ap;

	va_start(ap, fmt);
	question = mem_vprintf(fmt, ap);
	va_end(ap);
	jset_str(event, "e", "ask");
	jset(event, "question", jtext(question, strlen(question)));
	answer = ask_agent(c, event, true);
	if (!answer)
		return -1;
	said = json_object_get(answer, "answer");
	if (json_is_boolean(said))
		return json_is_true(said);
	text = mem_printf("waits for a person to confirm: %s", question);
	return ctx_set_failure(c, "waiting", 0, text);
}
