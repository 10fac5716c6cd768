/* SPDX-License-Identifier: Apache-2.0
 * copy - passes of a machine's disks from its source to the base images at its
 * target: what convert.disks and cutover.pass share.
 *
 * The source tells fact `warm` (warm.h), what its passes measured.
 *
 * The source's end sends, the target's end receives; the map beside each base says
 * what is there. Both ends take the machine from ctx.
 */
#ifndef DROVER_COPY_H
#define DROVER_COPY_H

#include "modules/lib/base.h"
#include "modules/lib/layout.h"
#include "modules/lib/map.h"
#include "modules/lib/stream.h"
#include "modules/module.h"

/* How a later pass finds what changed. */
enum copy_changes {
	CHANGES_DIGEST,		/* all is read, digests are compared */
	CHANGES_KNOWN,		/* by a dirty bitmap or a tracker, where one follows the disk */
	CHANGES_TRACE,		/* the same, and one is begun where that is possible */
};

struct copy_how {
	enum stream_zip zip;
	uint32_t chunk;
	bool goes_on;		/* with copies of convert.disks: in the chunks of fact `disks` */
	unsigned passes;	/* go on until this pass is whole; at least one is made */
	uint64_t until;		/* or until a pass changed no more bytes; 0: does not count */
	bool freeze_last;	/* the last pass under a freeze of the source */
	bool warm;		/* go on with fact `warm`, and tell it */
	bool keeps;		/* what each pass measured is kept at once */
	bool mend;		/* only what the map was made to forget is sent, by one pass */
	bool seed;		/* receive: it comes from a backup, as pass 0 */
	bool held;		/* the source stands still: by another step, until the end */
	bool snapshots;		/* logical volumes are read from snapshots of LVM */
	bool known;		/* of a disk that was followed not all is read: rather it fails */
	enum copy_changes changes;
	bool anchor;		/* what comes is a backup: passes may go back to it */
	uint64_t track_ms;	/* a tracker ends when nobody asked it for so long */
	const char *fact;	/* what the target tells its result as; NULL: nothing */
};

/* Parameters of the same meaning in every module that copies. */
#define COPY_CHUNK_PARAM \
	{ "chunk", P_SIZE, false, "1MiB", NULL, \
	  "unit of comparing and sending; a multiple of 4KiB", \
	  STREAM_CHUNK_MIN, STREAM_CHUNK_MAX }
#define COPY_ZIP_PARAM \
	{ "compress", P_ENUM, false, "auto", "auto|none|zstd", \
	  "auto measures which is faster", 0, 0 }
#define COPY_DISKS_PARAM \
	{ "disks", P_LIST, false, NULL, NULL, \
	  "names of the disks; default: all that are copied", 0, 0 }
#define COPY_FREE_PARAM \
	{ "free", P_ENUM, false, "skip", "skip|copy", \
	  "blocks that file systems call free; skipped when nothing uses the disk", 0, 0 }
#define COPY_BAD_PARAM \
	{ "bad_sectors", P_ENUM, false, "fail", "fail|zero", \
	  "zero: what cannot be read becomes zeros, and a finding", 0, 0 }
/* -1 (told) when chunk is no multiple of 4 KiB or `disks` names a stranger. */
int copy_args(struct ctx *c, struct copy_how *h);

/* Is this disk of source.disks among those that the step works on? */
bool copy_wants(const struct ctx *c, const char *disk, const json_t *source_disk);

/* Bytes that a pass reads that reads all of it: all but chunks of holes and of free space, as far as
 * that is known before. 0: it cannot be looked at. */
uint64_t copy_to_read(struct ctx *c, const char *disk, const json_t *spec);
/* The disk, opened; without its free space where nothing uses it, or what is read of it stands
 * `still` by itself. Takes d over. */
struct disk *copy_without_free(struct ctx *c, const char *name, const json_t *spec, bool still,
			       struct disk *d);

#define COPY_PASSES_MAX 100u	/* that a plan may ask for */

/* {enough, passes}: fact `warm`, with what was kept by an attempt that did not come to tell it.
 * At either end. Owned. */
json_t *copy_measured(struct ctx *c, const struct copy_how *h);
/* By the parameter `changes` of convert.disks: may LVM be asked for snapshots? Without it too. */
bool copy_may_snapshot(const struct ctx *c);

/* At the source, before passes that compare digests: what followed its disks until now ends. It
 * would go on from a copy that is not the target's any more. 0, -1 (told). */
int copy_unfollow(struct ctx *c);

/* What one pass of one disk measured, a row of volatile `passes` ({disk: [row]}) of whoever
 * sends. by: how it found what to send. New. */
json_t *copy_pass_row(const struct stream_stat *st, const char *by);
/* apply, at either end; all errors are told. */
int copy_send(struct ctx *c, const struct copy_how *h);
int copy_receive(struct ctx *c, const struct copy_how *h);

/* Is this disk's copy filled from a backup (fact `seed`), so that passes read only what was
 * written since? */
bool copy_seeded(const struct ctx *c, const char *disk);
/* The disk as assess.machine saw it; NULL when it did not. */
const json_t *copy_seen(const struct ctx *c, const char *disk);
/* What is said of a last pass that would have to read all of a disk that was followed; a
 * format with the disk's name and the reason. Code, text, remedy. */
#define COPY_WHOLE "pass.whole"
#define COPY_WHOLE_TEXT "the last pass would read all of disk '%s' while nobody is served: %s"
#define COPY_WHOLE_HINT "drover sync PLAN reads it while the source serves; cut over after that"
#define COPY_WHOLE_ACCEPT COPY_WHOLE_HINT "; or accept it in the plan: accept: [{finding: " \
	COPY_WHOLE ", until: DATE, reason: WHY}]"
/* The same where what the target had was lost: how much ("all"), the disk, the reason. */
#define COPY_AGAIN_TEXT "the last pass would send %s of disk '%s' again while nobody is served: %s"
#define COPY_OTHER "the target's copy is not the one that was followed"
/* volatile of cutover.pass at the source, {disk: digest}: since which copy all that was written
 * is known. */
#define COPY_SINCE "since"
/* Did the newest pass leave this disk followed, and so ("bitmap", "trace", "snapshot"; NULL:
 * in any way)? As it was recorded: nobody is asked. */
bool copy_was_followed(struct ctx *c, const char *disk, const char *by);
/* Was what is written to this disk followed, whether or not it still is? At the source. */
bool copy_followed(struct ctx *c, const char *disk, const json_t *spec);
/* probe at the source: a line for each disk, how its later passes find what changed. Of a last
 * pass (CHANGES_KNOWN) it is said what that takes; else all is 0. */
struct copy_ahead {
	uint64_t all;		/* bytes that it may read at most */
	uint64_t whole;		/* of those the ones of disks that are read from end to end */
	bool as_before;		/* what was followed by the newest pass still is */
};
struct copy_ahead copy_probe_changes(struct ctx *c, enum copy_changes how);
/* probe at the source: are the disks there, what will be read. `goes_on`: with the copy that was
 * begun, whose size they must have; else it is a backup that reads them. */
int copy_probe_source(struct ctx *c, bool goes_on);
/* What stands at the target of one disk. */
struct copy_there {
	bool base, map;			/* the files are there */
	struct map_state state;		/* of the map */
	uint64_t size;			/* of the disk, by the map */
	uint64_t room;			/* of the base; 0: it is not there */
	uint32_t chunk;
};
/* Is what the plan wants (0: nothing) long enough for the source? */
int copy_check_size(const char *disk, uint64_t planned, uint64_t source, struct err *e);
/* What is said of a disk whose place in the plan changed after it was begun. */
#define COPY_MOVED "cannot go on with disk '%s': it was begun at '%s', the plan has another " \
	"place for it now"
#define COPY_MOVED_HINT "put the plan back as it was; to have the disk elsewhere, type drover " \
	"rollback PLAN --to convert, and only then change the plan"
/* And of one whose base went: the disk, the base. */
#define COPY_GONE "cannot go on with disk '%s': '%s' is gone, its map is there"
#define COPY_GONE_HINT "drover rollback PLAN --to convert, then drover run PLAN"
int copy_look(const struct layout_disk *d, struct copy_there *t, struct err *e);
/* Did convert end with a copy of it? */
bool copy_was_made(const struct ctx *c, const char *disk);
/* The newest pass that is recorded of it, by the facts that a step is given of `disks`, `sync`,
 * `pass`, `proof` and `final`; 0: none. */
uint32_t copy_pass_recorded(const struct ctx *c, const char *disk);
/* The digest that one of them has for this pass, borrowed; NULL: none has. */
const char *copy_digest_recorded(const struct ctx *c, const char *disk, uint32_t pass);
/* What is said of a copy that was put back, base and map, from before the newest pass: the disk,
 * the pass that it holds, the one that is recorded. */
#define COPY_OLDER "target.older"
#define COPY_OLDER_TEXT "disk '%s' holds pass %u, pass %u was recorded: an older copy was put back"
#define COPY_OLDER_HINT "drover sync PLAN brings over again what came since"
/* Of one that cannot be gone on with: what became of it. Owned. */
char *copy_lost(const struct layout_disk *d);
/* Is what the plan wants what the copy was begun with? */
int copy_check_chunk(const char *disk, uint32_t begun, uint32_t wanted, struct err *e);
/* Is the map that is there this disk's? */
int copy_check_map(const struct layout_disk *d, const struct map_id *is,
		   const struct map_id *want, struct err *e);
/* probe at the target, before a last pass: a blocker where that would not find what earlier
 * passes left there, or not that since which the source knows its changes (COPY_SINCE). False:
 * there is no more to be said of it. */
bool copy_probe_there(struct ctx *c, const char *name, const struct layout_disk *d);
/* A '?' line for what can be read once the disk is copied, bound to be no more than the
 * disk has, as assess saw it. */
void copy_say_later(struct ctx *c, const char *name, const char *what);
/* {path, format, size, pass, digest, chunk, map}; owned. */
json_t *copy_fact(const struct layout_disk *d, const struct copy_there *t);
/* A map's id for this machine and run. */
void copy_map_id(struct map_id *id, const json_t *machine, const json_t *run,
		 const char *disk, uint64_t size, uint32_t chunk);

/* Is the copy begun where the plan has it? keep: kept with the step before anything is made there.
 * -1 with e: it was begun elsewhere on this host and not cleared since; or it could not be kept. */
int copy_home_keep(struct ctx *c, const struct layout *l, struct err *e);
int copy_home_check(struct ctx *c, const struct layout *l, struct err *e);
/* Of one that was begun at a host of another name, and is not here: that it stays. Owned, or NULL. */
char *copy_home_left(struct ctx *c, const struct layout *l);
/* undo at the target: remove base and map, give back the directory. */
int copy_remove(struct ctx *c);

#endif
