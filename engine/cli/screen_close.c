/* SPDX-License-Identifier: Apache-2.0
 * screen_close - the table at the end of a run: machine by phase, who serves, how
 * long; and what to type next.
 */
#include "engine/base/text.h"
#include "engine/cli/screen_priv.h"

#include <string.h>

static const struct { const char *word; enum paint paint; } words[] = {
	[MARK_NONE] = { "-", P_DIM }, [MARK_SKIPPED] = { "-", P_DIM },
	[MARK_SAME] = { "as is", P_DIM }, [MARK_DONE] = { "done", P_GREEN },
	[MARK_UNDONE] = { "undone", P_GREEN }, [MARK_BUSY] = { "stopped", P_YELLOW },
	[MARK_WAITS] = { "waits", P_YELLOW }, [MARK_FAILED] = { "FAILED", P_RED },
};

/* Wide enough for the phase's name and for every word below it; 0: no machine was in
 * that phase, and it is not shown. */
static size_t phase_columns(const struct screen *s, int phase)
{
	size_t n = strlen(phase_names[phase]);

	for (size_t i = 0; i < s->view_count; i++)
		if (s->views[i]->marks[phase] != MARK_NONE ||
		    (s->views[i]->busy && s->views[i]->phase == phase))
			return n > 7 ? n : 7;
	return 0;
}

static void add_word(struct screen *s, enum mark m, size_t columns)
{
	if (!columns)
		return;
	str_add(&s->line, paint(s, words[m].paint));
	add_cell(&s->line, words[m].word, columns, false);
	str_addf(&s->line, "%s  ", paint(s, P_OFF));
}

/* Trailing blanks would only wrap. */
static void trim(struct str *b)
{
	while (b->len && b->s[b->len - 1] == ' ')
		b->s[--b->len] = '\0';
}

static enum mark mark_of(const struct view *v, int phase)
{
	return v->busy && v->phase == phase && v->marks[phase] != MARK_FAILED ? MARK_BUSY :
		v->marks[phase];
}

/* `name` is the machine's own, or says how many it stands for. */
static void add_row(struct screen *s, const struct view *v, const char *name, size_t names)
{
	char took[24] = "-";

	add_name(s, name, names, names + 2);
	for (int p = 0; p < PHASE_COUNT; p++)
		add_word(s, mark_of(v, p), phase_columns(s, p));
	add_cell(&s->line, v->serves ? v->serves : "-", 7, false);
	if (v->took_ms)
		text_duration(v->took_ms, took);
	str_addf(&s->line, "  %s\n", took);
}

/* ---- many machines: who is well is counted, the others are named --------------------- */

#define FAULTS 5		/* told once more below the table */

static bool is_well(const struct view *v)
{
	for (int p = 0; p < PHASE_COUNT; p++)
		if (mark_of(v, p) >= MARK_BUSY)
			return false;
	return !v->serves || strcmp(v->serves, "unknown") != 0;
}

static bool alike(const struct view *a, const struct view *b)
{
	for (int p = 0; p < PHASE_COUNT; p++)
		if (mark_of(a, p) != mark_of(b, p))
			return false;
	return strcmp(a->serves ? a->serves : "", b->serves ? b->serves : "") == 0;
}

/* One row for all that are well and alike, at the first of them. */
static void add_well(struct screen *s, size_t at, size_t names)
{
	struct view all = *s->views[at];
	AUTO_FREE char *label = NULL;
	size_t n = 1;

	for (size_t i = 0; i < s->view_count; i++) {
		const struct view *v = s->views[i];

		if (i == at || !is_well(v) || !alike(v, &all))
			continue;
		if (i < at)
			return;		/* told there */
		n++;
		all.took_ms = v->took_ms > all.took_ms ? v->took_ms : all.took_ms;
	}
	label = mem_printf("%zu machines", n);
	add_row(s, &all, n > 1 ? label : all.name, names);
}

static void add_rows(struct screen *s, size_t names)
{
	bool many = s->view_count > MANY;

	for (size_t i = 0; many && i < s->view_count; i++)
		if (is_well(s->views[i]))
			add_well(s, i, names);
	for (size_t i = 0; i < s->view_count; i++)
		if (!many || !is_well(s->views[i]))
			add_row(s, s->views[i], s->views[i]->name, names);
}

/* What failed has scrolled away. */
static void add_faults(struct screen *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->view_count; i++) {
		const struct view *v = s->views[i];

		if (!v->fault || n++ >= FAULTS)
			continue;
		str_addf(&s->line, "\n%s", paint(s, P_RED));
		str_add_safe(&s->line, v->name);
		str_addf(&s->line, "%s  ", paint(s, P_OFF));
		add_text(s, v->fault, 2);
	}
	if (n > FAULTS)
		str_addf(&s->line, "\nand %zu more FAILED; each is told above, and by drover status %s",
			 n - FAULTS, s->typed);
	if (n)
		str_addc(&s->line, '\n');
}

static bool any(const struct screen *s, enum mark mark)
{
	for (size_t i = 0; i < s->view_count; i++)
		for (int p = 0; p < PHASE_COUNT; p++)
			if (s->views[i]->marks[p] == mark)
				return true;
	return false;
}

static const char *end_word(const struct screen *s, int64_t status)
{
	switch (status) {
	case 0: return "done";
	case 1: return any(s, MARK_FAILED) ? "a step FAILED, see above" :
		any(s, MARK_UNDONE) && strcmp(s->kind, "rollback") == 0 ?
		"undone, but NOT proven to be as before" :
		s->view_count > 1 && any(s, MARK_DONE) ?
		"not done for every machine, see above" : "refused";
	case 3: return "stopped; the same command goes on with it";
	case 4: return "refused, another run works on it";
	case 5: return "the saved preview no longer fits";
	case 6: return "waits for a person";
	default: return "FAILED";
	}
}

static void add_head(struct screen *s, size_t names)
{
	str_addf(&s->line, "\n%s", paint(s, P_BOLD));
	add_cell(&s->line, "machine", names, false);
	for (int p = 0; p < PHASE_COUNT; p++) {
		if (!phase_columns(s, p))
			continue;
		str_add(&s->line, "  ");
		add_cell(&s->line, phase_names[p], phase_columns(s, p), false);
	}
	str_addf(&s->line, "  serves   took%s\n", paint(s, P_OFF));
}

static void add_figures(struct screen *s, const struct view *v)
{
	if (!v->figures)
		return;
	str_addf(&s->line, "\n%s: ", v->name);
	add_text(s, v->figures, 2);
	str_addc(&s->line, '\n');
}

void close_page(struct screen *s, const json_t *end)
{
	int64_t status = jint(end, "status", 0), bytes = jint(end, "bytes", 0);
	size_t names = s->name_columns;
	char text[24];

	if (s->view_count > MANY && names < strlen("99999 machines"))
		names = strlen("99999 machines");
	if (s->view_count)
		add_head(s, names);
	add_rows(s, names);
	trim(&s->line);
	if (s->view_count > MANY)
		add_faults(s);
	for (size_t i = 0; i < s->view_count && s->view_count <= MANY; i++)
		add_figures(s, s->views[i]);
	text_duration((uint64_t)jint(end, "ms", 0), text);
	str_addf(&s->line, "\n%s%s%s: %s", paint(s, status ? P_RED : P_GREEN), s->kind,
		 paint(s, P_OFF), end_word(s, status));
	str_addf(&s->line, ", %s", text);
	if (bytes > 0) {
		text_size((uint64_t)bytes, text);
		str_addf(&s->line, ", %s moved", text);
	}
	str_addc(&s->line, '\n');
	add_next(s, end);
}
