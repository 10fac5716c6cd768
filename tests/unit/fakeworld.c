/* SPDX-License-Identifier: Apache-2.0
 * fakeworld - the pretend world: its numbers, what was asked of it, the fault that strikes.
 */
#include "tests/unit/fakecall.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct fake_var *var_of(struct fake_world *w, const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(w->vars) && w->vars[i].name[0]; i++)
		if (!strcmp(w->vars[i].name, name))
			return &w->vars[i];
	assert_true(i < ARRAY_LEN(w->vars));
	snprintf(w->vars[i].name, sizeof(w->vars[i].name), "%s", name);
	return &w->vars[i];
}

struct fake_seen *fakecall_seen(struct fake_world *w, const char *module,
				 const char *role)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(w->seen) && w->seen[i].module[0]; i++)
		if (!strcmp(w->seen[i].module, module) && !strcmp(w->seen[i].role, role))
			return &w->seen[i];
	assert_true(i < ARRAY_LEN(w->seen));
	snprintf(w->seen[i].module, sizeof(w->seen[i].module), "%s", module);
	snprintf(w->seen[i].role, sizeof(w->seen[i].role), "%s", role);
	return &w->seen[i];
}

void fakecall_broken(struct fake_world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->broken[0])
		return;
	va_start(ap, fmt);
	vsnprintf(w->broken, sizeof(w->broken), fmt, ap);
	va_end(ap);
}

int fake_get(const struct fake *f, const char *var)
{
	return var_of(f->w, var)->value;
}

/* Nobody may ever see both of them serve. */
void fake_set(struct fake *f, const char *var, int value)
{
	var_of(f->w, var)->value = value;
	if (fake_get(f, "a.serving") == 1 && fake_get(f, "b.serving") == 1)
		fakecall_broken(f->w, "source and target serve at once, after %s = %d", var, value);
}

void fake_strike(struct fake *f, enum fault fault, int at)
{
	f->w->fault = fault;
	f->w->countdown = at;
	f->w->boundaries = 0;
}

bool fakecall_boundary(struct fake *f)
{
	f->w->boundaries++;
	if (f->w->fault == FAULT_NONE || --f->w->countdown != 0)
		return false;
	if (f->w->fault == FAULT_KILL)
		_exit(FAKE_KILLED);
	return true;
}

int fake_applies(const struct fake *f, const char *module)
{
	int n = 0;

	for (size_t i = 0; i < ARRAY_LEN(f->w->seen); i++)
		if (!strcmp(f->w->seen[i].module, module))
			n += f->w->seen[i].applies;
	return n;
}

int fake_probes(const struct fake *f, const char *module)
{
	int n = 0;

	for (size_t i = 0; i < ARRAY_LEN(f->w->seen); i++)
		if (!strcmp(f->w->seen[i].module, module))
			n += f->w->seen[i].probes;
	return n;
}

const json_t *fake_event(const struct fake *f, const char *type, const char *key,
			 const char *value)
{
	json_t *e;
	size_t i;

	json_array_foreach(f->events, i, e)
		if (!strcmp(jstr(e, "t", ""), type) &&
		    (!value || !strcmp(jstr(e, key, ""), value)))
			return e;
	return NULL;
}

int fake_events(const struct fake *f, const char *type, const char *key,
		const char *value)
{
	json_t *e;
	size_t i;
	int n = 0;

	json_array_foreach(f->events, i, e)
		n += !strcmp(jstr(e, "t", ""), type) &&
		     (!value || !strcmp(jstr(e, key, ""), value));
	return n;
}
