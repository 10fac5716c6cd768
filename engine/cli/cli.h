/* SPDX-License-Identifier: Apache-2.0
 * cli - verbs and options as tables, and what every verb needs: the plan, the
 * state, a run with its screen, a table, a question, an exit status.
 *
 * A verb is one file, verb_<name>.c, with one function `int verb_<name>(struct
 * cli *c)` that returns the exit status, and one row in table.c. Parsing, help,
 * man pages and suggestions come from the rows. Whatever the helpers open is
 * kept in the struct and closed by main().
 */
#ifndef DROVER_CLI_H
#define DROVER_CLI_H

#include "engine/base/err.h"
#include "engine/base/json.h"
#include "engine/base/loop.h"
#include "engine/graph/graph.h"
#include "engine/plan/plan.h"
#include "engine/run/run.h"
#include "engine/state/state.h"

#include <stdbool.h>
#include <stdio.h>

struct cli;

/* ---- the tables (table.c) ------------------------------------------------ */

enum opt {
	/* shared by all verbs */
	OPT_MACHINE, OPT_ONLY, OPT_UNTIL, OPT_STATE, OPT_JSON, OPT_COLOR,
	OPT_VERBOSE, OPT_YES, OPT_HELP, OPT_VERSION,
	/* a verb takes these when its row says so */
	OPT_OUTPUT, OPT_DETAILED, OPT_PREVIEW, OPT_EXPAND, OPT_DIFF, OPT_DISCARD,
	OPT_TO, OPT_CONFIRM, OPT_LIMIT, OPT_MAN, OPT_PIN, OPT_KEEP, OPT_GO_ON, OPT_SAMPLE,
	OPT_WAIT,
	OPT_COUNT
};
#define OPT_SHARED_COUNT OPT_OUTPUT	/* the shared ones come first */

struct option_row {
	const char *name;	/* "machine": -machine, --machine */
	char letter;		/* 'm', or 0 */
	const char *value;	/* "NAME", or NULL: a flag */
	const char *words;	/* "auto|always|never", or NULL: any value */
	const char *summary;	/* one line; NULL: not in help */
};
extern const struct option_row option_rows[OPT_COUNT];

#define VERB_OPTIONS 8
struct verb {
	const char *name;
	const char *args;	/* "PLAN", "PLAN|PREVIEW", "PLAN [PATH]" */
	int min_args, max_args;	/* max_args -1: any number */
	const char *summary;	/* one line, imperative: help, completion */
	const char *text;	/* paragraphs for help VERB and the man page; "\n\n"
				   between, wrapped when printed */
	const char *example;	/* one command a line; help prints it first */
	enum opt options[VERB_OPTIONS];	/* beyond the shared ones; 0-terminated */
	int (*run)(struct cli *c);
};
extern const struct verb verbs[];	/* ends with .name == NULL */
extern const size_t verb_count;

const struct verb *verb_find(const char *name);			/* NULL */
bool verb_takes(const struct verb *v, enum opt o);

/* ---- what a verb is given ------------------------------------------------ */

struct cli {
	const struct verb *verb;
	const char *opt[OPT_COUNT];	/* NULL: not given; "" for a flag; borrowed */
	const char *args[64];		/* operands after the verb; borrowed from argv */
	int arg_count;
	int verbose;			/* how many -v */
	FILE *in, *out, *err;		/* stdin, stdout, stderr; tests give others */
	bool tty_in, tty_out;		/* a person is there */
	bool color;			/* --color, NO_COLOR, terminal: decided */
	bool json;			/* --json */
	/* opened by the helpers below, closed by cli_close() */
	struct plan *plan;
	struct graph *graph;
	struct loop *loop;
	struct state *state;
	const char *lineage;		/* of a state that is made now: the saved preview's,
					   borrowed; or NULL */
	json_t *end;			/* the last run's end event, or NULL */
	/* The seam to hosts: host_new unless a test says otherwise. */
	struct host *(*make_host)(struct loop *l, const char *name,
				  const json_t *spec);
};

/* Fill c from argv (argv[0] is the program). 0; or -1 with e (ERR_USAGE) whose
 * hint says what was perhaps meant. With --help or no verb, c->verb is help. */
int cli_parse(struct cli *c, int argc, char **argv, struct err *e);
void cli_init(struct cli *c);		/* streams, terminal, host_new */
/* State flushed and closed, plan freed. The status given, or 111 when closing
 * failed (told on c->err) and it was 0. */
int cli_close(struct cli *c, int status);

/* ---- helpers: each returns 0, or the exit status after telling why -------- */

/* Print e: wrapped where a terminal shows it, else a line as programs read it. */
void cli_print_error(struct cli *c, const struct err *e);
/* Print e once and give the exit status of its kind. */
int cli_fail(struct cli *c, struct err *e);
/* c->plan from `file` (verbs: c->args[0]); all errors are printed. Also checks
 * that --machine matches a machine. */
int cli_load_plan(struct cli *c, const char *file);
/* Of a plan's file that is not there, or is a directory: what may have been meant. */
void cli_hint_plan(struct err_list *errors, const char *file);
/* Tell them all, as text on c->err or with --json as objects; the exit status. */
int cli_errors(struct cli *c, const struct err_list *l);
int cli_build_graph(struct cli *c);	/* c->graph of c->plan */
/* c->state: --state, else ".drover" beside the plan. Makes c->loop if needed. */
int cli_open_state(struct cli *c, enum state_mode mode);
/* How long --wait says, or is meant without it. */
int cli_parse_wait(struct cli *c, uint64_t *ms);
/* The same, to write; one that a `sync --keep` holds is taken over from it, which may take
 * `wait_ms` (handover.c). */
int cli_take_state(struct cli *c, uint64_t wait_ms);
char *cli_state_dir(const struct cli *c);	/* caller frees */
/* True when the state knows nothing of the plan, told with what to type next, and
 * *status is set; also when it cannot be read. The state is closed again. */
bool cli_nothing_recorded(struct cli *c, int *status);
/* What a run would refuse is refused before anybody is asked to confirm it. */
int cli_admits(struct cli *c, const struct run_options *o);
/* --only, --until, --to as a phase, or -1 when not given. Validated by parsing. */
int cli_phase(const struct cli *c, enum opt o);
/* True when --machine is absent or matches. */
bool cli_wants(const struct cli *c, uint32_t machine);
/* Plan, graph, state, run with screen or JSON, signals: the common way of
 * preview, run, cutover, rollback, cleanup, finalize. o->selector, only, until
 * are taken from the options when NULL or -1. preview_out may be NULL. Returns
 * the exit status. */
int cli_run(struct cli *c, struct run_options *o, json_t **preview_out);

/* Ask "Only 'yes' will be accepted". 0: yes; else the exit status, told. -y
 * answers it. Without a terminal and without -y it fails and says so. */
int cli_confirm(struct cli *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* What -y never answers: the person types `word` (the plan's or machine's name),
 * or has given it with --confirm. */
int cli_confirm_word(struct cli *c, const char *word, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* One JSON line on c->out: v, t (and at) are put in front. Steals body. */
void cli_json(struct cli *c, const char *type, json_t *body);
/* The same of an error: {file, line, column, TYPE: what, hint}. */
void cli_json_error(struct cli *c, const char *type, const struct err *e);

/* A line for people on c->out, wrapped to the screen; further lines are indented. */
void cli_say(struct cli *c, size_t indent, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- tables for people (out.c); plain text, aligned, cut to the terminal --- */

struct table;
/* Column titles, NULL-terminated. A title that begins with '>' is right-aligned,
 * one with '~' may be cut when the line is too wide: what was then ends with '~'. */
struct table *table_new(struct cli *c, const char *const *titles);
/* As many cells as titles; NULL reads as "-". Escaped and copied. */
void table_row(struct table *t, const char *const *cells);
void table_print(struct table *t);	/* prints and frees */

/* Terminal colours, "" when colour is off. */
enum color { C_OFF, C_BOLD, C_DIM, C_RED, C_GREEN, C_YELLOW, C_BLUE };
const char *cli_color(const struct cli *c, enum color k);
int cli_width(const struct cli *c);	/* columns; when it is no terminal $COLUMNS, or 80 */

/* ---- help (help.c) ------------------------------------------------------- */

void help_all(FILE *out);
void help_verb(FILE *out, const struct verb *v);
/* An mdoc page; v NULL: of drover itself. */
void help_man(FILE *out, const struct verb *v);

/* ---- the verbs ----------------------------------------------------------- */

int verb_help(struct cli *c);
int verb_version(struct cli *c);
int verb_check(struct cli *c);
int verb_preview(struct cli *c);
int verb_run(struct cli *c);
int verb_sync(struct cli *c);
int verb_cutover(struct cli *c);
int verb_rollback(struct cli *c);
int verb_cleanup(struct cli *c);
int verb_finalize(struct cli *c);
int verb_status(struct cli *c);
int verb_log(struct cli *c);
int verb_show(struct cli *c);
int verb_diff(struct cli *c);
int verb_hosts(struct cli *c);
int verb_modules(struct cli *c);
int verb_backups(struct cli *c);

#endif
