/* SPDX-License-Identifier: Apache-2.0
 * screen_lines - the lines of a run that stay above the live region.
 */
#include "engine/base/text.h"
#include "engine/cli/screen_priv.h"

#include <string.h>

void screen_hide(struct screen *s)
{
	live_erase(s, &s->line);
	if (s->line.len)
		fwrite(s->line.s, 1, s->line.len, s->o.out);
	s->line.len = 0;
	fflush(s->o.out);
}

/* "10:00:03  " from the event's own time. */
void begin_line(struct screen *s, const json_t *ev)
{
	const char *at = jstr(ev, "at", "");

	live_erase(s, &s->line);
	str_addf(&s->line, "%s%.8s%s  ", paint(s, P_DIM), strlen(at) >= 19 ? at + 11 : "--:--:--",
		 paint(s, P_OFF));
}

void end_line(struct screen *s)
{
	str_addc(&s->line, '\n');
	fwrite(s->line.s, 1, s->line.len, s->o.out);
	s->line.len = 0;
	fflush(s->o.out);
}

void begin_step_line(struct screen *s, const json_t *ev)
{
	const char *phase = jstr(ev, "phase", NULL), *step = jstr(ev, "step", "");
	AUTO_FREE char *full = phase ? mem_printf("%s.%s", phase, step) : mem_strdup(step);

	begin_line(s, ev);
	add_name(s, jstr(ev, "machine", ""), s->name_columns, hang(s));
	add_cell(&s->line, full, 20, false);
	str_add(&s->line, "  ");
}

/* Where the text of a run's lines begins: behind the time, and behind the name. */
size_t hang(const struct screen *s)
{
	return TIME_COLUMNS + s->name_columns + 2;
}

/* The host whose being down is the error, when that was told; or NULL. */
static const char *down_host(const struct screen *s, const char *error)
{
	const char *name;
	json_t *ev;

	json_object_foreach(s->hosts, name, ev)
		if (*jstr(ev, "down", "") && strstr(error, jstr(ev, "down", "")))
			return name;
	return NULL;
}

void add_step_error(struct screen *s, const json_t *ev, size_t indent)
{
	const char *error = jstr(ev, "error", "(nothing said)");
	const char *host = down_host(s, error), *place = jstr(ev, "place", NULL);

	if (host) {
		AUTO_FREE char *text = mem_printf("host %s is DOWN, see above", host);

		add_text(s, text, indent);
	} else {
		add_text(s, error, indent);
		add_below(s, jstr(ev, "hint", NULL), indent);
	}
	if (place) {
		AUTO_FREE char *text = mem_printf("the step stands at %s", place);

		add_below(s, text, indent);
	}
}

void step_line(struct screen *s, const json_t *ev, enum paint p, const char *word,
	       uint64_t took_ms)
{
	char took[24];

	begin_step_line(s, ev);
	str_addf(&s->line, "%s%s%s", paint(s, p), word, paint(s, P_OFF));
	if (took_ms >= 1000) {
		text_duration(took_ms, took);
		str_addf(&s->line, " in %s", took);
	}
	if (jint(ev, "attempt", 1) > 1)
		str_addf(&s->line, " (attempt %lld of %lld)", (long long)jint(ev, "attempt", 1),
			 (long long)jint(ev, "attempts", 1));
	if (jstr(ev, "error", NULL)) {
		str_add(&s->line, ": ");
		add_step_error(s, ev, hang(s));
	}
	end_line(s);
}
