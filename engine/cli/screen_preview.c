/* SPDX-License-Identifier: Apache-2.0
 * screen_preview - a preview as one page: findings first, then each machine phase
 * by phase, then a line that counts and says what to type.
 */
#include "engine/base/text.h"
#include "engine/cli/screen_priv.h"

#include <string.h>

#define SHORT_DIFF 12		/* lines that are shown without --diff */
#define MARKS "+~-=?."
#define WORTH_MS 10000		/* estimates below are not worth a word */

struct totals {
	size_t marks[sizeof(MARKS)];
	uint64_t send;
	size_t blockers, failed;
	bool short_of_diff;	/* a diff was left out */
};

static enum paint mark_paint(char mark)
{
	switch (mark) {
	case '+': return P_GREEN;
	case '~': case '?': return P_YELLOW;
	case '-': return P_RED;
	default: return P_DIM;
	}
}

/* ---- findings ------------------------------------------------------------ */

void preview_finding(struct screen *s, const json_t *f, size_t names)
{
	const char *severity = jstr(f, "severity", "info");
	bool waived = jbool(f, "waived", false) || jstr(f, "waived", NULL);
	bool blocker = strcmp(severity, "blocker") == 0 && !waived;
	enum paint p = blocker ? P_RED : strcmp(severity, "warning") == 0 ? P_YELLOW : P_DIM;
	const char *more = waived ? jstr(f, "waived", NULL) : jstr(f, "remedy", NULL);
	size_t indent = line_column(s) + 9 + names + 2;

	str_add(&s->line, paint(s, waived ? P_DIM : p));
	add_cell(&s->line, waived ? "accepted" : blocker ? "BLOCKER" : severity, 9, false);
	str_add(&s->line, paint(s, P_OFF));
	add_name(s, jstr(f, "machine", ""), names, indent);
	add_text(s, jstr(f, "code", ""), indent);
	str_add(&s->line, ": ");
	add_text(s, jstr(f, "text", ""), indent);
	if (!more)
		return;
	str_addf(&s->line, "\n%*s%s", (int)indent, "", waived ? "reason: " : "mend: ");
	add_text(s, more, indent + (waived ? 8 : 6));
}

static int finding_rank(const json_t *f)
{
	static const char *const order[] = { "blocker", "warning", "unknown", "info" };

	if (jbool(f, "waived", false) || jstr(f, "waived", NULL))
		return (int)ARRAY_LEN(order);
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		if (strcmp(jstr(f, "severity", ""), order[i]) == 0)
			return (int)i;
	return (int)ARRAY_LEN(order) - 1;
}

static void add_findings(struct screen *s, struct totals *t, size_t names)
{
	json_t *f;
	size_t i;

	for (int rank = 0; rank <= 4; rank++)
		json_array_foreach(s->findings, i, f) {
			if (finding_rank(f) != rank)
				continue;
			preview_finding(s, f, names);
			str_addc(&s->line, '\n');
			t->blockers += rank == 0;
		}
	if (json_array_size(s->findings))
		str_addc(&s->line, '\n');
}

/* ---- steps --------------------------------------------------------------- */

static size_t count_lines(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void add_diff(struct screen *s, struct totals *t, const char *diff, size_t indent)
{
	if (!*diff)
		return;
	if (!s->o.diff && count_lines(diff) > SHORT_DIFF) {
		t->short_of_diff = true;
		return;
	}
	while (*diff) {
		size_t n = strcspn(diff, "\n");
		AUTO_FREE char *part = mem_strndup(diff, n);
		enum paint p = *part == '+' ? P_GREEN : *part == '-' ? P_RED : P_DIM;

		str_addf(&s->line, "%*s%s", (int)indent, "", paint(s, p));
		str_add_safe(&s->line, part);
		str_addf(&s->line, "%s\n", paint(s, P_OFF));
		diff += n + (diff[n] == '\n');
	}
}

/* The two lines that name the files say nothing that was not said. */
static const char *skip_header(const char *diff)
{
	for (int i = 0; i < 2; i++)
		if (strncmp(diff, i ? "+++ " : "--- ", 4) == 0)
			diff += strcspn(diff, "\n") + (diff[strcspn(diff, "\n")] == '\n');
	return diff;
}

/* "+2 -1" of a unified diff. */
static void add_diffstat(struct screen *s, const char *diff)
{
	size_t plus = 0, minus = 0;

	for (const char *p = diff; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		plus += *p == '+' && strncmp(p, "+++", 3) != 0;
		minus += *p == '-' && strncmp(p, "---", 3) != 0;
	}
	str_addf(&s->line, "  +%zu -%zu", plus, minus);
}

static void add_change(struct screen *s, struct totals *t, const json_t *ch, size_t indent)
{
	const char *mark = jstr(ch, "mark", "?"), *diff = jstr(ch, "diff", NULL);
	const char *text = jstr(ch, "text", NULL), *path = jstr(ch, "path", NULL);
	const char *at = strchr(MARKS, mark[0]);

	if (at && mark[0])
		t->marks[at - MARKS]++;
	str_addf(&s->line, "%s%c%s ", paint(s, mark_paint(mark[0])), mark[0], paint(s, P_OFF));
	if (diff && *diff) {
		str_add_safe(&s->line, path && *path ? path : text ? text : "");
		add_diffstat(s, diff);
		if (!s->o.diff && count_lines(skip_header(diff)) > SHORT_DIFF)
			str_add(&s->line, "  [--diff]");
		str_addc(&s->line, '\n');
		add_diff(s, t, skip_header(diff), indent + 2);
	} else {
		add_text(s, text && *text ? text : path && *path ? path : "(nothing said)",
			 indent + 2);
		str_addc(&s->line, '\n');
	}
}

/* "est. 4m00s", or with what nine of ten stay under: "est. 4m00s (P90 8m00s)". */
static void add_estimate(struct str *b, uint64_t ms, uint64_t ms90)
{
	char text[24], most[24];

	text_duration(ms >= 1000 ? ms / 1000 * 1000 : ms, text);
	text_duration(ms90 >= 1000 ? ms90 / 1000 * 1000 : ms90, most);
	str_addf(b, ms90 ? "est. %s (P90 %s)" : "est. %s", text, most);
}

static void add_cost(struct screen *s, struct totals *t, const json_t *cost, size_t indent)
{
	static const char *const names[] = { "read", "send", "write" };
	uint64_t ms = (uint64_t)jint(cost, "ms", 0);
	AUTO_STR b = {0};
	char text[24];

	t->send += (uint64_t)jint(cost, "send", 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		uint64_t n = (uint64_t)jint(cost, names[i], 0);

		if (!n)
			continue;
		text_size(n, text);
		str_addf(&b, "%s%s %s", b.len ? ", " : "", names[i], text);
	}
	if (ms >= WORTH_MS) {
		str_add(&b, b.len ? ", " : "");
		add_estimate(&b, ms, 0);
	}
	if (b.len)
		str_addf(&s->line, "%*s%s%s%s\n", (int)indent, "", paint(s, P_DIM), b.s,
			 paint(s, P_OFF));
}

/* How long nobody serves, and whether the plan allows it. */
static void add_downtime(struct screen *s, const json_t *ev)
{
	uint64_t ms = (uint64_t)jint(ev, "ms", 0), ms90 = (uint64_t)jint(ev, "ms90", 0);
	uint64_t allowed = (uint64_t)jint(ev, "allowed_ms", 0);
	char text[24];

	str_addf(&s->line, "  %sdowntime%s     ", paint(s, P_BOLD), paint(s, P_OFF));
	add_estimate(&s->line, ms, ms90);
	if (allowed) {
		AUTO_FREE char *verdict = NULL;

		text_duration(allowed, text);
		verdict = mem_printf("%s the %s that the plan allows", ms > allowed ? "MORE than" :
				     ms90 > allowed ? "perhaps more than" : "within", text);
		str_addf(&s->line, ", %s", ms90 > allowed ? paint(s, P_YELLOW) : "");
		add_text(s, verdict, 15);
		str_add(&s->line, ms90 > allowed ? paint(s, P_OFF) : "");
	}
	str_addc(&s->line, '\n');
}

/* The machine's steps follow one another. */
static uint64_t time_of(const struct view *v)
{
	uint64_t ms = 0;
	json_t *step;
	size_t i;

	json_array_foreach(v->steps, i, step)
		ms += (uint64_t)jint(step, "cost.ms", 0);
	return ms;
}

static void begin_row(struct screen *s, const char *phase, const char *step, size_t width)
{
	str_add(&s->line, "  ");
	add_cell(&s->line, phase, 11, false);
	str_add(&s->line, "  ");
	add_cell(&s->line, step, width, false);
	str_add(&s->line, "  ");
}

static void add_step(struct screen *s, struct totals *t, const json_t *step, const char *phase,
		     size_t width)
{
	const char *name = jstr(step, "step", ""), *state = jstr(step, "state", "");
	size_t indent = 2 + 11 + 2 + width + 2, i;
	json_t *ch;

	json_array_foreach(jget(step, "changes"), i, ch) {
		begin_row(s, i ? "" : phase, i ? "" : name, width);
		add_change(s, t, ch, indent);
	}
	if (strcmp(state, "failed") == 0 || jstr(step, "error", NULL)) {
		begin_row(s, i ? "" : phase, i ? "" : name, width);
		str_addf(&s->line, "%sFAILED%s: ", paint(s, P_RED), paint(s, P_OFF));
		add_step_error(s, step, indent);
		str_addc(&s->line, '\n');
		t->failed++;
	} else if (i == 0) {
		begin_row(s, phase, name, width);
		str_addf(&s->line, "%s%s%s\n", paint(s, P_DIM),
			 strcmp(state, "skipped") == 0 ? ". left out" :
			 strcmp(state, "waiting") == 0 || strcmp(state, "unknown") == 0 ?
			 "? known after earlier steps" :
			 strcmp(jstr(step, "phase", ""), "assess") == 0 ? "= asked" :
			 "= nothing to change", paint(s, P_OFF));
	}
	if (jget(step, "cost"))
		add_cost(s, t, jget(step, "cost"), indent);
}

static void add_machine(struct screen *s, struct totals *t, const struct view *v)
{
	size_t width = 6, i;
	json_t *step;

	str_add(&s->line, paint(s, P_BOLD));
	str_add_safe(&s->line, v->name);
	str_add(&s->line, paint(s, P_OFF));
	if (v->title) {
		str_add(&s->line, "  ");
		str_add_safe(&s->line, v->title);
	}
	if (v->serves) {
		str_add(&s->line, ", serves: ");
		str_add_safe(&s->line, v->serves);
	}
	if (time_of(v) >= WORTH_MS) {
		str_add(&s->line, ", ");
		add_estimate(&s->line, time_of(v), 0);
	}
	str_addc(&s->line, '\n');
	json_array_foreach(v->steps, i, step) {
		size_t n = text_columns(jstr(step, "step", ""));

		width = n > width && n <= 20 ? n : width;
	}
	for (int p = 0; p < PHASE_COUNT; p++) {
		const char *phase = phase_names[p];

		json_array_foreach(v->steps, i, step)
			if (strcmp(jstr(step, "phase", ""), phase_names[p]) == 0) {
				add_step(s, t, step, phase, width);
				phase = "";
			}
	}
	if (v->downtime)
		add_downtime(s, v->downtime);
	str_addc(&s->line, '\n');
}

/* ---- the page ------------------------------------------------------------ */

static void add_hosts_down(struct screen *s)
{
	const char *name;
	json_t *ev;

	json_object_foreach(s->hosts, name, ev)
		if (strcmp(jstr(ev, "state", ""), "down") == 0) {
			str_addf(&s->line, "%sDOWN%s     ", paint(s, P_RED), paint(s, P_OFF));
			str_add_safe(&s->line, name);
			str_add(&s->line, "  ");
			add_text(s, jstr(ev, "error", "cannot be reached"), 11);
			add_below(s, jstr(ev, "hint", NULL), 11);
			str_addc(&s->line, '\n');
		}
}

static void add_lost(struct screen *s)
{
	json_t *ev;
	size_t i;

	json_array_foreach(s->lost, i, ev) {
		str_addf(&s->line, "%sLOST%s     ", paint(s, P_YELLOW), paint(s, P_OFF));
		str_add_safe(&s->line, jstr(ev, "machine", ""));
		str_add(&s->line, "  ");
		add_text(s, jstr(ev, "text", ""), 11);
		str_addc(&s->line, '\n');
	}
	if (i)
		str_addc(&s->line, '\n');
}

/* What the estimates stand on. */
static void add_basis(struct screen *s, const json_t *end)
{
	int64_t measured = jint(end, "measured", 0), assumed = jint(end, "assumed", 0);
	AUTO_FREE char *text = NULL;

	if (jint(end, "ms", 0) < WORTH_MS)
		return;
	text = !assumed ? mem_strdup("Times are estimates, from earlier runs.") :
		!measured ? mem_strdup("Times are estimates: nothing was measured yet, 100 MiB/s "
				       "and a minute for what boots or stops are assumed.") :
		mem_printf("Times are estimates, from earlier runs; %lld of %lld steps %s not "
			   "measured yet.", (long long)assumed, (long long)(assumed + measured),
			   assumed == 1 ? "was" : "were");
	add_text(s, text, 0);
	str_addc(&s->line, '\n');
}

static void add_sum(struct screen *s, const struct totals *t, const json_t *end)
{
	uint64_t ms = (uint64_t)jint(end, "ms", 0);
	char text[24];

	str_addf(&s->line, "%s%zu machine%s:%s", paint(s, P_BOLD), s->view_count,
		 s->view_count == 1 ? "" : "s", paint(s, P_OFF));
	for (size_t i = 0; i < strlen(MARKS); i++)
		if (i < 3 || MARKS[i] == '?')
			str_addf(&s->line, "  %c %zu", MARKS[i], t->marks[i]);
	if (t->send || ms >= WORTH_MS)
		str_add(&s->line, "   ");
	if (t->send) {
		text_size(t->send, text);
		str_addf(&s->line, "%s to send%s", text, ms >= WORTH_MS ? ", " : "");
	}
	if (ms >= WORTH_MS)
		add_estimate(&s->line, ms, (uint64_t)jint(end, "ms90", 0));
	str_addc(&s->line, '\n');
	add_basis(s, end);
	if (t->failed)
		str_addf(&s->line, "%s%zu step%s could not be asked%s\n", paint(s, P_RED), t->failed,
			 t->failed == 1 ? "" : "s", paint(s, P_OFF));
	if (t->blockers)
		str_addf(&s->line, "%s%zu blocker%s: a run will refuse%s\n", paint(s, P_RED),
			 t->blockers, t->blockers == 1 ? "" : "s", paint(s, P_OFF));
	if (t->short_of_diff)
		str_add(&s->line, "--diff shows every diff whole\n");
}

void preview_page(struct screen *s, const json_t *end)
{
	struct totals t = {0};

	str_addf(&s->line, "%s", paint(s, P_BOLD));
	str_add_safe(&s->line, s->plan);
	str_addf(&s->line, "  %s%s  ", strcmp(s->kind, "preview") == 0 ? "run preview" :
		 strcmp(s->kind, "cutover-preview") == 0 ? "cutover preview" : "rollback preview",
		 paint(s, P_OFF));
	str_add_safe(&s->line, s->file);
	str_addf(&s->line, "  %zu host%s asked, 0 changed\n\n", s->host_count,
		 s->host_count == 1 ? "" : "s");
	add_hosts_down(s);
	add_findings(s, &t, s->name_columns);
	add_lost(s);
	for (size_t i = 0; i < s->view_count; i++)
		add_machine(s, &t, s->views[i]);
	if (strcmp(s->kind, "preview") == 0 && s->cutover) {
		AUTO_FREE char *text = mem_printf("The cutover is NOT part of this run; preview "
			"it with: drover cutover %s --preview", s->typed);

		add_text(s, text, 0);
		str_add(&s->line, "\n\n");
	}
	add_sum(s, &t, end);
	add_next(s, end);
}
