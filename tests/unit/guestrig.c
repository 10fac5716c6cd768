/* SPDX-License-Identifier: Apache-2.0
 * guestrig - a small guest in an image, and the calls that move it.
 */
#include "tests/unit/guestrig.h"

#include "engine/base/mem.h"
#include "tests/unit/modtest.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

char *gr_in_dir(struct guestrig *t, const char *name)
{
	return mem_printf("%s/%s", t->k->dir, name);
}

/* ---- the guest --------------------------------------------------------------------- */

void gr_fill(struct kit *k)
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

void gr_disk(struct guestrig *t, const char *name)
{
	AUTO_FREE char *path = gr_in_dir(t, name);
	AUTO_FD fd = open(path, O_RDWR | O_CREAT, 0600);

	assert_int_equal(ftruncate(fd, 24 << 20), 0);
	kit_run((const char *[]){ "sfdisk", "-q", path, NULL },
		"label: dos\nlabel-id: 0x0000abcd\n2048,45056,83,*\n");
	kit_image(t->k, name, 22, AT);
}

void gr_plan(struct guestrig *t, const char *image, const char *format)
{
	AUTO_FREE char *path = gr_in_dir(t, image);
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

int gr_up(void **state)
{
	struct guestrig *t = mem_alloc(sizeof(*t));

	t->k = kit_new();
	t->input = json_pack("{s:{},s:{},s:{},s:s,s:{s:s,s:s,s:s,s:i,s:s,s:s,s:b}}", "args",
			     "facts", "kept", "role", "source", "run", "plan", "p", "plan_dir",
			     "/", "run", "r", "epoch", 1, "lineage", "l", "step", "s", "preview", 0);
	assert_non_null(t->input);
	gr_plan(t, "src.raw", "raw");
	*state = t;
	return 0;
}

int gr_down(void **state)
{
	struct guestrig *t = *state;

	json_decref(t->input);
	json_decref(t->result);
	json_decref(t->events);
	kit_free(t->k);
	mem_free_ptr(&t);
	return 0;
}

/* ---- calls ---------------------------------------------------------------------------- */

bool gr_call(struct guestrig *t, const char *module, const char *op)
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

void gr_good(struct guestrig *t, const char *module, const char *op)
{
	if (gr_call(t, module, op))
		return;
	print_error("%s %s: %s\n", module, op, jstr(t->result, "error.text", "?"));
	fail();
}

const char *gr_fact(struct guestrig *t, const char *path)
{
	AUTO_FREE char *full = mem_printf("facts.%s", path);

	return jstr(t->input, full, "");
}

const json_t *gr_finding(struct guestrig *t, const char *code)
{
	size_t i;
	json_t *f;

	json_array_foreach(jget(t->result, "findings"), i, f)
		if (strcmp(jstr(f, "code", ""), code) == 0)
			return f;
	return NULL;
}

json_t *gr_first(struct guestrig *t, const char *path)
{
	AUTO_FREE char *full = mem_printf("facts.%s", path);

	return json_array_get(jget(t->input, full), 0);
}

void gr_digest(const char *path, char hex[SHA256_HEX])
{
	size_t n;
	AUTO_FREE char *p = io_read_file(AT_FDCWD, path, 64 << 20, &n);

	assert_non_null(p);
	sha256_hex(p, n, hex);
}

void gr_make_base(struct guestrig *t)
{
	AUTO_FREE char *dir = gr_in_dir(t, "m"), *src = gr_in_dir(t, "src.raw");
	AUTO_FREE char *base = mem_printf("%s/root.base.raw", dir);

	assert_int_equal(io_mkdirs(dir, 0700), 0);
	kit_run((const char *[]){ "cp", "--sparse=always", src, base, NULL }, NULL);
	json_object_set_new(jget(t->input, "facts"), "disks",
			    json_pack("{s:{s:s,s:s,s:s}}", "root", "path", base, "format", "raw",
				      "digest", "d1"));
}

void gr_assess_and_reconfigure(struct guestrig *t)
{
	gr_good(t, "assess.machine", "probe");
	gr_good(t, "assess.guest", "probe");
	gr_good(t, "reconfigure.guest", "probe");
	gr_good(t, "reconfigure.guest", "apply");
}

void gr_dirty(struct guestrig *t, const char *image)
{
	AUTO_FREE char *at = mem_printf("%s/%s?offset=%llu", t->k->dir, image,
					(unsigned long long)AT);

	kit_run((const char *[]){ "debugfs", "-w", "-R", "feature needs_recovery", at, NULL },
		NULL);
}
