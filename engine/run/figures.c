/* SPDX-License-Identifier: Apache-2.0
 * figures - what a cutover cost: how long the source stood still until it was off, how
 * long nobody served, how what had changed was found, and the digests that were proven.
 *
 * Kept beside the machine while the cutover goes on, since another run may end it. By the
 * clock of one run they are exact to some milliseconds; over several, to a second or two.
 */
#include "engine/run/op.h"
#include "engine/run/preview.h"
#include "engine/run/record.h"
#include "engine/run/step.h"

#include <stdlib.h>
#include <string.h>

static bool begins(const struct job *j)
{
	return (j->s->module->flags & MOD_SOURCE_HELD) && j->s->module->undo &&
		result_ok(j->applied);
}

/* The source stands still. The module says for how long it did when it answered. */
static json_t *begin(const struct job *j)
{
	const json_t *said = json_object_get(j->applied, "volatile");
	uint64_t now = loop_now(j->r->loop), before = (uint64_t)jint(said, "still_ms", 0);
	json_t *f = json_object();

	j->m->still_at = now > before ? now - before : 1;
	j->m->down_at = j->began_ms ? j->began_ms : 1;
	jset_str(f, "still", jstr(said, "still", NULL));
	jset_int(f, "from", run_wall(j->r) - (int64_t)(before / 1000));
	return f;
}

/* Since `at`, by this run's clock; else since an earlier run, by the clock on the wall. */
static int64_t since(const struct job *j, uint64_t at, const json_t *f)
{
	int64_t s = run_wall(j->r) - jint(f, "from", 0);

	if (at)
		return (int64_t)(loop_now(j->r->loop) - at);
	return s > 0 ? s * 1000 : 0;
}

/* By which ways the pass found what had changed: "trace", or "digest, trace". */
static void note_ways(const struct job *j, json_t *f)
{
	json_t *passes = jget(j->applied, "volatile.source.passes"), *list;
	AUTO_STR ways = { 0 };
	const char *disk;

	json_object_foreach(passes, disk, list) {
		const char *by = jstr(json_array_get(list, 0), "by", "digest");

		if (!ways.len || !strstr(ways.s, by))
			str_addf(&ways, "%s%s", ways.len ? ", " : "", by);
	}
	if (ways.len)
		jset_str(f, "changes", ways.s);
}

static void note_proof(const struct job *j, json_t *f)
{
	json_t *final = jget(json_object_get(j->m->facts, "final"), "stable"), *one;
	json_t *proof = json_object();
	const char *disk;

	json_object_foreach(final, disk, one)
		jset_str(proof, disk, jstr(one, "digest", NULL));
	jset(f, "proof", proof);
}

static void add_trailers(struct rec *c, const json_t *f)
{
	json_t *digest;
	AUTO_STR proof = { 0 };
	const char *disk;

	if (jget(f, "still_ms"))
		jset_strf(c->trailers, "Still", "%s for %lldms", jstr(f, "still", "stood still"),
			  (long long)jint(f, "still_ms", 0));
	jset_strf(c->trailers, "Down", "%lldms", (long long)jint(f, "down_ms", 0));
	jset_str(c->trailers, "Changes", jstr(f, "changes", NULL));
	json_object_foreach(json_object_get(f, "proof"), disk, digest)
		str_addf(&proof, "%s%s %s", proof.len ? ", " : "", disk,
			 json_string_value(digest));
	if (proof.len)
		jset_str(c->trailers, "Proof", proof.s);
}

void figures_note(struct rec *c, struct job *j)
{
	const json_t *was = json_object_get(meta_of(j->r, j->m), "figures");
	json_t *f;

	if (j->s->phase != PHASE_CUTOVER || (!begins(j) && !json_is_object(was)))
		return;
	f = begins(j) ? begin(j) : json_deep_copy(was);
	note_ways(j, f);
	if (step_switches_off(j->s) && jstr(f, "still", NULL) && !jget(f, "still_ms"))
		jset_int(f, "still_ms", since(j, j->m->still_at, f));
	if ((j->s->module->flags & MOD_NO_RETURN) && !jget(f, "down_ms")) {
		jset_int(f, "down_ms", since(j, j->m->down_at, f));
		note_proof(j, f);
		add_trailers(c, f);
		j->figures = json_deep_copy(f);
		jset_str(j->figures, "machine", j->m->name);
	}
	rec_meta(c, "figures", f);
}
