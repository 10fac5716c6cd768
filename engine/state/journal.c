/* SPDX-License-Identifier: Apache-2.0
 * journal - append, sync, cut, trim. See the header for the format.
 */
#include "engine/state/journal.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/state/journal_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct journal_io journal_io_real = { pwrite, fdatasync };

int journal_read(const char *path, const char *lineage, journal_fn *fn, void *arg,
		 uint64_t *last, struct err *e)
{
	AUTO_IMAGE m = { 0 };
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);

	if (last)
		*last = 0;
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, "cannot read journal '%s'", path);
	if (image_load(&m, fd, path, lineage, e) < 0)
		return -1;
	if (last)
		*last = m.last;
	return image_each(&m, 0, fn, arg, e);
}

/* ---- writing --------------------------------------------------------------- */

static int journal_create(const char *path, const char *lineage, uint64_t base,
			  struct err *e)
{
	uint8_t h[HEADER_LEN];

	image_header(h, lineage, base);
	if (io_write_file(AT_FDCWD, path, h, sizeof(h), 0600) < 0)
		return err_sys(e, "cannot make journal '%s'", path);
	return 0;
}

/* Best effort: without it a bad last record is taken for one that was never whole. */
static void seal(const struct journal *j)
{
	uint8_t s[SEAL_LEN];

	image_seal(s, j->durable);
	if (j->durable > 0)
		(void)j->io->pwrite(j->fd, s, sizeof(s), (off_t)j->end);
}

int journal_open(struct journal *j, const char *path, const char *lineage,
		 uint64_t base, journal_fn *fn, void *arg, struct err *e)
{
	AUTO_IMAGE m = { 0 };

	*j = (struct journal){ .path = mem_strdup(path), .fd = -1, .io = &journal_io_real };
	snprintf(j->lineage, sizeof(j->lineage), "%s", lineage);
	j->fd = open(path, O_RDWR | O_CLOEXEC);
	if (j->fd < 0 && errno == ENOENT) {
		if (journal_create(path, lineage, base, e) < 0)
			return -1;
		j->fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (j->fd < 0)
		return err_sys(e, "cannot open journal '%s'", path);
	if (image_load(&m, j->fd, path, lineage, e) < 0)
		return -1;
	j->cut = m.torn;
	if (j->cut > 0 && ftruncate(j->fd, (off_t)m.end) < 0)
		return err_sys(e, "cannot cut the torn end of journal '%s'", path);
	/* What was written before a kill may not be synced yet. */
	if (fdatasync(j->fd) < 0)
		return err_sys(e, "cannot sync journal '%s'", path);
	j->base = m.base;
	j->last = j->durable = m.last;
	j->chain = m.chain;
	j->end = m.end;
	seal(j);
	return image_each(&m, 0, fn, arg, e);
}

void journal_close(struct journal *j)
{
	if (j->path && j->fd >= 0)
		close(j->fd);
	j->fd = -1;
	free(j->path);
	j->path = NULL;
}

static int write_all(const struct journal *j, const char *p, size_t n, uint64_t at)
{
	while (n > 0) {
		ssize_t k = j->io->pwrite(j->fd, p, n, (off_t)at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -1;
		if (k == 0) {
			errno = EIO;
			return -1;
		}
		p += k;
		n -= (size_t)k;
		at += (uint64_t)k;
	}
	return 0;
}

static void batch_make(const struct journal *j, const struct journal_record *v, size_t n,
		       struct str *out, uint64_t *chain)
{
	*chain = j->chain;
	for (size_t i = 0; i < n; i++) {
		uint8_t head[RECORD_LEN];

		*chain = image_record(head, &v[i], j->durable, *chain);
		str_addn(out, head, sizeof(head));
		str_addn(out, v[i].payload, v[i].len);
	}
}

int journal_write(struct journal *j, const struct journal_record *v, size_t n,
		  struct err *e)
{
	AUTO_STR batch = { 0 };
	uint64_t chain;

	if (n == 0)
		return 0;
	if (j->broken)
		return err_set(e, ERR_SYSTEM, "cannot write journal '%s': an earlier "
			       "write failed", j->path);
	batch_make(j, v, n, &batch, &chain);
	if (write_all(j, batch.s, batch.len, j->end) < 0) {
		err_sys(e, "cannot write journal '%s'", j->path);
		/* Leave no half of it behind; a torn tail would be cut anyway. */
		if (ftruncate(j->fd, (off_t)j->end) < 0 || e->sys != ENOSPC)
			j->broken = true;
		return -1;
	}
	if (j->io->fdatasync(j->fd) < 0) {
		j->broken = true;	/* what is on disk now, nobody knows */
		return err_sys(e, "cannot sync journal '%s'", j->path);
	}
	j->end += batch.len;
	j->chain = chain;
	j->last = j->durable = v[n - 1].seq;
	seal(j);
	return 0;
}

/* ---- trimming -------------------------------------------------------------- */

struct trim {
	struct journal *to;
	struct str *out;
};

static int trim_copy(void *arg, const struct journal_record *r, struct err *e)
{
	struct trim *t = arg;
	uint64_t chain;

	(void)e;
	batch_make(t->to, r, 1, t->out, &chain);
	t->to->chain = chain;
	t->to->last = r->seq;
	return 0;
}

int journal_trim(struct journal *j, uint64_t upto, struct err *e)
{
	AUTO_IMAGE m = { 0 };
	AUTO_STR out = { 0 };
	struct journal next = *j;
	struct trim t = { &next, &out };
	uint8_t h[HEADER_LEN];

	if (j->broken || upto <= j->base)
		return 0;
	if (image_load(&m, j->fd, j->path, j->lineage, e) < 0)
		return -1;
	next.base = next.last = upto;
	next.chain = image_header(h, j->lineage, upto);
	str_addn(&out, h, sizeof(h));
	if (image_each(&m, upto, trim_copy, &t, e) < 0)
		return -1;
	if (io_write_file(AT_FDCWD, j->path, out.s, out.len, 0600) < 0)
		return err_sys(e, "cannot trim journal '%s'", j->path);
	next.fd = open(j->path, O_RDWR | O_CLOEXEC);
	if (next.fd < 0) {
		j->broken = true;	/* the open file is no longer the named one */
		return err_sys(e, "cannot open journal '%s'", j->path);
	}
	close(j->fd);
	next.end = out.len;
	*j = next;
	seal(j);
	return 0;
}
