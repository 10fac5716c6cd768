/* SPDX-License-Identifier: Apache-2.0
 * guestlook - read a guest's system out of its files: what it is, its kernels, its
 * boot loader, what it starts.
 */
#ifndef DROVER_GUESTLOOK_H
#define DROVER_GUESTLOOK_H

#include "modules/lib/gtree.h"

json_t *guestlook_os(struct gtree *t);		/* {id, version, name, family} */
/* [{version, image, initrd, modules[], virtio: true|false|null, sata, missing[], why}],
 * newest first; virtio is whether a disk and bus driver for it is in the initramfs or
 * built in, null (with why) when that cannot be told. `sata` is the same for AHCI. */
json_t *guestlook_kernels(struct gtree *t);
/* {loader, config, configs[], cmdline} */
json_t *guestlook_boot(struct gtree *t);
json_t *guestlook_services(struct gtree *t);	/* enabled units, sorted */
json_t *guestlook_crypttab(struct gtree *t);	/* [{line, name, device}] */
/* Configuration files of all boot loaders that are there, absolute; owned array. */
json_t *guestlook_boot_configs(struct gtree *t);

#endif
