/* SPDX-License-Identifier: Apache-2.0
 * test_power - proving a source off, by its power programs or by a person.
 */
#include "engine/base/mem.h"
#include "tests/unit/modtest.h"
#include "tests/unit/powerrig.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

/* ---- cutover.off ---------------------------------------------------------------------- */

static void off_is_proven_and_undo_switches_on_again(void **state)
{
	struct powerrig *w = *state;

	modtest_state(w->input, "cutover.off", "absent");
	modtest_must(w->input, "cutover.off", "apply");
	pw_is(w, "off");
	modtest_state(w->input, "cutover.off", "done");
	modtest_must(w->input, "cutover.off", "undo");
	pw_is(w, "on");
	modtest_must(w->input, "cutover.off", "undo");
}

static void off_leaves_off_what_was_off(void **state)
{
	struct powerrig *w = *state;

	pw_set(w, "off");
	modtest_state(w->input, "cutover.off", "done");
	modtest_must(w->input, "cutover.off", "apply");
	modtest_must(w->input, "cutover.off", "undo");
	pw_is(w, "off");
}

static void off_takes_silence_for_no_proof(void **state)
{
	struct powerrig *w = *state;

	jset(pw_command(w), "status", modtest_sh("echo nobody answers >&2; exit 1"));
	modtest_fails(w->input, "cutover.off", "probe",
		      "cannot tell whether 'm' is on: 'sh -c 'echo nobody "
		      "answers >&2; exit 1'' exited with status 1: nobody answers");
	jset(pw_command(w), "status", modtest_sh("true"));
	modtest_fails(w->input, "cutover.off", "probe",
		      "cannot tell whether 'm' is on: "
		      "source.power.command.status printed neither `on` nor `off`");
}

static void off_fails_when_the_order_fails_and_the_machine_stays_on(void **state)
{
	struct powerrig *w = *state;

	jset(pw_command(w), "off", modtest_sh("exit 7"));
	modtest_fails(w->input, "cutover.off", "apply", "cannot prove that 'm' is off: 'sh -c 'exit 7'' "
		      "exited with status 7");
	pw_is(w, "on");
}

static void off_asks_a_person_where_the_plan_says_manual(void **state)
{
	struct powerrig *w = *state;
	AUTO_JSON *no = NULL, *yes = NULL;

	jset(jget(w->input, "machine.source"), "power", json_pack("{s:{}}", "manual"));
	modtest_state(w->input, "cutover.off", "absent");
	no = pw_call(w, "cutover.off", "apply", 0);
	assert_string_equal(jstr(no, "error.text", ""), "'m' is not switched off");
	modtest_state(w->input, "cutover.off", "absent");
	yes = pw_call(w, "cutover.off", "apply", 1);
	assert_true(jbool(yes, "ok", false));
	modtest_state(w->input, "cutover.off", "done");
}

static void use_person(struct powerrig *w)
{
	jset(jget(w->input, "machine.source"), "power", json_pack("{s:{}}", "manual"));
	jset_str(jget(w->input, "run"), "run", "one");
}

static void says(struct powerrig *w, const char *module, int answer, const char *error)
{
	AUTO_JSON *r = pw_call(w, module, "apply", answer);

	assert_int_equal(jbool(r, "ok", false), *error == '\0');
	assert_string_equal(jstr(r, "error.text", ""), error);
}

/* The machine may have been on between two runs: nobody but a person can know. */
static void off_asks_a_person_again_in_a_later_run(void **state)
{
	struct powerrig *w = *state;

	use_person(w);
	says(w, "cutover.off", 1, "");
	modtest_state(w->input, "cutover.off", "done");
	jset_str(jget(w->input, "run"), "run", "two");
	modtest_state(w->input, "cutover.off", "unknown");
	says(w, "cutover.off", 0, "'m' is on, or has been since it was said to be off");
	modtest_state(w->input, "cutover.off", "unknown");
	says(w, "cutover.off", 1, "");
	modtest_state(w->input, "cutover.off", "done");
}

static void quiesce_asks_a_person_again_in_a_later_run(void **state)
{
	struct powerrig *w = *state;

	use_person(w);
	says(w, "cutover.quiesce", 1, "");
	modtest_state(w->input, "cutover.quiesce", "done");
	jset_str(jget(w->input, "run"), "run", "two");
	modtest_state(w->input, "cutover.quiesce", "absent");
	says(w, "cutover.quiesce", 1, "");
	modtest_state(w->input, "cutover.quiesce", "done");
}

static void off_hands_a_secret_to_its_programs_on_stdin(void **state)
{
	struct powerrig *w = *state;
	json_t *command = pw_command(w);

	jset_str(command, "stdin", "pass 4711");
	jset(command, "off", modtest_sh("read -r p; [ \"$p\" = 'pass 4711' ] && echo off > %s", w->power));
	jset(command, "status", modtest_sh("read -r p; [ \"$p\" = 'pass 4711' ] && cat %s", w->power));
	modtest_must(w->input, "cutover.off", "apply");
	pw_is(w, "off");
	modtest_state(w->input, "cutover.off", "done");
	jset(command, "status", modtest_sh("cat %s", w->power));	/* it may leave it unread */
	modtest_state(w->input, "cutover.off", "done");
	jset_str(command, "stdin", "secret:ipmi");		/* nobody filled it in */
	modtest_fails(w->input, "cutover.off", "probe",
		      "cannot switch 'm' from here: the secret that the "
		      "programs of source.power.command read is for the host that it names");
}

/* ---- cutover.quiesce, by shutting down --------------------------------------------------- */

static void quiesce_shuts_down_what_runs_from_images(void **state)
{
	struct powerrig *w = *state;

	modtest_state(w->input, "cutover.quiesce", "absent");
	modtest_must(w->input, "cutover.quiesce", "apply");
	pw_is(w, "off");
	modtest_state(w->input, "cutover.quiesce", "done");
	modtest_state(w->input, "cutover.off", "done");
	modtest_must(w->input, "cutover.quiesce", "undo");
	pw_is(w, "on");
}

static void quiesce_says_when_power_is_switched_elsewhere(void **state)
{
	struct powerrig *w = *state;

	jset_str(pw_command(w), "at", "here");
	modtest_fails(w->input, "cutover.quiesce", "probe",
		      "cannot shut 'm' down from 'a': its power is switched at 'here'");
}

#define T(f) cmocka_unit_test_setup_teardown(f, pw_setup, pw_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(off_is_proven_and_undo_switches_on_again),
		T(off_leaves_off_what_was_off),
		T(off_takes_silence_for_no_proof),
		T(off_fails_when_the_order_fails_and_the_machine_stays_on),
		T(off_asks_a_person_where_the_plan_says_manual),
		T(off_asks_a_person_again_in_a_later_run),
		T(off_hands_a_secret_to_its_programs_on_stdin),
		T(quiesce_asks_a_person_again_in_a_later_run),
		T(quiesce_shuts_down_what_runs_from_images),
		T(quiesce_says_when_power_is_switched_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
