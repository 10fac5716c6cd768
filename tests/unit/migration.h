/* SPDX-License-Identifier: Apache-2.0
 * migration - one pretend machine, erp, that moves from host a to host b through all
 * six phases, for the tests of engine/run.
 *
 *     assess       look (reads, tells the fact machine)
 *     backup       image       b.image 0 -> 1
 *     convert      disks       b.disk 0 -> 2, two-ended
 *     reconfigure  guest       b.overlay 0 -> 1, wants the fact machine
 *     validate     boot        b.boot 0 -> 1, evidence, a temporary thing
 *     cutover      quiesce     a.serving 1 -> 0, holds the source
 *                  off         a.power 1 -> 0
 *                  start       b.serving 0 -> 1, no way back
 */
#ifndef DROVER_TEST_MIGRATION_H
#define DROVER_TEST_MIGRATION_H

#include "tests/unit/fakehost.h"

#define RULES 14
struct migration {
	struct fake *f;
	struct fake_plan p;
	struct fake_rule rules[RULES];	/* a test may change them */
	struct state *state;		/* open only while a run runs, or by a test */
	struct err err;			/* of the last run */
	bool discard;			/* for the next rollback */
	int phase;			/* rollback to before it */
	json_t *saved;			/* hold the next run to it; borrowed */
	json_t *preview;		/* what the last preview gave; owned */
};

struct migration *migration_new(void);
/* Another one, of a cutover alone: quiesce, pass (b.pass 0 -> 1, done only as long as the
 * fact it told stands), off, start. */
struct migration *migration_passing(void);
/* The first one, without its backup. */
struct migration *migration_unbacked(void);
void migration_free(struct migration *g);
/* Of a test: it is *state. */
int migration_set_up(void **state);
int migration_set_up_passing(void **state);
int migration_tear_down(void **state);
/* One run of the engine, state opened and closed around it; the exit status. */
int migration_run(struct migration *g, enum run_kind kind);
/* The same; the test fails unless it ends with this status, and nothing that was pretended
 * was done in a way that breaks it. */
void migration_ends(struct migration *g, enum run_kind kind, int status);
/* The source serves, as before the cutover. */
void migration_went_back(struct migration *g);
/* The test fails unless `part` is in the text. */
void migration_has(const char *said, const char *part);
/* A rule, to be changed before a run. */
struct fake_rule *migration_rule(struct migration *g, const char *module);
/* The same in a child that may die; its exit status (FAKE_KILLED: it died). */
int migration_run_child(struct migration *g, enum run_kind kind);
/* A field of the machine's meta document, as text; "" when it is none. Valid until
 * the next call. */
const char *migration_meta(struct migration *g, const char *path);
/* The machine's tree id now, and that of a phase's beginning. */
void migration_tree(struct migration *g, char now[41], const char *phase,
		    char begin[41]);
/* The machine's tree now, path -> text; caller frees. */
json_t *migration_files(struct migration *g);

/* Its modules, and one more that copies disks, for other plans. */
extern const struct module fake_look, fake_image, fake_disks, fake_more, fake_guest, fake_boot,
	fake_quiesce, fake_pass, fake_off, fake_start_target;

#endif
