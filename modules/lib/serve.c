/* SPDX-License-Identifier: Apache-2.0
 * serve - keep a target machine running: by libvirt, by systemd, or by itself.
 */
#include "modules/lib/serve.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/fence.h"
#include "modules/lib/imgkind.h"
#include "modules/lib/qemu.h"
#include "modules/lib/task.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOOL_MS 60000
#define ANSWER_MS 5000
#define DEFINE_TRIES 3

static int run_input(const char *const *argv, unsigned ms, const char *input,
		     struct str *out, struct err *e)
{
	struct proc p = { .argv = argv, .timeout_ms = ms, .input = input,
			  .input_len = input ? strlen(input) : 0 };
	int rc = proc_run(&p, e);

	if (out) {
		*out = p.out;
		p.out = (struct str){0};
	}
	proc_free(&p);
	return rc;
}

static int run(const char *const *argv, struct err *e)
{
	return run_input(argv, TOOL_MS, NULL, NULL, e);
}

static const char *name_of(const json_t *def)
{
	return jstr(def, "name", "");
}

int64_t serve_allocated(const json_t *def)
{
	const json_t *disk;
	int64_t sum = 0;
	struct stat st;
	size_t i;

	json_array_foreach(jget(def, "disks"), i, disk)
		if (stat(jstr(disk, "path", ""), &st) == 0)
			sum += (int64_t)st.st_blocks * 512;
	return sum;
}

/* ---- libvirt ------------------------------------------------------------------- */

char *serve_log(const json_t *def)
{
	return mem_printf("/var/log/libvirt/qemu/%s-console.log", name_of(def));
}

static bool libvirt_usable(void)
{
	static const char *const argv[] = { "virsh", "-q", "uri", NULL };
	AUTO_FREE char *virsh = proc_which("virsh");

	return virsh && run_input(argv, ANSWER_MS, NULL, NULL, NULL) == 0;
}

/* virsh's answer to a question about one domain, "" when there is no such domain. */
static void ask_domain(const char *verb, const char *which, char out[48])
{
	const char *const argv[] = { "virsh", "-q", verb, which, NULL };
	AUTO_STR said = {0};

	run_input(argv, TOOL_MS, NULL, &said, NULL);
	snprintf(out, 48, "%.47s", said.s ? said.s : "");
	out[strcspn(out, "\r\n")] = '\0';
}

/* Ours is known by its uuid: a stranger may have the name. */
static const char *uuid_of(const json_t *def)
{
	return jstr(def, "uuid", "");
}

static void domain_state(const json_t *def, char out[48])
{
	ask_domain("domstate", uuid_of(def), out);
}

static bool libvirt_running(const json_t *def)
{
	char state[48];

	domain_state(def, state);
	return strcmp(state, "running") == 0;
}

static bool libvirt_active(const json_t *def)
{
	char state[48];

	domain_state(def, state);
	return state[0] && strcmp(state, "shut off") != 0;
}

static bool libvirt_known(const json_t *def)
{
	char state[48];

	domain_state(def, state);
	return state[0] != '\0';
}

char *serve_bridge(const char *network)
{
	const char *const argv[] = { "virsh", "-q", "net-info", "--network", network, NULL };
	AUTO_FREE char *path = mem_printf("/sys/class/net/%s", network);
	AUTO_STR said = {0};
	const char *line;

	if (access(path, F_OK) == 0 || !libvirt_usable() ||
	    run_input(argv, TOOL_MS, NULL, &said, NULL) < 0)
		return mem_strdup(network);
	line = said.s ? strstr(said.s, "\nBridge:") : NULL;
	if (!line)
		return mem_strdup(network);
	line += strlen("\nBridge:");
	line += strspn(line, " \t");
	return mem_printf("%.*s", (int)strcspn(line, " \t\r\n"), line);
}

bool serve_taken(const json_t *def, const char *wanted)
{
	char uuid[48] = "";

	if ((strcmp(wanted, "auto") == 0 || strcmp(wanted, "libvirt") == 0) && libvirt_usable())
		ask_domain("domuuid", name_of(def), uuid);
	return uuid[0] && strcasecmp(uuid, uuid_of(def)) != 0;
}

static int libvirt_define(struct ctx *c, const json_t *def)
{
	static const char *const define[] = { "virsh", "-q", "define", "/dev/stdin", NULL };
	AUTO_ERR e = {0};

	/* a busy libvirtd was seen to refuse once, without a cause, what it takes else */
	for (int left = DEFINE_TRIES; left > 0; left--) {
		err_clear(&e);
		if (run_input(define, TOOL_MS, jstr(def, "xml", ""), NULL, &e) == 0)
			return 0;
		task_sleep_ms(left > 1 ? 1000 : 0);
	}
	return ctx_fail_err(c, &e);
}

static int libvirt_begin(struct ctx *c, const json_t *def)
{
	const char *const start[] = { "virsh", "-q", "start", uuid_of(def), NULL };
	const char *const enable[] = { "virsh", "-q", "autostart", uuid_of(def), NULL };
	json_t *detail = json_object();
	AUTO_ERR e = {0};

	jset_str(detail, "uuid", uuid_of(def));
	if (ctx_ledger_add(c, "domain", name_of(def), true, detail) < 0 ||
	    libvirt_define(c, def) < 0)
		return -1;
	if ((!libvirt_running(def) && run(start, &e) < 0) || run(enable, &e) < 0)
		return ctx_fail_err(c, &e);
	return 0;
}

/* A libvirt that does not answer has no domains either: only its whole list, without
 * ours, proves that the target is off. The source may be switched on after this. */
static int prove_gone(struct ctx *c, const json_t *def)
{
	static const char *const list[] = { "virsh", "-q", "list", "--all", "--uuid", NULL };
	AUTO_STR said = {0};
	AUTO_ERR e = {0};

	if (run_input(list, TOOL_MS, NULL, &said, &e) < 0) {
		ctx_hint(c, "make libvirt on the target answer (virsh list --all), then again");
		return ctx_fail(c, "cannot prove that '%s' is off at the target: %s",
				name_of(def), e.what);
	}
	if (said.s && strstr(said.s, uuid_of(def)))
		return ctx_fail(c, "cannot prove that '%s' is off at the target: libvirt "
				"still has its domain", name_of(def));
	return 0;
}

static int libvirt_end(struct ctx *c, const json_t *def, unsigned grace_ms)
{
	const char *const shutdown[] = { "virsh", "-q", "shutdown", uuid_of(def), NULL };
	const char *const destroy[] = { "virsh", "-q", "destroy", uuid_of(def), NULL };
	const char *const undefine[] = { "virsh", "-q", "undefine", "--nvram", uuid_of(def), NULL };
	AUTO_ERR e = {0};

	if (grace_ms && libvirt_running(def))
		run(shutdown, NULL);
	for (unsigned ms = 0; ms < grace_ms && libvirt_running(def); ms += 500)
		task_sleep_ms(500);
	/* one that is paused or dying has its disks open too */
	if (libvirt_active(def) && run(destroy, &e) < 0 && libvirt_active(def))
		return ctx_fail_err(c, &e);
	err_clear(&e);
	if (libvirt_known(def) && run(undefine, &e) < 0)
		return ctx_fail_err(c, &e);
	if (prove_gone(c, def) < 0)
		return -1;
	return ctx_ledger_del(c, "domain", name_of(def));
}

/* ---- taps ---------------------------------------------------------------------- */

static int taps_make(struct ctx *c, const json_t *def)
{
	const json_t *nic;
	size_t i;

	json_array_foreach(jget(def, "nics"), i, nic) {
		AUTO_ERR e = {0};

		if (ctx_ledger_add(c, "port", jstr(nic, "tap", ""), true, NULL) < 0)
			return -1;
		if (fence_tap_make(jstr(nic, "tap", ""), jstr(nic, "network", ""), &e) < 0)
			return ctx_fail_err(c, &e);
	}
	return 0;
}

static int taps_remove(struct ctx *c, const json_t *def)
{
	const json_t *nic;
	size_t i;

	json_array_foreach(jget(def, "nics"), i, nic) {
		AUTO_ERR e = {0};

		if (fence_tap_remove(jstr(nic, "tap", ""), &e) < 0)
			return ctx_fail_err(c, &e);
		if (ctx_ledger_del(c, "port", jstr(nic, "tap", "")) < 0)
			return -1;
	}
	return 0;
}

/* ---- systemd ------------------------------------------------------------------- */

static bool systemd_usable(void)
{
	return access("/run/systemd/system", F_OK) == 0;
}

static char *unit_name(const json_t *def)
{
	return mem_printf("drover-%s.service", name_of(def));
}

/* As systemd splits command lines: in quotes, with % and $ doubled. */
static void unit_word(struct str *out, const char *word)
{
	str_add(out, " \"");
	for (; *word; word++) {
		if (*word == '"' || *word == '\\')
			str_addc(out, '\\');
		if (*word == '%' || *word == '$')
			str_addc(out, *word);
		str_addc(out, *word);
	}
	str_addc(out, '"');
}

static void unit_taps(struct str *out, const json_t *def, const char *ip)
{
	const json_t *nic;
	size_t i;

	json_array_foreach(jget(def, "nics"), i, nic) {
		const char *tap = jstr(nic, "tap", "");

		str_addf(out, "ExecStartPre=-%s link del dev %s\n"
			 "ExecStartPre=%s tuntap add dev %s mode tap\n"
			 "ExecStartPre=%s link set %s master", ip, tap, ip, tap, ip, tap);
		unit_word(out, jstr(nic, "network", ""));
		str_addf(out, " up\nExecStopPost=-%s link del dev %s\n", ip, tap);
	}
}

char *serve_unit(const json_t *def)
{
	AUTO_FREE char *ip = proc_which("ip"), *qemu = proc_which("qemu-system-x86_64");
	struct vm_run plain = { .accel = NULL };
	AUTO_JSON *argv = vm_argv(def, &plain);
	struct str out = {0};
	json_t *word;
	size_t i;

	str_addf(&out, "[Unit]\nDescription=machine %s, moved here by drover\n"
		 "After=network.target\n\n[Service]\nRuntimeDirectory=drover/%s\n"
		 "RuntimeDirectoryMode=0700\nRestart=no\n", name_of(def), name_of(def));
	unit_taps(&out, def, ip ? ip : "/usr/sbin/ip");
	str_addf(&out, "ExecStart=%s", qemu ? qemu : "/usr/bin/qemu-system-x86_64");
	json_array_foreach(argv, i, word)
		if (i > 0)
			unit_word(&out, json_string_value(word));
	str_add(&out, "\n\n[Install]\nWantedBy=multi-user.target\n");
	return str_take(&out);
}

static bool systemd_running(const json_t *def)
{
	AUTO_FREE char *unit = unit_name(def);
	const char *const argv[] = { "systemctl", "is-active", "--quiet", unit, NULL };

	return run(argv, NULL) == 0;
}

static char *unit_path(const json_t *def)
{
	return mem_printf("/etc/systemd/system/drover-%s.service", name_of(def));
}

static bool systemd_known(const json_t *def)
{
	AUTO_FREE char *path = unit_path(def);

	return access(path, F_OK) == 0;
}

static int systemd_define(struct ctx *c, const json_t *def)
{
	static const char *const reload[] = { "systemctl", "daemon-reload", NULL };
	AUTO_FREE char *path = unit_path(def), *text = serve_unit(def);
	AUTO_ERR e = {0};

	if (io_write_file(AT_FDCWD, path, text, strlen(text), 0644) < 0)
		return ctx_fail_sys(c, "cannot write '%s'", path);
	return run(reload, &e) < 0 ? ctx_fail_err(c, &e) : 0;
}

static int systemd_begin(struct ctx *c, const json_t *def)
{
	AUTO_FREE char *unit = unit_name(def);
	const char *const enable[] = { "systemctl", "enable", "--now", unit, NULL };
	AUTO_ERR e = {0};

	if (ctx_ledger_add(c, "unit", unit, true, NULL) < 0 || systemd_define(c, def) < 0)
		return -1;
	return run(enable, &e) < 0 ? ctx_fail_err(c, &e) : 0;
}

static int systemd_end(struct ctx *c, const json_t *def, unsigned grace_ms)
{
	static const char *const reload[] = { "systemctl", "daemon-reload", NULL };
	AUTO_FREE char *unit = unit_name(def), *path = unit_path(def);
	const char *const disable[] = { "systemctl", "disable", "--now", unit, NULL };
	AUTO_ERR e = {0};

	if (grace_ms && systemd_running(def))
		qemu_power_down(jstr(def, "dir", ""), grace_ms);
	if (systemd_known(def)) {
		if (run(disable, &e) < 0)
			return ctx_fail_err(c, &e);
		if (unlink(path) < 0)
			return ctx_fail_sys(c, "cannot remove '%s'", path);
		if (run(reload, &e) < 0)
			return ctx_fail_err(c, &e);
	}
	/* the unit's word is not enough, and it may have been taken away by somebody else */
	if (qemu_running(jstr(def, "dir", ""))) {
		ctx_hint(c, "end it there: systemctl stop %s", unit);
		return ctx_fail(c, "cannot prove that '%s' is off at the target: process %d runs "
				"it", name_of(def), (int)qemu_running(jstr(def, "dir", "")));
	}
	return ctx_ledger_del(c, "unit", unit);
}

/* ---- a process of its own ------------------------------------------------------ */

static bool qemu_usable(void)
{
	return true;
}

static bool qemu_is_running(const json_t *def)
{
	return qemu_running(jstr(def, "dir", "")) != 0;
}

static int qemu_define(struct ctx *c, const json_t *def)
{
	(void)c;
	(void)def;
	return 0;	/* registered nowhere: its file is all there is */
}

static int qemu_begin(struct ctx *c, const json_t *def)
{
	const char *dir = jstr(def, "dir", "");
	AUTO_FREE char *marker = mem_printf("%s/qemu.pid", dir);
	struct vm_run how = { .dir = dir, .paused = true };

	if (qemu_is_running(def))
		return 0;
	if (ctx_ledger_add(c, "process", marker, true, NULL) < 0 ||
	    ctx_ledger_add(c, "file", dir, true, NULL) < 0 || taps_make(c, def) < 0)
		return -1;
	return qemu_launch(c, def, &how, -1);
}

static int qemu_finish(struct ctx *c, const json_t *def, unsigned grace_ms)
{
	const char *dir = jstr(def, "dir", "");
	AUTO_FREE char *marker = mem_printf("%s/qemu.pid", dir);

	if (qemu_end(c, dir, grace_ms) < 0 || taps_remove(c, def) < 0 ||
	    ctx_ledger_del(c, "file", dir) < 0)
		return -1;
	return ctx_ledger_del(c, "process", marker);
}

/* ---- the table ------------------------------------------------------------------ */

static const struct serve_way ways[] = {
	{ "libvirt", libvirt_usable, libvirt_known, libvirt_running, libvirt_define,
	  libvirt_begin, libvirt_end, "libvirt does not answer there (virsh uri)", true, false },
	{ "systemd", systemd_usable, systemd_known, systemd_running, systemd_define,
	  systemd_begin, systemd_end, "systemd does not run there", false, false },
	{ "qemu", qemu_usable, qemu_is_running, qemu_is_running, qemu_define,
	  qemu_begin, qemu_finish, "", false, true },
};

const struct serve_way *serve_found(const json_t *def)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++)
		if (ways[i].usable() && ways[i].known(def))
			return &ways[i];
	return NULL;
}

/* The first format of its disks that libvirt does not know; NULL: it knows them all. */
static const char *strange_format(const json_t *def)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(jget(def, "disks"), i, disk) {
		const char *format = jstr(disk, "base_format", "raw");
		const struct img_kind *kind = img_kind(format);

		if (kind && !kind->libvirt)
			return format;
	}
	return NULL;
}

char *serve_refused(const json_t *def, const char *wanted)
{
	const char *format = strcmp(wanted, "libvirt") == 0 ? strange_format(def) : NULL;

	return format ? mem_printf("libvirt does not know images of format '%s'", format) : NULL;
}

const struct serve_way *serve_way(struct ctx *c, const char *wanted)
{
	const json_t *def = ctx_fact(c, "definition");
	bool any = strcmp(wanted, "auto") == 0;

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		AUTO_FREE char *refused = serve_refused(def, ways[i].name);

		if ((!any && strcmp(ways[i].name, wanted) != 0) || (any && refused))
			continue;
		if (refused) {
			ctx_hint(c, SERVE_REFUSED_HINT);
			ctx_fail(c, "cannot start by %s: %s", wanted, refused);
			return NULL;
		}
		if (ways[i].usable())
			return &ways[i];
		if (any)
			continue;
		ctx_hint(c, "say `start: auto` in the plan's target, or mend the host");
		ctx_fail(c, "cannot start by %s: %s", wanted, ways[i].lacks);
		return NULL;
	}
	ctx_fail(c, "cannot start by '%s': no such way", wanted);
	return NULL;
}
