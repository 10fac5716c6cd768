/* SPDX-License-Identifier: Apache-2.0
 * serve_priv - what the files of serve share; nobody else includes it.
 *
 *   serve.c          which way it is; the words that all have in common
 *   serve_libvirt.c  as a domain of this host's libvirt
 *   serve_systemd.c  as a unit
 *   serve_qemu.c     as a process of its own
 */
#ifndef DROVER_SERVE_PRIV_H
#define DROVER_SERVE_PRIV_H

#include "engine/base/mem.h"
#include "modules/lib/serve.h"

#define SERVE_TOOL_MS 60000

extern const struct serve_way serve_libvirt, serve_systemd, serve_qemu;

/* A program's run, for `ms` at most, with `input` (may be NULL) as its stdin; what it said
 * goes to out (may be NULL), which the caller owns. 0, -1 with e. */
int serve_ask(const char *const *argv, unsigned ms, const char *input, struct str *out,
	      struct err *e);
/* The same, for a minute, of one that is told all by its arguments. */
int serve_run(const char *const *argv, struct err *e);
const char *serve_name(const json_t *def);

#endif
