/* SPDX-License-Identifier: Apache-2.0
 * test_replay - what was worked out for a small guest, replayed on an overlay of its base.
 */
#include "engine/base/mem.h"
#include "tests/unit/guestrig.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The text of a guest's file on the overlay, through a raw copy of it. */
static char *on_overlay(struct guestrig *t, const char *path)
{
	AUTO_FREE char *overlay = gr_in_dir(t, "m/root.qcow2"), *flat = gr_in_dir(t, "flat.raw");
	struct gtree *g;
	char *text;

	kit_run((const char *[]){ "qemu-img", "convert", "-f", "qcow2", "-O", "raw", overlay,
				  flat, NULL }, NULL);
	kit_fsck(t->k, "flat.raw", AT);
	g = kit_open(t->k, "flat.raw", AT, false);
	text = gtree_read(g, path, 1 << 20, NULL);
	gtree_close_ptr(&g);
	return text;
}

/* A guest that was copied, and worked out what is to be changed in it. */
static void reconfigure(struct guestrig *t)
{
	gr_fill(t->k);
	gr_disk(t, "src.raw");
	gr_assess_and_reconfigure(t);
	gr_make_base(t);
}

static void replay_writes_the_overlay_only_and_undo_takes_it_away(void **state)
{
	struct guestrig *t = *state;
	AUTO_FREE char *base = gr_in_dir(t, "m/root.base.raw");
	AUTO_FREE char *overlay = gr_in_dir(t, "m/root.qcow2");
	AUTO_FREE char *fstab = NULL, *link = NULL;
	AUTO_JSON *at_first = NULL;
	char before[SHA256_HEX], after[SHA256_HEX];

	reconfigure(t);
	gr_digest(base, before);
	gr_good(t, "cutover.replay", "probe");
	at_first = json_deep_copy(jget(t->result, "stable"));
	assert_string_equal(jstr(t->result, "state", ""), "absent");
	gr_good(t, "cutover.replay", "apply");
	gr_good(t, "cutover.replay", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "done");
	gr_digest(base, after);
	assert_string_equal(before, after);
	fstab = on_overlay(t, "/etc/fstab");
	assert_non_null(strstr(fstab, "\nUUID="));
	link = on_overlay(t, "/etc/systemd/network/10-drover-ens192.link");
	assert_string_equal(link, "[Match]\nMACAddress=52:54:00:11:22:33\n\n[Link]\nName=ens192\n");

	gr_good(t, "cutover.replay", "undo");
	gr_good(t, "cutover.replay", "undo");
	assert_int_equal(access(overlay, F_OK), -1);
	gr_good(t, "cutover.replay", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "absent");
	assert_true(json_equal(at_first, jget(t->result, "stable")));
}

/* A comma ends an option of QEMU's, anywhere but in JSON. */
static void replay_mends_an_overlay_in_a_directory_with_a_comma(void **state)
{
	struct guestrig *t = *state;
	AUTO_FREE char *dir = gr_in_dir(t, "a,b=c"), *base = NULL, *src = gr_in_dir(t, "src.raw");
	AUTO_FREE char *into = mem_printf("%s/m", dir);

	if (geteuid() != 0 || access("/dev/fuse", R_OK | W_OK) < 0)
		skip();
	gr_fill(t->k);
	gr_disk(t, "src.raw");
	gr_assess_and_reconfigure(t);
	base = mem_printf("%s/root.base.raw", into);
	assert_int_equal(io_mkdirs(into, 0700), 0);
	jset_str(jget(t->input, "machine.target"), "dir", dir);
	kit_run((const char *[]){ "cp", "--sparse=always", src, base, NULL }, NULL);
	gr_dirty(t, "a,b=c/m/root.base.raw");
	jset(jget(t->input, "facts"), "disks", json_pack("{s:{s:s,s:s,s:s}}", "root", "path",
		base, "format", "raw", "digest", "d1"));
	gr_good(t, "cutover.replay", "apply");
	gr_good(t, "cutover.replay", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "done");
}

/* What an apply that died half way leaves does not count, and is not in the way. */
static void replay_begins_again_over_what_was_left(void **state)
{
	struct guestrig *t = *state;
	AUTO_FREE char *half = gr_in_dir(t, "m/root.qcow2.new");
	AUTO_FREE char *old = gr_in_dir(t, "m/root.qcow2");

	reconfigure(t);
	assert_int_equal(io_write_file(AT_FDCWD, half, "half", 4, 0600), 0);
	assert_int_equal(io_write_file(AT_FDCWD, old, "old", 3, 0600), 0);
	gr_good(t, "cutover.replay", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "partial");
	gr_good(t, "cutover.replay", "apply");
	assert_int_equal(access(half, F_OK), -1);
	gr_good(t, "cutover.replay", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "done");
}

/* How many lines of the last probe cannot be known yet. */
static size_t unknown_lines(const struct guestrig *t)
{
	const json_t *line;
	size_t i, n = 0;

	json_array_foreach(jget(t->result, "changes"), i, line)
		n += *jstr(line, "mark", "") == '?';
	return n;
}

/* A run gets there once reconfigure.guest is over, or was skipped. */
static void changes_that_will_not_come_are_told_by_previews_only(void **state)
{
	struct guestrig *t = *state;

	reconfigure(t);
	json_object_del(jget(t->input, "facts"), "changeset");
	jset_bool(jget(t->input, "run"), "preview", true);
	gr_good(t, "cutover.replay", "probe");
	assert_int_equal(unknown_lines(t), 1);
	assert_non_null(strstr(jstr(json_array_get(jget(t->result, "changes"), 1), "text", ""),
			       "unless that step is skipped"));
	jset_bool(jget(t->input, "run"), "preview", false);
	gr_good(t, "cutover.replay", "probe");
	assert_int_equal(unknown_lines(t), 0);
}

/* An overlay ends with the pass on which it was made. */
static void a_newer_pass_of_the_base_ends_the_overlay(void **state)
{
	struct guestrig *t = *state;

	reconfigure(t);
	gr_good(t, "cutover.replay", "apply");
	jset_str(jget(t->input, "facts.disks.root"), "digest", "d2");
	gr_good(t, "cutover.replay", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "partial");
	gr_good(t, "cutover.replay", "apply");
	gr_good(t, "cutover.replay", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "done");
}

static void base_edit(struct guestrig *t, const char *path, const char *text)
{
	struct gtree *g = kit_open(t->k, "m/root.base.raw", AT, true);

	assert_int_equal(text ? gtree_write(g, path, text, strlen(text), 0644)
			      : gtree_unlink(g, path), 0);
	assert_int_equal(gtree_close(&g, NULL), 0);
}

static void a_file_that_changed_since_is_worked_out_again_and_told(void **state)
{
	struct guestrig *t = *state;
	AUTO_FREE char *fstab = NULL;

	reconfigure(t);
	base_edit(t, "/etc/fstab", "# edited meanwhile\n/dev/sda1 / ext4 noatime 0 1\n");
	gr_good(t, "cutover.replay", "apply");
	assert_non_null(gr_finding(t, "replay.other-edit"));
	fstab = on_overlay(t, "/etc/fstab");
	assert_non_null(strstr(fstab, "# edited meanwhile\nUUID="));
	assert_non_null(strstr(fstab, " / ext4 noatime 0 1\n"));
}

static void a_guest_that_would_not_boot_is_refused_before_it_is_started(void **state)
{
	struct guestrig *t = *state;
	AUTO_FREE char *overlay = gr_in_dir(t, "m/root.qcow2");

	reconfigure(t);
	base_edit(t, "/boot/initrd.img-6.1", NULL);
	assert_false(gr_call(t, "cutover.replay", "apply"));
	assert_string_equal(jstr(t->result, "error.text", ""),
			    "the target would not boot: /boot/grub/grub.cfg line 3 loads "
			    "'/boot/initrd.img-6.1', which is not there");
	assert_int_equal(access(overlay, F_OK), -1);
}

static void a_journal_that_was_not_replayed_is_on_the_overlay(void **state)
{
	struct guestrig *t = *state;
	AUTO_FREE char *fstab = NULL;

	reconfigure(t);
	gr_dirty(t, "m/root.base.raw");
	gr_good(t, "cutover.replay", "apply");
	fstab = on_overlay(t, "/etc/fstab");
	assert_non_null(strstr(fstab, "\nUUID="));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, gr_up, gr_down)
		T(replay_writes_the_overlay_only_and_undo_takes_it_away),
		T(replay_mends_an_overlay_in_a_directory_with_a_comma),
		T(replay_begins_again_over_what_was_left),
		T(changes_that_will_not_come_are_told_by_previews_only),
		T(a_newer_pass_of_the_base_ends_the_overlay),
		T(a_file_that_changed_since_is_worked_out_again_and_told),
		T(a_guest_that_would_not_boot_is_refused_before_it_is_started),
		T(a_journal_that_was_not_replayed_is_on_the_overlay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
