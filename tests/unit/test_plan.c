/* SPDX-License-Identifier: Apache-2.0
 * Plans: what they compile to. What is wrong with plans is told in tests/plans.
 */
#include "engine/base/io.h"
#include "engine/plan/plan.h"
#include "engine/plan/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/drover-test.XXXXXX";

static int make_dir(void **s)
{
	(void)s;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **s)
{
	(void)s;
	return io_remove_tree(dir);
}

static char *put(const char *name, const char *text)
{
	char *path = mem_printf("%s/%s", dir, name);

	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0600), 0);
	return path;
}

/* The plan of a text; fails the test with its errors when it has any. */
static struct plan *load(const char *text)
{
	AUTO_FREE char *path = put("plan.yaml", text);
	struct err_list errors = { 0 };
	struct plan *p = plan_load(path, &errors);

	for (size_t i = 0; i < errors.count; i++)
		err_print(stderr, &errors.v[i]);
	assert_non_null(p);
	assert_int_equal(errors.count, 0);
	err_list_free(&errors);
	return p;
}

#define HEAD "plan: t\nhosts: { old: { ssh: root@old }, new: { ssh: ops@new:2222 } }\n"
#define STEP "    assess: [ file: { path: /etc/hostname } ]\n"

static const char two_disks[] = HEAD
	"maps: { networks: { lan: br0 } }\n"
	"machines:\n"
	"  one:\n"
	"    labels: { app: erp, wave: 1 }\n"
	"    downtime: 10m\n"
	"    source:\n"
	"      host: old\n"
	"      disks: { root: wwn-1, data: /dev/sdb, scratch: { serial: S3, copy: false } }\n"
	"      nics: { eth0: \"52:54:00:12:34:56\" }\n"
	"      power: { libvirt: { domain: one } }\n"
	"    target:\n"
	"      host: new\n"
	"      dir: \"/srv/${labels.app}/${machine}\"\n"
	"      memory: 32GiB\n"
	"      disks: { data: { path: /dev/vg/data } }\n"
	"      nics: { eth0: { address: 10.0.0.5/24 } }\n" STEP;

static void short_forms_are_written_out_for_modules(void **s)
{
	struct plan *p = load(two_disks);
	const json_t *m = plan_machine_spec(p, 0);

	(void)s;
	assert_string_equal(jstr(m, "name", ""), "one");
	assert_string_equal(jstr(m, "source.kind", ""), "block");
	assert_string_equal(jstr(m, "source.disks.root.id", ""), "wwn-1");
	assert_true(jbool(m, "source.disks.root.copy", false));
	assert_string_equal(jstr(m, "source.disks.data.path", ""), "/dev/sdb");
	assert_false(jbool(m, "source.disks.scratch.copy", true));
	assert_string_equal(jstr(m, "source.nics.eth0.mac", ""), "52:54:00:12:34:56");
	assert_string_equal(jstr(m, "source.power.libvirt.at", ""), "old");
	assert_string_equal(jstr(m, "maps.networks.lan", ""), "br0");
	assert_int_equal(jint(m, "downtime_ms", 0), 600000);
	assert_string_equal(jstr(m, "labels.wave", ""), "1");
	plan_free(p);
}

static void the_target_of_every_copied_disk_is_written_out(void **s)
{
	struct plan *p = load(two_disks);
	const json_t *m = plan_machine_spec(p, 0);

	(void)s;
	assert_string_equal(jstr(m, "target.dir", ""), "/srv/erp/one");
	assert_true(jint(m, "target.memory", 0) == 32ll << 30);
	assert_string_equal(jstr(m, "target.format", ""), "qcow2");
	assert_string_equal(jstr(m, "target.start", ""), "auto");
	assert_false(jbool(m, "target.replace", true));
	assert_string_equal(jstr(m, "target.disks.root.format", ""), "qcow2");
	assert_true(json_is_null(jget(m, "target.disks.root.path")));
	assert_string_equal(jstr(m, "target.disks.data.format", ""), "raw");
	assert_int_equal(jint(m, "target.disks.data.size", -1), 0);
	assert_null(jget(m, "target.disks.scratch"));
	assert_string_equal(jstr(m, "target.nics.eth0.mac", ""), "keep");
	plan_free(p);
}

static const char *way(const json_t *spec, const char *disk, const char *key)
{
	const json_t *row = json_object_get(jget(spec, "target.disks"), disk);

	return jstr(row, key, NULL);
}

static void a_disks_place_comes_from_its_row_then_its_store_then_its_target(void **s)
{
	struct plan *p = load(HEAD "maps:\n  storage: { ds1: { pool: fast }, ds2: { vg: data }, "
		"/srv/deep: { dir: /srv/x }, ds2/web: { dir: /srv/web } }\nmachines:\n  one:\n"
		"    source: { host: old, images: { a: /vmfs/volumes/ds1/one/a.raw, "
		"b: /vmfs/volumes/ds2/one/b.raw, c: /srv/deep/c.raw, d: /srv/deeper/d.raw, "
		"e: /vmfs/volumes/ds1/e.raw, f: /mnt/ds2/web/f.raw, g: /srv/ds1 } }\n"
		"    target: { host: new, dir: /srv, vg: rest, disks: { e: { path: /dev/sdx } } }\n"
		STEP);
	const json_t *m = plan_machine_spec(p, 0);

	(void)s;
	assert_string_equal(way(m, "a", "pool"), "fast");
	assert_null(way(m, "a", "format"));	/* its host knows what the pool holds */
	assert_string_equal(way(m, "b", "vg"), "data");
	assert_string_equal(way(m, "b", "format"), "raw");
	assert_string_equal(way(m, "c", "dir"), "/srv/x");
	assert_string_equal(way(m, "c", "format"), "qcow2");
	assert_string_equal(way(m, "d", "vg"), "rest");
	assert_string_equal(way(m, "e", "path"), "/dev/sdx");
	assert_null(way(m, "e", "pool"));
	assert_string_equal(way(m, "f", "dir"), "/srv/web");
	assert_string_equal(way(m, "g", "vg"), "rest");
	plan_free(p);
}

static void the_pool_of_a_domains_disk_is_its_store(void **s)
{
	struct plan *p = load(HEAD "maps: { storage: { old: { dir: /srv/x } } }\nmachines:\n"
		"  one:\n    source: { host: old, domain: web }\n"
		"    target: { host: new, dir: /srv }\n" STEP);
	AUTO_JSON *m = json_deep_copy(plan_machine_spec(p, 0));

	(void)s;
	jset(jget(m, "source.disks"), "vda", json_pack("{s:s,s:s}", "image", "/pools/1/web.raw",
						       "store", "old"));
	jset(jget(m, "source.disks"), "vdb", json_pack("{s:s}", "image", "/pools/2/web.raw"));
	plan_place_disks(m);
	assert_string_equal(way(m, "vda", "dir"), "/srv/x");
	assert_null(way(m, "vdb", "dir"));
	assert_string_equal(way(m, "vdb", "format"), "qcow2");
	plan_free(p);
}

static void images_become_disks_with_a_format(void **s)
{
	struct plan *p = load(HEAD "machines:\n  one:\n"
		"    source: { host: old, images: [ /srv/a.raw, { path: /srv/b.qcow2 }, /srv/c ] }\n"
		"    target: { host: new, dir: /srv }\n" STEP
		"  two:\n    source: { host: old, domain: web }\n"
		"    target: { host: new, dir: /srv }\n" STEP);
	const json_t *m = plan_machine_spec(p, 0), *two = plan_machine_spec(p, 1);

	(void)s;
	assert_string_equal(jstr(m, "source.kind", ""), "image");
	assert_string_equal(jstr(m, "source.disks.root.image", ""), "/srv/a.raw");
	assert_string_equal(jstr(m, "source.disks.root.format", ""), "raw");
	assert_string_equal(jstr(m, "source.disks.disk1.image", ""), "/srv/b.qcow2");
	assert_string_equal(jstr(m, "source.disks.disk1.format", ""), "qcow2");
	assert_string_equal(jstr(m, "source.disks.disk2.format", ""), "raw");
	assert_null(jget(m, "source.images"));
	assert_null(jget(m, "source.power"));
	assert_string_equal(jstr(two, "source.kind", ""), "domain");
	assert_string_equal(jstr(two, "source.power.libvirt.domain", ""), "web");
	plan_free(p);
}

static void hosts_are_taken_apart(void **s)
{
	struct plan *p = load("plan: t\n"
		"hosts: { old: { ssh: \"root@[2001:db8::1]:2222\" }, new: { local: true }, "
		"b: { ssh: alias } }\n"
		"machines:\n  one:\n    source: { host: old, disks: [/dev/sda] }\n"
		"    target: { host: new, dir: /srv }\n" STEP);

	(void)s;
	assert_int_equal(p->host_count, 3);
	assert_string_equal(jstr(p->hosts[0].spec, "name", ""), "old");
	assert_string_equal(jstr(p->hosts[0].spec, "ssh.host", ""), "2001:db8::1");
	assert_string_equal(jstr(p->hosts[0].spec, "ssh.user", ""), "root");
	assert_int_equal(jint(p->hosts[0].spec, "ssh.port", 0), 2222);
	assert_true(p->hosts[1].local);
	assert_string_equal(jstr(p->hosts[2].spec, "ssh.host", ""), "alias");
	assert_null(jget(p->hosts[2].spec, "ssh.user"));
	assert_true(p->hosts[0].used && p->hosts[1].used);
	assert_false(p->hosts[2].used);
	assert_int_equal(p->machines[0].source_host, 0);
	assert_int_equal(p->machines[0].target_host, 1);
	assert_int_equal(plan_find_host(p, "b"), 2);
	assert_int_equal(plan_find_host(p, "c"), -1);
	plan_free(p);
}

static void machines_of_a_recipe_share_its_steps(void **s)
{
	free(put("r.yaml", "recipe: r\nassess:\n  - file: { path: /a }\n"
				     "cutover:\n  - file: { path: /b }\n"));
	struct plan *p = load(HEAD
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
	struct plan *p = load(late);
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
	struct plan *p = load(late);
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
	struct plan *p = load(late);
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
	struct plan *p = load(two_disks);

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
	struct plan *p = load(text);

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
	free(put("c.lua", "return true"));
	hash_of(text, a);
	free(put("c.lua", "return false"));
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
	struct plan *p = load(late);
	AUTO_FREE char *once = plan_expand(p);

	(void)s;
	plan_free(p);
	p = load(once);
	AUTO_FREE char *twice = plan_expand(p);
	assert_string_equal(once, twice);
	plan_free(p);
}

static void secrets_come_from_where_the_plan_says(void **s)
{
	AUTO_FREE char *file = put("key", "hunter2\nsecond line\n");
	AUTO_FREE char *text = mem_printf(HEAD
		"secrets: { f: { file: \"%s\" }, e: { env: DROVER_TEST_SECRET }, "
		"c: { command: [ printf, 'a b\\n' ] }, n: { command: [ \"false\" ] } }\n"
		"machines:\n  one:\n    source: { host: old, disks: [/dev/sda] }\n"
		"    target: { host: new, dir: /srv }\n" STEP, file);
	struct plan *p = load(text);
	AUTO_ERR e = { 0 };
	const char *v;

	(void)s;
	v = plan_secret(p, "secret:f", &e);
	assert_string_equal(v, "hunter2");
	v = plan_secret(p, "secret:c", &e);
	assert_string_equal(v, "a b");
	unsetenv("DROVER_TEST_SECRET");
	assert_null(plan_secret(p, "secret:e", &e));
	assert_string_equal(e.what, "cannot fetch the secret 'e': the variable "
			    "DROVER_TEST_SECRET is not set");
	setenv("DROVER_TEST_SECRET", "x", 1);
	v = plan_secret(p, "secret:e", &e);
	assert_string_equal(v, "x");
	err_clear(&e);
	assert_null(plan_secret(p, "secret:n", &e));
	assert_true(err_is(&e));
	plan_free(p);
}

static void a_secret_that_others_may_read_is_refused(void **s)
{
	AUTO_FREE char *file = put("open", "hunter2\n");
	AUTO_FREE char *text = mem_printf(HEAD "secrets: { f: { file: \"%s\" } }\n"
		"machines:\n  one:\n    source: { host: old, disks: [/dev/sda] }\n"
		"    target: { host: new, dir: /srv }\n" STEP, file);
	struct plan *p = load(text);
	AUTO_ERR e = { 0 };

	(void)s;
	assert_int_equal(chmod(file, 0644), 0);
	assert_null(plan_secret(p, "secret:f", &e));
	assert_non_null(strstr(e.what, "others may read it"));
	assert_non_null(strstr(e.hint, "chmod 600"));
	plan_free(p);
}

static void limits_and_waived_findings_are_typed(void **s)
{
	struct plan *p = load(HEAD
		"limits: { convert: 4, host: 2, bandwidth: 400MiB/s }\n"
		"accept: [ { finding: net.mtu, until: 2028-02-29, reason: x } ]\n"
		"machines:\n  one:\n    source: { host: old, disks: [/dev/sda] }\n"
		"    target: { host: new, dir: /srv }\n" STEP);

	(void)s;
	assert_int_equal(p->limits.phase[PHASE_CONVERT], 4);
	assert_int_equal(p->limits.phase[PHASE_ASSESS], 0);
	assert_int_equal(p->limits.host, 2);
	assert_true(plan_rate_at(&p->limits.bandwidth, 0) == 400ull << 20);
	assert_true(plan_rate_at(&p->limits.read, 0) == 0);
	assert_int_equal(p->accept_count, 1);
	assert_string_equal(p->accept[0].finding, "net.mtu");
	assert_null(p->accept[0].machine);
	plan_free(p);
}

static void rates_hold_at_their_hours(void **s)
{
	struct plan *p = load(HEAD
		"limits: { bandwidth: [ { rate: 50MiB/s, from: 08:00, to: \"18:00\" },\n"
		"    { rate: 900MiB/s, from: \"22:30\", to: \"06:00\" }, { rate: 200MiB/s } ],\n"
		"  read: [ { rate: 10MiB/s, from: \"12:00\" } ] }\n"
		"machines:\n  one:\n    source: { host: old, disks: [/dev/sda] }\n"
		"    target: { host: new, dir: /srv }\n" STEP);
	static const struct { int minute, rate; } at[] = {
		{ 0, 900 }, { 359, 900 }, { 360, 200 }, { 479, 200 }, { 480, 50 }, { 1079, 50 },
		{ 1080, 200 }, { 1349, 200 }, { 1350, 900 }, { 1439, 900 },
	};

	(void)s;
	for (size_t i = 0; i < ARRAY_LEN(at); i++)
		assert_int_equal(plan_rate_at(&p->limits.bandwidth, at[i].minute) >> 20, at[i].rate);
	assert_int_equal(plan_rate_at(&p->limits.read, 719), 0);
	assert_int_equal(plan_rate_at(&p->limits.read, 720) >> 20, 10);
	assert_int_equal(plan_rate_at(&p->limits.read, 1439) >> 20, 10);
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
		struct plan *p = load(text);
		const struct plan_machine *m = &p->machines[0];
		assert_string_equal(m->steps[0]->id, "machine");
		assert_string_equal(m->steps[m->step_count - 1]->id, "readback");
		plan_free(p);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_forms_are_written_out_for_modules),
		cmocka_unit_test(the_target_of_every_copied_disk_is_written_out),
		cmocka_unit_test(a_disks_place_comes_from_its_row_then_its_store_then_its_target),
		cmocka_unit_test(the_pool_of_a_domains_disk_is_its_store),
		cmocka_unit_test(images_become_disks_with_a_format),
		cmocka_unit_test(hosts_are_taken_apart),
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
		cmocka_unit_test(secrets_come_from_where_the_plan_says),
		cmocka_unit_test(a_secret_that_others_may_read_is_refused),
		cmocka_unit_test(limits_and_waived_findings_are_typed),
		cmocka_unit_test(rates_hold_at_their_hours),
		cmocka_unit_test(the_recipes_that_come_with_drover_compile),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
