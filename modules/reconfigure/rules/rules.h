/* SPDX-License-Identifier: Apache-2.0
 * rules - what has to change in a guest so that it runs at the target. Each rule is a
 * file of its own: it reads texts and puts changed ones into the change set; it writes
 * nothing. The same rules run on the source when the change set is made, and on an
 * overlay when the guest has changed since.
 */
#ifndef DROVER_RULES_H
#define DROVER_RULES_H

#include "modules/lib/changeset.h"

struct rule_env {
	struct ctx *c;			/* for findings; NULL: keep silent */
	const json_t *spec;		/* the machine as the plan says */
	const json_t *machine;		/* fact */
	struct changeset *set;		/* the texts so far, and where changes go */
	const struct rule *rule;	/* the one that runs */
	struct err *err;		/* the failure, where errno does not say it */
};

struct rule {
	const char *name;
	const char *summary;		/* what it does, for people */
	int (*run)(struct rule_env *r);	/* 0; -1 with errno or r->err */
};

extern const struct rule rule_fstab, rule_crypttab, rule_grub, rule_addresses,
	rule_nicnames, rule_caches;
extern const struct rule *const rules[];	/* in order; ends with NULL */

/* Run them all. -1 with e. */
int rules_run(struct ctx *c, const json_t *spec, const json_t *machine,
	      struct changeset *set, struct err *e);

/* ---- for rules ---- */

/* Put the text of a file that is there; text NULL leaves it as it is. Takes `text`
 * over, so that `return rule_put(r, path, lines_map(...), "why")` reads well. */
int rule_put(struct rule_env *r, const char *path, char *text, const char *why);
int rule_put_new(struct rule_env *r, const char *path, const char *text, mode_t mode,
		 const char *why);
void rule_find(struct rule_env *r, const char *severity, const char *code,
	       const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* Call fn(r, path, text) for each file of a directory whose name ends so. */
int rule_each(struct rule_env *r, const char *dir, const char *ending,
	      int (*fn)(struct rule_env *r, const char *path, const char *text));

/* A NIC of the target: its name in the guest, the MAC it had, the one it
 * gets (as the definition gives it, vm.h). */
struct rule_nic {
	char *name;		/* owned */
	char *old_mac;		/* NULL: not known; owned */
	char *mac;		/* owned */
	const json_t *want;	/* target.nics.NAME; may be NULL */
	bool named;		/* the guest itself calls it so */
};
/* Each NIC that has a network at the target; NULL with r->err. Caller frees with
 * rule_nics_free. */
struct rule_nic *rule_nics(const struct rule_env *r, size_t *count);
void rule_nics_free(struct rule_nic *v, size_t count);

#endif
