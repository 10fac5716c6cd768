/* SPDX-License-Identifier: Apache-2.0
 * run/hosts - connections to hosts, and where a step's calls go.
 */
#ifndef DROVER_RUN_HOSTS_H
#define DROVER_RUN_HOSTS_H

#include "engine/run/priv.h"

/* ---- connections ------------------------------------------------------------------- */

struct run_host;
void hosts_init(struct run *r);
/* Start `c` on the host once it is ready. When it cannot be made ready, a result of
 * kind "down" comes. Never calls back from inside. */
void hosts_start(struct run *r, uint32_t host, struct call *c);
void hosts_stop_call(struct run *r, uint32_t host, struct call *c);
/* Off with a call that was started ahead. */
void hosts_go(struct run *r, uint32_t host, struct call *c);
/* How fast the call may send and read from now on; told to the host if it runs. */
void hosts_pace(struct run *r, uint32_t host, struct call *c, struct pace_rates pace);
/* Is it connected; and since which boot of its kernel (NULL: not, or it does not say)? */
bool hosts_up(const struct run *r, uint32_t host);
const char *hosts_boot(const struct run *r, uint32_t host);
/* It is asked in the hope that nobody answers: even when it was given up it is tried anew,
 * and that it is down is told as being off. Until told otherwise. */
void hosts_hope_silent(struct run *r, uint32_t host, bool hope);
/* Since then somebody there has proven to be it, whatever became of the connection. */
bool hosts_met(const struct run *r, uint32_t host);
void hosts_ack(struct run *r, uint32_t host, struct call *c, int64_t ack, bool answer);
/* Close all; turns the loop until they are closed or five seconds are over. */
void hosts_close(struct run *r);
void hosts_free(struct run *r);

/* ---- who is said to be off --------------------------------------------------------- */

enum alive {
	ALIVE_SILENT,		/* no answer, for some seconds */
	ALIVE_KEY,		/* its SSH server is there */
	ALIVE_AGENT,		/* an agent answers */
};
/* Ask the host once more; told() comes from the loop, in a few seconds at most, with the
 * boot of the kernel that answered (NULL: not known). */
void alive_ask(struct run *r, uint32_t host,
	       void (*told)(void *arg, enum alive how, const char *boot), void *arg);
void alive_free(struct run *r);		/* of a run that is over, after hosts_free() */

/* ---- places ------------------------------------------------------------------------ */

struct place_end {
	uint32_t host;			/* index; UINT32_MAX: in the engine */
	const char *role;		/* "source" "target" "fence" or the host's name */
};
/* Where the step's calls go; 1 or 2, or -1 with e. `args` may be NULL when the far
 * end is not yet known: the target host then. */
int place_ends(const struct run *r, const struct mach *m, const struct plan_step *s,
	       const json_t *args, struct place_end out[2], struct err *e);
/* A word of `at:` as a host: "source", "target", "fence", a host's name. */
int place_word(const struct run *r, const struct mach *m, const char *at,
	       struct place_end *out, struct err *e);

#endif
