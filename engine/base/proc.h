/* SPDX-License-Identifier: Apache-2.0
 * proc - run a program by argv (never a shell), with a deadline and bounded
 * output. Blocking: for module children, tests and short helpers, never on the
 * engine's loop.
 */
#ifndef DROVER_PROC_H
#define DROVER_PROC_H

#include "engine/base/err.h"
#include "engine/base/mem.h"

#include <stdbool.h>
#include <sys/types.h>

struct proc {
	const char *const *argv;	/* NULL-terminated; argv[0] looked up in PATH */
	const char *const *env;		/* NULL: a small fixed environment, LC_ALL=C */
	const char *input;		/* stdin's content, or NULL: /dev/null */
	size_t input_len;
	unsigned timeout_ms;		/* 0: none */
	size_t max_output;		/* per stream; 0: 1 MiB; the rest is dropped */
	int netns_fd;			/* > 0: enter this network namespace first */
	bool (*stopped)(void *arg);	/* asked while it runs; true: it gets SIGTERM. NULL: never */
	void *arg;			/* for stopped */
	/* results */
	struct str out, err;		/* owned by the caller: proc_free() */
	int status;			/* exit status, or 128 + signal */
	bool timed_out;
};

/* 0 when it ran and exited 0. -1 with e when it could not be started, timed
 * out, or exited otherwise (the last lines of stderr are quoted). When it did
 * run, p->status, out and err are filled in either case. */
int proc_run(struct proc *p, struct err *e);
void proc_free(struct proc *p);
/* The last line that it wrote on stderr, from its first word on; "" when it wrote none.
 * Borrowed from p->err. */
const char *proc_last_line(const struct proc *p);
/* Where `name` is found in PATH plus the sbin directories; NULL if nowhere.
 * Caller frees. */
char *proc_which(const char *name);
/* "qemu-img convert -O raw 'a b' c": for reading, and quoted so that a POSIX shell takes it for
 * these words. Caller frees. */
char *proc_argv_text(const char *const *argv);

#endif
