/* SPDX-License-Identifier: Apache-2.0
 * held - between the last pass and the power cut the source must not have served again.
 *
 * What makes it stand still is asked just before it is switched off, and made to last
 * over it: from then on nobody may be there to ask, since the agent goes with its
 * machine, and only the clock tells. Who is off already, not by this cutover, must still
 * be able to say that it stood still until then.
 */
#include "engine/run/hosts.h"
#include "engine/run/op.h"
#include "engine/run/record.h"
#include "engine/run/step.h"

#include <stdlib.h>
#include <string.h>

#define SLACK_MS 5000		/* of two clocks, over the longest hold */

bool held_takes(const struct plan_step *s)
{
	return (s->module->flags & MOD_SOURCE_HELD) && s->module->undo;
}

bool step_switches_off(const struct plan_step *s)
{
	return s->phase == PHASE_CUTOVER && s->module->place == ON_POWER && s->module->apply;
}

static uint32_t source_host(const struct job *j)
{
	return j->r->plan->machines[j->m->index].source_host;
}

/* The machine is its own source host: where it is off, nobody answers. */
static bool is_live(const struct job *j)
{
	return jbool(json_object_get(j->m->facts, "machine"), "stable.live", false);
}

/* ---- before the intent -------------------------------------------------------------------- */

/* The source served until now: what was read of it while it stood still before is
 * of another instant, and is read again. */
static void forget_held(struct job *j, struct rec *c)
{
	const struct graph *g = j->r->graph;
	json_t *fact;
	const char *name;
	void *safe;

	for (uint32_t i = j->node + 1; i < g->first[j->m->index + 1]; i++) {
		AUTO_FREE char *key = step_key(g->nodes[i].step);

		if (!(g->nodes[i].step->module->flags & MOD_SOURCE_HELD))
			continue;
		json_object_foreach_safe(j->m->facts, safe, name, fact) {
			AUTO_FREE char *field = mem_printf("facts/%s", name);

			if (strcmp(jstr(fact, "step", ""), key))
				continue;
			rec_meta(c, field, json_null());
			json_object_del(j->m->facts, name);
			j->m->facts_gen++;
		}
	}
}

static void boot_now(const struct job *j, char id[CLOCK_BOOT])
{
	const struct clock *c = loop_clock(j->r->loop);

	c->boot(c->arg, id);
}

/* For another run, which may have to read it: how long the source stands still, by a
 * clock that nobody sets, and which boot of it that was. */
static json_t *window(const struct job *j)
{
	json_t *o = json_object();
	char boot[CLOCK_BOOT];

	boot_now(j, boot);
	jset_str(o, "source", hosts_boot(j->r, source_host(j)));
	if (j->held_until && *boot) {
		jset_str(o, "boot", boot);
		jset_int(o, "until_ms", (int64_t)j->held_until);
	}
	return o;
}

void held_intend(struct job *j, struct rec *c)
{
	if (held_takes(j->s))
		forget_held(j, c);
	if (step_switches_off(j->s))
		rec_meta(c, "held", window(j));
}

/* ---- asking ------------------------------------------------------------------------------- */

static bool is_off(const struct job *j)
{
	return !strcmp(jstr(j->before, "state", ""), "done");
}

/* The source does not answer, and an earlier run began to switch it off: that is what is
 * to be expected as long as the hold lasts for certain. Another machine, or this one after
 * a reboot, has no clock that could tell: the one on the wall may have been set. */
static bool lasts_by_the_clock(struct job *j, const json_t *result)
{
	const json_t *held = json_object_get(meta_of(j->r, j->m), "held");
	const char *kind = result_kind(result);
	uint64_t until = (uint64_t)jint(held, "until_ms", 0);
	char boot[CLOCK_BOOT];

	boot_now(j, boot);
	if ((strcmp(kind, "down") && strcmp(kind, "lost")) ||
	    !meta_touched(j->r, j->m, j->node) || !*boot ||
	    strcmp(jstr(held, "boot", ""), boot) || loop_now(j->r->loop) >= until)
		return false;
	j->held_until = until;
	return true;
}

static void refuse(struct job *j, const struct op *o, const json_t *result)
{
	AUTO_FREE char *key = step_key(o->step);
	AUTO_FREE char *text = NULL;

	if (is_off(j))
		text = mem_printf("cannot go on with the cutover of '%s': it is off, and "
				  "nobody can tell whether it stood still until then",
				  j->m->name);
	else if (result_ok(result) || !strcmp(result_kind(result), "failed"))
		text = mem_printf("cannot switch '%s' off: what '%s' holds does not last, and "
				  "what it wrote since is in no pass%s%s", j->m->name, key,
				  result_ok(result) ? "" : ": ",
				  jstr(result, "error.text", ""));
	else
		text = mem_printf("cannot switch '%s' off: nobody can tell whether it still "
				  "stands still: %s", j->m->name,
				  jstr(result, "error.text", "no answer"));
	job_fail_text(j, "failed", text, "drover cutover PLAN begins it anew; the `hold` of quiesce "
		      "says how long a freeze may last");
}

static void on_held(struct op *o, const json_t *result, void *arg)
{
	struct job *j = arg;
	bool holds = result_ok(result) && (!strcmp(o->name, "hold") ||
					   !strcmp(jstr(result, "state", ""), "done"));
	int64_t ms = jint(result, "volatile.held_ms", 0);

	if (holds && ms > SLACK_MS)
		j->held_until = j->asked_ms + (uint64_t)(ms - SLACK_MS);
	if (!holds && !result_ok(result) && step_try_again(j, result))
		return;
	if (!holds && !lasts_by_the_clock(j, result))
		refuse(j, o, result);
	else if (is_off(j))
		held_succeed(j, j->before, meta_touched(j->r, j->m, j->node) ? "done" :
			     "unchanged", meta_touched(j->r, j->m, j->node));
	else
		step_intend(j);
}

bool held_ask(struct job *j, const json_t *result)
{
	const struct graph *g = j->r->graph;
	const char *state = jstr(result, "state", "");

	if (!step_switches_off(j->s) || meta_finished(j->r, j->m, j->node) ||
	    !strcmp(state, "unknown"))
		return false;
	for (uint32_t i = g->first[j->m->index]; i < j->node; i++) {
		const struct plan_step *s = g->nodes[i].step;

		if (!held_takes(s) || !meta_touched(j->r, j->m, i))
			continue;
		j->asked_ms = loop_now(j->r->loop);
		op_start(j->r, j->m, i, s->module->hold && strcmp(state, "done") ? "hold" :
			 "probe", on_held, j)->quiet = true;
		return true;
	}
	return false;
}

/* ---- afterwards ---------------------------------------------------------------------------- */

bool held_too_long(struct job *j)
{
	if (!j->held_until || loop_now(j->r->loop) <= j->held_until)
		return false;
	AUTO_FREE char *text = mem_printf("cannot go on with the cutover of '%s': it is off, "
		"but that took longer than it was sure to stand still", j->m->name);
	job_fail_text(j, "failed", text, "drover cutover PLAN begins it anew; the `hold` of quiesce "
		      "says how long a freeze may last");
	return true;
}

bool held_was_on_again(struct job *j)
{
	/* a person's word is of the run in which it was given: they are asked again */
	if (!step_switches_off(j->s) || !meta_finished(j->r, j->m, j->node) ||
	    !strcmp(jstr(j->before, "state", ""), "unknown"))
		return false;
	AUTO_FREE char *text = mem_printf("cannot go on with the cutover of '%s': its source "
		"was switched on again after the last pass", j->m->name);
	job_fail_text(j, "failed", text, j->m->serving ? "both may serve: stop one of them; drover "
		      "rollback PLAN --to cutover --discard-target-writes ends the target" :
		      "drover cutover PLAN begins it anew");
	return true;
}

/* How it answers, in words. */
static char *how_alive(const struct job *j, enum alive how, const char *boot)
{
	const char *was = jstr(json_object_get(meta_of(j->r, j->m), "held"), "source", NULL);
	const char *host = j->r->plan->hosts[source_host(j)].name;

	if (how == ALIVE_KEY)
		return mem_printf("the SSH server of '%s' still answers", host);
	if (was && boot && strcmp(was, boot))
		return mem_printf("'%s' answers, started anew since", host);
	return mem_printf("'%s' still answers: it was never off", host);
}

static void on_alive(void *arg, enum alive how, const char *boot)
{
	struct job *j = arg;

	if (how == ALIVE_SILENT) {
		job_succeed(j, j->answer, j->status, j->touched);
		return;
	}
	AUTO_FREE char *words = how_alive(j, how, boot);
	AUTO_FREE char *text = mem_printf("cannot go on with the cutover of '%s': its "
		"source.power says that it is off, but %s", j->m->name, words);
	job_fail_text(j, "failed", text, "does source.power switch, and ask, the machine that "
		      "its host is? mend the plan, then drover cutover PLAN begins it anew");
}

/* A power facility may switch another machine. Once the target may serve, who answers at
 * that address may be the target. */
void held_succeed(struct job *j, const json_t *answer, const char *status, bool touched)
{
	if (!step_switches_off(j->s) || !is_live(j) || j->m->serving) {
		job_succeed(j, answer, status, touched);
		return;
	}
	j->answer = json_incref((json_t *)answer);
	j->status = status;
	j->touched = touched;
	alive_ask(j->r, source_host(j), on_alive, j);
}

bool held_unproven(struct job *j)
{
	const struct graph *g = j->r->graph;

	if (!(j->s->module->flags & MOD_NO_RETURN))
		return false;
	for (uint32_t i = g->first[j->m->index]; i < j->node; i++)
		if (step_switches_off(g->nodes[i].step) && meta_finished(j->r, j->m, i) &&
		    strcmp(meta_status(j->r, j->m, i), "skipped"))
			return false;
	AUTO_FREE char *text = mem_printf("cannot start '%s' at its target: no step before has "
		"proven its source off", j->m->name);
	job_fail_text(j, "failed", text, "let the plan's cutover have the step `off` before this "
		      "one, unconditionally");
	return true;
}

/* What ends with the power of the machine: its freeze, and the tracker of a server that
 * is its own source host. */
static bool ends_with(const struct job *j, const json_t *entry)
{
	const char *kind = jstr(entry, "kind", "");

	return strcmp(jstr(entry, "machine", ""), j->m->name) == 0 &&
	       (!strcmp(kind, "freeze") || (is_live(j) && !strcmp(kind, "tracker")));
}

/* Nothing of that is left to be taken away. */
void held_off(const struct job *j, struct rec *c)
{
	const json_t *ledger = json_object_get(state_meta(j->r->state), "ledger");
	const char *host, *key;
	json_t *things, *entry;

	if (!step_switches_off(j->s))
		return;
	json_object_foreach((json_t *)(uintptr_t)ledger, host, things)
		json_object_foreach(things, key, entry) {
			AUTO_FREE char *path = mem_printf("ledger/%s/%s", host, key);

			if (ends_with(j, entry))
				jset(c->meta, path, json_null());
		}
}
