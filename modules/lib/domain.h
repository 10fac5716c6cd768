/* SPDX-License-Identifier: Apache-2.0
 * domain - what libvirt knows of a machine, in the words of a plan.
 *
 *     { "disks": { "vda": { "image": "/srv/x.qcow2", "format": "qcow2" },
 *                  "vdb": { "path": "/dev/vg/data" } },
 *       "nics": [{ "mac": "52:54:00:...", "network": "br0", "driver": "virtio" }],
 *       "firmware": "uefi", "arch": "x86_64", "cpus": 2, "memory": 1073741824,
 *       "clock": "utc" }
 *
 * A disk that lies in a libvirt pool has also "store", the pool's name. Of a volume that is
 * named by its pool domain_read() knows no more than {"store", "volume", "format"}; domain_ask()
 * asks where it is.
 *
 * Disks are called as their domain calls them (its targets), in its order. Drives for
 * removable media are left out. `network` is a bridge or a libvirt network, or null.
 */
#ifndef DROVER_DOMAIN_H
#define DROVER_DOMAIN_H

#include "engine/base/err.h"
#include "engine/base/json.h"

#include <stdbool.h>

/* What virsh takes for a domain's name or uuid, and for nothing else: a number would be
 * another domain's id, a dash an option. */
bool domain_name_ok(const char *name);
#define DOMAIN_NAME_HINT \
	"a name that is a number means another domain to virsh: say its UUID instead"

/* Ask libvirt on this host, for the definition that lasts: it is the same whether the
 * domain runs or not. Owned; NULL with e. */
json_t *domain_ask(const char *name, struct err *e);
/* The same of a definition's text. */
json_t *domain_read(const char *name, const char *xml, size_t n, struct err *e);
/* Its NICs as the fact `machine` has them, by the plan's names. One that the plan does not
 * tell apart (by its MAC, or as the only one) is called nic0, nic1 ... and `named` is
 * false: what the guest calls it is not known. Owned. */
json_t *domain_nics(const json_t *domain, const json_t *spec);

#endif
