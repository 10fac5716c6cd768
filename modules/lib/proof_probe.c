/* SPDX-License-Identifier: Apache-2.0
 * proof_probe - what of a proof holds still, and what one would read.
 */
#include "modules/lib/copy.h"
#include "modules/lib/proof_impl.h"

#include "engine/base/text.h"

/* A disk that is asked about. */
struct asked {
	const struct proof_how *how;
	const char *name;
	struct layout_disk at;
	struct copy_there t;
	struct map *m;		/* owned; NULL: it is not there */
	const json_t *was;	/* what was proven of this copy, borrowed, or NULL: it does not hold */
	const json_t *before;	/* up to where it was proven, the same */
	json_t *kept;		/* what is proven, and was not heard; owned, or NULL */
	struct proof_mark mark;	/* how far one came that was cut off */
};

/* What is to be read. */
static uint64_t rest(const struct asked *a)
{
	uint64_t behind = a->mark.next * a->t.chunk;

	return a->kept || behind >= a->t.size ? 0 : a->t.size - behind;
}

static void say_rest(struct ctx *c, const struct asked *a)
{
	char size[24];

	text_size(a->t.size - rest(a), size);
	ctx_change(c, '+', "%s read back further: its first %s are proven already", a->name, size);
}

static void say(struct ctx *c, const struct asked *a)
{
	if (a->was)
		ctx_change(c, '=', "%s proven, digest %.12s", a->name, jstr(a->was, "digest", ""));
	else if (!a->t.map)
		copy_say_later(c, a->name, "read back whole");
	else if (a->kept)
		ctx_change(c, '+', "%s was read back already: what that proved is recorded",
			   a->name);
	else if (a->mark.next > 0)
		say_rest(c, a);
	else if (a->before)
		ctx_change(c, '+', "%s read back what was written since it was proven", a->name);
	else
		ctx_change(c, '+', "%s read back whole from %s%s", a->name, a->at.base,
			   a->how->serving ? ", beneath the target that serves" : "");
	if (!a->was && !a->before)
		ctx_cost(c, rest(a), 0, 0, 0);
}

/* Of a copy that is whole. */
static void look_for_progress(struct ctx *c, struct asked *a)
{
	struct proving x = { .m = a->m, .name = a->name, .at = &a->at, .proof = a->how->out,
			     .proven = (uint32_t)jint(a->before, "generation", 0) };

	a->kept = proof_kept(c, &x);
	proof_mark_find(&a->at, a->m, x.proof, x.proven, &a->mark);
}

/* It was put back from before the newest pass that is recorded, which is said. */
static bool is_older(struct ctx *c, const struct asked *a)
{
	uint32_t newest = copy_pass_recorded(c, a->name);

	if (a->how->last || !a->t.map || a->t.state.pass >= newest)
		return false;
	ctx_finding_now(c, "blocker", COPY_OLDER, COPY_OLDER_HINT, COPY_OLDER_TEXT, a->name,
			a->t.state.pass, newest);
	return true;
}

/* Is what was proven still what the map says? 1, 0; -1 with e. */
static int still_holds(struct ctx *c, struct asked *a, struct err *e)
{
	const json_t *was = json_object_get(ctx_fact(c, a->how->out), a->name);
	const json_t *before = proof_newest(c, a->how->proven, a->name);
	bool holds;

	if (layout_of_disk(ctx_machine(c), a->name, &a->at, e) < 0 ||
	    copy_look(&a->at, &a->t, e) < 0)
		return -1;
	if (is_older(c, a))
		return 0;
	a->m = a->t.map ? map_open(a->at.map, false, NULL) : NULL;
	a->before = before && a->m && proof_same_copy(before, a->m) ? before : NULL;
	holds = was && a->m && a->t.state.complete && proof_same_copy(was, a->m) &&
		(uint32_t)jint(was, "generation", 0) == a->t.state.generation;
	a->was = holds ? was : NULL;
	if (!holds && a->m && a->t.state.complete)
		look_for_progress(c, a);
	say(c, a);
	return holds;
}

static void asked_free(struct asked *a)
{
	layout_disk_free(&a->at);
	map_close(a->m);
	json_decref(a->kept);
}

int proof_probe(struct ctx *c, const struct proof_how *h, enum probe_state *state)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	const char *name;
	json_t *spec;

	*state = STATE_DONE;
	json_object_foreach((json_t *)disks, name, spec) {
		struct asked a = { .how = h, .name = name };
		AUTO_ERR e = { 0 };
		int holds;

		if (!layout_copies(spec))
			continue;
		holds = still_holds(c, &a, &e);
		asked_free(&a);
		if (holds < 0)
			return ctx_fail_err(c, &e);
		if (!holds)
			*state = STATE_ABSENT;
	}
	return 0;
}
