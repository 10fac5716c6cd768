/* SPDX-License-Identifier: Apache-2.0
 * track_priv - what the files of track share; nobody else includes it.
 *
 *   track.c          the step's side: start, take, confirm, end
 *   track_changes.c  what was written, in granules
 *   track_fs.c       devices, tracefs, and the events' format
 *   track_dog.c      the tracker
 */
#ifndef DROVER_TRACK_PRIV_H
#define DROVER_TRACK_PRIV_H

#include "engine/base/io.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that one bit stands for, of a disk of that size. */
uint64_t track_granule(uint64_t size);

/* ---- devices ------------------------------------------------------------------ */

struct track_dev {
	uint32_t dev;		/* of the whole disk, as the kernel writes it in events */
	uint32_t pad;
	uint64_t start, size;	/* of what is copied, in bytes of the whole disk */
	uint64_t seq;		/* the kernel's number of this device; 0: it has none */
};
/* NULL with *d filled, or why its writes cannot be traced. */
const char *track_dev_of(const char *path, struct track_dev *d);

/* ---- tracefs ------------------------------------------------------------------- */

#define TRACK_EVENTS 2

struct track_event {		/* where the fields of a kind of event are */
	uint16_t id;
	uint16_t dev, sector, sectors;	/* offsets */
	uint16_t rwbs, letters;	/* a text: what kind of request it is; letters 0: none */
	uint16_t size;		/* at least so long */
};

struct track_cpu {
	unsigned cpu;
	int pipe;		/* trace_pipe_raw, not blocking */
	int stats;
	uint64_t lost;		/* events, by the last look */
};

struct track_trace {
	int instances;		/* the directory that ours is in */
	char *name;		/* of ours; owned */
	struct track_event events[TRACK_EVENTS];
	struct track_cpu *cpus;	/* owned */
	size_t cpu_count;
};

/* tracefs, where it is mounted, else mounted nowhere; -1. */
int track_fs_open(void);
/* Has it the events that we need? */
bool track_fs_usable(int root);
/* Make the instance and let it collect writes of these devices. -1 with e, and nothing
 * is left. */
int track_fs_make(int root, const char *name, const struct track_dev *devs, size_t n,
		  struct track_trace *t, struct err *e);
/* Close all of it; the instance stays. */
void track_fs_close(struct track_trace *t);
/* Remove an instance that nobody reads. 0 also when there is none; -1 with errno. */
int track_fs_remove(int root, const char *name);

/* ---- the tracker ----------------------------------------------------------------- */

#define TRACK_MAGIC 0x4452544bu
#define TRACK_VERSION 2u	/* an older tracker understands `end`, nothing else */
#define TRACK_NAME_MAX 72

enum track_op { TRACK_END = 1, TRACK_STATE, TRACK_TAKE, TRACK_CONFIRM, TRACK_ANCHOR, TRACK_BACK,
		TRACK_REBASE };

struct track_ask {
	uint32_t magic, version, op, pad;
	char disk[TRACK_NAME_MAX];
	struct track_dev at;
	uint8_t root[SHA256_LEN];	/* confirm, anchor, rebase */
	uint64_t keep_ms;		/* 0: as it was */
	uint8_t from[SHA256_LEN];	/* rebase */
};

enum { TRACK_GAP_NEW = 1, TRACK_GAP_LOST = 2 };	/* why all counts as written */

struct track_told {		/* take: the bits follow */
	uint32_t magic, ok;	/* not ok: it does not follow this disk */
	uint32_t gap, pad;
	uint64_t granule, count;
	uint64_t set;		/* granules written */
	uint8_t base[SHA256_LEN];
};

struct track_disk {
	char name[TRACK_NAME_MAX];
	struct track_dev at;
	uint64_t granule, count;
	uint8_t *since;		/* written since the last take; owned */
	uint8_t *taken;		/* taken and not confirmed; owned */
	uint32_t gap_since, gap_taken;
	uint8_t base[SHA256_LEN];	/* the copy that these are relative to */
	uint8_t *all;		/* written since the anchor, whatever was taken; owned */
	uint32_t gap_all;
	bool anchored;
	uint8_t anchor[SHA256_LEN];	/* a copy to which passes may go back */
};

struct track_dog {
	struct track_trace trace;
	struct track_disk *disks;
	size_t disk_count;
	int listener;
	uint64_t keep_ms;
};
/* Its whole life, in a process of its own. */
_Noreturn void track_dog(struct track_dog *d);

#endif
