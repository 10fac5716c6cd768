/* SPDX-License-Identifier: Apache-2.0
 * Plans: what they compile to. What is wrong with plans is told in tests/plans.
 */
#include "engine/base/io.h"
#include "engine/plan/plan.h"
#include "engine/plan/schema.h"
#include "tests/unit/planrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static void machines_of_a_recipe_share_its_steps(void **s)
{
	free(planrig_put("r.yaml", "recipe: r\nassess:\n  - file: { path: /a }\n"
				     "cutover:\n  - file: { path: /b }\n"));
	struct plan *p = planrig_load(HEAD
		"defaults: { recipe: r.yaml, target: { host: new, dir: /srv } }\nmachines:\n"
		"  one: { source: { host: old, disks: [/dev/sda] } }\n"
		"  two: { source: { host: old, disks: [/dev/sdb] } }\n"
		"  tri: { source: { host: old, disks: [/dev/sdc] }, "
		"cutover: [ file: { path: /c } ] }\n");

	(void)s;
	assert_ptr_equal(p->machines[0].steps, p->machines[1].steps);
	assert_ptr_not_equal(p->machines[0].steps, p->machines[2].steps);
	assert_ptr_equal(p->machines[0].steps[0], p->machines[2].steps[0]);
	assert_int_equal(p->machines[2].step_count, 2);
	assert_string_equal(jstr(p->machines[2].steps[1]->args, "path", ""), "/c");
	assert_true(p->machines[0].steps[0]->from_recipe);
	assert_int_equal(p->machines[2].steps[1]->phase, PHASE_CUTOVER);
	assert_int_equal(p->machines[2].steps[1]->place.line, 7);
	plan_free(p);
}

static const char late[] = HEAD "machines:\n  one:\n"
	"    source: { host: old, disks: [/dev/sda] }\n"
	"    target: { host: new, dir: /srv }\n"
	"    assess:\n"
	"      - command: { argv: [ \"${machine}\", \"${source.host}\", "
	"\"${facts.source.host.kernel}\", \"$${x}\" ], "
	"timeout: \"${facts.guest.seconds}s\", when: facts.guest.n > 9 }\n";

static void what_only_a_run_knows_is_put_in_later_and_typed_then(void **s)
{
	struct plan *p = planrig_load(late);
	const struct plan_step *step = p->machines[0].steps[0];
	AUTO_JSON *facts = json_pack("{s:{s:s}, s:{s:i}}", "source.host", "kernel", "6.1",
				     "guest", "seconds", 90);
	AUTO_ERR e = { 0 };
	AUTO_JSON *args = plan_step_args(p, 0, step, facts, &e);

	(void)s;
	assert_non_null(args);
	json_t *argv = jget(args, "argv");
	assert_string_equal(json_string_value(json_array_get(argv, 0)), "one");
	assert_string_equal(json_string_value(json_array_get(argv, 1)), "old");
	assert_string_equal(json_string_value(json_array_get(argv, 2)), "6.1");
	assert_string_equal(json_string_value(json_array_get(argv, 3)), "${x}");
	assert_int_equal(jint(args, "timeout", 0), 90000);
	plan_free(p);
}

static void a_fact_that_is_not_known_is_an_error_with_the_steps_place(void **s)
{
	struct plan *p = planrig_load(late);
	AUTO_JSON *facts = json_object();
	AUTO_ERR e = { 0 };

	(void)s;
	assert_null(plan_step_args(p, 0, p->machines[0].steps[0], facts, &e));
	assert_string_equal(e.what, "cannot put in '${facts.source.host.kernel}': it is not known");
	assert_int_equal(e.at.line, 8);
	plan_free(p);
}

static void a_fact_of_the_wrong_type_is_an_error(void **s)
{
	struct plan *p = planrig_load(late);
	AUTO_JSON *facts = json_pack("{s:{s:s}, s:{s:s}}", "source.host", "kernel", "6.1",
				     "guest", "seconds", "many");
	AUTO_ERR e = { 0 };

	(void)s;
	assert_null(plan_step_args(p, 0, p->machines[0].steps[0], facts, &e));
	assert_string_equal(e.what, "'timeout' is not a duration: 'manys'");
	plan_free(p);
}

static bool holds(const char *when, const char *facts)
{
	struct plan_step step = { .when = when };
	AUTO_JSON *f = json_loads(facts, 0, NULL);

	return plan_step_when(&step, f);
}

static void conditions_compare_facts(void **s)
{
	static const char facts[] = "{\"guest\": {\"os\": {\"id\": \"debian\"}, \"n\": 10, "
				    "\"uefi\": true}}";

	(void)s;
	assert_true(holds(NULL, facts));
	assert_true(holds("facts.guest.os.id == debian", facts));
	assert_false(holds("facts.guest.os.id != debian", facts));
	assert_false(holds("facts.guest.os.id == deb", facts));
	assert_true(holds("facts.guest.n > 9", facts));	/* as a number, not a text */
	assert_true(holds("facts.guest.n<=10", facts));
	assert_true(holds("facts.guest.uefi == true", facts));
	assert_false(holds("facts.guest.other == x", facts));
	assert_false(holds("facts.guest.other != x", facts));
}

static void machines_are_chosen_by_name_glob_and_label(void **s)
{
	struct plan *p = planrig_load(planrig_two_disks);

	(void)s;
	assert_true(plan_machine_matches(p, 0, "one"));
	assert_true(plan_machine_matches(p, 0, "o*"));
	assert_true(plan_machine_matches(p, 0, "app=erp"));
	assert_true(plan_machine_matches(p, 0, "app=e*"));
	assert_false(plan_machine_matches(p, 0, "app=crm"));
	assert_false(plan_machine_matches(p, 0, "tier=erp"));
	assert_false(plan_machine_matches(p, 0, "on"));
	assert_int_equal(plan_find_machine(p, "one"), 0);
	assert_int_equal(plan_find_machine(p, "two"), -1);
	plan_free(p);
}

static void hash_of(const char *text, char hash[65])
{
	struct plan *p = planrig_load(text);

	memcpy(hash, p->hash, 65);
	plan_free(p);
}

static void the_hash_is_of_the_meaning_and_not_of_the_spelling(void **s)
{
	char a[65], b[65], c[65];

	(void)s;
	hash_of(HEAD "vars: { d: /srv }\nmachines:\n  one:\n"
		"    source: { host: old, disks: [/dev/sda] }\n"
		"    target: { host: new, dir: \"${d}/x\" }\n" STEP, a);
	hash_of("# said otherwise\nmachines:\n  'one':\n"
		"    target:\n      dir: /srv/x\n      host: \"new\"\n"
		"    source: { disks: [ /dev/sda ], host: old } # here\n"
		"    assess:\n    - file:\n        path: /etc/hostname\n"
		"hosts:\n  old: {ssh: root@old}\n  new: {ssh: 'ops@new:2222'}\nplan: t\n", b);
	hash_of(HEAD "machines:\n  one:\n"
		"    source: { host: old, disks: [/dev/sdb] }\n"
		"    target: { host: new, dir: /srv/x }\n" STEP, c);
	assert_string_equal(a, b);
	assert_string_not_equal(a, c);
}

static void the_hash_sees_what_a_step_is_told(void **s)
{
	char a[65], b[65];

	(void)s;
	hash_of(HEAD "machines:\n  one:\n    source: { host: old, disks: [/dev/sda] }\n"
		"    target: { host: new, dir: /srv }\n" STEP, a);
	hash_of(HEAD "machines:\n  one:\n    source: { host: old, disks: [/dev/sda] }\n"
		"    target: { host: new, dir: /srv }\n"
		"    assess: [ file: { path: /etc/hostnames } ]\n", b);
	assert_string_not_equal(a, b);
}

static void the_hash_sees_what_a_check_says(void **s)
{
	static const char text[] = HEAD "machines:\n  one:\n"
		"    source: { host: old, disks: [/dev/sda] }\n"
		"    target: { host: new, dir: /srv }\n"
		"    assess: [ check: { file: c.lua } ]\n";
	char a[65], b[65];

	(void)s;
	free(planrig_put("c.lua", "return true"));
	hash_of(text, a);
	free(planrig_put("c.lua", "return false"));
	hash_of(text, b);
	assert_string_not_equal(a, b);
}

static void the_key_reference_names_every_key(void **s)
{
	AUTO_FREE char *text = schema_markdown();
	AUTO_JSON *schema = schema_json();

	(void)s;
	assert_non_null(strstr(text, "| `hosts.NAME.become.sudo` |"));
	assert_non_null(strstr(text, "| `target.disks.NAME.format` |"));
	assert_non_null(strstr(text, "| `accept[].finding` |"));
	assert_non_null(jget(schema, "properties.hosts.additionalProperties.properties.ssh"));
	assert_non_null(jget(schema, "definitions.machine.properties.target.properties.nics"));
	assert_null(jget(schema, "properties.waves"));
}

/* UPDATE=1 writes it instead. */
static void the_page_holds_the_key_reference_as_the_table_has_it(void **s)
{
	static const char page[] = "docs/plan.md", mark[] = "test_plan writes it anew. -->\n";
	AUTO_FREE char *keys = schema_markdown();
	AUTO_FREE char *text = io_read_file(AT_FDCWD, page, 1 << 20, NULL);
	char *at;

	(void)s;
	if (!text)
		skip();		/* not started in the tree */
	at = strstr(text, mark);
	assert_non_null(at);
	at += strlen(mark);
	if (getenv("UPDATE")) {
		*at = '\0';
		AUTO_FREE char *now = mem_printf("%s\n%s", text, keys);
		assert_int_equal(io_write_file(AT_FDCWD, page, now, strlen(now), 0644), 0);
		return;
	}
	assert_string_equal(at + 1, keys);
}

static void an_expanded_plan_expands_to_itself(void **s)
{
	struct plan *p = planrig_load(late);
	AUTO_FREE char *once = plan_expand(p);

	(void)s;
	plan_free(p);
	p = planrig_load(once);
	AUTO_FREE char *twice = plan_expand(p);
	assert_string_equal(once, twice);
	plan_free(p);
}

static void the_recipes_that_come_with_drover_compile(void **s)
{
	static const char *const recipes[] = { "p2v", "v2v" };

	(void)s;
	for (size_t i = 0; i < ARRAY_LEN(recipes); i++) {
		AUTO_FREE char *text = mem_printf(HEAD "machines:\n  one:\n    recipe: %s\n"
			"    source: { host: old, disks: [/dev/sda] }\n"
			"    target: { host: new, dir: /srv }\n", recipes[i]);
		struct plan *p = planrig_load(text);
		const struct plan_machine *m = &p->machines[0];
		assert_string_equal(m->steps[0]->id, "machine");
		assert_string_equal(m->steps[m->step_count - 1]->id, "readback");
		plan_free(p);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(machines_of_a_recipe_share_its_steps),
		cmocka_unit_test(what_only_a_run_knows_is_put_in_later_and_typed_then),
		cmocka_unit_test(a_fact_that_is_not_known_is_an_error_with_the_steps_place),
		cmocka_unit_test(a_fact_of_the_wrong_type_is_an_error),
		cmocka_unit_test(conditions_compare_facts),
		cmocka_unit_test(machines_are_chosen_by_name_glob_and_label),
		cmocka_unit_test(the_hash_is_of_the_meaning_and_not_of_the_spelling),
		cmocka_unit_test(the_hash_sees_what_a_step_is_told),
		cmocka_unit_test(the_hash_sees_what_a_check_says),
		cmocka_unit_test(the_key_reference_names_every_key),
		cmocka_unit_test(the_page_holds_the_key_reference_as_the_table_has_it),
		cmocka_unit_test(an_expanded_plan_expands_to_itself),
		cmocka_unit_test(the_recipes_that_come_with_drover_compile),
	};

	return cmocka_run_group_tests(tests, planrig_up, planrig_down);
}
