/* SPDX-License-Identifier: Apache-2.0
 * sshd - a private OpenSSH server on loopback, with keys of its own, for one test
 * program. Needs root and /usr/sbin/sshd.
 */
#ifndef DROVER_TEST_SSHD_H
#define DROVER_TEST_SSHD_H

#include "engine/base/json.h"

#include <sys/types.h>

struct sshd {
	char *dir;		/* everything of it, under /tmp/drover-test.* */
	int port;
	pid_t pid;
	char *host_key;		/* "ssh-ed25519 AAAA..." without a comment */
	char *identity;		/* the private key that may log in */
	char *known_hosts;	/* a file that lists host_key */
};

/* extra: further lines for sshd_config, or NULL. NULL when it cannot be started. The
 * server has a mount namespace of its own, in which there is a user "drover" (bash, home
 * in `dir`, sudo password "secret"); prepare (may be NULL) can change more of it. */
struct sshd *sshd_start(const char *extra, void (*prepare)(const struct sshd *s));
/* For prepare(): let a text stand at an existing path, inside the namespace. */
void sshd_overlay(const struct sshd *s, const char *path, const char *text, mode_t mode);
void sshd_stop(struct sshd *s);		/* with all its sessions; NULL is harmless */
/* A plan's host spec for logging in as `user`. Caller owns. */
json_t *sshd_spec(const struct sshd *s, const char *name, const char *user);
/* Write a text file in its directory; the path, caller frees. */
char *sshd_file(const struct sshd *s, const char *name, const char *text);

#endif
