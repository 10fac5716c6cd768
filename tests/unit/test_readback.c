/* SPDX-License-Identifier: Apache-2.0
 * test_readback - the whole base is read back while the target serves from above it: what is
 * found is told, and one that was cut off goes on with what is still so.
 */
#include "engine/agent/ctx.h"
#include "engine/base/mem.h"
#include "modules/lib/disk_over.h"
#include "modules/lib/proof_impl.h"
#include "tests/unit/convertrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILLED 99

static void cut_over(struct rig *r)
{
	cv_do_both(r, "convert.disks");
	cv_do_at(r, "target", "validate.disks", "apply");
	cv_do_both(r, "cutover.pass");
	cv_do_at(r, "target", "cutover.proof", "apply");
}

/* The source is off: what is found is told, and nothing is touched. */
static void a_readback_reads_all_and_leaves_what_it_finds(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *out = NULL;

	cut_over(r);
	cv_assert_state(r, "target", "cutover.readback", "absent");
	AUTO_FREE char *sound = cv_copy_aside(r, r->base, "sound");
	cv_put(r->base, 5 * MIB + 1000, "!", 1);
	out = cv_at(r, "target", "cutover.readback", "apply");
	assert_string_equal(jstr(json_array_get(jget(out, "findings"), 0), "code", ""),
			    "disk.damaged");
	cv_assert_damage(r, json_incref(out), "failed", "written by pass 1 at T, proven at T)");
	cv_assert_state(r, "target", "cutover.pass", "done");
	assert_int_equal(rename(sound, r->base), 0);
	cv_do_at(r, "target", "cutover.readback", "apply");
	assert_string_equal(jstr(r->facts, "readback.root.digest", "a"),
			    jstr(r->facts, "final.root.digest", "b"));
	cv_assert_state(r, "target", "cutover.readback", "done");
}

/* ---- a reading that was cut off ------------------------------------------------------- */

/* A base whose reader dies: what lies from `until` on is not had. */
struct dying {
	struct disk_over over;
	uint64_t until;
	const char *mark;	/* the process dies with it, once this file is there; or NULL */
};

static int dies(struct disk *disk, void *buf, size_t n, uint64_t at, struct err *e)
{
	const struct dying *d = (struct dying *)disk;

	if (at < d->until)
		return disk_over_read(disk, buf, n, at, e);
	while (d->mark && access(d->mark, F_OK) < 0)
		usleep(1000);
	if (d->mark)
		_exit(KILLED);
	return err_set(e, ERR_STEP, "the reader died");
}

/* The read-back of a disk of 1 MiB chunks, cut off at the chunk `until`; with `mark` it is
 * killed there. */
static void cut_off(struct rig *r, uint64_t until, const char *mark)
{
	static const struct disk_ops ops = { .read = dies, .extent = disk_over_extent,
					     .close = disk_over_close };
	AUTO_JSON *in = cv_input(r, "target");
	AUTO_LAYOUT_DISK at = { 0 };
	AUTO_ERR e = { 0 };
	struct dying *d = mem_alloc(sizeof(*d));
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct ctx *c = ctx_new(fd, 1, in, NULL);
	AUTO_MAP *m = map_open(r->map, false, &e);
	struct proving x = { .d = &d->over.d, .m = m, .name = "root", .at = &at,
			     .proof = "readback" };

	d->until = until * MIB;
	d->mark = mark;
	disk_over_init(&d->over, &ops, disk_open_image(r->base, r->format, DISK_DIRECT, &e));
	assert_int_equal(layout_of_disk(ctx_machine(c), "root", &at, &e), 0);
	assert_int_equal(proof_read(c, &x, &e), -1);
	assert_string_equal(e.what, "the reader died");
	proof_read_free(&x);
	disk_close(&x.d, NULL);
	ctx_free(c);
	close(fd);
}

static void cut_off_at(struct rig *r, uint64_t until)
{
	cut_off(r, until, NULL);
}

static void assert_read_anew(struct rig *r)
{
	json_t *out = cv_at(r, "target", "cutover.readback", "apply");

	cv_assert_damage(r, out, "failed", "written by pass 1 at T, proven at T)");
}

/* The byte at 5 MiB is behind it, that at 6 MiB is not. */
static void a_readback_goes_on_where_it_was_cut_off(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *mark = mem_printf("%s/erp/root.readback", r->target);
	AUTO_JSON *said = NULL;

	cut_over(r);
	cut_off_at(r, 6);
	said = cv_at(r, "target", "cutover.readback", "probe");
	assert_string_equal(jstr(json_array_get(jget(said, "changes"), 0), "text", ""),
			    "root read back further: its first 6.0 MiB are proven already");
	assert_int_equal(jint(said, "cost.read", 0), SIZE - 6 * MIB);
	cv_put_unseen(r->base, 5 * MIB + 1000);
	cv_do_at(r, "target", "cutover.readback", "apply");
	assert_string_equal(jstr(r->facts, "readback.root.digest", "a"),
			    jstr(r->facts, "final.root.digest", "b"));
	assert_int_equal(access(mark, F_OK), -1);
	/* It is over: whoever asks again has all of it read. */
	json_object_del(r->facts, "readback");
	assert_read_anew(r);
}

/* Nothing told it that it would end: what was noted meanwhile counts. */
static void a_readback_that_is_killed_goes_on_from_what_it_noted(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *mark = mem_printf("%s/erp/root.readback", r->target);
	AUTO_FREE char *data = mem_alloc(MIB);
	AUTO_JSON *said = NULL;
	int status;
	pid_t pid;

	memset(data, 1, MIB);
	assert_int_equal(truncate(r->src, 80ll * MIB), 0);
	for (uint64_t i = 0; i < 70; i++)
		cv_put(r->src, i * MIB, data, MIB);
	cut_over(r);
	pid = fork();
	if (pid == 0)
		cut_off(r, 66, mark);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == KILLED);
	said = cv_at(r, "target", "cutover.readback", "probe");
	/* how much that is depends on who read when; its beginning is among it */
	assert_in_range(jint(said, "cost.read", 0), 14 * MIB, 79 * MIB);
	cv_put_unseen(r->base, 0);
	cv_do_at(r, "target", "cutover.readback", "apply");
	assert_int_equal(access(mark, F_OK), -1);
}

static void what_was_not_read_yet_is_read_by_the_one_that_goes_on(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *out = NULL;

	cut_over(r);
	cut_off_at(r, 6);
	cv_put_unseen(r->base, 6 * MIB);
	out = cv_at(r, "target", "cutover.readback", "apply");
	assert_non_null(strstr(jstr(out, "error.text", ""), "byte 6291456, length 1048576"));
}

static void a_base_that_was_written_to_is_read_anew(void **s)
{
	struct rig *r = *s;

	cut_over(r);
	cut_off_at(r, 6);
	cv_put(r->base, 5 * MIB + 1000, "!", 1);
	assert_read_anew(r);
}

static void a_copy_of_another_pass_is_read_anew(void **s)
{
	struct rig *r = *s;

	cut_over(r);
	cut_off_at(r, 6);
	cv_do_both(r, "cutover.pass");
	cv_put_unseen(r->base, 5 * MIB + 1000);
	assert_read_anew(r);
}

static void a_note_that_rotted_is_not_believed(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *mark = mem_printf("%s/erp/root.readback", r->target);

	cut_over(r);
	cut_off_at(r, 6);
	cv_put(mark, 8 + SHA256_LEN, "\x08", 1);	/* it claims a chunk more */
	cv_put_unseen(r->base, 5 * MIB + 1000);
	assert_read_anew(r);
}

static void a_copy_that_goes_takes_the_note_along(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = mem_printf("%s/erp", r->target);

	cut_over(r);
	cut_off_at(r, 6);
	cv_do_at(r, "target", "convert.disks", "undo");
	assert_int_equal(access(place, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW(a_readback_reads_all_and_leaves_what_it_finds),
		RAW(a_readback_goes_on_where_it_was_cut_off),
		RAW(a_readback_that_is_killed_goes_on_from_what_it_noted),
		RAW(what_was_not_read_yet_is_read_by_the_one_that_goes_on),
		RAW(a_base_that_was_written_to_is_read_anew),
		RAW(a_copy_of_another_pass_is_read_anew),
		RAW(a_note_that_rotted_is_not_believed),
		RAW(a_copy_that_goes_takes_the_note_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
