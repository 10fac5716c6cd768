/* SPDX-License-Identifier: Apache-2.0
 * input - what a call is given: arguments, machine, facts, what was kept.
 */
#include "engine/base/io.h"
#include "engine/run/op.h"
#include "engine/run/record.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

char *step_key(const struct plan_step *s)
{
	return mem_printf("%s.%s", phase_names[s->phase], s->id);
}

/* ---- kept material: one file of the tree each -------------------------------------- */

/* A name may be a path; in the tree it is one file name. */
static void add_escaped(struct str *b, const char *name)
{
	for (const char *p = name; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (isalnum(c) || c == '_' || c == '-' || (c == '.' && p != name))
			str_addc(b, *p);
		else
			str_addf(b, "%%%02X", c);
	}
}

static char *unescape(const char *name, size_t n)
{
	AUTO_STR b = { 0 };

	for (size_t i = 0; i < n; i++) {
		char hex[3] = { 0 };

		if (name[i] != '%' || i + 2 >= n) {
			str_addc(&b, name[i]);
			continue;
		}
		memcpy(hex, name + i + 1, 2);
		str_addc(&b, (char)strtol(hex, NULL, 16));
		i += 2;
	}
	return str_take(&b);
}

#define BINARY ".base64"

char *kept_path(const char *key, const char *name, bool binary)
{
	AUTO_STR b = { 0 };

	str_addf(&b, "steps/%s/undo/", key);
	add_escaped(&b, name);
	str_add(&b, binary ? BINARY : ".text");
	return str_take(&b);
}

bool kept_has(const struct run *r, const struct mach *m, const char *key,
	      const char *name)
{
	const json_t *tree = r->state ? state_tree(r->state, m->name) : NULL;
	AUTO_FREE char *text = kept_path(key, name, false);
	AUTO_FREE char *binary = kept_path(key, name, true);

	return json_object_get(tree, text) || json_object_get(tree, binary);
}

json_t *kept_get(const struct run *r, const struct mach *m, const char *key)
{
	const json_t *tree = r->state ? state_tree(r->state, m->name) : NULL;
	AUTO_FREE char *prefix = mem_printf("steps/%s/undo/", key);
	size_t len = strlen(prefix);
	json_t *out = json_object(), *text;
	const char *path;

	json_object_foreach((json_t *)tree, path, text) {
		const char *dot = strncmp(path, prefix, len) ? NULL : strrchr(path + len, '.');

		if (!dot)
			continue;
		AUTO_FREE char *name = unescape(path + len, (size_t)(dot - path) - len);
		json_t *one = json_object();
		json_object_set(one, strcmp(dot, BINARY) ? "text" : "base64", text);
		jset(out, name, one);
	}
	return out;
}

/* ---- the machine ---------------------------------------------------------------------- */

/* A disk as a plan would name it, from what assess saw. */
static json_t *disk_said(const json_t *seen)
{
	json_t *said = json_copy(jget(seen, "ids"));

	jset(said, "format", json_incref(jget(seen, "format")));
	jset(said, "copy", json_incref(jget(seen, "copy")));
	return said;
}

/* Of a domain the plan names no disks: they are known once assess has asked for them. */
json_t *input_machine(const struct run *r, const struct mach *m)
{
	const json_t *spec = plan_machine_spec(r->plan, m->index), *disk;
	const json_t *seen = jget(json_object_get(m->facts, "machine"), "stable.disks");
	json_t *own, *disks;
	size_t i;

	if (!spec || strcmp(jstr(spec, "source.kind", ""), "domain") != 0 || !seen)
		return json_incref((json_t *)spec);
	own = json_deep_copy(spec);
	disks = json_object();
	json_array_foreach(seen, i, disk)
		jset(disks, jstr(disk, "name", ""), disk_said(disk));
	jset(jget(own, "source"), "disks", disks);
	plan_place_disks(own);
	return own;
}

/* ---- the input ---------------------------------------------------------------------- */

/* The codes of what the plan accepts of this machine now. */
static json_t *accepted(const struct run *r, const struct mach *m)
{
	json_t *codes = json_array();

	for (uint32_t i = 0; i < r->plan->accept_count; i++)
		if (finding_waived(r, m, r->plan->accept[i].finding, NULL))
			jadd(codes, json_string(r->plan->accept[i].finding));
	return codes;
}

json_t *input_run(const struct run *r, uint32_t host, const char *step)
{
	json_t *o = json_object();

	jset_str(o, "plan", r->plan->name);
	jset_str(o, "plan_dir", r->plan->dir);
	jset_str(o, "run", r->writes ? state_run_id(r->state) : "preview");
	jset_int(o, "epoch", r->writes ? (int64_t)state_epoch(r->state) : 0);
	jset_str(o, "lineage", r->state ? state_lineage(r->state) : NULL);
	if (r->writes)
		jset_str(o, "holder", state_who(r->state));
	if (host != UINT32_MAX)
		jset_str(o, "host", r->plan->hosts[host].name);
	jset_str(o, "step", step);
	jset_bool(o, "preview", run_is_preview(r) || r->mute);
	return o;
}

json_t *input_args(const struct run *r, const struct mach *m, uint32_t node,
		   struct err *e)
{
	AUTO_JSON *facts = facts_merged(m->facts, NULL);

	return plan_step_args(r->plan, m->index, r->graph->nodes[node].step, facts, e);
}

/* What others told: a bare probe must not see the step's own facts either. */
static json_t *facts_of_others(const struct mach *m, const char *key)
{
	json_t *out = json_object(), *fact;
	const char *name;

	json_object_foreach(m->facts, name, fact)
		if (strcmp(jstr(fact, "step", ""), key))
			json_object_set(out, name, fact);
	return out;
}

/* The arguments as the module gets them: references to secrets filled in where its table
 * allows them. New; NULL with e. */
static json_t *args_with_secrets(const struct op *o, json_t *args, struct err *e)
{
	AUTO_JSON *out = NULL;

	for (const struct param *p = o->module->params; p && p->name; p++) {
		bool may = p->words && !strcmp(p->words, PARAM_SECRET);
		json_t *value = may ? json_object_get(args, p->name) : NULL, *filled;

		if (!value)
			continue;
		filled = plan_secrets_in(o->r->plan, value, e);
		if (!filled)
			return NULL;
		if (!out)
			out = json_copy(args);
		jset(out, p->name, filled);
	}
	return json_incref(out ? out : args);
}

/* Does it switch power: where the plan says, or, at the source, what it is to shut down? */
static bool switches_power(const struct module *mod, const json_t *spec)
{
	const char *at = jstr(spec, "source.power.command.at", "");

	return mod->place == ON_POWER ||
	       ((mod->flags & MOD_SOURCE_HELD) && mod->undo &&
		(!strcmp(at, "source") || !strcmp(at, jstr(spec, "source.host", "?"))));
}

/* What its power's programs read, for those who run them; to all others it stays a
 * reference. New; NULL with e. */
static json_t *spec_with_secret(const struct op *o, json_t *spec, struct err *e)
{
	const char *said = jstr(spec, "source.power.command.stdin", NULL);
	json_t *own;

	if (!plan_is_secret(said) || !switches_power(o->module, spec))
		return json_incref(spec);
	said = plan_secret(o->r->plan, said, e);
	if (!said)
		return NULL;
	own = json_deep_copy(spec);
	jset_str(jget(own, "source.power.command"), "stdin", said);
	return own;
}

json_t *input_make(const struct op *o, const struct place_end *at, json_t *args, struct err *e)
{
	static const char *const none[] = { NULL };
	const struct module *mod = o->module;
	AUTO_JSON *spec = input_machine(o->r, o->m);
	AUTO_FREE char *key = step_key(o->step);
	AUTO_JSON *facts = o->bare ? facts_of_others(o->m, key) :
			   json_incref(o->m->facts);
	AUTO_FREE char *asked = json_canonical(args);
	AUTO_JSON *filled = NULL, *known = NULL;
	char hash[SHA256_HEX];
	json_t *in, *run;

	if (!spec) {
		err_set(e, ERR_PLAN, "cannot describe machine '%s'", o->m->name);
		return NULL;
	}
	filled = args_with_secrets(o, args, e);
	known = spec_with_secret(o, spec, e);
	if (!filled || !known)
		return NULL;
	in = json_object();
	json_object_set(in, "args", filled);
	json_object_set(in, "machine", known);
	/* A check reads what it likes; a module gets what it says it wants. */
	jset(in, "facts", facts_merged(facts, mod->place == IN_ENGINE ? NULL :
				       mod->wants ? mod->wants : none));
	jset(in, "kept", o->bare ? json_object() : kept_get(o->r, o->m, key));
	jset_str(in, "role", at->role);
	run = input_run(o->r, at->host, key);
	jset_str(run, "evidence", o->as ? o->as : key);
	sha256_hex(asked ? asked : "", asked ? strlen(asked) : 0, hash);
	jset_str(run, "asked", hash);	/* of references, never of secrets */
	jset_str(run, "serves", meta_serves(o->r, o->m));
	jset(run, "accepted", accepted(o->r, o->m));
	jset(in, "run", run);
	return in;
}
