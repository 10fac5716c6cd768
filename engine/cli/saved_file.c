/* SPDX-License-Identifier: Apache-2.0
 * saved_file - previews as files: written with -o, read by run and cutover.
 */
#include "engine/cli/report.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREVIEW_MAX (64u << 20)

int report_can_save(struct cli *c, const char *file)
{
	AUTO_FREE char *copy = mem_strdup(file);
	struct stat st;
	AUTO_ERR e = {0};
	int why = stat(file, &st) == 0 ? (S_ISDIR(st.st_mode) ? EISDIR : 0) :
		access(dirname(copy), W_OK) < 0 ? errno : 0;

	if (!why)
		return 0;
	errno = why;
	err_sys(&e, "cannot save the preview as '%s'", file);
	err_hint(&e, "no host was asked yet; give -o a file in a directory that can be written to");
	return cli_fail(c, &e);
}

int report_save(struct cli *c, const char *file, const json_t *preview)
{
	AUTO_JSON *o = json_object();
	AUTO_FREE char *path = realpath(c->plan->file, NULL);
	AUTO_FREE char *text = NULL;
	AUTO_ERR e = {0};
	json_t *options = json_object();

	jset_str(o, "drover", "preview");
	jset_int(o, "v", 1);
	jset_str(o, "file", path ? path : c->plan->file);
	jset_str(options, "machine", c->opt[OPT_MACHINE]);
	jset_str(options, "only", c->opt[OPT_ONLY]);
	jset_str(options, "until", c->opt[OPT_UNTIL]);
	jset(o, "options", options);
	jset(o, "preview", json_deep_copy(preview));
	text = json_pretty(o);
	if (io_write_file(AT_FDCWD, file, text, strlen(text), 0644) < 0) {
		err_sys(&e, "cannot save the preview as '%s'", file);
		return cli_fail(c, &e);
	}
	if (!c->json)
		fprintf(c->out, "Saved %s: valid while plan, state and hosts stay as they are.\n",
			file);
	return 0;
}

/* The plan's file as the text of a damaged preview names it, if there is such a file; the
 * caller frees it. NULL: it names none. */
static char *plan_named_in(const char *text)
{
	static const char key[] = "\"file\": \"";
	const char *at = strstr(text, key), *end;
	AUTO_FREE char *file = NULL;

	at = at ? at + sizeof(key) - 1 : NULL;
	end = at ? strpbrk(at, "\"\\\n") : NULL;
	if (!end || *end != '"')
		return NULL;
	file = mem_strndup(at, (size_t)(end - at));
	return access(file, R_OK) == 0 ? mem_strdup(file) : NULL;
}

/* Tells `what` is wrong with it. Returns -1. */
static int useless(const char *file, const char *text, const char *what, struct err *e)
{
	AUTO_FREE char *plan = plan_named_in(text);

	err_set(e, ERR_STALE, "cannot use the saved preview '%s': %s", file, what);
	if (plan)
		return err_hint(e, "make it again: drover preview %s -o %s", plan, file);
	return err_hint(e, "make it again, with `drover preview`, the plan's file and -o %s", file);
}

int report_saved(const char *file, json_t **doc, struct err *e)
{
	AUTO_FREE char *text = NULL;
	AUTO_JSON *o = NULL;
	size_t n = 0;

	text = io_read_file(AT_FDCWD, file, PREVIEW_MAX, &n);
	if (!text || text[strspn(text, " \t\r\n")] != '{')
		return 0;	/* plan_load says what is wrong with it */
	o = json_parse(text, n, NULL);
	if (!o)
		return strstr(text, "\"drover\": \"preview\"") ?
			useless(file, text, "it is damaged", e) : 0;
	if (strcmp(jstr(o, "drover", ""), "preview") != 0)
		return 0;
	if (jint(o, "v", 1) != 1)
		return useless(file, text, "another version of drover made it", e);
	if (!jstr(o, "file", NULL) || !jget(o, "preview"))
		return useless(file, text, "it is damaged", e);
	*doc = json_incref(o);
	return 1;
}

static const char *saved_option(const json_t *doc, const char *path)
{
	return jstr(doc, path, NULL);
}

/* The options it was made with hold; others beside it would not be what it says. */
static int take_options(struct cli *c, const json_t *doc)
{
	static const struct { enum opt o; const char *path; } rows[] = {
		{ OPT_MACHINE, "options.machine" }, { OPT_ONLY, "options.only" },
		{ OPT_UNTIL, "options.until" },
	};
	AUTO_ERR e = {0};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *was = saved_option(doc, rows[i].path), *now = c->opt[rows[i].o];

		if (now && (!was || strcmp(was, now) != 0)) {
			err_set(&e, ERR_USAGE, "--%s %s is not what the preview was made with",
				option_rows[rows[i].o].name, now);
			err_hint(&e, "leave it out, or make another preview");
			return cli_fail(c, &e);
		}
		c->opt[rows[i].o] = was;
	}
	return 0;
}

int report_open(struct cli *c, struct run_options *o, enum run_kind kind, json_t **doc)
{
	const char *file = c->args[0];
	AUTO_ERR e = {0};
	int rc = report_saved(file, doc, &e), status;

	if (rc < 0)
		return cli_fail(c, &e);
	if (rc > 0) {
		if ((status = take_options(c, *doc)))
			return status;
		file = jstr(*doc, "file", "");
		o->saved = jget(*doc, "preview");
		c->lineage = jstr(o->saved, "lineage", NULL);
	}
	o->kind = kind;
	o->only = o->until = -1;
	return cli_load_plan(c, file);
}
