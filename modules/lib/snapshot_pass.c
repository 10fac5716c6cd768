/* SPDX-License-Identifier: Apache-2.0
 * snapshot_pass - one pass of a machine's volumes.
 */
#include "engine/base/mem.h"
#include "modules/lib/dm.h"
#include "modules/lib/lvm.h"
#include "modules/lib/snapcow.h"
#include "modules/lib/snapshot_priv.h"

#include <stdlib.h>
#include <string.h>

struct fresh {			/* a disk of this pass; by the view's number of it */
	bool wanted;
	bool made;
	const json_t *row;	/* of the new snapshot, in the view's rows, or NULL */
	bool lost;		/* it was, while it was read */
	bool kept;		/* it says of which copy it is */
	char *fault;		/* the old one was lost before the pass began; owned */
	char *why;		/* all of it is to be read; owned */
};

struct snapshot_pass {
	struct ctx *c;
	struct snapshot_how how;
	struct snapshot_view *view;	/* as it was once the new ones were made */
	struct fresh *fresh;	/* one for each part; owned */
};

/* ---- beginning ------------------------------------------------------------------------ */

/* Of passes that did not end, what newer ones took the place of, and what is lost. True: any
 * was there. */
static bool tidy_disk(struct snapshot_pass *p, const struct snap_part *k, struct fresh *f)
{
	bool any = false;
	const json_t *row;
	size_t i;

	if (k->fault)
		f->fault = mem_strdup(k->fault);
	json_array_foreach(p->view->rows, i, row) {
		AUTO_ERR e = { 0 };

		if ((row == k->since && !k->fault) ||
		    !snap_is(row, p->view->tag, k->disk, k->row))
			continue;
		any = true;
		if (snap_take_away(row, &e) < 0)
			ctx_log(p->c, "%s: a snapshot that is of no use is left: %s", k->disk,
				e.what);
	}
	return any;
}

static bool tidy(struct snapshot_pass *p)
{
	bool any = false;

	for (size_t i = 0; i < p->view->count; i++)
		any = tidy_disk(p, &p->view->parts[i], &p->fresh[i]) || any;
	return any;
}

static void look_again(struct snapshot_pass *p)
{
	struct snapshot_view *now = snapshot_view(p->c);

	/* A disk that went out of sight meanwhile is an error of who opens it. */
	if (now && now->rows && now->count == p->view->count) {
		snapshot_view_free(&p->view);
		p->view = now;
	} else {
		snapshot_view_free(&now);
	}
}

/* None has been made yet. -1: the engine is gone. */
static int make_all(struct snapshot_pass *p)
{
	for (size_t i = 0; i < p->view->count; i++) {
		const struct snap_part *k = &p->view->parts[i];
		AUTO_ERR e = { 0 };

		if (!p->fresh[i].wanted)
			continue;
		if (k->why) {
			ctx_log(p->c, "%s: read while it is written to: %s", k->disk, k->why);
			continue;
		}
		if (ctx_ledger_add(p->c, SNAPSHOT_LEDGER, p->view->tag, false, NULL) < 0)
			return -1;
		p->fresh[i].made = snap_make(k->row, p->view->tag, k->disk, k->last + 1, k->room,
					     &e) == 0;
		if (!p->fresh[i].made)
			ctx_log(p->c, "%s: read while it is written to: %s", k->disk, e.what);
	}
	return 0;
}

/* The one that was made just now: the newest that says of no copy. */
static const json_t *newest_of(const struct snapshot_view *v, const struct snap_part *k)
{
	const json_t *row;
	size_t i;

	json_array_foreach(v->rows, i, row)
		if (row != k->since && snap_number(row) == k->last &&
		    snap_is(row, v->tag, k->disk, k->row))
			return row;
	return NULL;
}

static int begin(struct snapshot_pass *p)
{
	if (!p->how.make || p->how.held)
		return 0;
	if (tidy(p))
		look_again(p);
	if (make_all(p) < 0)
		return -1;
	look_again(p);
	for (size_t i = 0; i < p->view->count; i++)
		if (p->fresh[i].made)
			p->fresh[i].row = newest_of(p->view, &p->view->parts[i]);
	return 0;
}

static void pass_free(struct snapshot_pass *p)
{
	for (size_t i = 0; i < p->view->count; i++) {
		free(p->fresh[i].why);
		free(p->fresh[i].fault);
	}
	free(p->fresh);
	snapshot_view_free(&p->view);
	free(p);
}

int snapshot_begin(struct ctx *c, const struct snapshot_how *h, struct snapshot_pass **out)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	struct snapshot_view *v = snapshot_view(c);
	struct snapshot_pass *p;

	*out = NULL;
	if (!v)
		return 0;
	p = mem_alloc(sizeof(*p));
	*p = (struct snapshot_pass){ .c = c, .how = *h, .view = v,
		.fresh = mem_alloc(v->count * sizeof(*p->fresh)) };
	for (size_t i = 0; i < v->count; i++)
		p->fresh[i].wanted = h->wants(c, v->parts[i].disk,
					      json_object_get(disks, v->parts[i].disk));
	if (begin(p) < 0) {
		pass_free(p);
		return -1;
	}
	*out = p;
	return 0;
}

/* ---- reading -------------------------------------------------------------------------- */

static struct fresh *fresh_of(const struct snapshot_pass *p, const char *disk)
{
	const struct snap_part *k = p ? snap_part_of(p->view, disk) : NULL;

	return k ? &p->fresh[k - p->view->parts] : NULL;
}

bool snapshot_has(const struct snapshot_pass *p, const char *disk)
{
	return fresh_of(p, disk) != NULL;
}

/* What the old snapshot lists. */
static int read_list(const struct snap_part *k, struct track_changes *t, struct err *e)
{
	AUTO_FREE char *uuid = snap_uuid(k->since), *root = snap_root(k->since);
	AUTO_FREE char *store = mem_printf("%s-cow", uuid);
	AUTO_FREE char *node = dm_node(store);
	AUTO_DISK *cow = node ? disk_open(node, 0, e) : NULL;

	if (!node)
		return err_set(e, ERR_STEP, "its store is not there");
	if (!cow || snapcow_read(cow, lvm_number(k->row, "lv_size"), t, e) < 0)
		return -1;
	if (io_unhex(root, t->base, SHA256_LEN) == 0 && snap_whole(uuid, e))
		return 0;
	track_changes_free(t);
	return err_is(e) ? -1 : err_set(e, ERR_STEP, "it names no copy");
}

/* Why all of it is to be read, owned; NULL with *t filled. */
static char *find_changes(const struct snapshot_pass *p, const struct snap_part *k,
			  const struct fresh *f, struct track_changes *t)
{
	AUTO_ERR e = { 0 };

	if (!p->how.use)
		return mem_strdup("digests are compared");
	if (f->fault)
		return mem_strdup(f->fault);
	if (!k->since && f->row)
		return mem_strdup("a snapshot notes what is written from now on");
	if (!k->since)
		return mem_strdup(k->why ? k->why : "no snapshot followed it");
	if (k->fault)
		return mem_strdup(k->fault);
	if (read_list(k, t, &e) < 0)
		return mem_printf("its snapshot is of no use: %s", e.what);
	return NULL;
}

struct disk *snapshot_open(struct snapshot_pass *p, const char *disk, struct track_changes *t,
			   const char **why, bool *still, struct err *e)
{
	const struct snap_part *k = snap_part_of(p->view, disk);
	struct fresh *f = fresh_of(p, disk);
	AUTO_FREE char *uuid = f->row ? snap_uuid(f->row) : NULL;

	*t = (struct track_changes){ 0 };
	/* What the page cache holds is no write of the volume yet. */
	if (p->how.held && track_settle(k->path, e) < 0)
		return NULL;
	free(f->why);
	f->why = find_changes(p, k, f, t);
	*why = f->why;
	*still = uuid != NULL;
	return uuid ? snap_open(uuid, k->path, &f->lost, e) : disk_open(k->path, 0, e);
}

/* ---- ending --------------------------------------------------------------------------- */

static bool is_whole(const json_t *row)
{
	AUTO_FREE char *uuid = row ? snap_uuid(row) : NULL;

	return uuid && snap_whole(uuid, NULL);
}

static void tell_lost(struct snapshot_pass *p, const char *disk)
{
	static const char text[] = "its snapshot ran full while it was read; the rest was read "
		"from the volume, while it was written to";

	ctx_log(p->c, "%s: %s", disk, text);
	ctx_finding(p->c, "warning", "snapshot.full", "make room in its volume group, or copy it "
		    "when less is written there", "disk '%s' was not read at one instant: %s",
		    disk, text);
}

void snapshot_confirm(struct snapshot_pass *p, const char *disk, const uint8_t root[SHA256_LEN])
{
	const struct snap_part *k = snap_part_of(p->view, disk);
	struct fresh *f = fresh_of(p, disk);
	const json_t *old = k->since;
	AUTO_ERR e = { 0 };

	if (f->lost)
		tell_lost(p, disk);
	if (p->how.keep && f->row && !f->lost && is_whole(f->row)) {
		f->kept = snap_note(f->row, root, &e) == 0;
		if (f->kept && old)
			snap_take_away(old, &e);
	} else if (p->how.use && old && is_whole(old)) {
		/* it has all that was written since this copy, and more */
		snap_note(old, root, &e);
	}
	if (err_is(&e))
		ctx_log(p->c, "%s: the next pass may read all of it: %s", disk, e.what);
}

void snapshot_rebase(struct snapshot_pass *p, const char *disk, const uint8_t from[SHA256_LEN],
		     const uint8_t to[SHA256_LEN])
{
	const json_t *since = snap_part_of(p->view, disk)->since;
	AUTO_FREE char *root = since ? snap_root(since) : NULL;
	AUTO_ERR e = { 0 };
	char was[SHA256_HEX];

	io_hex(from, SHA256_LEN, was);
	if (root && strcmp(root, was) == 0 && snap_note(since, to, &e) < 0)
		ctx_log(p->c, "%s: the next pass may read all of it: %s", disk, e.what);
}

/* Is anything of ours left there? */
static bool any_left(const struct snapshot_pass *p)
{
	AUTO_SNAPSHOTS *now = snapshot_view(p->c);
	bool any = !now || !now->rows;

	for (size_t i = 0; now && i < now->count; i++)
		any = any || now->parts[i].last > 0;
	return any;
}

void snapshot_end(struct snapshot_pass *p)
{
	bool gone = false;

	if (!p)
		return;
	for (size_t i = 0; i < p->view->count; i++) {
		AUTO_ERR e = { 0 };

		if (!p->fresh[i].row || p->fresh[i].kept)
			continue;
		if (snap_take_away(p->fresh[i].row, &e) < 0)
			ctx_log(p->c, "of the pass something is left to cleanup: %s", e.what);
		gone = true;
	}
	if (gone && !any_left(p))
		ctx_ledger_del(p->c, SNAPSHOT_LEDGER, p->view->tag);
	pass_free(p);
}
