/* SPDX-License-Identifier: Apache-2.0
 * bootrig - a machine of one small disk at its target.
 */
#include "tests/unit/bootrig.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/fence.h"
#include "modules/lib/task.h"
#include "tests/unit/modtest.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* cli; cld; ds=0; si=msg; while ((al = *si++)) outb(0x3f8, al); hlt */
static const unsigned char code[] = {
	0xfa, 0xfc, 0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x17, 0x7c, 0xac, 0x84, 0xc0,
	0x74, 0x06, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xf5, 0xf4, 0xeb, 0xfd,
};
#define DISK_BYTES (1 << 20)

void bt_make_base(struct bootrig *w, const char *text)
{
	AUTO_FREE char *dir = mem_printf("%s/%s", w->dir, w->name);
	AUTO_FREE char *path = mem_printf("%s/root.base.raw", dir);
	AUTO_FREE unsigned char *disk = mem_alloc(DISK_BYTES);

	memcpy(disk, code, sizeof(code));
	snprintf((char *)disk + sizeof(code), 440 - sizeof(code), "%s", text);
	disk[510] = 0x55;
	disk[511] = 0xaa;
	assert_int_equal(io_mkdirs(dir, 0700), 0);
	assert_int_equal(io_write_file(AT_FDCWD, path, disk, DISK_BYTES, 0600), 0);
}

static json_t *spec_of(const struct bootrig *w)
{
	json_t *spec = json_pack(
		"{s:s, s:{s:s,s:s,s:{s:{s:s}}}, s:{s:s,s:s,s:s,s:s,s:i,s:i,"
		"s:{s:{s:s,s:s,s:s}}}, s:{s:{},s:{}}}",
		"name", w->name, "source", "host", "a", "kind", "image", "disks", "root",
		"image", "/nowhere.raw", "target", "host", "b", "dir", w->dir, "format", "raw",
		"start", "qemu", "cpus", 1, "memory", 64 << 20, "nics", "eth0", "network",
		"brtest", "mac", "52:54:00:00:00:07", "address", "10.77.0.5/24", "maps",
		"networks", "storage");

	assert_non_null(spec);
	return spec;
}

int bt_setup(void **state)
{
	struct bootrig *w = mem_alloc(sizeof(*w));

	bt_can_run();	/* its own network before anything is in it */
	snprintf(w->dir, sizeof(w->dir), "/tmp/drover-test.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->name, sizeof(w->name), "t%d", (int)getpid());
	w->input = json_pack("{s:{}, s:o, s:{s:{s:s}}, s:{s:s, s:b}}", "args", "machine",
			     spec_of(w), "facts", "target.host", "kvm_note", "-", "run",
			     "lineage", "l1", "preview", 0);
	assert_non_null(w->input);
	jset_bool(jget(w->input, "facts"), "x", false);
	json_object_set_new(json_object_get(json_object_get(w->input, "facts"),
					    "target.host"), "kvm", json_false());
	w->events = json_array();
	bt_make_base(w, "\r\nhello\r\ntiny login: ");
	*state = w;
	return 0;
}

char *bt_marker(const struct bootrig *w, const char *prefix)
{
	return mem_printf("/run/drover/%s%s/qemu.pid", prefix, w->name);
}

int bt_teardown(void **state)
{
	struct bootrig *w = *state;
	AUTO_FREE char *copy = bt_marker(w, "@"), *machine = bt_marker(w, "");

	task_end(copy, 5000);
	task_end(machine, 5000);
	io_remove_tree(w->dir);
	json_decref(w->input);
	json_decref(w->events);
	free(w);
	return 0;
}

json_t *bt_call(struct bootrig *w, const char *module, const char *op)
{
	json_t *events = NULL;
	json_t *result = modtest_call(module, op, w->input, &events);

	modtest_keep(w->input, events);
	json_array_extend(w->events, events);
	json_decref(events);
	return result;
}

void bt_args(struct bootrig *w, const char *text)
{
	AUTO_ERR e = {0};

	jset(w->input, "args", json_parse(text, strlen(text), &e));
}

void bt_must(struct bootrig *w, const char *module, const char *op)
{
	AUTO_JSON *r = bt_call(w, module, op);

	if (!jbool(r, "ok", false))
		fail_msg("%s %s: %s", module, op, jstr(r, "error.text", "?"));
}

void bt_fails(struct bootrig *w, const char *module, const char *op, const char *text)
{
	AUTO_JSON *r = bt_call(w, module, op);

	assert_false(jbool(r, "ok", true));
	assert_string_equal(jstr(r, "error.text", ""), text);
}

void bt_state(struct bootrig *w, const char *module, const char *want)
{
	AUTO_JSON *r = bt_call(w, module, "probe");

	if (!jbool(r, "ok", false))
		fail_msg("%s probe: %s", module, jstr(r, "error.text", "?"));
	assert_string_equal(jstr(r, "state", ""), want);
}

int bt_ledger_left(const struct bootrig *w)
{
	AUTO_JSON *left = json_object();
	json_t *event;
	size_t i;

	json_array_foreach(w->events, i, event) {
		AUTO_FREE char *key = mem_printf("%s:%s", jstr(event, "kind", ""),
						 jstr(event, "name", ""));

		if (strcmp(jstr(event, "e", ""), "ledger") != 0)
			continue;
		if (strcmp(jstr(event, "op", ""), "add") == 0)
			jset_bool(left, key, true);
		else
			json_object_del(left, key);
	}
	return (int)json_object_size(left);
}

const char *bt_evidence(const struct bootrig *w, const char *name)
{
	const char *text = "";
	json_t *event;
	size_t i;

	json_array_foreach(w->events, i, event)
		if (strcmp(jstr(event, "e", ""), "evidence") == 0 &&
		    strcmp(jstr(event, "name", ""), name) == 0)
			text = jstr(event, "text", "");
	return text;
}

void bt_define(struct bootrig *w)
{
	AUTO_JSON *r = NULL;

	bt_must(w, "reconfigure.machine", "apply");
	r = bt_call(w, "reconfigure.machine", "probe");
	assert_string_equal(jstr(r, "state", ""), "done");
	json_object_set(jget(w->input, "facts"), "definition",
			jget(r, "facts.definition.stable"));
}

void bt_nothing_is_left(struct bootrig *w)
{
	AUTO_FREE char *copy = bt_marker(w, "@"), *machine = bt_marker(w, "");
	AUTO_FREE char *boot = mem_printf("%s/%s/.boot", w->dir, w->name);
	char fence[80];

	fence_name(w->name, fence);
	assert_int_equal(task_find(copy), 0);
	assert_int_equal(task_find(machine), 0);
	assert_false(fence_there(fence));
	assert_int_not_equal(access(boot, F_OK), 0);
}

void bt_make_overlay_on(struct bootrig *w, const char *base, const char *format)
{
	AUTO_FREE char *path = mem_printf("%s/%s/root.qcow2", w->dir, w->name);
	const char *const argv[] = { "qemu-img", "create", "-q", "-f", "qcow2", "-b", base,
				     "-F", format, path, NULL };
	struct proc p = { .argv = argv };
	AUTO_ERR e = {0};

	if (proc_run(&p, &e) < 0)
		fail_msg("%s", e.what);
	proc_free(&p);
}

void bt_make_overlay(struct bootrig *w)
{
	AUTO_FREE char *base = mem_printf("%s/%s/root.base.raw", w->dir, w->name);

	bt_make_overlay_on(w, base, "raw");
}

int bt_ip(const char *a, const char *b, const char *c, const char *d, const char *e)
{
	const char *const argv[] = { "ip", a, b, c, d, e, NULL };
	struct proc p = { .argv = argv };
	int rc = proc_run(&p, NULL);

	proc_free(&p);
	return rc;
}

bool bt_can_run(void)
{
	static int can = -1;

	if (can < 0) {
		AUTO_FREE char *qemu = proc_which("qemu-system-x86_64");

		can = qemu && geteuid() == 0 && unshare(CLONE_NEWNET) == 0 &&
		      bt_ip("link", "set", "lo", "up", NULL) == 0;
	}
	return can;
}
