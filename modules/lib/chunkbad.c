/* SPDX-License-Identifier: Apache-2.0
 * chunkbad - chunks that were found damaged, noted at the store: the next backup that has one
 * of them stores it again.
 *
 *   <place>/bad     a line a chunk: its pack and its offset there, in hex
 *
 * A note is no verdict: who reads and finds no other entry reads what is noted.
 */
#include "modules/lib/chunkstore_impl.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAD_MAX (4u << 20)	/* bytes; more says nothing new */

void chunkbad_load(struct chunkstore *s)
{
	AUTO_FREE char *path = mem_printf("%s/bad", s->place);
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, BAD_MAX, NULL);
	struct chunk_bad b;

	for (char *save = NULL, *line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%" SCNx64 " %" SCNx64, &b.pack, &b.offset) != 2)
			continue;
		s->bad = mem_grow(s->bad, s->bads, &s->bad_cap, sizeof(b));
		s->bad[s->bads++] = b;
	}
}

bool chunkbad_is(const struct chunkstore *s, const struct chunk_entry *en)
{
	for (size_t i = 0; i < s->bads; i++)
		if (s->bad[i].pack == en->pack && s->bad[i].offset == en->offset)
			return true;
	return false;
}

/* A place that cannot be written to is told no more than its reader is. */
void chunkbad_note(const struct chunkstore *s, const struct chunk_entry *en)
{
	AUTO_FREE char *path = mem_printf("%s/bad", s->place);
	AUTO_FREE char *line = mem_printf("%016" PRIx64 " %016" PRIx64 "\n", en->pack, en->offset);

	if (chunkbad_is(s, en))
		return;
	AUTO_FD fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
			  0600);
	if (fd < 0 || io_write_full(fd, line, strlen(line)) < 0 || fsync(fd) < 0)
		errno = 0;
}

void chunkbad_forget(const struct chunkstore *s)
{
	AUTO_FREE char *path = mem_printf("%s/bad", s->place);

	unlink(path);
}
