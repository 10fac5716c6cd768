/* SPDX-License-Identifier: Apache-2.0
 * reconfigure.machine - write the target's definition: a libvirt domain and an
 * equivalent QEMU command line, beside its disks. Undo puts back the files that
 * were there, or takes the new ones away. Nothing is started or registered.
 */
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/keepfile.h"
#include "modules/lib/layout.h"
#include "modules/lib/qemu.h"
#include "modules/lib/serve.h"
#include "modules/lib/vm.h"
#include "modules/module.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct param params[] = { { .name = NULL } };
static const char *const wants[] = { "machine", "guest", "disks", "target.host",
				   "definition", NULL };
static const char *const tools[] = { "qemu-system-x86_64", "virsh", NULL };

struct made {
	json_t *def;		/* the definition, with its texts; owned */
	char *xml, *json;	/* what the two files are to hold; owned */
	char *xml_path, *json_path;
};

static void made_free(struct made *m)
{
	json_decref(m->def);
	mem_free_ptr(&m->xml);
	mem_free_ptr(&m->json);
	mem_free_ptr(&m->xml_path);
	mem_free_ptr(&m->json_path);
}
#define AUTO_MADE __attribute__((cleanup(made_free))) struct made

static int paths(struct ctx *c, struct made *m)
{
	AUTO_LAYOUT place = {0};
	AUTO_ERR e = {0};

	if (layout_of(ctx_machine(c), &place, &e) < 0)
		return ctx_fail_err(c, &e);
	m->xml_path = mem_printf("%s/%s.xml", place.dir, ctx_machine_name(c));
	m->json_path = mem_printf("%s/%s.json", place.dir, ctx_machine_name(c));
	return 0;
}

/* The accelerator is proven once; after that the definition says what came of it. */
static bool has_kvm(struct ctx *c, const struct made *m)
{
	const char *known = jstr(ctx_fact(c, "definition"), "accel", NULL);
	AUTO_FREE char *text = known ? NULL : keepfile_read(m->json_path);
	AUTO_JSON *file = text ? json_parse(text, strlen(text), NULL) : NULL;

	known = jstr(file, "accel", known);
	if (known)
		return strcmp(known, "kvm") == 0;
	return jbool(ctx_fact(c, "target.host"), "kvm", true) && qemu_kvm_works();
}

/* A plan may name a libvirt network; a definition names bridges, so that every way of
 * starting it means the same. */
static void use_bridges(json_t *def)
{
	json_t *nic;
	size_t i;

	json_array_foreach(jget(def, "nics"), i, nic) {
		AUTO_FREE char *bridge = serve_bridge(jstr(nic, "network", ""));

		jset_str(nic, "network", bridge);
	}
}

static int make(struct ctx *c, struct made *m, json_t *left_out)
{
	struct vm_from from = {
		.machine = ctx_machine(c), .fact = ctx_fact(c, "machine"),
		.guest = ctx_fact(c, "guest"), .disks = ctx_fact(c, "disks"),
		.lineage = jstr(ctx_run(c), "lineage", NULL),
	};
	struct vm_run as_defined = { .accel = NULL };
	AUTO_ERR e = {0};

	if (paths(c, m) < 0)
		return -1;
	from.kvm = has_kvm(c, m);
	m->def = vm_define(&from, left_out, &e);
	if (!m->def)
		return ctx_fail_err(c, &e);
	use_bridges(m->def);
	m->xml = vm_xml(m->def);
	jset(m->def, "argv", vm_argv(m->def, &as_defined));
	m->json = json_pretty(m->def);
	jset_str(m->def, "xml", m->xml);
	return 0;
}

static void tell_left_out(struct ctx *c, const json_t *left_out)
{
	json_t *nic;
	size_t i;

	json_array_foreach(left_out, i, nic)
		ctx_finding(c, "warning", "net.unmapped",
			    "give it a network: target: { nics: { NAME: { network: BRIDGE } } }",
			    "NIC '%s' has no network at the target: the machine goes without it",
			    json_string_value(nic));
}

/* What would meet the machine on its host, before the downtime begins. */
static void look_at_host(struct ctx *c, const json_t *def)
{
	const char *start = jstr(ctx_machine(c), "target.start", "auto");
	AUTO_FREE char *refused = serve_refused(def, start);
	const json_t *nic;
	size_t i;

	if (refused)
		ctx_finding(c, "blocker", "target.start", SERVE_REFUSED_HINT, "it cannot be "
			    "started by %s: %s", start, refused);
	if (serve_taken(def, start))
		ctx_finding(c, "blocker", "target.domain-taken",
			    "rename one of the two, or undefine the domain if it is a leftover",
			    "libvirt at the target has another domain called '%s' already",
			    jstr(def, "name", "?"));
	json_array_foreach(jget(def, "nics"), i, nic) {
		AUTO_FREE char *path = mem_printf("/sys/class/net/%s", jstr(nic, "network", ""));

		if (access(path, F_OK) < 0)
			ctx_finding(c, "warning", "target.no-bridge",
				    "make the bridge before the cutover, or name another one: "
				    "target: { nics: { NAME: { network: BRIDGE } } }",
				    "the target host has no bridge '%s' for NIC '%s'",
				    jstr(nic, "network", "?"), jstr(nic, "name", "?"));
	}
}

static int probe(struct ctx *c, enum probe_state *state)
{
	AUTO_MADE m = {0};
	AUTO_JSON *left_out = json_array();
	AUTO_FREE char *xml = NULL, *json = NULL;
	bool same;

	if (make(c, &m, left_out) < 0)
		return -1;
	tell_left_out(c, left_out);
	look_at_host(c, m.def);
	xml = keepfile_read(m.xml_path);
	json = keepfile_read(m.json_path);
	same = keepfile_change(c, m.xml_path, m.xml);
	same = keepfile_change(c, m.json_path, m.json) && same;
	*state = same ? STATE_DONE : xml || json ? STATE_PARTIAL : STATE_ABSENT;
	ctx_stable(c, "xml", xml ? json_string(m.xml_path) : json_null());
	ctx_stable(c, "json", json ? json_string(m.json_path) : json_null());
	ctx_set_fact(c, "definition", json_incref(m.def), NULL);
	return 0;
}

/* libvirt's own schema, where the host has it. */
static int validate(struct ctx *c, const char *path)
{
	const char *const argv[] = { "virt-xml-validate", path, "domain", NULL };
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	AUTO_FREE char *tool = proc_which(argv[0]);
	AUTO_ERR e = {0};
	int rc;

	if (!tool)
		return 0;
	rc = proc_run(&p, &e);
	proc_free(&p);
	return rc < 0 ? ctx_fail_err(c, &e) : 0;
}

static int apply(struct ctx *c)
{
	AUTO_MADE m = {0};
	AUTO_JSON *left_out = json_array();

	if (make(c, &m, left_out) < 0 ||
	    ctx_ledger_add(c, "file", m.xml_path, true, NULL) < 0 ||
	    ctx_ledger_add(c, "file", m.json_path, true, NULL) < 0 ||
	    keepfile_write(c, "xml", m.xml_path, m.xml, 0600) < 0 ||
	    keepfile_write(c, "json", m.json_path, m.json, 0600) < 0 ||
	    validate(c, m.xml_path) < 0)
		return -1;
	ctx_set_fact(c, "definition", json_incref(m.def), NULL);
	return 0;
}

static int undo(struct ctx *c)
{
	AUTO_MADE m = {0};

	if (paths(c, &m) < 0 || keepfile_restore(c, "xml", m.xml_path) < 0 ||
	    keepfile_restore(c, "json", m.json_path) < 0 ||
	    ctx_ledger_del(c, "file", m.xml_path) < 0)
		return -1;
	return ctx_ledger_del(c, "file", m.json_path);
}

const struct module module_reconfigure_machine = {
	.name = "reconfigure.machine",
	.summary = "write the target machine's definition",
	.place = ON_TARGET,
	.flags = MOD_REVERSIBLE,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
	.undo = undo,
};
