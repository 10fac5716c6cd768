/* SPDX-License-Identifier: Apache-2.0
 * backup - images of a machine's disks: writing.
 */
#include "modules/lib/backup_impl.h"

#include "engine/base/mem.h"
#include "modules/lib/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct writer {
	struct sink k;
	struct backup_head h;
	int index, data;	/* files */
	char *path;		/* of the data; for messages */
	uint64_t end;		/* where the next chunk goes; atomic */
	bool finished;
};

static struct writer *of(struct sink *k)
{
	return (struct writer *)k;
}

static bool w_have(struct sink *k, uint64_t index, uint8_t digest[SHA256_LEN])
{
	(void)k;
	(void)index;
	(void)digest;
	return false;
}

static int w_data(struct sink *k, const struct stream_chunk *c, struct err *e)
{
	struct writer *w = of(k);
	const void *p = c->frame ? c->frame : c->plain;
	uint32_t n = c->frame ? c->frame_len : c->plain_len;
	struct backup_entry en = { .length = n, .flags = c->frame ? BACKUP_ZIP : BACKUP_PLAIN,
		.offset = __atomic_fetch_add(&w->end, n, __ATOMIC_RELAXED) };

	memcpy(en.digest, c->digest, SHA256_LEN);
	if (io_pwrite_full(w->data, p, n, en.offset) < 0 ||
	    io_pwrite_full(w->index, &en, sizeof(en), backup_entry_at(c->index)) < 0)
		return err_sys(e, "cannot write backup '%s'", w->path);
	sync_file_range(w->data, (off_t)en.offset, n, SYNC_FILE_RANGE_WRITE);
	return 0;
}

/* An entry of zeros is what a hole of the index file reads as. */
static int w_zero(struct sink *k, uint64_t index, uint64_t count, struct err *e)
{
	(void)k;
	(void)index;
	(void)count;
	(void)e;
	return 0;
}

static int w_commit(struct sink *k, const struct map_update *u, size_t n, struct err *e)
{
	(void)k;
	(void)u;
	(void)n;
	(void)e;
	return 0;	/* nothing counts before all of it is published */
}

int backup_compute_root(int fd, const struct backup_head *h, uint8_t root[SHA256_LEN])
{
	uint64_t chunks = (h->size + h->chunk - 1) / h->chunk;
	uint8_t zero[2][SHA256_LEN];
	struct backup_entry en;
	struct tree t = { .next = 0 };

	tree_zero_digest(h->chunk, zero[0]);
	tree_zero_digest((size_t)(h->size % h->chunk), zero[1]);
	for (uint64_t i = 0; i < chunks; i++) {
		if (io_pread_full(fd, &en, sizeof(en), backup_entry_at(i)) < 0) {
			tree_free(&t);
			return -1;
		}
		tree_add(&t, en.flags ? en.digest :
			 zero[i + 1 == chunks && h->size % h->chunk]);
	}
	tree_end(&t, h->size, h->chunk, root);
	return 0;
}

static int w_finish(struct sink *k, uint8_t root[SHA256_LEN], struct err *e)
{
	struct writer *w = of(k);
	uint64_t chunks = (w->h.size + w->h.chunk - 1) / w->h.chunk;

	if (ftruncate(w->index, (off_t)backup_entry_at(chunks)) < 0 ||
	    backup_compute_root(w->index, &w->h, root) < 0)
		return err_sys(e, "cannot write backup '%s'", w->path);
	memcpy(w->h.root, root, SHA256_LEN);
	if (io_pwrite_full(w->index, &w->h, sizeof(w->h), 0) < 0 || fsync(w->index) < 0 ||
	    fsync(w->data) < 0)
		return err_sys(e, "cannot write backup '%s'", w->path);
	w->finished = true;
	return 0;
}

static int create(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? err_sys(e, "cannot create '%s'", path) : fd;
}

struct sink *backup_sink(const char *dir, const struct stream_offer *o, struct err *e)
{
	AUTO_FREE char *index = mem_printf("%s/%s.index", dir, o->disk);
	struct writer *w = mem_alloc(sizeof(*w));

	w->k = (struct sink){ .have = w_have, .data = w_data, .zero = w_zero,
		.commit = w_commit, .finish = w_finish, .pass = 1 };
	w->h = (struct backup_head){ .size = o->size, .chunk = o->chunk };
	memcpy(w->h.magic, BACKUP_MAGIC, sizeof(w->h.magic));
	w->path = mem_printf("%s/%s.data", dir, o->disk);
	w->index = create(index, e);
	w->data = w->index < 0 ? -1 : create(w->path, e);
	if (w->data >= 0)
		return &w->k;
	json_decref(backup_sink_end(&w->k));
	return NULL;
}

json_t *backup_sink_end(struct sink *k)
{
	struct writer *w = of(k);
	json_t *line = NULL;
	char hex[SHA256_HEX];

	if (w->finished) {
		line = json_object();
		io_hex(w->h.root, SHA256_LEN, hex);
		jset_int(line, "size", (int64_t)w->h.size);
		jset_int(line, "chunk", w->h.chunk);
		jset_str(line, "digest", hex);
		jset_int(line, "stored", (int64_t)w->end);
	}
	mem_close_fd(&w->index);
	mem_close_fd(&w->data);
	free(w->path);
	free(w);
	return line;
}

static int sync_dir(const char *path)
{
	AUTO_FD fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -1 : fsync(fd);
}

int backup_publish(const char *dir, const char *final, json_t *index, struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/index.json", dir);
	AUTO_FREE char *text = json_pretty(index);
	AUTO_FREE char *parent = mem_strdup(final);

	*strrchr(parent, '/') = '\0';
	if (io_write_file(AT_FDCWD, path, text, strlen(text), 0600) < 0 || sync_dir(dir) < 0 ||
	    rename(dir, final) < 0 || sync_dir(parent) < 0)
		return err_sys(e, "cannot publish backup '%s'", final);
	return 0;
}
