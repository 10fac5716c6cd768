/* SPDX-License-Identifier: Apache-2.0
 * ask_host - one call on one host, outside of a run.
 */
#include "engine/cli/ask_host.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "engine/host/host.h"

#include <string.h>

#define CLOSE_MS 5000

struct asking {
	struct cli *c;
	struct call call;
	json_t *result;
	struct err *e;
	bool started, over, closed, shown;
};

static void on_ready(struct host *h, void *arg)
{
	struct asking *a = arg;

	if (a->started)
		return;
	a->started = true;
	h->ops->start(h, &a->call);
}

static void on_down(struct host *h, struct err *why, void *arg)
{
	struct asking *a = arg;

	if (!a->over) {
		err_move(a->e, why);
		err_host(a->e, h->name);
	}
	a->over = a->closed = true;
}

static void on_closed(struct host *h, void *arg)
{
	(void)h;
	((struct asking *)arg)->closed = true;
}

static void on_event(struct call *call, const json_t *event, void *arg)
{
	struct asking *a = arg;
	char done[24], total[24];

	(void)call;
	if (!a->c->tty_out || a->c->json || strcmp(jstr(event, "e", ""), "progress") != 0)
		return;
	text_size((uint64_t)jint(event, "done", 0), done);
	text_size((uint64_t)jint(event, "total", 0), total);
	fprintf(a->c->out, "\r%s of %s \x1b[K", done, total);
	fflush(a->c->out);
	a->shown = true;
}

static void on_result(struct call *call, const json_t *result, void *arg)
{
	struct asking *a = arg;

	(void)call;
	a->result = json_incref((json_t *)result);
	a->over = true;
}

static json_t *input_of(const struct cli *c, const json_t *args)
{
	json_t *in = json_object(), *run = json_object();

	jset_str(run, "plan", c->plan->name);
	json_object_set(in, "args", (json_t *)args);
	jset(in, "machine", json_object());
	jset(in, "facts", json_object());
	jset(in, "kept", json_object());
	jset_str(in, "role", "at");
	jset(in, "run", run);
	return in;
}

static void say_goodbye(struct asking *a, struct host *h)
{
	uint64_t until;

	if (a->shown)
		fprintf(a->c->out, "\r\x1b[K");
	if (!a->closed)
		h->ops->close(h);
	until = loop_now(a->c->loop) + CLOSE_MS;
	while (!a->closed && loop_now(a->c->loop) < until && loop_turn(a->c->loop, 100))
		;
}

/* What went wrong, in the words of the host. */
static json_t *take_result(struct asking *a, const char *host)
{
	if (a->result && jbool(a->result, "ok", false))
		return a->result;
	if (a->result) {
		err_set(a->e, ERR_STEP, "%s", jstr(a->result, "error.text", "failed"));
		if (jstr(a->result, "error.hint", NULL))
			err_hint(a->e, "%s", jstr(a->result, "error.hint", ""));
		err_host(a->e, host);
	}
	json_decref(a->result);
	return NULL;
}

json_t *cli_ask_host(struct cli *c, uint32_t host, const char *module, const char *op,
		     const json_t *args, struct err *e)
{
	AUTO_JSON *in = input_of(c, args);
	struct asking a = { .c = c, .e = e };
	struct host *h;

	if (!c->loop)
		c->loop = loop_new(&clock_real);
	a.call = (struct call){ .module = module, .op = op, .input = in,
		.on_event = on_event, .on_result = on_result, .arg = &a };
	h = c->make_host(c->loop, c->plan->hosts[host].name, c->plan->hosts[host].spec);
	run_host_secrets(h, c->plan);
	h->on_ready = on_ready;
	h->on_down = on_down;
	h->on_closed = on_closed;
	h->arg = &a;
	h->ops->open(h);
	while (!a.over && loop_turn(c->loop, 1000))
		;
	say_goodbye(&a, h);
	host_free(h);
	return take_result(&a, c->plan->hosts[host].name);
}
