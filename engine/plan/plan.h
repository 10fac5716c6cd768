/* SPDX-License-Identifier: Apache-2.0
 * plan - a checked plan: what was written, typed, with recipes merged in, and
 * every name resolved. Made by plan_load(), never changed afterwards.
 */
#ifndef DROVER_PLAN_H
#define DROVER_PLAN_H

#include "engine/base/err.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/base/phase.h"
#include "modules/module.h"

#include <stdbool.h>
#include <stdint.h>

/* Rates and the hours in which they hold, in the order written. */
struct plan_rate {
	uint64_t rate;			/* bytes/s */
	int from, to;			/* minutes of the day; from > to: over midnight */
};
struct plan_rates { const struct plan_rate *v; uint32_t count; };
/* What holds at this minute of the day: the first that does; 0: no limit. */
uint64_t plan_rate_at(const struct plan_rates *r, int minute);

struct plan_host {
	const char *name;
	bool local;
	struct place at;
	bool used;		/* some machine or step names it */
	struct plan_rates bandwidth;	/* of streams to and from it */
	json_t *spec;		/* as host.h's constructors want it; secrets as references */
};

/* One step. Recipe steps that a machine does not touch are shared by all
 * machines of that recipe. */
struct plan_step {
	enum phase phase;
	const char *id;			/* unique in machine and phase */
	const char *verb;
	const struct module *module;
	json_t *args;			/* typed by the module's table, defaults in;
					   strings may still hold ${machine}, ${fact...} */
	const char *at;			/* "source" "target" "fence" or a host's name; NULL */
	const char *const *needs;	/* ids "convert.disks" or "disks", NULL-terminated */
	const char *when;		/* "fact.path == value", or NULL */
	struct place place;
	bool from_recipe;
};

struct plan_machine {
	const char *name;
	struct place at;
	uint32_t source_host, target_host;	/* index into hosts */
	const uint32_t *after;		/* machines that must be done first */
	uint32_t after_count;
	const struct plan_step *const *steps;	/* in phase order, then as written,
						   before/after applied, skip dropped */
	uint32_t step_count;
	uint32_t spec_index;		/* the plan's own */
};

struct plan_accept {		/* a waived finding */
	const char *finding, *machine /* or NULL: all */, *until /* ISO date or NULL */,
		*reason;
};

struct plan_link {		/* between hosts of two kinds, whichever way */
	const char *hosts[2];		/* names or globs */
	struct plan_rates bandwidth;
};

struct plan_limits {
	uint32_t phase[PHASE_COUNT];	/* machines at once in a phase; 0: no limit */
	uint32_t host;			/* long steps at once on one host; 0: no limit */
	struct plan_rates bandwidth;	/* over all streams between hosts */
	struct plan_rates read;		/* from the disks of one source host */
	const struct plan_link *links;	/* of those that fit a stream the first counts */
	uint32_t link_count;
};

struct plan {
	struct arena *arena;
	const char *name;
	const char *file;		/* as the user named it */
	const char *typed;		/* what a command about it has after its verb: the file, and
					 * where its state is when that was said; as a shell wants it */
	const char *dir;		/* the folder it is in; relative files start here */
	char hash[65];			/* SHA-256 of the canonical expanded plan */
	struct plan_host *hosts;
	uint32_t host_count;
	struct plan_machine *machines;
	uint32_t machine_count;
	struct plan_limits limits;
	struct plan_accept *accept;
	uint32_t accept_count;
	json_t *secrets;		/* name -> {env|file|command|prompt: ...}; references only */
	struct vault *vault;		/* those that were fetched (vault.h) */
	struct plan_private *priv;
};

/* All errors that can be found, in the order of the text. */
struct err_list { struct err *v; size_t count, cap; };
void err_list_free(struct err_list *l);

/* Compile. NULL when there was any error; then `errors` holds them all. */
struct plan *plan_load(const char *file, struct err_list *errors);
/* The same, with what a caller may add. */
struct plan_options {
	/* Look at a check's Lua file without running it, as hook_compile() does;
	 * NULL: it only has to be there. */
	int (*check_hook)(const char *file, struct err *e);
	struct err_list *warnings;	/* what is odd but no error; NULL: not asked */
};
struct plan *plan_load_with(const char *file, const struct plan_options *o,
			    struct err_list *errors);
void plan_free(struct plan *p);			/* NULL is harmless */

/* The machine as modules see it (engine/README.md, "spec"); built on demand,
 * kept by the plan. Borrowed. */
const json_t *plan_machine_spec(const struct plan *p, uint32_t machine);
/* Say for each disk of `spec` where it goes (target.disks), by the rows there, by
 * maps.storage and by the target's own vg or pool. For who fills in source.disks later;
 * plan_machine_spec() has done it for disks that the plan names. */
void plan_place_disks(json_t *spec);
/* The plan fully expanded, as YAML text: nothing about a recipe is hidden. */
char *plan_expand(const struct plan *p);
int plan_find_machine(const struct plan *p, const char *name);	/* -1 */
int plan_find_host(const struct plan *p, const char *name);	/* -1 */
/* NAME, GLOB or label=value. */
bool plan_machine_matches(const struct plan *p, uint32_t machine,
			  const char *selector);
/* A copy of args with ${machine}, ${source.x}, ${facts.x.y} put in. NULL with e
 * (place set) when a name is not known. */
json_t *plan_step_args(const struct plan *p, uint32_t machine,
		       const struct plan_step *s, const json_t *facts,
		       struct err *e);
/* Does the step's `when:` hold with these facts? 1, 0 (also when a fact is not
 * known); a step without one always does. */
bool plan_step_when(const struct plan_step *s, const json_t *facts);
/* What a reference "secret:NAME" stands for: fetched when first asked for, kept by the
 * plan (vault.h). Borrowed; NULL with e. */
const char *plan_secret(const struct plan *p, const char *ref, struct err *e);
bool plan_is_secret(const char *text);		/* is it such a reference? */
/* A copy of a value in which they are filled in. NULL with e. */
json_t *plan_secrets_in(const struct plan *p, const json_t *v, struct err *e);
/* Take the secrets that stand in variables out of the environment, so that no program
 * that is started inherits them. */
void plan_secrets_hide(const struct plan *p);
/* Take what was fetched out of an error's texts. */
void plan_redact_err(const struct plan *p, struct err *e);

#endif
