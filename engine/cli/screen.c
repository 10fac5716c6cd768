/* SPDX-License-Identifier: Apache-2.0
 * screen - what is known of each machine, and when it is drawn.
 */
#include "engine/cli/screen_priv.h"
#include "engine/base/text.h"

#include <stdlib.h>
#include <string.h>

#define REDRAW_MS 100

static const char *const codes[P_COUNT] = {
	[P_OFF] = "\x1b[0m", [P_BOLD] = "\x1b[1m", [P_DIM] = "\x1b[2m",
	[P_RED] = "\x1b[31m", [P_GREEN] = "\x1b[32m", [P_YELLOW] = "\x1b[33m",
};

const char *paint(const struct screen *s, enum paint p)
{
	return s->o.color ? codes[p] : "";
}

uint64_t screen_now(const struct screen *s)
{
	return s->o.clock->mono_ms(s->o.clock->arg);
}

/* ---- machines ------------------------------------------------------------ */

size_t name_limit(const struct screen *s)
{
	return s->o.width(s->o.arg) >= 100 ? 32 : 24;
}

struct view *screen_view(struct screen *s, const char *name)
{
	const json_t *known = json_object_get(s->index, name);
	size_t columns = text_columns(name);
	struct view *v;

	if (known)
		return s->views[json_integer_value(known)];
	v = mem_alloc(sizeof(*v));
	v->name = mem_strdup(name);
	v->steps = json_array();
	jset_int(s->index, name, (int64_t)s->view_count);
	if (columns > s->name_columns && columns <= name_limit(s))
		s->name_columns = columns;
	s->views = mem_grow(s->views, s->view_count, &s->view_cap, sizeof(struct view *));
	s->views[s->view_count++] = v;
	return v;
}

static void view_free(struct view *v)
{
	free(v->name);
	free(v->title);
	free(v->serves);
	free(v->step);
	free(v->state);
	free(v->fault);
	json_decref(v->progress);
	json_decref(v->steps);
	json_decref(v->downtime);
	free(v->figures);
	free(v);
}

void keep(char **p, const char *s)
{
	char *copy = mem_strdup(s);

	free(*p);
	*p = copy;
}

struct screen *screen_new(const struct screen_options *o)
{
	struct screen *s = mem_alloc(sizeof(*s));

	s->o = *o;
	s->findings = json_array();
	s->lost = json_array();
	s->hosts = json_object();
	s->index = json_object();
	s->name_columns = 7;
	return s;
}

void screen_free(struct screen *s)
{
	if (!s)
		return;
	screen_hide(s);
	for (size_t i = 0; i < s->view_count; i++)
		view_free(s->views[i]);
	free(s->views);
	free(s->kind);
	free(s->plan);
	free(s->file);
	free(s->typed);
	free(s->run);
	json_decref(s->findings);
	json_decref(s->lost);
	json_decref(s->hosts);
	json_decref(s->index);
	str_free(&s->line);
	free(s);
}

void screen_machine(struct screen *s, const char *name, const char *title,
		    const char *serves)
{
	struct view *v = screen_view(s, name);

	keep(&v->title, title);
	keep(&v->serves, serves);
}

void screen_tick(struct screen *s)
{
	uint64_t now = screen_now(s);

	if (!s->o.live || (s->region && now - s->drawn_ms < REDRAW_MS))
		return;
	s->drawn_ms = now;
	live_draw(s);
}
