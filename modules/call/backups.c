/* SPDX-License-Identifier: Apache-2.0
 * call.backups - list the backups at a place, verify one, restore a disk of one.
 *
 * probe lists and verifies and changes nothing; apply restores into a file that is
 * not there yet, or onto a device that is not in use.
 * volatile: {backups: [{machine, name, path, at, disks{}}]} or {verified: {}}
 */
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "modules/lib/backup.h"
#include "modules/module.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAMES_MAX 10000

static const struct param params[] = {
	{ .name = "do", .type = P_ENUM, .dflt = "list", .words = "list|verify|restore",
	  .summary = "what to do" },
	{ .name = "path", .type = P_PATH, .required = true,
	  .summary = "the place of backups (list), or one backup" },
	{ .name = "machine", .type = P_STR, .summary = "list only those of this machine" },
	{ .name = "disk", .type = P_STR, .summary = "the disk to restore; verify: only it" },
	{ .name = "to", .type = P_PATH, .summary = "restore: the file or device to write" },
	{ .name = NULL },
};

/* ---- listing ------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names in a directory that are names, sorted; none when it is not there. */
static size_t names_in(const char *path, char ***out)
{
	DIR *dir = opendir(path);
	const struct dirent *d;
	char **names = NULL;
	size_t n = 0, cap = 0;

	while (dir && n < NAMES_MAX && (d = readdir(dir))) {
		if (!text_name_ok(d->d_name))
			continue;
		names = mem_grow(names, n, &cap, sizeof(*names));
		names[n++] = mem_strdup(d->d_name);
	}
	if (dir)
		closedir(dir);
	if (n > 0)
		qsort(names, n, sizeof(*names), by_name);
	*out = names;
	return n;
}

static void list_machine(json_t *list, const char *place, const char *machine)
{
	AUTO_FREE char *dir = mem_printf("%s/%s", place, machine);
	char **names;
	size_t n = names_in(dir, &names);

	for (size_t i = 0; i < n; i++) {
		AUTO_FREE char *path = mem_printf("%s/%s", dir, names[i]);
		AUTO_JSON *index = backup_index(path, NULL);

		if (index) {
			json_t *one = json_object();

			jset_str(one, "machine", machine);
			jset_str(one, "name", names[i]);
			jset_str(one, "path", path);
			jset_str(one, "at", jstr(index, "at", NULL));
			json_object_set(one, "disks", json_object_get(index, "disks"));
			jadd(list, one);
		}
		free(names[i]);
	}
	free(names);
}

static int list(struct ctx *c, const char *place)
{
	const char *only = jstr(ctx_args(c), "machine", NULL);
	json_t *out = json_array();
	char **names;
	size_t n = names_in(place, &names);

	for (size_t i = 0; i < n; i++) {
		if (!only || strcmp(only, names[i]) == 0)
			list_machine(out, place, names[i]);
		free(names[i]);
	}
	free(names);
	ctx_volatile(c, "backups", out);
	return 0;
}

/* ---- reading all of a disk ------------------------------------------------- */

/* Every chunk of it, checked; into `to` unless that is NULL. */
static int read_all(struct ctx *c, struct disk *from, struct disk *to, const char *what,
		    struct err *e)
{
	uint32_t chunk = backup_chunk(from);
	AUTO_FREE void *buf = disk_buffer(chunk);

	for (uint64_t at = 0; at < from->size; at += chunk) {
		size_t n = from->size - at < chunk ? (size_t)(from->size - at) : chunk;
		bool zero = backup_is_zero(from, at / chunk);

		if (ctx_cancelled(c))
			return err_set(e, ERR_STOPPED, "stopped");
		if (!zero && from->ops->read(from, buf, n, at, e) < 0)
			return -1;
		if (to && zero && !to->blank && to->ops->zero(to, at, n, e) < 0)
			return -1;
		if (to && !zero && to->ops->write(to, buf, n, at, e) < 0)
			return -1;
		ctx_progress(c, at + n, from->size, "bytes", what);
	}
	return to ? to->ops->flush(to, e) : 0;
}

static int verify_disk(struct ctx *c, const char *path, const char *name, const json_t *line,
		       json_t *out, struct err *e)
{
	AUTO_DISK *d = backup_open(path, name, e);
	uint8_t root[SHA256_LEN];
	char hex[SHA256_HEX];

	if (!d)
		return -1;
	backup_root(d, root);
	io_hex(root, SHA256_LEN, hex);
	if (strcmp(hex, jstr(line, "digest", "")) != 0)
		return err_set(e, ERR_STEP, "backup '%s' is damaged: the digest of disk '%s' "
			       "is not the one in index.json", path, name);
	if (read_all(c, d, NULL, name, e) < 0)
		return -1;
	jset_str(out, name, hex);
	return 0;
}

static int verify(struct ctx *c, const char *path)
{
	const char *only = jstr(ctx_args(c), "disk", NULL), *name;
	AUTO_JSON *out = json_object();
	AUTO_ERR e = { 0 };
	AUTO_JSON *index = backup_index(path, &e);
	json_t *line;

	if (!index)
		return ctx_fail_err(c, &e);
	json_object_foreach(json_object_get(index, "disks"), name, line)
		if ((!only || strcmp(only, name) == 0) &&
		    verify_disk(c, path, name, line, out, &e) < 0)
			return ctx_fail_err(c, &e);
	ctx_volatile(c, "verified", json_incref(out));
	return 0;
}

static int probe(struct ctx *c, enum probe_state *state)
{
	const char *what = jstr(ctx_args(c), "do", "list");
	const char *path = jstr(ctx_args(c), "path", "");

	*state = STATE_DONE;
	if (strcmp(what, "verify") == 0)
		return verify(c, path);
	if (strcmp(what, "list") == 0)
		return list(c, path);
	*state = STATE_ABSENT;
	return 0;
}

/* ---- restoring ------------------------------------------------------------- */

/* The target of a restore: a new file, or a device that is large enough. */
static struct disk *open_target(const char *to, const struct disk *from, struct err *e)
{
	bool made = false;
	struct disk *d;

	if (access(to, F_OK) < 0) {
		if (disk_create_image(to, "raw", from->size, e) < 0)
			return NULL;
		made = true;
	}
	d = disk_open(to, DISK_WRITE, e);
	if (!d)
		return NULL;
	d->blank = made;
	if (!made && !d->block) {
		err_set(e, ERR_STEP, "cannot restore to '%s': it exists already", to);
		err_hint(e, "name a file that is not there yet, or a device");
	} else if (d->size < from->size) {
		err_set(e, ERR_STEP, "cannot restore to '%s': it has %llu bytes, the disk %llu",
			to, (unsigned long long)d->size, (unsigned long long)from->size);
	} else {
		return d;
	}
	disk_close(&d, NULL);
	return NULL;
}

static int apply(struct ctx *c)
{
	const char *path = jstr(ctx_args(c), "path", ""), *disk = jstr(ctx_args(c), "disk", "");
	const char *to = jstr(ctx_args(c), "to", NULL);
	AUTO_ERR e = { 0 };
	AUTO_DISK *from = NULL;
	AUTO_DISK *d = NULL;
	bool made;

	if (strcmp(jstr(ctx_args(c), "do", ""), "restore") != 0 || !to || !text_name_ok(disk))
		return ctx_fail(c, "cannot restore: a disk and a place to write it are needed");
	from = backup_open(path, disk, &e);
	d = from ? open_target(to, from, &e) : NULL;
	made = d && d->blank;
	if (!d || read_all(c, from, d, disk, &e) < 0) {
		if (made)
			unlink(to);	/* half a disk helps nobody */
		return ctx_fail_err(c, &e);
	}
	ctx_volatile(c, "restored", json_integer((json_int_t)from->size));
	return 0;
}

const struct module module_call_backups = {
	.name = "call.backups",
	.summary = "list, verify and restore backups",
	.place = ON_AT,
	.params = params,
	.probe = probe,
	.apply = apply,
};
