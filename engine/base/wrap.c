/* SPDX-License-Identifier: Apache-2.0
 * wrap - how many columns text takes, and where its lines may be broken.
 */
#include "engine/base/wrap.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <wchar.h>

#define QUOTED_MAX 40		/* bytes of a name in quotes that stays whole */
#define NARROW 24		/* columns that an indent must leave for text */

/* ---- columns ------------------------------------------------------------- */

/* One character of UTF-8 at p: its bytes, and its columns. Bad bytes count one. */
static size_t next_char(const char *p, size_t *columns)
{
	unsigned char c = (unsigned char)*p;
	size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4, i;
	wchar_t w = c < 0x80 ? c : c & (0x7f >> n);
	int width;

	for (i = 1; i < n; i++) {
		if (((unsigned char)p[i] & 0xc0) != 0x80) {
			*columns = 1;
			return 1;
		}
		w = (w << 6) | (p[i] & 0x3f);
	}
	width = wcwidth(w);
	*columns = width < 0 ? 1 : (size_t)width;
	return n;
}

size_t text_columns(const char *t)
{
	size_t sum = 0, w;

	while (*t) {
		t += next_char(t, &w);
		sum += w;
	}
	return sum;
}

size_t text_fit(const char *t, size_t columns)
{
	const char *p = t;
	size_t sum = 0, w, n;

	for (; *p; p += n, sum += w) {
		n = next_char(p, &w);
		if (sum + w > columns)
			break;
	}
	return (size_t)(p - t);
}

/* ---- what stays in one piece --------------------------------------------- */

/* Programs that messages tell people to type. */
static const struct { const char *name; bool all_words; } programs[] = {
	{ "drover", false }, { "git", false }, { "ssh", false }, { "ssh-keyscan", false },
	{ "ssh-keygen", false }, { "ssh-add", false }, { "virsh", false },
	{ "systemctl", false }, { "mv", false }, { "chmod", false }, { "qemu-img", false },
	{ "apt", true }, { "apt-get", true },		/* packages look like words */
};

static bool ends_clause(const char *p, size_t n)
{
	return n && strchr(",;:)", p[n - 1]);
}

/* 1 + its place in programs when the word is one of them, else 0. */
static size_t program_at(const char *p, size_t n)
{
	for (size_t i = 0; i < ARRAY_LEN(programs); i++)
		if (strlen(programs[i].name) == n && memcmp(programs[i].name, p, n) == 0)
			return i + 1;
	return 0;
}

/* Options, paths, addresses, file names and PLACEHOLDERS; not the words around. */
static bool is_argument(const char *p, size_t n)
{
	bool capitals = isupper((unsigned char)*p);

	if (*p == '-' && n > 1)
		return true;
	for (size_t i = 0; i < n; i++) {
		capitals = capitals && !islower((unsigned char)p[i]);
		if (strchr("/=@_${<[|", p[i]) || (strchr(".:", p[i]) && i + 1 < n))
			return true;
	}
	return capitals && n > 1;
}

/* Bytes of the command at p whose first word has n bytes. */
static size_t command_len(const char *p, size_t n, bool all_words)
{
	const char *word = p;
	size_t len = n, count = 1;

	while (!ends_clause(word, n) && p[len] == ' ' && p[len + 1] && p[len + 1] != ' ') {
		bool value = count > 1 && *word == '-' && !memchr(word, '=', n);

		word = p + len + 1;
		n = strcspn(word, " ");
		if (count > 1 && !all_words && !value && !is_argument(word, n))
			break;
		len += 1 + n;
		count++;
	}
	return len;
}

/* "64.0 MiB": does a unit stand behind the number? */
static bool is_amount(const char *p, size_t n)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "bytes" };
	const char *unit = p + n + 1;

	if (!isdigit((unsigned char)*p) || p[n] != ' ')
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		size_t len = strlen(units[i]);

		if (strncmp(unit, units[i], len) == 0 && !isalnum((unsigned char)unit[len]))
			return true;
	}
	return false;
}

/* Bytes at p that must stay in one line; p is no blank. */
static size_t piece_len(const char *p)
{
	size_t skip = strspn(p, "(\"["), n = strcspn(p, " "), program;
	char quote = p[skip];
	const char *end;

	if (quote == '`' || quote == '\'') {
		end = strchr(p + skip + 1, quote);
		if (end && (quote == '`' || p[skip + 1] == '/' || end - p < QUOTED_MAX))
			return (size_t)(end - p) + strcspn(end, " ");
		return n;
	}
	if (is_amount(p + skip, n - skip))
		return n + 1 + strcspn(p + n + 1, " ");
	program = skip < n ? program_at(p + skip, n - skip) : 0;
	return program ? skip + command_len(p + skip, n - skip,
					    programs[program - 1].all_words) : n;
}

/* ---- lines --------------------------------------------------------------- */

static void add_line_break(struct str *b, size_t indent)
{
	while (b->len && b->s[b->len - 1] == ' ')
		b->s[--b->len] = '\0';
	str_addf(b, "\n%*s", (int)indent, "");
}

/* One line of the text. */
static void wrap_line(struct str *b, const char *text, size_t column, size_t indent,
		      size_t width)
{
	for (bool first = true; *text; first = false) {
		size_t blanks = strspn(text, " ");
		const char *p = text + blanks;
		size_t n = *p ? piece_len(p) : 0;
		AUTO_FREE char *piece = mem_strndup(p, n);
		size_t w = text_columns(piece);

		if (width && (!first || column > indent) && column + blanks + w > width) {
			add_line_break(b, indent);
			column = indent;
		} else {
			str_addf(b, "%*s", (int)blanks, "");
			column += blanks;
		}
		str_add(b, piece);
		column += w;
		text = p + n;
	}
}

void str_add_wrapped(struct str *b, const char *text, size_t column, size_t indent,
		     size_t width)
{
	if (width && indent + NARROW > width)
		indent = indent < 4 ? indent : 4;
	while (text && *text) {
		size_t n = strcspn(text, "\n");
		AUTO_FREE char *part = mem_strndup(text, n);
		AUTO_STR safe = {0};

		str_add_safe(&safe, part);
		wrap_line(b, safe.s ? safe.s : "", column, indent, width);
		text += n + (text[n] == '\n');
		if (!*text)
			break;
		add_line_break(b, indent);
		column = indent;
	}
}
