/* SPDX-License-Identifier: Apache-2.0
 * test_places - where disks go at the target: volume groups, pools, room, and what is
 * said of disks that grow. LVM and virsh are stood in for.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/layout.h"
#include "modules/lib/pool.h"
#include "modules/lib/volume.h"
#include "tests/unit/modtest.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1ll << 20)

struct rig {
	char dir[64];		/* images/, lvm/data/, bin/ */
	char *path;		/* PATH as it was */
	json_t *rows;		/* target.disks */
	json_t *disks;		/* of the fact `machine` */
};

static void put(struct rig *r, const char *name, const char *text, unsigned mode)
{
	AUTO_FREE char *path = mem_printf("%s/%s", r->dir, name);

	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), mode), 0);
}

static int set_up(void **state)
{
	static const char *const tools[] = { "lvs", "vgs", "lvcreate", "lvextend", "lvremove" };
	static const char *const dirs[] = { "images", "bin", "lvm", "lvm/data" };
	struct rig *r = mem_alloc(sizeof(*r));
	AUTO_FREE char *fake = realpath("tests/lib/fake-lvm", NULL), *path = NULL, *root = NULL;

	assert_non_null(fake);
	strcpy(r->dir, "/tmp/drover-test.places.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		AUTO_FREE char *dir = mem_printf("%s/%s", r->dir, dirs[i]);
		assert_int_equal(mkdir(dir, 0755), 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
		AUTO_FREE char *link = mem_printf("%s/bin/%s", r->dir, tools[i]);
		assert_int_equal(symlink(fake, link), 0);
	}
	root = mem_printf("%s/lvm", r->dir);
	put(r, "bin/root", root, 0644);
	put(r, "lvm/data.size", "419430400", 0644);
	r->path = mem_strdup(getenv("PATH"));
	path = mem_printf("%s/bin:%s", r->dir, r->path);
	setenv("PATH", path, 1);
	r->rows = json_object();
	r->disks = json_array();
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	setenv("PATH", r->path, 1);
	assert_int_equal(io_remove_tree(r->dir), 0);
	json_decref(r->rows);
	json_decref(r->disks);
	free(r->path);
	free(r);
	return 0;
}

/* ---- the machine ------------------------------------------------------------------- */

static void add_disk(struct rig *r, const char *name, long long size, json_t *row)
{
	jset(r->rows, name, row);
	jadd(r->disks, json_pack("{s:s,s:I,s:s,s:[{s:i,s:I,s:s}]}", "name", name, "size",
				 (json_int_t)size, "table", "gpt", "partitions", "number", 1,
				 "start", (json_int_t)MIB, "fs", "ext4"));
}

static json_t *machine_of(struct rig *r)
{
	AUTO_FREE char *images = mem_printf("%s/images", r->dir);
	json_t *disks = json_object(), *row;
	const char *name;

	json_object_foreach(r->rows, name, row)
		jset(disks, name, json_pack("{s:s}", "image", "/nowhere"));
	return json_pack("{s:s,s:{s:s,s:o},s:{s:s,s:s,s:O}}", "name", "erp", "source", "kind",
			 "image", "disks", disks, "target", "dir", images, "format", "qcow2",
			 "disks", r->rows);
}

static json_t *probe(struct rig *r, const char *module)
{
	AUTO_JSON *in = json_pack("{s:{},s:o,s:{s:{s:O}},s:s,s:{s:s,s:b}}", "args", "machine",
				  machine_of(r), "facts", "machine", "disks", r->disks, "role",
				  "target", "run", "lineage", "l1", "preview", 1);
	json_t *out = modtest_call(module, "probe", in, NULL);

	if (!jbool(out, "ok", false))
		fail_msg("%s", jstr(out, "error.text", "?"));
	return out;
}

/* "text | remedy" of the finding; "" when there is none. Caller frees. */
static char *finding(const json_t *result, const char *code)
{
	const json_t *f;
	size_t i;

	json_array_foreach(jget(result, "findings"), i, f)
		if (strcmp(jstr(f, "code", ""), code) == 0)
			return mem_printf("%s: %s | %s", jstr(f, "severity", ""),
					  jstr(f, "text", ""), jstr(f, "remedy", ""));
	return mem_strdup("");
}

/* ---- room -------------------------------------------------------------------------- */

static void assess_compares_what_a_group_has_with_what_will_be_written(void **state)
{
	struct rig *r = *state;
	AUTO_JSON *out = NULL;
	AUTO_FREE char *said = NULL, *place = mem_printf("%s/images", r->dir);
	const json_t *host;

	add_disk(r, "root", 100 * MIB, json_pack("{s:s}", "vg", "data"));
	add_disk(r, "data", 200 * MIB, json_pack("{s:s,s:I}", "vg", "data", "size",
						 (json_int_t)(320 * MIB)));
	out = probe(r, "assess.host");
	host = jget(out, "facts.host.volatile");
	assert_int_equal(json_integer_value(json_object_get(jget(host, "space"), "vg data")),
			 400 * MIB);
	assert_int_equal(json_integer_value(json_object_get(jget(host, "needed"), "vg data")),
			 420 * MIB);
	assert_int_equal(json_integer_value(json_object_get(jget(host, "needed"), place)), 0);
	said = finding(out, "target.space");
	assert_string_equal(said, "blocker: the disks need 420 MiB, volume group 'data' has 400 MiB "
				  "free | free space there, or choose another target.dir");
}

static void assess_names_a_group_that_is_not_there(void **state)
{
	struct rig *r = *state;
	AUTO_JSON *out = NULL;
	AUTO_FREE char *said = NULL;

	add_disk(r, "root", 100 * MIB, json_pack("{s:s}", "vg", "dato"));
	out = probe(r, "assess.host");
	said = finding(out, "target.place");
	assert_string_equal(said, "blocker: cannot use volume group 'dato': vgs: Volume group "
				  "\"dato\" not found | type on its host: vgs; lvs 'dato'");
}

static void a_file_may_grow_beyond_the_room_there(void **state)
{
	struct rig *r = *state;
	AUTO_JSON *out = NULL;
	AUTO_FREE char *said = NULL;

	add_disk(r, "root", 100 * MIB, json_pack("{s:I}", "size", (json_int_t)1 << 50));
	out = probe(r, "assess.host");
	said = finding(out, "target.space-thin");
	assert_ptr_equal(strstr(said, "info: the disks may grow to 1.0 PiB, '/"), said);
}

static void a_disk_that_grows_says_what_to_type_in_the_guest(void **state)
{
	struct rig *r = *state;
	AUTO_JSON *out = NULL;
	AUTO_FREE char *said = NULL;

	add_disk(r, "root", 100 * MIB, json_pack("{s:s,s:I}", "vg", "data", "size",
						 (json_int_t)(320 * MIB)));
	out = probe(r, "convert.disks");
	said = finding(out, "disk.grows");
	assert_string_equal(said, "info: disk 'root' grows from 100 MiB to 320 MiB; its partition "
				  "table and file systems do not use the new space by themselves | "
				  "in the guest, once it runs: sgdisk --move-second-header "
				  "/dev/DISK; growpart /dev/DISK 1; resize2fs /dev/DISK1");
}

/* ---- volumes ------------------------------------------------------------------------ */

static void a_volume_is_ours_by_its_whole_tag(void **state)
{
	struct rig *r = *state;
	AUTO_VOLUME v = { .vg = "data", .name = "erp-root", .tag = "drover/l1/erp/root" };
	AUTO_ERR e = { 0 };

	assert_int_equal(volume_look(&v, &e), 0);
	assert_false(v.exists);
	assert_int_equal(volume_make(&v, 5 * MIB, &e), 0);
	assert_int_equal(volume_look(&v, &e), 0);
	assert_true(v.exists && v.ours);
	assert_int_equal(v.size, 8 * MIB);	/* whole extents */
	put(r, "lvm/data/erp-root.tag", "other,drover/l1/erp/root2,drover/l1/erp", 0644);
	assert_int_equal(volume_look(&v, &e), 0);
	assert_true(v.exists && !v.ours);
	assert_int_equal(volume_make(&v, 5 * MIB, &e), -1);
	assert_string_equal(e.what, "cannot use volume group 'data': lvcreate: Logical Volume "
				    "\"erp-root\" already exists in volume group \"data\"");
}

static void what_lvm_says_must_be_readable(void **state)
{
	struct rig *r = *state;
	AUTO_VOLUME v = { .vg = "data", .name = "x", .tag = "y" };
	AUTO_FREE char *link = mem_printf("%s/bin/lvs", r->dir);
	AUTO_ERR e = { 0 };

	assert_int_equal(unlink(link), 0);
	put(r, "bin/lvs", "#!/bin/sh\necho '{\"report\": []}'\n", 0755);
	assert_int_equal(volume_look(&v, &e), -1);
	assert_string_equal(e.what, "cannot use volume group 'data': lvs said nothing that can be "
				    "read");
}

/* ---- pools ------------------------------------------------------------------------- */

static void pools_of_files_and_of_volumes_are_told_apart(void **state)
{
	static const char dir[] = "<pool type='netfs'><name>p</name><source><dir path='/x'/>"
				  "</source><target><path>/srv/p</path></target></pool>";
	static const char lvm[] = "<pool type='logical'><source><name>vg0</name></source>"
				  "<target><path>/dev/vg0</path></target></pool>";
	static const char rbd[] = "<pool type='rbd'><source><name>rbd</name></source></pool>";
	AUTO_ERR e = { 0 };
	AUTO_POOL p = { 0 };

	(void)state;
	assert_int_equal(pool_read("p", dir, strlen(dir), &p, &e), 0);
	assert_string_equal(p.dir, "/srv/p");
	assert_null(p.vg);
	pool_free(&p);
	assert_int_equal(pool_read("p", lvm, strlen(lvm), &p, &e), 0);
	assert_string_equal(p.vg, "vg0");
	assert_null(p.dir);
	pool_free(&p);
	assert_int_equal(pool_read("p", rbd, strlen(rbd), &p, &e), -1);
	assert_string_equal(e.what, "cannot use storage pool 'p': drover does not write to a pool "
				    "of type 'rbd'");
}

static void a_pool_of_volumes_takes_raw_volumes(void **state)
{
	struct rig *r = *state;
	AUTO_LAYOUT_DISK d = { 0 };
	AUTO_JSON *machine = NULL;
	AUTO_ERR e = { 0 };

	put(r, "bin/virsh", "#!/bin/sh\ncase $2 in pool-list) echo 'fast ';; *) echo \"<pool "
	    "type='logical'><source><name>data</name></source></pool>\";; esac\n", 0755);
	add_disk(r, "root", MIB, json_pack("{s:s}", "pool", "fast"));
	machine = machine_of(r);
	assert_int_equal(layout_of_disk(machine, "root", &d, &e), 0);
	assert_int_equal(d.kind, AT_VOLUME);
	assert_string_equal(d.base, "/dev/data/erp-root");
	assert_string_equal(d.format, "raw");
	layout_disk_free(&d);
	jset_str(json_object_get(r->rows, "root"), "format", "qcow2");
	assert_int_equal(layout_of_disk(machine, "root", &d, &e), -1);
	assert_string_equal(e.what, "cannot write disk 'root' as format 'qcow2'");
	assert_string_equal(e.hint, "a device takes format: raw");
}

/* ---- the record ---------------------------------------------------------------------- */

static void the_record_wins_over_a_plan_that_changed(void **state)
{
	struct rig *r = *state;
	AUTO_FREE char *home = mem_printf("%s/images/erp", r->dir);
	AUTO_FREE char *text = mem_printf("cannot tell where a disk is: '%s/root.place' is damaged",
					  home);
	AUTO_LAYOUT_DISK d = { 0 };
	AUTO_JSON *machine = NULL;
	AUTO_ERR e = { 0 };

	assert_int_equal(mkdir(home, 0700), 0);
	add_disk(r, "root", MIB, json_pack("{s:s}", "vg", "data"));
	machine = machine_of(r);
	assert_int_equal(layout_of_begun(machine, "root", &d, &e), 0);
	assert_int_equal(layout_of_disk(machine, "root", &d, &e), 0);
	assert_int_equal(layout_record(&d, &e), 0);
	layout_disk_free(&d);
	jset_str(json_object_get(r->rows, "root"), "vg", "other");
	assert_int_equal(layout_of_begun(machine, "root", &d, &e), 1);
	assert_true(d.recorded && d.moved);
	assert_string_equal(d.base, "/dev/data/erp-root");
	layout_disk_free(&d);
	put(r, "images/erp/root.place", "{\"kind\": \"file\"", 0600);
	assert_int_equal(layout_of_disk(machine, "root", &d, &e), -1);
	assert_string_equal(e.what, text);
}

/* ---- whose directory ------------------------------------------------------------------ */

/* -1 with e; of this state and plan. */
static int claim(struct rig *r, const char *lineage, const char *plan, struct err *e)
{
	AUTO_JSON *machine = machine_of(r);
	AUTO_JSON *run = json_pack("{s:s,s:s}", "lineage", lineage, "plan", plan);
	AUTO_LAYOUT l = { 0 };

	assert_int_equal(layout_of(machine, &l, e), 0);
	return layout_claim(&l, machine, run, e);
}

static void a_machine_of_that_name_in_another_plan_is_another_one(void **state)
{
	struct rig *r = *state;
	AUTO_FREE char *text = mem_printf("cannot write to '%s/images/erp': another plan that has a "
					  "machine of this name made it", r->dir);
	AUTO_ERR e = { 0 };

	assert_int_equal(claim(r, "l1", "prod", &e), 0);
	assert_int_equal(claim(r, "l1", "prod", &e), 0);
	assert_int_equal(claim(r, "l1", "staging", &e), -1);
	assert_string_equal(e.what, text);
}

#define MANY 8
#define ROUNDS 20

static void of_many_that_come_at_once_one_gets_the_directory(void **state)
{
	struct rig *r = *state;
	AUTO_FREE char *home = mem_printf("%s/images/erp", r->dir);

	for (int round = 0; round < ROUNDS; round++) {
		int go[2], status, got = 0;
		pid_t pid[MANY];
		char c;

		assert_int_equal(pipe2(go, O_CLOEXEC), 0);
		for (int i = 0; i < MANY; i++) {
			pid[i] = fork();
			if (pid[i] == 0) {
				AUTO_FREE char *lineage = mem_printf("l%d", i);

				close(go[1]);
				_exit(read(go[0], &c, 1) < 0 || claim(r, lineage, "p", NULL) < 0);
			}
		}
		close(go[0]);
		close(go[1]);
		for (int i = 0; i < MANY; i++) {
			assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
			got += status == 0;
		}
		assert_int_equal(got, 1);
		assert_int_equal(io_remove_tree(home), 0);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(assess_compares_what_a_group_has_with_what_will_be_written),
		T(assess_names_a_group_that_is_not_there),
		T(a_file_may_grow_beyond_the_room_there),
		T(a_disk_that_grows_says_what_to_type_in_the_guest),
		T(a_volume_is_ours_by_its_whole_tag),
		T(what_lvm_says_must_be_readable),
		T(pools_of_files_and_of_volumes_are_told_apart),
		T(a_pool_of_volumes_takes_raw_volumes),
		T(the_record_wins_over_a_plan_that_changed),
		T(a_machine_of_that_name_in_another_plan_is_another_one),
		T(of_many_that_come_at_once_one_gets_the_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
