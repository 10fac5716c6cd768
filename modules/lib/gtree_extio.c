/* SPDX-License-Identifier: Apache-2.0
 * gtree_extio - libext2fs' blocks out of a disk of ours.
 */
#include "modules/lib/gtree_ext.h"
#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define PREFIX "drover:"

void gtree_ext_io_name(struct ext *x, char out[64])
{
	snprintf(out, 64, PREFIX "%llx", (unsigned long long)(uintptr_t)&x->part);
}

static errcode_t ch_open(const char *name, int flags, io_channel *out)
{
	unsigned long long p;
	io_channel ch;

	(void)flags;
	if (sscanf(name, PREFIX "%llx", &p) != 1)
		return EXT2_ET_BAD_DEVICE_NAME;
	ch = mem_alloc(sizeof(*ch));
	ch->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	ch->manager = gtree_ext_io;
	ch->name = mem_strdup(name);
	ch->block_size = 1024;
	ch->refcount = 1;
	ch->private_data = (void *)(uintptr_t)p;
	*out = ch;
	return 0;
}

static errcode_t ch_close(io_channel ch)
{
	if (--ch->refcount > 0)
		return 0;
	free(ch->name);
	free(ch);
	return 0;
}

static errcode_t ch_set_blksize(io_channel ch, int blksize)
{
	if (blksize < 512 || blksize > 65536)
		return EXT2_ET_UNEXPECTED_BLOCK_SIZE;
	ch->block_size = blksize;
	return 0;
}

/* A negative count means bytes. */
static size_t length_of(io_channel ch, int count)
{
	return count < 0 ? (size_t)-(int64_t)count
			 : (size_t)count * (size_t)ch->block_size;
}

static errcode_t ch_read64(io_channel ch, unsigned long long block, int count,
			   void *data)
{
	const struct blk *part = ch->private_data;
	uint64_t at;

	if (__builtin_mul_overflow(block, (uint64_t)ch->block_size, &at) ||
	    blk_read(part, data, length_of(ch, count), at, NULL) < 0)
		return EXT2_ET_SHORT_READ;
	return 0;
}

static errcode_t ch_write64(io_channel ch, unsigned long long block, int count,
			    const void *data)
{
	const struct blk *part = ch->private_data;
	uint64_t at;

	if (__builtin_mul_overflow(block, (uint64_t)ch->block_size, &at) ||
	    blk_write(part, data, length_of(ch, count), at, NULL) < 0)
		return EXT2_ET_SHORT_WRITE;
	return 0;
}

static errcode_t ch_read(io_channel ch, unsigned long block, int count, void *data)
{
	return ch_read64(ch, block, count, data);
}

static errcode_t ch_write(io_channel ch, unsigned long block, int count,
			  const void *data)
{
	return ch_write64(ch, block, count, data);
}

static errcode_t ch_write_byte(io_channel ch, unsigned long at, int n,
			       const void *data)
{
	if (n < 0 || blk_write(ch->private_data, data, (size_t)n, at, NULL) < 0)
		return EXT2_ET_SHORT_WRITE;
	return 0;
}

/* Stable storage is asked for once, when the tree is closed. */
static errcode_t ch_flush(io_channel ch)
{
	(void)ch;
	return 0;
}

static struct struct_io_manager manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "drover disk",
	.open = ch_open,
	.close = ch_close,
	.set_blksize = ch_set_blksize,
	.read_blk = ch_read,
	.write_blk = ch_write,
	.read_blk64 = ch_read64,
	.write_blk64 = ch_write64,
	.write_byte = ch_write_byte,
	.flush = ch_flush,
};

const io_manager gtree_ext_io = &manager;
