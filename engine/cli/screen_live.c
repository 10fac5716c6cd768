/* SPDX-License-Identifier: Apache-2.0
 * screen_live - the region at the bottom of the terminal: one line for each
 * machine at work. Drawn in one write, so that it does not flicker; lines are cut
 * to the width the terminal has now.
 */
#include "engine/base/text.h"
#include "engine/cli/screen_priv.h"

#include <stdlib.h>
#include <string.h>

/* A terminal that was made narrower since has wrapped what was drawn. */
void live_erase(struct screen *s, struct str *b)
{
	size_t width = s->region ? (size_t)s->o.width(s->o.arg) : 1, rows = 0;

	for (int i = 0; i < s->region; i++)
		rows += s->columns[i] > width ? (s->columns[i] + width - 1) / width : 1;
	if (rows)
		str_addf(b, "\r\x1b[%zuA\x1b[J", rows);
	s->region = 0;
}

static void add_amount(struct str *b, uint64_t n, const char *unit)
{
	char text[24];

	if (strcmp(unit, "bytes") == 0) {
		text_size(n, text);
		str_add(b, text);
	} else {
		str_addf(b, "%llu", (unsigned long long)n);
	}
}

void live_progress_text(const struct screen *s, const struct view *v, struct str *b)
{
	const json_t *p = v->progress;
	uint64_t done = (uint64_t)jint(p, "done", 0), total = (uint64_t)jint(p, "total", 0);
	uint64_t rate = (uint64_t)jint(p, "rate", 0), left = (uint64_t)jint(p, "left_ms", 0);
	const char *unit = jstr(p, "unit", "");
	char text[24];

	(void)s;
	if (jstr(p, "what", NULL)) {
		const char *what = jstr(p, "what", "");

		str_add_safe(b, what + strspn(what, " \t"));
		str_add(b, "  ");
	}
	if (strcmp(unit, "s") == 0) {		/* it waits: there is no rate of seconds */
		text_duration(done * 1000, text);
		str_add(b, text);
		return;
	}
	add_amount(b, done, unit);
	if (total) {
		str_add(b, " of ");
		add_amount(b, total, unit);
	}
	if (*unit && strcmp(unit, "bytes") != 0) {
		str_addc(b, ' ');
		str_add_safe(b, unit);
	}
	if (total)
		str_addf(b, "  %d%%", (int)(done >= total ? 100 : (double)done * 100 / (double)total));
	if (rate) {
		str_add(b, "  ");
		add_amount(b, rate, unit);
		str_add(b, "/s");
	}
	if (left && total) {
		text_duration(left >= 1000 ? left / 1000 * 1000 : left, text);
		str_addf(b, "  %s left", text);
	}
}

static void add_view(struct screen *s, const struct view *v, struct str *b, size_t names)
{
	uint64_t since = screen_now(s) - v->since_ms;
	AUTO_FREE char *step = mem_printf("%s.%s", phase_names[v->phase], v->step);
	char text[24];

	add_cell(b, v->name, names, true);
	str_add(b, "  ");
	add_cell(b, step, 20, true);
	str_add(b, "  ");
	if (v->progress) {
		live_progress_text(s, v, b);
	} else {
		str_add(b, v->state);
		if (since >= 1000) {
			text_duration(since / 1000 * 1000, text);
			str_addf(b, " %s", text);
		}
	}
}

void live_draw(struct screen *s)
{
	size_t width = (size_t)s->o.width(s->o.arg), names = 7, busy = 0, shown = 0;
	AUTO_STR all = {0};

	for (size_t i = 0; i < s->view_count; i++) {
		size_t n = text_columns(s->views[i]->name);

		busy += s->views[i]->busy;
		names = s->views[i]->busy && n > names ? n : names;
	}
	names = names > 24 ? 24 : names;
	live_erase(s, &all);
	for (size_t i = 0; i < s->view_count && shown < REGION_MAX - 1; i++) {
		AUTO_STR line = {0};
		size_t n;

		if (!s->views[i]->busy)
			continue;
		add_view(s, s->views[i], &line, names);
		n = text_fit(line.s, width > 1 ? width - 1 : 1);
		line.s[n] = '\0';
		s->columns[shown++] = text_columns(line.s);
		str_addf(&all, "%s\n", line.s);
	}
	s->region = (int)shown;
	if (busy > shown) {
		s->columns[s->region++] = 24;
		str_addf(&all, "and %zu more at work\n", busy - shown);
	}
	if (all.len) {
		fwrite(all.s, 1, all.len, s->o.out);
		fflush(s->o.out);
	}
}
