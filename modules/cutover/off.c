/* SPDX-License-Identifier: Apache-2.0
 * cutover.off - switch the source off, prove that it is off, and keep it from
 * starting again by itself. A source without a power facility passes only where its
 * disks are image files that nothing uses. Undo switches it on again, if it was on.
 */
#include "engine/base/mem.h"
#include "modules/lib/imguse.h"
#include "modules/lib/power.h"
#include "modules/module.h"

#include <string.h>

static const struct param params[] = { { .name = NULL } };
static const char *const wants[] = { "machine", NULL };
static const char *const tools[] = { "virsh", NULL };

/* ---- images: off is when nobody has them open ---------------------------------------- */

static bool has_images_only(const struct ctx *c)
{
	return strcmp(jstr(ctx_machine(c), "source.kind", ""), "image") == 0;
}

/* 1: in use (told as `fail`'s text), 0: by nobody. */
static int images_in_use(struct ctx *c, char **who)
{
	const json_t *disks = jget(ctx_fact(c, "machine"), "disks"), *disk;
	json_t *spec = jget(ctx_machine(c), "source.disks"), *named;
	const char *name;
	size_t i;

	json_array_foreach(disks, i, disk) {
		const char *path = jstr(disk, "path", "");
		AUTO_FREE char *user = *path ? imguse_who(path) : NULL;

		if (user) {
			*who = mem_printf("'%s' is used by %s", path, user);
			return 1;
		}
	}
	json_object_foreach(spec, name, named) {
		const char *path = jstr(named, "image", "");
		AUTO_FREE char *user = *path ? imguse_who(path) : NULL;

		if (user) {
			*who = mem_printf("'%s' is used by %s", path, user);
			return 1;
		}
	}
	return 0;
}

static int no_facility(struct ctx *c)
{
	AUTO_FREE char *who = NULL;

	if (has_images_only(c) && !images_in_use(c, &who))
		return 0;
	ctx_hint(c, "say how it is switched: source: { power: { command: { off: [...], "
		 "on: [...], status: [...] } } }, or power: manual");
	if (who)
		return ctx_fail(c, "cannot prove that '%s' is off: %s",
				ctx_machine_name(c), who);
	return ctx_fail(c, "cannot prove that '%s' is off: the plan names no source.power",
			ctx_machine_name(c));
}

/* ---- the step ------------------------------------------------------------------------ */

static int probe_manual(struct ctx *c, enum probe_state *state)
{
	enum power_word word = power_word(c);

	if (word == WORD_NONE)
		ctx_change(c, '~', "%s: a person switches it off and says so",
			   ctx_machine_name(c));
	else if (word == WORD_OF_OLD)
		ctx_unknown(c, "changes", 0, "%s: a person says whether it has been off since",
			    ctx_machine_name(c));
	ctx_stable(c, "power", json_string(word == WORD_OF_NOW ? "off" : "unknown"));
	*state = word == WORD_OF_NOW ? STATE_DONE :
		 word == WORD_OF_OLD ? STATE_UNKNOWN : STATE_ABSENT;
	return 0;
}

static int probe_none(struct ctx *c, enum probe_state *state)
{
	AUTO_FREE char *who = NULL;
	bool off = has_images_only(c) && !images_in_use(c, &who);

	ctx_stable(c, "power", json_string(off ? "off" : "unknown"));
	*state = off ? STATE_DONE : STATE_ABSENT;
	if (off)
		return 0;
	ctx_change(c, '~', "%s: %s", ctx_machine_name(c), who ? who : "proven off");
	if (!ctx_is_preview(c))
		return 0;
	ctx_finding(c, "warning", "power.none",
		    "give it one: source: { power: ... }",
		    "the plan names no source.power: the cutover will refuse unless nothing "
		    "uses the source");
	return 0;
}

static int probe(struct ctx *c, enum probe_state *state)
{
	AUTO_FREE char *why = NULL;
	enum power_state now;
	struct power p;
	int autostart;

	if (power_of(c, &p) < 0)
		return -1;
	if (p.kind == POWER_MANUAL)
		return probe_manual(c, state);
	if (p.kind == POWER_NONE)
		return probe_none(c, state);
	now = power_ask(&p, &why);
	if (now == POWER_UNKNOWN)
		return ctx_fail(c, "cannot tell whether '%s' is on: %s", p.name, why);
	autostart = power_autostart(c, &p);
	if (autostart < 0)
		return -1;
	if (now == POWER_ON)
		ctx_change(c, '~', "%s: off", p.name);
	if (autostart)
		ctx_change(c, '~', "%s: does not start with its host", p.name);
	ctx_stable(c, "power", json_string(power_state_names[now]));
	ctx_stable(c, "autostart", json_boolean(autostart));
	*state = now == POWER_OFF && !autostart ? STATE_DONE :
		 now == POWER_OFF ? STATE_PARTIAL : STATE_ABSENT;
	return 0;
}

static int apply(struct ctx *c)
{
	struct power p;
	enum power_state now;
	int autostart;

	if (power_of(c, &p) < 0)
		return -1;
	if (p.kind == POWER_NONE)
		return no_facility(c);
	now = power_ask(&p, NULL);
	if (now != POWER_OFF && ctx_keep(c, "was", "on", 2) < 0)
		return -1;
	autostart = power_autostart(c, &p);
	if (autostart < 0 || (autostart && ctx_keep(c, "autostart", "on", 2) < 0))
		return -1;
	if ((autostart && power_set_autostart(c, &p, false) < 0) ||
	    power_switch(c, &p, false, true) < 0)
		return -1;
	return p.kind == POWER_MANUAL ? power_give_word(c) : 0;
}

static int undo(struct ctx *c)
{
	struct power p;

	if (power_of(c, &p) < 0)
		return -1;
	if (ctx_kept(c, "was", NULL) && power_switch(c, &p, true, false) < 0)
		return -1;
	return ctx_kept(c, "autostart", NULL) ? power_set_autostart(c, &p, true) : 0;
}

const struct module module_cutover_off = {
	.name = "cutover.off",
	.summary = "switch the source off and prove it",
	.place = ON_POWER,
	.flags = MOD_REVERSIBLE,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
	.undo = undo,
};
