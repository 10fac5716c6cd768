/* SPDX-License-Identifier: Apache-2.0
 * out - what verbs print: colours, tables, JSON lines.
 */
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/wrap.h"
#include "engine/cli/cli.h"

#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static const char *const color_codes[] = {
	[C_OFF] = "\x1b[0m", [C_BOLD] = "\x1b[1m", [C_DIM] = "\x1b[2m",
	[C_RED] = "\x1b[31m", [C_GREEN] = "\x1b[32m", [C_YELLOW] = "\x1b[33m",
	[C_BLUE] = "\x1b[34m",
};

const char *cli_color(const struct cli *c, enum color k)
{
	return c->color ? color_codes[k] : "";
}

int cli_width(const struct cli *c)
{
	const char *said = getenv("COLUMNS");
	long columns = said ? strtol(said, NULL, 10) : 0;
	struct winsize w;

	if (c->tty_out && ioctl(fileno(c->out), TIOCGWINSZ, &w) == 0 && w.ws_col >= 20)
		return w.ws_col;
	return columns >= 20 && columns <= 10000 ? (int)columns : 80;
}

void cli_say(struct cli *c, size_t indent, const char *fmt, ...)
{
	AUTO_FREE char *text = NULL;
	AUTO_STR out = {0};
	va_list ap;

	va_start(ap, fmt);
	text = mem_vprintf(fmt, ap);
	va_end(ap);
	str_add_wrapped(&out, text, 0, indent, (size_t)cli_width(c));
	fprintf(c->out, "%s\n", out.s ? out.s : "");
}

void cli_json(struct cli *c, const char *type, json_t *body)
{
	AUTO_JSON *owned = body;
	AUTO_JSON *line = json_object();
	AUTO_FREE char *text = NULL;
	char at[21];

	clock_iso(clock_real.wall_s(clock_real.arg), at);
	jset_int(line, "v", 1);
	jset_str(line, "t", type);
	jset_str(line, "at", at);
	json_object_update_missing(line, owned);
	text = json_dumps(line, JSON_COMPACT);
	fprintf(c->out, "%s\n", text ? text : "{}");
	fflush(c->out);
}

/* ---- tables -------------------------------------------------------------- */

struct table {
	struct cli *c;
	struct libscols_table *t;
	size_t columns;
};

struct table *table_new(struct cli *c, const char *const *titles)
{
	struct table *t = mem_alloc(sizeof(*t));

	t->c = c;
	t->t = scols_new_table();
	if (!t->t)
		abort();
	scols_table_set_stream(t->t, c->out);
	scols_table_set_column_separator(t->t, "  ");
	scols_table_enable_maxout(t->t, 0);
	scols_table_set_termforce(t->t, c->tty_out ? SCOLS_TERMFORCE_ALWAYS :
				  SCOLS_TERMFORCE_NEVER);
	if (c->tty_out)
		scols_table_set_termwidth(t->t, (size_t)cli_width(c));
	for (; titles[t->columns]; t->columns++) {
		const char *title = titles[t->columns];
		int flags = title[0] == '>' ? SCOLS_FL_RIGHT :
			    title[0] == '~' ? SCOLS_FL_TRUNC : 0;

		scols_table_new_column(t->t, title + (flags != 0), 0, flags);
	}
	return t;
}

void table_row(struct table *t, const char *const *cells)
{
	struct libscols_line *line = scols_table_new_line(t->t, NULL);

	/* the library shows control characters as \x1b by itself */
	for (size_t i = 0; line && i < t->columns; i++)
		scols_line_set_data(line, i, cells[i] && *cells[i] ? cells[i] : "-");
}

/* Columns are padded to the end of the line by the library: cut that off. */
static void print_trimmed(FILE *out, const char *s)
{
	while (*s) {
		size_t n = strcspn(s, "\n"), keep = n;

		while (keep && s[keep - 1] == ' ')
			keep--;
		fprintf(out, "%.*s\n", (int)keep, s);
		s += n + (s[n] == '\n');
	}
}

static char *table_text(struct table *t)
{
	char *text = NULL;

	if (scols_print_table_to_string(t->t, &text) < 0) {
		free(text);
		text = NULL;
	}
	return text;
}

/* The library cuts without a word, to widths it knows once it has printed: what was cut ends
 * with '~' from now on. True when there was any. */
static bool mark_cut(struct table *t)
{
	bool any = false;

	for (size_t k = 0; k < t->columns; k++) {
		struct libscols_column *column = scols_table_get_column(t->t, k);
		size_t width = scols_column_get_width(column);

		for (size_t i = 0; scols_column_is_trunc(column) &&
		     i < scols_table_get_nlines(t->t); i++) {
			struct libscols_line *line = scols_table_get_line(t->t, i);
			const char *data = scols_cell_get_data(scols_line_get_cell(line, k));
			AUTO_FREE char *cut = NULL;

			if (!data || !width || text_columns(data) <= width)
				continue;
			cut = mem_printf("%.*s~", (int)text_fit(data, width - 1), data);
			scols_line_set_data(line, k, cut);
			any = true;
		}
	}
	return any;
}

void table_print(struct table *t)
{
	AUTO_FREE char *text = scols_table_get_nlines(t->t) > 0 ? table_text(t) : NULL;

	if (text && mark_cut(t)) {
		free(text);
		text = table_text(t);
	}
	if (text)
		print_trimmed(t->c->out, text);
	scols_unref_table(t->t);
	free(t);
}
