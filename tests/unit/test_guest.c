/* SPDX-License-Identifier: Apache-2.0
 * test_guest - a small guest in an image, through assess and reconfigure, as the agent calls
 * the modules; and what they say of guests that cannot be moved.
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

static void the_description_of_an_image_holds_what_is_on_it(void **state)
{
	struct guestrig *t = *state;
	json_t *part;

	gr_fill(t->k);
	gr_disk(t, "src.raw");
	gr_good(t, "assess.machine", "probe");
	part = json_array_get(jget(gr_first(t, "machine.disks"), "partitions"), 0);
	assert_string_equal(gr_fact(t, "machine.firmware"), "bios");
	assert_string_equal(jstr(part, "mount", ""), "/");
	assert_string_equal(jstr(part, "fs", ""), "ext4");
	assert_string_equal(jstr(part, "partuuid", ""), "0000abcd-01");
	assert_true(jbool(gr_first(t, "machine.disks"), "boot", false));
	assert_string_equal(jstr(gr_first(t, "machine.nics"), "mac", ""), "52:54:00:11:22:33");
	assert_int_equal(json_array_size(jget(t->result, "findings")), 0);
}

static void the_guest_tells_its_system_and_what_will_be_mended(void **state)
{
	struct guestrig *t = *state;

	gr_fill(t->k);
	gr_disk(t, "src.raw");
	gr_good(t, "assess.machine", "probe");
	gr_good(t, "assess.guest", "probe");
	assert_string_equal(gr_fact(t, "guest.os.id"), "debian");
	assert_string_equal(gr_fact(t, "guest.boot.loader"), "grub2");
	assert_string_equal(gr_fact(t, "guest.boot.cmdline"), "root=/dev/sda1 ro");
	assert_string_equal(gr_fact(t, "guest.network.system"), "ifupdown");
	assert_string_equal(jstr(gr_first(t, "guest.network.interfaces"), "address", ""),
			    "10.0.0.5/24");
	assert_string_equal(jstr(gr_first(t, "guest.kernels"), "version", ""), "6.1");
	assert_true(jbool(gr_first(t, "guest.kernels"), "virtio", false));
	assert_string_equal(json_string_value(gr_first(t, "guest.services")), "ssh.service");
	assert_string_equal(jstr(gr_finding(t, "guest.fstab"), "severity", ""), "info");
	assert_null(gr_finding(t, "guest.no-virtio"));
}

static void a_kernel_without_virtio_is_a_blocker_with_the_command_that_helps(void **state)
{
	struct guestrig *t = *state;

	gr_fill(t->k);
	kit_file(t->k, "lib/modules/6.1/modules.builtin", "kernel/fs/ext4/ext4.ko\n");
	kit_file(t->k, "boot/initrd.img-6.1", "");
	gr_disk(t, "src.raw");
	gr_good(t, "assess.machine", "probe");
	gr_good(t, "assess.guest", "probe");
	assert_string_equal(jstr(gr_finding(t, "guest.no-virtio"), "severity", ""), "blocker");
	assert_string_equal(jstr(gr_finding(t, "guest.no-virtio"), "remedy", ""),
			    "on the source: printf 'virtio_pci\\nvirtio_blk\\n' >> "
			    "/etc/initramfs-tools/modules && update-initramfs -u -k 6.1");
}

static void an_initramfs_that_cannot_be_read_is_unknown_not_missing(void **state)
{
	struct guestrig *t = *state;

	gr_fill(t->k);
	kit_file(t->k, "lib/modules/6.1/modules.builtin", "kernel/fs/ext4/ext4.ko\n");
	kit_bytes(t->k, "boot/initrd.img-6.1", "\x02\x21\x4c\x18xxxx", 8);
	gr_disk(t, "src.raw");
	gr_good(t, "assess.machine", "probe");
	gr_good(t, "assess.guest", "probe");
	assert_string_equal(jstr(gr_finding(t, "guest.initramfs"), "severity", ""), "unknown");
}

static void a_disk_that_is_not_there_is_named(void **state)
{
	struct guestrig *t = *state;

	assert_false(gr_call(t, "assess.machine", "probe"));
	assert_non_null(strstr(jstr(t->result, "error.text", ""), "src.raw"));
}

static void two_systems_in_one_machine_are_a_blocker(void **state)
{
	struct guestrig *t = *state;
	AUTO_FREE char *other = gr_in_dir(t, "other.raw");

	gr_fill(t->k);
	gr_disk(t, "src.raw");
	gr_disk(t, "other.raw");
	json_object_set_new(jget(t->input, "machine.source.disks"), "other",
			    json_pack("{s:s,s:s}", "image", other, "format", "raw"));
	gr_good(t, "assess.machine", "probe");
	assert_string_equal(jstr(gr_finding(t, "guest.several-roots"), "severity", ""), "blocker");
}

static void a_root_in_lvm_is_a_blocker_in_plain_words(void **state)
{
	struct guestrig *t = *state;
	AUTO_FREE char *path = gr_in_dir(t, "src.raw");
	AUTO_FD fd = -1;
	static const uint8_t zero[4096];

	kit_file(t->k, "x", "x");
	gr_disk(t, "src.raw");
	fd = open(path, O_RDWR);
	assert_int_equal(io_pwrite_full(fd, zero, sizeof(zero), AT), 0);
	assert_int_equal(io_pwrite_full(fd, "LABELONE", 8, AT + 512), 0);
	assert_int_equal(io_pwrite_full(fd, "\x20\0\0\0LVM2 001", 12, AT + 512 + 20), 0);
	gr_good(t, "assess.machine", "probe");
	assert_string_equal(jstr(gr_finding(t, "guest.root-unsupported"), "text", ""),
			    "no root was found in the open; it probably lies in an LVM volume "
			    "group (disk 'root', partition 1): guest files in it cannot be "
			    "changed yet");
}

static void a_blank_disk_has_no_root(void **state)
{
	struct guestrig *t = *state;
	AUTO_FREE char *path = gr_in_dir(t, "src.raw");
	AUTO_FD fd = open(path, O_RDWR | O_CREAT, 0600);

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	gr_good(t, "assess.machine", "probe");
	assert_non_null(gr_finding(t, "disk.blank"));
	assert_string_equal(jstr(gr_finding(t, "guest.no-root"), "severity", ""), "blocker");
}

static void an_image_in_use_is_read_and_told(void **state)
{
	struct guestrig *t = *state;

	gr_fill(t->k);
	gr_disk(t, "src.raw");
	gr_dirty(t, "src.raw");
	gr_good(t, "assess.machine", "probe");
	assert_string_equal(jstr(gr_finding(t, "disk.journal"), "severity", ""), "info");
	gr_good(t, "assess.guest", "probe");
	assert_string_equal(gr_fact(t, "guest.os.id"), "debian");
}

static void the_change_set_is_shown_as_diffs_and_writes_nothing(void **state)
{
	struct guestrig *t = *state;
	AUTO_FREE char *src = gr_in_dir(t, "src.raw");
	char before[SHA256_HEX], after[SHA256_HEX];

	gr_fill(t->k);
	gr_disk(t, "src.raw");
	gr_digest(src, before);
	gr_good(t, "assess.machine", "probe");
	gr_good(t, "reconfigure.guest", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "absent");
	assert_int_equal(json_array_size(jget(t->result, "changes")), 3);
	assert_non_null(strstr(jstr(json_array_get(jget(t->result, "changes"), 0), "diff", ""),
			       "-/dev/sda1 / ext4 errors=remount-ro 0 1\n+UUID="));
	gr_good(t, "reconfigure.guest", "apply");
	assert_int_equal(json_array_size(jget(t->input, "facts.changeset.edits")), 3);
	gr_good(t, "reconfigure.guest", "probe");
	assert_string_equal(jstr(t->result, "state", ""), "done");
	gr_digest(src, after);
	assert_string_equal(before, after);
}

static void an_image_in_qcow2_is_read_like_a_raw_one(void **state)
{
	struct guestrig *t = *state;
	AUTO_FREE char *src = gr_in_dir(t, "src.raw"), *q = gr_in_dir(t, "src.qcow2");
	AUTO_JSON *raw = NULL;

	gr_fill(t->k);
	gr_disk(t, "src.raw");
	gr_assess_and_reconfigure(t);
	raw = json_deep_copy(jget(t->input, "facts.changeset"));
	kit_run((const char *[]){ "qemu-img", "convert", "-f", "raw", "-O", "qcow2", src, q,
				  NULL }, NULL);
	gr_plan(t, "src.qcow2", "qcow2");
	gr_assess_and_reconfigure(t);
	assert_true(json_equal(raw, jget(t->input, "facts.changeset")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, gr_up, gr_down)
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
