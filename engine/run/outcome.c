/* SPDX-License-Identifier: Apache-2.0
 * outcome - how a step ends: what is recorded, what is reported, who may go on.
 */
#include "engine/base/text.h"
#include "engine/run/back.h"
#include "engine/run/op.h"
#include "engine/run/preview.h"
#include "engine/run/record.h"
#include "engine/run/report.h"
#include "engine/run/step.h"

#include <stdlib.h>
#include <string.h>

#define DISKS_TOLD 4		/* of which a commit's subject has the digests */

void job_free(struct job *j)
{
	ahead_drop(j->r, j->m, j->node);
	json_decref(j->before);
	json_decref(j->applied);
	json_decref(j->answer);
	json_decref(j->evidence);
	json_decref(j->fact_names);
	json_decref(j->figures);
	free(j->key);
	free(j);
}

bool job_touched(const struct job *j)
{
	return j->trust == TRUST_MOVED ? j->was_touched : meta_touched(j->r, j->m, j->node);
}

uint64_t job_took(const struct job *j)
{
	return loop_now(j->r->loop) - j->began_ms;
}

void job_evidence(struct job *j, const json_t *evidence)
{
	if (json_is_object(evidence))
		json_object_update(j->evidence, (json_t *)evidence);
}

void job_facts(struct job *j, const json_t *result)
{
	AUTO_JSON *names = facts_absorb(j->m, j->node, result);

	json_array_extend(j->fact_names, names);
}

/* Whether a later node of this machine belongs to this run. */
static bool is_last(const struct job *j)
{
	const struct graph *g = j->r->graph;
	uint32_t next = j->node + 1;

	return next >= g->first[j->m->index + 1] ||
	       (int)g->nodes[next].step->phase > j->r->hi;
}

/* Said only now, when it cannot be lost any more. */
static void tell_done(struct job *j)
{
	struct run *r = j->r;

	if (j->serves)
		report_serves(r, j->m, j->serves);
	report_step(r, j->m, j->node, j->status, j->attempt, j->took_ms, NULL);
	count_add(r, j->status, 1);
	if (j->figures)
		report(r, "figures", json_incref(j->figures));
}

static void over_ok(void *arg, struct err *e)
{
	struct job *j = arg;
	struct run *r = j->r;

	if (e) {
		run_error(r, e);
		j->m->failed = true;
		if (!j->released)
			sched_failed(r->sched, j->node);
	} else {
		tell_done(j);
		bool blocked = is_last(j) && phase_blocked(r, j->m, "go on with");

		j->m->failed = j->m->failed || blocked;
		if (!j->released)
			sched_done(r->sched, j->node);
	}
	r->jobs--;
	job_free(j);
}

/* The next step may ask while this outcome goes to the disk: whatever it does waits for
 * its own intent, which stands behind the outcome in the journal. At the end of a phase
 * and in a cutover, where an outcome says who serves, it waits. */
static void release(struct job *j)
{
	const struct graph *g = j->r->graph;
	uint32_t next = j->node + 1;

	if (j->s->phase == PHASE_CUTOVER || next >= g->first[j->m->index + 1] ||
	    g->nodes[next].step->phase != j->s->phase)
		return;
	j->released = true;
	sched_done(j->r->sched, j->node);
}

/* Before the point of no return a cutover goes back at once: somebody must serve. */
static bool must_back_out(const struct job *j)
{
	const struct run *r = j->r;

	if (j->s->phase != PHASE_CUTOVER || j->m->serving)
		return false;
	for (uint32_t i = r->graph->first[j->m->index];
	     i < r->graph->first[j->m->index + 1]; i++)
		if (r->graph->nodes[i].step->phase == PHASE_CUTOVER &&
		    meta_touched(r, j->m, i))
			return true;
	return false;
}

static void over_failed(void *arg, struct err *e)
{
	struct job *j = arg;
	struct run *r = j->r;

	if (e)
		run_error(r, e);
	j->m->failed = true;
	ahead_drop(r, j->m, UINT32_MAX);
	sched_failed(r->sched, j->node);
	if (!e && !r->fenced && must_back_out(j)) {
		report_log(r, j->m, j->key, "the cutover of '%s' goes back: the source "
			   "will serve again", j->m->name);
		undo_start(r, j->m, PHASE_CUTOVER, true);
	}
	r->jobs--;
	job_free(j);
}

static enum err_kind kind_of(const json_t *result)
{
	const char *kind = result_kind(result);

	if (!strcmp(kind, "waiting"))
		return ERR_WAITING;
	if (!strcmp(kind, "stale"))
		return ERR_STALE;
	if (!strcmp(kind, "refused"))
		return ERR_HELD;
	return strcmp(kind, "cancelled") && strcmp(kind, "broken") ? ERR_STEP : ERR_STOPPED;
}

void job_fail(struct job *j, const json_t *result)
{
	static const char *const words[] = { [ERR_STEP] = "failed",
		[ERR_STOPPED] = "stopped", [ERR_STALE] = "stale", [ERR_WAITING] = "waiting",
		[ERR_HELD] = "refused" };
	enum err_kind kind = kind_of(result);
	AUTO_FREE char *where = mem_printf("%s %s", j->m->name, j->key);
	AUTO_FREE char *subject = mem_printf("%s %s: %s: %s", phase_names[j->s->phase],
		j->s->id, words[kind], jstr(result, "error.text", "no reason given"));
	AUTO_ERR e = { 0 };
	struct rec c;

	err_set(&e, kind, "%s", jstr(result, "error.text", "no reason given"));
	if (jstr(result, "error.hint", NULL))
		err_hint(&e, "%s", jstr(result, "error.hint", ""));
	err_at(&e, &j->s->place);
	err_step(&e, where, j->attempt > 1 ? j->attempt : 0, j->attempt > 1 ? ATTEMPTS : 0);
	report_step(j->r, j->m, j->node, kind == ERR_WAITING ? "waiting" :
		    kind == ERR_STOPPED ? "stopped" : "failed",
		    j->attempt, job_took(j), result);
	run_error(j->r, &e);

	rec_init(&c, j->r, j->m);
	rec_step(&c, j->node, words[kind], j->attempt, result, job_took(j),
		 job_touched(j));
	if (j->r->known[j->node].answer && result_ok(j->r->known[j->node].answer))
		rec_result(&c, j->node, j->r->known[j->node].answer);
	rec_facts(&c, j->fact_names);
	rec_findings(&c);
	rec_evidence(&c, j->node, j->evidence);
	rec_send(&c, "outcome", j->key, subject, over_failed, j);
}

void job_fail_text(struct job *j, const char *kind, const char *text, const char *hint)
{
	AUTO_FREE char *typed = next_typed_of(j->r, j->m);
	AUTO_FREE char *named = run_name_plan(hint, typed);
	AUTO_JSON *result = frame_failure(kind, text, named ? named : hint);

	job_fail(j, result);
}

/* What a step measured that copied disks. */
struct copied {
	uint64_t data, size;		/* bytes brought over, by all passes; of all disks */
	size_t passes;			/* of the disk that had most */
	const json_t *lists;		/* disk -> its passes; borrowed, NULL: it copied none */
};

static struct copied copied_by(const struct job *j)
{
	struct copied n = { .lists = jget(j->applied, "volatile.source.passes") };
	json_t *disk, *one;
	const char *name;
	size_t i;

	json_object_foreach((json_t *)n.lists, name, disk) {
		json_array_foreach(disk, i, one)
			n.data += (uint64_t)jint(one, "data", 0);
		n.size += (uint64_t)jint(json_array_get(disk, 0), "size", 0);
		n.passes = json_array_size(disk) > n.passes ? json_array_size(disk) : n.passes;
	}
	return n;
}

/* "copied 11.2 GiB of 40.0 GiB, digest 5f0c2a118d00"; of several disks each has its name. */
static char *copied_text(const struct copied *n)
{
	AUTO_STR text = { 0 };
	char data[24], size[24];
	const char *name;
	json_t *disk;
	size_t told = 0;

	text_size(n->data, data);
	text_size(n->size, size);
	str_addf(&text, "copied %s of %s", data, size);
	if (n->passes > 1)
		str_addf(&text, " in %zu passes", n->passes);
	json_object_foreach((json_t *)n->lists, name, disk) {
		const json_t *last = json_array_get(disk, json_array_size(disk) - 1);

		if (told++ < DISKS_TOLD)
			str_addf(&text, ", %s %.12s", json_object_size(n->lists) > 1 ? name :
				 "digest", jstr(last, "digest", "?"));
	}
	if (told > DISKS_TOLD)
		str_addf(&text, " (and %zu more)", told - DISKS_TOLD);
	return str_take(&text);
}

/* The changes that it was to make: "root.qcow2 40 GiB (and 2 more)"; NULL: none. */
static char *changes_text(const struct job *j)
{
	json_t *change;
	const char *first = NULL;
	size_t i, more = 0;

	json_array_foreach(json_object_get(j->before, "changes"), i, change) {
		if (strchr("=.?", *jstr(change, "mark", "=")))
			continue;
		if (first)
			more++;
		else
			first = jstr(change, "text", "done");
	}
	return !first ? NULL : more ? mem_printf("%s (and %zu more)", first, more) :
		mem_strdup(first);
}

/* "convert disks: " and what was done, as far as that is known, else what was to be. */
static char *subject_of(const struct job *j, const char *status)
{
	struct copied n = copied_by(j);
	AUTO_FREE char *text = NULL;

	if (strcmp(status, "unchanged"))
		text = json_object_size(n.lists) ? copied_text(&n) : changes_text(j);
	return mem_printf("%s %s: %s", phase_names[j->s->phase], j->s->id, text ? text :
			  j->s->module->flags & MOD_READ_ONLY ? "asked" : status);
}

/* What the step brought over: as it measured that, else what its probe said beforehand. */
static uint64_t moved(const struct job *j)
{
	struct copied n = copied_by(j);

	return n.lists ? n.data : (uint64_t)jint(j->before, "cost.send", 0);
}

void job_succeed(struct job *j, const json_t *answer, const char *status, bool touched)
{
	AUTO_FREE char *subject = subject_of(j, status);
	char duration[24];
	struct rec c;

	rec_init(&c, j->r, j->m);
	j->status = status;
	j->took_ms = job_took(j);
	rec_result(&c, j->node, answer);
	rec_step(&c, j->node, status, j->attempt, answer, j->took_ms, touched);
	rec_facts(&c, j->fact_names);
	rec_findings(&c);
	rec_evidence(&c, j->node, j->evidence);
	if (j->applied)
		rec_found(&c, j->m->findings, j->key);
	estimate_learn(&c, j);
	figures_note(&c, j);
	held_off(j, &c);
	if (touched && (j->s->module->flags & MOD_NO_RETURN)) {
		rec_meta(&c, "serves", json_string("target"));
		j->serves = "target";
	}
	if (!strcmp(status, "done"))
		j->r->bytes += moved(j);
	text_duration(j->took_ms, duration);
	jset_str(c.trailers, "Took", duration);
	rec_send(&c, "outcome", j->key, subject, over_ok, j);
	release(j);
}

void job_skip(struct job *j)
{
	AUTO_JSON *answer = json_pack("{s:b, s:s}", "ok", 1, "state", "skipped");

	job_succeed(j, answer, "skipped", false);
}
