/* SPDX-License-Identifier: Apache-2.0
 * lvm - LVM's own programs, and what they report.
 */
#ifndef DROVER_LVM_H
#define DROVER_LVM_H

#include "engine/base/err.h"
#include "engine/base/json.h"

#include <stdbool.h>
#include <stdint.h>

/* What every program is given that must not write to the host's files: LVM's own copies of
 * a group's description in /etc/lvm. */
#define LVM_NO_FILES "--config=backup { backup = 0 archive = 0 }"

/* Run one. What it says itself is the error. `vg` is the group that it is about; NULL: all. */
int lvm_run(const char *vg, const char *const *argv, struct err *e);
/* The same, of what must not be cut off: LVM stops a volume for a moment to make a snapshot of
 * it or to take one away, and killed just then it would leave it stopped. It goes on to its
 * end, however long that takes, when the caller is killed. */
int lvm_change(const char *vg, const char *const *argv, struct err *e);
/* The rows of a report, {"report": [{KIND: [...]}]}. Owned; NULL with e. */
json_t *lvm_report(const char *const *argv, const char *kind, const char *vg, struct err *e);
/* LVM writes its numbers as text: "4194304". */
uint64_t lvm_number(const json_t *row, const char *key);
/* Of a list of tags, "a,b". */
bool lvm_has_tag(const char *tags, const char *tag);

#endif
