/* SPDX-License-Identifier: Apache-2.0
 * backup - images of machines' disks: writing.
 */
#include "modules/lib/backup.h"

#include "engine/base/mem.h"
#include "modules/lib/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH 4096u		/* digests taken over at once */

struct writer {
	struct sink k;
	struct chunkstore *store;
	struct map *m;
	uint64_t added;		/* bytes in packs; atomic */
	bool finished;
};

static struct writer *of(struct sink *k)
{
	return (struct writer *)k;
}

/* ---- the sink ------------------------------------------------------------ */

static bool w_have(struct sink *k, uint64_t index, uint8_t digest[SHA256_LEN])
{
	return map_get(of(k)->m, index, digest) != 0;
}

static int w_data(struct sink *k, const struct stream_chunk *c, struct err *e)
{
	struct chunk_bytes b = { .p = c->frame ? c->frame : c->plain,
		.n = c->frame ? c->frame_len : c->plain_len, .plain = c->plain_len,
		.zip = c->frame != NULL };

	return chunkstore_put(of(k)->store, c->digest, &b, &of(k)->added, e);
}

/* Zeros are known by their digest, and not stored. */
static int w_zero(struct sink *k, uint64_t index, uint64_t count, struct err *e)
{
	(void)k;
	(void)index;
	(void)count;
	(void)e;
	return 0;
}

static int w_sync(struct sink *k, struct err *e)
{
	return chunkstore_seal(of(k)->store, e);
}

static int w_enter(struct sink *k, const struct map_update *u, size_t n, struct err *e)
{
	return map_commit(of(k)->m, u, n, e);
}

static int w_finish(struct sink *k, uint8_t root[SHA256_LEN], struct err *e)
{
	if (map_finish(of(k)->m, root, e) < 0)
		return -1;
	of(k)->finished = true;
	return 0;
}

/* ---- what another backup has --------------------------------------------- */

struct likeness {
	const struct backup_target *t;
	char *dir;		/* of the best so far; owned */
	char *disk;		/* which disk of it; owned */
	char *name;		/* of that backup: names are times */
	int rank;		/* 2: the same disk; 1: of another, as large; 0: none */
};

static void weigh_disk(struct likeness *l, const struct backup_at *b, const char *disk,
		       const json_t *line)
{
	const struct map_id *id = l->t->id;
	bool same = strcmp(b->machine, id->machine) == 0 && strcmp(disk, id->disk) == 0;
	int rank = same ? 2 : (uint64_t)jint(line, "size", 0) == id->size;

	if (rank == 0 || (uint64_t)jint(line, "chunk", 0) != id->chunk || rank < l->rank ||
	    (rank == l->rank && strcmp(b->name, l->name) < 0))
		return;
	free(l->dir);
	free(l->disk);
	free(l->name);
	l->dir = mem_strdup(b->dir);
	l->disk = mem_strdup(disk);
	l->name = mem_strdup(b->name);
	l->rank = rank;
}

static int weigh_backup(void *arg, const struct backup_at *b)
{
	AUTO_JSON *index = b->finished ? backup_index(b->dir, NULL) : NULL;
	const char *disk;
	json_t *line;

	json_object_foreach(json_object_get(index, "disks"), disk, line)
		weigh_disk(arg, b, disk, line);
	return 0;
}

/* Take over the digests of chunks that the store has. */
static int take_over(struct writer *w, struct map *from, struct err *e)
{
	AUTO_FREE struct map_update *u = mem_alloc(BATCH * sizeof(*u));
	uint64_t end = map_chunks(w->m) < map_chunks(from) ? map_chunks(w->m) :
		map_chunks(from);
	uint8_t zero[SHA256_LEN];
	size_t n = 0;

	tree_zero_digest(map_id(w->m)->chunk, zero);
	for (uint64_t i = 0; i < end; i++) {
		u[n] = (struct map_update){ .index = i, .count = 1 };
		if (map_get(from, i, u[n].digest) &&
		    (memcmp(u[n].digest, zero, SHA256_LEN) == 0 ||
		     chunkstore_has(w->store, u[n].digest)))
			n++;
		if (n == BATCH || (n > 0 && i + 1 == end)) {
			if (map_commit(w->m, u, n, e) < 0)
				return -1;
			n = 0;
		}
	}
	return 0;
}

/* Without a likeness it begins with nothing. */
static int begin_alike(struct writer *w, const struct backup_target *t, struct err *e)
{
	struct likeness l = { .t = t };
	AUTO_MAP *from = NULL;
	int rc = 0;

	backup_each(t->place, weigh_backup, &l, NULL);
	if (l.rank > 0) {
		AUTO_FREE char *path = mem_printf("%s/%s.map", l.dir, l.disk);

		from = map_open(path, false, NULL);
	}
	if (from)
		rc = take_over(w, from, e);
	free(l.dir);
	free(l.disk);
	free(l.name);
	return rc;
}

/* ---- beginning and ending -------------------------------------------------- */

static bool same_disk(const struct map_id *a, const struct map_id *b)
{
	return a->size == b->size && a->chunk == b->chunk &&
		strcmp(a->lineage, b->lineage) == 0 && strcmp(a->machine, b->machine) == 0 &&
		strcmp(a->disk, b->disk) == 0;
}

/* What an earlier attempt left, when it was of this disk as it is now. */
static int open_map(struct writer *w, const struct backup_target *t, struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/%s.map", t->dir, t->id->disk);

	w->m = map_open(path, true, NULL);
	if (w->m && same_disk(map_id(w->m), t->id))
		return map_begin(w->m, 1, e);
	map_close(w->m);
	w->m = NULL;
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, "cannot remove '%s'", path);
	w->m = map_create(path, t->id, e);
	if (!w->m || map_begin(w->m, 1, e) < 0)
		return -1;
	return begin_alike(w, t, e);
}

struct sink *backup_sink(const struct backup_target *t, struct err *e)
{
	struct writer *w = mem_alloc(sizeof(*w));

	w->k = (struct sink){ .have = w_have, .data = w_data, .zero = w_zero, .frames = true,
		.sync = w_sync, .enter = w_enter, .finish = w_finish, .known = true,
		.pass = 1 };
	w->store = t->store;
	if (open_map(w, t, e) == 0)
		return &w->k;
	json_decref(backup_sink_end(&w->k));
	return NULL;
}

json_t *backup_sink_end(struct sink *k)
{
	struct writer *w = of(k);
	json_t *line = NULL;
	struct map_state st;
	char hex[SHA256_HEX];

	if (w->finished) {
		map_state(w->m, &st);
		io_hex(st.root, SHA256_LEN, hex);
		line = json_object();
		jset_int(line, "size", (int64_t)map_id(w->m)->size);
		jset_int(line, "chunk", map_id(w->m)->chunk);
		jset_str(line, "digest", hex);
		jset_int(line, "stored", (int64_t)w->added);
	}
	map_close(w->m);
	free(w);
	return line;
}

/* The directory it lies in, that one's, and the place: each may be new. */
static int sync_up(const char *final)
{
	AUTO_FREE char *dir = mem_strdup(final);
	int rc = 0;

	for (int i = 0; rc == 0 && i < 3; i++) {
		*strrchr(dir, '/') = '\0';
		rc = io_sync_dir(dir);
	}
	return rc;
}

int backup_publish(const char *dir, const char *final, json_t *index, struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/index.json", dir);
	AUTO_FREE char *text = json_pretty(index);

	if (io_write_file(AT_FDCWD, path, text, strlen(text), 0600) < 0 ||
	    io_sync_dir(dir) < 0 || rename(dir, final) < 0 || sync_up(final) < 0)
		return err_sys(e, "cannot publish backup '%s'", final);
	return 0;
}
