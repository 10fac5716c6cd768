/* SPDX-License-Identifier: Apache-2.0
 * hook/source - where a check's Lua comes from; and the look at its syntax.
 */
#include "engine/hook/source.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "engine/hook/hook.h"
#include "engine/hook/vm.h"
#include "engine/base/data.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define SOURCE_MAX (1u << 20)

/* A ready-made check: "port", "port.lua" or "lua/port.lua". */
static const struct drover_datum *ready_made(const char *word)
{
	AUTO_FREE char *a = mem_printf("lua/%s", word);
	AUTO_FREE char *b = mem_printf("lua/%s.lua", word);

	for (const struct drover_datum *d = drover_data; d->name; d++)
		if (strncmp(d->name, "lua/", 4) == 0 &&
		    (!strcmp(d->name, word) || !strcmp(d->name, a) || !strcmp(d->name, b)))
			return d;
	return NULL;
}

static char *no_such(const char *use, struct err *e)
{
	const char *names[64], *near;
	char store[64][48];
	AUTO_STR all = {0};
	size_t n = 0;

	for (const struct drover_datum *d = drover_data; d->name && n < 64; d++)
		if (strncmp(d->name, "lua/", 4) == 0) {
			snprintf(store[n], sizeof(store[n]), "%s", d->name + 4);
			store[n][strcspn(store[n], ".")] = '\0';
			names[n] = store[n];
			str_addf(&all, "%s%s", n ? ", " : "", store[n]);
			n++;
		}
	near = text_near(use, names, n);
	err_set(e, ERR_PLAN, "no ready-made check is called '%s'", use);
	if (near)
		err_hint(e, "did you mean '%s'?", near);
	else
		err_hint(e, "there are: %s; a check of your own is `file: NAME.lua`",
			 all.s ? all.s : "none");
	return NULL;
}

char *source_load(const json_t *args, const char *dir, char **name, struct err *e)
{
	const char *file = jstr(args, "file", NULL), *use = jstr(args, "use", NULL);
	const struct drover_datum *d = use ? ready_made(use) : file ? ready_made(file) : NULL;
	AUTO_FREE char *path = NULL;
	char *text;

	*name = mem_strdup(use ? use : file ? file : "check");
	if (!use == !file) {
		err_set(e, ERR_PLAN, "a check wants `file:` or `use:`%s", use ? ", not both" : "");
		err_hint(e, "file: hooks/login.lua, or use: port");
		return NULL;
	}
	if (use && !d)
		return no_such(use, e);
	path = mem_printf("%s%s%s", *(file ? file : "/") == '/' ? "" : dir,
			  *(file ? file : "/") == '/' ? "" : "/", file ? file : "");
	text = file ? io_read_file(AT_FDCWD, path, SOURCE_MAX, NULL) : NULL;
	if (text)
		return text;
	if (d) {
		free(*name);
		*name = mem_strdup(d->name);
		return mem_strdup(d->text);
	}
	err_sys(e, "cannot read the check '%s'", file);
	err_hint(e, "the path starts at the plan's folder");
	return NULL;
}

int hook_compile(const char *file, struct err *e)
{
	AUTO_FREE char *text = NULL, *error = NULL;
	struct vm v = {0};
	size_t n = 0;
	int rc = -1;

	text = io_read_file(AT_FDCWD, file, SOURCE_MAX, &n);
	if (!text)
		return err_sys(e, "cannot read the check '%s'", file);
	if (vm_open(&v, 64 << 20, 10000) == 0)
		rc = vm_load(&v, file, text, n, &error);
	if (rc < 0)
		err_set(e, ERR_PLAN, "%s", error ? error : "not enough memory");
	vm_close(&v);
	return rc;
}
