/* SPDX-License-Identifier: Apache-2.0
 * backup_sweep - take a backup away, and give back the room of what nobody needs.
 */
#include "modules/lib/backup.h"

#include "engine/base/mem.h"
#include "modules/lib/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GONE ".gone"		/* on its way out */

int backup_remove(const char *dir, struct err *e)
{
	const char *name = strrchr(dir, '/') + 1;
	AUTO_FREE char *away = name[0] == '.' ? mem_strdup(dir) :
		mem_printf("%.*s.%s" GONE, (int)(name - dir), dir, name);

	if (strcmp(away, dir) != 0) {
		io_remove_tree(away);
		if (rename(dir, away) < 0 && errno != ENOENT)
			return err_sys(e, "cannot remove backup '%s'", dir);
	}
	if (io_remove_tree(away) < 0 && errno != ENOENT)
		return err_sys(e, "cannot remove backup '%s'", dir);
	return 0;
}

/* ---- marking ---------------------------------------------------------------- */

struct marking {
	struct chunkstore *store;
	struct err *e;
};

static int mark_map(struct chunkstore *store, struct map *m)
{
	uint8_t digest[SHA256_LEN], zero[2][SHA256_LEN];
	struct map_state st;
	int rc = 0;

	tree_zeros(map_id(m)->size, map_id(m)->chunk, zero);
	map_state(m, &st);
	for (uint64_t i = 0; i < map_chunks(m); i++) {
		bool last = map_chunk_len(m, i) < map_id(m)->chunk;

		if (!map_get(m, i, digest))
			rc = st.complete ? -1 : rc;	/* half a backup knows only a part */
		else if (memcmp(digest, zero[last], SHA256_LEN) != 0 &&
			 !chunkstore_mark(store, digest))
			rc = -1;
	}
	return rc;
}

static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n > m && strcmp(name + n - m, end) == 0;
}

/* All maps in its directory; also those of a backup under way. What a kill left of one
 * that was being removed is removed. */
static int mark_backup(void *arg, const struct backup_at *b)
{
	struct marking *k = arg;
	DIR *dir = opendir(b->dir);
	const struct dirent *d;
	int rc = 0, fault;

	if (ends_in(b->name, GONE)) {
		if (dir)
			closedir(dir);
		return io_remove_tree(b->dir) < 0 && errno != ENOENT ?
			err_sys(k->e, "cannot remove '%s'", b->dir) : 0;
	}
	if (!dir)
		return err_sys(k->e, "cannot read backup '%s'", b->dir);
	while (errno = 0, rc == 0 && (d = readdir(dir))) {
		AUTO_FREE char *path = mem_printf("%s/%s", b->dir, d->d_name);
		AUTO_MAP *m = ends_in(d->d_name, ".map") ? map_open(path, false, k->e) : NULL;

		if (m ? mark_map(k->store, m) < 0 : ends_in(d->d_name, ".map"))
			rc = -1;
	}
	fault = errno;
	closedir(dir);
	errno = fault;
	if (rc == 0)
		return fault ? err_sys(k->e, "cannot read backup '%s'", b->dir) : 0;
	/* What it needs cannot be known: nothing may be thrown away. */
	err_clear(k->e);
	err_set(k->e, ERR_STEP, "cannot tidy up: backup '%s' is damaged", b->dir);
	return err_hint(k->e, "if it is not needed, remove that directory, then drover "
			"backups prune PLAN --keep COUNT");
}

static int remove_all(const json_t *gone, struct err *e)
{
	const json_t *one;
	size_t i;

	json_array_foreach(gone, i, one)
		if (backup_remove(jstr(one, "path", ""), e) < 0)
			return -1;
	return 0;
}

static bool is_not(const char *path)
{
	return access(path, F_OK) < 0 && errno == ENOENT;
}

int backup_sweep(const char *place, const json_t *gone, uint64_t *freed, struct err *e)
{
	AUTO_CHUNKS *store = NULL;
	AUTO_FREE char *machines = mem_printf("%s/machines", place);
	AUTO_FREE char *packs = mem_printf("%s/packs", place);
	struct marking k = { .e = e };

	*freed = 0;
	if (is_not(packs) && is_not(machines))
		return 0;	/* no backup is kept there */
	k.store = store = chunkstore_open(place, CHUNKS_SWEEP, e);
	if (!store || remove_all(gone, e) < 0 || backup_each(place, mark_backup, &k, e) < 0 ||
	    chunkstore_sweep(store, freed, e) < 0)
		return -1;
	if (rmdir(machines) == 0)
		chunkstore_leave_no_trace(store);
	return 0;
}
