/* SPDX-License-Identifier: Apache-2.0
 * help - help and man pages, made from the tables; the version.
 */
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "engine/base/wrap.h"
#include "engine/cli/cli.h"

#include <ctype.h>
#include <string.h>

#define HELP_WIDTH 79

/* `text` wrapped into lines that begin with `indent` blanks; the first line is
 * already `column` columns wide. */
static void wrap(FILE *out, const char *text, size_t indent, size_t column)
{
	AUTO_STR b = {0};

	str_add_wrapped(&b, text, column, indent, HELP_WIDTH);
	fprintf(out, "%s\n", b.s ? b.s : "");
}

static void print_option(FILE *out, const struct option_row *r)
{
	char left[64];
	int n = snprintf(left, sizeof(left), "  %c%c%c --%s%s%s", r->letter ? '-' : ' ',
			 r->letter ? r->letter : ' ', r->letter ? ',' : ' ', r->name,
			 r->value ? " " : "", r->value ? r->value : "");

	if (n > 28) {
		fprintf(out, "%s\n", left);
		n = 0;
		left[0] = '\0';
	}
	fprintf(out, "%-30s", left);
	wrap(out, r->summary, 30, 30);
}

static void print_options(FILE *out, const struct verb *v, int from, int to)
{
	for (int o = from; o < to; o++)
		if (option_rows[o].summary && (!v || verb_takes(v, (enum opt)o)))
			print_option(out, &option_rows[o]);
}

void help_all(FILE *out)
{
	fputs("drover moves herds of machines: physical to virtual, between hypervisors and\n"
	      "hosts, as a plan in YAML says.\n\n"
	      "usage: drover VERB [options] PLAN\n\n"
	      "  drover check erp.yaml       is the plan right?\n"
	      "  drover preview erp.yaml     what would happen?\n"
	      "  drover run erp.yaml         do it; the source keeps serving\n"
	      "  drover cutover erp.yaml     switch over\n"
	      "  drover rollback erp.yaml    take it back\n\n"
	      "verbs:\n", out);
	for (const struct verb *v = verbs; v->name; v++)
		fprintf(out, "  %-10s %s\n", v->name, v->summary);
	fputs("\noptions shared by all:\n", out);
	print_options(out, NULL, 0, OPT_SHARED_COUNT);
	fputs("\n`drover help VERB` tells more about a verb.\n", out);
}

void help_verb(FILE *out, const struct verb *v)
{
	fprintf(out, "drover %s - ", v->name);
	wrap(out, v->summary, 0, strlen(v->name) + 10);
	fprintf(out, "\nusage: drover %s [options]%s%s\n\n", v->name, *v->args ? " " : "",
		v->args);
	for (const char *p = v->example; p && *p; p += strcspn(p, "\n"), p += *p == '\n')
		fprintf(out, "  %.*s\n", (int)strcspn(p, "\n"), p);
	if (v->text) {
		fputc('\n', out);
		wrap(out, v->text, 0, 0);
	}
	if (v->options[0] && option_rows[v->options[0]].summary) {
		fprintf(out, "\noptions of %s:\n", v->name);
		print_options(out, v, OPT_SHARED_COUNT, OPT_COUNT);
	}
	fputs("\noptions shared by all:\n", out);
	print_options(out, NULL, 0, OPT_SHARED_COUNT);
}

/* ---- mdoc ---------------------------------------------------------------- */

/* Text for a roff line: backslashes, a dot or quote at the start. */
static void man_text(FILE *out, const char *text)
{
	bool start = true;

	for (const char *s = text; *s; s++) {
		if (s[0] == '\n' && s[1] == '\n') {
			fputs("\n.Pp\n", out);
			s++;
			start = true;
			continue;
		}
		if (start && (*s == '.' || *s == '\''))
			fputs("\\&", out);
		if (s[0] == ' ' && s != text && (s[-1] == '.' || s[-1] == ':')) {
			fputc('\n', out);	/* a sentence, a line */
			start = true;
			continue;
		}
		if (*s == '\\')
			fputs("\\e", out);
		else if (*s == '-')
			fputs("\\-", out);
		else
			fputc(*s, out);
		start = false;
	}
}

static void man_option(FILE *out, const struct option_row *r)
{
	fputs(".It ", out);
	if (r->letter)
		fprintf(out, "Fl %c , ", r->letter);
	fprintf(out, "Fl \\-%s", r->name);
	if (r->value)
		fprintf(out, " Ar %s", r->value);
	fputc('\n', out);
	man_text(out, r->summary);
	fputc('\n', out);
}

static const char *const exit_rows[] = {
	"0", "done",
	"1", "a step failed",
	"2", "the plan is wrong",
	"3", "stopped; the same command goes on with it",
	"4", "another run holds the state",
	"5", "the saved preview no longer fits",
	"6", "waiting for a person",
	"100", "the command line is wrong",
	"111", "the system said no",
	NULL
};

static void man_head(FILE *out, const char *name, const char *summary)
{
	char upper[48];
	size_t i = 0;

	for (; name[i] && i < sizeof(upper) - 1; i++)
		upper[i] = (char)toupper((unsigned char)name[i]);
	upper[i] = '\0';
	fprintf(out, ".\\\" SPDX-License-Identifier: Apache-2.0\n"
		".\\\" Made from the tables: drover help --man [VERB]\n"
		".Dd November 21, 2026\n.Dt %s 1\n.Os\n.Sh NAME\n.Nm %s\n.Nd ", upper, name);
	man_text(out, summary);
}

static void man_exits(FILE *out)
{
	fputs(".Sh EXIT STATUS\n.Bl -tag -width 100\n", out);
	for (const char *const *r = exit_rows; *r; r += 2)
		fprintf(out, ".It %s\n%s\n", r[0], r[1]);
	fputs(".El\n", out);
}

static void man_main(FILE *out)
{
	man_head(out, "drover", "migrate machines as a plan says");
	fputs("\n.Sh SYNOPSIS\n.Nm\n.Ar VERB\n.Op Ar options\n.Ar PLAN\n.Sh DESCRIPTION\n"
	      "A plan in YAML says which machines move from where to where.\n"
	      ".Nm\nlooks, previews, runs, records every step in git, and rolls back.\n.Pp\n"
	      "The verbs are, each with a page of its own:\n.Bl -tag -width finalize\n", out);
	for (const struct verb *v = verbs; v->name; v++) {
		fprintf(out, ".It Xr drover-%s 1\n", v->name);
		man_text(out, v->summary);
		fputc('\n', out);
	}
	fputs(".El\n.Pp\nThe options shared by all verbs are:\n.Bl -tag -width Ds\n", out);
	for (int o = 0; o < OPT_SHARED_COUNT; o++)
		man_option(out, &option_rows[o]);
	fputs(".El\n.Sh ENVIRONMENT\n.Bl -tag -width NO_COLOR\n.It Ev NO_COLOR\n"
	      "when set, no colours unless\n.Fl \\-color Cm always\nasks for them\n"
	      ".It Ev COLUMNS\nhow wide lines are where there is no terminal; else 80\n"
	      ".El\n", out);
	man_exits(out);
}

void help_man(FILE *out, const struct verb *v)
{
	AUTO_FREE char *name = NULL;

	if (!v) {
		man_main(out);
		return;
	}
	name = mem_printf("drover-%s", v->name);
	man_head(out, name, v->summary);
	fprintf(out, "\n.Sh SYNOPSIS\n.Nm drover %s\n.Op Ar options\n", v->name);
	if (*v->args)
		fprintf(out, ".Ar %s\n", v->args);
	fputs(".Sh DESCRIPTION\n", out);
	man_text(out, v->text ? v->text : v->summary);
	fputs("\n.Pp\nThe options are:\n.Bl -tag -width Ds\n", out);
	for (int o = OPT_SHARED_COUNT; o < OPT_COUNT; o++)
		if (option_rows[o].summary && verb_takes(v, (enum opt)o))
			man_option(out, &option_rows[o]);
	for (int o = 0; o < OPT_SHARED_COUNT; o++)
		man_option(out, &option_rows[o]);
	fputs(".El\n", out);
	man_exits(out);
	fputs(".Sh EXAMPLES\n.Bd -literal\n", out);
	man_text(out, v->example);
	fputs("\n.Ed\n.Sh SEE ALSO\n.Xr drover 1\n", out);
}

int verb_help(struct cli *c)
{
	AUTO_ERR e = {0};
	const struct verb *v = c->arg_count ? verb_find(c->args[0]) : NULL;

	if (c->arg_count && !v) {
		const char *names[64];
		const char *near;

		for (size_t i = 0; i < verb_count && i < ARRAY_LEN(names); i++)
			names[i] = verbs[i].name;
		near = text_near(c->args[0], names, verb_count);
		err_set(&e, ERR_USAGE, "unknown verb '%s'", c->args[0]);
		if (near)
			err_hint(&e, "did you mean `drover help %s`?", near);
		else
			err_hint(&e, "`drover help` lists the verbs");
		return cli_fail(c, &e);
	}
	if (c->opt[OPT_MAN])
		help_man(c->out, v);
	else if (v)
		help_verb(c->out, v);
	else
		help_all(c->out);
	return 0;
}

int verb_version(struct cli *c)
{
	json_t *o;

	if (!c->json) {
		fprintf(c->out, "drover %s\n", DROVER_VERSION);
		return 0;
	}
	o = json_object();
	jset_str(o, "version", DROVER_VERSION);
	cli_json(c, "version", o);
	return 0;
}
