/* SPDX-License-Identifier: Apache-2.0
 * steps - one step: its verb, the keys that place it, what it is known by.
 */
#include "engine/plan/private.h"

#include "engine/base/io.h"
#include "engine/base/text.h"

#include <fcntl.h>
#include <string.h>

/* ---- reading --------------------------------------------------------------------- */

static bool stands_in(const struct module *m, const char *phase, const char **verb)
{
	const char *dot = strchr(m->name, '.');
	size_t n = (size_t)(dot - m->name);

	*verb = dot + 1;
	return (strlen(phase) == n && strncmp(m->name, phase, n) == 0) ||
	       strncmp(m->name, "any.", 4) == 0;
}

static void unknown_verb(struct loader *l, enum phase phase, const struct yaml_node *at)
{
	const char *verbs[128], *verb;
	size_t count = 0;
	AUTO_STR all = { 0 };
	struct err *e = load_error(l, at, "the phase %s has no verb '%s'",
				   phase_names[phase], at->text);

	for (int p = 0; p < PHASE_COUNT; p++)
		if (p != (int)phase && module_find((enum phase)p, at->text)) {
			err_hint(e, "'%s' belongs to the phase %s", at->text,
				 phase_names[p]);
			return;
		}
	for (size_t i = 0; modules[i] && count < ARRAY_LEN(verbs); i++)
		if (stands_in(modules[i], phase_names[phase], &verb)) {
			verbs[count++] = verb;
			str_addf(&all, "%s%s", all.len ? ", " : "", verb);
		}
	const char *near = text_near(at->text, verbs, count);
	if (near)
		hint_near(e, near);
	else
		err_hint(e, "it has %s", all.len ? all.s : "none");
}

/* A control key's text. NULL when absent or wrong (told). */
static const char *control(struct loader *l, const struct yaml_node *args,
			   const char *name)
{
	const struct yaml_node *n = yaml_get(args, name);
	bool open = false;

	if (!n)
		return NULL;
	/* "off" is a step of ours, and fine as an id. */
	bool odd = yaml_is_scalar(n) && n->plain && yaml_is_odd(n->text);
	const struct param *row = step_control(name);
	if ((!odd || row->type != P_STR) && !schema_param(l, row, n, SCOPE_PLAN, NULL))
		return NULL;
	return vars_text(l, n, SCOPE_PLAN, &open);
}

/* "drain" or "cutover.drain" -> "drain" */
static const char *own_phase(enum phase phase, const char *id)
{
	size_t n = strlen(phase_names[phase]);

	return id && strncmp(id, phase_names[phase], n) == 0 && id[n] == '.' ?
		id + n + 1 : id;
}

struct step_src *step_read(struct loader *l, enum phase phase, struct yaml_node *item)
{
	struct yaml_node *verb = item, *args = NULL;

	if (item->kind == YAML_MAP && item->count == 1) {
		verb = item->pairs[0].key;
		args = item->pairs[0].value;
	}
	if (!yaml_is_scalar(verb) || (verb->kind == YAML_NULL && verb->plain)) {
		struct err *e = load_error(l, item, "a step is one verb with its parameters, "
					   "not %s", item->kind == YAML_MAP ? "a map of many" :
					   yaml_kind_name(item));
		err_hint(e, "write - VERB: { key: value }, or indent the keys below the verb");
		return NULL;
	}
	if (args && args->kind == YAML_NULL && args->plain)
		args = NULL;
	if (args && args->kind != YAML_MAP) {
		err_hint(load_error(l, args, "the parameters of '%s' must be a map, not %s",
				    verb->text, yaml_kind_name(args)),
			 "write - %s: { key: value }", verb->text);
		return NULL;
	}
	const char *id = control(l, args, "id");
	if (id && !text_name_ok(id)) {
		load_error(l, yaml_get(args, "id"), "'%s' cannot be an id", id);
		return NULL;
	}
	const char *skip = control(l, args, "skip");
	struct step_src *s = arena_alloc(l->arena, sizeof(*s));
	*s = (struct step_src){
		.phase = phase, .verb = verb->text, .id = id ? id : verb->text,
		.node = verb, .args = args,
		.before = own_phase(phase, control(l, args, "before")),
		.after = own_phase(phase, control(l, args, "after")),
		.skip = skip && strcmp(skip, "true") == 0,
	};
	if (s->before && s->after)
		err_hint(load_error(l, yaml_get(args, "after"), "step '%s' has both before "
				    "and after", s->id), "one place is enough; use `needs` "
			 "for what must be done first");
	return s;
}

/* ---- compiling -------------------------------------------------------------------- */

static bool type_at(struct loader *l, const struct step_src *s, struct plan_step *step)
{
	const struct yaml_node *n = yaml_get(s->args, "at");

	step->at = control(l, s->args, "at");
	if (!n)
		return true;
	if (!step->at)
		return false;
	if (step->module->place != ON_AT && step->module->place != IN_ENGINE) {
		err_hint(load_error(l, n, "%s runs where it must, `at` cannot move it",
				    step->module->name), "leave `at` away");
		return false;
	}
	if (!strcmp(step->at, "source") || !strcmp(step->at, "target") ||
	    !strcmp(step->at, "fence"))
		return true;
	return host_use(l, n, step->at) >= 0;
}

/* "facts.guest.os.id == debian" */
bool step_split_when(const char *when, char **path, char *op, char **value)
{
	static const char *const ops[] = { "==", "!=", "<=", ">=", "<", ">" };
	size_t n = strcspn(when, " =!<>");
	const char *at = when + n + strspn(when + n, " ");

	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		size_t len = strlen(ops[i]);
		if (strncmp(at, ops[i], len) != 0)
			continue;
		at += len + strspn(at + len, " ");
		if (!n || !*at)
			return false;
		*path = mem_strndup(when, n);
		*value = mem_strdup(at);
		memcpy(op, ops[i], len + 1);
		return true;
	}
	return false;
}

static bool type_when(struct loader *l, const struct step_src *s, struct plan_step *step)
{
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *value = NULL;
	char op[3];

	step->when = control(l, s->args, "when");
	if (!step->when)
		return !yaml_get(s->args, "when");
	if (step_split_when(step->when, &path, op, &value) &&
	    strncmp(path, "facts.", 6) == 0 && path[6])
		return true;
	err_hint(load_error(l, yaml_get(s->args, "when"), "'when' cannot be read: '%s'",
			    step->when), "write facts.NAME.FIELD == VALUE, like "
		 "facts.guest.os.id == debian; logic belongs into a check");
	return false;
}

static bool type_needs(struct loader *l, const struct step_src *s, struct plan_step *step)
{
	const struct yaml_node *n = yaml_get(s->args, "needs");
	static const struct param item = { .name = "needs", .type = P_STR };
	bool open = false;

	if (!n)
		return true;
	if (n->kind != YAML_LIST)
		return schema_param(l, step_control("needs"), n, SCOPE_PLAN, NULL);
	const char **needs = arena_alloc(l->arena, (n->count + 1) * sizeof(*needs));
	for (uint32_t i = 0; i < n->count; i++) {
		const struct yaml_node *v = n->items[i];
		bool odd = yaml_is_scalar(v) && v->plain && yaml_is_odd(v->text);
		if (!odd && !schema_param(l, &item, v, SCOPE_PLAN, NULL))
			return false;
		needs[i] = vars_text(l, v, SCOPE_PLAN, &open);
	}
	step->needs = needs;
	return true;
}

/* A check is what its file says. */
static void digest_file(const struct loader *l, const struct plan_step *step,
			struct str *all)
{
	const char *file = jstr(step->args, "file", NULL);
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *text = NULL;
	uint8_t sum[SHA256_LEN];
	size_t n;

	if (step->module->place != IN_ENGINE || !file)
		return;
	path = *file == '/' ? mem_strdup(file) : mem_printf("%s/%s", l->plan->dir, file);
	text = io_read_file(AT_FDCWD, path, 1 << 20, &n);
	if (!text)
		return;		/* a ready-made one */
	sha256_of(text, n, sum);
	str_addn(all, sum, sizeof(sum));
}

static void digest_step(const struct loader *l, struct step_src *s, const struct plan_step *step)
{
	const char *const parts[] = { phase_names[step->phase], step->id, step->verb,
				      step->at, step->when };
	AUTO_FREE char *args = json_canonical(step->args);
	AUTO_STR all = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		str_add(&all, parts[i] ? parts[i] : "");
		str_addc(&all, '\0');
	}
	for (size_t i = 0; step->needs && step->needs[i]; i++) {
		str_add(&all, step->needs[i]);
		str_addc(&all, '\0');
	}
	str_add(&all, args);
	digest_file(l, step, &all);
	sha256_of(all.s, all.len, s->digest);
}

static struct plan_step *enter(struct loader *l, const struct plan_step *like)
{
	struct plan_private *priv = l->plan->priv;
	struct plan_step *step = arena_alloc(l->arena, sizeof(*step));

	*step = *like;
	priv->steps = mem_grow(priv->steps, priv->step_count, &priv->step_cap,
			       sizeof(*priv->steps));
	priv->steps[priv->step_count++] = step;
	return step;
}

const struct plan_step *step_enter(struct loader *l, const struct plan_step *like)
{
	return enter(l, like);
}

const struct plan_step *step_compile(struct loader *l, struct step_src *s)
{
	if (s->tried)
		return s->step;
	s->tried = true;
	const struct module *m = module_find(s->phase, s->verb);
	if (!m || strncmp(m->name, "call.", 5) == 0) {
		unknown_verb(l, s->phase, s->node);
		return NULL;
	}
	struct plan_step *step = enter(l, &(struct plan_step){
		.phase = s->phase, .id = s->id, .verb = s->verb, .module = m,
		.args = json_object(), .place = yaml_place(s->node),
		.from_recipe = s->recipe,
	});
	bool ok = step_type_args(l, s, m, step->args);
	ok &= type_at(l, s, step);
	ok &= type_when(l, s, step);
	ok &= type_needs(l, s, step);
	if (!ok)
		return NULL;
	digest_step(l, s, step);
	s->step = step;
	return step;
}
