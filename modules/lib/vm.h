/* SPDX-License-Identifier: Apache-2.0
 * vm - the target machine as a definition: from what the source is and what the
 * plan wants, to a libvirt domain and an equivalent QEMU command line.
 *
 * A definition is JSON (fact `definition` without its two texts):
 *
 *   { "name", "uuid", "arch": "x86_64", "machine": "q35"|"pc", "accel": "kvm"|"tcg",
 *     "firmware": "bios"|"uefi", "cpus", "memory" (bytes), "clock": "utc"|"localtime",
 *     "disks": [{"name", "path", "format", "base", "base_format", "bus": "virtio"|"sata",
 *                "block" (true: `path` is a block device; absent: a file)}],
 *     "nics": [{"name", "mac", "network", "model": "virtio"|"e1000", "tap",
 *              "address" ("10.1.0.5/24") and "gateway" where they are known}],
 *     "dir", "console", "monitor", "vars" (UEFI's variables; absent: beside its first disk) }
 *
 * The first disk is the one it boots from. `path` is the overlay that the target
 * serves from, `base` what it stands on. `dir` is where its sockets are at run time.
 */
#ifndef DROVER_VM_H
#define DROVER_VM_H

#include "engine/base/json.h"

#include <stdbool.h>

struct vm_from {
	const json_t *machine;	/* the spec */
	const json_t *fact;	/* fact `machine`; NULL: only what the plan says */
	const json_t *guest;	/* fact `guest`; NULL: not known */
	const json_t *disks;	/* fact `disks`; NULL: places as layout.h says */
	const char *lineage;	/* of the state: makes the uuid this plan's own */
	bool kvm;		/* the target host proved its accelerator */
};

/* Owned; NULL with e when the plan and the facts do not make a machine. Names of
 * source NICs that no network was given for are appended to `left_out`. */
json_t *vm_define(const struct vm_from *from, json_t *left_out, struct err *e);

/* The libvirt domain; caller frees. */
char *vm_xml(const json_t *def);

/* How one run of it differs from the definition. */
struct vm_run {
	const char *accel;	/* "kvm" or "tcg"; NULL: the definition's */
	const char *dir;	/* its run-time directory; NULL: the definition's */
	const char *vars;	/* UEFI: the variables file; NULL: beside the disks */
	const json_t *disks;	/* {NAME: path of a qcow2 to use instead}; NULL: none */
	int64_t cpus, memory;	/* 0: the definition's */
	bool paused;		/* wait for `cont` */
};

/* The QEMU command line, an array of strings; owned. */
json_t *vm_argv(const json_t *def, const struct vm_run *run);
/* What QEMU's programs take behind -blockdev, in JSON: no character of a path means
 * anything in it, as a comma does in an option of theirs. Steals `value`. Caller frees. */
char *vm_blockdev(const char *driver, const char *node, const char *protocol,
		  const char *path, const char *key, json_t *value);

/* "tap" name of a NIC on this host: at most 15 characters, from what it is for. */
void vm_tap_name(const char *prefix, const char *machine, const char *nic,
		 char out[16]);
/* The UEFI firmware of this host: code and template of variables. NULL: none. */
const char *vm_uefi_code(void);
const char *vm_uefi_vars(void);
/* Where the machine's own variables lie: beside its first disk. Caller frees. */
char *vm_uefi_file(const json_t *def);

#endif
