/* SPDX-License-Identifier: Apache-2.0
 * freexfs - the free blocks of an XFS that was cleanly unmounted.
 *
 * Each allocation group has a B+tree of its free extents by block (AGF, then "AB3B" or
 * "ABTB" blocks). It is right only when the log holds nothing that was not written back:
 * the record at the log's head must be the one that an unmount leaves.
 */
#include "modules/lib/freefs.h"

#include "modules/lib/bytes.h"

#include <ext2fs/ext2fs.h>
#include <stdlib.h>

#define BB 512u			/* a log counts in blocks of this size */
#define BLOCK_MAX 65536u
#define LEVELS_MAX 9		/* more no tree of 2^32 blocks has */
#define INCOMPAT_KNOWN 0xefu	/* all up to parent pointers, but not: needs repair */
#define RECORD_MAX (256u << 10)	/* bytes of a log record without its headers */

/* The superblock, by offset; big-endian but for checksums. */
enum {
	SB_BLOCK_SIZE = 4, SB_BLOCKS = 8, SB_LOG_START = 48, SB_AG_BLOCKS = 84, SB_AG_COUNT = 88,
	SB_LOG_BLOCKS = 96, SB_VERSION = 100, SB_SECTOR = 102, SB_AG_LOG = 124, SB_BUSY = 126,
	SB_INCOMPAT = 216, SB_LOG_INCOMPAT = 220, SB_CRC = 224, SB_LEN = 264,
};
enum { AGF_SEQ = 8, AGF_LENGTH = 12, AGF_ROOT = 16, AGF_LEVELS = 28, AGF_FREE = 52,
	AGF_CRC = 216, AGF_LEN = 224 };
enum { BT_LEVEL = 4, BT_COUNT = 6, BT_RIGHT = 12, BT_OWNER = 48, BT_CRC = 52,
	BT_HEAD_4 = 16, BT_HEAD_5 = 56 };
enum { LOG_VERSION = 8, LOG_LEN = 12, LOG_OPS = 40, LOG_SIZE = 320, LOG_MAGIC = (int)0xfeedbabe };
#define LOG_V2 2u
#define LOG_HEAD (32u << 10)	/* bytes of a record for each block of its header */
#define OP_FLAGS 9		/* of an operation's head, in the block behind the record's */
#define OP_UNMOUNT 0x20
#define NONE UINT32_MAX		/* no further block */

struct xfs {
	struct blk part;
	struct freespace *f;
	uint8_t *block;		/* one block; owned */
	uint64_t blocks;
	uint32_t block_size, sector, ag_blocks, ag_count, head;
	uint64_t log_at, log_bbs;	/* the log: byte, blocks of 512 */
	bool v5;
};

static const char damaged[] = "it is damaged";
static const char unread[] = "it cannot be read";

static bool power_of_two(uint32_t v, uint32_t min, uint32_t max)
{
	return v >= min && v <= max && (v & (v - 1)) == 0;
}

/* The checksum of n bytes, in which it stands itself at `at`. */
static bool sum_holds(const uint8_t *p, size_t n, size_t at)
{
	static const uint8_t none[4];
	uint32_t crc = ext2fs_crc32c_le(~0u, p, at);

	crc = ext2fs_crc32c_le(crc, none, sizeof(none));
	crc = ext2fs_crc32c_le(crc, p + at + 4, n - at - 4);
	return ~crc == get_le32(p + at);
}

/* ---- the superblock --------------------------------------------------------------- */

static const char *find_log(struct xfs *x, const uint8_t *sb)
{
	uint64_t start = get_be64(sb + SB_LOG_START), n = get_be32(sb + SB_LOG_BLOCKS);
	unsigned shift = sb[SB_AG_LOG];
	uint64_t ag, in;

	if (start == 0)
		return "its log is on another device";
	if (shift > 31 || 1ull << shift < x->ag_blocks)
		return damaged;
	ag = start >> shift;
	in = start & ((1ull << shift) - 1);
	if (ag >= x->ag_count || n == 0 || in + n > x->ag_blocks ||
	    ag * x->ag_blocks + in + n > x->blocks)
		return damaged;
	x->log_at = (ag * x->ag_blocks + in) * x->block_size;
	x->log_bbs = n * x->block_size / BB;
	return NULL;
}

static const char *take_super(struct xfs *x)
{
	uint8_t sb[32768];
	unsigned version;

	if (blk_read(&x->part, sb, BB, 0, NULL) < 0)
		return unread;
	version = get_be16(sb + SB_VERSION) & 15;
	x->v5 = version == 5;
	x->block_size = get_be32(sb + SB_BLOCK_SIZE);
	x->blocks = get_be64(sb + SB_BLOCKS);
	x->sector = get_be16(sb + SB_SECTOR);
	x->ag_blocks = get_be32(sb + SB_AG_BLOCKS);
	x->ag_count = get_be32(sb + SB_AG_COUNT);
	x->head = x->v5 ? BT_HEAD_5 : BT_HEAD_4;
	if (version != 4 && version != 5)
		return "its version is not known";
	if (!power_of_two(x->block_size, 512, BLOCK_MAX) ||
	    !power_of_two(x->sector, 512, sizeof(sb)) || x->ag_blocks < 16 ||
	    x->blocks > x->part.size / x->block_size || x->ag_count == 0 ||
	    (x->blocks + x->ag_blocks - 1) / x->ag_blocks != x->ag_count ||
	    (uint64_t)x->sector * 2 > (uint64_t)x->ag_blocks * x->block_size)
		return damaged;
	if (sb[SB_BUSY])
		return "it is not ready";
	if (x->v5 && blk_read(&x->part, sb, x->sector, 0, NULL) < 0)
		return unread;
	if (x->v5 && !sum_holds(sb, x->sector, SB_CRC))
		return damaged;
	if (x->v5 && ((get_be32(sb + SB_INCOMPAT) & ~INCOMPAT_KNOWN) ||
		      get_be32(sb + SB_LOG_INCOMPAT)))
		return "it has features that are not known, or needs repair";
	return find_log(x, sb);
}

/* ---- the log ---------------------------------------------------------------------- */

static bool log_block(const struct xfs *x, uint64_t bb, uint8_t out[BB])
{
	return blk_read(&x->part, out, BB, x->log_at + bb % x->log_bbs * BB, NULL) == 0;
}

/* How often the log had gone round when this block was written. */
static bool cycle_at(const struct xfs *x, uint64_t bb, uint32_t *cycle)
{
	uint8_t b[BB];

	if (!log_block(x, bb, b))
		return false;
	*cycle = get_be32(b) == (uint32_t)LOG_MAGIC ? get_be32(b + 4) : get_be32(b);
	return true;
}

/* Where the next record would go: the blocks before are of one round, the rest of the one
 * before. */
static const char *find_head(const struct xfs *x, uint64_t *head)
{
	uint64_t lo = 0, hi = x->log_bbs - 1;
	uint32_t first, last, c;

	if (!cycle_at(x, 0, &first) || !cycle_at(x, hi, &last))
		return unread;
	*head = x->log_bbs;
	if (first == 0 || (last != first && last != first - 1))
		return "its log is not understood";
	if (last == first)
		return NULL;
	while (hi - lo > 1) {	/* lo: this round, hi: not */
		uint64_t mid = lo + (hi - lo) / 2;

		if (!cycle_at(x, mid, &c))
			return unread;
		if (c == first)
			lo = mid;
		else
			hi = mid;
	}
	*head = hi;
	return NULL;
}

/* Does an unmount's record begin at `bb` and end at the head? */
static bool ends_with_unmount(const struct xfs *x, const uint8_t *h, uint64_t bb, uint64_t head)
{
	uint32_t size = get_be32(h + LOG_SIZE), len = get_be32(h + LOG_LEN), heads = 1;
	uint8_t op[BB];

	if ((get_be32(h + LOG_VERSION) & LOG_V2) && size > LOG_HEAD)
		heads = size / LOG_HEAD + (size % LOG_HEAD != 0);
	if (len > RECORD_MAX || size > RECORD_MAX)
		return false;
	return bb + heads + (len + BB - 1) / BB == head && get_be32(h + LOG_OPS) == 1 &&
		log_block(x, bb + heads, op) && (op[OP_FLAGS] & OP_UNMOUNT);
}

static const char *check_log(const struct xfs *x)
{
	const uint64_t most = RECORD_MAX / BB + RECORD_MAX / LOG_HEAD;
	uint64_t head, back;
	const char *why = find_head(x, &head);
	uint8_t h[BB];

	/* what lies before block 0 lies at the end; never round twice */
	for (back = 1; !why && back <= most && back <= x->log_bbs; back++) {
		uint64_t bb = head + x->log_bbs - back;

		if (!log_block(x, bb, h))
			return unread;
		if (get_be32(h) == (uint32_t)LOG_MAGIC)
			return ends_with_unmount(x, h, bb, head + x->log_bbs) ? NULL :
				"it was not cleanly unmounted";
	}
	return why ? why : "its log is not understood";
}

/* ---- one allocation group ------------------------------------------------------------ */

struct group {
	uint64_t at;		/* byte in the partition */
	uint32_t seq, length;	/* number; blocks */
	uint32_t end, sum;	/* of the records so far: block behind the last, blocks */
};

/* A block of the tree into x->block. */
static const char *take_block(struct xfs *x, const struct group *g, uint32_t no, unsigned level)
{
	const uint8_t *b = x->block;
	unsigned count;

	if (no == 0 || no >= g->length)
		return damaged;
	if (blk_read(&x->part, x->block, x->block_size, g->at + (uint64_t)no * x->block_size,
		     NULL) < 0)
		return unread;
	count = get_be16(b + BT_COUNT);
	if (memcmp(b, x->v5 ? "AB3B" : "ABTB", 4) != 0 || get_be16(b + BT_LEVEL) != level ||
	    count > (x->block_size - x->head) / (level ? 12 : 8))
		return damaged;
	if (x->v5 && (get_be32(b + BT_OWNER) != g->seq || !sum_holds(b, x->block_size, BT_CRC)))
		return damaged;
	return NULL;
}

static const char *take_records(struct xfs *x, struct group *g)
{
	unsigned count = get_be16(x->block + BT_COUNT);

	for (unsigned i = 0; i < count; i++) {
		const uint8_t *r = x->block + x->head + 8 * i;
		uint32_t from = get_be32(r), n = get_be32(r + 4);

		if (from < g->end || n == 0 || from >= g->length || n > g->length - from)
			return damaged;
		g->end = from + n;
		g->sum += n;
		freespace_add(x->f, x->part.start + g->at + (uint64_t)from * x->block_size,
			      (uint64_t)n * x->block_size);
	}
	return NULL;
}

/* The leaves, from left to right: each has records behind the last one's, so they end. */
static const char *walk_leaves(struct xfs *x, struct group *g, uint32_t leaf, bool root)
{
	const char *why;

	while (leaf != NONE) {
		why = take_block(x, g, leaf, 0);
		if (!why && !root && get_be16(x->block + BT_COUNT) == 0)
			why = damaged;
		if (!why)
			why = take_records(x, g);
		if (why)
			return why;
		leaf = get_be32(x->block + BT_RIGHT);
		if (root && leaf != NONE)
			return damaged;
	}
	return NULL;
}

static const char *walk_tree(struct xfs *x, struct group *g, uint32_t root, unsigned levels)
{
	uint32_t no = root, keys = (x->block_size - x->head) / 12 * 8;

	for (unsigned level = levels - 1; level > 0; level--) {
		const char *why = take_block(x, g, no, level);

		if (why)
			return why;
		if (get_be16(x->block + BT_COUNT) == 0)
			return damaged;
		no = get_be32(x->block + x->head + keys);
	}
	return walk_leaves(x, g, no, levels == 1);
}

static const char *walk_group(struct xfs *x, uint32_t seq)
{
	uint64_t first = (uint64_t)seq * x->ag_blocks, left = x->blocks - first;
	struct group g = { .at = first * x->block_size, .seq = seq,
		.length = left < x->ag_blocks ? (uint32_t)left : x->ag_blocks };
	uint8_t agf[32768];
	const char *why;
	uint32_t levels;

	if ((uint64_t)g.length * x->block_size < 2ull * x->sector ||
	    blk_read(&x->part, agf, x->sector, g.at + x->sector, NULL) < 0)
		return unread;
	levels = get_be32(agf + AGF_LEVELS);
	if (memcmp(agf, "XAGF", 4) != 0 || get_be32(agf + AGF_SEQ) != seq ||
	    get_be32(agf + AGF_LENGTH) != g.length || levels == 0 || levels > LEVELS_MAX ||
	    (x->v5 && !sum_holds(agf, x->sector, AGF_CRC)))
		return damaged;
	why = walk_tree(x, &g, get_be32(agf + AGF_ROOT), levels);
	return why ? why : g.sum != get_be32(agf + AGF_FREE) ? damaged : NULL;
}

const char *freexfs_find(struct freespace *f, const struct blk *part)
{
	struct xfs x = { .part = *part, .f = f };
	const char *why = take_super(&x);

	if (!why)
		why = check_log(&x);
	if (why)
		return why;
	x.block = mem_alloc(x.block_size);
	for (uint32_t seq = 0; !why && seq < x.ag_count; seq++)
		why = walk_group(&x, seq);
	free(x.block);
	return why;
}
