/* SPDX-License-Identifier: Apache-2.0
 * Plans: what they say of machines, hosts, secrets and limits, typed and written out.
 */
#include "engine/plan/plan.h"
#include "tests/unit/planrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void short_forms_are_written_out_for_modules(void **s)
{
	struct plan *p = planrig_load(planrig_two_disks);
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
	struct plan *p = planrig_load(planrig_two_disks);
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
	struct plan *p = planrig_load(HEAD "maps:\n"
		"  storage: { ds1: { pool: fast }, ds2: { vg: data }, "
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
	struct plan *p = planrig_load(HEAD
		"maps: { storage: { old: { dir: /srv/x } } }\nmachines:\n"
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
	struct plan *p = planrig_load(HEAD "machines:\n  one:\n"
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
	struct plan *p = planrig_load("plan: t\n"
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

static void secrets_come_from_where_the_plan_says(void **s)
{
	AUTO_FREE char *file = planrig_put("key", "hunter2\nsecond line\n");
	AUTO_FREE char *text = mem_printf(HEAD
		"secrets: { f: { file: \"%s\" }, e: { env: DROVER_TEST_SECRET }, "
		"c: { command: [ printf, 'a b\\n' ] }, n: { command: [ \"false\" ] } }\n"
		"machines:\n  one:\n    source: { host: old, disks: [/dev/sda] }\n"
		"    target: { host: new, dir: /srv }\n" STEP, file);
	struct plan *p = planrig_load(text);
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
	AUTO_FREE char *file = planrig_put("open", "hunter2\n");
	AUTO_FREE char *text = mem_printf(HEAD "secrets: { f: { file: \"%s\" } }\n"
		"machines:\n  one:\n    source: { host: old, disks: [/dev/sda] }\n"
		"    target: { host: new, dir: /srv }\n" STEP, file);
	struct plan *p = planrig_load(text);
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
	struct plan *p = planrig_load(HEAD
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
	struct plan *p = planrig_load(HEAD
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_forms_are_written_out_for_modules),
		cmocka_unit_test(the_target_of_every_copied_disk_is_written_out),
		cmocka_unit_test(a_disks_place_comes_from_its_row_then_its_store_then_its_target),
		cmocka_unit_test(the_pool_of_a_domains_disk_is_its_store),
		cmocka_unit_test(images_become_disks_with_a_format),
		cmocka_unit_test(hosts_are_taken_apart),
		cmocka_unit_test(secrets_come_from_where_the_plan_says),
		cmocka_unit_test(a_secret_that_others_may_read_is_refused),
		cmocka_unit_test(limits_and_waived_findings_are_typed),
		cmocka_unit_test(rates_hold_at_their_hours),
	};

	return cmocka_run_group_tests(tests, planrig_up, planrig_down);
}
