/* SPDX-License-Identifier: Apache-2.0
 * verb_backups_prune - drover backups prune PLAN --keep N: the older ones of each machine,
 * away at every place.
 */
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "engine/cli/verb_backups.h"

#include <stdlib.h>
#include <string.h>

static json_t *names_wanted(const struct cli *c)
{
	json_t *names = json_array();

	for (uint32_t m = 0; m < c->plan->machine_count; m++)
		if (cli_wants(c, m))
			jadd(names, json_string(c->plan->machines[m].name));
	return names;
}

static json_t *ask_prune(struct cli *c, const struct place_of *at, const char *op, struct err *e)
{
	AUTO_JSON *args = json_pack("{s:s,s:s,s:o,s:I}", "do", "prune", "place", at->path,
		"machines", names_wanted(c), "keep", (json_int_t)atol(c->opt[OPT_KEEP]));

	return cli_ask_host(c, at->host, BACKUPS_CALL, op, args, e);
}

static void say_pruned(struct cli *c, const struct place_of *at, const json_t *got, bool done)
{
	const char *host = c->plan->hosts[at->host].name;
	uint64_t bytes = (uint64_t)jint(jget(got, "volatile"), "freed", 0);
	const json_t *gone = jget(got, "volatile.removed");
	char freed[24];
	json_t *one;
	size_t i;

	json_array_foreach((json_t *)gone, i, one) {
		jset_str(one, "on", host);
		if (c->json)
			cli_json(c, done ? "pruned" : "would-prune", json_incref(one));
		else
			fprintf(c->out, "%s %s %s  %s:%s\n", done ? "removed" : "-",
				jstr(one, "machine", ""), jstr(one, "name", ""), host,
				jstr(one, "path", ""));
	}
	text_size(bytes, freed);
	if (done && !c->json)
		fprintf(c->out, "%s:%s  %zu removed, %s freed\n", host, at->path,
			json_array_size(gone), freed);
	else if (!c->json && json_array_size(gone) == 0)
		fprintf(c->out, "%s:%s  nothing to remove\n", host, at->path);
}

static int check_keep(struct cli *c)
{
	const char *text = c->opt[OPT_KEEP];
	AUTO_ERR e = { 0 };

	if (strlen(text) <= 6 && strspn(text, "0123456789") == strlen(text) && atol(text) > 0)
		return 0;
	err_set(&e, ERR_USAGE, "cannot use --keep '%s': it is no number of backups from 1", text);
	err_hint(&e, "for example: drover backups prune %s --keep 3", c->args[1]);
	return cli_fail(c, &e);
}

int backups_prune(struct cli *c, struct places *p, const json_t *all)
{
	bool preview = c->opt[OPT_PREVIEW] != NULL;
	int status = check_keep(c);
	size_t count = 0;

	(void)all;
	for (int done = 0; done <= !preview && !status; done++) {
		for (size_t i = 0; i < p->count && !status; i++) {
			AUTO_ERR e = { 0 };
			AUTO_JSON *got = ask_prune(c, &p->v[i], done ? "apply" : "probe", &e);

			if (!got)
				status = cli_fail(c, &e);
			else if (done || preview || !c->json)
				say_pruned(c, &p->v[i], got, done);
			if (got && !done)
				count += json_array_size(jget(got, "volatile.removed"));
		}
		if (!status && !done && !preview && count > 0)
			status = cli_confirm(c, "Remove %zu backup%s for good?", count,
					     count == 1 ? "" : "s");
	}
	return status;
}
