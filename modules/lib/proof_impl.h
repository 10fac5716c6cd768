/* SPDX-License-Identifier: Apache-2.0
 * proof_impl - what the files of a proof share: what is asked before it (proof_probe.c),
 * reading a base back (proof_read.c), how far that came (proof_mark.c), what is said of it
 * (proof.c), and what becomes of damage (proof_damage.c).
 */
#ifndef DROVER_PROOF_IMPL_H
#define DROVER_PROOF_IMPL_H

#include "modules/lib/disk.h"
#include "modules/lib/map.h"
#include "modules/lib/pace.h"
#include "modules/lib/proof.h"
#include "modules/module.h"

#include <pthread.h>

#define PROOF_THREADS 2
#define DAMAGE_MAX 1024u	/* chunks; a storage that spoils more is not worth mending */

/* A chunk that is not what was sent. */
struct damage {
	uint64_t index;
	uint32_t generation;	/* that wrote it; 0: the map does not know it */
	bool silent;		/* it cannot be read */
};

/* How far it came: all chunks before `next` are what was sent. */
struct proof_mark {
	uint64_t next;
	uint64_t read, mended;	/* bytes, as those of struct proving */
	int64_t since;		/* wall clock, when this reading began */
};

struct proving {
	struct disk *d;
	struct map *m;
	const char *name;
	const struct layout_disk *at;
	const char *proof;	/* which one: what it is told as */
	uint32_t proven;	/* chunks up to this generation need no reading */
	uint64_t rate;		/* bytes a second at most; 0: no limit */
	uint8_t zero[SHA256_LEN];	/* digest of a whole chunk of zeros */
	pthread_mutex_t lock;	/* guards all below */
	struct pace pace;
	uint64_t next, done;	/* chunk to take; bytes behind us */
	uint64_t taken[PROOF_THREADS];	/* chunk that is being read; UINT64_MAX: none */
	uint64_t first_bad;	/* UINT64_MAX: none */
	uint64_t read;		/* bytes read */
	uint64_t mended;	/* bytes of it that had been sent again */
	struct damage *bad;	/* owned; sorted once it is over */
	size_t bads, bad_cap;
	unsigned working;
	bool stop;
	struct err err;
	/* Of the thread that looks on. */
	struct proof_mark mark;	/* what was noted last */
	uint64_t marked_ms;	/* when, by the monotonic clock */
	uint8_t of[SHA256_LEN];	/* what it is noted of */
	bool marks;		/* it can be noted */
};

/* Read back all chunks that are newer than x->proven, from where one that was cut off came
 * to. 0, also when some of them are damaged; at DAMAGE_MAX it ends early. -1 with e. */
int proof_read(struct ctx *c, struct proving *x, struct err *e);
void proof_read_free(struct proving *x);

/* Go on from what was noted of this very reading, which goes in x->mark; else from the
 * beginning. */
void proof_mark_begin(struct proving *x);
/* Has enough been read since to be noted? */
bool proof_mark_due(const struct proving *x, const struct proof_mark *now);
/* Note it durably. -1 with errno: it cannot be, and will not be tried again. */
int proof_mark_put(struct proving *x, const struct proof_mark *now);
/* What was noted; false: nothing that still holds. Changes nothing. */
bool proof_mark_find(const struct layout_disk *at, struct map *m, const char *proof,
		     uint32_t proven, struct proof_mark *mark);

/* Have the engine keep what all of this reading proved, durably. -1 (told): it is gone. */
int proof_keep(struct ctx *c, const struct proving *x, const json_t *said);
/* What was kept of one that was like this in all but time, in this boot of the host; NULL:
 * nothing. Owned. */
json_t *proof_kept(struct ctx *c, const struct proving *x);

/* What was proven of a disk last, by any of these facts (NULL: none); borrowed, or NULL. */
const json_t *proof_newest(const struct ctx *c, const char *const *proven, const char *disk);

/* Which copy it is, and what its generation was: random, so no part of the record that
 * is compared. NULL: nobody knows that generation. Owned. */
char *proof_copy_name(struct map *m, uint32_t generation);
/* Was it said of this very copy? One made anew counts its generations anew. */
bool proof_same_copy(const json_t *said, struct map *m);

/* Tell of x->bad, of which there are some; where `h` lets it be mended they are dropped from
 * the map. 1: it can be mended, e says what it is; -1: it cannot. */
int proof_damaged(struct ctx *c, const struct proof_how *h, const struct proving *x,
		  const char *map, struct err *e);

#endif
