/* SPDX-License-Identifier: Apache-2.0
 * test_guest - a small guest in an image, through assess, reconfigure and replay, as
 * the agent calls the modules; and what they say of guests that cannot be moved.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "tests/unit/guestkit.h"
#include "tests/unit/modtest.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define AT ((uint64_t)1 << 20)

struct t {
	struct kit *k;
	json_t *input;		/* of the next call */
	json_t *result, *events;
};

static char *in_dir(struct t *t, const char *name)
{
	return mem_printf("%s/%s", t->k->dir, name);
}

/* ---- the guest --------------------------------------------------------------------- */

static void fill(struct kit *k)
{
	kit_file(k, "etc/os-release",
		 "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n");
	kit_file(k, "etc/fstab", "# comment\n/dev/sda1 / ext4 errors=remount-ro 0 1\n");
	kit_file(k, "etc/network/interfaces",
		 "auto ens192\niface ens192 inet static\n  address 10.0.0.5/24\n"
		 "  gateway 10.0.0.1\n");
	kit_file(k, "boot/grub/grub.cfg", "menuentry 'x' {\n\tlinux /boot/vmlinuz-6.1 "
		 "root=/dev/sda1 ro\n\tinitrd /boot/initrd.img-6.1\n}\n");
	kit_file(k, "boot/vmlinuz-6.1", "kernel");
	kit_file(k, "boot/initrd.img-6.1", "070701 no, this is none");
	kit_file(k, "lib/modules/6.1/modules.builtin",
		 "kernel/drivers/block/virtio_blk.ko\nkernel/drivers/virtio/virtio_pci.ko\n");
	kit_file(k, "usr/lib/systemd/systemd", "");
	kit_link(k, "etc/systemd/system/multi-user.target.wants/ssh.service", "/x");
}

static void disk(struct t *t, const char *name)
{
	AUTO_FREE char *path = in_dir(t, name);
	AUTO_FD fd = open(path, O_RDWR | O_CREAT, 0600);

	assert_int_equal(ftruncate(fd, 24 << 20), 0);
	kit_run((const char *[]){ "sfdisk", "-q", path, NULL },
		"label: dos\nlabel-id: 0x0000abcd\n2048,45056,83,*\n");
	kit_image(t->k, name, 22, AT);
}

static void plan(struct t *t, const char *image, const char *format)
{
	AUTO_FREE char *path = in_dir(t, image);
	json_t *spec = json_pack(
		"{s:s, s:{s:s,s:s,s:{s:{s:s,s:s}},s:{s:{s:s}},s:i,s:I},"
		" s:{s:s,s:s,s:s,s:{s:{s:s}},s:{s:{s:s,s:s}}}, s:{}}",
		"name", "m", "source", "host", "a", "kind", "image", "disks", "root", "image", path,
		"format", format, "nics", "ens192", "mac", "52:54:00:11:22:33", "cpus", 1,
		"memory", (json_int_t)1 << 30,
		"target", "host", "b", "dir", t->k->dir, "format", "raw", "disks", "root", "format",
		"raw", "nics", "ens192", "network", "br0", "mac", "keep", "maps");

	assert_non_null(spec);
	jset(t->input, "machine", spec);
}

static int up(void **state)
{
	struct t *t = mem_alloc(sizeof(*t));

	t->k = kit_new();
	t->input = json_pack("{s:{},s:{},s:{},s:s,s:{s:s,s:s,s:s,s:i,s:s,s:s,s:b}}", "args",
			     "facts", "kept", "role", "source", "run", "plan", "p", "plan_dir",
			     "/", "run", "r", "epoch", 1, "lineage", "l", "step", "s", "preview", 0);
	assert_non_null(t->input);
	plan(t, "src.raw", "raw");
	*state = t;
	return 0;
}

static int down(void **state)
{
	struct t *t = *state;

	json_decref(t->input);
	json_decref(t->result);
	json_decref(t->events);
	kit_free(t->k);
	mem_free_ptr(&t);
	return 0;
}

/* ---- calls ---------------------------------------------------------------------------- */

/* Facts and what was kept go into the next call's input, as the engine does it. */
static bool call(struct t *t, const char *module, const char *op)
{
	const char *name;
	json_t *fact;

	json_decref(t->result);
	json_decref(t->events);
	t->result = modtest_call(module, op, t->input, &t->events);
	modtest_keep(t->input, t->events);
	json_object_foreach(jget(t->result, "facts"), name, fact) {
		json_t *merged = json_deep_copy(jget(fact, "stable"));

		json_object_update(merged, jget(fact, "volatile"));
		json_object_set_new(jget(t->input, "facts"), name, merged);
	}
	return jbool(t->result, "ok", false);
}

static void good(struct t *t, const char *module, const char *op)
{
	if (call(t, module, op))
		return;
	print_error("%s %s: %s\n", module, op, jstr(t->result, "error.text", "?"));
	fail();
}

static const char *fact(struct t *t, const char *path)
{
	AUTO_FREE char *full = mem_printf("facts.%s", path);

	return jstr(t->input, full, "");
}

static const json_t *finding(struct t *t, const char *code)
{
	size_t i;
	json_t *f;

	json_array_foreach(jget(t->result, "findings"), i, f)
		if (strcmp(jstr(f, "code", ""), code) == 0)
			return f;
	return NULL;
}

static json_t *first(struct t *t, const char *path)
{
	AUTO_FREE char *full = mem_printf("facts.%s", path);

	return json_array_get(jget(t->input, full), 0);
}

static void digest(const char *path, char hex[SHA256_HEX])
{
	size_t n;
	AUTO_FREE char *p = io_read_file(AT_FDCWD, path, 64 << 20, &n);

	assert_non_null(p);
	sha256_hex(p, n, hex);
}

/* The base is where convert.disks would have put it. */
static void make_base(struct t *t)
{
	AUTO_FREE char *dir = in_dir(t, "m"), *src = in_dir(t, "src.raw");
	AUTO_FREE char *base = mem_printf("%s/root.base.raw", dir);

	assert_int_equal(io_mkdirs(dir, 0700), 0);
	kit_run((const char *[]){ "cp", "--sparse=always", src, base, NULL }, NULL);
	json_object_set_new(jget(t->input, "facts"), "disks",
			    json_pack("{s:{s:s,s:s,s:s}}", "root", "path", base, "format", "raw",
				      "digest", "d1"));
}

static void assess_and_reconfigure(struct t *t)
{
	good(t, "assess.machine", "probe");
	good(t, "assess.guest", "probe");
	good(t, "reconfigure.guest", "probe");
	good(t, "reconfigure.guest", "apply");
}

static void dirty(struct t *t, const char *image)
{
	AUTO_FREE char *at = mem_printf("%s/%s?offset=%llu", t->k->dir, image,
					(unsigned long long)AT);

	kit_run((const char *[]){ "debugfs", "-w", "-R", "feature needs_recovery", at, NULL },
		NULL);
}

/* ---- tests ------------------------------------------------------------------------------ */

static void the_description_of_an_image_holds_what_is_on_it(void **state)
{
	struct t *t = *state;
	json_t *part;

	fill(t->k);
	disk(t, "src.raw");
	good(t, "assess.machine", "probe");
	part = json_array_get(jget(first(t, "machine.disks"), "partitions"), 0);
	assert_string_equal(fact(t, "machine.firmware"), "bios");
	assert_string_equal(jstr(part, "mount", ""), "/");
	assert_string_equal(jstr(part, "fs", ""), "ext4");
	assert_string_equal(jstr(part, "partuuid", ""), "0000abcd-01");
	assert_true(jbool(first(t, "machine.disks"), "boot", false));
	assert_string_equal(jstr(first(t, "machine.nics"), "mac", ""), "52:54:00:11:22:33");
	assert_int_equal(json_array_size(jget(t->result, "findings")), 0);
}

static void the_guest_tells_its_system_and_what_will_be_mended(void **state)
{
	struct t *t = *state;

	fill(t->k);
	disk(t, "src.raw");
	good(t, "assess.machine", "probe");
	good(t, "assess.guest", "probe");
	assert_string_equal(fact(t, "guest.os.id"), "debian");
	assert_string_equal(fact(t, "guest.boot.loader"), "grub2");
	assert_string_equal(fact(t, "guest.boot.cmdline"), "root=/dev/sda1 ro");
	assert_string_equal(fact(t, "guest.network.system"), "ifupdown");
	assert_string_equal(jstr(first(t, "guest.network.interfaces"), "address", ""),
			    "10.0.0.5/24");
	assert_string_equal(jstr(first(t, "guest.kernels"), "version", ""), "6.1");
	assert_true(jbool(first(t, "guest.kernels"), "virtio", false));
	assert_string_equal(json_string_value(first(t, "guest.services")), "ssh.service");
	assert_string_equal(jstr(finding(t, "guest.fstab"), "severity", ""), "info");
	assert_null(finding(t, "guest.no-virtio"));
}

static void a_kernel_without_virtio_is_a_blocker_with_the_command_that_helps(void **state)
{
	struct t *t = *state;

	fill(t->k);
	kit_file(t->k, "lib/modules/6.1/modules.builtin", "kernel/fs/ext4/ext4.ko\n");
	kit_file(t->k, "boot/initrd.img-6.1", "");
	disk(t, "src.raw");
	good(t, "assess.machine", "probe");
	good(t, "assess.guest", "probe");
	assert_string_equal(jstr(finding(t, "guest.no-virtio"), "severity", ""), "blocker");
	assert_string_equal(jstr(finding(t, "guest.no-virtio"), "remedy", ""),
			    "on the source: printf 'virtio_pci\\nvirtio_blk\\n' >> "
			    "/etc/initramfs-tools/modules && update-initramfs -u -k 6.1");
}

static void an_initramfs_that_cannot_be_read_is_unknown_not_missing(void **state)
{
	struct t *t = *state;

	fill(t->k);
	kit_file(t->k, "lib/modules/6.1/modules.builtin", "kernel/fs/ext4/ext4.ko\n");
	kit_bytes(t->k, "boot/initrd.img-6.1", "\x02\x21\x4c\x18xxxx", 8);
	disk(t, "src.raw");
	good(t, "assess.machine", "probe");
	good(t, "assess.guest", "probe");
	assert_string_equal(jstr(finding(t, "guest.initramfs"), "severity", ""), "unknown");
}

static void a_disk_that_is_not_there_is_named(void **state)
{
	struct t *t = *state;

	assert_false(call(t, "assess.machine", "probe"));
	assert_non_null(strstr(jstr(t->result, "error.text", ""), "src.raw"));
}

static void two_systems_in_one_machine_are_a_blocker(void **state)
{
	struct t *t = *state;
	AUTO_FREE char *other = in_dir(t, "other.raw");

	fill(t->k);
	disk(t, "src.raw");
	disk(t, "other.raw");
	json_object_set_new(jget(t->input, "machine.source.disks"), "other",
			    json_pack("{s:s,s:s}", "image", other, "format", "raw"));
	good(t, "assess.machine", "probe");
	assert_string_equal(jstr(finding(t, "guest.several-roots"), "severity", ""), "blocker");
}

static void a_root_in_lvm_is_a_blocker_in_plain_words(void **state)
{
	struct t *t = *state;
	AUTO_FREE char *path = in_dir(t, "src.raw");
	AUTO_FD fd = -1;
	static const uint8_t zero[4096];

	kit_file(t->k, "x", "x");
	disk(t, "src.raw");
	fd = open(path, O_RDWR);
	assert_int_equal(io_pwrite_full(fd, zero, sizeof(zero), AT), 0);
	assert_int_equal(io_pwrite_full(fd, "LABELONE", 8, AT + 512), 0);
	assert_int_equal(io_pwrite_full(fd, "\x20\0\0\0LVM2 001", 12, AT + 512 + 20), 0);
	good(t, "assess.machine", "probe");
	assert_string_equal(jstr(finding(t, "guest.root-unsupported"), "text", ""),
			    "no root was found in the open; it probably lies in an LVM volume "
			    "group (disk 'root', partition 1): guest files in it cannot be "
			    "changed yet");
}

static void a_blank_disk_has_no_root(void **state)
{
	struct t *t = *state;
	AUTO_FREE char *path = in_dir(t, "src.raw");
	AUTO_FD fd = open(path, O_RDWR | O_CREAT, 0600);

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	good(t, "assess.machine", "probe");
	assert_non_null(finding(t, "disk.blank"));
	assert_string_equal(jstr(finding(t, "guest.no-root"), "severity", ""), "blocker");
}

static void an_image_in_use_is_read_and_told(void **state)
{
	struct t *t = *state;

	fill(t->k);
	disk(t, "src.raw");
	dirty(t, "src.raw");
	good(t, "assess.machine", "probe");
	assert_string_equal(jstr(finding(t, "disk.journal"), "severity", ""), "info");
	good(t, "assess.guest", "probe");
	assert_string_equal(fact(t, "guest.os.id"), "debian");
}

static void the_change_set_is_shown_as_diffs_and_writes_nothing(void **state)
{
	struct t *t = *state;
	AUTO_FREE char *src = in_dir(t, "src.raw");
	char before[SHA256_HEX], after[SHA256_HEX];

	fill(t->k);
	disk(t, "src.raw");
	digest(src, before);
	good(t, "assess.machine", "probe");
	good(t, "reconfigure.guest", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "absent");
	assert_int_equal(json_array_size(jget(t->result, "changes")), 3);
	assert_non_null(strstr(jstr(json_array_get(jget(t->result, "changes"), 0), "diff", ""),
			       "-/dev/sda1 / ext4 errors=remount-ro 0 1\n+UUID="));
	good(t, "reconfigure.guest", "apply");
	assert_int_equal(json_array_size(jget(t->input, "facts.changeset.edits")), 3);
	good(t, "reconfigure.guest", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "done");
	digest(src, after);
	assert_string_equal(before, after);
}

static void an_image_in_qcow2_is_read_like_a_raw_one(void **state)
{
	struct t *t = *state;
	AUTO_FREE char *src = in_dir(t, "src.raw"), *q = in_dir(t, "src.qcow2");
	AUTO_JSON *raw = NULL;

	fill(t->k);
	disk(t, "src.raw");
	assess_and_reconfigure(t);
	raw = json_deep_copy(jget(t->input, "facts.changeset"));
	kit_run((const char *[]){ "qemu-img", "convert", "-f", "raw", "-O", "qcow2", src, q,
				  NULL }, NULL);
	plan(t, "src.qcow2", "qcow2");
	assess_and_reconfigure(t);
	assert_true(json_equal(raw, jget(t->input, "facts.changeset")));
}

/* The text of a guest's file on the overlay, through a raw copy of it. */
static char *on_overlay(struct t *t, const char *path)
{
	AUTO_FREE char *overlay = in_dir(t, "m/root.qcow2"), *flat = in_dir(t, "flat.raw");
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

static void replay_writes_the_overlay_only_and_undo_takes_it_away(void **state)
{
	struct t *t = *state;
	AUTO_FREE char *base = in_dir(t, "m/root.base.raw"), *overlay = in_dir(t, "m/root.qcow2");
	AUTO_FREE char *fstab = NULL, *link = NULL;
	AUTO_JSON *at_first = NULL;
	char before[SHA256_HEX], after[SHA256_HEX];

	fill(t->k);
	disk(t, "src.raw");
	assess_and_reconfigure(t);
	make_base(t);
	digest(base, before);
	good(t, "cutover.replay", "probe");
	at_first = json_deep_copy(jget(t->result, "stable"));
	assert_string_equal(jstr(t->result, "state", ""), "absent");
	good(t, "cutover.replay", "apply");
	good(t, "cutover.replay", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "done");
	digest(base, after);
	assert_string_equal(before, after);
	fstab = on_overlay(t, "/etc/fstab");
	assert_non_null(strstr(fstab, "\nUUID="));
	link = on_overlay(t, "/etc/systemd/network/10-drover-ens192.link");
	assert_string_equal(link, "[Match]\nMACAddress=52:54:00:11:22:33\n\n[Link]\nName=ens192\n");

	good(t, "cutover.replay", "undo");
	good(t, "cutover.replay", "undo");
	assert_int_equal(access(overlay, F_OK), -1);
	good(t, "cutover.replay", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "absent");
	assert_true(json_equal(at_first, jget(t->result, "stable")));
}

/* A comma ends an option of QEMU's, anywhere but in JSON. */
static void replay_mends_an_overlay_in_a_directory_with_a_comma(void **state)
{
	struct t *t = *state;
	AUTO_FREE char *dir = in_dir(t, "a,b=c"), *base = NULL, *src = in_dir(t, "src.raw");
	AUTO_FREE char *into = mem_printf("%s/m", dir);

	if (geteuid() != 0 || access("/dev/fuse", R_OK | W_OK) < 0)
		skip();
	fill(t->k);
	disk(t, "src.raw");
	assess_and_reconfigure(t);
	base = mem_printf("%s/root.base.raw", into);
	assert_int_equal(io_mkdirs(into, 0700), 0);
	jset_str(jget(t->input, "machine.target"), "dir", dir);
	kit_run((const char *[]){ "cp", "--sparse=always", src, base, NULL }, NULL);
	dirty(t, "a,b=c/m/root.base.raw");
	jset(jget(t->input, "facts"), "disks", json_pack("{s:{s:s,s:s,s:s}}", "root", "path",
		base, "format", "raw", "digest", "d1"));
	good(t, "cutover.replay", "apply");
	good(t, "cutover.replay", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "done");
}

/* What an apply that died half way leaves does not count, and is not in the way. */
static void replay_begins_again_over_what_was_left(void **state)
{
	struct t *t = *state;
	AUTO_FREE char *half = in_dir(t, "m/root.qcow2.new"), *old = in_dir(t, "m/root.qcow2");

	fill(t->k);
	disk(t, "src.raw");
	assess_and_reconfigure(t);
	make_base(t);
	assert_int_equal(io_write_file(AT_FDCWD, half, "half", 4, 0600), 0);
	assert_int_equal(io_write_file(AT_FDCWD, old, "old", 3, 0600), 0);
	good(t, "cutover.replay", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "partial");
	good(t, "cutover.replay", "apply");
	assert_int_equal(access(half, F_OK), -1);
	good(t, "cutover.replay", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "done");
}

/* An overlay ends with the pass on which it was made. */
static void a_newer_pass_of_the_base_ends_the_overlay(void **state)
{
	struct t *t = *state;

	fill(t->k);
	disk(t, "src.raw");
	assess_and_reconfigure(t);
	make_base(t);
	good(t, "cutover.replay", "apply");
	jset_str(jget(t->input, "facts.disks.root"), "digest", "d2");
	good(t, "cutover.replay", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "partial");
	good(t, "cutover.replay", "apply");
	good(t, "cutover.replay", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "done");
}

static void base_edit(struct t *t, const char *path, const char *text)
{
	struct gtree *g = kit_open(t->k, "m/root.base.raw", AT, true);

	assert_int_equal(text ? gtree_write(g, path, text, strlen(text), 0644)
			      : gtree_unlink(g, path), 0);
	assert_int_equal(gtree_close(&g, NULL), 0);
}

static void a_file_that_changed_since_is_worked_out_again_and_told(void **state)
{
	struct t *t = *state;
	AUTO_FREE char *fstab = NULL;

	fill(t->k);
	disk(t, "src.raw");
	assess_and_reconfigure(t);
	make_base(t);
	base_edit(t, "/etc/fstab", "# edited meanwhile\n/dev/sda1 / ext4 noatime 0 1\n");
	good(t, "cutover.replay", "apply");
	assert_non_null(finding(t, "replay.other-edit"));
	fstab = on_overlay(t, "/etc/fstab");
	assert_non_null(strstr(fstab, "# edited meanwhile\nUUID="));
	assert_non_null(strstr(fstab, " / ext4 noatime 0 1\n"));
}

static void a_guest_that_would_not_boot_is_refused_before_it_is_started(void **state)
{
	struct t *t = *state;
	AUTO_FREE char *overlay = in_dir(t, "m/root.qcow2");

	fill(t->k);
	disk(t, "src.raw");
	assess_and_reconfigure(t);
	make_base(t);
	base_edit(t, "/boot/initrd.img-6.1", NULL);
	assert_false(call(t, "cutover.replay", "apply"));
	assert_string_equal(jstr(t->result, "error.text", ""),
			    "the target would not boot: /boot/grub/grub.cfg line 3 loads "
			    "'/boot/initrd.img-6.1', which is not there");
	assert_int_equal(access(overlay, F_OK), -1);
}

static void a_journal_that_was_not_replayed_is_on_the_overlay(void **state)
{
	struct t *t = *state;
	AUTO_FREE char *fstab = NULL;

	fill(t->k);
	disk(t, "src.raw");
	assess_and_reconfigure(t);
	make_base(t);
	dirty(t, "m/root.base.raw");
	good(t, "cutover.replay", "apply");
	fstab = on_overlay(t, "/etc/fstab");
	assert_non_null(strstr(fstab, "\nUUID="));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, up, down)
		T(the_description_of_an_image_holds_what_is_on_it),
		T(the_guest_tells_its_system_and_what_will_be_mended),
		T(a_kernel_without_virtio_is_a_blocker_with_the_command_that_helps),
		T(an_initramfs_that_cannot_be_read_is_unknown_not_missing),
		T(a_disk_that_is_not_there_is_named),
		T(two_systems_in_one_machine_are_a_blocker),
		T(a_root_in_lvm_is_a_blocker_in_plain_words),
		T(a_blank_disk_has_no_root),
		T(an_image_in_use_is_read_and_told),
		T(the_change_set_is_shown_as_diffs_and_writes_nothing),
		T(an_image_in_qcow2_is_read_like_a_raw_one),
		T(replay_writes_the_overlay_only_and_undo_takes_it_away),
		T(replay_mends_an_overlay_in_a_directory_with_a_comma),
		T(replay_begins_again_over_what_was_left),
		T(a_newer_pass_of_the_base_ends_the_overlay),
		T(a_file_that_changed_since_is_worked_out_again_and_told),
		T(a_guest_that_would_not_boot_is_refused_before_it_is_started),
		T(a_journal_that_was_not_replayed_is_on_the_overlay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
