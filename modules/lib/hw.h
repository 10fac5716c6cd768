/* SPDX-License-Identifier: Apache-2.0
 * hw - what a running Linux host says of itself, from /proc and /sys.
 */
#ifndef DROVER_HW_H
#define DROVER_HW_H

#include "engine/base/json.h"

#include <stdint.h>

char *hw_line(const char *path);	/* the first line of a file; NULL; owned */
int hw_cpus(void);
/* What is built in, not what the kernel leaves free: whole MiB. */
uint64_t hw_memory(void);
const char *hw_arch(void);		/* "x86_64"; static storage of uname */
const char *hw_firmware(void);		/* "uefi" or "bios" */
char *hw_virtualization(void);		/* "kvm" "vmware" ... "none"; owned */
const char *hw_clock(void);		/* "utc" or "localtime", by /etc/adjtime */
json_t *hw_system(void);		/* {vendor, product, serial} by DMI */

/* [{name, mac, addresses[], gateway, mtu, driver}], by name. Hardware interfaces;
 * others (a namespace's veth) when `wanted`, an object by name, has them, or when
 * there is no hardware at all. Owned. */
json_t *hw_nics(const json_t *wanted);

#endif
