/* SPDX-License-Identifier: Apache-2.0
 * stream_slots - sealed memory with a descriptor, in pieces of one chunk.
 */
#include "modules/lib/stream_slots.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static struct slots *map(int fd, uint32_t size, uint32_t count, int prot)
{
	void *p = mmap(NULL, (size_t)size * count, prot, MAP_SHARED, fd, 0);
	struct slots *s;

	if (p == MAP_FAILED)
		return NULL;
	s = mem_alloc(sizeof(*s));
	*s = (struct slots){ .p = p, .size = size, .count = count, .fd = -1,
		.taken = mem_alloc(count * sizeof(*s->taken)) };
	return s;
}

struct slots *slots_new(uint32_t size, uint32_t count)
{
	int fd = memfd_create("drover-stream", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct slots *s = NULL;

	if (fd >= 0 && ftruncate(fd, (off_t)size * count) == 0 &&
	    fcntl(fd, F_ADD_SEALS, SEALS) == 0)
		s = map(fd, size, count, PROT_READ);
	if (s)
		s->fd = fd;
	else
		mem_close_fd(&fd);
	return s;
}

struct slots *slots_of(int taken, uint32_t size, uint32_t count, struct err *e)
{
	AUTO_FD fd = taken;
	struct slots *s;
	struct stat st;

	if (count > SLOTS_MAX || fcntl(fd, F_GET_SEALS) != SEALS || fstat(fd, &st) < 0 ||
	    (uint64_t)st.st_size != (uint64_t)size * count) {
		err_set(e, ERR_STEP, "the other end offers memory that cannot be used");
		return NULL;
	}
	s = map(fd, size, count, PROT_READ | PROT_WRITE);
	if (!s)
		err_sys(e, "cannot use the memory of the other end");
	return s;
}

void slots_free(struct slots *s)
{
	if (!s)
		return;
	munmap(s->p, (size_t)s->size * s->count);
	mem_close_fd(&s->fd);
	free(s->taken);
	free(s);
}

void *slots_at(const struct slots *s, uint32_t slot)
{
	return s->p + (size_t)slot * s->size;
}

uint32_t slots_take(struct slots *s)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (slots_take_this(s, i))
			return i;
	return NO_SLOT;
}

bool slots_take_this(struct slots *s, uint64_t slot)
{
	if (slot >= s->count || s->taken[slot])
		return false;
	s->taken[slot] = true;
	return true;
}

bool slots_give_back(struct slots *s, uint64_t slot)
{
	if (slot >= s->count || !s->taken[slot])
		return false;
	s->taken[slot] = false;
	return true;
}
