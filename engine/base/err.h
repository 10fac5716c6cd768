/* SPDX-License-Identifier: Apache-2.0
 * err - one error value: what failed, where, why, and what to type next.
 *
 * An error is set once, where the fault is seen, and enriched at three borders
 * only: the plan (a place), the host, and the step with its attempt. It is
 * printed once, by the command line.
 */
#ifndef DROVER_ERR_H
#define DROVER_ERR_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What kind of end this is; the value is the exit status (design, verbs). */
enum err_kind {
	ERR_NONE = 0,		/* no error is held */
	ERR_STEP = 1,		/* a step failed */
	ERR_PLAN = 2,		/* the plan is wrong */
	ERR_STOPPED = 3,	/* stopped; `drover run` goes on with it */
	ERR_HELD = 4,		/* another run holds the state */
	ERR_STALE = 5,		/* the saved preview no longer fits */
	ERR_WAITING = 6,	/* waits for a person */
	ERR_USAGE = 100,	/* the command line is wrong */
	ERR_SYSTEM = 111,	/* the system said no */
};

/* A place in a plan file. Strings are borrowed from the plan's arena. */
struct place {
	const char *file;	/* as the user named it; NULL: no place */
	uint32_t line;		/* from 1 */
	uint32_t column;	/* from 1, in characters */
	const char *text;	/* the whole source line, no newline; or NULL */
};

/* Zero-initialise before use; err_clear() when done. */
struct err {
	enum err_kind kind;	/* ERR_NONE when nothing is held */
	int sys;		/* errno behind it, or 0 */
	char *what;		/* "cannot VERB 'OBJECT': reason", owned */
	char *hint;		/* what it means or what to type next, owned or NULL */
	struct place at;	/* where in the plan; file and text owned copies */
	char *host;		/* name of the host, owned or NULL */
	char *step;		/* "machine phase.id", owned or NULL */
	int attempt, attempts;	/* "attempt 2 of 3"; 0: not said */
};

#define AUTO_ERR __attribute__((cleanup(err_clear))) struct err

/* Each setter returns -1, so that `return err_set(...)` reads well. `e` may be
 * NULL where the caller does not want to know. Text is allocated, never cut. */
int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* As err_set with ERR_SYSTEM, ": strerror(errno)" appended; errno is kept. */
int err_sys(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Prepend "TEXT: " to what is held. */
int err_wrap(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Say what to type next; replaces an earlier hint. */
int err_hint(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* How much of a hint is to be typed next: it begins with "drover ", up to a ';'. 0: it is none
 * of these, or NULL. */
size_t err_hint_typed(const char *hint);
/* The three borders. Each keeps what is already there. */
int err_at(struct err *e, const struct place *at);
int err_host(struct err *e, const char *host);
int err_step(struct err *e, const char *step, int attempt, int attempts);

int err_is(const struct err *e);	/* 1 when an error is held */
void err_clear(struct err *e);
void err_move(struct err *to, struct err *from);	/* `from` is left empty */

/* Print it as people read it: place, host, step, what, the source line with a
 * caret, the hint. Control characters are shown as \x1b. */
void err_print(FILE *out, const struct err *e);
/* The same in lines of at most `width` columns; the source line stays whole. */
void err_print_wrapped(FILE *out, const struct err *e, size_t width);

#endif
