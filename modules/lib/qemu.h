/* SPDX-License-Identifier: Apache-2.0
 * qemu - start and end a machine as a plain QEMU process of this host.
 */
#ifndef DROVER_QEMU_H
#define DROVER_QEMU_H

#include "modules/lib/vm.h"
#include "modules/module.h"

/* Does this host's KVM run code, and at a machine's pace? /dev/kvm may open and
 * every guest hang nevertheless: a few million instructions in long mode must end in
 * time, or TCG it is. Costs a quarter of a second, or two where it is broken. */
bool qemu_kvm_works(void);

/* Make run->dir, and the UEFI variables where there are none, and start it on
 * its own in the network namespace netns_fd (-1: ours). Known by the marker
 * "<run->dir>/qemu.pid". 0 once its monitor answers; -1 (told). */
int qemu_launch(struct ctx *c, const json_t *def, const struct vm_run *run, int netns_fd);
/* The process of that run-time directory; 0: none. */
pid_t qemu_running(const char *dir);
/* End it and take its run-time directory away: orderly first, where power_down_ms
 * is not 0, then at once. 0; -1 (told) when it cannot be ended. */
int qemu_end(struct ctx *c, const char *dir, unsigned power_down_ms);

/* Ask its system to end, and wait for that at most so long. */
void qemu_power_down(const char *dir, unsigned ms);

/* Program and arguments as proc_run wants them. The array is the caller's to free;
 * its strings are borrowed from the JSON. */
const char **qemu_argv(const json_t *argv);

#endif
