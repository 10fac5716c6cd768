/* SPDX-License-Identifier: Apache-2.0
 * migration - one pretend machine that moves.
 */
#include "tests/unit/migration.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const wants_machine[] = { "machine", NULL };
static const char *const wants_pass[] = { "pass", NULL };

/* The engine only asks whether these are there; fakehost does what they say. */
static int never(struct ctx *c)
{
	(void)c;
	return -1;
}

static int never_probe(struct ctx *c, enum probe_state *s)
{
	(void)c;
	(void)s;
	return -1;
}

#define MODULE(symbol, module_name, where, bits, ...)				\
	const struct module symbol = { .name = module_name,			\
		.summary = "pretend", .place = where, .flags = bits,		\
		.probe = never_probe, __VA_ARGS__ }

MODULE(fake_look, "assess.look", ON_SOURCE, MOD_READ_ONLY, .apply = NULL);
MODULE(fake_image, "backup.image", ON_TARGET, MOD_REVERSIBLE | MOD_TOGETHER,
       .apply = never, .undo = never);
MODULE(fake_disks, "convert.disks", ON_BOTH, MOD_REVERSIBLE | MOD_LONG, .apply = never,
       .undo = never, .mend = never);
MODULE(fake_more, "convert.more", ON_BOTH, MOD_REVERSIBLE | MOD_LONG, .apply = never,
       .undo = never);
MODULE(fake_guest, "reconfigure.guest", ON_TARGET, MOD_REVERSIBLE, .apply = never,
       .undo = never, .wants = wants_machine);
MODULE(fake_boot, "validate.boot", ON_TARGET, MOD_REVERSIBLE | MOD_LONG, .apply = never,
       .undo = never);
MODULE(fake_quiesce, "cutover.quiesce", ON_SOURCE, MOD_REVERSIBLE | MOD_SOURCE_HELD,
       .apply = never, .undo = never, .hold = never);
MODULE(fake_off, "cutover.off", ON_POWER, MOD_REVERSIBLE, .apply = never, .undo = never);
MODULE(fake_start_target, "cutover.start", ON_TARGET, MOD_REVERSIBLE | MOD_NO_RETURN,
       .apply = never, .undo = never);

MODULE(fake_pass, "cutover.pass", ON_BOTH, MOD_LONG | MOD_SOURCE_HELD, .apply = never,
       .wants = wants_pass);

static const struct fake_rule rules[RULES] = {
	{ .module = "assess.look", .fact = "machine" },
	{ .module = "backup.image", .var = "b.image", .to = 1 },
	{ .module = "convert.disks", .role = "target", .var = "b.disk", .to = 2 },
	{ .module = "reconfigure.guest", .var = "b.overlay", .to = 1,
	  .unknown_without = true },
	{ .module = "validate.boot", .var = "b.boot", .to = 1, .evidence = true,
	  .ledger = "/run/boot" },
	{ .module = "cutover.quiesce", .var = "a.serving", .to = 0 },
	{ .module = "cutover.pass", .role = "target", .var = "b.pass", .to = 1, .fact = "pass",
	  .by_fact = true },
	{ .module = "cutover.off", .var = "a.power", .to = 0 },
	{ .module = "cutover.start", .var = "b.serving", .to = 1 },
	{ .module = "call.sync" },
	{ .module = "call.cleanup" },
	{ .module = "call.finalize" },
	{ .module = "call.hello" },
};

static const struct fake_step steps[] = {
	{ "erp", PHASE_ASSESS, "look", &fake_look, NULL, NULL, NULL },
	{ "erp", PHASE_BACKUP, "image", &fake_image, NULL, NULL, NULL },
	{ "erp", PHASE_CONVERT, "disks", &fake_disks, NULL, NULL, NULL },
	{ "erp", PHASE_RECONFIGURE, "guest", &fake_guest, NULL, NULL, NULL },
	{ "erp", PHASE_VALIDATE, "boot", &fake_boot, NULL, NULL, NULL },
	{ "erp", PHASE_CUTOVER, "quiesce", &fake_quiesce, NULL, NULL, NULL },
	{ "erp", PHASE_CUTOVER, "off", &fake_off, NULL, NULL, NULL },
	{ "erp", PHASE_CUTOVER, "start", &fake_start_target, NULL, NULL, NULL },
	{ NULL, PHASE_ASSESS, NULL, NULL, NULL, NULL, NULL },
};

static const struct fake_step passing[] = {
	{ "erp", PHASE_CUTOVER, "quiesce", &fake_quiesce, NULL, NULL, NULL },
	{ "erp", PHASE_CUTOVER, "pass", &fake_pass, NULL, NULL, NULL },
	{ "erp", PHASE_CUTOVER, "off", &fake_off, NULL, NULL, NULL },
	{ "erp", PHASE_CUTOVER, "start", &fake_start_target, NULL, NULL, NULL },
	{ NULL, PHASE_ASSESS, NULL, NULL, NULL, NULL, NULL },
};

static const char text[] =
	"plan: erp\n"
	"hosts:\n"
	"  a: { ssh: root@a.example.net }\n"
	"  b: { ssh: root@b.example.net }\n"
	"machines:\n"
	"  erp:\n"
	"    source: { host: a, disks: [/dev/sda],\n"
	"              power: { command: { off: [down], on: [up], status: [st], at: b } } }\n"
	"    target: { host: b, dir: /srv }\n"
	"    downtime: 5m\n"
	"    assess: [ machine: {} ]\n";	/* replaced by the steps above */

static struct migration *make(const struct fake_step *of)
{
	struct migration *g = mem_alloc(sizeof(*g));

	memcpy(g->rules, rules, sizeof(rules));
	fake_plan_make(&g->p, text, of);
	g->f = fake_new(g->rules);
	fake_set(g->f, "a.serving", 1);
	fake_set(g->f, "a.power", 1);
	return g;
}

struct migration *migration_new(void)
{
	return make(steps);
}

struct migration *migration_unbacked(void)
{
	struct fake_step some[ARRAY_LEN(steps)], *to = some;

	for (size_t i = 0; i < ARRAY_LEN(steps); i++)
		if (steps[i].module != &fake_image)
			*to++ = steps[i];
	return make(some);
}

struct migration *migration_passing(void)
{
	return make(passing);
}

void migration_free(struct migration *g)
{
	err_clear(&g->err);
	json_decref(g->preview);
	fake_free(g->f);
	fake_plan_free(&g->p);
	free(g);
}

int migration_set_up(void **state)
{
	*state = migration_new();
	return 0;
}

int migration_set_up_passing(void **state)
{
	*state = migration_passing();
	return 0;
}

int migration_tear_down(void **state)
{
	migration_free(*state);
	return 0;
}

struct fake_rule *migration_rule(struct migration *g, const char *module)
{
	struct fake_rule *r = g->rules;

	while (r->module && strcmp(r->module, module))
		r++;
	assert_non_null(r->module);
	return r;
}

static bool writes(enum run_kind kind)
{
	return kind != RUN_PREVIEW && kind != RUN_CUTOVER_PREVIEW &&
	       kind != RUN_ROLLBACK_PREVIEW;
}

int migration_run(struct migration *g, enum run_kind kind)
{
	struct run_options o = { .kind = kind, .only = -1, .until = -1, .phase = g->phase,
				 .discard_target_writes = g->discard, .saved = g->saved };
	struct run_seams seams;
	struct state *s;
	AUTO_ERR e = { 0 };
	int status;

	fake_restart(g->f);
	seams = fake_seams(g->f);
	err_clear(&g->err);
	json_decref(g->preview);
	g->preview = NULL;
	s = state_open_as(g->p.state_dir, "erp", writes(kind) ? STATE_WRITE : STATE_READ,
			  jstr(g->saved, "lineage", NULL), g->f->loop, &e);
	if (!s)
		err_print(stderr, &e);
	assert_non_null(s);
	status = run_plan(g->p.plan, g->p.graph, s, &seams, &o,
			  writes(kind) ? NULL : &g->preview, &g->err);
	assert_int_equal(state_close(s, &e), 0);
	return status;
}

int migration_run_child(struct migration *g, enum run_kind kind)
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(migration_run(g, kind));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static struct state *look(struct migration *g)
{
	struct state *s = state_open(g->p.state_dir, "erp", STATE_READ, NULL, NULL);

	assert_non_null(s);
	return s;
}

const char *migration_meta(struct migration *g, const char *path)
{
	static char out[400];
	struct state *s = look(g);
	const json_t *m = json_object_get(json_object_get(state_meta(s), "machines"), "erp");
	AUTO_FREE char *copy = mem_strdup(path);

	for (char *part = strtok(copy, "/"); part; part = strtok(NULL, "/"))
		m = json_object_get(m, part);
	snprintf(out, sizeof(out), "%s", json_is_string(m) ? json_string_value(m) :
		 json_is_true(m) ? "true" : "");
	state_close(s, NULL);
	return out;
}

void migration_tree(struct migration *g, char now[41], const char *phase,
		    char begin[41])
{
	struct state *s = look(g);

	assert_int_equal(state_tree_id(s, "erp", now, NULL), 0);
	if (phase)
		assert_int_equal(state_begin_id(s, "erp", phase, begin, NULL), 1);
	state_close(s, NULL);
}

json_t *migration_files(struct migration *g)
{
	struct state *s = look(g);
	json_t *out = json_deep_copy(state_tree(s, "erp"));

	state_close(s, NULL);
	return out;
}

void migration_ends(struct migration *g, enum run_kind kind, int status)
{
	int now = migration_run(g, kind);

	if (now != status)
		fail_msg("ended with %d, not %d: %s", now, status,
			 g->err.what ? g->err.what : "no error");
	if (g->f->w->broken[0])
		fail_msg("%s", g->f->w->broken);
}

void migration_has(const char *said, const char *part)
{
	if (!said || !strstr(said, part))
		fail_msg("'%s' is not in '%s'", part, said ? said : "(null)");
}

void migration_went_back(struct migration *g)
{
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	assert_int_equal(fake_get(g->f, "b.serving"), 0);
	assert_string_equal(migration_meta(g, "serves"), "source");
}
