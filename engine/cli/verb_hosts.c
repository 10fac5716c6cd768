/* SPDX-License-Identifier: Apache-2.0
 * verb_hosts - drover hosts PLAN: ask all hosts at once who they are and what they
 * have; with --pin HOST trust a host's key.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "engine/cli/cli.h"
#include "modules/lib/tools.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <unistd.h>

/* One host being asked. */
struct asked {
	struct cli *c;
	uint32_t index;
	struct host *host;
	struct call call;
	json_t *tools;		/* names it may need -> true */
	json_t *input;
	json_t *hello;		/* a reference, kept beyond the host */
	json_t *result;		/* of call.hello */
	struct err why;		/* of being down */
	bool up, over;
};

/* ---- what the plan needs on a host ----------------------------------------------- */

static void need(json_t *needed, const struct module *m)
{
	for (const char *const *t = m->tools; t && *t; t++)
		jset_bool(needed, *t, true);
}

static bool runs_on(const struct plan *p, const struct plan_machine *m,
		    const struct plan_step *s, uint32_t host)
{
	bool source = m->source_host == host, target = m->target_host == host;

	switch (s->module->place) {
	case ON_TARGET:
		return target;
	case ON_BOTH:
	case ON_EACH:
		return source || target;
	case ON_AT:
		if (s->at && plan_find_host(p, s->at) >= 0)
			return (uint32_t)plan_find_host(p, s->at) == host;
		return s->at && strcmp(s->at, "source") != 0 ? target : source;
	case IN_ENGINE:
		return false;
	default:
		return source;
	}
}

/* What the places of its disks ask for. */
static void need_for_places(json_t *needed, const struct plan *p, uint32_t machine)
{
	static const char *const lvm[] = { "lvs", "vgs", "lvcreate", "lvremove" };
	json_t *row;
	const char *name;

	json_object_foreach(jget(plan_machine_spec(p, machine), "target.disks"), name, row) {
		for (size_t i = 0; jstr(row, "vg", NULL) && i < ARRAY_LEN(lvm); i++)
			jset_bool(needed, lvm[i], true);
		if (jstr(row, "pool", NULL))
			jset_bool(needed, "virsh", true);
	}
}

static json_t *tools_for(const struct plan *p, uint32_t host)
{
	json_t *needed = json_object();

	for (uint32_t i = 0; i < p->machine_count; i++) {
		const struct plan_machine *m = &p->machines[i];

		if (m->target_host == host)
			need_for_places(needed, p, i);
		for (uint32_t k = 0; k < m->step_count; k++)
			if (m->steps[k]->module && runs_on(p, m, m->steps[k], host))
				need(needed, m->steps[k]->module);
	}
	return needed;
}

/* ---- asking --------------------------------------------------------------------------- */

static void on_result(struct call *call, const json_t *result, void *arg)
{
	struct asked *a = arg;

	(void)call;
	a->result = json_incref((json_t *)result);
	if (a->up)
		a->host->ops->close(a->host);
}

static void on_ready(struct host *h, void *arg)
{
	struct asked *a = arg;
	json_t *args = json_object(), *list = json_array();
	const char *name;
	json_t *yes;

	a->up = true;
	a->hello = json_incref(h->hello);
	json_object_foreach(a->tools, name, yes)
		jadd(list, json_string(name));
	jset(args, "tools", list);
	a->input = json_object();
	jset(a->input, "args", args);
	a->call = (struct call){ .module = "call.hello", .op = "probe", .input = a->input,
				 .timeout_ms = 30000, .on_result = on_result, .arg = a };
	h->ops->start(h, &a->call);
}

static void on_down(struct host *h, struct err *e, void *arg)
{
	struct asked *a = arg;

	if (!a->hello)
		a->hello = json_incref(h->hello);
	a->up = false;
	a->over = true;
	err_move(&a->why, e);
	run_err_final(a->c->plan, &a->why);
}

static void on_closed(struct host *h, void *arg)
{
	(void)h;
	((struct asked *)arg)->over = true;
}

static void begin(struct asked *a, struct cli *c, uint32_t index)
{
	a->c = c;
	a->index = index;
	a->tools = tools_for(c->plan, index);
	a->host = c->make_host(c->loop, c->plan->hosts[index].name, c->plan->hosts[index].spec);
	run_host_secrets(a->host, c->plan);
	a->host->on_ready = on_ready;
	a->host->on_down = on_down;
	a->host->on_closed = on_closed;
	a->host->arg = a;
	a->host->ops->open(a->host);
}

static void wait_for(struct asked *a)
{
	while (!a->over && loop_turn(a->c->loop, -1))
		;
}

static void end(struct asked *a)
{
	host_free(a->host);
	json_decref(a->tools);
	json_decref(a->input);
	json_decref(a->hello);
	json_decref(a->result);
	err_clear(&a->why);
}

/* ---- telling ---------------------------------------------------------------------------- */

/* Tools that are (or are not) there, joined by ", "; packages instead of names when
 * asked for, each once, by " ". Caller frees. */
static char *tools_text(const struct asked *a, bool there, bool packages)
{
	AUTO_STR out = { 0 };
	const char *name, *what;
	json_t *path;

	json_object_foreach(jget(a->result, "volatile.tools"), name, path) {
		if (json_is_string(path) != there)
			continue;
		what = packages ? tool_package(name) : name;
		if (!what || (packages && out.s && strstr(out.s, what)))
			continue;
		str_addf(&out, "%s%s", out.len == 0 ? "" : packages ? " " : ", ", what);
	}
	return str_take(&out);
}

static void tell_json(struct cli *c, const struct asked *a)
{
	json_t *o = json_object();

	jset_str(o, "host", c->plan->hosts[a->index].name);
	jset_bool(o, "reachable", a->result != NULL && !err_is(&a->why));
	if (err_is(&a->why)) {
		jset_str(o, "error", a->why.what);
		jset_str(o, "hint", a->why.hint);
	} else {
		jset(o, "uname", json_incref(jget(a->hello, "uname")));
		jset_str(o, "agent", jstr(a->hello, "version", ""));
		jset_int(o, "uid", jint(a->hello, "uid", -1));
		jset(o, "tools", json_incref(jget(a->result, "volatile.tools")));
	}
	jset(o, "notes", a->host->notes ? json_incref(a->host->notes) : json_array());
	cli_json(c, "host", o);
}

static void tell_row(struct table *t, const struct asked *a)
{
	AUTO_FREE char *has = tools_text(a, true, false);
	AUTO_FREE char *lacks = tools_text(a, false, false);
	AUTO_FREE char *system = mem_printf("%s %s", jstr(a->hello, "uname.system", "?"),
					    jstr(a->hello, "uname.release", "?"));
	bool up = !err_is(&a->why);
	const char *cells[] = {
		a->c->plan->hosts[a->index].name, up ? "ready" : "DOWN",
		up ? system : NULL, up ? jstr(a->hello, "uname.machine", NULL) : NULL,
		up ? jstr(a->hello, "version", NULL) : NULL,
		up ? (jint(a->hello, "uid", -1) == 0 ? "root" : "user") : NULL,
		*has ? has : NULL, *lacks ? lacks : NULL,
	};

	table_row(t, cells);
}

static void tell_notes(struct cli *c, const struct asked *a)
{
	json_t *one;
	size_t i;

	/* a refused login has them among its hints */
	json_array_foreach(err_is(&a->why) ? NULL : a->host->notes, i, one)
		fprintf(c->out, "host %s: %s\n", c->plan->hosts[a->index].name,
			json_string_value(one));
}

static int tell_all(struct cli *c, struct asked *asked, uint32_t n)
{
	static const char *const titles[] = { "host", "state", "system", "arch", "agent",
					      "as", "~has", "lacks", NULL };
	struct table *t = c->json ? NULL : table_new(c, titles);
	int status = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (c->json)
			tell_json(c, &asked[i]);
		else
			tell_row(t, &asked[i]);
	}
	if (t)
		table_print(t);
	for (uint32_t i = 0; i < n && !c->json; i++)
		tell_notes(c, &asked[i]);
	for (uint32_t i = 0; i < n; i++) {
		AUTO_FREE char *packages = tools_text(&asked[i], false, true);

		if (err_is(&asked[i].why))
			status = c->json ? ERR_SYSTEM : cli_fail(c, &asked[i].why);
		else if (*packages && !c->json)
			fprintf(c->out, "on %s: apt-get install %s\n",
				c->plan->hosts[asked[i].index].name, packages);
	}
	return status;
}

static int ask_all(struct cli *c)
{
	uint32_t n = c->plan->host_count;
	struct asked *asked = mem_alloc((n + 1) * sizeof(*asked));
	int status;

	for (uint32_t i = 0; i < n; i++)
		begin(&asked[i], c, i);
	for (uint32_t i = 0; i < n; i++)
		wait_for(&asked[i]);
	status = tell_all(c, asked, n);
	for (uint32_t i = 0; i < n; i++)
		end(&asked[i]);
	free(asked);
	return status;
}

/* ---- pinning ------------------------------------------------------------------------------ */

static int append_line(const char *file, const char *line, struct err *e)
{
	AUTO_FREE char *copy = mem_strdup(file);
	AUTO_FREE char *text = mem_printf("%s\n", line);
	AUTO_FD fd = -1;

	if (io_mkdirs(dirname(copy), 0700) < 0)
		return err_sys(e, "cannot write '%s'", file);
	fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || io_write_full(fd, text, strlen(text)) < 0 || fsync(fd) < 0)
		return err_sys(e, "cannot write '%s'", file);
	return 0;
}

static int pin_key(struct cli *c, const struct asked *a, const json_t *key)
{
	const char *name = c->plan->hosts[a->index].name;
	const char *file = jstr(key, "file", "");
	AUTO_ERR e = { 0 };
	int status;

	fprintf(c->out, "%s shows the key %s %s\n", name, jstr(key, "type", ""),
		jstr(key, "fingerprint", ""));
	status = cli_confirm(c, "Trust it from now on (added to %s)?", file);
	if (status)
		return status;
	if (append_line(file, jstr(key, "line", ""), &e) < 0)
		return cli_fail(c, &e);
	fprintf(c->out, "pinned in %s\nNext: drover hosts %s\n", file, c->plan->typed);
	return 0;
}

static void hint_host(const struct cli *c, const char *name, struct err *e)
{
	AUTO_FREE const char **names = mem_alloc((c->plan->host_count + 1) * sizeof(*names));
	const char *near;

	for (uint32_t i = 0; i < c->plan->host_count; i++)
		names[i] = c->plan->hosts[i].name;
	near = text_near(name, names, c->plan->host_count);
	if (near)
		err_hint(e, "did you mean drover hosts %s --pin %s?", c->args[0], near);
	else
		err_hint(e, "drover hosts %s lists them", c->args[0]);
}

static int pin(struct cli *c, const char *name)
{
	int index = plan_find_host(c->plan, name), status = 0;
	struct asked a = { 0 };
	const json_t *key;
	AUTO_ERR e = { 0 };

	if (index < 0) {
		err_set(&e, ERR_USAGE, "cannot pin '%s': no host of the plan is called so", name);
		hint_host(c, name, &e);
		return cli_fail(c, &e);
	}
	begin(&a, c, (uint32_t)index);
	wait_for(&a);
	key = jget(a.hello, "hostkey");
	if (key)
		status = pin_key(c, &a, key);
	else if (err_is(&a.why))
		status = cli_fail(c, &a.why);
	else
		fprintf(c->out, "the key of %s is known and right already\n", name);
	end(&a);
	return status;
}

int verb_hosts(struct cli *c)
{
	int status = cli_load_plan(c, c->args[0]);

	if (status)
		return status;
	if (!c->loop)
		c->loop = loop_new(&clock_real);
	return c->opt[OPT_PIN] ? pin(c, c->opt[OPT_PIN]) : ask_all(c);
}
