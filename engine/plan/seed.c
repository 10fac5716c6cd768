/* SPDX-License-Identifier: Apache-2.0
 * seed - a machine that is backed up and then copied is read once: the copy is filled
 * from the backup by a step that no plan has to name, and what is written from the backup
 * on is followed. */
#include "engine/plan/private.h"

#include <string.h>

static bool is(const struct plan_step *s, const char *module)
{
	return strcmp(s->module->name, module) == 0;
}

static const struct plan_step *by_id(const struct chain *c, const char *id)
{
	for (uint32_t i = 0; i < c->step_count; i++)
		if (c->steps[i]->phase == PHASE_CONVERT && strcmp(c->steps[i]->id, id) == 0)
			return c->steps[i];
	return NULL;
}

/* "seed", unless a step of the plan is called so. */
static const char *free_id(struct loader *l, const struct chain *c)
{
	const char *id = "seed";

	for (unsigned n = 2; by_id(c, id); n++)
		id = arena_printf(l->arena, "seed%u", n);
	return id;
}

/* Of several backups the last. */
static int backup_of(const struct chain *c)
{
	int found = -1;

	for (uint32_t i = 0; i < c->step_count; i++) {
		if (is(c->steps[i], "backup.image"))
			found = (int)i;
		if (is(c->steps[i], "convert.seed"))
			return -1;	/* the plan says itself what is filled */
	}
	return found;
}

/* The parameter by which the two would not read the same; NULL: none. */
static const char *unlike(const struct plan_step *backup, const struct plan_step *disks)
{
	static const char *const same[] = { "chunk", "free", "bad_sectors" };

	for (size_t i = 0; i < ARRAY_LEN(same); i++)
		if (!json_equal(jget(backup->args, same[i]), jget(disks->args, same[i])))
			return same[i];
	return NULL;
}

static bool fits(struct loader *l, const struct plan_step *backup,
		 const struct plan_step *disks, const struct step_src *src)
{
	const char *differs;

	if (!is(disks, "convert.disks") || strcmp(jstr(disks->args, "seed", ""), "auto") != 0 ||
	    strcmp(jstr(disks->args, "changes", ""), "digest") == 0)
		return false;
	differs = unlike(backup, disks);
	if (differs && l->warnings)
		err_hint(load_warning(l, src->node, "the copy is not filled from the backup: "
				      "`%s` is not the same in both", differs),
			 "say the same in backup.image, or `seed: none` here");
	return !differs;
}

static const struct plan_step *seed_step(struct loader *l, const struct chain *c,
					 const struct plan_step *backup,
					 const struct plan_step *disks)
{
	static const char *const as[] = { "chunk", "compress", "disks" };
	struct plan_step s = {
		.phase = PHASE_CONVERT, .id = free_id(l, c), .verb = "seed",
		.module = module_find(PHASE_CONVERT, "seed"), .args = json_object(),
		.place = disks->place, .from_recipe = disks->from_recipe,
	};

	json_object_set(s.args, "from", jget(backup->args, "to"));
	for (size_t i = 0; i < ARRAY_LEN(as); i++)
		if (jget(disks->args, as[i]))
			json_object_set(s.args, as[i], jget(disks->args, as[i]));
	return step_enter(l, &s);
}

/* The backup, with what is written from it on followed for as long as the copy says. */
static const struct plan_step *following(struct loader *l, const struct plan_step *backup,
					 const struct plan_step *disks)
{
	struct plan_step s = *backup;

	if (jget(backup->args, "follow"))
		return backup;
	s.args = json_deep_copy(backup->args);
	json_object_set(s.args, "follow", jget(disks->args, "track"));
	return step_enter(l, &s);
}

void seed_add(struct loader *l, struct chain *c, const struct step_src **from)
{
	int b = backup_of(c);

	for (uint32_t i = 0; b >= 0 && i < c->step_count; i++) {
		uint32_t rest = c->step_count - i;

		if (!fits(l, c->steps[b], c->steps[i], from[i]))
			continue;
		const struct plan_step *seed = seed_step(l, c, c->steps[b], c->steps[i]);
		c->steps[b] = following(l, c->steps[b], c->steps[i]);
		memmove(c->steps + i + 1, c->steps + i, rest * sizeof(*c->steps));
		memmove(from + i + 1, from + i, rest * sizeof(*from));
		c->steps[i++] = seed;
		c->step_count++;
	}
}
