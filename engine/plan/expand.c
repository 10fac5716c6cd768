/* SPDX-License-Identifier: Apache-2.0
 * expand - the plan written out as YAML that means the same, and its hash. */
#include "engine/plan/private.h"
#include "engine/plan/types.h"

#include "engine/base/io.h"

#include <stdlib.h>
#include <string.h>

/* ---- JSON as YAML --------------------------------------------------------------------- */

static bool is_plain(const char *s)
{
	static const char set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "0123456789_./+@%-";

	return *s && *s != '-' && *s != '@' && *s != '%' && strspn(s, set) == strlen(s) &&
	       yaml_kind_of(s) == YAML_STR && !yaml_is_odd(s);
}

static void put_text(struct str *out, const char *s)
{
	if (is_plain(s)) {
		str_add(out, s);
		return;
	}
	AUTO_JSON *j = json_string(s);
	AUTO_FREE char *quoted = json_dumps(j, JSON_ENCODE_ANY);
	str_add(out, quoted);
}

static bool is_flat(const json_t *v)
{
	const json_t *item;
	size_t i;

	if (json_is_object(v))
		return json_object_size(v) == 0;
	json_array_foreach((json_t *)(uintptr_t)v, i, item)
		if (json_is_object(item) || json_is_array(item))
			return false;
	return true;
}

/* A value that fits behind its key. */
static void put_flat(struct str *out, const json_t *v)
{
	json_t *item;
	size_t i;

	if (json_is_string(v)) {
		put_text(out, json_string_value(v));
	} else if (json_is_object(v)) {
		str_add(out, "{}");
	} else if (json_is_array(v)) {
		str_addc(out, '[');
		json_array_foreach((json_t *)(uintptr_t)v, i, item) {
			str_add(out, i ? ", " : "");
			put_flat(out, item);
		}
		str_addc(out, ']');
	} else {
		AUTO_FREE char *text = json_dumps(v, JSON_ENCODE_ANY);
		str_add(out, text);
	}
}

/* Lines of a map or list at this indent. With `hang` the first line goes on where
 * the text stands, behind "- ". */
static void put_block(struct str *out, const json_t *v, int indent, bool hang)
{
	const char *name;
	json_t *item;
	size_t i;

	json_object_foreach((json_t *)(uintptr_t)v, name, item) {
		str_addf(out, "%*s", hang ? 0 : indent, "");
		hang = false;
		put_text(out, name);
		str_addc(out, ':');
		if (is_flat(item)) {
			str_addc(out, ' ');
			put_flat(out, item);
			str_addc(out, '\n');
		} else {
			str_addc(out, '\n');
			put_block(out, item, indent + 2, false);
		}
	}
	json_array_foreach((json_t *)(uintptr_t)v, i, item) {
		str_addf(out, "%*s- ", indent, "");
		if (is_flat(item)) {
			put_flat(out, item);
			str_addc(out, '\n');
		} else {
			put_block(out, item, indent + 2, true);
		}
	}
}

/* ---- the parts ------------------------------------------------------------------------- */

static json_t *step_written(const struct plan_step *s)
{
	json_t *args = json_object(), *step = json_object(), *needs;

	if (strcmp(s->id, s->verb) != 0)
		jset_str(args, "id", s->id);
	if (s->at)
		jset_str(args, "at", s->at);
	if (s->when)
		jset_str(args, "when", s->when);
	if (s->needs) {
		needs = json_array();
		for (size_t i = 0; s->needs[i]; i++)
			jadd(needs, json_string(s->needs[i]));
		jset(args, "needs", needs);
	}
	for (const struct param *r = s->module->params; r && r->name; r++) {
		const json_t *v = json_object_get(s->args, r->name);
		if (v)
			jset(args, r->name, types_written(r, v));
	}
	jset(step, s->verb, args);
	return step;
}

static json_t *machine_written(struct loader *l, uint32_t i)
{
	static const struct key row = { .form = FORM_MAP, .of = schema_machine };
	const struct plan_machine *m = &l->plan->machines[i];
	AUTO_JSON *typed = spec_written_out(l, i);
	json_t *out = schema_written(&row, typed);

	for (uint32_t s = 0; s < m->step_count; s++) {
		const char *phase = phase_names[m->steps[s]->phase];
		if (!jget(out, phase))
			jset(out, phase, json_array());
		jadd(jget(out, phase), step_written(m->steps[s]));
	}
	return out;
}

static json_t *hosts_written(const struct plan *p)
{
	json_t *hosts = json_object();

	for (uint32_t i = 0; i < p->host_count; i++) {
		json_t *h = json_copy(p->hosts[i].spec);
		json_object_del(h, "name");
		jset(hosts, p->hosts[i].name, h);
	}
	return hosts;
}

static json_t *accept_written(const struct plan *p)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < p->accept_count; i++) {
		const struct plan_accept *a = &p->accept[i];
		json_t *v = json_object();
		jset_str(v, "finding", a->finding);
		if (a->machine)
			jset_str(v, "machine", a->machine);
		if (a->until)
			jset_str(v, "until", a->until);
		jset_str(v, "reason", a->reason);
		jadd(list, v);
	}
	return list;
}

/* A section as it stands, typed and with variables put in. */
static void add_section(struct loader *l, json_t *out, const char *name)
{
	const struct key *k = schema_key(schema_plan, name);
	const struct yaml_node *n = yaml_get(l->root, name);
	json_t *v = NULL;

	if (n && schema_value(l, k, n, SCOPE_PLAN, &v)) {
		jset(out, name, schema_written(k, v));
		json_decref(v);
	}
}

char *plan_expand(const struct plan *p)
{
	struct loader *l = &p->priv->loader;
	AUTO_JSON *head = json_object();
	AUTO_STR out = { 0 };

	jset_str(head, "plan", p->name);
	if (json_object_size(p->secrets))
		jset(head, "secrets", json_deep_copy(p->secrets));
	jset(head, "hosts", hosts_written(p));
	add_section(l, head, "limits");
	add_section(l, head, "maps");
	if (p->accept_count)
		jset(head, "accept", accept_written(p));
	put_block(&out, head, 0, false);
	str_add(&out, "machines:\n");
	for (uint32_t i = 0; i < p->machine_count; i++) {
		AUTO_JSON *one = json_object();
		jset(one, p->machines[i].name, machine_written(l, i));
		put_block(&out, one, 2, false);
	}
	return str_take(&out);
}

/* ---- the hash --------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
	const struct yaml_pair *x = *(const struct yaml_pair *const *)a;
	const struct yaml_pair *y = *(const struct yaml_pair *const *)b;

	return strcmp(x->key->text, y->key->text);
}

/* One text for all ways to write a node: keys sorted, variables put in. The names
 * in `leave` (NULL-terminated) are left out at this level. */
static void canonical(struct loader *l, const struct yaml_node *n,
		      const char *const *leave, struct str *out)
{
	bool open = false;

	if (yaml_is_scalar(n)) {
		const char *text = vars_text(l, n, SCOPE_MACHINE, &open);
		str_addc(out, n->plain ? (char)('0' + n->kind) : (char)('0' + YAML_STR));
		str_add(out, text ? text : "");
		str_addc(out, '\0');
		return;
	}
	str_addc(out, n->kind == YAML_LIST ? '[' : '{');
	for (uint32_t i = 0; n->kind == YAML_LIST && i < n->count; i++)
		canonical(l, n->items[i], NULL, out);
	if (n->kind == YAML_MAP && n->count) {
		AUTO_FREE const struct yaml_pair **order =
			mem_alloc(n->count * sizeof(*order));
		for (uint32_t i = 0; i < n->count; i++)
			order[i] = &n->pairs[i];
		qsort(order, n->count, sizeof(*order), by_key);
		for (uint32_t i = 0; i < n->count; i++) {
			const char *key = order[i]->key->text;
			bool left = false;
			for (const char *const *w = leave; w && *w && !left; w++)
				left = strcmp(*w, key) == 0;
			if (left)
				continue;
			str_add(out, key);
			str_addc(out, '\0');
			canonical(l, order[i]->value, NULL, out);
		}
	}
	str_addc(out, n->kind == YAML_LIST ? ']' : '}');
}

/* The rest is in chains; hashed as compiled. */
static const char *const steps_and_recipe[] = {
	"recipe", "assess", "backup", "convert", "reconfigure", "validate", "cutover", NULL
};

void plan_make_hash(struct loader *l)
{
	static const char *const sections[] = { "plan", "secrets", "hosts", "limits",
						"maps" };
	struct plan *p = l->plan;
	struct sha256 *h = sha256_new();
	uint8_t sum[32];

	for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
		const struct yaml_node *n = yaml_get(l->root, sections[i]);
		AUTO_STR text = { 0 };
		str_add(&text, sections[i]);
		if (n)
			canonical(l, n, NULL, &text);
		sha256_add(h, text.s, text.len);
	}
	for (size_t i = 0; i < l->accept_count; i++) {
		AUTO_STR text = { 0 };
		canonical(l, l->accept[i], NULL, &text);
		sha256_add(h, text.s, text.len);
	}
	AUTO_STR text = { 0 };
	for (uint32_t i = 0; i < p->machine_count; i++) {
		const struct machine_src *m = &p->priv->machines[i];
		text.len = 0;
		str_add(&text, p->machines[i].name);
		canonical(l, m->node, steps_and_recipe, &text);
		sha256_add(h, text.s, text.len);
		sha256_add(h, m->chain->digest, sizeof(m->chain->digest));
	}
	sha256_end(h, sum);
	io_hex(sum, sizeof(sum), p->hash);
}
