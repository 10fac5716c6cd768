/* SPDX-License-Identifier: Apache-2.0
 * serve_libvirt - keep a target machine running: as a domain of libvirt.
 */
#include "modules/lib/serve_priv.h"

#include "engine/base/proc.h"
#include "modules/lib/task.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define ANSWER_MS 5000
#define DEFINE_TRIES 3
char *serve_log(const json_t *def)
{
	return mem_printf("/var/log/libvirt/qemu/%s-console.log", serve_name(def));
}

static bool libvirt_usable(void)
{
	static const char *const argv[] = { "virsh", "-q", "uri", NULL };
	AUTO_FREE char *virsh = proc_which("virsh");

	return virsh && serve_ask(argv, ANSWER_MS, NULL, NULL, NULL) == 0;
}

/* virsh's answer to a question about one domain, "" when there is no such domain. */
static void ask_domain(const char *verb, const char *which, char out[48])
{
	const char *const argv[] = { "virsh", "-q", verb, which, NULL };
	AUTO_STR said = {0};

	serve_ask(argv, SERVE_TOOL_MS, NULL, &said, NULL);
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
	    serve_ask(argv, SERVE_TOOL_MS, NULL, &said, NULL) < 0)
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
		ask_domain("domuuid", serve_name(def), uuid);
	return uuid[0] && strcasecmp(uuid, uuid_of(def)) != 0;
}

static int libvirt_define(struct ctx *c, const json_t *def)
{
	static const char *const define[] = { "virsh", "-q", "define", "/dev/stdin", NULL };
	AUTO_ERR e = {0};

	/* a busy libvirtd was seen to refuse once, without a cause, what it takes else */
	for (int left = DEFINE_TRIES; left > 0; left--) {
		err_clear(&e);
		if (serve_ask(define, SERVE_TOOL_MS, jstr(def, "xml", ""), NULL, &e) == 0)
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
	if (ctx_ledger_add(c, "domain", serve_name(def), true, detail) < 0 ||
	    libvirt_define(c, def) < 0)
		return -1;
	if ((!libvirt_running(def) && serve_run(start, &e) < 0) || serve_run(enable, &e) < 0)
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

	if (serve_ask(list, SERVE_TOOL_MS, NULL, &said, &e) < 0) {
		ctx_hint(c, "make libvirt on the target answer (virsh list --all), then again");
		return ctx_fail(c, "cannot prove that '%s' is off at the target: %s",
				serve_name(def), e.what);
	}
	if (said.s && strstr(said.s, uuid_of(def)))
		return ctx_fail(c, "cannot prove that '%s' is off at the target: libvirt "
				"still has its domain", serve_name(def));
	return 0;
}

static int libvirt_end(struct ctx *c, const json_t *def, unsigned grace_ms)
{
	const char *const shutdown[] = { "virsh", "-q", "shutdown", uuid_of(def), NULL };
	const char *const destroy[] = { "virsh", "-q", "destroy", uuid_of(def), NULL };
	const char *const undefine[] = { "virsh", "-q", "undefine", "--nvram", uuid_of(def), NULL };
	AUTO_ERR e = {0};

	if (grace_ms && libvirt_running(def))
		serve_run(shutdown, NULL);
	for (unsigned ms = 0; ms < grace_ms && libvirt_running(def); ms += 500)
		task_sleep_ms(500);
	/* one that is paused or dying has its disks open too */
	if (libvirt_active(def) && serve_run(destroy, &e) < 0 && libvirt_active(def))
		return ctx_fail_err(c, &e);
	err_clear(&e);
	if (libvirt_known(def) && serve_run(undefine, &e) < 0)
		return ctx_fail_err(c, &e);
	if (prove_gone(c, def) < 0)
		return -1;
	return ctx_ledger_del(c, "domain", serve_name(def));
}

const struct serve_way serve_libvirt = {
	.name = "libvirt", .usable = libvirt_usable, .known = libvirt_known,
	.running = libvirt_running, .define = libvirt_define, .begin = libvirt_begin,
	.end = libvirt_end, .lacks = "libvirt does not answer there (virsh uri)", .log = true,
};
