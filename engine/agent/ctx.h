/* SPDX-License-Identifier: Apache-2.0
 * ctx - what stands behind modules/module.h in the child that runs one call:
 * events leave as frames, the answers to keep, ledger and ask are waited for,
 * everything else is gathered into the RESULT.
 */
#ifndef DROVER_CTX_H
#define DROVER_CTX_H

#include "engine/base/json.h"
#include "modules/module.h"

#include <stdint.h>

#define CTX_KEEP_MAX (8u << 20)		/* bytes of one ctx_keep() */
#define CTX_EVIDENCE_MAX (1u << 20)	/* bytes of one ctx_evidence(); the end is kept */
#define CTX_TEXT_MAX (64u << 10)	/* bytes of one log line, change or finding */

struct child_pace;		/* in child.h */
struct ctx_bytes;		/* undo material, decoded, in ctx.c */

struct ctx {
	int fd;			/* frames to and from the agent, blocking */
	struct pipe *stream;	/* to the other end of a two-ended step; borrowed, or NULL */
	const struct child_pace *pace;	/* NULL: no limit */
	uint32_t step;		/* our number in frames */
	pid_t agent;		/* our parent as it forked us; 0: whoever that is */
	json_t *input;		/* {args, machine, facts, kept, role, run}; a reference */
	json_t *kept;		/* name -> {"text"|"base64"}; grows with ctx_keep() */
	struct ctx_bytes *bytes;	/* what ctx_kept() has lent out */
	int64_t acks;		/* the last "ack" number used */
	uint64_t progress_at;	/* mono ms of the last progress event */
	struct ctx_flow flow;	/* to go with the next one */
	bool flows;		/* ... if there is any */
	bool gone;		/* the agent does not answer any more */
	/* the result, as it grows */
	json_t *changes, *findings, *facts, *stable, *volatile_part;
	uint64_t cost[4];	/* read, send, write, ms */
	bool costed;
	/* the first failure */
	char *kind, *text, *hint;	/* owned; NULL: none */
	int sys;
};

/* `input` may be NULL. Never fails. */
struct ctx *ctx_new(int fd, uint32_t step, const json_t *input,
		    struct pipe *stream);
/* For a call that follows on `c` in the same process: the same given, and what was kept
 * meanwhile; nothing said yet. A stop that came stays. */
struct ctx *ctx_next(const struct ctx *c);
void ctx_free(struct ctx *c);
/* Set the failure unless there is one: kind is an error kind of host.h. */
int ctx_set_failure(struct ctx *c, const char *kind, int sys, const char *text);
/* The RESULT's body. state may be NULL. Caller owns. */
json_t *ctx_result(const struct ctx *c, bool ok, const char *state);
/* A RESULT for a call that could not tell one itself. Caller owns. */
json_t *ctx_result_error(const char *kind, const char *text, const char *hint);

/* Run one call: find the module, call `op`, send the RESULT. 0 if it is ok. */
int ctx_call(struct ctx *c, const char *module, const char *op);
/* The SIGTERM handler of a child: ctx_cancelled() is true from now on. */
void ctx_on_term(int sig);

#endif
