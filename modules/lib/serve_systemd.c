/* SPDX-License-Identifier: Apache-2.0
 * serve_systemd - keep a target machine running: as a unit of systemd.
 */
#include "modules/lib/serve_priv.h"

#include "engine/base/io.h"
#include "engine/base/proc.h"
#include "modules/lib/qemu.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>
static bool systemd_usable(void)
{
	return access("/run/systemd/system", F_OK) == 0;
}

static char *unit_name(const json_t *def)
{
	return mem_printf("drover-%s.service", serve_name(def));
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
		 "RuntimeDirectoryMode=0700\nRestart=no\n", serve_name(def), serve_name(def));
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

	return serve_run(argv, NULL) == 0;
}

static char *unit_path(const json_t *def)
{
	return mem_printf("/etc/systemd/system/drover-%s.service", serve_name(def));
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
	return serve_run(reload, &e) < 0 ? ctx_fail_err(c, &e) : 0;
}

static int systemd_begin(struct ctx *c, const json_t *def)
{
	AUTO_FREE char *unit = unit_name(def);
	const char *const enable[] = { "systemctl", "enable", "--now", unit, NULL };
	AUTO_ERR e = {0};

	if (ctx_ledger_add(c, "unit", unit, true, NULL) < 0 || systemd_define(c, def) < 0)
		return -1;
	return serve_run(enable, &e) < 0 ? ctx_fail_err(c, &e) : 0;
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
		if (serve_run(disable, &e) < 0)
			return ctx_fail_err(c, &e);
		if (unlink(path) < 0)
			return ctx_fail_sys(c, "cannot remove '%s'", path);
		if (serve_run(reload, &e) < 0)
			return ctx_fail_err(c, &e);
	}
	/* the unit's word is not enough, and it may have been taken away by somebody else */
	if (qemu_running(jstr(def, "dir", ""))) {
		ctx_hint(c, "end it there: systemctl stop %s", unit);
		return ctx_fail(c, "cannot prove that '%s' is off at the target: process %d runs "
				"it", serve_name(def), (int)qemu_running(jstr(def, "dir", "")));
	}
	return ctx_ledger_del(c, "unit", unit);
}

const struct serve_way serve_systemd = {
	.name = "systemd", .usable = systemd_usable, .known = systemd_known,
	.running = systemd_running, .define = systemd_define, .begin = systemd_begin,
	.end = systemd_end, .lacks = "systemd does not run there",
};
