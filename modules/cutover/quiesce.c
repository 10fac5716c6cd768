/* SPDX-License-Identifier: Apache-2.0
 * cutover.quiesce - make the source stand still, so that the last pass is one instant:
 * freeze its file systems (a watchdog lets go whatever happens), pause its domain, or
 * shut it down. Undo thaws, resumes, or switches on what was on.
 */
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "engine/base/text.h"
#include "modules/lib/domain.h"
#include "modules/lib/freeze.h"
#include "modules/lib/power.h"
#include "modules/module.h"

#include <string.h>

#define HOLD_MS 600000
#define OFF_MS 900000		/* to switch the source off and to prove it */
#define PERSON_MS 1800000	/* the same, by a person */

static const struct param params[] = {
	{ .name = "mode", .type = P_ENUM, .dflt = "auto", .words = "auto|freeze|pause|shutdown",
	  .summary = "auto: freeze a server, pause a domain, shut down what runs from images" },
	{ .name = "hold", .type = P_DURATION, .min = 1000, .max = 86400000,
	  .summary = "a freeze thaws by itself after this time; default: the machine's "
		     "downtime, else 10m" },
	{ .name = NULL },
};
static const char *const wants[] = { "machine", NULL };
static const char *const tools[] = { "virsh", NULL };

static const char *mode_of(const struct ctx *c)
{
	const char *mode = jstr(ctx_args(c), "mode", "auto");
	const char *kind = jstr(ctx_machine(c), "source.kind", "block");

	if (strcmp(mode, "auto") != 0)
		return mode;
	return strcmp(kind, "block") == 0 ? "freeze" :
	       strcmp(kind, "domain") == 0 ? "pause" : "shutdown";
}

static unsigned hold_of(const struct ctx *c)
{
	int64_t ms = jint(ctx_args(c), "hold", jint(ctx_machine(c), "downtime_ms", 0));

	return ms > 0 ? (unsigned)ms : HOLD_MS;
}

/* ---- freeze --------------------------------------------------------------------- */

static int probe_freeze(struct ctx *c, enum probe_state *state)
{
	AUTO_JSON *list = freeze_list(ctx_fact(c, "machine"));
	struct freeze *f = NULL;
	char hold[24];
	bool held;
	json_t *dir;
	size_t i;

	freeze_attach(c, &f);
	held = f && freeze_held(f, NULL);
	text_duration(hold_of(c), hold);
	json_array_foreach(list, i, dir)
		if (!held)
			ctx_change(c, '~', "%s: frozen, for %s at most",
				   json_string_value(dir), hold);
	if (!held && json_array_size(list) == 0)
		ctx_change(c, '=', "nothing on its disks is mounted for writing");
	ctx_stable(c, "frozen", json_boolean(held));
	ctx_set_fact(c, "freeze", json_object(), held ? freeze_fact(f) : NULL);
	freeze_free(f);
	*state = held ? STATE_DONE : STATE_ABSENT;
	return 0;
}

/* How it stands still, and for how long it has by now. */
static void tell_still(struct ctx *c, const char *how, unsigned ms)
{
	ctx_volatile(c, "still", json_string(how));
	ctx_volatile(c, "still_ms", json_integer(ms));
}

static int apply_freeze(struct ctx *c)
{
	struct freeze *f = NULL;

	freeze_attach(c, &f);
	if (f && freeze_held(f, NULL)) {	/* an earlier attempt's: its full time again */
		int rc = freeze_extend(c, f, hold_of(c));

		freeze_free(f);
		return rc;
	}
	freeze_free(f);
	f = NULL;
	if (!ctx_fact(c, "machine"))
		return ctx_fail(c, "cannot freeze: the machine's disks are not known");
	if (freeze_begin(c, ctx_fact(c, "machine"), hold_of(c), &f) < 0)
		return -1;
	ctx_set_fact(c, "freeze", json_object(), freeze_fact(f));
	tell_still(c, "frozen", freeze_age(f));
	freeze_free(f);
	return 0;
}

/* Long enough for all of cutover.off; who comes later must not rely on it. */
static int hold_freeze(struct ctx *c)
{
	unsigned ms = jget(ctx_machine(c), "source.power.manual") ? PERSON_MS : OFF_MS;
	struct freeze *f = NULL;
	int rc;

	if (hold_of(c) > ms)
		ms = hold_of(c);
	freeze_attach(c, &f);
	if (!f)
		return ctx_fail(c, "the freeze is over");
	rc = freeze_seal(c, f, ms);
	freeze_free(f);
	ctx_volatile(c, "held_ms", json_integer(ms));
	return rc;
}

/* ---- pause ---------------------------------------------------------------------- */

static int virsh(struct ctx *c, const char *verb, const char *domain, struct str *out,
		 struct err *e)
{
	const char *const argv[] = { "virsh", "-q", verb, domain, NULL };
	struct proc p = { .argv = argv, .timeout_ms = 60000, .stopped = ctx_stopped, .arg = c };
	int rc = proc_run(&p, e);

	if (out) {
		*out = p.out;
		p.out = (struct str){0};
	}
	proc_free(&p);
	return rc;
}

static const char *domain_of(struct ctx *c)
{
	const char *name = jstr(ctx_machine(c), "source.domain",
				jstr(ctx_machine(c), "source.power.libvirt.domain", NULL));

	if (domain_name_ok(name))
		return name;
	ctx_hint(c, name ? DOMAIN_NAME_HINT :
		 "name it in the plan: source: { domain: NAME }, or choose another mode");
	ctx_fail(c, "cannot pause '%s': the source is no libvirt domain", ctx_machine_name(c));
	return NULL;
}

static int domain_state(struct ctx *c, const char *domain, char out[32])
{
	AUTO_STR said = {0};
	AUTO_ERR e = {0};

	if (virsh(c, "domstate", domain, &said, &e) < 0)
		return ctx_fail_err(c, &e);
	snprintf(out, 32, "%.31s", said.s ? said.s : "");
	out[strcspn(out, "\r\n")] = '\0';
	return 0;
}

/* "in shutdown" still writes; so may whatever a later libvirt calls a state. */
static bool stands_still(const char *state)
{
	static const char *const still[] = { "paused", "shut off", "crashed", "pmsuspended" };

	for (size_t i = 0; i < sizeof(still) / sizeof(*still); i++)
		if (strcmp(state, still[i]) == 0)
			return true;
	return false;
}

static int probe_pause(struct ctx *c, enum probe_state *state)
{
	const char *domain = domain_of(c);
	char now[32];

	if (!domain || domain_state(c, domain, now) < 0)
		return -1;
	if (!stands_still(now))
		ctx_change(c, '~', "domain %s: paused", domain);
	ctx_stable(c, "domain", json_string(now));
	*state = stands_still(now) ? STATE_DONE : STATE_ABSENT;
	return 0;
}

static int hold_pause(struct ctx *c)
{
	const char *domain = domain_of(c);
	char now[32];

	if (!domain || domain_state(c, domain, now) < 0)
		return -1;
	return stands_still(now) ? 0 : ctx_fail(c, "domain %s is '%s'", domain, now);
}

static int apply_pause(struct ctx *c)
{
	const char *domain = domain_of(c);
	AUTO_ERR e = {0};
	char now[32];

	if (!domain || domain_state(c, domain, now) < 0)
		return -1;
	if (stands_still(now))
		return 0;
	if (ctx_keep(c, "paused", domain, strlen(domain)) < 0)
		return -1;
	if (virsh(c, "suspend", domain, NULL, &e) < 0)
		return ctx_fail_err(c, &e);
	tell_still(c, "paused", 0);
	return 0;
}

static int undo_pause(struct ctx *c)
{
	const char *domain = ctx_kept(c, "paused", NULL);
	AUTO_ERR e = {0};
	char now[32];

	if (!domain)
		return 0;
	if (domain_state(c, domain, now) < 0)
		return -1;
	if (strcmp(now, "paused") != 0)
		return 0;
	return virsh(c, "resume", domain, NULL, &e) < 0 ? ctx_fail_err(c, &e) : 0;
}

/* ---- shut down ------------------------------------------------------------------- */

/* Its power facility must be reached from here, at the source. */
static int facility(struct ctx *c, struct power *p)
{
	const char *host = jstr(ctx_machine(c), "source.host", "");
	const char *at;

	if (power_of(c, p) < 0)
		return -1;
	at = jstr(p->spec, "at", host);
	if (strcmp(at, host) == 0 || strcmp(at, "source") == 0 || p->kind == POWER_MANUAL)
		return 0;
	ctx_hint(c, "choose `mode: freeze`, or let source.power be reached at '%s'", host);
	return ctx_fail(c, "cannot shut '%s' down from '%s': its power is switched at '%s'",
			p->name, host, at);
}

static int probe_shutdown(struct ctx *c, enum probe_state *state)
{
	AUTO_FREE char *why = NULL;
	enum power_state now;
	struct power p;

	if (facility(c, &p) < 0)
		return -1;
	now = power_ask(&p, &why);
	if (p.kind == POWER_NONE) {
		ctx_change(c, '=', "nothing says that it runs: its disks are image files");
		now = POWER_OFF;
	} else if (p.kind == POWER_MANUAL) {
		now = power_word(c) == WORD_OF_NOW ? POWER_OFF : POWER_ON;
	} else if (now == POWER_UNKNOWN) {
		return ctx_fail(c, "cannot tell whether '%s' is on: %s", p.name, why);
	}
	if (now == POWER_ON)
		ctx_change(c, '~', "%s: shut down", p.name);
	ctx_stable(c, "power", json_string(power_state_names[now]));
	*state = now == POWER_OFF ? STATE_DONE : STATE_ABSENT;
	return 0;
}

static int hold_shutdown(struct ctx *c)
{
	enum probe_state state;

	if (probe_shutdown(c, &state) < 0)
		return -1;
	return state == STATE_DONE ? 0 : ctx_fail(c, "'%s' is on", ctx_machine_name(c));
}

static int apply_shutdown(struct ctx *c)
{
	struct power p;

	if (facility(c, &p) < 0)
		return -1;
	if (p.kind == POWER_NONE)
		return 0;
	if (power_ask(&p, NULL) != POWER_OFF && ctx_keep(c, "was", "on", 2) < 0)
		return -1;
	if (power_switch(c, &p, false, false) < 0)
		return -1;
	return p.kind == POWER_MANUAL ? power_give_word(c) : 0;
}

static int undo_shutdown(struct ctx *c)
{
	struct power p;

	if (!ctx_kept(c, "was", NULL))
		return 0;
	return facility(c, &p) < 0 ? -1 : power_switch(c, &p, true, false);
}

/* ---- the step -------------------------------------------------------------------- */

static const struct mode {
	const char *name;
	int (*probe)(struct ctx *c, enum probe_state *state);
	int (*apply)(struct ctx *c);
	int (*undo)(struct ctx *c);
	int (*hold)(struct ctx *c);
} modes[] = {
	{ "freeze", probe_freeze, apply_freeze, freeze_undo, hold_freeze },
	{ "pause", probe_pause, apply_pause, undo_pause, hold_pause },
	{ "shutdown", probe_shutdown, apply_shutdown, undo_shutdown, hold_shutdown },
};

static const struct mode *chosen(const struct ctx *c)
{
	const char *mode = mode_of(c);
	size_t i = 0;

	while (i + 1 < ARRAY_LEN(modes) && strcmp(modes[i].name, mode) != 0)
		i++;
	return &modes[i];
}

static int probe(struct ctx *c, enum probe_state *state)
{
	return chosen(c)->probe(c, state);
}

static int apply(struct ctx *c)
{
	return chosen(c)->apply(c);
}

static int undo(struct ctx *c)
{
	return chosen(c)->undo(c);
}

static int hold(struct ctx *c)
{
	return chosen(c)->hold(c);
}

const struct module module_cutover_quiesce = {
	.name = "cutover.quiesce",
	.summary = "make the source stand still",
	.place = ON_SOURCE,
	.flags = MOD_REVERSIBLE | MOD_SOURCE_HELD,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
	.undo = undo,
	.hold = hold,
};
