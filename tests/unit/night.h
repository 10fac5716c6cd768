/* SPDX-License-Identifier: Apache-2.0
 * night - a copy to which anything may happen, and a model of it: the source's bytes, those
 * that the target must have, and what befell both since. What fails, fails the test, which
 * then tells the night's story.
 *
 * A command ends well with the very bytes, or badly with a reason and a hint; doing what the
 * hint says it ends well in the end.
 */
#ifndef DROVER_TESTS_NIGHT_H
#define DROVER_TESTS_NIGHT_H

#include "engine/base/mem.h"
#include "tests/unit/convertrig.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What somebody else did, and nothing made good yet: a command may end badly of it. */
enum odd {
	ODD_TARGET = 1,		/* the target's bytes, or what its map says, are not those that came */
	ODD_MAP = 2,		/* its map is harmed, or gone */
	ODD_BASE = 4,		/* it is gone */
	ODD_SIZE = 8,		/* the source has another one */
	ODD_TRACKER = 16,	/* it was ended */
	ODD_CUT = 32,		/* a pass was not ended */
};

/* What befalls a command that is under way. */
enum mishap {
	NOTHING,
	BETWEEN,		/* nothing, but somebody passes the bytes on */
	CUT, FLIP,		/* of the bytes between the ends */
	KILL_SOURCE, KILL_TARGET, KILL_BOTH, STOP,
	KILL_SERVER,		/* what reads or writes an image for one of them */
	SCRIBBLE,		/* the source is written to */
	UNHEARD,		/* it ends well, and only what was kept is heard of it */
	STRIKE_KILL, STRIKE_EIO, STRIKE_ENOSPC,	/* a change to a file, see strike.h */
	MISHAPS
};

/* The machine's other disk: nobody harms it. */
struct night_other {
	char *src, *dev;	/* its file; the device that this is, or NULL. src NULL: there is none */
	char *place, *base;	/* a file system of its own, the copy in it */
	const char *format;	/* of base */
	uint64_t size;
	uint8_t *now;		/* its bytes */
	uint8_t *sent, *tried;	/* as in night */
	bool out;		/* the plan has it no more: */
	json_t *spec, *row;	/* what it said of source and target; owned */
};

struct night {
	struct rig *r;
	struct strike *strike;	/* of the program that it runs in */
	unsigned seed;
	uint64_t dice;
	char *dev, *to, *to_file;	/* devices: the source's, the target's with its file; NULL: none */
	const char *from;	/* the source's format */
	unsigned sector;
	uint64_t size, room;	/* of the source; of `to`, which cannot grow */
	uint8_t *now;		/* the source's bytes */
	uint8_t *was;		/* before it was written to during the newest pass, or NULL */
	uint8_t *sent;		/* the target's, by the newest pass that ended well; NULL: none */
	uint8_t *tried, *then;	/* the source's when the newest pass was begun, and over; NULL: none */
	uint8_t *saved;		/* the backup's; NULL: there is none */
	uint64_t bad, bad_end;	/* of the source, what could not be read once; end 0: all could */
	unsigned odd;
	uint32_t chunk;		/* of the copy, or of the first try at one; 0: none */
	char *tracker;		/* its name, or NULL */
	char *map_was, *base_was;	/* copies of these files, or NULL */
	/* the command under way */
	enum mishap mishap;
	uint64_t after;		/* so many bytes; or changes */
	bool back;		/* of those that the target sends */
	bool came;		/* it did */
	char kind[24], said[600], hint[400];	/* how the newest ended; "": well */
	struct night_other other;
	struct str story;
	unsigned acts, commands;
	bool over;		/* it ended as it should */
};

int night_set_up(void **state);
int night_tear_down(void **state);
_Noreturn void night_broken(struct night *n, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void night_tell(struct night *n, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Less than `below`; by the seed. */
uint64_t night_dice(struct night *n, uint64_t below);

/* ---- the source and the target, by somebody else's hand */
void night_scribble(struct night *n);
void night_resize(struct night *n);
void night_end_tracker(struct night *n);
void night_medium(struct night *n);	/* a stretch of the source goes bad, or is good again */
void night_overrun(struct night *n);
void night_harm_map(struct night *n);
void night_harm_base(struct night *n);
void night_keep_files(struct night *n);
void night_put_back(struct night *n);

/* ---- the plan, by its owner's hand */
void night_replan(struct night *n);
void night_chunk_back(struct night *n);	/* as the copy has it */

/* ---- the other disk: each does nothing where there is none */
void night_other_make(struct night *n);
void night_other_free(struct night *n);
void night_other_scribble(struct night *n);
void night_other_tried(struct night *n);	/* a pass is begun */
void night_other_passed(struct night *n, const char *fact);
void night_other_proven(struct night *n, const char *fact);
void night_other_gone(struct night *n);		/* its copy was undone */

/* ---- a medium that was bad */
/* It cannot be read everywhere, and the plan does not say that zeros will do. */
bool night_reads_badly(const struct night *n);
/* What reading the source gives, zeros where it cannot be read. Caller frees. */
uint8_t *night_seen(const struct night *n);
/* A pass that reads what was written alone leaves what an earlier one brought of the bad
 * stretch, whether it can be read now or not: of that one the model knows less. */
bool night_blurs(const struct night *n);
void night_blur(const struct night *n, uint8_t *is, const uint8_t *like);
uint64_t night_bad_end(const struct night *n);

/* ---- one attempt */
struct night_row {
	const char *module;	/* NULL: any other */
	const char *fact;	/* in which its good end tells digests, or NULL */
	bool both;		/* ends take part */
	bool pass;		/* it is one */
};
const struct night_row *night_row(const char *module);
/* How it ended goes into the night; where it ended badly, that it said why and what to do. */
void night_note_end(struct night *n, const json_t *source, const json_t *target);
void night_assert_said(struct night *n);
/* Does this fact tell the digest of these bytes of a disk, in chunks of that size? */
struct night_bytes { const uint8_t *p; uint64_t size; uint32_t chunk; };
void night_assert_root(struct night *n, const char *fact, const char *disk,
		       const struct night_bytes *b);
uint32_t night_planned_chunk(const struct night *n);
/* A device that is this file, until it is ended. Owned; NULL is harmless. */
char *night_loop(const char *file, unsigned sector);
void night_end_loop(char **dev);
/* What a proof kept counts no more. */
void night_forget_proven(struct night *n);
/* Bytes: a copy, the caller's; one instead of *to; the source as it can be read instead. */
uint8_t *night_copy(const uint8_t *p, uint64_t size);
void night_take(uint8_t **to, const uint8_t *p /* NULL: none */, uint64_t size);
void night_see(struct night *n, uint8_t **to);

/* ---- commands */
/* One attempt; true when it ended well. */
bool night_try(struct night *n, const char *module, const char *op, enum mishap m);
/* The same, and what must be true after it. Without a mishap to its good end, with what hints
 * say in between. */
void night_risk(struct night *n, const char *module, enum mishap m);
void night_must(struct night *n, const char *module);
/* What a proof that nobody heard of read is not read again. */
void night_assert_read(struct night *n, const char *module);
/* What is there is asked; nothing changes. */
void night_probe(struct night *n);
/* The target's copy goes, and leaves no trace. */
void night_undo(struct night *n);
void night_backup(struct night *n);
void night_restore(struct night *n);
void night_seed(struct night *n);

#endif
