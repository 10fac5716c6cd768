/* SPDX-License-Identifier: Apache-2.0
 * ssh - the way to a host through libssh: one session for the whole run, one state
 * machine for each host, one ssh_event for each session, so that a dying session
 * harms nobody.
 *
 *   ssh.c        host_ops, the state machine     ssh_chan.c    exec channels, sudo
 *   ssh_net.c    names, addresses, proxies       bootstrap.c   the agent into memory
 *   ssh_target.c where to, and as whom           sshconfig.c   ~/.ssh/config, for its words
 *   ssh_auth.c   the host's key, and ours        knownhosts.c  keys of hosts
 *   ssh_stream.c streams of two-ended steps      limit.c       handshakes at once
 */
#ifndef DROVER_SSH_H
#define DROVER_SSH_H

#include "engine/host/host.h"
#include "engine/host/link.h"
#include "engine/base/mem.h"

#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <stdbool.h>

#define SSH_CONNECT_MS 15000	/* name, address, TCP */
#define SSH_LOGIN_MS 30000	/* key exchange and authentication */
#define SSH_START_MS 60000	/* from the shell to the agent's hello */
#define SSH_CHUNK (256u << 10)	/* handed to libssh at once */

enum ssh_state {
	SSH_IDLE,
	SSH_WAITING,		/* for its turn to connect */
	SSH_CONNECTING,
	SSH_KEYS,		/* key exchange, host key */
	SSH_AUTH,
	SSH_STARTING,		/* the shell command that becomes the agent */
	SSH_UP,
	SSH_DEAD,		/* nothing may touch the session any more */
};

struct net;
struct chan;
struct limit_slot;
struct known_result;

/* Where to and as whom, from the plan and ~/.ssh/config. */
struct ssh_target {
	char *alias;		/* as the plan says */
	char *host, *user;
	int port;
	char *proxy;		/* a ProxyCommand with its %h %p %r filled in; NULL */
	char *known_hosts;	/* the plan's own file, or NULL */
	char *user_known_hosts;	/* ~/.ssh/known_hosts or what the configuration says */
	char *identity;		/* the plan's own key file, or NULL */
	char *config_identity;	/* the configuration's, or NULL */
	bool sudo;
	const char *sudo_password;	/* the owner's (host.h, secret); NULL: none is needed */
};

struct sshost {
	struct host *host;
	struct link *link;
	json_t *spec;
	enum ssh_state state;
	struct ssh_target to;
	ssh_session session;
	ssh_event event;
	int fd;			/* ours: libssh does not close what it was handed */
	struct loop_fd *handle;
	struct loop_timer *deadline, *again;
	struct net *net;
	struct limit_slot *slot;
	struct str tried;	/* what authentication tried, for the error */
	int method;		/* which of them is under way */
	ssh_key key;		/* while it is being tried */
	struct chan *control;
	struct chan *chans;	/* all of them */
	char nonce[33];
	bool polling;		/* inside libssh: nothing may be freed or written */
	bool nested;		/* inside a call of ours that libssh polls in: data is
				   only noted, so that nobody is called back meanwhile */
	bool active;		/* libssh called back: another turn is due */
	bool turning;		/* inside our own turn: nothing may be freed */
	struct err why;		/* the reason to end, once there is one */
	const char *blob;	/* the agent's bytes, as the host takes them; NULL: it has
				   not said yet. Borrowed */
	size_t size, sent;	/* of these */
	struct str start_noise;	/* before the start command's answer */
};

/* ssh.c: the session is of no use any more. Takes e; safe inside callbacks. */
void sshost_fail(struct sshost *s, struct err *e);
/* Drive the session on the loop's next turn. */
void sshost_again(struct sshost *s);

/* ---- ssh_net.c ------------------------------------------------------------------- */

/* Connect; exactly one of the two is called, from the loop, unless net_free() came
 * before. The descriptor is the callee's. */
struct net *net_connect(struct loop *loop, const struct ssh_target *to,
			void (*done)(void *arg, int fd),
			void (*failed)(void *arg, struct err *e),
			void (*words)(void *arg, const void *p, size_t n), void *arg);
/* Hand on what a proxy has said by now. */
void net_drain(struct net *n);
void net_free(struct net *n);		/* NULL is harmless; ends a proxy, too */

/* ---- limit.c --------------------------------------------------------------------- */

#define LIMIT_TOTAL 32
#define LIMIT_TARGET 8
/* Wait for a turn to shake hands with `target`: go() is called from the loop. */
struct limit_slot *limit_acquire(struct loop *loop, const char *target,
				 void (*go)(void *arg), void *arg);
void limit_release(struct limit_slot *slot);	/* also one that still waits; NULL ok */

/* ---- ssh_target.c ---------------------------------------------------------------- */

int ssh_target_read(struct sshost *s, struct err *e);	/* fills s->to, session options */
void ssh_target_clear(struct ssh_target *t);
/* Look for the host in its files of known keys: for this key, or with NULL for what types
 * they list; the answer is added to *r. */
void ssh_target_scan(const struct ssh_target *t, struct known_result *r, const char *type,
		     const char *key);
char *ssh_home(void);	/* of whom we run as; the caller frees it */

/* ---- ssh_auth.c ------------------------------------------------------------------ */

/* The host key against our own pass over the files. -1 with e; what --pin needs is
 * in host->hello.hostkey then. */
int ssh_check_host_key(struct sshost *s, struct err *e);
/* 1 logged in, 0 not yet, -1 with e. */
int ssh_auth_step(struct sshost *s, struct err *e);

/* ---- ssh_chan.c ------------------------------------------------------------------ */

struct chan_ops {
	/* Bytes from the far side's stdout; how many were taken. The rest stays and
	 * is read with chan_read(). May be called with more of the same. */
	size_t (*data)(struct chan *c, const void *p, size_t n);
	void (*words)(struct chan *c, const void *p, size_t n);	/* its stderr */
	/* Called after libssh had its turn: read what is left, write what waits. */
	void (*turn)(struct chan *c);
	/* The far side has ended, or the channel could not be had (failed is set). */
	void (*end)(struct chan *c);
};

struct chan {
	struct chan *next;
	struct sshost *host;
	ssh_channel ch;
	enum { CHAN_OPENING, CHAN_ASKING, CHAN_RUNS, CHAN_ENDED } state;
	char *command;
	const struct chan_ops *ops;
	void *arg;
	struct ssh_channel_callbacks_struct cb;
	bool opened;		/* the channel is; the command may not run yet */
	size_t waiting;		/* bytes that data() left in libssh's buffer */
	bool pulls;		/* its owner reads them itself, in its turn */
	bool eof, closed;	/* the far side's doing */
	bool eof_sent;
	bool dead;		/* freed when libssh is not running */
	bool end_told;
	int status;		/* the exit status; -1: not told */
	const char *failed;	/* why it could not be had, or NULL */
	struct str words;	/* stderr, while a password prompt is looked for */
	int prompted;		/* times sudo asked */
	bool spoke;		/* something came on stdout: sudo has let it through, and what
				   looks like its prompt from now on is none */
};

/* Run a command as the host's become says; `tail` is a shell command that needs no
 * quoting beyond what the caller did. */
struct chan *chan_new(struct sshost *s, const char *tail, const struct chan_ops *ops,
		      void *arg);
void chan_free(struct chan *c);		/* when the session is freed */
void chan_close(struct chan *c);	/* any time; ops are not called any more */
void chan_step(struct chan *c);
size_t chan_write(struct chan *c, const void *p, size_t n);
ssize_t chan_read(struct chan *c, void *buf, size_t n);	/* 0 none, -1 end */
void chan_send_eof(struct chan *c);

/* ---- bootstrap.c ----------------------------------------------------------------- */

void bootstrap_begin(struct sshost *s);		/* opens s->control */

/* ---- ssh_stream.c ---------------------------------------------------------------- */

/* A stream of a call, as relay.h's party.open wants it; arg is the sshost. */
void ssh_stream_open(void *arg, uint32_t id, struct relay *r, int end);
/* The session ends: tell the relay of every stream. */
void ssh_streams_lost(struct sshost *s);

#endif
