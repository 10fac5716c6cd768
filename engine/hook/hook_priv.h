/* SPDX-License-Identifier: Apache-2.0
 * hook_priv - what hook.c and calls.c share: one check in flight.
 */
#ifndef DROVER_HOOK_PRIV_H
#define DROVER_HOOK_PRIV_H

#include "engine/base/mem.h"
#include "engine/hook/hook.h"
#include "engine/wire/frame.h"

#include <sys/types.h>

struct asked;

struct hook {
	struct hook_env env;
	struct call *c;
	json_t *job;			/* for the child; owned */
	char *name;			/* as errors show it; owned */
	uint64_t timeout_ms, retry_until;
	pid_t pid;			/* 0: no child */
	int fd;				/* -1: none */
	struct loop_fd *watch;
	struct frame_reader *in;
	struct str out;			/* not yet written */
	struct loop_timer *timer;	/* deadline, retry or delivery */
	struct asked *asked;		/* the call that the check waits for, or NULL */
	int calls, logs;		/* so far */
	json_t *result;			/* to be delivered; owned */
	struct hook *next;		/* in the pool's queue */
	bool in_pool;
};

/* The check is over. Steals result, which is delivered from the loop, whoever
 * decided. */
void hook_finish(struct hook *h, json_t *result);
json_t *hook_failure(const char *kind, const char *hint, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void hook_send(struct hook *h, enum frame_type type, const json_t *body);
/* Fetch c->input.args {url, host, timeout} with libcurl in another process; answers
 * like a call of a module. */
void hook_fetch(struct hook *parent, struct call *c);

/* ---- calls.c ------------------------------------------------------------- */

/* The check asks a host something; the answer goes to its process. */
void calls_start(struct hook *h, const json_t *event);
/* Nobody waits for the answer any more. */
void calls_forget(struct hook *h);

#endif
