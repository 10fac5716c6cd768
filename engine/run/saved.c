/* SPDX-License-Identifier: Apache-2.0
 * saved - a preview as a document, and whether the world still fits it. Bound are
 * the plan, this program with its modules, what each step would change, and the
 * stable facts; the state may have moved on only by this preview's own commits.
 */
#include "engine/base/io.h"
#include "engine/run/preview.h"
#include "engine/run/record.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define EXE_MAX (512u << 20)

/* The digest of this program: modules and agent are inside it. */
static json_t *build_digest(void)
{
	char hex[SHA256_HEX];
	size_t n = 0;
	AUTO_FREE char *exe = io_read_file(AT_FDCWD, "/proc/self/exe", EXE_MAX, &n);

	if (!exe)
		return json_string(DROVER_VERSION);
	sha256_hex(exe, n, hex);
	return json_string(hex);
}

static int first_commit(const struct state_commit *c, void *arg)
{
	memcpy(arg, c->id, sizeof(c->id));
	return 1;
}

static json_t *head_of(const struct run *r, const struct mach *m)
{
	char id[41] = "";

	if (r->state)
		state_log(r->state, m->name, first_commit, id, NULL);
	return *id ? json_string(id) : json_null();
}

static const char *kind_of(const struct run *r)
{
	return r->o->kind == RUN_CUTOVER || r->o->kind == RUN_CUTOVER_PREVIEW ?
		"cutover" : "run";
}

void saved_begin(struct run *r)
{
	json_t *machines = json_object();
	char iso[21];

	r->doc = json_object();
	clock_iso(run_wall(r), iso);
	jset_str(r->doc, "drover", "preview");
	jset_int(r->doc, "v", 1);
	jset_str(r->doc, "kind", kind_of(r));
	jset_str(r->doc, "plan", r->plan->name);
	jset_str(r->doc, "file", r->plan->file);
	jset_str(r->doc, "plan_hash", r->plan->hash);
	jset(r->doc, "build", build_digest());
	jset_str(r->doc, "lineage", r->state ? state_lineage(r->state) : NULL);
	jset_str(r->doc, "made", iso);
	jset_int(r->doc, "only", r->o->only);
	jset_int(r->doc, "until", r->o->until);
	for (uint32_t i = 0; i < r->plan->machine_count; i++) {
		json_t *m = json_object();

		if (r->machines[i].in) {
			jset(m, "commit", head_of(r, &r->machines[i]));
			jset(m, "steps", json_object());
			json_object_set(machines, r->machines[i].name, m);
		}
		json_decref(m);
	}
	jset(r->doc, "machines", machines);
}

/* One line as it is bound: a text by its bytes, a diff by its digest. */
static json_t *bound_line(const json_t *line)
{
	const char *diff = jstr(line, "diff", NULL);
	json_t *o = json_object();
	char hex[SHA256_HEX];

	jset_str(o, "mark", jstr(line, "mark", "?"));
	jset_str(o, "text", jstr(line, "text", ""));
	jset_str(o, "path", jstr(line, "path", NULL));
	if (diff) {
		sha256_hex(diff, strlen(diff), hex);
		jset_str(o, "diff", hex);
	}
	json_object_set(o, "bound", json_object_get(line, "bound"));
	return o;
}

static json_t *bound_lines(const json_t *result)
{
	json_t *out = json_array(), *line;
	size_t i;

	json_array_foreach(json_object_get(result, "changes"), i, line)
		jadd(out, bound_line(line));
	return out;
}

/* The step as it is bound, of a probe's result; new. */
static json_t *bound_step(const json_t *result)
{
	json_t *o = json_object();

	jset_str(o, "state", jstr(result, "state", "unknown"));
	jset(o, "changes", bound_lines(result));
	json_object_set(o, "cost", json_object_get(result, "cost"));
	return o;
}

void saved_add(struct run *r, struct mach *m, uint32_t node, const json_t *result)
{
	AUTO_FREE char *key = step_key(r->graph->nodes[node].step);
	json_t *step, *steps;
	char hex[65];

	if (!r->doc)
		return;
	steps = json_object_get(json_object_get(json_object_get(r->doc, "machines"),
						m->name), "steps");
	step = bound_step(result);
	jset_str(step, "module", r->graph->nodes[node].step->module->name);
	json_digest(json_object_get(step, "changes"), hex);
	jset_str(step, "digest", hex);
	jset(steps, key, step);
}

static void add_facts(struct run *r, struct mach *m)
{
	json_t *one = json_object_get(json_object_get(r->doc, "machines"), m->name);
	json_t *facts = json_object(), *fact;
	const char *name;
	char hex[65];

	json_object_foreach(m->facts, name, fact) {
		json_digest(json_object_get(fact, "stable"), hex);
		jset_str(facts, name, hex);
	}
	jset(one, "facts", facts);
}

json_t *saved_finish(struct run *r)
{
	json_t *doc = r->doc;

	for (uint32_t i = 0; i < r->plan->machine_count; i++)
		if (r->machines[i].in)
			add_facts(r, &r->machines[i]);
	r->doc = NULL;
	return doc;
}

/* ---- does it fit: plan, build, state ------------------------------------------------------- */

static int stale(struct run *r, struct err *e, const char *what)
{
	err_set(e, ERR_STALE, "the saved preview no longer fits: %s", what);
	return err_hint(e, "drover %s %s -o FILE saves a new one",
			r->o->kind == RUN_CUTOVER ? "cutover --preview" : "preview",
			r->plan->typed);
}

struct walk {
	const char *until;		/* the commit the preview saw; NULL: none */
	const char *hash;
	bool reached;
	char strange[41];		/* a commit of somebody else's */
};

static int walk_commit(const struct state_commit *c, void *arg)
{
	struct walk *w = arg;

	if (w->until && !strcmp(c->id, w->until)) {
		w->reached = true;
		return 1;
	}
	if (strcmp(jstr(c->trailers, "Preview", ""), w->hash)) {
		memcpy(w->strange, c->id, sizeof(w->strange));
		return 1;
	}
	return 0;
}

static int check_state(struct run *r, struct mach *m, struct err *e)
{
	const json_t *one = json_object_get(json_object_get(r->o->saved, "machines"),
					    m->name);
	struct walk w = { jstr(one, "commit", NULL), r->doc_hash, false, "" };

	if (state_log(r->state, m->name, walk_commit, &w, e) < 0)
		return -1;
	if (!*w.strange && (w.reached || !w.until))
		return 0;
	AUTO_FREE char *what = *w.strange ?
		mem_printf("%s: the state has moved on by commit %.12s, which is not this "
			   "preview's", m->name, w.strange) :
		mem_printf("%s: the state has no commit %.12s", m->name, w.until);
	return stale(r, e, what);
}

int saved_check(struct run *r, struct err *e)
{
	const json_t *doc = r->o->saved;
	AUTO_JSON *build = build_digest();
	json_t *one;
	const char *name;

	if (strcmp(jstr(doc, "drover", ""), "preview") || jint(doc, "v", 0) != 1) {
		err_set(e, ERR_USAGE, "cannot read the saved preview: it is none");
		return err_hint(e, "drover preview %s -o FILE makes one", r->plan->typed);
	}
	if (strcmp(jstr(doc, "kind", ""), kind_of(r)))
		return stale(r, e, "it was saved for another verb");
	if (strcmp(jstr(doc, "plan_hash", ""), r->plan->hash))
		return stale(r, e, "the plan was changed since");
	if (!json_equal(json_object_get(doc, "build"), build))
		return stale(r, e, "it was saved by another build of drover");
	if (r->state && strcmp(jstr(doc, "lineage", ""), state_lineage(r->state)))
		return stale(r, e, "it was saved beside another state");
	json_digest(doc, r->doc_hash);
	for (uint32_t i = 0; i < r->plan->machine_count; i++)
		r->machines[i].in = false;
	json_object_foreach(json_object_get(doc, "machines"), name, one) {
		int i = plan_find_machine(r->plan, name);

		if (i < 0)
			return stale(r, e, "it names a machine that the plan has not");
		r->machines[i].in = true;
		if (check_state(r, &r->machines[i], e) < 0)
			return -1;
	}
	return 0;
}

/* ---- does it fit: changes and facts ---------------------------------------------------------- */

static const json_t *saved_step(const struct run *r, const struct mach *m, const char *key)
{
	const json_t *one = json_object_get(json_object_get(r->o->saved, "machines"),
					    m->name);

	return json_object_get(json_object_get(one, "steps"), key);
}

static bool has_line(const json_t *lines, const json_t *line)
{
	json_t *other;
	size_t i;

	json_array_foreach((json_t *)lines, i, other)
		if (json_equal(other, (json_t *)line))
			return true;
	return false;
}

static int differs(struct err *e, const struct mach *m, const char *key, const char *how,
		   const json_t *line)
{
	return err_set(e, ERR_STALE, "the saved preview no longer fits: %s %s: %s: %s %s",
		       m->name, key, how, jstr(line, "mark", ""), jstr(line, "text", ""));
}

/* What is to be done now must have been said, line by line; where the preview said '?'
 * it may have become known since, within the bound. */
static int holds(const struct run *r, const struct mach *m, const char *key,
		 const json_t *now, struct err *e)
{
	const json_t *step = saved_step(r, m, key), *first = NULL;
	const json_t *then = json_object_get(step, "changes");
	AUTO_FREE char *how = NULL;
	int64_t count = 0;
	json_t *line;
	size_t i;

	if (!step)
		return err_set(e, ERR_STALE, "the saved preview no longer fits: %s %s is "
			       "not in it", m->name, key);
	json_array_foreach(json_object_get(now, "changes"), i, line)
		if (!strchr("=.", *jstr(line, "mark", "=")) && !has_line(then, line)) {
			first = first ? first : line;
			count++;
		}
	if (first && bound_admits(step) == 0)
		return differs(e, m, key, "it does not say", first);
	if (bound_holds(step, now, count, &how) == 0)
		return 0;
	return err_set(e, ERR_STALE, "the saved preview no longer fits: %s %s: %s", m->name,
		       key, how);
}

/* Whether this preview's run has recorded anything of the step. */
static bool ours(const struct run *r, const struct mach *m, const char *key)
{
	const json_t *row = json_object_get(json_object_get(meta_of(r, m), "steps"), key);

	return !strcmp(jstr(row, "preview", ""), r->doc_hash);
}

/* Was it begun by this preview's run, and cut off amid it? The rest of it was said, too. */
static bool cut_off(const struct run *r, const struct mach *m, uint32_t node, const char *key,
		    const json_t *result)
{
	const char *status = meta_status(r, m, node);

	return ours(r, m, key) && meta_touched(r, m, node) &&
	       !strcmp(jstr(result, "state", ""), "partial") &&
	       (!strcmp(status, "intent") || !strcmp(status, "stopped"));
}

int saved_holds(const struct run *r, const struct mach *m, uint32_t node,
		const json_t *result, struct err *e)
{
	AUTO_FREE char *key = step_key(r->graph->nodes[node].step);
	AUTO_JSON *now = NULL;

	if (!r->o->saved || cut_off(r, m, node, key, result))
		return 0;
	now = bound_step(result);
	if (holds(r, m, key, now, e) == 0)
		return 0;
	return err_hint(e, "look at it with drover preview, then save a new one");
}

static bool any_ours(const struct run *r, const struct mach *m)
{
	const char *key;
	json_t *row;

	json_object_foreach(json_object_get(meta_of(r, m), "steps"), key, row)
		if (ours(r, m, key))
			return true;
	return false;
}

static int same_lines(const struct mach *m, const char *key, const json_t *then,
		      const json_t *now, struct err *e)
{
	json_t *line;
	size_t i;

	json_array_foreach((json_t *)now, i, line)
		if (!has_line(then, line))
			return differs(e, m, key, "new", line);
	json_array_foreach((json_t *)then, i, line)
		if (!has_line(now, line))
			return differs(e, m, key, "gone", line);
	return 0;
}

static int compare_steps(const struct run *r, const struct mach *m, const json_t *fresh,
			 struct err *e)
{
	bool begun = any_ours(r, m);
	const char *key;
	json_t *step;

	json_object_foreach(json_object_get(fresh, "steps"), key, step) {
		const json_t *now = json_object_get(step, "changes");
		const json_t *then = saved_step(r, m, key);

		if (ours(r, m, key))
			continue;
		if (begun || !then ? holds(r, m, key, step, e) < 0 :
		    same_lines(m, key, json_object_get(then, "changes"), now, e) < 0)
			return -1;
	}
	return 0;
}

static int compare_facts(const struct run *r, const struct mach *m, const json_t *saved,
			 const json_t *fresh, struct err *e)
{
	const json_t *then = json_object_get(saved, "facts");
	const char *name;
	json_t *now;

	json_object_foreach(json_object_get(fresh, "facts"), name, now) {
		const json_t *fact = json_object_get(m->facts, name);

		if (ours(r, m, jstr(fact, "step", "")) ||
		    json_equal(json_object_get(then, name), now))
			continue;
		return err_set(e, ERR_STALE, "the saved preview no longer fits: %s: the "
			       "fact '%s' is not what it was", m->name, name);
	}
	return 0;
}

int saved_compare(const struct run *r, struct err *e)
{
	json_t *fresh;
	const char *name;

	json_object_foreach(json_object_get(r->doc, "machines"), name, fresh) {
		int i = plan_find_machine(r->plan, name);
		const json_t *saved =
			json_object_get(json_object_get(r->o->saved, "machines"), name);

		if (compare_steps(r, &r->machines[i], fresh, e) < 0 ||
		    compare_facts(r, &r->machines[i], saved, fresh, e) < 0)
			return err_hint(e, "look at it with drover preview, then save a "
					"new one");
	}
	return 0;
}
