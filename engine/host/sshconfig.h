/* SPDX-License-Identifier: Apache-2.0
 * sshconfig - what the OpenSSH configuration says of an alias: where to, as whom, through
 * what, with which key. libssh is not asked for these: once a HostName was seen it compares
 * later sections with that instead of the alias, and walks a chain of jumps from the wrong
 * end. What is asked for in vain is noted, for people.
 */
#ifndef DROVER_SSHCONFIG_H
#define DROVER_SSHCONFIG_H

#include "engine/base/json.h"

/* The first value of each, as in ssh; owned, NULL: not said. Start with zeros. */
struct sshconfig {
	char *host;			/* HostName, its %h filled in */
	char *user, *port, *identity, *known_hosts;
	char *proxy_jump, *proxy_command;	/* at most one of them */
	json_t *notes;			/* "~/.ssh/config:12: CertificateFile has no effect: ..." */
};

/* Read one file and what it includes; what an earlier file said stays. `shown` names it in
 * notes; relative includes start at `dir`. user: as whom, when the plan says; NULL: it does
 * not. `Match exec` is not asked: its section is passed over, with a note. A missing file
 * says nothing. */
void sshconfig_read(struct sshconfig *c, const char *file, const char *shown, const char *dir,
		    const char *alias, const char *user);
void sshconfig_clear(struct sshconfig *c);
/* The command whose standard input and output are the way through the jumps "a,b@c:22", with
 * %h and %p still in it. NULL: one of them is no plain name. Caller frees. */
char *sshconfig_jump_command(const char *jumps);

#endif
