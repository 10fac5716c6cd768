/* SPDX-License-Identifier: Apache-2.0
 * hosttest - drive one or two hosts from a test.
 */
#include "tests/unit/hosttest.h"

#include "engine/base/mem.h"

#include <string.h>

static void on_ready(struct host *h, void *arg)
{
	(void)h;
	((struct hosttest *)arg)->ready = true;
}

static void on_down(struct host *h, struct err *e, void *arg)
{
	struct hosttest *t = arg;

	(void)h;
	t->down = true;
	err_move(&t->why, e);
}

static void on_closed(struct host *h, void *arg)
{
	(void)h;
	((struct hosttest *)arg)->closed = true;
}

/* The secrets of a test are their own names. */
static const char *secret(const void *secrets, const char *ref, struct err *e)
{
	(void)secrets;
	(void)e;
	return strchr(ref, ':') + 1;
}

void hosttest_begin(struct hosttest *t, struct loop *loop, const json_t *spec)
{
	memset(t, 0, sizeof(*t));
	t->loop = loop;
	t->host = host_new(loop, jstr(spec, "name", "here"), spec);
	t->host->on_ready = on_ready;
	t->host->on_down = on_down;
	t->host->on_closed = on_closed;
	t->host->arg = t;
	t->host->secret = secret;
	t->host->ops->open(t->host);
}

void hosttest_open(struct hosttest *t, struct loop *loop, const json_t *spec)
{
	hosttest_begin(t, loop, spec);
	while (!t->ready && !t->down)
		loop_turn(loop, -1);
}

void hosttest_close(struct hosttest *t)
{
	t->host->ops->close(t->host);
	while (!t->closed)
		loop_turn(t->loop, -1);
	host_free(t->host);
	err_clear(&t->why);
}

static void on_event(struct call *c, const json_t *event, void *arg)
{
	struct calltest *ct = arg;
	int64_t ack = jint(event, "ack", 0);

	json_array_append(ct->events, (json_t *)event);
	if (ack && ct->answers) {
		c->answer = true;
		ct->host->host->ops->ack(ct->host->host, c, ack);
	}
}

static void on_result(struct call *c, const json_t *result, void *arg)
{
	(void)c;
	((struct calltest *)arg)->result = json_incref((json_t *)result);
}

void calltest_start(struct calltest *c, struct hosttest *t, const char *module,
		    const char *op, const char *role, json_t *args)
{
	json_t *input = json_object();

	c->host = t;
	c->answers = true;
	c->events = json_array();
	jset(input, "args", args ? args : json_object());
	jset_str(input, "role", role);
	c->call.module = module;
	c->call.op = op;
	c->call.input = input;
	c->call.on_event = on_event;
	c->call.on_result = on_result;
	c->call.arg = c;
	t->host->ops->start(t->host, &c->call);
}

void calltest_wait(struct calltest *c)
{
	while (!c->result)
		loop_turn(c->host->loop, -1);
}

void calltest_clear(struct calltest *c)
{
	json_decref(c->call.input);
	json_decref(c->result);
	json_decref(c->events);
	memset(c, 0, sizeof(*c));
}

json_t *hosttest_call(struct hosttest *t, const char *module, const char *op,
		      json_t *args)
{
	struct calltest c = { 0 };
	json_t *result;

	calltest_start(&c, t, module, op, "here", args);
	calltest_wait(&c);
	result = json_incref(c.result);
	calltest_clear(&c);
	return result;
}

char *hosttest_why(const struct hosttest *t)
{
	return mem_printf("%s | %s", t->why.what ? t->why.what : "",
			  t->why.hint ? t->why.hint : "");
}
