/* SPDX-License-Identifier: Apache-2.0
 * map_impl - the file of a map, as its two halves see it: what lies where and is written
 * how (map_file.c), and what it means (map.c).
 */
#ifndef DROVER_MAP_IMPL_H
#define DROVER_MAP_IMPL_H

#include "modules/lib/map.h"

#include <pthread.h>

#define PAGE 4096u
#define PAGES_AT (2 * PAGE)
#define ENTRIES 113u
#define CHECK_LEN 16u
#define BORN 64u

struct head {
	char magic[8];
	uint64_t number;	/* of this writing of the header */
	struct map_id id;
	uint32_t pass, generation, pass_begin, complete;
	uint64_t lo, hi;	/* chunks that may be half written in `generation` */
	uint8_t root[SHA256_LEN];
	uint8_t birth[MAP_BIRTH];	/* random */
	uint8_t check[CHECK_LEN];	/* of all before it */
};

/* The newest generations, each in the place of its number. */
struct history {
	struct map_born born[BORN];
	uint8_t check[CHECK_LEN];
};

struct entry {
	uint8_t digest[SHA256_LEN];
	uint32_t generation;
} __attribute__((packed));

struct page {
	struct entry e[ENTRIES];
	uint64_t number;
	uint8_t check[CHECK_LEN];
	uint8_t pad[PAGE - ENTRIES * sizeof(struct entry) - 8 - CHECK_LEN];
} __attribute__((packed));


struct span {
	uint64_t index, count;
};

struct map {
	int fd;
	char *path;
	pthread_mutex_t lock;
	struct head h;
	struct history history;
	struct page page;	/* the one page in memory */
	uint64_t page_number;	/* which; UINT64_MAX: none */
	bool page_dirty;
	bool doubts;		/* entries in [lo, hi) of older generations are not believed:
				   opened for reading, or not settled yet */
	bool lost;		/* one of two headers is not there any more */
	struct span *open;	/* written over a known entry, not committed; owned */
	size_t opens, open_cap;
};

/* All with the lock held, or before anybody else has the map. */

/* Durable on return, with all that was written to the file before. */
int map_write_head(struct map *m, struct err *e);
/* Both copies; durable with the header that follows. */
int map_write_history(struct map *m, struct err *e);
/* The entry, its page brought into memory; who changes it says so in page_dirty. NULL with
 * e. */
struct entry *map_entry(struct map *m, uint64_t index, struct err *e);
int map_sync_pages(struct map *m, struct err *e);

#endif
