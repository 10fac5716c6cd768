/* SPDX-License-Identifier: Apache-2.0
 * screen_priv - what the files of the screen share.
 */
#ifndef DROVER_SCREEN_PRIV_H
#define DROVER_SCREEN_PRIV_H

#include "engine/base/phase.h"
#include "engine/base/wrap.h"
#include "engine/cli/screen.h"

enum paint { P_OFF, P_BOLD, P_DIM, P_RED, P_GREEN, P_YELLOW, P_COUNT };

/* How far a phase of a machine got in this run; the worst step counts. */
enum mark { MARK_NONE, MARK_SKIPPED, MARK_SAME, MARK_DONE, MARK_UNDONE, MARK_BUSY,
	    MARK_WAITS, MARK_FAILED };

struct view {			/* one machine */
	char *name;
	char *title;		/* "db1 -> kvm1", or NULL */
	char *serves;		/* "source" ..., or NULL */
	enum mark marks[PHASE_COUNT];
	uint64_t took_ms;	/* sum of its steps */
	char *fault;		/* of its last step that failed: "convert.disks: ...", or NULL */
	/* the step under way */
	bool busy;
	int phase;
	char *step, *state;	/* "disks", "running" */
	uint64_t since_ms;	/* clock, when it began */
	json_t *progress;	/* the last progress event of it, or NULL */
	uint64_t told_ms;	/* clock, when a plain line last told progress */
	uint64_t rests_until;	/* clock, between two passes of that step; 0: it does not rest */
	/* of a preview */
	json_t *steps;		/* array of {phase, step, state, error, hint, place,
				   changes[], cost} in the order of arrival */
	json_t *downtime;	/* of a cutover's preview; event or NULL */
	char *figures;		/* what its cutover cost, or NULL */
};

#define MANY 24			/* machines: more than fit beside what else must be seen */
#define REGION_MAX 14		/* lines: machines at work, how many more, and of many all */
struct screen {
	struct screen_options o;
	char *kind, *plan, *file, *run;
	char *typed;			/* what a command that follows has after its verb */
	size_t host_count;
	bool preview;
	bool cutover;			/* the plan has cutover steps */
	struct view **views;
	size_t view_count, view_cap;
	json_t *index;			/* name -> place in views */
	size_t name_columns;		/* of the widest name that is not too wide */
	json_t *findings, *lost;	/* arrays of events */
	json_t *hosts;			/* name -> last host event */
	struct str line;		/* text on its way to the stream */
	int region;			/* lines of the live region on the terminal */
	size_t columns[REGION_MAX];	/* their widths */
	uint64_t drawn_ms;		/* clock, at the last redraw */
};

struct view *screen_view(struct screen *s, const char *name);	/* made when new */
size_t name_limit(const struct screen *s);	/* columns; wider names get lines of their own */
uint64_t screen_now(const struct screen *s);
void keep(char **p, const char *s);		/* a copy of `s`, instead of what was there */
const char *paint(const struct screen *s, enum paint p);

/* Pad or (when cut) shorten to exactly `columns`; escaped. */
void add_cell(struct str *b, const char *t, size_t columns, bool cut);

/* What is known of a preview, as one page; screen_preview.c */
void preview_page(struct screen *s, const json_t *end);
/* A finding with what mends it, no newline at its end. */
void preview_finding(struct screen *s, const json_t *f, size_t name_width);
/* Columns that the last line of s->line takes by now. */
size_t line_column(const struct screen *s);
/* Text that goes on with the line, wrapped to the screen, its further lines
 * indented; add_below: on lines of its own, with the newline before them, and
 * nothing when there is no text. */
void add_text(struct screen *s, const char *text, size_t indent);
void add_below(struct screen *s, const char *text, size_t indent);
/* Lines of a run, each between begin_line() and end_line(); screen_lines.c. The first
 * begins with the event's time, the second with machine and step too. */
#define TIME_COLUMNS 10
void begin_line(struct screen *s, const json_t *ev);
void begin_step_line(struct screen *s, const json_t *ev);
void end_line(struct screen *s);
size_t hang(const struct screen *s);	/* where their further lines begin */
void step_line(struct screen *s, const json_t *ev, enum paint p, const char *word,
	       uint64_t took_ms);
/* The event's error, what to do, and its place; a host's being down is told once. */
void add_step_error(struct screen *s, const json_t *ev, size_t indent);
/* A machine's name in its column and two blanks; what does not fit there has a line of
 * its own, and the text after it begins behind `indent` blanks in the next. */
void add_name(struct screen *s, const char *name, size_t columns, size_t indent);
/* "Next: ..." of an end event, if it has one. */
void add_next(struct screen *s, const json_t *end);
/* One line for each machine at work, or between two passes; screen_live.c */
void live_draw(struct screen *s);
void live_erase(struct screen *s, struct str *b);
void live_rest_text(const struct screen *s, const struct view *v, struct str *b);
void live_progress_text(const struct screen *s, const struct view *v, struct str *b);
/* The table at the end of a run; screen_close.c */
void close_page(struct screen *s, const json_t *end);

#endif
