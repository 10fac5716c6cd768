/* SPDX-License-Identifier: Apache-2.0
 * qmp - talk to a running QEMU through its monitor socket.
 */
#ifndef DROVER_QMP_H
#define DROVER_QMP_H

#include "engine/base/json.h"

#include <stdbool.h>
#include <stdint.h>

struct qmp;

/* Connect, greet, negotiate; waits at most timeout_ms for the socket. NULL with e. */
struct qmp *qmp_open(const char *path, unsigned timeout_ms, struct err *e);
void qmp_free(struct qmp *q);		/* NULL is harmless */
/* One command; `args` is stolen (may be NULL). Its "return" goes to *out (owned;
 * out may be NULL). Events that come meanwhile are dropped. */
int qmp_call(struct qmp *q, const char *command, json_t *args, json_t **out,
	     struct err *e);
/* Does QEMU still answer? False once it has ended. */
bool qmp_alive(struct qmp *q);
/* Does it have the file open as a disk? 1, 0, -1 with e. */
int qmp_uses(struct qmp *q, const char *path, struct err *e);
/* Merge what `node`'s file `top` holds into its backing file `base`, while the
 * machine runs, and let it go on from the base. tick (may be NULL) is told bytes
 * done and total; it returns false to give up. */
int qmp_commit(struct qmp *q, const char *node, const char *base_path,
	       bool (*tick)(void *arg, uint64_t done, uint64_t total), void *arg,
	       struct err *e);

#endif
