/* SPDX-License-Identifier: Apache-2.0
 * proof_damage - chunks that are not what was sent: what is told of them, and that nobody
 * builds on them any more.
 */
#include "modules/lib/proof_impl.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"

#include <stdio.h>
#include <string.h>

#define TOLD_MAX 10u		/* places that a log names; evidence names all */

/* Facts that say up to which generation a copy was proven, and when. */
static const char *const sayings[] = { "proof", "sync", "final", NULL };

/* "written by pass 2 at ..., proven at ..." */
static char *history_of(struct ctx *c, const struct proving *x, uint32_t generation)
{
	const char *proven = NULL;
	AUTO_STR s = { 0 };
	struct map_born b;
	char at[21];

	if (generation == 0)
		return mem_strdup("its map does not know it");
	for (const char *const *f = sayings; *f; f++) {
		const json_t *said = json_object_get(ctx_fact(c, *f), x->name);

		if (said && (uint32_t)jint(said, "generation", 0) >= generation &&
		    proof_same_copy(said, x->m))
			proven = jstr(said, "at", NULL);
	}
	if (map_born(x->m, generation, &b)) {
		clock_iso(b.at, at);
		if (b.pass == 0)
			str_addf(&s, "filled from a backup at %s", at);
		else
			str_addf(&s, "%s by pass %u at %s", b.mend ? "sent again" : "written",
				 b.pass, at);
	} else {
		str_add(&s, "written by an early pass");
	}
	if (proven)
		str_addf(&s, ", proven at %s", proven);
	else
		str_add(&s, ", never proven");
	return str_take(&s);
}

/* "byte 5242880, length 1048576 of '/x' (written by pass 2 at ..., never proven)" */
static char *place_of(struct ctx *c, const struct proving *x, const struct damage *d)
{
	AUTO_FREE char *history = history_of(c, x, d->generation);

	return mem_printf("byte %llu, length %u of '%s' (%s%s)",
			  (unsigned long long)(d->index * map_id(x->m)->chunk),
			  map_chunk_len(x->m, d->index), x->d->path,
			  d->silent ? "cannot be read; " : "", history);
}

static void tell_damage(struct ctx *c, const struct proving *x)
{
	AUTO_FREE char *file = mem_printf("%s.damage", x->name);
	AUTO_STR all = { 0 };

	for (size_t i = 0; i < x->bads; i++) {
		AUTO_FREE char *place = place_of(c, x, &x->bad[i]);

		str_addf(&all, "%s\n", place);
		if (i < TOLD_MAX)
			ctx_log(c, "%s: not what was sent: %s", x->name, place);
	}
	ctx_evidence(c, file, all.s, all.len);
}

/* Nobody is to build on them any more; a pass would send them again. */
static int drop(const struct proving *x, const char *map, struct err *e)
{
	AUTO_FREE uint64_t *index = mem_alloc(x->bads * sizeof(*index));
	AUTO_MAP *m = map_open(map, true, e);

	for (size_t i = 0; i < x->bads; i++)
		index[i] = x->bad[i].index;
	return m ? map_drop(m, index, x->bads, e) : -1;
}

#define OTHER_STORAGE "the target's storage lost or changed it; `drover rollback` before convert " \
	"and copy again, to other storage"

int proof_damaged(struct ctx *c, const struct proof_how *h, const struct proving *x,
		  const char *map, struct err *e)
{
	AUTO_FREE char *first = place_of(c, x, &x->bad[0]);
	AUTO_ERR why = { 0 };
	char more[48] = "";

	tell_damage(c, x);
	if (x->bads > 1)
		snprintf(more, sizeof(more), ", and %zu more%s", x->bads - 1,
			 x->bads >= DAMAGE_MAX ? " at least" : "");
	err_set(e, ERR_STEP, "disk '%s' is not what was sent: %s%s", x->name, first, more);
	if (h->serving) {
		ctx_finding(c, "blocker", "disk.damaged", "keep the source: drover rollback PLAN "
			    "--to cutover --discard-target-writes brings it back; other storage "
			    "for the target", "%s", e->what);
		return err_hint(e, "nothing is merged and the source is kept: drover rollback PLAN "
				"--to cutover --discard-target-writes brings it back");
	}
	err_hint(e, OTHER_STORAGE);
	if (!h->mend || x->bads >= DAMAGE_MAX)
		return -1;
	if (drop(x, map, &why) == 0)
		return 1;
	err_move(e, &why);
	return -1;
}
