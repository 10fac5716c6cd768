/* SPDX-License-Identifier: Apache-2.0
 * test_secret - what was fetched is found in every form, and goes nowhere.
 */
#include "engine/plan/vault.h"
#include "engine/base/mem.h"
#include "tests/unit/migration.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VALUE "pass\"word 4711\\"

static void assert_redacted(const struct vault *v, const char *text, const char *want)
{
	AUTO_FREE char *clean = vault_redact(v, text);

	if (!want)
		assert_null(clean);
	else
		assert_string_equal(clean, want);
}

static void it_is_found_in_clear_as_json_in_hex_and_in_base64(void **s)
{
	struct vault *v = vault_new();

	(void)s;
	assert_string_equal(vault_put(v, "kvm", VALUE, strlen(VALUE)), VALUE);
	assert_string_equal(vault_get(v, "kvm"), VALUE);
	assert_null(vault_get(v, "ilo"));
	assert_redacted(v, "it is " VALUE ", twice: " VALUE VALUE "!",
			"it is [secret:kvm], twice: [secret:kvm][secret:kvm]!");
	assert_redacted(v, "{\"p\": \"pass\\\"word 4711\\\\\"}", "{\"p\": \"[secret:kvm]\"}");
	assert_redacted(v, "7061737322776f726420343731315c", "[secret:kvm]");
	assert_redacted(v, "7061737322776F726420343731315C", "[secret:kvm]");
	/* base64 of it, of "x" and it and "yz", of "xy" and it and "z" */
	assert_redacted(v, "cGFzcyJ3b3JkIDQ3MTFc", "[secret:kvm]");
	assert_redacted(v, "eHBhc3Mid29yZCA0NzExXHl6", "eH[secret:kvm]Hl6");
	assert_redacted(v, "eHlwYXNzIndvcmQgNDcxMVx6", "eHl[secret:kvm]x6");
	assert_redacted(v, "password 4711", NULL);
	vault_free(v);
}

static void a_short_one_counts_only_where_it_stands_alone(void **s)
{
	struct vault *v = vault_new();

	(void)s;
	vault_put(v, "pin", "12", 2);
	assert_redacted(v, "the pin 12, not 123, a12 or 3132", "the pin [secret:pin], not 123, a12 or 3132");
	vault_free(v);
}

static void of_two_at_one_place_the_longer_one_is_named(void **s)
{
	struct vault *v = vault_new();

	(void)s;
	vault_put(v, "short", "abcdef", 6);
	vault_put(v, "long", "abcdefgh", 8);
	vault_put(v, "also", "abcdef", 6);
	assert_redacted(v, "abcdefgh abcdef", "[secret:long] [secret:also]");
	vault_free(v);
}

static void json_is_redacted_in_its_depth_and_else_left_alone(void **s)
{
	struct vault *v = vault_new();
	AUTO_JSON *dirty = json_pack("{s:[s,{s:s}],s:i}", "a", "x", VALUE "key", VALUE, "n", 1);
	AUTO_JSON *clean = json_pack("{s:s}", "a", "b"), *same = NULL, *out = NULL;
	AUTO_FREE char *text = NULL;

	(void)s;
	vault_put(v, "kvm", VALUE, strlen(VALUE));
	out = vault_redact_json(v, dirty);
	text = json_canonical(out);
	assert_string_equal(text, "{\"a\":[\"x\",{\"[secret:kvm]key\":\"[secret:kvm]\"}],\"n\":1}");
	same = vault_redact_json(v, clean);
	assert_ptr_equal(same, clean);
	assert_string_equal(vault_told_json(v, dirty), "kvm");
	vault_free(v);
}

/* ---- in a run: what a host says --------------------------------------------------- */

static struct vault *vault_of(struct migration *g)
{
	return g->p.plan->vault;
}

static void a_ledger_entry_that_tells_one_fails_the_step(void **s)
{
	struct migration *g = migration_new();

	(void)s;
	vault_put(vault_of(g), "kvm", "/run/boot", 9);
	assert_int_equal(migration_run(g, RUN_GO), ERR_STEP);
	assert_string_equal(g->err.what, "cannot record what the module 'validate.boot' keeps: "
		"it holds the secret 'kvm', and no secret is ever recorded");
	assert_int_equal(fake_get(g->f, "b.boot"), 0);
	migration_free(g);
}

static void a_fact_that_tells_one_fails_the_step(void **s)
{
	struct migration *g = migration_new();

	(void)s;
	vault_put(vault_of(g), "kvm", "machine", 7);	/* the fact's name is all it says */
	assert_int_equal(migration_run(g, RUN_GO), ERR_STEP);
	assert_non_null(strstr(g->err.what, "found: it holds the secret 'kvm'"));
	migration_free(g);
}

static void evidence_is_recorded_without_it(void **s)
{
	struct migration *g = migration_new();
	AUTO_JSON *files = NULL;
	AUTO_FREE char *text = NULL;

	(void)s;
	vault_put(vault_of(g), "kvm", "login:", 6);
	assert_int_equal(migration_run(g, RUN_GO), 0);
	files = migration_files(g);
	text = json_canonical(files);
	assert_non_null(strstr(text, "[secret:kvm]"));
	assert_null(strstr(text, "login:"));
	migration_free(g);
}

/* ---- in a run: who gets it --------------------------------------------------------- */

static void only_off_sees_it(struct fake *f, const char *module, const char *op)
{
	AUTO_FREE char *text = json_canonical(f->input);
	bool has = strstr(text, "pass 4711"), named = strstr(text, "secret:ipmi");

	(void)op;
	if (has == named || has != !strcmp(module, "cutover.off"))
		fail_msg("%s %s the secret", module, has ? "was given" : "was not given");
}

static void what_switches_power_goes_where_power_is_switched(void **s)
{
	struct migration *g = migration_passing();
	json_t *power = jget(plan_machine_spec(g->p.plan, 0), "source.power.command");
	AUTO_JSON *files = NULL;
	AUTO_FREE char *text = NULL;

	(void)s;
	jset(g->p.plan->secrets, "ipmi", json_pack("{s:s}", "prompt", "never asked"));
	vault_put(vault_of(g), "ipmi", "pass 4711", 9);
	jset_str(power, "stdin", "secret:ipmi");
	g->f->on_call = only_off_sees_it;
	assert_int_equal(migration_run(g, RUN_CUTOVER), 0);
	assert_int_equal(fake_applies(g->f, "cutover.off"), 1);
	files = migration_files(g);
	text = json_canonical(files);
	assert_null(strstr(text, "pass 4711"));
	migration_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_found_in_clear_as_json_in_hex_and_in_base64),
		cmocka_unit_test(a_short_one_counts_only_where_it_stands_alone),
		cmocka_unit_test(of_two_at_one_place_the_longer_one_is_named),
		cmocka_unit_test(json_is_redacted_in_its_depth_and_else_left_alone),
		cmocka_unit_test(a_ledger_entry_that_tells_one_fails_the_step),
		cmocka_unit_test(a_fact_that_tells_one_fails_the_step),
		cmocka_unit_test(evidence_is_recorded_without_it),
		cmocka_unit_test(what_switches_power_goes_where_power_is_switched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
