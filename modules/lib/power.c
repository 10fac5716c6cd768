/* SPDX-License-Identifier: Apache-2.0
 * power - switch a source off and on, and ask whether it is.
 */
#include "modules/lib/power.h"

#include "engine/base/clock.h"
#include "engine/base/proc.h"
#include "modules/lib/domain.h"
#include "modules/lib/task.h"

#include <stdlib.h>
#include <string.h>

#define ASK_MS 60000
#define SWITCH_MS 300000	/* an orderly end takes its time */
#define CUT_MS 60000		/* a cut is told at once, or not at all */
#define POLL_MS 500

const char *const power_state_names[] = { "unknown", "on", "off" };

int power_of(struct ctx *c, struct power *p)
{
	const json_t *spec = jget(ctx_machine(c), "source.power");
	const json_t *command = jget(spec, "command"), *libvirt = jget(spec, "libvirt");

	*p = (struct power){ .c = c, .name = ctx_machine_name(c) };
	if (strncmp(jstr(command, "stdin", ""), PARAM_SECRET, strlen(PARAM_SECRET)) == 0) {
		ctx_hint(c, "say there which host runs them: at: %s",
			 jstr(ctx_machine(c), "source.host", "HOST"));
		return ctx_fail(c, "cannot switch '%s' from here: the secret that the programs of "
				"source.power.command read is for the host that it names", p->name);
	}
	if (command) {
		static const char *const verbs[] = { "off", "on", "status" };

		for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
			if (json_array_size(jget(command, verbs[i])) == 0)
				return ctx_fail(c, "cannot switch '%s': source.power.command "
						"has no '%s'", p->name, verbs[i]);
		p->kind = POWER_COMMAND;
		p->spec = command;
	} else if (libvirt || (!spec && jstr(ctx_machine(c), "source.domain", NULL))) {
		p->kind = POWER_LIBVIRT;
		p->spec = libvirt;
		p->domain = jstr(libvirt, "domain", jstr(ctx_machine(c), "source.domain", NULL));
		if (!domain_name_ok(p->domain)) {
			ctx_hint(c, DOMAIN_NAME_HINT);
			return ctx_fail(c, "cannot switch '%s': source.power.libvirt names no "
					"domain", p->name);
		}
	} else if (jget(spec, "manual")) {
		p->kind = POWER_MANUAL;
	}
	return 0;
}

/* An order may wait for the machine's own orderly end; a question may not. */
static int run(const struct power *p, const char *const *argv, struct str *out,
	       struct err *e)
{
	const char *input = p->kind == POWER_COMMAND ? jstr(p->spec, "stdin", NULL) : NULL;
	struct proc it = { .argv = argv, .timeout_ms = out ? ASK_MS : SWITCH_MS,
			   .input = input, .input_len = input ? strlen(input) : 0,
			   .max_output = 65536, .stopped = ctx_stopped, .arg = p->c };
	int rc = proc_run(&it, e);

	if (out) {
		*out = it.out;
		it.out = (struct str){0};
	}
	proc_free(&it);
	return rc;
}

static int run_spec(const struct power *p, const json_t *list, struct str *out,
		    struct err *e)
{
	AUTO_FREE const char **argv = mem_alloc((json_array_size(list) + 1) * sizeof(*argv));
	const json_t *word;
	size_t i;

	json_array_foreach(list, i, word)
		argv[i] = json_is_string(word) ? json_string_value(word) : "";
	return run(p, argv, out, e);
}

static int virsh(const char *verb, const char *option, const struct power *p,
		 struct str *out, struct err *e)
{
	const char *with[] = { "virsh", "-q", verb, p->domain, option, NULL };

	return run(p, with, out, e);
}

/* ---- asking ------------------------------------------------------------------- */

static bool first_word_is(const struct str *s, const char *word)
{
	const char *p = s->s ? s->s + strspn(s->s, " \t\r\n") : "";
	size_t n = strcspn(p, " \t\r\n");

	return n == strlen(word) && strncmp(p, word, n) == 0;
}

static bool line_is(const struct str *s, const char *line)
{
	return s->s && strncmp(s->s, line, strlen(line)) == 0 &&
	       strspn(s->s + strlen(line), " \r\n") == strlen(s->s + strlen(line));
}

static enum power_state ask_command(const struct power *p, struct str *out, struct err *e)
{
	if (run_spec(p, jget(p->spec, "status"), out, e) < 0)
		return POWER_UNKNOWN;
	if (first_word_is(out, "on"))
		return POWER_ON;
	if (first_word_is(out, "off"))
		return POWER_OFF;
	err_set(e, ERR_STEP, "source.power.command.status printed neither `on` nor `off`");
	return POWER_UNKNOWN;
}

static enum power_state ask_libvirt(const struct power *p, struct str *out, struct err *e)
{
	if (virsh("domstate", NULL, p, out, e) < 0)
		return POWER_UNKNOWN;
	if (line_is(out, "shut off"))
		return POWER_OFF;
	return POWER_ON;	/* who is paused, dying or crashed still holds its disks */
}

enum power_state power_ask(const struct power *p, char **why)
{
	enum power_state state = POWER_UNKNOWN;
	AUTO_STR out = {0};
	AUTO_ERR e = {0};

	if (p->kind == POWER_COMMAND)
		state = ask_command(p, &out, &e);
	else if (p->kind == POWER_LIBVIRT)
		state = ask_libvirt(p, &out, &e);
	else
		err_set(&e, ERR_STEP, "nothing can be asked whether it is on");
	if (why)
		*why = state == POWER_UNKNOWN ? mem_strdup(e.what) : NULL;
	return state;
}

/* ---- a person's word ------------------------------------------------------------ */

static char *word_of_now(const struct ctx *c)
{
	return mem_printf("said.%s", jstr(ctx_run(c), "run", ""));
}

enum power_word power_word(struct ctx *c)
{
	AUTO_FREE char *now = word_of_now(c);

	return ctx_kept(c, now, NULL) ? WORD_OF_NOW : ctx_kept(c, "said", NULL) ?
		WORD_OF_OLD : WORD_NONE;
}

int power_give_word(struct ctx *c)
{
	AUTO_FREE char *now = word_of_now(c);

	return ctx_keep(c, "said", "off", 3) < 0 ? -1 : ctx_keep(c, now, "off", 3);
}

/* ---- switching ---------------------------------------------------------------- */

static int ask_person(struct ctx *c, const struct power *p, bool on)
{
	bool again = !on && power_word(c) == WORD_OF_OLD;
	int yes = on ? ctx_ask(c, "Switch %s on again now. Is it on?", p->name) :
		  again ? ctx_ask(c, "%s was said to be off in an earlier run. Is it off, and "
				  "has it not been on since?", p->name) :
		  ctx_ask(c, "Switch %s off now, so that it stays off. Is it off?", p->name);

	if (yes > 0)
		return 0;
	if (again && yes == 0)
		return ctx_fail(c, "'%s' is on, or has been since it was said to be off", p->name);
	return yes < 0 ? -1 : ctx_fail(c, "'%s' is not switched %s", p->name, on ? "on" : "off");
}

static int order(const struct power *p, bool on, bool hard, struct err *e)
{
	if (p->kind == POWER_COMMAND)
		return run_spec(p, jget(p->spec, on ? "on" : "off"), NULL, e);
	return virsh(on ? "start" : hard ? "destroy" : "shutdown", NULL, p, NULL, e);
}

int power_switch(struct ctx *c, const struct power *p, bool on, bool hard)
{
	enum power_state want = on ? POWER_ON : POWER_OFF, state;
	uint64_t wait = hard && !on ? CUT_MS : SWITCH_MS, start;
	AUTO_ERR e = {0};

	if (p->kind == POWER_MANUAL)
		return ask_person(c, p, on);
	state = power_ask(p, NULL);
	if (state == want)
		return 0;
	/* what counts is what the facility says afterwards, not its exit status */
	order(p, on, hard, &e);
	start = clock_real.mono_ms(NULL);
	for (;;) {
		AUTO_FREE char *why = NULL;
		uint64_t waited = clock_real.mono_ms(NULL) - start;

		ctx_progress(c, waited / 1000, 0, "s", on ? "waits until it is on" :
			     "waits until it is proven off");
		state = power_ask(p, &why);
		if (state == want)
			return 0;
		if (ctx_cancelled(c))
			return -1;
		if (err_is(&e) || waited > wait) {
			if (why)
				ctx_hint(c, "%s", why);
			return ctx_fail(c, "cannot prove that '%s' is %s: %s",  p->name,
					power_state_names[want], err_is(&e) ? e.what :
					"its power facility does not say so");
		}
		task_sleep_ms(POLL_MS);
	}
}

/* ---- starting with the host ------------------------------------------------------ */

int power_autostart(struct ctx *c, const struct power *p)
{
	AUTO_STR out = {0};
	AUTO_ERR e = {0};
	const char *said;

	if (p->kind != POWER_LIBVIRT)
		return 0;
	if (virsh("dominfo", NULL, p, &out, &e) < 0)
		return ctx_fail(c, "cannot tell whether '%s' starts with its host: %s", p->name,
				e.what);
	said = out.s ? strstr(out.s, "\nAutostart:") : NULL;
	if (!said)
		return ctx_fail(c, "cannot tell whether '%s' starts with its host: `virsh "
				"dominfo` does not say", p->name);
	said += strlen("\nAutostart:");
	said += strspn(said, " \t");
	return strncmp(said, "disable", strlen("disable")) != 0;
}

int power_set_autostart(struct ctx *c, const struct power *p, bool on)
{
	AUTO_ERR e = {0};
	int now = power_autostart(c, p);

	if (now < 0 || p->kind != POWER_LIBVIRT || now == on)
		return now < 0 ? -1 : 0;
	if (virsh("autostart", on ? NULL : "--disable", p, NULL, &e) < 0)
		return ctx_fail_err(c, &e);
	return 0;
}
