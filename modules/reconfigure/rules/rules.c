/* SPDX-License-Identifier: Apache-2.0
 * rules - the table of rules, and what they share.
 */
#include "modules/reconfigure/rules/rules.h"
#include "engine/base/mem.h"
#include "modules/lib/vm.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct rule *const rules[] = {
	&rule_fstab, &rule_crypttab, &rule_grub, &rule_addresses, &rule_nicnames,
	&rule_caches, NULL
};

int rules_run(struct ctx *c, const json_t *spec, const json_t *machine,
	      struct changeset *set, struct err *e)
{
	struct rule_env r = { .c = c, .spec = spec, .machine = machine, .set = set,
			      .err = e };

	for (size_t i = 0; rules[i]; i++) {
		r.rule = rules[i];
		if (rules[i]->run(&r) == 0)
			continue;
		return err_is(e) ? err_wrap(e, "rule '%s'", rules[i]->name)
			: err_sys(e, "cannot work out rule '%s'", rules[i]->name);
	}
	return 0;
}

int rule_put(struct rule_env *r, const char *path, char *text, const char *why)
{
	AUTO_FREE char *own = text;

	if (!own)
		return 0;
	return changeset_put(r->set, path, own, 0644, r->rule->name, why);
}

int rule_put_new(struct rule_env *r, const char *path, const char *text, mode_t mode,
		 const char *why)
{
	return changeset_put(r->set, path, text, mode, r->rule->name, why);
}

void rule_find(struct rule_env *r, const char *severity, const char *code,
	       const char *remedy, const char *fmt, ...)
{
	AUTO_FREE char *text = NULL;
	va_list ap;

	if (!r->c)
		return;
	va_start(ap, fmt);
	text = mem_vprintf(fmt, ap);
	va_end(ap);
	ctx_finding(r->c, severity, code, remedy, "%s", text);
}

int rule_each(struct rule_env *r, const char *dir, const char *ending,
	      int (*fn)(struct rule_env *r, const char *path, const char *text))
{
	AUTO_NAMES **names = gtree_list(r->set->tree, dir);
	size_t tail = strlen(ending);

	for (char **n = names; n && *n; n++) {
		size_t len = strlen(*n);
		AUTO_FREE char *path = mem_printf("%s/%s", dir, *n), *text = NULL;

		if (len <= tail || strcmp(*n + len - tail, ending) != 0 ||
		    !gtree_is_file(r->set->tree, path))
			continue;
		text = changeset_text(r->set, path);
		if (text && fn(r, path, text) < 0)
			return -1;
	}
	return 0;
}

/* ---- interfaces ---------------------------------------------------------------------- */

static char *lower(const char *s)
{
	char *out = mem_strdup(s);

	for (char *p = out; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return out;
}

static struct rule_nic one_nic(const struct rule_env *r, const json_t *nic)
{
	const char *name = jstr(nic, "name", "");
	json_t *want = json_object_get(jget(r->spec, "target.nics"), name);
	const json_t *found = jfind(jget(r->machine, "nics"), "name", name);
	const char *said = jstr(json_object_get(jget(r->spec, "source.nics"), name),
				"mac", NULL);

	return (struct rule_nic){
		.name = mem_strdup(name), .want = want,
		.old_mac = lower(said ? said : jstr(found, "mac", NULL)),
		.mac = lower(jstr(nic, "mac", "")),
		.named = jbool(found, "named", true) };
}

struct rule_nic *rule_nics(const struct rule_env *r, size_t *count)
{
	AUTO_JSON *left_out = json_array();
	struct vm_from from = { .machine = r->spec, .fact = r->machine };
	AUTO_JSON *def = vm_define(&from, left_out, r->err);
	json_t *nics = jget(def, "nics"), *nic;
	struct rule_nic *v;
	size_t i;

	*count = 0;
	if (!def)
		return NULL;
	v = mem_alloc((json_array_size(nics) + 1) * sizeof(*v));
	json_array_foreach(nics, i, nic)
		v[(*count)++] = one_nic(r, nic);
	return v;
}

void rule_nics_free(struct rule_nic *v, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(v[i].name);
		free(v[i].old_mac);
		free(v[i].mac);
	}
	free(v);
}
