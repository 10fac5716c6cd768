/* SPDX-License-Identifier: Apache-2.0
 * cleanup - what the ledger calls temporary is taken from the hosts again, one thing
 * after another, last made first; and finalize, which ends the way back.
 */
#include "engine/run/back.h"
#include "engine/run/hosts.h"
#include "engine/run/op.h"
#include "engine/run/record.h"
#include "engine/run/report.h"

#include <stdlib.h>
#include <string.h>

/* One thing of the ledger, or one machine to finalize: a call on a host. */
struct thing {
	struct run *r;
	struct mach *m;			/* NULL: the plan no longer has the machine */
	uint32_t host;
	char *path;			/* in the meta document, or NULL; owned */
	char *what;			/* "file '/run/x' on kvm1"; owned */
	struct call call;
	struct thing *next;
};

static void thing_free(struct thing *t)
{
	json_decref(t->call.input);
	free(t->path);
	free(t->what);
	free(t);
}

static void on_event(struct call *c, const json_t *event, void *arg)
{
	struct thing *t = arg;

	(void)c;
	if (!strcmp(jstr(event, "e", ""), "log"))
		report_log(t->r, t->m, NULL, "%s", jstr(event, "text", ""));
	else if (jint(event, "ack", 0) > 0)
		hosts_ack(t->r, t->host, &t->call, jint(event, "ack", 0), false);
}

/* ---- the ledger --------------------------------------------------------------------------- */

static void clean(struct thing *t);

static void next_thing(struct thing *t)
{
	struct thing *next = t->next;
	struct run *r = t->r;

	thing_free(t);
	if (next && !run_stopping(r)) {
		clean(next);
		return;
	}
	while (next) {
		struct thing *rest = next->next;

		run_status(r, ERR_STOPPED);
		thing_free(next);
		next = rest;
	}
	r->jobs--;
}

static void struck(void *arg, struct err *e)
{
	struct thing *t = arg;

	if (e)
		run_error(t->r, e);
	next_thing(t);
}

static void on_cleaned(struct call *c, const json_t *result, void *arg)
{
	struct thing *t = arg;
	struct rec rec;

	(void)c;
	if (!result_ok(result)) {
		AUTO_ERR e = { 0 };

		err_set(&e, ERR_STEP, "cannot remove %s: %s", t->what,
			jstr(result, "error.text", "no reason given"));
		err_hint(&e, "%s", jstr(result, "error.hint",
			 "mend it, then drover cleanup again"));
		report_log(t->r, t->m, NULL, "%s", e.what);
		run_error(t->r, &e);
		next_thing(t);
		return;
	}
	report_log(t->r, t->m, NULL, "removed %s", t->what);
	count_add(t->r, "remove", 1);
	rec_init(&rec, t->r, NULL);
	jset(rec.meta, t->path, json_null());
	rec_send(&rec, "ledger", NULL, NULL, struck, t);
}

static void clean(struct thing *t)
{
	hosts_start(t->r, t->host, &t->call);
}

static json_t *call_input(struct run *r, struct mach *m, json_t *args, uint32_t host)
{
	json_t *in = json_object();

	jset(in, "args", args);
	jset(in, "machine", m ? input_machine(r, m) : json_object());
	jset(in, "facts", m ? facts_merged(m->facts, NULL) : json_object());
	jset(in, "kept", json_object());
	jset_str(in, "role", r->plan->hosts[host].name);
	jset(in, "run", input_run(r, host, NULL));
	return in;
}

static struct thing *thing_new(struct run *r, const char *host, const char *key,
			       const json_t *entry)
{
	int h = plan_find_host(r->plan, host);
	int i = plan_find_machine(r->plan, jstr(entry, "machine", ""));
	struct mach *m = i >= 0 ? &r->machines[i] : NULL;
	json_t *args = json_object();
	struct thing *t;

	t = mem_alloc(sizeof(*t));
	t->r = r;
	t->m = m;
	t->host = h < 0 ? UINT32_MAX : (uint32_t)h;
	t->path = mem_printf("ledger/%s/%s", host, key);
	t->what = mem_printf("%s '%s' on %s", jstr(entry, "kind", "thing"),
			     jstr(entry, "name", ""), host);
	jset_str(args, "kind", jstr(entry, "kind", ""));
	jset_str(args, "name", jstr(entry, "name", ""));
	json_object_set(args, "detail", json_object_get(entry, "detail"));
	t->call = (struct call){ .module = "call.cleanup", .op = "apply",
				 .on_event = on_event, .on_result = on_cleaned, .arg = t };
	if (h >= 0)
		t->call.input = call_input(r, m, args, (uint32_t)h);
	else
		json_decref(args);
	return t;
}

/* Whether the entry is temporary, of a machine that was chosen, and not in use. */
static bool wanted(struct run *r, const json_t *entry)
{
	const char *name = jstr(entry, "machine", ""), *serves;
	int i = plan_find_machine(r->plan, name);

	if (jbool(entry, "lasting", false))
		return false;
	if (i < 0)
		return !r->o->selector;
	if (!r->machines[i].in)
		return false;
	serves = meta_serves(r, &r->machines[i]);
	if (strcmp(serves, "nobody") && strcmp(serves, "unknown"))
		return true;
	report_log(r, &r->machines[i], NULL, "%s '%s' stays: the cutover of '%s' is not "
		   "over", jstr(entry, "kind", ""), jstr(entry, "name", ""), name);
	run_next(r, "drover cutover %s", r->plan->typed);
	return false;
}

/* Take away all of the ledger that is `wanted`. */
static void clean_all(struct run *r, bool (*is_wanted)(struct run *r, const json_t *entry))
{
	const json_t *ledger = json_object_get(state_meta(r->state), "ledger");
	struct thing *list = NULL;
	const char *host, *key;
	json_t *things, *entry;

	json_object_foreach((json_t *)ledger, host, things)
		json_object_foreach(things, key, entry) {
			struct thing *t;

			if (!is_wanted(r, entry))
				continue;
			t = thing_new(r, host, key, entry);
			if (t->host != UINT32_MAX) {
				t->next = list;		/* last made, first removed */
				list = t;
				continue;
			}
			AUTO_ERR e = { 0 };
			err_set(&e, ERR_STEP, "cannot remove %s: the plan no longer has "
				"this host", t->what);
			report_log(r, t->m, NULL, "%s", e.what);
			run_error(r, &e);
			thing_free(t);
		}
	if (!list)
		return;
	r->jobs++;
	clean(list);
}

void cleanup_begin(struct run *r)
{
	clean_all(r, wanted);
}

/* ---- what a step began that the plan no longer has ------------------------------------------ */

/* By these what is written to a source is followed from a backup or a copy on. */
static bool is_following(const char *kind)
{
	static const char *const kinds[] = { "tracker", "checkpoint", "lvm-snapshot" };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (!strcmp(kinds[i], kind))
			return true;
	return false;
}

/* Nobody will ask it any more: its step is gone, and no copy was begun that relies on it. */
static bool strayed(struct run *r, const json_t *entry)
{
	int i = plan_find_machine(r->plan, jstr(entry, "machine", ""));
	struct mach *m = i >= 0 ? &r->machines[i] : NULL;

	if (!m || !m->in || jbool(entry, "lasting", false) ||
	    !is_following(jstr(entry, "kind", "")))
		return false;
	for (uint32_t n = r->graph->first[i]; n < r->graph->first[i + 1]; n++) {
		const struct plan_step *s = r->graph->nodes[n].step;
		AUTO_FREE char *key = step_key(s);

		if (!strcmp(key, jstr(entry, "step", "")) ||
		    (!strcmp(s->module->name, "convert.disks") &&
		     (meta_touched(r, m, n) || meta_finished(r, m, n))))
			return false;
	}
	return true;
}

void cleanup_strays(struct run *r)
{
	clean_all(r, strayed);
}

void cleanup_preview_strays(struct run *r)
{
	const json_t *ledger = r->state ? json_object_get(state_meta(r->state), "ledger") : NULL;
	const char *host, *key;
	json_t *things, *entry;

	json_object_foreach((json_t *)ledger, host, things)
		json_object_foreach(things, key, entry) {
			json_t *o;

			if (!strayed(r, entry))
				continue;
			o = json_pack("{s:s, s:s, s:b}", "severity", "info", "code", "ledger.stray",
				      "waived", 0);
			jset_str(o, "machine", jstr(entry, "machine", ""));
			jset_strf(o, "text", "%s '%s' on %s was begun by %s, which the plan no longer "
				  "has: a run ends it", jstr(entry, "kind", ""),
				  jstr(entry, "name", ""), host, jstr(entry, "step", "a step"));
			report(r, "finding", o);
			count_add(r, "info", 1);
		}
}

/* ---- finalize -------------------------------------------------------------------------------- */

static void finalized(void *arg, struct err *e)
{
	struct thing *t = arg;

	if (e)
		run_error(t->r, e);
	else
		report_log(t->r, t->m, NULL, "'%s' is finalized; there is no way back",
			   t->m->name);
	t->r->jobs--;
	thing_free(t);
}

static void drop_undo(struct thing *t)
{
	const json_t *tree = state_tree(t->r->state, t->m->name);
	const char *path;
	json_t *text;
	struct rec c;

	rec_init(&c, t->r, t->m);
	json_object_foreach((json_t *)tree, path, text)
		if (!strncmp(path, "steps/", 6) && strstr(path, "/undo/"))
			jadd(c.del, json_string(path));
	rec_meta(&c, "finalized", json_true());
	rec_send(&c, "note", NULL, "finalized: what undoing needs is gone", finalized, t);
}

static void on_finalized(struct call *c, const json_t *result, void *arg)
{
	struct thing *t = arg;

	(void)c;
	if (result_ok(result)) {
		drop_undo(t);
		return;
	}
	AUTO_ERR e = { 0 };
	err_set(&e, ERR_STEP, "cannot finalize '%s': %s", t->m->name,
		jstr(result, "error.text", "no reason given"));
	if (jstr(result, "error.hint", NULL))
		err_hint(&e, "%s", jstr(result, "error.hint", ""));
	report_log(t->r, t->m, NULL, "%s", e.what);
	run_error(t->r, &e);
	t->r->jobs--;
	thing_free(t);
}

static void finalize_machine(struct run *r, struct mach *m)
{
	struct thing *t = mem_alloc(sizeof(*t));

	t->r = r;
	t->m = m;
	t->host = r->plan->machines[m->index].target_host;
	r->jobs++;
	if (!module_named("call.finalize")) {
		drop_undo(t);
		return;
	}
	t->call = (struct call){ .module = "call.finalize", .op = "apply",
				 .on_event = on_event, .on_result = on_finalized, .arg = t };
	t->call.input = call_input(r, m, json_object(), t->host);
	hosts_start(r, t->host, &t->call);
}

void finalize_begin(struct run *r)
{
	for (uint32_t i = 0; i < r->plan->machine_count; i++)
		if (r->machines[i].in)
			finalize_machine(r, &r->machines[i]);
}
