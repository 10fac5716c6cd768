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

static int percent(uint64_t done, uint64_t total)
{
	return (int)(done >= total ? 100 : (double)done * 100 / (double)total);
}

/* "data pass 2 61%": which disk, from its second pass on which, and how far that one is. */
static void add_what(struct str *b, const json_t *p)
{
	const char *what = jstr(p, "what", "");
	int64_t pass = jint(p, "pass", 0), part = jint(p, "part.total", 0);

	str_add_safe(b, what + strspn(what, " \t"));
	if (pass > 1)
		str_addf(b, " pass %lld", (long long)pass);
	if (part > 0)
		str_addf(b, " %d%%", percent((uint64_t)jint(p, "part.done", 0), (uint64_t)part));
	str_add(b, "  ");
}

/* "25s  Booting the kernel": for how long first, since what it waits for may be wide. */
static void add_wait(struct str *b, const json_t *p, uint64_t seconds)
{
	const char *what = jstr(p, "what", "");
	char text[24];

	text_duration(seconds * 1000, text);
	str_add(b, text);
	what += strspn(what, " \t");
	if (*what)
		str_add(b, "  ");
	str_add_safe(b, what);
}

void live_progress_text(const struct screen *s, const struct view *v, struct str *b)
{
	const json_t *p = v->progress;
	uint64_t done = (uint64_t)jint(p, "done", 0), total = (uint64_t)jint(p, "total", 0);
	uint64_t rate = (uint64_t)jint(p, "rate", 0), left = (uint64_t)jint(p, "left_ms", 0);
	const char *unit = jstr(p, "unit", "");
	char text[24];

	(void)s;
	if (strcmp(unit, "s") == 0) {
		add_wait(b, p, done);
		return;
	}
	if (jstr(p, "what", NULL))
		add_what(b, p);
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
		str_addf(b, "  %d%%", percent(done, total));
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

static bool is_shown(const struct view *v)
{
	return v->busy || v->rests_until;
}

static char *step_of(const struct view *v)
{
	return mem_printf("%s.%s", phase_names[v->phase], v->step);
}

/* Columns that names and steps take: of a narrow terminal they leave as much as they can. */
struct columns { size_t name, step; };

static struct columns columns_of(const struct screen *s)
{
	struct columns c = { 7, 0 };

	for (size_t i = 0; i < s->view_count; i++) {
		const struct view *v = s->views[i];
		AUTO_FREE char *step = is_shown(v) ? step_of(v) : NULL;
		size_t name = text_columns(v->name), wide = step ? text_columns(step) : 0;

		c.name = step && name > c.name ? name : c.name;
		c.step = wide > c.step ? wide : c.step;
	}
	c.name = c.name > name_limit(s) ? name_limit(s) : c.name;
	c.step = c.step > 20 ? 20 : c.step;
	return c;
}

#define LATE_MS 1000	/* then it is no rest any more that keeps it */

/* "next pass in 42s": whole seconds, the last one until it begins. */
void live_rest_text(const struct screen *s, const struct view *v, struct str *b)
{
	uint64_t now = screen_now(s), left = v->rests_until > now ? v->rests_until - now : 1;
	char text[24];

	if (now >= v->rests_until + LATE_MS) {
		str_add(b, "next pass when it is its turn");
		return;
	}
	text_duration((left + 999) / 1000 * 1000, text);
	str_addf(b, "next pass in %s", text);
}

static void add_view(struct screen *s, const struct view *v, struct str *b, struct columns c)
{
	uint64_t since = screen_now(s) - v->since_ms;
	AUTO_FREE char *step = step_of(v);
	char text[24];

	add_cell(b, v->name, c.name, true);
	str_add(b, "  ");
	add_cell(b, step, c.step, true);
	str_add(b, "  ");
	if (v->rests_until) {
		live_rest_text(s, v, b);
	} else if (v->progress) {
		live_progress_text(s, v, b);
	} else {
		str_add(b, v->state);
		if (since >= 1000) {
			text_duration(since / 1000 * 1000, text);
			str_addf(b, " %s", text);
		}
	}
}

/* Of many machines: how far the run is. */
static void add_all(struct screen *s, struct str *b)
{
	size_t begun = 0, failed = 0, before = b->len;

	for (size_t i = 0; i < s->view_count; i++) {
		const struct view *v = s->views[i];
		bool any = v->busy;

		for (int p = 0; p < PHASE_COUNT; p++)
			any |= v->marks[p] != MARK_NONE;
		begun += any;
		failed += v->fault != NULL;
	}
	str_addf(b, "%zu of %zu machines begun", begun, s->view_count);
	if (failed)
		str_addf(b, ", %zu FAILED", failed);
	s->columns[s->region++] = b->len - before;
	str_addc(b, '\n');
}

void live_draw(struct screen *s)
{
	size_t width = (size_t)s->o.width(s->o.arg), busy = 0, shown = 0;
	struct columns columns = columns_of(s);
	AUTO_STR all = {0};

	for (size_t i = 0; i < s->view_count; i++)
		busy += is_shown(s->views[i]);
	live_erase(s, &all);
	for (size_t i = 0; i < s->view_count && shown < REGION_MAX - 2; i++) {
		AUTO_STR line = {0};
		size_t n;

		if (!is_shown(s->views[i]))
			continue;
		add_view(s, s->views[i], &line, columns);
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
	if (busy && s->view_count > MANY)
		add_all(s, &all);
	if (all.len) {
		fwrite(all.s, 1, all.len, s->o.out);
		fflush(s->o.out);
	}
}
