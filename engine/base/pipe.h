/* SPDX-License-Identifier: Apache-2.0
 * pipe - bytes to and from somebody else, waited for: a socket as it is, or what is laid
 * over one. One thread may write while another reads; neither is for two at a time.
 */
#ifndef DROVER_PIPE_H
#define DROVER_PIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct pipe;

/* What lies over the descriptor. Blocking; errno tells why it is -1. */
struct pipe_ops {
	ssize_t (*read)(struct pipe *p, void *buf, size_t n);	/* some; 0: the end */
	ssize_t (*writev)(struct pipe *p, const struct iovec *v, int n);	/* some */
	bool (*pending)(struct pipe *p);	/* there is something that poll(2) cannot see */
	void (*end)(struct pipe *p);		/* nothing more will be written */
	void (*finish)(struct pipe *p);		/* end, and wait until all of it is across */
};

struct pipe {
	const struct pipe_ops *ops;
	int fd;			/* what poll(2) looks at; shutdown(2) of it ends all waiting */
};

/* A socket as it is. Whole chunks of a disk may wait in it, so that both ends take turns
 * less often. The descriptor stays the caller's. */
void pipe_of_socket(struct pipe *p, int fd);
/* Whether that is what it is: nothing lies between. */
bool pipe_is_socket(const struct pipe *p);

ssize_t pipe_read(struct pipe *p, void *buf, size_t n);
/* 1: all n bytes; 0: the end before the first; -1 with errno (EPIPE: the end came in the
 * middle). */
int pipe_read_full(struct pipe *p, void *buf, size_t n);
int pipe_write_full(struct pipe *p, const void *buf, size_t n);
/* All of them, at most PIPE_PARTS; 0, or -1 with errno. */
#define PIPE_PARTS 4
int pipe_writev_full(struct pipe *p, const struct iovec *v, int n);
/* 1: readable, or ended; 0: ms went by; -1: of no use any more. */
int pipe_wait(struct pipe *p, int ms);
/* Nothing more will be written: the other end reads the end. Lets go of a writer who
 * waits. */
void pipe_end(struct pipe *p);
/* Before the process ends: what was written gets across, if that takes no longer than
 * PIPE_FINISH_MS. */
#define PIPE_FINISH_MS 5000
void pipe_finish(struct pipe *p);

#endif
