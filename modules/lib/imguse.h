/* SPDX-License-Identifier: Apache-2.0
 * imguse - who uses an image file of this host: a process that has it open or mapped, a
 * loop device that stands on it (and so whatever is mounted from that), or somebody out
 * of sight who holds a lock on it.
 */
#ifndef DROVER_IMGUSE_H
#define DROVER_IMGUSE_H

/* "process 4711 (qemu-system-x86)"; NULL: nobody does. What cannot be looked at is used by
 * "nobody knows whom: ...". Caller frees. */
char *imguse_who(const char *path);

#endif
