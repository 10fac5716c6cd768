/* SPDX-License-Identifier: Apache-2.0
 * parttab - what lies on a disk: its partition table (MBR or GPT, own reading, so
 * that the same code serves devices and images), and what each partition holds.
 */
#ifndef DROVER_PARTTAB_H
#define DROVER_PARTTAB_H

#include "modules/lib/blkio.h"

#define PART_MAX 256		/* more partitions than that are not read */

/* Partition types that decide how a machine boots. */
#define GPT_BIOS_BOOT "21686148-6449-6e6f-744e-656564454649"
#define GPT_ESP "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
#define DOS_ESP "0xef"

enum table_kind { TABLE_NONE, TABLE_DOS, TABLE_GPT };
extern const char *const table_names[];		/* "none" "dos" "gpt" */

struct part {
	int number;		/* as Linux counts them, from 1 */
	uint64_t start, size;	/* bytes */
	char type[37];		/* "0x83", or the GUID in lower case */
	char partuuid[37];	/* PARTUUID= of this partition */
	char label[109];	/* GPT name in UTF-8; "" if none */
	bool active;		/* MBR's boot flag, or GPT's legacy bit */
};

struct parttab {
	enum table_kind kind;
	char id[37];		/* of the table; "" if none */
	bool backup;		/* GPT: read from the copy at the end of the disk */
	bool boot_code;		/* the first sector holds a boot loader */
	bool grub;		/* and that is GRUB's */
	struct part *parts;	/* owned, by number */
	size_t count, cap;
	uint32_t sector;	/* by which the table counts: 512 or 4096 */
};

#define AUTO_PARTTAB __attribute__((cleanup(parttab_free))) struct parttab

/* -1 with e when the disk cannot be read or its table contradicts itself; a disk
 * without a table is TABLE_NONE and no error. */
int parttab_read(const struct blk *b, struct parttab *t, struct err *e);
void parttab_free(struct parttab *t);

/* What a partition (or a whole disk) holds. */
struct fsinfo {
	char fs[24];		/* "ext4" "xfs" "swap" "vfat" "crypto_LUKS"
				   "LVM2_member" "linux_raid_member" ...; "" unknown */
	char uuid[40];		/* as `UUID=` names it; "" if none */
	char label[65];		/* "" if none */
	bool dirty;		/* its journal has to be replayed */
	bool blank;		/* its first MiB holds only zeroes */
};

/* Bytes that cannot be read count as unknown content. */
void fsinfo_read(const struct blk *b, struct fsinfo *f);
/* Has what lies there a journal to be replayed? No, of what cannot be read. */
bool fsinfo_dirty(struct disk *d, uint64_t start, uint64_t size);

#endif
