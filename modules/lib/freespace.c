/* SPDX-License-Identifier: Apache-2.0
 * freespace - what of a quiet disk nobody needs: finding it.
 */
#include "modules/lib/freespace.h"

#include "engine/base/text.h"
#include "modules/lib/disk_over.h"
#include "modules/lib/freefs.h"
#include "modules/lib/gtree_ext.h"
#include "modules/lib/parttab.h"

#include <stdlib.h>
#include <string.h>

#define RUN_MIN (64u << 10)	/* less is not worth a record */
#define RUNS_MAX 1000000u
#define EDGE (1u << 20)		/* boot loaders at the one end, metadata at the other */
#define SWAP_HEAD (64u << 10)	/* its header lies in the first page, whatever that is */

void freespace_add(struct freespace *f, uint64_t at, uint64_t len)
{
	if (len < RUN_MIN || f->count >= RUNS_MAX)
		return;
	f->v = mem_grow(f->v, f->count, &f->cap, sizeof(*f->v));
	f->v[f->count++] = (struct free_run){ at, len };
	f->bytes += len;
}

void freespace_free(struct freespace *f)
{
	mem_free_ptr(&f->v);
	str_free(&f->said);
	str_free(&f->whole);
	*f = (struct freespace){ 0 };
}

/* ---- ext2, ext3, ext4 ---------------------------------------------------------- */

/* Why its bitmaps say nothing; NULL: they are right. */
static const char *unsettled(ext2_filsys fs)
{
	if (ext2fs_has_feature_journal_needs_recovery(fs->super))
		return "its journal was not replayed";
	if (!(fs->super->s_state & EXT2_VALID_FS) || fs->super->s_state & EXT2_ERROR_FS)
		return "it was not cleanly unmounted";
	return NULL;
}

static void add_blocks(struct freespace *f, const struct blk *part, ext2_filsys fs,
		       blk64_t from, blk64_t to)
{
	uint64_t at = from * fs->blocksize, len = (to - from) * fs->blocksize;

	/* What the file system says of itself must fit in its partition. */
	if (at < part->size && len <= part->size - at)
		freespace_add(f, part->start + at, len);
}

static void walk_bitmap(struct freespace *f, const struct blk *part, ext2_filsys fs)
{
	blk64_t last = ext2fs_blocks_count(fs->super) - 1, from, used;
	blk64_t at = fs->super->s_first_data_block;

	while (at <= last && f->count < RUNS_MAX &&
	       ext2fs_find_first_zero_block_bitmap2(fs->block_map, at, last, &from) == 0) {
		if (ext2fs_find_first_set_block_bitmap2(fs->block_map, from, last, &used))
			used = last + 1;
		add_blocks(f, part, fs, from, used);
		at = used;
	}
}

/* NULL: it was done; else why not. */
static const char *find_ext(struct freespace *f, const struct blk *part)
{
	struct ext x = { .part = *part };
	const char *why;
	char name[64];

	gtree_ext_io_name(&x, name);
	initialize_ext2_error_table();
	if (ext2fs_open2(name, NULL, EXT2_FLAG_64BITS, 0, 0, gtree_ext_io, &x.fs))
		return "it cannot be read";
	why = unsettled(x.fs);
	if (!why && ext2fs_read_block_bitmap(x.fs))
		why = "its bitmaps are damaged";
	if (!why)
		walk_bitmap(f, part, x.fs);
	ext2fs_free(x.fs);
	return why;
}

/* ---- partitions ------------------------------------------------------------------ */

static const char *find_swap(struct freespace *f, const struct blk *part)
{
	if (part->size > SWAP_HEAD)
		freespace_add(f, part->start + SWAP_HEAD, part->size - SWAP_HEAD);
	return NULL;
}

static const struct {
	const char *fs;
	const char *(*find)(struct freespace *f, const struct blk *part);
} kinds[] = {
	{ "ext2", find_ext }, { "ext3", find_ext }, { "ext4", find_ext }, { "swap", find_swap },
	{ "xfs", freexfs_find }, { "ntfs", freentfs_find },
};

static const char *find_known(struct freespace *f, const struct blk *part, const char *fs)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i].fs, fs) == 0)
			return kinds[i].find(f, part);
	return fs[0] ? "its free space cannot be told" : "its content is unknown";
}

/* "ext4 on partition 1", as far as that is known; number 0: of a disk without a table. Owned. */
static char *place_of(const char *fs, int number)
{
	if (number)
		return mem_printf("%s%spartition %d", fs, fs[0] ? " on " : "", number);
	return mem_strdup(fs[0] ? fs : "it");
}

static void say_whole(struct freespace *f, const char *place, const char *why, uint64_t size)
{
	str_addf(&f->said, "%s%s is read whole: %s", f->said.len ? "; " : "", place, why);
	if (size > EDGE)
		str_addf(&f->whole, "%s%s is read whole: %s", f->whole.len ? "\n" : "", place, why);
}

/* What stands in a partition, or on a disk without a table (number 0). */
static void find_in(struct freespace *f, const struct blk *part, int number)
{
	AUTO_FREE char *place = NULL;
	uint64_t before = f->bytes;
	size_t count = f->count;
	struct fsinfo info;
	const char *why;
	char size[24];

	fsinfo_read(part, &info);
	place = place_of(info.fs, number);
	why = find_known(f, part, info.fs);
	if (why) {	/* nothing of it is believed */
		f->count = count;
		f->bytes = before;
		say_whole(f, place, why, part->size);
		return;
	}
	text_size(f->bytes - before, size);
	str_addf(&f->said, "%s%s: %s free", f->said.len ? "; " : "", place, size);
}

/* ---- the disk ----------------------------------------------------------------------- */

static int by_start(const void *a, const void *b)
{
	const struct part *const *p = a, *const *q = b;

	return (*p)->start < (*q)->start ? -1 : (*p)->start > (*q)->start;
}

/* Logical partitions are chained by sectors in the gaps between them. */
static bool gaps_are_used(const struct parttab *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->kind == TABLE_DOS && t->parts[i].number > 4)
			return true;
	return t->kind == TABLE_NONE;
}

static void add_gap(struct freespace *f, uint64_t from, uint64_t to, uint64_t size)
{
	if (from < EDGE)
		from = EDGE;
	if (to > size - EDGE)
		to = size - EDGE;
	if (to > from)
		freespace_add(f, from, to - from);
}

static void find_parts(struct freespace *f, const struct blk *all, struct part **parts,
		       size_t n, bool gaps)
{
	uint64_t end = all->size;
	uint64_t at = 0;

	for (size_t i = 0; i < n; i++) {
		struct blk part;

		if (gaps && i > 0)	/* before the first one boot loaders live */
			add_gap(f, at, parts[i]->start, end);
		if (parts[i]->start >= at &&
		    blk_window(all, parts[i]->start, parts[i]->size, &part, NULL) == 0)
			find_in(f, &part, parts[i]->number);
		if (parts[i]->start + parts[i]->size > at)
			at = parts[i]->start + parts[i]->size;
	}
	if (gaps && n > 0)
		add_gap(f, at, end, end);
}

static int by_place(const void *a, const void *b)
{
	const struct free_run *p = a, *q = b;

	return p->at < q->at ? -1 : p->at > q->at;
}

static void sort_runs(struct freespace *f)
{
	if (f->count > 0)
		qsort(f->v, f->count, sizeof(*f->v), by_place);
}

void freespace_find(struct disk *d, struct freespace *f)
{
	struct blk all = blk_of(d);
	AUTO_PARTTAB t = { 0 };
	struct part **parts;

	*f = (struct freespace){ 0 };
	if (d->size < 4 * EDGE)
		return;
	if (parttab_read(&all, &t, NULL) < 0) {
		say_whole(f, "it", "its partition table cannot be read", d->size);
		return;
	}
	if (t.kind == TABLE_NONE) {
		find_in(f, &all, 0);
		sort_runs(f);
		return;
	}
	parts = mem_alloc((t.count + 1) * sizeof(struct part *));
	for (size_t i = 0; i < t.count; i++)
		parts[i] = &t.parts[i];
	qsort(parts, t.count, sizeof(struct part *), by_start);
	find_parts(f, &all, parts, t.count, !gaps_are_used(&t));
	free(parts);
	sort_runs(f);
}

/* ---- leaving it out ------------------------------------------------------------------ */

struct skipping {
	struct disk_over over;
	struct freespace f;
};

static struct skipping *of(struct disk *d)
{
	return (struct skipping *)d;
}

/* The first run that ends behind `at`; NULL: none. */
static const struct free_run *run_at(const struct freespace *f, uint64_t at)
{
	size_t lo = 0, hi = f->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->v[mid].at + f->v[mid].len <= at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < f->count ? &f->v[lo] : NULL;
}

/* One stretch, of which it is known in one way. */
static int stretch(struct skipping *s, uint64_t at, uint64_t *len, bool *hole, struct err *e)
{
	const struct free_run *r = run_at(&s->f, at);

	if (r && r->at <= at) {
		*hole = true;
		*len = r->at + r->len - at;
		return 0;
	}
	if (disk_over_extent(&s->over.d, at, len, hole, e) < 0)
		return -1;
	if (r && *len > r->at - at)
		*len = r->at - at;
	return 0;
}

/* Holes of both kinds that touch are one. */
static int s_extent(struct disk *d, uint64_t at, uint64_t *len, bool *hole, struct err *e)
{
	bool more;
	uint64_t n;

	if (stretch(of(d), at, len, hole, e) < 0)
		return -1;
	while (*hole && at + *len < d->size) {
		if (stretch(of(d), at + *len, &n, &more, e) < 0)
			return -1;
		if (!more)
			break;
		*len += n;
	}
	return 0;
}

static int s_close(struct disk *d, struct err *e)
{
	freespace_free(&of(d)->f);
	return disk_over_close(d, e);
}

static const struct disk_ops ops = {
	.read = disk_over_read, .write = disk_over_write, .zero = disk_over_zero,
	.flush = disk_over_flush, .extent = s_extent, .close = s_close,
};

struct disk *freespace_skip(struct disk *d, struct freespace *f)
{
	struct skipping *s = mem_alloc(sizeof(*s));

	disk_over_init(&s->over, &ops, d);
	s->f = *f;
	*f = (struct freespace){ 0 };
	return &s->over.d;
}
