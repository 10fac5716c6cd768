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

static void add_row(struct screen *s, const struct view *v, size_t names)
{
	char took[24] = "-";

	add_name(s, v->name, names, names + 2);
	for (int p = 0; p < PHASE_COUNT; p++) {
		enum mark m = v->busy && v->phase == p && v->marks[p] != MARK_FAILED ?
			MARK_BUSY : v->marks[p];

		add_word(s, m, phase_columns(s, p));
	}
	add_cell(&s->line, v->serves ? v->serves : "-", 7, false);
	if (v->took_ms)
		text_duration(v->took_ms, took);
	str_addf(&s->line, "  %s\n", took);
}

static bool any_failed(const struct screen *s)
{
	for (size_t i = 0; i < s->view_count; i++)
		for (int p = 0; p < PHASE_COUNT; p++)
			if (s->views[i]->marks[p] == MARK_FAILED)
				return true;
	return false;
}

static const char *end_word(const struct screen *s, int64_t status)
{
	switch (status) {
	case 0: return "done";
	case 1: return any_failed(s) ? "a step FAILED, see above" : "refused";
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

void close_page(struct screen *s, const json_t *end)
{
	int64_t status = jint(end, "status", 0), bytes = jint(end, "bytes", 0);
	size_t names = s->name_columns;
	char text[24];

	if (s->view_count)
		add_head(s, names);
	for (size_t i = 0; i < s->view_count; i++)
		add_row(s, s->views[i], names);
	trim(&s->line);
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
