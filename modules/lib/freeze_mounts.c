/* SPDX-License-Identifier: Apache-2.0
 * freeze_mounts - the mounts that stand on a machine's disks (devstack.h).
 */
#include "modules/lib/freeze_priv.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "modules/lib/devstack.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define TABLE_MAX (4u << 20)

struct disks { struct devstack_id id[FREEZE_MAX]; size_t n; };

static void find_disks(const json_t *machine, struct disks *out)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(jget(machine, "disks"), i, disk)
		if (out->n < FREEZE_MAX && devstack_id(jstr(disk, "path", ""), &out->id[out->n]) == 0)
			out->n++;
}

/* ---- the table of mounts ------------------------------------------------------ */

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
		if (strncmp(p, word, n) == 0 && (p[n] == ',' || p[n] == '\0'))
			return true;
	return false;
}

static unsigned long flags_of(const char *options)
{
	static const struct { const char *word; unsigned long flag; } words[] = {
		{ "nosuid", MS_NOSUID }, { "nodev", MS_NODEV }, { "noexec", MS_NOEXEC },
		{ "noatime", MS_NOATIME }, { "nodiratime", MS_NODIRATIME },
		{ "relatime", MS_RELATIME }, { "sync", MS_SYNCHRONOUS },
	};
	unsigned long flags = 0;

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (has_word(options, words[i].word))
			flags |= words[i].flag;
	return flags;
}

static int depth_of(const char *dir)
{
	int depth = 0;

	for (; *dir; dir++)
		depth += dir[0] == '/' && dir[1] != '\0';
	return depth;
}

/* id parent maj:min root dir options [tags] - kind source super-options */
static bool parse_line(char *line, const struct disks *disks, struct freeze_mount *m)
{
	char *word[6], *save = NULL, *rest = strstr(line, " - "), *kind, *source, *super;
	struct stat st;
	int n = 0;

	if (!rest)
		return false;
	*rest = '\0';
	for (char *w = strtok_r(line, " ", &save); w && n < 6; w = strtok_r(NULL, " ", &save))
		word[n++] = w;
	kind = strtok_r(rest + 3, " ", &save);
	source = kind ? strtok_r(NULL, " ", &save) : NULL;
	super = source ? strtok_r(NULL, " ", &save) : NULL;
	if (n < 6 || !super || !has_word(super, "rw"))
		return false;
	*m = (struct freeze_mount){ .dev = devstack_parse(word[2]), .fd = -1 };
	text_unescape(source);
	if (major(m->dev) == 0 && source[0] == '/' && stat(source, &st) == 0 &&
	    S_ISBLK(st.st_mode))
		m->dev = st.st_rdev;	/* btrfs: its own number is nobody's device */
	if (!devstack_on(disks->id, disks->n, m->dev, &m->level))
		return false;
	text_unescape(word[4]);
	m->dir = mem_strdup(word[4]);
	m->fs = mem_strdup(kind);
	m->depth = depth_of(m->dir);
	m->flags = flags_of(word[5]);
	return true;
}

/* Frozen first: what stands on others' files, then the deepest. */
static int by_order(const void *a, const void *b)
{
	const struct freeze_mount *x = a, *y = b;

	if (x->level != y->level)
		return y->level - x->level;
	if (x->depth != y->depth)
		return y->depth - x->depth;
	return strcmp(x->dir, y->dir);
}

static void free_one(struct freeze_mount *m)
{
	mem_free_ptr(&m->dir);
	mem_free_ptr(&m->fs);
}

/* A file system that is mounted twice is frozen once, by its highest place. */
static void add(struct freeze_mount *all, size_t *n, struct freeze_mount *m)
{
	for (size_t i = 0; i < *n; i++) {
		if (all[i].dev != m->dev)
			continue;
		if (m->depth < all[i].depth) {
			struct freeze_mount old = all[i];

			all[i] = *m;
			*m = old;
		}
		free_one(m);
		return;
	}
	all[(*n)++] = *m;
}

int freeze_mounts(const json_t *machine, struct freeze_mount **mounts, size_t *n,
		  struct err *e)
{
	AUTO_FREE char *table = io_read_file(AT_FDCWD, "/proc/self/mountinfo", TABLE_MAX, NULL);
	struct disks disks = { .n = 0 };
	struct freeze_mount m;
	char *save = NULL;

	*n = 0;
	*mounts = mem_alloc(FREEZE_MAX * sizeof(**mounts));
	if (!table)
		return err_sys(e, "cannot read the table of mounts");
	find_disks(machine, &disks);
	for (char *line = strtok_r(table, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!parse_line(line, &disks, &m))
			continue;
		if (*n == FREEZE_MAX) {
			free_one(&m);
			return err_set(e, ERR_STEP, "cannot freeze more than %d file systems",
				       FREEZE_MAX);
		}
		add(*mounts, n, &m);
	}
	qsort(*mounts, *n, sizeof(**mounts), by_order);
	return 0;
}

void freeze_mounts_free(struct freeze_mount *mounts, size_t n)
{
	for (size_t i = 0; mounts && i < n; i++)
		free_one(&mounts[i]);
	mem_free_ptr(&mounts);
}
