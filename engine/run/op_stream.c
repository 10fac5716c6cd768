/* SPDX-License-Identifier: Apache-2.0
 * op_stream - which way the bytes of a two-ended step go, and where it is written down.
 */
#include "engine/host/relay.h"
#include "engine/host/shut.h"
#include "engine/run/op.h"
#include "engine/run/report.h"

#include <string.h>

static void on_way(void *arg, bool direct, const char *how)
{
	struct op *o = arg;
	AUTO_JSON *log = json_object(), *evidence = json_object();

	/* Of the slower way a person is told without asking, once. */
	if (strstr(how, RELAY_INSTEAD) && !o->m->fell_back) {
		o->m->fell_back = true;
		report_log(o->r, o->m, NULL, "the data goes %s", how);
	} else {
		jset_str(log, "e", "log");
		jset_strf(log, "text", "the data goes %s", how);
		op_event(&o->end[0], log);
	}
	jset_str(evidence, "e", "evidence");
	jset_str(evidence, "name", "stream");
	jset_strf(evidence, "text", "%s: %s\n", direct ? "direct" : "relay", how);
	op_event(&o->end[0], evidence);
}

#define AFTER_SYNC "evidence/cutover.sync/stream.text"

/* How the newest pass of this machine went: "relay: ..." or "direct: ...". Borrowed. */
static const char *way_before(const struct op *o)
{
	const struct graph *g = o->r->graph;
	const json_t *tree = state_tree(o->r->state, o->m->name);
	const char *found = json_string_value(json_object_get(tree, AFTER_SYNC));

	for (uint32_t i = g->first[o->m->index]; !found && i < g->first[o->m->index + 1]; i++) {
		const struct plan_step *s = g->nodes[i].step;
		AUTO_FREE char *path = mem_printf("evidence/%s.%s/stream.text",
						  phase_names[s->phase], s->id);

		if (s->phase == PHASE_CONVERT && !s->module->near_end)
			found = json_string_value(json_object_get(tree, path));
	}
	return found ? found : "";
}

/* While nobody serves is no time to wait for an answer that is known. */
static void recall_way(struct op *o)
{
	const struct plan_host *hosts = o->r->plan->hosts;
	const char *a = hosts[o->end[0].host].name, *b = hosts[o->end[1].host].name;

	if (o->step->phase == PHASE_CUTOVER && strstr(way_before(o), RELAY_INSTEAD))
		shut_add(o->r->shut, a, b, "the copies before could not", loop_now(o->r->loop));
}

void op_stream(struct op *o)
{
	static const char *const words[] = { "auto", "direct", "relay" };	/* stream_way */
	const json_t *spec = plan_machine_spec(o->r->plan, o->m->index);
	const char *word = jstr(spec, "stream", "auto");
	enum stream_way way = WAY_AUTO;

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (!strcmp(word, words[i]))
			way = (enum stream_way)i;
	if (way == WAY_AUTO)
		recall_way(o);
	o->relay = relay_new(o->r->loop);
	relay_way(o->relay, way, on_way, o);
	relay_knows(o->relay, o->r->shut);
	budget_changed(o->r);
}
