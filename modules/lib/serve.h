/* SPDX-License-Identifier: Apache-2.0
 * serve - the three ways in which a target machine is kept running on its host:
 * libvirt, a systemd unit, a QEMU process of its own. Which one is a table.
 */
#ifndef DROVER_SERVE_H
#define DROVER_SERVE_H

#include "modules/module.h"

struct serve_way {
	const char *name;		/* as target.start says it */
	bool (*usable)(void);		/* does this host have it? */
	bool (*known)(const json_t *def);	/* is it registered there? */
	bool (*running)(const json_t *def);
	/* Register what the definition says, instead of what was; no start. */
	int (*define)(struct ctx *c, const json_t *def);
	/* Register and start; what is left of an earlier attempt is fine. What it
	 * makes is entered in the ledger, lasting. 0, -1 (told). */
	int (*begin)(struct ctx *c, const json_t *def);
	/* Power off (orderly for grace_ms, then at once) and take away what begin made.
	 * Fine when nothing is there. 0, -1 (told). */
	int (*end)(struct ctx *c, const json_t *def, unsigned grace_ms);
	const char *lacks;		/* what is missing where it is not usable */
	bool log;			/* its console goes to a file, not to a socket */
	bool paused;			/* begin leaves it paused, so that nothing its
					   console says is missed: `cont` lets it go */
};

/* By target.start: "libvirt", "systemd", "qemu"; "auto" takes the first that the
 * host has. NULL (told): no such way here. */
const struct serve_way *serve_way(struct ctx *c, const char *wanted);
/* Why it cannot be started by `wanted`, whatever the host has; NULL: it can. Owned. */
char *serve_refused(const json_t *def, const char *wanted);
#define SERVE_REFUSED_HINT "say `start: systemd` or `start: qemu` in the plan's target, or give " \
	"its disks another format"
/* The way in which it is registered on this host; NULL: in none. */
const struct serve_way *serve_found(const json_t *def);
/* The bridge of a libvirt network of this host; what is none stays as it is. Caller
 * frees. */
char *serve_bridge(const char *network);
/* Started by `wanted`, would it meet another machine of its name in libvirt? */
bool serve_taken(const json_t *def, const char *wanted);
/* The file that libvirt writes the console to. Caller frees. */
char *serve_log(const json_t *def);
/* The systemd unit of a definition; caller frees. */
char *serve_unit(const json_t *def);
/* Bytes that the target's overlays occupy now. */
int64_t serve_allocated(const json_t *def);

#endif
