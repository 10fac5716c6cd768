/* SPDX-License-Identifier: Apache-2.0
 * serve - the agent: frames on stdin and stdout, one child per step, streams
 * through a door of their own.
 *
 *   serve.c   the frame loop with the engine       self.c    who and what we are
 *   step.c    children and their frames            stream.c  descriptors for two-ended steps
 *   direct.c  streams that go straight to the other agent (tunnel.h, tlspipe.h)
 */
#ifndef DROVER_SERVE_H
#define DROVER_SERVE_H

#include "engine/agent/child.h"
#include "engine/base/json.h"
#include "engine/base/loop.h"
#include "engine/base/mem.h"
#include "engine/wire/frame.h"

#include <stdbool.h>
#include <sys/types.h>

#define AGENT_BEAT_MS 5000
#define AGENT_BEATS_MAX 6	/* so many without a byte from the engine: it is gone */
#define AGENT_KILL_MS 10000	/* between TERM and KILL */
#define AGENT_ATTACH_MS 30000	/* how long a step waits for its stream */
#define AGENT_OUT_MAX (4u << 20)	/* beyond it children are not read from */

struct serve_options {
	const char *nonce;	/* 32 hex, printed in the preamble */
	const char *expect;	/* SHA-256 that our own file must have; NULL: not checked */
	const char *remove;	/* the private directory our file lies in: removed at once */
};

enum agent_phase {
	AGENT_NEW = 1,		/* the engine has not said hello */
	AGENT_READY = 2,
	AGENT_ENDING = 4,	/* steps are being stopped */
};

struct step;
struct streams;
struct direct;

struct agent {
	struct loop *loop;
	enum agent_phase phase;
	const struct serve_options *options;
	struct frame_reader *reader;	/* from the engine */
	struct str out;			/* to the engine */
	size_t out_at;			/* of it sent */
	struct loop_fd *in_fd, *out_fd;	/* out_fd only while there is something to send */
	struct loop_timer *beat;
	unsigned silent;		/* beats since the last bytes from the engine */
	unsigned asking;		/* steps whose question a person has not answered */
	struct step *steps;		/* those running */
	struct child_ahead spare;	/* for the next one, made while the engine thinks */
	bool paused;			/* children are not read from */
	bool changed;			/* some call was not a probe: sync at the end */
	struct streams *streams;
	struct direct *directs;		/* direct streams that are being made */
	pid_t door;			/* whose /proc/PID/exe can be executed */
	char build[65];			/* SHA-256 of our own file */
};

/* Serve until BYE, end of file or silence; children are stopped, file systems
 * synced. The exit status. */
int serve(const struct serve_options *o);

/* serve.c, for step.c */
void agent_send(struct agent *a, enum frame_type type, uint32_t step,
		const json_t *body);
void agent_step_over(struct agent *a);	/* a step is gone: perhaps the end is near */

/* step.c */
void step_run(struct agent *a, const struct frame *f);
void step_ack(struct agent *a, const struct frame *f);
void step_stop(struct agent *a, const struct frame *f);
/* {"pace": {send, read}}: how fast its stream may go from now on. */
void step_pace(struct agent *a, const struct frame *f);
void step_stop_all(struct agent *a);
void step_pause_all(struct agent *a, bool pause);	/* stop or go on reading */
/* A stream for step `id` is here now. */
void step_stream_came(struct agent *a, uint32_t id);
/* Children have ended: reap all of them. */
void step_reap(struct agent *a);

/* direct.c: a STREAM frame: {"listen": {address, from, to, key, wait_ms}}, {"connect":
 * {address, port, key, wait_ms}}, {"join": the other step, here too} or {"drop": true}. The answers: {"port": n}, {"up": true,
 * paths, rtt_ms, strangers}, {"error": text}. */
void direct_frame(struct agent *a, const struct frame *f);
void directs_free(struct agent *a);

/* self.c */
int self_check(struct agent *a);	/* -1: told on stderr */
void self_confine(struct agent *a);	/* no core, no ptrace; the door */
json_t *self_hello(const struct agent *a);
void self_sync(void);			/* with a deadline, frozen file systems in mind */

#endif
