/* SPDX-License-Identifier: Apache-2.0
 * assess.host - what each end has: CPUs, memory, kernel, tools, space. Read only.
 *
 * /dev/kvm is reported as a device, not as working: only starting something shows
 * that.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "engine/base/text.h"
#include "modules/lib/hw.h"
#include "modules/lib/space.h"
#include "modules/lib/tools.h"
#include "modules/module.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static const struct param params[] = {
	{ 0 }
};

#define SPACE_LEAST (64 << 20)

static const char *const wants[] = { "machine", NULL };

/* What a target cannot do without. */
static const char *const needed_at_target[] = {
	"qemu-img", "qemu-nbd", "qemu-system-x86_64",
};

static json_t *look_tools(void)
{
	json_t *out = json_object();

	for (const struct tool *t = tools; t->name; t++) {
		AUTO_FREE char *path = proc_which(t->name);

		if (path)
			jset_str(out, t->name, path);
	}
	return out;
}

static json_t *look_kernel(void)
{
	struct utsname u;

	return uname(&u) == 0 ? json_string(u.release) : json_null();
}

static bool any_exists(const char *const *paths)
{
	for (; *paths; paths++)
		if (access(*paths, F_OK) == 0)
			return true;
	return false;
}

static bool has_libvirt(void)
{
	static const char *const sockets[] = {
		"/run/libvirt/libvirt-sock", "/var/run/libvirt/libvirt-sock",
		"/run/libvirt/virtqemud-sock", NULL
	};

	return any_exists(sockets);
}

static bool has_systemd(void)
{
	static const char *const signs[] = { "/run/systemd/system", NULL };

	return any_exists(signs);
}

static json_t *cpu_model(void)
{
	AUTO_FREE char *s = io_read_file(AT_FDCWD, "/proc/cpuinfo", 4 << 20, NULL);
	const char *p = s ? strstr(s, "model name") : NULL;

	p = p ? strchr(p, ':') : NULL;
	return p ? jtext(p + 2, strcspn(p + 2, "\n")) : json_null();
}

static int64_t memory_free(void)
{
	AUTO_FREE char *s = io_read_file(AT_FDCWD, "/proc/meminfo", 65536, NULL);
	const char *p = s ? strstr(s, "MemAvailable:") : NULL;

	return p ? (int64_t)strtoull(p + 13, NULL, 10) * 1024 : 0;
}

static json_t *load_average(void)
{
	AUTO_FREE char *s = hw_line("/proc/loadavg");

	return s ? json_real(strtod(s, NULL)) : json_null();
}

/* ---- findings ------------------------------------------------------------------ */

static void find_tools(struct ctx *c, const json_t *found)
{
	for (size_t i = 0; i < ARRAY_LEN(needed_at_target); i++) {
		const char *name = needed_at_target[i];
		AUTO_FREE char *mend = NULL;

		if (json_object_get(found, name))
			continue;
		mend = mem_printf("apt install %s", tool_package(name));
		ctx_finding(c, "blocker", "host.tool-missing", mend,
			    "the target has no '%s' (package %s)", name,
			    tool_package(name));
	}
}

static void find_memory(struct ctx *c, int64_t free)
{
	int64_t wanted = jint(ctx_machine(c), "target.memory", 0);
	char a[24], b[24];

	if (!wanted || free >= wanted)
		return;
	text_size((uint64_t)wanted, a);
	text_size((uint64_t)free, b);
	ctx_finding(c, "warning", "host.memory", "free memory there, or plan less",
		    "the machine is to have %s, the target has %s free now", a, b);
}

/* Maps, overlays and definitions lie in the target's directory, wherever the disks go. */
static void look_space(struct ctx *c, json_t *volatile_part)
{
	const char *dir = jstr(ctx_machine(c), "target.dir", "");
	const json_t *free, *needed;
	AUTO_JSON *told = NULL;

	space_check(c, ctx_fact(c, "machine"), &told);
	free = json_object_get(jget(told, "free"), dir);
	needed = json_object_get(jget(told, "needed"), dir);
	if (free && json_integer_value(free) < SPACE_LEAST &&
	    json_integer_value(needed) <= json_integer_value(free))
		ctx_finding(c, "blocker", "host.space", "free space there",
			    "'%s' has less than 64 MiB free", dir);
	jset(volatile_part, "space", json_incref(jget(told, "free")));
	jset(volatile_part, "needed", json_incref(jget(told, "needed")));
}

static int probe(struct ctx *c, enum probe_state *state)
{
	json_t *o = json_object(), *v = json_object();
	AUTO_FREE char *virt = hw_virtualization();
	int64_t free = memory_free();

	*state = STATE_DONE;
	jset_int(o, "cpus", hw_cpus());
	jset(o, "cpu_model", cpu_model());
	jset_int(o, "memory", (int64_t)hw_memory());
	jset_str(o, "arch", hw_arch());
	jset(o, "kernel", look_kernel());
	jset_str(o, "virtualization", virt);
	jset_str(o, "firmware", hw_firmware());
	jset(o, "tools", look_tools());
	jset_bool(o, "libvirt", has_libvirt());
	jset_bool(o, "systemd", has_systemd());
	jset_bool(o, "kvm", access("/dev/kvm", R_OK | W_OK) == 0);
	jset_int(v, "memory_free", free);
	jset(v, "load", load_average());
	if (strcmp(ctx_role(c), "target") == 0) {
		find_tools(c, jget(o, "tools"));
		find_memory(c, free);
		look_space(c, v);
	}
	ctx_set_fact(c, "host", o, v);
	return 0;
}

const struct module module_assess_host = {
	.name = "assess.host",
	.summary = "look at both hosts: CPUs, memory, space, tools",
	.place = ON_EACH,
	.flags = MOD_READ_ONLY,
	.params = params,
	.wants = wants,
	.probe = probe,
};
