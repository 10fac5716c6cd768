/* SPDX-License-Identifier: Apache-2.0
 * final - whatever comes from a host or a check passes here before the run sees it:
 * secrets are taken out, so that nothing behind this point (record, report, saved
 * preview, error) can tell one; and a hint that says PLAN gets the plan's own name.
 *
 * What is said is redacted. What is kept for an undo, told as a fact or entered in the
 * ledger must stay as it is to be of use: where it holds a secret the step fails.
 */
#include "engine/plan/vault.h"
#include "engine/run/op.h"

#include <stdlib.h>
#include <string.h>

char *run_name_plan(const char *hint, const char *file)
{
	static const char word[] = " PLAN";
	AUTO_STR out = { 0 };
	const char *from = hint;

	if (!hint || !file)
		return NULL;
	for (const char *at = hint; (at = strstr(at, word));) {
		const char *end = at + strlen(word);

		if (!*end || strchr(" ,;`)", *end)) {
			str_addn(&out, from, (size_t)(at + 1 - from));
			str_add(&out, file);
			from = end;
		}
		at = end;
	}
	if (from == hint)
		return NULL;
	str_add(&out, from);
	return str_take(&out);
}

void run_err_final(const struct plan *p, struct err *e)
{
	char *hint;

	plan_redact_err(p, e);
	hint = run_name_plan(e->hint, p->typed);
	if (!hint)
		return;
	free(e->hint);
	e->hint = hint;
}

static bool is_check(const struct op *o)
{
	return o->module->place == IN_ENGINE;
}

static json_t *with_hint(const struct op *o, json_t *result)
{
	AUTO_FREE char *typed = next_typed_of(o->r, o->m);
	AUTO_FREE char *hint = run_name_plan(jstr(result, "error.hint", NULL), typed);
	json_t *out;

	if (!hint)
		return result;
	out = json_deep_copy(result);
	json_decref(result);
	jset_str(jget(out, "error"), "hint", hint);
	return out;
}

static char *held_text(const struct op *o, const char *what, const char *secret)
{
	return mem_printf("cannot record what the module '%s' %s: it holds the secret '%s', "
			  "and no secret is ever recorded", o->module->name, what, secret);
}

#define HELD_HINT "take it out of the file on the host that holds it in clear, or give the " \
	"secret another value"

json_t *final_result(const struct op *o, const json_t *result)
{
	const struct vault *v = o->r->plan->vault;
	const char *secret = is_check(o) ? NULL : vault_told_json(v, jget(result, "facts"));

	if (secret) {
		AUTO_FREE char *text = held_text(o, "found", secret);

		return frame_failure("failed", text, HELD_HINT);
	}
	return with_hint(o, vault_redact_json(v, (json_t *)(uintptr_t)result));
}

json_t *final_event(struct op *o, const json_t *ev)
{
	const struct vault *v = o->r->plan->vault;
	const char *e = jstr(ev, "e", ""), *secret = NULL;

	if (!is_check(o) && (!strcmp(e, "keep") || !strcmp(e, "ledger")))
		secret = vault_told_json(v, ev);
	if (!secret)
		return vault_redact_json(v, (json_t *)(uintptr_t)ev);
	if (!o->fault)
		o->fault = held_text(o, "keeps", secret);
	op_stop(o);
	return NULL;
}
