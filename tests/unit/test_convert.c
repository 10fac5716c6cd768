/* SPDX-License-Identifier: Apache-2.0
 * Copying, proving, backing up and restoring disks through the modules, both ends
 * as the agent runs them.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/map.h"
#include "tests/unit/modtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1u << 20)
#define SIZE (24u * MIB + 512)		/* no multiple of a chunk */

struct rig {
	char dir[64];
	char *src, *target, *base, *map;
	char *loop;		/* a device that ends with the test, or NULL */
	const char *format;
	json_t *facts;
	json_t *kept;
	json_t *args;
	json_t *more;		/* for target; merged */
	const char *machine;
};

/* ---- files ----------------------------------------------------------------------- */

static void put(const char *path, uint64_t at, const void *p, size_t n)
{
	AUTO_FD fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(io_pwrite_full(fd, p, n, at), 0);
}

static void fill(const char *path, uint64_t at, size_t n, unsigned seed)
{
	AUTO_FREE char *p = mem_alloc(n);

	srand(seed);
	for (size_t i = 0; i < n; i++)
		p[i] = (char)(rand() % 23);
	put(path, at, p, n);
}

static void make_source(struct rig *r)
{
	AUTO_FD fd = open(r->src, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(ftruncate(fd, SIZE), 0);
	fill(r->src, 0, 2 * MIB, 1);
	fill(r->src, 5 * MIB + 77, MIB, 2);
	fill(r->src, SIZE - 600, 600, 3);
}

static void run_ok(const char *const *argv)
{
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	AUTO_ERR e = { 0 };

	if (proc_run(&p, &e) < 0)
		fail_msg("%s", e.what);
	proc_free(&p);
}

static void assert_same(struct rig *r)
{
	const char *argv[] = { "qemu-img", "compare", "-q", "-f", "raw", "-F", r->format,
		r->src, r->base, NULL };

	run_ok(argv);
}

static int set_up_as(void **state, const char *format)
{
	struct rig *r = mem_alloc(sizeof(*r));

	strcpy(r->dir, "/tmp/drover-test.convert.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	r->src = mem_printf("%s/src.raw", r->dir);
	r->target = mem_printf("%s/images", r->dir);
	r->base = mem_printf("%s/erp/root.base.%s", r->target, format);
	r->map = mem_printf("%s/erp/root.map", r->target);
	r->format = format;
	r->machine = "erp";
	r->facts = json_object();
	r->kept = json_object();
	r->args = json_pack("{s:i,s:s,s:i,s:s}", "passes", 1, "freeze", "none", "chunk",
			    (int)MIB, "compress", "auto");
	r->more = json_object();
	assert_int_equal(mkdir(r->target, 0700), 0);
	make_source(r);
	*state = r;
	return 0;
}

static int set_up(void **state)
{
	return set_up_as(state, *state);	/* what the table of tests says */
}

static int tear_down(void **state)
{
	struct rig *r = *state;
	const char *detach[] = { "losetup", "-d", r->loop, NULL };

	if (r->loop)
		run_ok(detach);
	assert_int_equal(io_remove_tree(r->dir), 0);
	free(r->loop);
	free(r->src);
	free(r->target);
	free(r->base);
	free(r->map);
	json_decref(r->facts);
	json_decref(r->kept);
	json_decref(r->args);
	json_decref(r->more);
	free(r);
	return 0;
}

/* ---- calls ------------------------------------------------------------------------- */

/* A state of this process's own: the host ends what it takes for a lost agent of one. */
static const char *lineage(void)
{
	static char id[33];

	if (!*id)
		snprintf(id, sizeof(id), "%032x", (unsigned)getpid());
	return id;
}

static json_t *input(struct rig *r, const char *role)
{
	json_t *target = json_pack("{s:s,s:s,s:s,s:b,s:{}}", "host", "b", "dir", r->target,
				   "format", r->format, "replace", 0, "disks");

	json_object_update(target, r->more);
	return json_pack("{s:O,s:O,s:O,s:s,s:{s:s,s:{s:s,s:s,s:{s:{s:s,s:s,s:b}}},s:o},"
			 "s:{s:s,s:s,s:s,s:i,s:s,s:s,s:b}}",
			 "args", r->args, "facts", r->facts, "kept", r->kept, "role", role,
			 "machine", "name", r->machine,
			 "source", "host", "a", "kind", "image", "disks",
			 "root", "image", r->src, "format", "raw", "copy", 1,
			 "target", target,
			 "run", "plan", "p", "plan_dir", "/", "run", "abcd1234", "epoch", 1,
			 "lineage", lineage(), "step", "convert.disks", "preview", 0);
}

static json_t *at(struct rig *r, const char *role, const char *module, const char *op)
{
	AUTO_JSON *in = input(r, role);

	return modtest_call(module, op, in, NULL);
}

/* Both ends of one operation; the target's result, the source's in *source. */
static json_t *both_do(struct rig *r, const char *module, const char *op, json_t **source)
{
	struct modtest_end end[2] = { { .module = module, .in = input(r, "source"), .op = op },
				      { .module = module, .in = input(r, "target"), .op = op } };

	modtest_both(end);
	for (int i = 0; i < 2; i++) {
		AUTO_JSON *keep = end[i].in;

		modtest_keep(keep, end[i].events);
		if (i == 1)
			json_object_update(r->kept, json_object_get(keep, "kept"));
		json_decref(end[i].events);
	}
	if (source)
		*source = end[0].out;
	else
		json_decref(end[0].out);
	return end[1].out;
}

static json_t *both(struct rig *r, const char *module, json_t **source)
{
	return both_do(r, module, "apply", source);
}

static void take_facts(struct rig *r, json_t *result)
{
	json_t *fact;
	const char *name;

	if (!jbool(result, "ok", false))
		fail_msg("%s", jstr(result, "error.text", "?"));
	json_object_foreach(json_object_get(result, "facts"), name, fact) {
		json_t *both = json_deep_copy(json_object_get(fact, "stable"));

		if (json_object_get(fact, "volatile"))
			json_object_update_recursive(both, json_object_get(fact, "volatile"));
		json_object_set_new(r->facts, name, both);
	}
}

static void do_both(struct rig *r, const char *module)
{
	AUTO_JSON *out = both(r, module, NULL);

	take_facts(r, out);
}

static void do_at(struct rig *r, const char *role, const char *module, const char *op)
{
	AUTO_JSON *out = at(r, role, module, op);

	take_facts(r, out);
}

static void assert_error(json_t *result, const char *text, const char *hint)
{
	assert_false(jbool(result, "ok", true));
	assert_string_equal(jstr(result, "error.text", ""), text);
	assert_string_equal(jstr(result, "error.hint", ""), hint);
	json_decref(result);
}

static void assert_state(struct rig *r, const char *role, const char *module, const char *state)
{
	AUTO_JSON *out = at(r, role, module, "probe");

	if (!jbool(out, "ok", false))
		fail_msg("%s", jstr(out, "error.text", "?"));
	assert_string_equal(jstr(out, "state", ""), state);
}

/* ---- converting ---------------------------------------------------------------------- */

static void a_copy_is_equal_and_probed_as_done(void **s)
{
	struct rig *r = *s;

	assert_state(r, "source", "convert.disks", "done");
	assert_state(r, "target", "convert.disks", "absent");
	do_both(r, "convert.disks");
	assert_same(r);
	assert_state(r, "target", "convert.disks", "done");
	assert_int_equal(jint(r->facts, "disks.root.pass", 0), 1);
	assert_int_equal(jint(r->facts, "disks.root.size", 0), SIZE);
}

static void undo_brings_back_the_same_answer_and_an_empty_place(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *dir = mem_printf("%s/erp", r->target);
	AUTO_JSON *before = at(r, "target", "convert.disks", "probe"), *after = NULL;

	do_both(r, "convert.disks");
	do_at(r, "target", "convert.disks", "undo");
	after = at(r, "target", "convert.disks", "probe");
	assert_true(json_equal(json_object_get(before, "stable"),
			       json_object_get(after, "stable")));
	assert_int_equal(access(dir, F_OK), -1);
	do_at(r, "target", "convert.disks", "undo");
}

static void undo_leaves_what_is_not_ours(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *dir = mem_printf("%s/erp", r->target);

	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(io_write_file(AT_FDCWD, r->base, "mine", 4, 0600), 0);
	do_at(r, "target", "convert.disks", "undo");
	assert_int_equal(access(r->base, F_OK), 0);
}

static void later_passes_bring_what_changed(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *source = NULL, *out = NULL;
	const json_t *pass;

	json_object_set_new(r->args, "passes", json_integer(2));
	do_both(r, "convert.disks");
	fill(r->src, 9 * MIB + 5, 10, 9);
	fill(r->src, 0, MIB, 10);
	out = both(r, "cutover.pass", &source);
	take_facts(r, out);
	assert_same(r);
	assert_int_equal(jint(r->facts, "pass.root.pass", 0), 3);
	pass = json_array_get(jget(source, "volatile.passes.root"), 0);
	assert_int_equal(jint(pass, "data", 0), 2 * MIB);
	assert_int_equal(jint(pass, "same", 0), SIZE - 2 * MIB);
	assert_state(r, "target", "cutover.pass", "done");
}

static void what_became_zeros_is_zeros(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *zeros = mem_alloc(3 * MIB);

	do_both(r, "convert.disks");
	put(r->src, 0, zeros, 3 * MIB);
	do_both(r, "cutover.pass");
	assert_same(r);
	do_at(r, "target", "cutover.proof", "apply");
}

static void a_freeze_that_ended_too_early_is_no_last_pass(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *source = NULL, *target = NULL;

	do_both(r, "convert.disks");
	json_object_set_new(r->facts, "freeze", json_pack("{s:s}", "socket", "gone"));
	target = both(r, "cutover.pass", &source);
	assert_string_equal(jstr(source, "error.text", ""), "the freeze of the source ended before "
			    "the last pass was over: what was read is not one instant");
	assert_string_equal(jstr(target, "error.kind", ""), "cancelled");
}

static void a_foreign_directory_is_refused_unless_it_may_be_replaced(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *dir = mem_printf("%s/erp", r->target);
	AUTO_FREE char *text = mem_printf("cannot write to '%s': it holds files that drover did "
					  "not make", dir);
	AUTO_FREE char *far = mem_printf("the other end stopped: %s", text);
	const char *hint = "move it away, choose another target.dir, or say target: "
			   "{ replace: true } to overwrite it";
	AUTO_JSON *source = NULL;

	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(io_write_file(AT_FDCWD, r->base, "mine", 4, 0600), 0);
	assert_error(at(r, "target", "convert.disks", "probe"), text, hint);
	assert_error(both(r, "convert.disks", &source), text, hint);
	assert_string_equal(jstr(source, "error.kind", ""), "cancelled");
	assert_non_null(strstr(jstr(source, "error.text", ""), far));
	json_object_set_new(r->more, "replace", json_true());
	do_both(r, "convert.disks");
	assert_same(r);
}

static void another_states_copy_is_refused(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *marker = mem_printf("%s/erp/.drover", r->target);
	AUTO_FREE char *text = mem_printf("cannot write to '%s/erp': it was made from another "
					  "state directory", r->target);
	const char *other = "{\"lineage\":\"ffff\",\"machine\":\"erp\",\"plan\":\"p\"}";

	do_both(r, "convert.disks");
	assert_int_equal(io_write_file(AT_FDCWD, marker, other, strlen(other), 0600), 0);
	assert_error(both(r, "convert.disks", NULL), text, "move it away, choose another "
		     "target.dir, or say target: { replace: true } to overwrite it");
}

static void a_source_that_grew_or_shrank_is_refused(void **s)
{
	struct rig *r = *s;
	const char *hint = "drover rollback PLAN --to convert, then drover run PLAN";

	do_both(r, "convert.disks");
	assert_int_equal(truncate(r->src, SIZE + MIB), 0);
	assert_error(both(r, "cutover.pass", NULL), "cannot go on with disk 'root': it has "
		     "26214912 bytes now, the copy was begun with 25166336", hint);
	assert_error(at(r, "source", "convert.disks", "probe"), "cannot go on with disk 'root': "
		     "it has 26214912 bytes now, the copy was begun with 25166336", hint);
	assert_int_equal(truncate(r->src, MIB), 0);
	assert_error(both(r, "cutover.pass", NULL), "cannot go on with disk 'root': it has "
		     "1048576 bytes now, the copy was begun with 25166336", hint);
}

static void a_missing_source_is_named(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *text = mem_printf("cannot find disk 'root': '%s': No such file or "
					  "directory", r->src);

	unlink(r->src);
	assert_error(at(r, "source", "convert.disks", "probe"), text,
		     "it is looked for on the source's host: is it attached, and the path right?");
}

static void a_base_that_vanished_is_told(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *text = mem_printf("cannot go on with disk 'root': '%s' is gone, its map "
					  "is there", r->base);

	do_both(r, "convert.disks");
	unlink(r->base);
	assert_error(both(r, "cutover.pass", NULL), text,
		     "drover rollback PLAN --to convert, then drover run PLAN");
}

static void chunks_of_an_odd_size_are_refused(void **s)
{
	struct rig *r = *s;

	json_object_set_new(r->args, "chunk", json_integer(100000));
	assert_error(at(r, "target", "convert.disks", "apply"), "cannot copy in chunks of 100000 "
		     "bytes: it is no multiple of 4096 that is allowed", "from 64KiB to 4MiB");
}

static void a_disk_that_is_not_in_the_plan_is_refused(void **s)
{
	struct rig *r = *s;

	json_object_set_new(r->args, "disks", json_pack("[s]", "rooot"));
	assert_error(at(r, "source", "convert.disks", "probe"), "cannot copy disk 'rooot': the "
		     "machine has none of that name",
		     "the machine's disks are the keys of source.disks");
}

/* ---- places that are not as they should be ------------------------------------------------ */

static void a_target_that_fills_up_is_told_and_gone_on_with(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *full = NULL;

	if (geteuid() != 0)
		skip();
	assert_int_equal(mount("none", r->target, "tmpfs", 0, "size=2m"), 0);
	full = both(r, "convert.disks", NULL);
	int room = mount("none", r->target, "tmpfs", MS_REMOUNT, "size=64m");
	AUTO_JSON *again = both(r, "convert.disks", NULL);
	const char *cmp[] = { "qemu-img", "compare", "-q", "-f", "raw", "-F", r->format, r->src,
			      r->base, NULL };
	struct proc p = { .argv = cmp, .timeout_ms = 60000 };
	int same = proc_run(&p, NULL);
	proc_free(&p);
	umount2(r->target, MNT_DETACH);
	assert_int_equal(room, 0);
	assert_non_null(strstr(jstr(full, "error.text", ""), ": No space left on device"));
	assert_string_equal(jstr(full, "error.hint", ""),
			    "free space there; `drover run` then goes on where it stopped");
	assert_true(jbool(again, "ok", false));
	assert_int_equal(jint(again, "facts.disks.stable.root.pass", 0), 1);
	assert_int_equal(same, 0);
}

/* The record of the disk, as a host finds it that was started again: `boot` was another. */
static void start_host_anew(struct rig *r, bool open)
{
	AUTO_FREE char *path = mem_printf("%s/erp/root.place", r->target);
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, 4096, NULL);
	AUTO_JSON *doc = text ? json_parse(text, strlen(text), NULL) : NULL;
	AUTO_FREE char *now = NULL;

	assert_non_null(doc);
	assert_null(jstr(doc, "boot", NULL));	/* it was closed in order */
	if (open)
		jset_str(doc, "boot", "a boot before");
	now = json_pretty(doc);
	assert_int_equal(io_write_file(AT_FDCWD, path, now, strlen(now), 0600), 0);
}

static void a_power_cut_ends_what_its_format_does_not_bear(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *again = NULL;

	do_both(r, "convert.disks");
	start_host_anew(r, false);
	assert_state(r, "target", "convert.disks", "done");
	start_host_anew(r, true);
	put(r->base, 65536, "torn", 4);
	assert_state(r, "target", "convert.disks", "absent");
	again = both(r, "convert.disks", NULL);
	take_facts(r, again);
	assert_int_equal(jint(again, "facts.disks.volatile.root.changed", 0), 5 * MIB + 512);
	assert_same(r);
	start_host_anew(r, false);
	do_at(r, "target", "validate.disks", "apply");
}

static void a_power_cut_does_not_end_what_its_format_bears(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *again = NULL;
	AUTO_ERR e = { 0 };

	do_both(r, "convert.disks");
	struct map *m = map_open(r->map, true, &e);
	assert_int_equal(map_begin(m, 2, &e), 0);
	map_close(m);
	start_host_anew(r, false);
	again = both(r, "convert.disks", NULL);
	take_facts(r, again);
	assert_int_equal(jint(again, "facts.disks.volatile.root.changed", -1), 0);
	assert_same(r);
}

static void an_image_that_cannot_grow_is_told(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *text = mem_printf("cannot make disk 'root' 32.0 MiB long: an image of format "
					  "'%s' keeps the size that it was made with", r->format);
	AUTO_JSON *probed = NULL;

	do_both(r, "convert.disks");
	json_object_set_new(r->more, "disks", json_pack("{s:{s:i}}", "root", "size",
							(int)(32 * MIB)));
	probed = at(r, "target", "convert.disks", "probe");
	assert_string_equal(jstr(json_array_get(jget(probed, "findings"), 0), "text", ""), text);
	assert_error(both(r, "convert.disks", NULL), text, "put its size back; or type drover "
		     "rollback PLAN --to convert, and run again");
	do_at(r, "target", "convert.disks", "undo");
	do_both(r, "convert.disks");
	assert_same(r);
	assert_state(r, "target", "convert.disks", "done");
}

static void a_disk_that_its_format_cannot_hold_is_told(void **s)
{
	struct rig *r = *s;

	json_object_set_new(r->more, "disks", json_pack("{s:{s:I}}", "root", "size",
							(json_int_t)3 << 40));
	assert_error(at(r, "target", "convert.disks", "probe"), "cannot write disk 'root' as format "
		     "'vpc': it has 3.0 TiB, the format ends at 2.0 TiB",
		     "say format: qcow2, raw or vhdx under target.disks.root");
}

static char *loop_with(const char *path, off_t size, const char *sector)
{
	const char *argv[] = { "losetup", "-b", sector, "-f", "--show", path, NULL };
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	AUTO_FD fd = open(path, O_WRONLY | O_CREAT, 0600);
	char *out;

	assert_int_equal(ftruncate(fd, size), 0);
	if (proc_run(&p, NULL) < 0) {
		proc_free(&p);
		return NULL;
	}
	out = str_take(&p.out);
	out[strcspn(out, "\n")] = '\0';
	proc_free(&p);
	return out;
}

static char *loop_of(const char *path, off_t size)
{
	return loop_with(path, size, "512");
}

/* The disk as assess.machine describes it. */
static void is_described_with_4096(struct rig *r)
{
	AUTO_JSON *out = at(r, "source", "assess.machine", "probe");
	const json_t *disk = json_array_get(jget(out, "facts.machine.stable.disks"), 0);
	const json_t *part = json_array_get(jget(disk, "partitions"), 0);

	assert_int_equal(jint(disk, "sector", 0), 4096);
	assert_int_equal(jint(part, "start", 0), 4 * MIB);
	assert_int_equal(jint(part, "size", 0), 16 * MIB);
}

/* A disk with such sectors, and its copy, which lies in a file. */
static void a_disk_with_sectors_of_4096_bytes_is_copied_and_known_as_one(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *file = mem_printf("%s/device", r->dir);
	char *loop = r->loop = geteuid() ? NULL : loop_with(file, 24 * MIB, "4096");
	const char *table[] = { "sfdisk", "-q", "--no-reread", loop, NULL };
	static const char script[] = "label: gpt\nstart=1024, size=4096\n";
	struct proc p = { .argv = table, .timeout_ms = 60000, .input = script,
			  .input_len = strlen(script) };

	if (!loop)
		skip();
	jset_str(r->args, "changes", "digest");		/* no tracker, which would stay */
	assert_int_equal(proc_run(&p, NULL), 0);
	proc_free(&p);
	fill(loop, 5 * MIB, 3 * MIB, 4);
	free(r->src);
	r->src = mem_strdup(loop);
	do_both(r, "convert.disks");
	do_at(r, "target", "validate.disks", "apply");
	assert_same(r);
	is_described_with_4096(r);
	free(r->src);
	r->src = mem_strdup(r->base);
	is_described_with_4096(r);
}

/* The source ends in the middle of the target's last sector. */
static void a_device_with_sectors_of_4096_bytes_is_filled(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *file = mem_printf("%s/device", r->dir), *n = mem_printf("%u", SIZE);
	char *loop = r->loop = geteuid() ? NULL : loop_with(file, SIZE + 4096 - 512, "4096");
	const char *cmp[] = { "cmp", "-n", n, r->src, loop, NULL };

	if (!loop)
		skip();
	json_object_set_new(r->more, "disks", json_pack("{s:{s:s}}", "root", "path", loop));
	do_both(r, "convert.disks");
	do_at(r, "target", "validate.disks", "apply");
	run_ok(cmp);
	do_at(r, "target", "convert.disks", "undo");
}

/* A device as target: the right one is filled, and blank again after undo. */
static void a_device_is_filled_and_given_back_blank(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *file = mem_printf("%s/device", r->dir);
	AUTO_FREE char *loop = geteuid() ? NULL : loop_of(file, SIZE + MIB - 512);
	const char *detach[] = { "losetup", "-d", loop, NULL };
	AUTO_JSON *made = NULL, *undone = NULL, *dirty = NULL;
	AUTO_FREE char *text = NULL;
	int same, blank = 0;

	if (!loop)
		skip();
	json_object_set_new(r->more, "disks", json_pack("{s:{s:s}}", "root", "path", loop));
	made = both(r, "convert.disks", NULL);
	{
		AUTO_FREE char *n = mem_printf("%u", SIZE);
		const char *cmp[] = { "cmp", "-n", n, r->src, loop, NULL };
		struct proc p = { .argv = cmp, .timeout_ms = 60000 };

		same = proc_run(&p, NULL);
		proc_free(&p);
	}
	undone = at(r, "target", "convert.disks", "undo");
	{
		AUTO_FD fd = open(loop, O_RDONLY);
		char c[4096];

		for (uint64_t i = 0; i + 4096 <= SIZE; i += 4096) {
			assert_int_equal(io_pread_full(fd, c, 4096, i), 0);
			for (int k = 0; k < 4096; k++)
				blank |= c[k];
		}
	}
	put(loop, 100, "somebody's", 10);
	dirty = both(r, "convert.disks", NULL);
	run_ok(detach);
	text = mem_printf("cannot write to device '%s': it holds data", loop);
	assert_true(jbool(made, "ok", false));
	assert_int_equal(same, 0);
	assert_true(jbool(undone, "ok", false));
	assert_int_equal(blank, 0);
	assert_string_equal(jstr(dirty, "error.text", ""), text);
}

/* As after a reboot in which devices change their names. */
static void a_device_that_got_the_name_of_another_is_left_alone(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *file = mem_printf("%s/device", r->dir), *name = NULL, *first = NULL;
	AUTO_FREE char *other = mem_printf("%s/other", r->dir), *second = NULL, *text = NULL;
	char byte[11] = "";
	AUTO_JSON *made = NULL, *again = NULL, *undone = NULL;

	first = geteuid() ? NULL : loop_of(file, SIZE);
	second = first ? loop_of(other, SIZE) : NULL;
	if (!second)
		skip();
	const char *detach[] = { "losetup", "-d", first, second, NULL };

	name = mem_printf("%s/sdb", r->dir);
	assert_int_equal(symlink(first, name), 0);
	json_object_set_new(r->more, "disks", json_pack("{s:{s:s}}", "root", "path", name));
	made = both(r, "convert.disks", NULL);
	put(other, 100, "somebody's", 10);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(symlink(second, name), 0);
	again = both(r, "convert.disks", NULL);
	undone = at(r, "target", "convert.disks", "undo");
	run_ok(detach);
	assert_true(jbool(made, "ok", false));
	text = mem_printf("cannot use '%s': it is another device (loop/backing_file:%s) than the "
			  "one that was written to (loop/backing_file:%s)", name, other, file);
	assert_string_equal(jstr(again, "error.text", ""), text);
	assert_string_equal(jstr(undone, "error.text", ""), text);
	{
		AUTO_FD fd = open(other, O_RDONLY);

		assert_int_equal(io_pread_full(fd, byte, 10, 100), 0);
	}
	assert_string_equal(byte, "somebody's");
}

static void a_source_that_got_the_name_of_another_is_not_read(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *other = mem_printf("%s/other", r->dir), *text = NULL;
	AUTO_FREE char *file = mem_strdup(r->src), *first = NULL, *second = NULL;
	AUTO_JSON *out = NULL, *seen = NULL, *kept = NULL;

	first = geteuid() ? NULL : loop_of(file, SIZE);
	second = first ? loop_of(other, SIZE) : NULL;
	if (!second)
		skip();
	const char *detach[] = { "losetup", "-d", first, second, NULL };

	jset_str(r->args, "changes", "digest");		/* no tracker, which would stay */
	free(r->src);
	r->src = mem_printf("%s/sda", r->dir);
	assert_int_equal(symlink(first, r->src), 0);
	jset(r->facts, "machine", json_pack("{s:[{s:s,s:o}]}", "disks", "name", "root", "device",
					    json_sprintf("loop/backing_file:%s", file)));
	out = both(r, "convert.disks", NULL);
	assert_int_equal(unlink(r->src), 0);
	assert_int_equal(symlink(second, r->src), 0);
	json_decref(both(r, "cutover.pass", &seen));
	/* assess saw the other one meanwhile; the copy is of the first */
	jset(r->facts, "machine", json_pack("{s:[{s:s,s:o}]}", "disks", "name", "root", "device",
					    json_sprintf("loop/backing_file:%s", other)));
	jset(r->kept, "device.root", json_pack("{s:o}", "text",
					       json_sprintf("loop/backing_file:%s", file)));
	json_decref(both(r, "convert.disks", &kept));
	run_ok(detach);
	assert_true(jbool(out, "ok", false));
	text = mem_printf("cannot copy disk 'root': '%s' is another device "
			  "(loop/backing_file:%s) than the one that was seen before "
			  "(loop/backing_file:%s)", r->src, other, file);
	assert_string_equal(jstr(seen, "error.text", ""), text);
	assert_string_equal(jstr(kept, "error.text", ""), text);
}

static void a_device_that_is_too_small_is_refused(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *file = mem_printf("%s/device", r->dir);
	AUTO_FREE char *loop = geteuid() ? NULL : loop_of(file, 8 * MIB);
	const char *detach[] = { "losetup", "-d", loop, NULL };
	AUTO_FREE char *text = NULL;
	json_t *out;

	if (!loop)
		skip();
	json_object_set_new(r->more, "disks", json_pack("{s:{s:s}}", "root", "path", loop));
	out = both(r, "convert.disks", NULL);
	run_ok(detach);
	text = mem_printf("cannot copy to '%s': it has 8.0 MiB (8388608 bytes), the source "
			  "24.0 MiB (25166336 bytes)", loop);
	assert_error(out, text, "make the target at least as large as the source");
}

/* Somebody let a paused machine run again, or switched on one that was shut down, and
 * took that back before the cutover went on. */
static void a_source_that_wrote_since_the_last_pass_is_read_again(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *source = NULL, *target = NULL;
	const struct timespec later[2] = { { .tv_sec = 2000000000 }, { .tv_sec = 2000000000 } };

	do_both(r, "convert.disks");
	target = both(r, "cutover.pass", &source);
	take_facts(r, target);
	take_facts(r, source);
	assert_state(r, "source", "cutover.pass", "done");
	fill(r->src, 9 * MIB, 100, 4);
	/* the clock of a file system is too coarse for a test */
	assert_int_equal(utimensat(AT_FDCWD, r->src, later, 0), 0);
	assert_state(r, "source", "cutover.pass", "absent");
	/* what a freeze held is told by the freeze */
	json_object_set_new(r->facts, "freeze", json_pack("{s:s}", "socket", "x"));
	assert_state(r, "source", "cutover.pass", "done");
}

/* ---- the proof --------------------------------------------------------------------------- */

/* "2026-11-21T08:36:42Z" becomes "T": when it was is no matter. */
static char *timeless(const char *text)
{
	char *out = mem_strdup(text), *w = out;

	for (const char *p = out; *p;) {
		bool time = strlen(p) >= 20 && p[4] == '-' && p[10] == 'T' && p[19] == 'Z';

		*w++ = time ? 'T' : *p;
		p += time ? 20 : 1;
	}
	*w = '\0';
	return out;
}

static void assert_damage(struct rig *r, json_t *result, const char *kind, const char *history)
{
	AUTO_FREE char *text = mem_printf("disk 'root' is not what was sent: byte 5242880, length "
					  "1048576 of '%s' (%s", r->base, history);
	AUTO_FREE char *is = timeless(jstr(result, "error.text", ""));

	assert_string_equal(is, text);
	assert_string_equal(jstr(result, "error.kind", ""), kind);
	json_decref(result);
}

static void a_proof_finds_one_changed_byte_and_says_where(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *out = NULL;

	do_both(r, "convert.disks");
	assert_state(r, "target", "validate.disks", "absent");
	put(r->base, 5 * MIB + 1000, "!", 1);
	assert_damage(r, at(r, "target", "validate.disks", "apply"), "damaged",
		      "written by pass 1 at T, never proven)");
	out = both_do(r, "convert.disks", "mend", NULL);
	take_facts(r, out);
	do_at(r, "target", "validate.disks", "apply");
	assert_state(r, "target", "validate.disks", "done");
	put(r->base, 5 * MIB + 1000, "!", 1);
	put(r->base, 20 * MIB, "!", 1);
	assert_damage(r, at(r, "target", "validate.disks", "apply"), "damaged",
		      "sent again by pass 2 at T, proven at T), and 1 more");
}

/* What is proven is the whole disk, though only a part was sent again. */
static void what_is_damaged_is_sent_again_and_nothing_else(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *source = NULL, *out = NULL, *proof = NULL;
	const json_t *pass;

	do_both(r, "convert.disks");
	put(r->base, 0, "!", 1);
	put(r->base, 5 * MIB, "!", 1);
	json_decref(at(r, "target", "validate.disks", "apply"));
	fill(r->src, 9 * MIB, 100, 4);		/* the source serves on */
	out = both_do(r, "convert.disks", "mend", &source);
	take_facts(r, out);
	pass = json_array_get(jget(source, "volatile.passes.root"), 0);
	assert_int_equal(jint(pass, "data", 0), 2 * MIB);
	assert_int_equal(jint(pass, "read", 0), 2 * MIB);
	proof = at(r, "target", "validate.disks", "apply");
	take_facts(r, proof);
	assert_string_equal(jstr(json_array_get(jget(proof, "findings"), 0), "code", ""),
			    "disk.mended");
	assert_int_equal(jint(r->facts, "proof.root.pass", 0), 2);
	do_both(r, "cutover.pass");
	do_at(r, "target", "cutover.proof", "apply");
	assert_same(r);
}

/* In a cutover it is the very instant of the last pass that is sent again. */
static void the_last_pass_is_mended_to_the_digest_that_was_recorded(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *digest = NULL;
	AUTO_JSON *out = NULL;

	do_both(r, "convert.disks");
	do_at(r, "target", "validate.disks", "apply");
	fill(r->src, 9 * MIB, 100, 4);
	do_both(r, "cutover.pass");
	digest = mem_strdup(jstr(r->facts, "pass.root.digest", ""));
	put(r->base, 9 * MIB + 50, "!", 1);
	json_decref(at(r, "target", "cutover.proof", "apply"));
	assert_state(r, "target", "cutover.pass", "absent");
	out = both_do(r, "cutover.pass", "mend", NULL);
	take_facts(r, out);
	assert_state(r, "target", "cutover.pass", "done");
	do_at(r, "target", "cutover.proof", "apply");
	assert_string_equal(jstr(r->facts, "final.root.digest", ""), digest);
	assert_same(r);
}

static void a_mending_that_was_cut_off_is_gone_on_with(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *out = NULL;
	AUTO_ERR e = { 0 };

	do_both(r, "convert.disks");
	put(r->base, 5 * MIB + 1000, "!", 1);
	json_decref(at(r, "target", "validate.disks", "apply"));
	struct map *m = map_open(r->map, true, &e);
	assert_int_equal(map_begin_mend(m, 2, &e), 0);
	map_close(m);
	out = at(r, "target", "validate.disks", "apply");
	assert_string_equal(jstr(out, "error.kind", ""), "damaged");
	json_decref(out);
	out = both_do(r, "convert.disks", "mend", NULL);
	take_facts(r, out);
	do_at(r, "target", "validate.disks", "apply");
	assert_same(r);
}

static char *copy_aside(struct rig *r, const char *path, const char *name)
{
	char *aside = mem_printf("%s/%s", r->dir, name);
	const char *argv[] = { "cp", "--sparse=always", path, aside, NULL };

	run_ok(argv);
	return aside;
}

/* The source is off: what is found is told, and nothing is touched. */
static void a_readback_reads_all_and_leaves_what_it_finds(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *out = NULL;

	do_both(r, "convert.disks");
	do_at(r, "target", "validate.disks", "apply");
	do_both(r, "cutover.pass");
	do_at(r, "target", "cutover.proof", "apply");
	assert_state(r, "target", "cutover.readback", "absent");
	AUTO_FREE char *sound = copy_aside(r, r->base, "sound");
	put(r->base, 5 * MIB + 1000, "!", 1);
	out = at(r, "target", "cutover.readback", "apply");
	assert_string_equal(jstr(json_array_get(jget(out, "findings"), 0), "code", ""),
			    "disk.damaged");
	assert_damage(r, json_incref(out), "failed", "written by pass 1 at T, proven at T)");
	assert_state(r, "target", "cutover.pass", "done");
	assert_int_equal(rename(sound, r->base), 0);
	do_at(r, "target", "cutover.readback", "apply");
	assert_string_equal(jstr(r->facts, "readback.root.digest", "a"),
			    jstr(r->facts, "final.root.digest", "b"));
	assert_state(r, "target", "cutover.readback", "done");
}

/* ---- a map that is not to be believed ------------------------------------------------- */

static void cut_to(const char *path, off_t length)
{
	assert_int_equal(truncate(path, length), 0);
}

static void a_truncated_map_is_filled_again(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *out = NULL;

	do_both(r, "convert.disks");
	cut_to(r->map, 8192 + 100);
	out = at(r, "target", "validate.disks", "apply");
	assert_string_equal(jstr(out, "error.kind", ""), "damaged");
	assert_non_null(strstr(jstr(out, "error.text", ""), "its map does not know it"));
	json_decref(out);
	out = both_do(r, "convert.disks", "mend", NULL);
	take_facts(r, out);
	do_at(r, "target", "validate.disks", "apply");
	cut_to(r->map, 8192);
	do_both(r, "cutover.pass");
	do_at(r, "target", "cutover.proof", "apply");
	assert_same(r);
}

/* Put back from a backup, say: what it says was true of another base. */
static void a_stale_map_proves_nothing(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *old = NULL;
	AUTO_JSON *out = NULL;

	do_both(r, "convert.disks");
	do_at(r, "target", "validate.disks", "apply");
	old = copy_aside(r, r->map, "old.map");
	AUTO_FREE char *before = copy_aside(r, r->src, "before.raw");
	fill(r->src, 0, MIB, 7);
	do_both(r, "cutover.pass");
	do_at(r, "target", "cutover.proof", "apply");
	assert_int_equal(rename(old, r->map), 0);
	/* The source has again what the old map says; the base has not. */
	assert_int_equal(rename(before, r->src), 0);
	do_both(r, "cutover.pass");
	out = at(r, "target", "cutover.proof", "apply");
	assert_string_equal(jstr(out, "error.kind", ""), "damaged");
	json_decref(out);
	out = both_do(r, "cutover.pass", "mend", NULL);
	take_facts(r, out);
	do_at(r, "target", "cutover.proof", "apply");
	assert_same(r);
}

/* The target itself was put back, beneath its map. */
static void a_stale_base_is_mended(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *old = NULL;
	AUTO_JSON *out = NULL;

	do_both(r, "convert.disks");
	old = copy_aside(r, r->base, "old.base");
	fill(r->src, 9 * MIB, 2 * MIB, 7);
	do_both(r, "cutover.pass");
	assert_int_equal(rename(old, r->base), 0);
	json_decref(at(r, "target", "cutover.proof", "apply"));
	out = both_do(r, "cutover.pass", "mend", NULL);
	take_facts(r, out);
	do_at(r, "target", "cutover.proof", "apply");
	assert_same(r);
}

static void a_copy_goes_on_in_the_chunks_it_was_begun_with(void **s)
{
	struct rig *r = *s;

	json_object_set_new(r->args, "chunk", json_integer(MIB / 4));
	do_both(r, "convert.disks");
	json_object_del(r->args, "chunk");
	fill(r->src, 9 * MIB, 100, 4);
	do_both(r, "cutover.pass");
	assert_int_equal(jint(r->facts, "pass.root.chunk", 0), MIB / 4);
	assert_same(r);
}

static void the_last_proof_reads_what_the_last_pass_wrote(void **s)
{
	struct rig *r = *s;

	do_both(r, "convert.disks");
	do_at(r, "target", "validate.disks", "apply");
	fill(r->src, 9 * MIB, 100, 4);
	do_both(r, "cutover.pass");
	assert_state(r, "target", "cutover.proof", "absent");
	/* Proven before and not written since: not read again. */
	put(r->base, 0, "!", 1);
	do_at(r, "target", "cutover.proof", "apply");
	assert_string_equal(jstr(r->facts, "final.root.digest", "a"),
			    jstr(r->facts, "pass.root.digest", "b"));
	assert_state(r, "target", "cutover.proof", "done");
	/* Written by the last pass: read, until that is proven too. */
	json_object_del(r->facts, "final");
	put(r->base, 9 * MIB, "!", 1);
	AUTO_JSON *out = at(r, "target", "cutover.proof", "apply");
	assert_non_null(strstr(jstr(out, "error.text", ""), "byte 9437184, length 1048576"));
}

/* Its generations count from one again, and would be taken for those that were read. */
static void a_copy_that_is_made_anew_is_proven_anew(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *out = NULL;

	do_both(r, "convert.disks");
	do_at(r, "target", "validate.disks", "apply");
	assert_int_equal(unlink(r->map), 0);
	assert_int_equal(unlink(r->base), 0);
	do_both(r, "convert.disks");
	assert_state(r, "target", "validate.disks", "absent");
	put(r->base, 0, "!", 1);	/* the new storage is bad */
	do_both(r, "cutover.pass");
	out = at(r, "target", "cutover.proof", "apply");
	assert_non_null(strstr(jstr(out, "error.text", ""), "byte 0, length 1048576"));
}

/* What another pass wrote since is of no instant of this cutover. */
static void the_last_proof_wants_the_pass_that_was_recorded(void **s)
{
	struct rig *r = *s;

	do_both(r, "convert.disks");
	do_at(r, "target", "validate.disks", "apply");
	do_both(r, "cutover.pass");
	AUTO_JSON *mine = json_deep_copy(jget(r->facts, "pass"));
	fill(r->src, 9 * MIB, 100, 4);
	do_both(r, "cutover.pass");
	json_object_set(r->facts, "pass", mine);
	assert_error(at(r, "target", "cutover.proof", "apply"), "disk 'root' holds pass 3, the last "
		     "pass that was recorded is 2", "something else copied to it: drover cutover "
		     "PLAN begins with a pass again");
}

static void a_copy_that_was_cut_off_is_not_proven(void **s)
{
	struct rig *r = *s;
	AUTO_ERR e = { 0 };

	do_both(r, "convert.disks");
	struct map *m = map_open(r->map, true, &e);
	assert_int_equal(map_begin(m, 2, &e), 0);
	map_close(m);
	assert_state(r, "target", "convert.disks", "partial");
	assert_error(at(r, "target", "validate.disks", "apply"),
		     "disk 'root' is not whole: pass 2 was interrupted", "drover sync PLAN goes on "
		     "with it");
	do_both(r, "convert.disks");
	do_at(r, "target", "validate.disks", "apply");
}

/* ---- free space ---------------------------------------------------------------------------- */

/* The source becomes an ext4 that is full of junk where it is free. */
static void make_ext4(struct rig *r)
{
	for (uint64_t at = 0; at < SIZE - MIB; at += MIB)
		fill(r->src, at, MIB, (unsigned)at + 9);
	const char *mkfs[] = { "mke2fs", "-q", "-F", "-t", "ext4", "-E", "nodiscard", r->src,
		NULL };
	run_ok(mkfs);
}

static void free_space_of_a_quiet_disk_is_not_read(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *source = NULL, *target = NULL;
	const json_t *pass;

	make_ext4(r);
	target = both(r, "convert.disks", &source);
	take_facts(r, target);
	pass = json_array_get(jget(source, "volatile.passes.root"), 0);
	assert_in_range(jint(pass, "zero", 0), 10 * MIB, SIZE);
	assert_in_range(jint(pass, "data", 0), MIB, 12 * MIB);
	const char *fsck[] = { "e2fsck", "-f", "-n", r->base, NULL };
	run_ok(fsck);
	do_at(r, "target", "validate.disks", "apply");
}

static void free_space_is_copied_when_the_plan_says_so(void **s)
{
	struct rig *r = *s;

	make_ext4(r);
	json_object_set_new(r->args, "free", json_string("copy"));
	do_both(r, "convert.disks");
	assert_same(r);
}

static void free_space_of_a_disk_that_a_guest_has_is_read(void **s)
{
	struct rig *r = *s;
	AUTO_FD fd = -1;
	/* As QEMU says that it writes to an image. */
	struct flock fl = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1 };

	make_ext4(r);
	fd = open(r->src, O_RDONLY);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), 0);
	do_both(r, "convert.disks");
	assert_same(r);
}

/* ---- backups ------------------------------------------------------------------------------- */

static json_t *backups(struct rig *r, const char *op, json_t *args)
{
	json_t *old = r->args, *out;

	r->args = args;
	out = at(r, "at", "call.backups", op);
	r->args = old;
	json_decref(args);
	return out;
}

/* What the backups at a place are: the i-th of them. Owned. */
static json_t *listed(struct rig *r, const char *place, size_t i)
{
	AUTO_JSON *out = backups(r, "probe", json_pack("{s:s,s:s}", "do", "list", "place", place));

	return json_incref(json_array_get(jget(out, "volatile.backups"), i));
}

static json_t *verified(struct rig *r, const char *place, const char *path)
{
	return backups(r, "probe", json_pack("{s:s,s:s,s:s}", "do", "verify", "place", place,
					     "path", path));
}

static json_t *restored(struct rig *r, const char *place, const char *path, const char *to)
{
	return backups(r, "apply", json_pack("{s:s,s:s,s:s,s:s,s:s}", "do", "restore", "place",
					     place, "path", path, "disk", "root", "to", to));
}

static void ok_and_free(json_t *out)
{
	if (!jbool(out, "ok", false))
		fail_msg("%s", jstr(out, "error.text", "not ok"));
	json_decref(out);
}

/* Backups go to <dir>/backup. */
static char *keep_backups(struct rig *r)
{
	char *place = mem_printf("%s/backup", r->dir);
	AUTO_FREE char *to = mem_printf("b:%s", place);

	json_object_set_new(r->args, "to", json_string(to));
	json_object_set_new(r->args, "compress", json_string("zstd"));
	return place;
}

/* One more backup, as a step of its own would make it. */
static void back_up(struct rig *r, const char *name)
{
	json_object_set_new(r->kept, "name", json_pack("{s:s}", "text", name));
	do_both(r, "backup.image");
}

static void a_backup_is_listed_verified_restored_and_undone(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_FREE char *to = mem_printf("%s/restored", r->dir);
	AUTO_FREE char *path = NULL, *exists = NULL;
	AUTO_JSON *one = NULL;

	assert_state(r, "target", "backup.image", "absent");
	do_both(r, "backup.image");
	assert_state(r, "target", "backup.image", "done");
	one = listed(r, place, 0);
	assert_non_null(one);
	path = mem_strdup(jstr(one, "path", ""));
	ok_and_free(verified(r, place, path));
	ok_and_free(restored(r, place, path, to));
	const char *cmp[] = { "cmp", r->src, to, NULL };
	run_ok(cmp);
	exists = mem_printf("cannot restore to '%s': it exists already", to);
	assert_error(restored(r, place, path, to), exists,
		     "name a file that is not there yet, or a device");
	do_at(r, "target", "backup.image", "undo");
	assert_int_equal(access(path, F_OK), -1);
	assert_state(r, "target", "backup.image", "absent");
	assert_int_equal(rmdir(place), 0);	/* nothing is left in it */
}

/* The sending end says when it is over, but not what a backup is. */
static void a_backup_without_a_disk_of_the_plan_is_none(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	struct modtest_end end[2] = { { .module = "backup.image", .in = input(r, "source") },
				      { .module = "backup.image", .in = input(r, "target") } };

	jset(jget(end[1].in, "machine.source.disks"), "data",
	     json_pack("{s:s,s:s,s:b}", "image", r->src, "format", "raw", "copy", 1));
	modtest_both(end);
	assert_error(end[1].out, "cannot keep the backup: the source did not send disk 'data'", "");
	for (int i = 0; i < 2; i++) {
		json_decref(end[i].in);
		json_decref(end[i].events);
	}
	json_decref(end[0].out);
	assert_state(r, "target", "backup.image", "absent");
	assert_null(listed(r, place, 0));
}

static void a_flipped_byte_of_a_backup_is_found(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_FREE char *pack = NULL, *packs = mem_printf("%s/packs", place);
	AUTO_JSON *one = NULL, *out = NULL;
	DIR *dir;
	const struct dirent *d;

	do_both(r, "backup.image");
	dir = opendir(packs);
	while ((d = readdir(dir)) && d->d_name[0] == '.')
		;
	pack = mem_printf("%s/%s", packs, d->d_name);
	closedir(dir);
	put(pack, 50, "!!", 2);
	one = listed(r, place, 0);
	out = verified(r, place, jstr(one, "path", ""));
	assert_non_null(strstr(jstr(out, "error.text", ""), "cannot read backup '"));
	assert_non_null(strstr(jstr(out, "error.text", ""),
			       "a chunk has not the digest that it is known by"));
}

static void a_restore_that_was_cut_off_goes_on(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_FREE char *to = mem_printf("%s/restored", r->dir);
	AUTO_FREE char *growing = mem_printf("%s.restoring", to);
	AUTO_JSON *one = NULL;

	do_both(r, "backup.image");
	one = listed(r, place, 0);
	/* A part is there, another is not, a third is something else. */
	const char *part[] = { "cp", "--sparse=always", r->src, growing, NULL };
	run_ok(part);
	put(growing, 0, "!!!!", 4);
	ok_and_free(restored(r, place, jstr(one, "path", ""), to));
	const char *cmp[] = { "cmp", r->src, to, NULL };
	run_ok(cmp);
	assert_int_equal(access(growing, F_OK), -1);
}

static void a_second_backup_costs_what_differs(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_FREE char *to = mem_printf("%s/restored", r->dir);
	AUTO_JSON *first = NULL, *second = NULL, *third = NULL;

	back_up(r, "20260101T000000Z-a");
	put(r->src, 100, "changed", 7);
	back_up(r, "20260102T000000Z-b");
	first = listed(r, place, 0);
	second = listed(r, place, 1);
	assert_in_range(jint(jget(first, "disks.root"), "stored", 0), MIB + 1, SIZE);
	assert_in_range(jint(jget(second, "disks.root"), "stored", 0), 1, MIB);
	ok_and_free(verified(r, place, jstr(second, "path", "")));
	ok_and_free(restored(r, place, jstr(second, "path", ""), to));
	const char *cmp[] = { "cmp", r->src, to, NULL };
	run_ok(cmp);

	/* A sibling: another machine, the same disk. */
	r->machine = "erp2";
	back_up(r, "20260103T000000Z-c");
	third = listed(r, place, 2);
	assert_string_equal(jstr(third, "machine", ""), "erp2");
	assert_int_equal(jint(jget(third, "disks.root"), "stored", -1), 0);
}

static void pruning_keeps_the_newest_and_gives_back_room(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_JSON *out = NULL, *left = NULL, *more = NULL;

	back_up(r, "20260101T000000Z-a");
	put(r->src, 100, "changed", 7);
	back_up(r, "20260102T000000Z-b");
	out = backups(r, "probe", json_pack("{s:s,s:s,s:i}", "do", "prune", "place", place,
					    "keep", 1));
	assert_int_equal(json_array_size(jget(out, "volatile.removed")), 1);
	more = listed(r, place, 1);
	assert_non_null(more);		/* the probe removed nothing */
	ok_and_free(backups(r, "apply", json_pack("{s:s,s:s,s:i}", "do", "prune", "place", place,
						  "keep", 1)));
	left = listed(r, place, 0);
	assert_string_equal(jstr(left, "name", ""), "20260102T000000Z-b");
	assert_null(listed(r, place, 1));
	ok_and_free(verified(r, place, jstr(left, "path", "")));
}

static void half_a_backup_is_not_seen_and_is_gone_on_with(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_FREE char *growing = mem_printf("%s/machines/erp/.20260101T000000Z-abcd.new", place);
	AUTO_FREE char *junk = mem_printf("%s/root.map", growing);
	AUTO_JSON *one = NULL;

	json_object_set_new(r->kept, "name", json_pack("{s:s}", "text", "20260101T000000Z-abcd"));
	assert_int_equal(io_mkdirs(growing, 0700), 0);
	assert_int_equal(io_write_file(AT_FDCWD, junk, "junk", 4, 0600), 0);
	assert_state(r, "target", "backup.image", "partial");
	assert_null(listed(r, place, 0));
	do_both(r, "backup.image");
	assert_state(r, "target", "backup.image", "done");
	assert_int_equal(access(growing, F_OK), -1);
	one = listed(r, place, 0);
	ok_and_free(verified(r, place, jstr(one, "path", "")));
}

int main(void)
{
#define AS(f, format) { #f "_as_" format, f, set_up, tear_down, (void *)(uintptr_t)format }
#define RAW(f) AS(f, "raw")
#define QCOW2(f) AS(f, "qcow2")
#define FOREIGN(f) AS(f, "vmdk"), AS(f, "vhdx"), AS(f, "vpc"), AS(f, "vdi")
	const struct CMUnitTest tests[] = {
		RAW(a_copy_is_equal_and_probed_as_done),
		QCOW2(a_copy_is_equal_and_probed_as_done),
		FOREIGN(a_copy_is_equal_and_probed_as_done),
		RAW(undo_brings_back_the_same_answer_and_an_empty_place),
		QCOW2(undo_brings_back_the_same_answer_and_an_empty_place),
		AS(undo_brings_back_the_same_answer_and_an_empty_place, "vmdk"),
		RAW(undo_leaves_what_is_not_ours),
		RAW(later_passes_bring_what_changed),
		QCOW2(later_passes_bring_what_changed),
		FOREIGN(later_passes_bring_what_changed),
		FOREIGN(what_became_zeros_is_zeros),
		RAW(a_freeze_that_ended_too_early_is_no_last_pass),
		RAW(a_foreign_directory_is_refused_unless_it_may_be_replaced),
		RAW(another_states_copy_is_refused),
		RAW(a_source_that_grew_or_shrank_is_refused),
		RAW(a_missing_source_is_named),
		RAW(a_base_that_vanished_is_told),
		RAW(chunks_of_an_odd_size_are_refused),
		RAW(a_disk_that_is_not_in_the_plan_is_refused),
		RAW(a_target_that_fills_up_is_told_and_gone_on_with),
		FOREIGN(a_target_that_fills_up_is_told_and_gone_on_with),
		AS(a_power_cut_ends_what_its_format_does_not_bear, "vmdk"),
		AS(a_power_cut_ends_what_its_format_does_not_bear, "vpc"),
		AS(a_power_cut_ends_what_its_format_does_not_bear, "vdi"),
		AS(a_power_cut_does_not_end_what_its_format_bears, "vhdx"),
		FOREIGN(an_image_that_cannot_grow_is_told),
		AS(a_disk_that_its_format_cannot_hold_is_told, "vpc"),
		RAW(a_device_is_filled_and_given_back_blank),
		RAW(a_device_that_got_the_name_of_another_is_left_alone),
		RAW(a_source_that_got_the_name_of_another_is_not_read),
		RAW(a_device_that_is_too_small_is_refused),
		RAW(a_disk_with_sectors_of_4096_bytes_is_copied_and_known_as_one),
		RAW(a_device_with_sectors_of_4096_bytes_is_filled),
		RAW(a_source_that_wrote_since_the_last_pass_is_read_again),
		RAW(a_proof_finds_one_changed_byte_and_says_where),
		RAW(what_is_damaged_is_sent_again_and_nothing_else),
		RAW(the_last_pass_is_mended_to_the_digest_that_was_recorded),
		RAW(a_mending_that_was_cut_off_is_gone_on_with),
		RAW(a_readback_reads_all_and_leaves_what_it_finds),
		RAW(a_truncated_map_is_filled_again),
		RAW(a_stale_map_proves_nothing),
		RAW(a_stale_base_is_mended),
		RAW(a_copy_goes_on_in_the_chunks_it_was_begun_with),
		RAW(the_last_proof_reads_what_the_last_pass_wrote),
		RAW(a_copy_that_is_made_anew_is_proven_anew),
		RAW(the_last_proof_wants_the_pass_that_was_recorded),
		RAW(a_copy_that_was_cut_off_is_not_proven),
		QCOW2(a_copy_that_was_cut_off_is_not_proven),
		RAW(free_space_of_a_quiet_disk_is_not_read),
		RAW(free_space_is_copied_when_the_plan_says_so),
		RAW(free_space_of_a_disk_that_a_guest_has_is_read),
		RAW(a_backup_is_listed_verified_restored_and_undone),
		RAW(a_backup_without_a_disk_of_the_plan_is_none),
		RAW(a_flipped_byte_of_a_backup_is_found),
		RAW(a_restore_that_was_cut_off_goes_on),
		RAW(a_second_backup_costs_what_differs),
		RAW(pruning_keeps_the_newest_and_gives_back_room),
		RAW(half_a_backup_is_not_seen_and_is_gone_on_with),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
