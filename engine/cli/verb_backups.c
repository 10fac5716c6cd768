/* SPDX-License-Identifier: Apache-2.0
 * verb_backups - drover backups list|verify|restore|prune PLAN: the images that backup
 * steps made, at the places that the plan names.
 */
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "engine/cli/verb_backups.h"

#include <stdlib.h>
#include <string.h>

#define BACKUP_MODULE "backup.image"

static void places_free(struct places *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->v[i].path);
	free(p->v);
}

static void add_place(struct cli *c, struct places *p, const char *to)
{
	const char *colon = to ? strchr(to, ':') : NULL;
	AUTO_FREE char *host = colon ? mem_strndup(to, (size_t)(colon - to)) : NULL;
	int index = host ? plan_find_host(c->plan, host) : -1;

	if (index < 0)
		return;		/* the plan was checked: it is not one of these */
	for (size_t i = 0; i < p->count; i++)
		if (p->v[i].host == (uint32_t)index && strcmp(p->v[i].path, colon + 1) == 0)
			return;
	p->v = mem_grow(p->v, p->count, &p->cap, sizeof(*p->v));
	p->v[p->count++] = (struct place_of){ (uint32_t)index, mem_strdup(colon + 1) };
}

static int find_places(struct cli *c, struct places *p)
{
	AUTO_ERR e = { 0 };

	for (uint32_t m = 0; m < c->plan->machine_count; m++) {
		const struct plan_machine *pm = &c->plan->machines[m];

		for (uint32_t i = 0; cli_wants(c, m) && i < pm->step_count; i++) {
			AUTO_JSON *args = NULL;

			if (strcmp(pm->steps[i]->module->name, BACKUP_MODULE) != 0)
				continue;
			args = plan_step_args(c->plan, m, pm->steps[i], NULL, &e);
			if (!args)
				return cli_fail(c, &e);
			add_place(c, p, jstr(args, "to", NULL));
		}
	}
	if (p->count > 0)
		return 0;
	err_set(&e, ERR_STEP, "plan '%s' makes no backups", c->plan->name);
	err_hint(&e, "add to a machine: backup: [ image: { to: \"HOST:/directory\" } ]");
	return cli_fail(c, &e);
}

/* ---- what is there --------------------------------------------------------- */

/* Every backup of the plan's machines at all places, each with "host" (an index)
 * and "place" added. NULL with the exit status. */
static json_t *gather(struct cli *c, const struct places *p, int *status)
{
	json_t *all = json_array();

	for (size_t i = 0; i < p->count; i++) {
		AUTO_JSON *args = json_pack("{s:s,s:s}", "do", "list", "place", p->v[i].path);
		AUTO_ERR e = { 0 };
		AUTO_JSON *got = cli_ask_host(c, p->v[i].host, BACKUPS_CALL, "probe", args, &e);
		json_t *one;
		size_t k;

		if (!got) {
			*status = cli_fail(c, &e);
			json_decref(all);
			return NULL;
		}
		json_array_foreach(jget(got, "volatile.backups"), k, one) {
			int m = plan_find_machine(c->plan, jstr(one, "machine", ""));

			if (m < 0 || !cli_wants(c, (uint32_t)m))
				continue;
			jset_int(one, "host", p->v[i].host);
			jset_str(one, "on", c->plan->hosts[p->v[i].host].name);
			jset_str(one, "place", p->v[i].path);
			json_array_append(all, one);
		}
	}
	return all;
}

static void list_one(struct table *t, const json_t *backup)
{
	const json_t *disk;
	const char *name;

	if (jstr(backup, "damaged", NULL))
		table_row(t, (const char *const[]){ jstr(backup, "machine", NULL),
			jstr(backup, "name", NULL), "DAMAGED", NULL, NULL, NULL });
	json_object_foreach(json_object_get(backup, "disks"), name, disk) {
		AUTO_FREE char *digest = mem_strndup(jstr(disk, "digest", ""), 12);
		char size[24], stored[24];

		text_size((uint64_t)jint(disk, "size", 0), size);
		text_size((uint64_t)jint(disk, "stored", 0), stored);
		table_row(t, (const char *const[]){ jstr(backup, "machine", NULL),
			jstr(backup, "name", NULL), name, size, stored, digest });
	}
}

static bool same_place(const json_t *a, const json_t *b)
{
	return strcmp(jstr(a, "on", ""), jstr(b, "on", "")) == 0 &&
		strcmp(jstr(a, "place", ""), jstr(b, "place", "")) == 0;
}

/* A place once, above the table of what is there: beside each it would not fit on a screen. */
static void print_list(struct cli *c, const json_t *all)
{
	static const char *const titles[] = { "MACHINE", "BACKUP", "DISK", ">SIZE", ">ADDED",
		"~DIGEST", NULL };
	struct table *t = NULL;
	const json_t *before = NULL;
	json_t *one;
	size_t i;

	json_array_foreach(all, i, one) {
		if (!before || !same_place(before, one)) {
			if (t)
				table_print(t);
			fprintf(c->out, "%s%s:%s\n", t ? "\n" : "", jstr(one, "on", ""),
				jstr(one, "place", ""));
			t = table_new(c, titles);
		}
		list_one(t, one);
		before = one;
	}
	if (t)
		table_print(t);
	else
		fprintf(c->out, "no backups yet\n");
}

static int list(struct cli *c, struct places *p, const json_t *all)
{
	json_t *one;
	size_t i;

	(void)p;
	if (!c->json) {
		print_list(c, all);
		return 0;
	}
	json_array_foreach(all, i, one)
		cli_json(c, "backup", json_incref(one));
	return 0;
}

/* ---- verify and restore ------------------------------------------------------ */

static bool is_meant(const json_t *backup, const char *name)
{
	return !name || strcmp(name, jstr(backup, "name", "")) == 0;
}

/* The one backup that is called so. */
static const json_t *find(const json_t *all, const char *name, struct err *e)
{
	json_t *one;
	size_t i;

	json_array_foreach((json_t *)all, i, one)
		if (is_meant(one, name))
			return one;
	err_set(e, ERR_USAGE, "there is no backup '%s'", name);
	err_hint(e, "drover backups list PLAN shows those that there are");
	return NULL;
}

static void say_verified(struct cli *c, json_t *backup, const json_t *got)
{
	long long checked = (long long)jint(jget(got, "volatile"), "checked", 0);
	long long chunks = (long long)jint(jget(got, "volatile"), "chunks", 0);

	if (c->json) {
		jset_int(backup, "checked", checked);
		jset_int(backup, "chunks", chunks);
		cli_json(c, "verified", json_incref(backup));
	} else if (checked == chunks) {
		fprintf(c->out, "%s %s: every chunk has its digest\n",
			jstr(backup, "machine", ""), jstr(backup, "name", ""));
	} else {
		fprintf(c->out, "%s %s: %lld of %lld chunks looked at, each has its digest\n",
			jstr(backup, "machine", ""), jstr(backup, "name", ""), checked, chunks);
	}
}

static int verify(struct cli *c, struct places *p, const json_t *all)
{
	const char *name = c->arg_count > 2 ? c->args[2] : NULL;
	int status = 0, found = 0;
	AUTO_ERR none = { 0 };
	json_t *one;
	size_t i;

	(void)p;
	json_array_foreach(all, i, one) {
		AUTO_JSON *args = json_pack("{s:s,s:s,s:s,s:b}", "do", "verify",
			"place", jstr(one, "place", ""), "path", jstr(one, "path", ""),
			"sample", c->opt[OPT_SAMPLE] != NULL);
		AUTO_ERR e = { 0 };
		AUTO_JSON *got = NULL;

		if (!is_meant(one, name))
			continue;
		found++;
		got = cli_ask_host(c, (uint32_t)jint(one, "host", 0), BACKUPS_CALL, "probe", args,
				   &e);
		if (got)
			say_verified(c, one, got);
		else
			status = cli_fail(c, &e);
	}
	if (found == 0 && name && !find(all, name, &none))
		status = cli_fail(c, &none);
	return status;
}

static int restore(struct cli *c, struct places *p, const json_t *all)
{
	AUTO_ERR e = { 0 };
	AUTO_JSON *args = NULL, *got = NULL;
	const json_t *one;
	const char *to;

	(void)p;
	if (c->arg_count != 5) {
		err_set(&e, ERR_USAGE, "restore wants a backup, a disk of it, and a path");
		err_hint(&e, "drover backups restore PLAN BACKUP DISK /path");
		return cli_fail(c, &e);
	}
	to = c->args[4];
	one = find(all, c->args[2], &e);
	if (one && to[0] != '/') {
		err_set(&e, ERR_USAGE, "cannot restore to '%s': not an absolute path", to);
		err_hint(&e, "a path on '%s', where the backup lies", jstr(one, "on", ""));
	} else if (one && jstr(one, "damaged", NULL)) {
		err_set(&e, ERR_STEP, "%s", jstr(one, "damaged", ""));
		err_hint(&e, "drover backups list %s shows which others there are", c->args[1]);
	} else if (one && !json_object_get(json_object_get(one, "disks"), c->args[3])) {
		err_set(&e, ERR_USAGE, "backup '%s' has no disk '%s'", c->args[2], c->args[3]);
		err_hint(&e, "drover backups list %s shows its disks", c->args[1]);
	}
	if (err_is(&e))
		return cli_fail(c, &e);
	args = json_pack("{s:s,s:s,s:s,s:s,s:s}", "do", "restore", "place",
			 jstr(one, "place", ""), "path", jstr(one, "path", ""),
			 "disk", c->args[3], "to", to);
	got = cli_ask_host(c, (uint32_t)jint(one, "host", 0), BACKUPS_CALL, "apply", args, &e);
	if (!got)
		return cli_fail(c, &e);
	if (!c->json)
		fprintf(c->out, "restored disk '%s' of %s to %s:%s\n", c->args[3],
			c->args[2], jstr(one, "on", ""), to);
	return 0;
}

struct action {
	const char *name;
	int (*run)(struct cli *c, struct places *p, const json_t *all);
	const char *args;	/* behind its name */
	int max_args;
	enum opt takes[2];	/* of the verb's options; 0: no further one */
	enum opt wants;		/* an option that must be given; 0: none */
};

static const struct action actions[] = {
	{ "list", list, "PLAN", 1, { 0 }, 0 },
	{ "verify", verify, "PLAN [BACKUP]", 2, { OPT_SAMPLE }, 0 },
	{ "restore", restore, "PLAN BACKUP DISK /path", 4, { 0 }, 0 },
	{ "prune", backups_prune, "PLAN", 1, { OPT_KEEP, OPT_PREVIEW }, OPT_KEEP },
};

static bool takes(const struct action *a, enum opt o)
{
	for (size_t i = 0; i < ARRAY_LEN(a->takes) && a->takes[i]; i++)
		if (a->takes[i] == o)
			return true;
	return false;
}

static int foreign_option(const struct action *a, enum opt o, struct err *e)
{
	const char *name = option_rows[o].name;

	err_set(e, ERR_USAGE, "`drover backups %s` takes no option --%s", a->name, name);
	for (size_t i = 0; i < ARRAY_LEN(actions); i++)
		if (takes(&actions[i], o))
			err_hint(e, "--%s belongs to: backups %s", name, actions[i].name);
	return -1;
}

/* What is given must be what the action can heed: 0, or -1 with e. */
static int check_given(const struct cli *c, const struct action *a, struct err *e)
{
	for (size_t i = 0; i < VERB_OPTIONS && c->verb->options[i]; i++)
		if (c->opt[c->verb->options[i]] && !takes(a, c->verb->options[i]))
			return foreign_option(a, c->verb->options[i], e);
	if (c->arg_count - 1 > a->max_args) {
		err_set(e, ERR_USAGE, "`drover backups %s` does not know what to do with '%s'",
			a->name, c->args[a->max_args + 1]);
		return err_hint(e, "usage: drover backups %s [options] %s", a->name, a->args);
	}
	if (!a->wants || c->opt[a->wants])
		return 0;
	err_set(e, ERR_USAGE, "'backups prune' wants to know how many to keep");
	return err_hint(e, "drover backups prune %s --keep 3, for the newest three of each "
			"machine", c->args[1]);
}

static int run_action(struct cli *c, const struct action *a)
{
	struct places p = { 0 };
	AUTO_JSON *all = NULL;
	int status = cli_load_plan(c, c->args[1]);

	if (!status)
		status = find_places(c, &p);
	if (!status && (all = gather(c, &p, &status)))
		status = a->run(c, &p, all);
	places_free(&p);
	return status;
}

static const char *nearest_action(const char *word)
{
	const char *names[ARRAY_LEN(actions)];

	for (size_t i = 0; i < ARRAY_LEN(actions); i++)
		names[i] = actions[i].name;
	return text_near(word, names, ARRAY_LEN(names));
}

int verb_backups(struct cli *c)
{
	const char *near;
	AUTO_ERR e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		if (strcmp(actions[i].name, c->args[0]) != 0 || c->arg_count < 2)
			continue;
		if (check_given(c, &actions[i], &e) < 0)
			return cli_fail(c, &e);
		return run_action(c, &actions[i]);
	}
	near = nearest_action(c->args[0]);
	if (near && strcmp(near, c->args[0]) != 0) {
		err_set(&e, ERR_USAGE, "'backups' knows no '%s'", c->args[0]);
		err_hint(&e, "did you mean `drover backups %s`?", near);
	} else {
		err_set(&e, ERR_USAGE, "'backups' wants list, verify, restore or prune, and a plan");
		err_hint(&e, "drover backups list PLAN");
	}
	return cli_fail(c, &e);
}
