/* SPDX-License-Identifier: Apache-2.0
 * call.backups - list the backups at a place, verify one, restore a disk of one, take
 * old ones away.
 *
 * probe lists and verifies and changes nothing; apply restores into a file that is
 * not there yet, or onto a device that is not in use, and prunes.
 * volatile: {backups: [{machine, name, path, at, disks{}}]}, of one that is damaged {machine,
 * name, path, damaged: what is said of it}, or
 * {verified: {DISK: digest}, checked, chunks}, or {restored}, or {removed: [...], freed};
 * the probe of a prune says what would be removed.
 */
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "modules/lib/backup.h"
#include "modules/lib/imgkind.h"
#include "modules/lib/tree.h"
#include "modules/module.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAMPLE_ONE_IN 20u	/* chunks that a sample reads */
#define SAMPLE_ALL 64u		/* so many chunks are read whole */

static const struct param params[] = {
	{ .name = "do", .type = P_ENUM, .dflt = "list", .words = "list|verify|restore|prune",
	  .summary = "what to do" },
	{ .name = "place", .type = P_PATH, .required = true, .summary = "where backups are kept" },
	{ .name = "path", .type = P_PATH, .summary = "verify, restore: the backup" },
	{ .name = "machines", .type = P_LIST, .summary = "prune: only those of these machines" },
	{ .name = "disk", .type = P_STR, .summary = "the disk to restore; verify: only it" },
	{ .name = "sample", .type = P_BOOL, .summary = "verify: one chunk in twenty" },
	{ .name = "to", .type = P_PATH, .summary = "restore: the file or device to write" },
	{ .name = "keep", .type = P_INT, .dflt = "1", .min = 1, .max = 1000000,
	  .summary = "prune: how many of a machine's newest stay" },
	{ .name = NULL },
};

/* ---- listing ------------------------------------------------------------- */

struct listing {
	json_t *out;
	const json_t *only;	/* these machines; NULL: all */
	bool damaged;		/* those, too, that are no backups any more */
};

static bool names(const json_t *list, const char *name)
{
	const json_t *one;
	size_t i;

	json_array_foreach(list, i, one)
		if (strcmp(json_string_value(one) ? json_string_value(one) : "", name) == 0)
			return true;
	return false;
}

static int list_one(void *arg, const struct backup_at *b)
{
	struct listing *l = arg;
	bool wanted = b->finished && (!l->only || names(l->only, b->machine));
	AUTO_ERR e = { 0 };
	AUTO_JSON *index = wanted ? backup_index(b->dir, &e) : NULL;
	json_t *one;

	if (!wanted || (!index && !l->damaged))
		return 0;
	one = json_object();
	jset_str(one, "machine", b->machine);
	jset_str(one, "name", b->name);
	jset_str(one, "path", b->dir);
	jset_str(one, "at", jstr(index, "at", NULL));
	if (index)
		json_object_set(one, "disks", json_object_get(index, "disks"));
	else
		jset_str(one, "damaged", e.what);
	jadd(l->out, one);
	return 0;
}

static int list(struct ctx *c, const char *place)
{
	AUTO_JSON *all = json_array();
	struct listing l = { all, NULL, true };
	AUTO_ERR e = { 0 };

	if (backup_each(place, list_one, &l, &e) < 0)
		return ctx_fail_err(c, &e);
	ctx_volatile(c, "backups", json_incref(all));
	return 0;
}

/* ---- reading all of a disk ------------------------------------------------- */

/* Where chunks go, and which are read. */
struct reading {
	struct disk *to;	/* NULL: they are only checked */
	bool compare;		/* `to` may hold a part of it already */
	bool sample;		/* only some chunks */
	uint64_t checked, chunks;
};

static bool left_out(struct reading *r, uint64_t chunks)
{
	uint32_t dice;

	if (!r->sample || chunks <= SAMPLE_ALL)
		return false;
	io_random(&dice, sizeof(dice));
	return dice % SAMPLE_ONE_IN != 0;
}

/* Is this chunk at the target already? Reading is cheaper than writing. */
static bool is_there(struct reading *r, const uint8_t *digest, void *buf, size_t n, uint64_t at)
{
	uint8_t is[SHA256_LEN];

	if (!r->compare || r->to->ops->read(r->to, buf, n, at, NULL) < 0)
		return false;
	sha256_of(buf, n, is);
	return memcmp(is, digest, SHA256_LEN) == 0;
}

static int one_chunk(struct reading *r, struct disk *from, uint64_t at, void *buf, size_t n,
		     struct err *e)
{
	uint8_t digest[SHA256_LEN];
	bool zero = backup_digest(from, at / backup_chunk(from), digest);

	if (r->to && ((zero && r->to->blank && !r->compare) || is_there(r, digest, buf, n, at)))
		return 0;
	if (zero)
		return r->to ? r->to->ops->zero(r->to, at, n, e) : 0;
	if (from->ops->read(from, buf, n, at, e) < 0)
		return -1;
	return r->to ? r->to->ops->write(r->to, buf, n, at, e) : 0;
}

/* The others are looked at, too: each that is damaged is noted. */
static void bad_chunk(struct err *first, struct err *e)
{
	if (!err_is(first))
		err_move(first, e);
	else
		err_clear(e);
}

static int read_all(struct ctx *c, struct disk *from, struct reading *r, const char *what,
		    struct err *e)
{
	uint32_t chunk = backup_chunk(from);
	uint64_t chunks = tree_chunks(from->size, chunk);
	AUTO_FREE void *buf = disk_buffer(chunk);
	AUTO_ERR first = { 0 };

	r->chunks += chunks;
	for (uint64_t at = 0; at < from->size; at += chunk) {
		size_t n = from->size - at < chunk ? (size_t)(from->size - at) : chunk;

		if (ctx_cancelled(c))
			return err_set(e, ERR_STOPPED, "stopped");
		if (left_out(r, chunks))
			continue;
		if (one_chunk(r, from, at, buf, n, e) < 0) {
			if (r->to || e->sys)
				return -1;
			bad_chunk(&first, e);
		}
		r->checked++;
		ctx_progress(c, at + n, from->size, "bytes", what);
	}
	if (err_is(&first)) {
		err_move(e, &first);
		return -1;
	}
	return r->to ? r->to->ops->flush(r->to, e) : 0;
}

static int verify_disk(struct ctx *c, struct chunkstore *store, const char *path,
		       const char *name, struct reading *r, struct err *e)
{
	AUTO_DISK *d = backup_open(store, path, name, e);

	return d ? read_all(c, d, r, name, e) : -1;
}

static int verify(struct ctx *c, const char *place, const char *path)
{
	const char *only = jstr(ctx_args(c), "disk", NULL), *name;
	struct reading r = { .sample = jbool(ctx_args(c), "sample", false) };
	AUTO_JSON *out = json_object();
	AUTO_ERR e = { 0 };
	AUTO_CHUNKS *store = chunkstore_open(place, CHUNKS_READ, &e);
	AUTO_JSON *index = store ? backup_index(path, &e) : NULL;
	json_t *line;

	if (!index)
		return ctx_fail_err(c, &e);
	json_object_foreach(json_object_get(index, "disks"), name, line) {
		if (only && strcmp(only, name) != 0)
			continue;
		if (verify_disk(c, store, path, name, &r, &e) < 0)
			return ctx_fail_err(c, &e);
		jset_str(out, name, jstr(line, "digest", ""));
	}
	ctx_volatile(c, "verified", json_incref(out));
	ctx_volatile(c, "checked", json_integer((json_int_t)r.checked));
	ctx_volatile(c, "chunks", json_integer((json_int_t)r.chunks));
	return 0;
}

/* ---- pruning ----------------------------------------------------------------- */

/* All but the newest of each machine, oldest first: names begin with their time. New; NULL
 * with e. */
static json_t *too_many(const struct ctx *c, const char *place, struct err *e)
{
	AUTO_JSON *all = json_array();
	struct listing l = { all, json_object_get(ctx_args(c), "machines"), false };
	json_t *out;

	if (backup_each(place, list_one, &l, e) < 0)
		return NULL;
	out = json_array();
	for (size_t i = 0; i < json_array_size(all); i++) {
		json_t *one = json_array_get(all, i);
		int64_t newer = 0;

		for (size_t k = i + 1; k < json_array_size(all); k++)
			newer += strcmp(jstr(json_array_get(all, k), "machine", ""),
					jstr(one, "machine", "")) == 0;
		if (newer >= jint(ctx_args(c), "keep", 1))
			json_array_append(out, one);
	}
	return out;
}

static int prune(struct ctx *c, const char *place)
{
	AUTO_ERR e = { 0 };
	json_t *gone = too_many(c, place, &e);
	uint64_t freed = 0;

	if (!gone)
		return ctx_fail_err(c, &e);
	ctx_volatile(c, "removed", gone);
	if (backup_sweep(place, gone, &freed, &e) < 0)
		return ctx_fail_err(c, &e);
	ctx_volatile(c, "freed", json_integer((json_int_t)freed));
	return 0;
}

/* ---- restoring ------------------------------------------------------------- */

/* One that was killed before it had its size holds nothing. */
static bool has_room(const char *growing)
{
	struct stat st;

	return stat(growing, &st) == 0 && st.st_size > 0;
}

/* A device is written where it is; a file grows beside its name, so that a restore
 * that was killed goes on, and half a disk is never taken for one. */
static struct disk *open_target(const char *to, const char *growing, const struct disk *from,
				struct reading *r, struct err *e)
{
	bool device = access(to, F_OK) == 0, fresh = !device && !has_room(growing);
	struct disk *d;

	if (fresh && unlink(growing) < 0 && errno != ENOENT) {
		err_sys(e, "cannot remove '%s'", growing);
		return NULL;
	}
	if (fresh && img_create(growing, "raw", from->size, e) < 0)
		return NULL;
	d = disk_open(device ? to : growing, DISK_WRITE, e);
	if (!d)
		return NULL;
	d->blank = fresh;
	r->compare = !fresh;
	if (device && !d->block) {
		err_set(e, ERR_STEP, "cannot restore to '%s': it exists already", to);
		err_hint(e, "name a file that is not there yet, or a device");
	} else if (device ? d->size < from->size : d->size != from->size) {
		err_set(e, ERR_STEP, "cannot restore to '%s': it has %llu bytes, the disk %llu",
			device ? to : growing, (unsigned long long)d->size,
			(unsigned long long)from->size);
		err_hint(e, device ? "name a larger device" : "remove it: another disk was "
			 "being restored there");
	} else {
		return d;
	}
	disk_close(&d, NULL);
	return NULL;
}

static int restore_disk(struct ctx *c, struct chunkstore *store, const char *to, struct err *e)
{
	const char *path = jstr(ctx_args(c), "path", ""), *disk = jstr(ctx_args(c), "disk", "");
	AUTO_FREE char *growing = mem_printf("%s.restoring", to);
	AUTO_DISK *from = backup_open(store, path, disk, e);
	AUTO_DISK *d = NULL;
	struct reading r = { 0 };
	bool block;

	d = from ? open_target(to, growing, from, &r, e) : NULL;
	r.to = d;
	if (!d || read_all(c, from, &r, disk, e) < 0)
		return -1;
	ctx_volatile(c, "restored", json_integer((json_int_t)from->size));
	block = d->block;
	if (disk_close(&d, e) < 0)
		return -1;
	/* Never over a file that came meanwhile. */
	if (!block && (renameat2(AT_FDCWD, growing, AT_FDCWD, to, RENAME_NOREPLACE) < 0 ||
		       io_sync_parent(to) < 0))
		return err_sys(e, "cannot name the restored disk '%s'", to);
	return 0;
}

static int restore(struct ctx *c, const char *place)
{
	const char *to = jstr(ctx_args(c), "to", NULL);
	AUTO_ERR e = { 0 };
	AUTO_CHUNKS *store = NULL;

	if (!to || !text_name_ok(jstr(ctx_args(c), "disk", "")))
		return ctx_fail(c, "cannot restore: a disk and a place to write it are needed");
	store = chunkstore_open(place, CHUNKS_READ, &e);
	return !store || restore_disk(c, store, to, &e) < 0 ? ctx_fail_err(c, &e) : 0;
}

/* ---- the module -------------------------------------------------------------- */

static int probe(struct ctx *c, enum probe_state *state)
{
	const char *what = jstr(ctx_args(c), "do", "list");
	const char *place = jstr(ctx_args(c), "place", "");
	AUTO_ERR e = { 0 };
	json_t *gone;

	*state = STATE_DONE;
	if (strcmp(what, "verify") == 0)
		return verify(c, place, jstr(ctx_args(c), "path", ""));
	if (strcmp(what, "list") == 0)
		return list(c, place);
	*state = STATE_ABSENT;
	if (strcmp(what, "prune") != 0)
		return 0;
	gone = too_many(c, place, &e);
	if (!gone)
		return ctx_fail_err(c, &e);
	ctx_volatile(c, "removed", gone);
	return 0;
}

static int apply(struct ctx *c)
{
	const char *what = jstr(ctx_args(c), "do", ""), *place = jstr(ctx_args(c), "place", "");

	if (strcmp(what, "restore") == 0)
		return restore(c, place);
	if (strcmp(what, "prune") == 0)
		return prune(c, place);
	return ctx_fail(c, "cannot '%s' backups: nothing would change", what);
}

const struct module module_call_backups = {
	.name = "call.backups",
	.summary = "list, verify, restore and prune backups",
	.place = ON_AT,
	.params = params,
	.probe = probe,
	.apply = apply,
};
