/* SPDX-License-Identifier: Apache-2.0
 * places - where each disk goes: as its own row says, else where `maps.storage` sends
 * the store that holds it at the source, else where the target's other disks go. */
#include "engine/plan/private.h"

#include <string.h>

static const char *const ways[] = { "path", "dir", "vg", "pool" };

const char *places_way(const json_t *row)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++)
		if (json_is_string(json_object_get(row, ways[i])))
			return ways[i];
	return NULL;
}

const char *places_format(const json_t *row, const json_t *target)
{
	const char *way = places_way(row);

	if (way && (strcmp(way, "path") == 0 || strcmp(way, "vg") == 0))
		return "raw";
	/* a pool may be one of volumes, which are raw: its host knows */
	return way && strcmp(way, "pool") == 0 ? NULL : jstr(target, "format", "qcow2");
}

/* How well a store's name fits what holds a disk: the deeper the directory it names on
 * the disk's path, the better; 0: not at all. */
static size_t fits(const char *name, const char *path, const char *pool)
{
	size_t n = strlen(name), best = 0;

	if (pool && strcmp(pool, name) == 0)
		return SIZE_MAX;
	while (n > 1 && name[n - 1] == '/')
		n--;
	if (!path || !n)
		return 0;
	if (*name == '/')
		return strncmp(path, name, n) == 0 && path[n] == '/' ? n : 0;
	for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/'))
		if (strncmp(p + 1, name, n) == 0 && p[n + 1] == '/')
			best = (size_t)(p - path) + n + 1;
	return best;
}

/* What the map says of a disk at the source; NULL: nothing. */
static const json_t *mapped(const json_t *storage, const json_t *disk)
{
	const char *path = jstr(disk, "image", jstr(disk, "path", NULL)), *name;
	const json_t *to = NULL;
	json_t *v;
	size_t best = 0;

	json_object_foreach((json_t *)(uintptr_t)storage, name, v) {
		size_t n = fits(name, path, jstr(disk, "store", NULL));
		if (n > best) {
			best = n;
			to = v;
		}
	}
	return to;
}

static void take_way(json_t *row, const json_t *from)
{
	const char *way = places_way(from);

	if (way && !places_way(row))
		jset(row, way, json_incref(json_object_get(from, way)));
}

static void place(const json_t *disk, json_t *row, const json_t *target,
		  const json_t *storage)
{
	take_way(row, mapped(storage, disk));
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		/* `dir` of a target is where its own folder lies, not a disk's */
		json_t *v = strcmp(ways[i], "dir") ? jget(target, ways[i]) : NULL;
		if (json_is_string(v) && !places_way(row))
			jset(row, ways[i], json_incref(v));
	}
	if (!jget(row, "format") && places_format(row, target))
		jset_str(row, "format", places_format(row, target));
	if (!jget(row, "size"))
		jset_int(row, "size", 0);
	for (size_t i = 0; i < ARRAY_LEN(ways); i++)
		if (!jget(row, ways[i]))
			jset(row, ways[i], json_null());
}

void plan_place_disks(json_t *spec)
{
	const json_t *storage = jget(spec, "maps.storage"), *target = jget(spec, "target");
	json_t *disks = jget(spec, "source.disks"), *rows = jget(target, "disks"), *v;
	const char *name;

	if (!rows)
		return;
	json_object_foreach(disks, name, v)
		if (jbool(v, "copy", true) && !json_object_get(rows, name))
			jset(rows, name, json_object());
	json_object_foreach(rows, name, v)
		place(json_object_get(disks, name), v, target, storage);
}
