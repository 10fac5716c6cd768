/* SPDX-License-Identifier: Apache-2.0
 * tools - the table of external programs and their Debian packages.
 */
#include "modules/lib/tools.h"

#include <stddef.h>
#include <string.h>

const struct tool tools[] = {
	{ "blkid", "util-linux" },
	{ "blockdev", "util-linux" },
	{ "bridge", "iproute2" },
	{ "cp", "coreutils" },
	{ "debugfs", "e2fsprogs" },
	{ "dumpe2fs", "e2fsprogs" },
	{ "e2fsck", "e2fsprogs" },
	{ "findmnt", "util-linux" },
	{ "fsfreeze", "util-linux" },
	{ "fuse2fs", "fuse2fs" },
	{ "fusermount", "fuse3" },
	{ "fusermount3", "fuse3" },
	{ "guestfish", "libguestfs-tools" },
	{ "guestmount", "guestmount" },
	{ "ip", "iproute2" },
	{ "ipmitool", "ipmitool" },
	{ "losetup", "mount" },
	{ "lsblk", "util-linux" },
	{ "lvs", "lvm2" },
	{ "lvchange", "lvm2" },
	{ "lvcreate", "lvm2" },
	{ "lvextend", "lvm2" },
	{ "lvremove", "lvm2" },
	{ "mount", "mount" },
	{ "nbdcopy", "libnbd-bin" },
	{ "nbdfuse", "libnbd-bin" },
	{ "nbdinfo", "libnbd-bin" },
	{ "nsenter", "util-linux" },
	{ "ntfs-3g", "ntfs-3g" },
	{ "qemu-img", "qemu-utils" },
	{ "qemu-io", "qemu-utils" },
	{ "qemu-nbd", "qemu-utils" },
	{ "qemu-storage-daemon", "qemu-system-common" },
	{ "qemu-system-aarch64", "qemu-system-arm" },
	{ "qemu-system-x86_64", "qemu-system-x86" },
	{ "sfdisk", "fdisk" },
	{ "ss", "iproute2" },
	{ "systemctl", "systemd" },
	{ "systemd-run", "systemd" },
	{ "tune2fs", "e2fsprogs" },
	{ "udevadm", "udev" },
	{ "umount", "mount" },
	{ "unshare", "util-linux" },
	{ "vgs", "lvm2" },
	{ "virsh", "libvirt-clients" },
	{ "virt-v2v", "virt-v2v" },
	{ "zstd", "zstd" },
	{ NULL, NULL },
};

const char *tool_package(const char *name)
{
	for (const struct tool *t = tools; t->name; t++)
		if (strcmp(t->name, name) == 0)
			return t->package;
	return NULL;
}
