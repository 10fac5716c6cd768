/* SPDX-License-Identifier: Apache-2.0
 * events - what comes while an operation runs. Progress and log go on as report
 * events; what a module wants kept is durable before it hears so.
 */
#include "engine/run/hosts.h"
#include "engine/run/op.h"
#include "engine/run/record.h"
#include "engine/run/report.h"

#include <stdlib.h>
#include <string.h>

#define KEEP_MAX (12u << 20)		/* 8 MiB as base64, and some */
#define EVIDENCE_MAX (1u << 20)
#define EVIDENCE_COUNT 64

/* An acknowledgement on its way to disk. */
struct ack {
	struct op_end *end;
	int64_t number;
};

static void send_ack(struct op_end *end, int64_t number, bool answer)
{
	if (number > 0 && end->live && end->host != UINT32_MAX)
		hosts_ack(end->op->r, end->host, &end->call, number, answer);
}

static void on_durable(void *arg, struct err *e)
{
	struct ack *a = arg;
	struct op *o = a->end->op;

	if (e)
		op_stop(o);	/* what is not on disk must not be relied upon */
	else
		send_ack(a->end, a->number, true);
	o->holds--;
	op_unlink_free(o);
	free(a);
}

static void journal(struct op_end *end, struct rec *c, const char *kind, int64_t number)
{
	struct ack *a = mem_alloc(sizeof(*a));
	AUTO_FREE char *key = step_key(end->op->step);

	*a = (struct ack){ end, number };
	end->op->holds++;
	rec_send(c, kind, key, NULL, on_durable, a);
}

/* A probe that wants something kept is wrong; the step fails. */
static bool may_write(struct op *o, const char *what)
{
	if (o->r->writes && strcmp(o->name, "probe"))
		return true;
	if (!o->fault)
		o->fault = mem_printf("the module '%s' is wrong: its probe %s",
				      o->module->name, what);
	op_stop(o);
	return false;
}

/* ---- one function for each event --------------------------------------------------------- */

static void on_progress(struct op_end *end, const json_t *ev)
{
	struct op *o = end->op;
	int64_t done = jint(ev, "done", 0), total = jint(ev, "total", 0);
	const char *what = jstr(ev, "what", "");
	uint64_t now = loop_now(o->r->loop);
	json_t *out;

	budget_heard(end, ev);
	if (o->quiet)
		return;
	if (!o->what || strcmp(o->what, what) || (uint64_t)done < o->began_done) {
		free(o->what);
		o->what = mem_strdup(what);
		o->began_ms = now;
		o->began_done = (uint64_t)done;
	}
	out = report_step_new(o->r, o->m, o->node);
	jset_int(out, "done", done);
	jset_int(out, "total", total);
	jset_str(out, "unit", jstr(ev, "unit", ""));
	jset_str(out, "what", what);
	json_object_set(out, "part", json_object_get(ev, "part"));
	json_object_set(out, "pass", json_object_get(ev, "pass"));
	if (now > o->began_ms && (uint64_t)done > o->began_done) {
		double rate = (double)((uint64_t)done - o->began_done) * 1000.0 /
			      (double)(now - o->began_ms);

		jset_int(out, "rate", (int64_t)rate);
		if (total > done)
			jset_int(out, "left_ms",
				 (int64_t)((double)(total - done) * 1000.0 / rate));
	}
	report(o->r, "progress", out);
}

static void on_log(struct op_end *end, const json_t *ev)
{
	AUTO_FREE char *key = step_key(end->op->step);

	if (!end->op->quiet)
		report_log(end->op->r, end->op->m, key, "%s", jstr(ev, "text", ""));
}

static void on_keep(struct op_end *end, const json_t *ev)
{
	struct op *o = end->op;
	const char *name = jstr(ev, "name", ""), *text = jstr(ev, "text", NULL);
	const char *base64 = jstr(ev, "base64", NULL);
	int64_t number = jint(ev, "ack", 0);
	AUTO_FREE char *key = step_key(o->step);
	struct rec c;

	if (!may_write(o, "keeps something"))
		return;
	if (!*name || strlen(name) > 200 || (!text && !base64) ||
	    strlen(text ? text : base64) > KEEP_MAX) {
		o->fault = mem_printf("the module '%s' is wrong: it keeps what cannot "
				      "be kept", o->module->name);
		op_stop(o);
		return;
	}
	rec_init(&c, o->r, o->m);
	if (!kept_has(o->r, o->m, key, name)) {		/* the first copy wins */
		AUTO_FREE char *path = kept_path(key, name, !text);

		jset_str(c.set, path, text ? text : base64);
	}
	/* Journalled even when nothing is new: the ack says that the copy that was
	 * there is durable too. */
	journal(end, &c, "keep", number);
}

static void on_ledger(struct op_end *end, const json_t *ev)
{
	struct op *o = end->op;
	const char *host;
	const char *kind = jstr(ev, "kind", "thing"), *name = jstr(ev, "name", "");
	AUTO_FREE char *step = step_key(o->step);
	AUTO_FREE char *path = NULL;
	json_t *entry = NULL;
	struct rec c;

	if (!may_write(o, "enters something in the ledger") || end->host == UINT32_MAX)
		return;
	host = o->r->plan->hosts[end->host].name;
	path = mem_printf("ledger/%s/%s:%s", host, kind, name);
	if (!strcmp(jstr(ev, "op", "add"), "add")) {
		entry = json_object();
		jset_str(entry, "kind", kind);
		jset_str(entry, "name", name);
		jset_bool(entry, "lasting", jbool(ev, "lasting", false));
		json_object_set(entry, "detail", json_object_get(ev, "detail"));
		jset_str(entry, "machine", o->m->name);
		jset_str(entry, "step", step);
	}
	rec_init(&c, o->r, o->m);
	jset(c.meta, path, entry ? entry : json_null());
	journal(end, &c, "ledger", jint(ev, "ack", 0));
}

/* A probe's rides with the step's outcome; an apply's is journalled as it comes, so
 * that an engine that dies before the outcome does not lose it. */
static void on_evidence(struct op_end *end, const json_t *ev)
{
	struct op *o = end->op;
	const char *name = jstr(ev, "name", "evidence"), *text = jstr(ev, "text", "");
	struct rec c;

	if (strlen(text) > EVIDENCE_MAX || json_object_size(o->evidence) >= EVIDENCE_COUNT) {
		AUTO_FREE char *key = step_key(o->step);

		report_log(o->r, o->m, key, "evidence '%s' is left out: more than can "
			   "be recorded", name);
		return;
	}
	jset_str(o->evidence, name, text);
	if (!o->r->writes || !strcmp(o->name, "probe"))
		return;
	rec_init(&c, o->r, o->m);
	if (o->as)
		rec_evidence_as(&c, o->as, o->evidence);
	else
		rec_evidence(&c, o->node, o->evidence);
	json_object_clear(o->evidence);
	journal(end, &c, "note", 0);
}

/* ---- questions to a person ----------------------------------------------------------------- */

struct question {
	struct op_end *end;
	int64_t number;
};

static void take_answer(struct op_end *end, int64_t number, int answer)
{
	if (answer >= 0) {
		send_ack(end, number, answer > 0);
		return;
	}
	end->op->waiting = true;
	op_stop(end->op);
}

static void on_answered(void *who, int answer)
{
	struct question *q = who;
	struct op *o = q->end->op;

	take_answer(q->end, q->number, answer);
	o->holds--;
	op_unlink_free(o);
	free(q);
}

/* The operation stays, like one with records on their way, until it is answered. */
static void on_ask(struct op_end *end, const json_t *ev)
{
	const struct run_seams *seams = end->op->r->seams;
	const char *text = jstr(ev, "question", "");
	int64_t number = jint(ev, "ack", 0);
	struct question *q;

	if (run_is_preview(end->op->r) || (!seams->ask && !seams->ask_later)) {
		take_answer(end, number, -1);
		return;
	}
	if (!seams->ask_later) {
		take_answer(end, number, seams->ask(seams->arg, text));
		return;
	}
	q = mem_alloc(sizeof(*q));
	*q = (struct question){ end, number };
	end->op->holds++;
	seams->ask_later(seams->arg, text, on_answered, q);
}

void op_event(struct op_end *end, const json_t *ev)
{
	static const struct {
		const char *name;
		void (*fn)(struct op_end *end, const json_t *ev);
	} table[] = {
		{ "progress", on_progress }, { "log", on_log }, { "keep", on_keep },
		{ "ledger", on_ledger }, { "evidence", on_evidence }, { "ask", on_ask },
	};
	const char *e = jstr(ev, "e", "");

	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (!strcmp(table[i].name, e)) {
			table[i].fn(end, ev);
			return;
		}
}
