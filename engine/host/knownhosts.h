/* SPDX-License-Identifier: Apache-2.0
 * knownhosts - drover's own pass over known_hosts files. libssh takes a @revoked key
 * for a good one, and can be told by ssh_config to accept a changed one: so it is
 * not asked.
 */
#ifndef DROVER_KNOWNHOSTS_H
#define DROVER_KNOWNHOSTS_H

#include <stddef.h>

enum known {
	KNOWN_OK,		/* the key is listed for the host */
	KNOWN_UNKNOWN,		/* nothing is listed for it */
	KNOWN_CHANGED,		/* another key of the same type is */
	KNOWN_OTHER,		/* only keys of other types are */
	KNOWN_REVOKED,		/* this very key is @revoked */
	KNOWN_AUTHORITY,	/* only a @cert-authority line speaks of the host */
};

/* The best answer of all files, and where it stands. Start with zeros. */
struct known_result {
	enum known known;	/* by precedence: REVOKED, OK, CHANGED, OTHER, AUTHORITY */
	char file[256];		/* "" while nothing was found */
	unsigned line;		/* from 1 */
	char types[256];	/* key types listed for the host, comma separated */
	int seen;		/* lines that speak of the host */
};
#define KNOWN_START { .known = KNOWN_UNKNOWN }

/* Look through one file's text. type: "ssh-ed25519"; key: base64 as in the file; both
 * may be NULL to gather only `types`. Lines that make no sense are passed over. */
void known_scan(struct known_result *r, const char *file, const char *text, size_t n,
		const char *host, int port, const char *type, const char *key);
/* The same for the file itself; a missing one is as good as an empty one. */
void known_scan_file(struct known_result *r, const char *file, const char *host,
		     int port, const char *type, const char *key);
/* "host" or "[host]:port", as the files write it. */
void known_name(char *out, size_t size, const char *host, int port);

#endif
