/* SPDX-License-Identifier: Apache-2.0
 * screen_events - takes events: what each changes of what is known, and the line that
 * stays of it.
 */
#include "engine/cli/figures.h"
#include "engine/cli/screen_priv.h"

#include <string.h>

#define TELL_MS 10000		/* plain progress lines, at most so often */

static const struct {
	const char *state, *word;
	enum mark mark;
	enum paint paint;
	bool busy;		/* work is going on */
	int verbose;		/* told from this many -v on */
} states[] = {
	{ "waiting", "waits", MARK_NONE, P_DIM, false, 2 },
	{ "probing", "looking", MARK_BUSY, P_DIM, true, 2 },
	{ "running", "running", MARK_BUSY, P_DIM, true, 1 },
	{ "undoing", "undoing", MARK_BUSY, P_DIM, true, 1 },
	{ "done", "done", MARK_DONE, P_GREEN, false, 0 },
	{ "unchanged", "as wanted", MARK_SAME, P_DIM, false, 1 },
	{ "skipped", "left out", MARK_SKIPPED, P_DIM, false, 1 },
	{ "undone", "undone", MARK_UNDONE, P_GREEN, false, 0 },
	{ "failed", "FAILED", MARK_FAILED, P_RED, false, 0 },
	{ "stopped", "stopped", MARK_BUSY, P_YELLOW, false, 0 },
	{ "unknown", "UNKNOWN", MARK_FAILED, P_YELLOW, false, 0 },
};

static json_t *preview_step(struct view *v, const char *phase, const char *step)
{
	json_t *o;
	size_t i;

	json_array_foreach(v->steps, i, o)
		if (strcmp(jstr(o, "phase", ""), phase) == 0 &&
		    strcmp(jstr(o, "step", ""), step) == 0)
			return o;
	o = json_object();
	jset_str(o, "phase", phase);
	jset_str(o, "step", step);
	jset(o, "changes", json_array());
	jadd(v->steps, o);
	return o;
}

static void on_step(struct screen *s, const json_t *ev)
{
	struct view *v = screen_view(s, jstr(ev, "machine", ""));
	const char *state = jstr(ev, "state", ""), *step = jstr(ev, "step", "");
	int phase = phase_of(jstr(ev, "phase", ""));
	size_t i = 0;

	while (i < ARRAY_LEN(states) && strcmp(states[i].state, state) != 0)
		i++;
	if (i == ARRAY_LEN(states) || phase < 0)
		return;
	if (s->preview)
		json_object_update(preview_step(v, jstr(ev, "phase", ""), step), (json_t *)(uintptr_t)ev);
	if (!states[i].busy && states[i].mark > v->marks[phase])
		v->marks[phase] = states[i].mark;
	if (states[i].busy) {
		if (!v->busy || !v->step || strcmp(v->step, step) != 0) {
			v->since_ms = v->told_ms = screen_now(s);
			json_decref(v->progress);
			v->progress = NULL;
		}
		v->busy = true;
		v->rests_until = 0;
		v->phase = phase;
		keep(&v->step, step);
		keep(&v->state, states[i].word);
	} else {
		v->took_ms += (uint64_t)jint(ev, "took_ms", 0);
		if (v->step && strcmp(v->step, step) == 0)
			v->busy = false;
	}
	if (states[i].mark == MARK_FAILED) {
		AUTO_FREE char *fault = mem_printf("%s.%s: %s", phase_names[phase], step,
						   jstr(ev, "error", "FAILED"));

		keep(&v->fault, fault);
	}
	if (!s->preview && s->o.verbose >= states[i].verbose)
		step_line(s, ev, states[i].paint, states[i].word,
			  (uint64_t)jint(ev, "took_ms", 0));
}

static void on_progress(struct screen *s, const json_t *ev)
{
	struct view *v = screen_view(s, jstr(ev, "machine", ""));
	uint64_t now = screen_now(s);

	json_decref(v->progress);
	v->progress = json_deep_copy(ev);
	if (s->o.live || s->preview || now - v->told_ms < TELL_MS)
		return;
	v->told_ms = now;
	begin_step_line(s, ev);
	live_progress_text(s, v, &s->line);
	end_line(s);
}

/* A terminal that is live counts the time down instead. */
static void on_rest(struct screen *s, const json_t *ev)
{
	struct view *v = screen_view(s, jstr(ev, "machine", ""));
	uint64_t ms = (uint64_t)jint(ev, "ms", 0);
	int phase = phase_of(jstr(ev, "phase", ""));

	if (phase < 0)
		return;
	v->phase = phase;
	keep(&v->step, jstr(ev, "step", ""));
	v->rests_until = ms ? screen_now(s) + ms : 0;
	if (s->o.live || !ms)
		return;
	begin_line(s, ev);
	add_name(s, v->name, s->name_columns, hang(s));
	live_rest_text(s, v, &s->line);
	end_line(s);
}

static void on_finding(struct screen *s, const json_t *ev)
{
	jadd(s->findings, json_deep_copy(ev));
	if (s->preview)
		return;
	if (strcmp(jstr(ev, "severity", ""), "info") == 0 && s->o.verbose < 1)
		return;
	begin_line(s, ev);
	preview_finding(s, ev, s->name_columns);
	end_line(s);
}

static void on_host(struct screen *s, const json_t *ev)
{
	const char *state = jstr(ev, "state", ""), *name = jstr(ev, "host", "");
	bool down = strcmp(state, "down") == 0;
	const json_t *was = json_object_get(s->hosts, name);
	const char *error = jstr(ev, "error", "");
	bool again = down && was && strcmp(jstr(was, "down", ""), error) == 0;
	json_t *now = json_deep_copy(ev);

	/* `down` stays with it through the attempts to come, to be told once. */
	jset_str(now, "down", down ? error : strcmp(state, "ready") == 0 ? NULL :
		 jstr(was, "down", NULL));
	jset(s->hosts, name, now);
	if (s->preview || (s->o.verbose < 1 && (!down || again)))
		return;
	begin_line(s, ev);
	str_addf(&s->line, "host ");
	str_add_safe(&s->line, name);
	str_addf(&s->line, "  %s%s%s", paint(s, down ? P_RED : P_DIM), down ? "DOWN" : state,
		 paint(s, P_OFF));
	if (jstr(ev, "error", NULL)) {
		str_add(&s->line, ": ");
		add_text(s, jstr(ev, "error", ""), TIME_COLUMNS + 2);
		add_below(s, jstr(ev, "hint", NULL), TIME_COLUMNS + 2);
	}
	end_line(s);
}

static void on_change(struct screen *s, const json_t *ev)
{
	struct view *v = screen_view(s, jstr(ev, "machine", ""));
	json_t *step = preview_step(v, jstr(ev, "phase", ""), jstr(ev, "step", ""));

	if (s->preview)
		jadd(jget(step, "changes"), json_deep_copy(ev));
}

static void on_cost(struct screen *s, const json_t *ev)
{
	struct view *v = screen_view(s, jstr(ev, "machine", ""));
	json_t *step = preview_step(v, jstr(ev, "phase", ""), jstr(ev, "step", ""));

	jset(step, "cost", json_deep_copy(ev));
}

static void on_downtime(struct screen *s, const json_t *ev)
{
	struct view *v = screen_view(s, jstr(ev, "machine", ""));

	json_decref(v->downtime);
	v->downtime = json_deep_copy(ev);
}

static void on_figures(struct screen *s, const json_t *ev)
{
	struct view *v = screen_view(s, jstr(ev, "machine", ""));

	free(v->figures);
	v->figures = figures_text(ev);
}

static void on_log(struct screen *s, const json_t *ev)
{
	const char *step = jstr(ev, "step", NULL);

	/* A step's own words are details; what the run itself says is not. */
	if (s->preview || (step && s->o.verbose < 1))
		return;
	if (step) {
		begin_step_line(s, ev);
	} else {
		begin_line(s, ev);
		if (jstr(ev, "machine", NULL)) {
			add_name(s, jstr(ev, "machine", ""), s->name_columns, hang(s));
		}
	}
	add_text(s, jstr(ev, "text", ""), jstr(ev, "machine", NULL) ? hang(s) : TIME_COLUMNS);
	end_line(s);
}

static void on_serves(struct screen *s, const json_t *ev)
{
	struct view *v = screen_view(s, jstr(ev, "machine", ""));
	const char *who = jstr(ev, "who", "unknown");
	bool news = v->serves && strcmp(v->serves, who) != 0;

	keep(&v->serves, who);
	if (s->preview || (!news && s->o.verbose < 1))
		return;
	begin_line(s, ev);
	add_name(s, v->name, s->name_columns, hang(s));
	str_addf(&s->line, "serves: %s", paint(s, P_BOLD));
	str_add_safe(&s->line, who);
	str_add(&s->line, paint(s, P_OFF));
	end_line(s);
}

static void on_lost(struct screen *s, const json_t *ev)
{
	jadd(s->lost, json_deep_copy(ev));
	if (s->preview)
		return;
	begin_line(s, ev);
	add_name(s, jstr(ev, "machine", ""), s->name_columns, hang(s));
	str_addf(&s->line, "%sLOST%s: ", paint(s, P_YELLOW), paint(s, P_OFF));
	add_text(s, jstr(ev, "text", ""), hang(s));
	end_line(s);
}

static void on_start(struct screen *s, const json_t *ev)
{
	const json_t *name;
	size_t i;

	keep(&s->kind, jstr(ev, "kind", "run"));
	keep(&s->plan, jstr(ev, "plan", ""));
	keep(&s->file, jstr(ev, "file", ""));
	keep(&s->typed, jstr(ev, "typed", s->file));
	keep(&s->run, jstr(ev, "run", NULL));
	s->preview = strstr(s->kind, "preview") != NULL;
	s->cutover = jbool(ev, "cutover", false);
	s->host_count = json_array_size(jget(ev, "hosts"));
	json_array_foreach(jget(ev, "machines"), i, name)
		if (json_is_string(name))
			screen_view(s, json_string_value(name));
	if (s->preview)
		return;
	str_addf(&s->line, "%s", paint(s, P_BOLD));
	str_add_safe(&s->line, s->plan);
	str_addf(&s->line, "  %s%s  ", s->kind, paint(s, P_OFF));
	str_add_safe(&s->line, s->file);
	if (s->run)
		str_addf(&s->line, "  run %s", s->run);
	str_addf(&s->line, "  %zu machine%s, %zu host%s", json_array_size(jget(ev, "machines")),
		 json_array_size(jget(ev, "machines")) == 1 ? "" : "s", s->host_count,
		 s->host_count == 1 ? "" : "s");
	end_line(s);
}

static void on_end(struct screen *s, const json_t *ev)
{
	screen_hide(s);
	if (!s->kind)
		return;		/* it never began: the error says all */
	if (s->preview)
		preview_page(s, ev);
	else
		close_page(s, ev);
	fwrite(s->line.s ? s->line.s : "", 1, s->line.len, s->o.out);
	s->line.len = 0;
	fflush(s->o.out);
	s->o.live = false;
}

static const struct {
	const char *type;
	void (*fn)(struct screen *s, const json_t *ev);
} handlers[] = {
	{ "start", on_start }, { "host", on_host }, { "step", on_step },
	{ "progress", on_progress }, { "log", on_log }, { "finding", on_finding },
	{ "change", on_change }, { "cost", on_cost }, { "serves", on_serves },
	{ "lost", on_lost }, { "downtime", on_downtime },
	{ "figures", on_figures }, { "rest", on_rest }, { "end", on_end },
};

void screen_event(struct screen *s, const json_t *event)
{
	const char *type = jstr(event, "t", "");

	for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
		if (strcmp(handlers[i].type, type) == 0)
			handlers[i].fn(s, event);
}
