/* SPDX-License-Identifier: Apache-2.0
 * modtest - call a module as the agent would, without an engine.
 */
#ifndef DROVER_MODTEST_H
#define DROVER_MODTEST_H

#include "engine/base/json.h"

#include <sys/types.h>

/* Run OP ("probe" "apply" "undo") of MODULE in a child. What must be durable counts
 * as durable at once, questions find nobody. Returns the RESULT's body (caller
 * owns). *events_out (may be NULL) receives an array of all events (caller owns). */
json_t *modtest_call(const char *module, const char *op, const json_t *input,
		     json_t **events_out);
/* The same with the other end of a stream (-1: none) and an answer to questions: 1
 * yes, 0 no, -1 nobody there. */
json_t *modtest_call_with(const char *module, const char *op,
			  const json_t *input, int stream, int yes,
			  json_t **events_out);
/* One end of a two-ended step; in, out and events are the caller's. */
struct modtest_end {
	const char *module;
	json_t *in, *out, *events;
	const char *op;			/* NULL: "apply" */
};

/* Apply both ends at once, joined by a stream. Both are forked before a thread is
 * made: what is forked beside a running thread may find its locks held for ever. */
void modtest_both(struct modtest_end end[2]);
/* The same, but that `between` lies between the two: it has a socket to each, which it closes,
 * and their processes, which it does not reap. */
void modtest_both_through(struct modtest_end end[2],
			  void (*between)(void *arg, int fd[2], const pid_t pid[2]), void *arg);
/* The process that listens on the abstract socket of that name; 0: none. */
pid_t modtest_listener(const char *name);
/* Killed, and gone when this returns; it may be anybody's child. */
void modtest_kill(pid_t pid);
/* Put what the events kept into `input` as "kept", so that a later call (undo) gets
 * it; the first copy wins. */
void modtest_keep(json_t *input, const json_t *events);
/* A call with nobody there, which must succeed, fail with this text, or (probe) find this
 * state; what it kept is kept. */
void modtest_must(json_t *input, const char *module, const char *op);
void modtest_fails(json_t *input, const char *module, const char *op, const char *text);
void modtest_state(json_t *input, const char *module, const char *want);
/* The argv of a shell that runs this; the caller's. */
json_t *modtest_sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
