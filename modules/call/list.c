/* SPDX-License-Identifier: Apache-2.0
 * call.list - the names in a directory, sorted. Changes nothing.
 *
 * volatile: {entries: [name, ...], truncated}
 */
#include "engine/base/mem.h"
#include "modules/module.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#define ENTRIES_MAX 10000

static const struct param params[] = {
	{ .name = "path", .type = P_PATH, .required = true,
	  .summary = "the directory to list" },
	{ .name = NULL },
};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int probe(struct ctx *c, enum probe_state *state)
{
	const char *path = jstr(ctx_args(c), "path", "");
	json_t *entries = json_array();
	DIR *dir = opendir(path);
	const struct dirent *d;
	char **names = NULL;
	size_t n = 0, cap = 0;

	if (!dir) {
		json_decref(entries);
		return ctx_fail_sys(c, "cannot list '%s'", path);
	}
	while (n <= ENTRIES_MAX && (d = readdir(dir))) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		names = mem_grow(names, n, &cap, sizeof(*names));
		names[n++] = mem_strdup(d->d_name);
	}
	closedir(dir);
	if (n > 0)
		qsort(names, n, sizeof(*names), by_name);
	for (size_t i = 0; i < n; i++) {
		if (i < ENTRIES_MAX)
			jadd(entries, jtext(names[i], strlen(names[i])));
		free(names[i]);
	}
	free(names);
	ctx_volatile(c, "entries", entries);
	ctx_volatile(c, "truncated", json_boolean(n > ENTRIES_MAX));
	*state = STATE_DONE;
	return 0;
}

const struct module module_call_list = {
	.name = "call.list",
	.summary = "list a directory",
	.place = ON_AT,
	.flags = MOD_READ_ONLY,
	.params = params,
	.probe = probe,
};
