/* SPDX-License-Identifier: Apache-2.0
 * private - what the files of plan/ share, and nobody else sees.
 *
 *     load.c      files, includes, recipes -> trees; the order of the work
 *     schema.c    walks a tree by the table in keys.c
 *     vars.c      ${name}
 *     hosts.c     hosts and secrets
 *     steps.c     one step: verb, control keys
 *     step_args.c its parameters
 *     chain.c     lists of steps laid over each other
 *     seed.c      a copy that is filled from a backup
 *     spec.c      a machine as modules see it
 *     places.c    where each disk goes
 *     check.c     what has to make sense: names, cycles, collisions
 *     expand.c    the plan written out, and its hash
 *     plan.c      what is asked of a finished plan
 */
#ifndef DROVER_PLAN_PRIVATE_H
#define DROVER_PLAN_PRIVATE_H

#include "engine/base/data.h"
#include "engine/plan/errlist.h"
#include "engine/plan/names.h"
#include "engine/plan/plan.h"
#include "engine/plan/schema.h"
#include "engine/plan/yaml.h"

/* One step before it is compiled. */
struct step_src {
	enum phase phase;
	const char *id, *verb;
	const struct yaml_node *node;		/* where it stands, for errors */
	struct yaml_node *args;			/* its map as merged, or NULL */
	const char *before, *after;		/* where it wants to be, or NULL */
	bool skip, recipe;
	bool tried;				/* compiled, perhaps with errors */
	uint8_t digest[32];			/* once compiled */
	const struct plan_step *step;		/* compiled on first use */
};

/* The steps of a machine, or of all machines that add none of their own. */
struct chain {
	struct step_src **src[PHASE_COUNT];
	uint32_t count[PHASE_COUNT];
	const struct plan_step **steps;		/* compiled, NULL until chain_compile() */
	uint32_t step_count;
	bool tried;				/* compiled, perhaps with errors */
	bool needs_power;			/* a step wants source.power */
	uint8_t digest[32];			/* of the steps, for the plan's hash */
};

struct machine_src {
	struct yaml_node *node;			/* defaults and own, merged */
	struct chain *chain;
	json_t *spec;				/* on demand */
};

/* The work of loading; kept, without its lists, for what is built on demand. */
struct loader {
	struct plan *plan;
	struct arena *arena;
	struct err_list *errors, *warnings;	/* NULL once loaded */
	const struct plan_options *options;
	const char **files;			/* read so far, in order */
	size_t file_count, file_cap;
	struct yaml_node *root;			/* all files merged, main last */
	struct yaml_node *defaults;		/* root's, or NULL */
	struct yaml_node **accept;		/* of all files */
	size_t accept_count, accept_cap;
	struct names vars;			/* name -> struct var, vars.c */
	struct names hosts, machines;		/* name -> index + 1 */
	struct names recipes;			/* name or path -> struct chain */
	struct names **own_vars;			/* of recipes, to free them */
	size_t own_var_count, own_var_cap;
};

struct plan_private {
	struct loader loader;
	struct machine_src *machines;
	struct plan_step **steps;		/* all compiled ones, to free their args */
	size_t step_count, step_cap;
};

/* Tell an error or a warning at a node. The answer is for err_hint() alone. */
struct err *load_error(struct loader *l, const struct yaml_node *at,
		       const char *fmt, ...) __attribute__((format(printf, 3, 4)));
struct err *load_warning(struct loader *l, const struct yaml_node *at,
			 const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* "did you mean 'x'?" when one is near. */
void hint_near(struct err *e, const char *near);
/* The name in the table with the index it stands for; -1. */
int index_of(const struct names *n, const char *name);

/* ---- vars.c ---- */
/* Enter the variables of a section into a table; the first of a name stays. */
void vars_collect(struct loader *l, struct names *table,
		  const struct yaml_node *section);
void vars_builtin(struct loader *l);	/* ${plan}, ${plan_dir} */
/* A scalar's text with variables put in; *open is set when ${...} remain that
 * `scope` allows. NULL when an error was told. Lives in the arena. */
const char *vars_text(struct loader *l, const struct yaml_node *n, unsigned scope,
		      bool *open);
/* Put in what a machine or a run knows, "$${" becomes "${". Caller frees; NULL
 * with e. */
char *vars_final(const char *text, const json_t *known, struct err *e);
bool vars_has_refs(const char *text);
const json_t *vars_known(const json_t *o, const char *path);	/* borrowed or NULL */

/* ---- hosts.c ---- */
void hosts_build(struct loader *l);
void secrets_build(struct loader *l);
/* Index of the host a text names; -1 with an error told. Marks it used. */
int host_use(struct loader *l, const struct yaml_node *at, const char *name);

/* ---- rates.c ---- */
/* A value typed by the table: a rate, a list of them, or NULL. Lives in the arena. */
struct plan_rates rates_read(struct loader *l, const json_t *value);
/* limits.links of the plan, likewise; once the hosts are known. */
void links_read(struct loader *l);

/* ---- steps.c ---- */
/* Read one item of a phase's list. NULL with errors told. */
struct step_src *step_read(struct loader *l, enum phase phase,
			   struct yaml_node *item);
/* Type its parameters. NULL with errors told (once). */
const struct plan_step *step_compile(struct loader *l, struct step_src *s);
/* A compiled step like this one, as the plan's own; takes its args over. */
const struct plan_step *step_enter(struct loader *l, const struct plan_step *like);
/* "facts.guest.os.id == debian" in three; the caller frees path and value. */
bool step_split_when(const char *when, char **path, char *op, char **value);

/* ---- step_args.c ---- */
/* The row of a key that every step may have, beside its module's parameters; NULL. */
const struct param *step_control(const char *name);
/* The parameters of s as m types them, with m's defaults, into args. False: an error was told. */
bool step_type_args(struct loader *l, const struct step_src *s, const struct module *m,
		    json_t *args);

/* ---- chain.c ---- */
/* The lists of `lists` (a recipe, defaults or a machine) over `base` (or NULL). A
 * chain of its own, or `base` when there is nothing to lay over it. */
struct chain *chain_over(struct loader *l, struct chain *base,
			 const struct yaml_node *lists, bool recipe);
bool chain_compile(struct loader *l, struct chain *c);

/* ---- seed.c ---- */
/* Into a compiled chain, which has room for as many steps again: what fills copies from a
 * backup, before each convert.disks that wants it. `from` goes along. */
void seed_add(struct loader *l, struct chain *c, const struct step_src **from);

/* ---- sense.c ---- */
/* A compiled chain, of which from[] are the steps: can it work at all? */
bool sense_check(struct loader *l, const struct chain *c, const struct step_src **from);

/* ---- load.c ---- */
/* The recipe a machine names, with the defaults' steps over it. NULL: error. */
struct chain *recipe_chain(struct loader *l, const struct yaml_node *name);

/* ---- spec.c ---- */
/* The merged machine in the words of the plan, typed, short forms written out,
 * defaults in. A new reference. */
json_t *spec_written_out(struct loader *l, uint32_t machine);
/* And as modules see it. */
json_t *spec_build(struct loader *l, uint32_t machine);
/* The format that an image's name tells. */
const char *spec_format_of(const char *path);
/* The name of the i-th disk of a list: root, disk1, disk2 ... */
const char *spec_disk_name(struct loader *l, uint32_t i);

/* ---- places.c ---- */
/* The key of a row (of target.disks or maps.storage) that says where: "path", "dir",
 * "vg" or "pool"; NULL: none does. */
const char *places_way(const json_t *row);
/* What a disk is written as when its own row does not say; NULL: its host knows. */
const char *places_format(const json_t *row, const json_t *target);

/* ---- check.c, check_plan.c ---- */
void check_machines(struct loader *l);
void check_circles(struct loader *l);
void check_accept(struct loader *l);
void check_unused(struct loader *l);

/* ---- expand.c ---- */
void plan_make_hash(struct loader *l);

#endif
