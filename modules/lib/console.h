/* SPDX-License-Identifier: Apache-2.0
 * console - wait until a machine that was started says, on its serial console or
 * by an open port, that it is up.
 */
#ifndef DROVER_CONSOLE_H
#define DROVER_CONSOLE_H

#include "modules/module.h"

#include <regex.h>

struct console_wait {
	const char *socket;	/* its serial console's UNIX socket, or NULL */
	const char *log;	/* or a file that its console is written to, or NULL */
	const char *pattern;	/* extended regular expression, or NULL: do not ask */
	const char *address;	/* IPv4 or IPv6, for `port` */
	int port;		/* 0: do not ask */
	int netns;		/* the port is asked from this namespace; -1: ours */
	uint64_t timeout_ms;
	/* Still running? NULL: not asked. */
	bool (*alive)(void *arg);
	void *arg;
	bool knock;		/* it may be up already: a newline brings the prompt again */
	bool cont;		/* `monitor`: let the machine go once we listen */
	const char *monitor;	/* its QMP socket, for cont */
};

/* Both pattern and port, where both are given, must be met. The console's text
 * becomes evidence "console" in any case. 0 when up; -1 (told): time is up, the
 * machine ended, or its console says that it cannot boot. */
int console_wait(struct ctx *c, const struct console_wait *w);
/* -1 (told) when the pattern is no regular expression or address is missing. */
int console_check(struct ctx *c, const char *pattern, const char *address, int port);
/* "10.1.0.5/24" -> "10.1.0.5" in out. False: no address. */
bool console_address(const char *cidr, char out[64]);
/* What the console says of a machine that will never come up; NULL: nothing yet. */
const char *console_bad_sign(const char *text);

#endif
