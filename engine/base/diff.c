/* SPDX-License-Identifier: Apache-2.0
 * diff - a unified diff of two texts, by Myers' greedy algorithm (1986) on lines.
 */
#include "engine/base/text.h"

#include <stdlib.h>
#include <string.h>

#define MAX_LINES 20000
#define MAX_EDITS 2000		/* beyond it the texts have nothing in common */
#define CONTEXT 3

struct line { const char *s; size_t n; };
struct side { struct line *v; size_t count; bool no_newline; };
struct edit { char op; size_t a, b; };	/* ' ' '-' '+'; indices into both sides */
struct script { struct edit *v; size_t count, cap; };

static void split(struct side *side, const char *s, size_t n)
{
	size_t cap = 0;

	for (const char *end = s + n; s < end;) {
		const char *nl = memchr(s, '\n', (size_t)(end - s));
		size_t len = nl ? (size_t)(nl - s) : (size_t)(end - s);

		side->v = mem_grow(side->v, side->count, &cap, sizeof(*side->v));
		side->v[side->count++] = (struct line){ s, len };
		side->no_newline = !nl;
		s += len + 1;
	}
}

static bool same(const struct side *a, size_t i, const struct side *b, size_t j)
{
	if (a->v[i].n != b->v[j].n || memcmp(a->v[i].s, b->v[j].s, a->v[i].n) != 0)
		return false;
	/* a last line without newline differs from the same line with one */
	return (i + 1 == a->count && a->no_newline) == (j + 1 == b->count && b->no_newline);
}

static void add(struct script *s, char op, size_t a, size_t b)
{
	s->v = mem_grow(s->v, s->count, &s->cap, sizeof(*s->v));
	s->v[s->count++] = (struct edit){ op, a, b };
}

/* Walk the saved frontiers back from the end; the script comes out reversed. */
static void backtrack(struct script *out, long **trace, long d, long x, long y, long off)
{
	for (; d > 0; d--) {
		const long *v = trace[d - 1];
		long k = x - y;
		bool down = k == -d || (k != d && v[off + k - 1] < v[off + k + 1]);
		long pk = down ? k + 1 : k - 1;
		long px = v[off + pk];

		while (x > px + !down) {	/* the run of equal lines after the edit */
			x--, y--;
			add(out, ' ', (size_t)x, (size_t)y);
		}
		if (down)
			add(out, '+', (size_t)x, (size_t)--y);
		else
			add(out, '-', (size_t)--x, (size_t)y);
	}
	while (x > 0 && y > 0) {
		x--, y--;
		add(out, ' ', (size_t)x, (size_t)y);
	}
}

static bool shortest(struct script *out, const struct side *a, const struct side *b)
{
	long n = (long)a->count, m = (long)b->count;
	long max = n + m < MAX_EDITS ? n + m : MAX_EDITS, off = max + 1;
	size_t width = (size_t)(2 * max + 3) * sizeof(long);
	AUTO_FREE long *v = mem_alloc(width);
	AUTO_FREE long **trace = mem_alloc((size_t)(max + 1) * sizeof(*trace));
	bool found = false;
	long d;

	for (d = 0; d <= max && !found; d++) {
		for (long k = -d; k <= d; k += 2) {
			bool down = k == -d || (k != d && v[off + k - 1] < v[off + k + 1]);
			long x = down ? v[off + k + 1] : v[off + k - 1] + 1, y = x - k;

			while (x < n && y < m && same(a, (size_t)x, b, (size_t)y))
				x++, y++;
			v[off + k] = x;
			if (x >= n && y >= m) {
				backtrack(out, trace, d, n, m, off);
				found = true;
				break;
			}
		}
		trace[d] = mem_alloc(width);
		memcpy(trace[d], v, width);
	}
	while (d-- > 0)
		free(trace[d]);
	for (size_t i = 0, j = out->count; i < j && i < --j; i++) {
		struct edit t = out->v[i];

		out->v[i] = out->v[j];
		out->v[j] = t;
	}
	return found;
}

static void print_line(struct str *out, char op, const struct side *s, size_t i)
{
	str_addc(out, op);
	str_addn(out, s->v[i].s, s->v[i].n);
	str_addc(out, '\n');
	if (i + 1 == s->count && s->no_newline)
		str_add(out, "\\ No newline at end of file\n");
}

/* edits [from, to) as one hunk */
static void print_hunk(struct str *out, const struct script *s, size_t from, size_t to,
		       const struct side *a, const struct side *b)
{
	size_t an = 0, bn = 0;

	for (size_t i = from; i < to; i++) {
		an += s->v[i].op != '+';
		bn += s->v[i].op != '-';
	}
	str_addf(out, "@@ -%zu,%zu +%zu,%zu @@\n", s->v[from].a + (an > 0), an,
		 s->v[from].b + (bn > 0), bn);
	for (size_t i = from; i < to; i++)
		print_line(out, s->v[i].op, s->v[i].op == '+' ? b : a,
			   s->v[i].op == '+' ? s->v[i].b : s->v[i].a);
}

static void print_script(struct str *out, const struct script *s, const struct side *a,
			 const struct side *b)
{
	for (size_t i = 0; i < s->count;) {
		size_t from, to, quiet = 0;

		while (i < s->count && s->v[i].op == ' ')
			i++;
		if (i == s->count)
			return;
		from = i > CONTEXT ? i - CONTEXT : 0;
		for (to = i; to < s->count && quiet <= 2 * CONTEXT; to++)
			quiet = s->v[to].op == ' ' ? quiet + 1 : 0;
		to -= quiet > CONTEXT ? quiet - CONTEXT : 0;
		print_hunk(out, s, from, to, a, b);
		i = to;
	}
}

char *text_diff(const char *label_old, const char *label_new,
		const char *a, size_t alen, const char *b, size_t blen)
{
	struct side sa = {0}, sb = {0};
	struct script script = {0};
	AUTO_STR out = {0};

	split(&sa, a, alen);
	split(&sb, b, blen);
	if (alen != blen || memcmp(a, b, alen) != 0) {
		str_addf(&out, "--- %s\n+++ %s\n", label_old, label_new);
		if (sa.count > MAX_LINES || sb.count > MAX_LINES ||
		    !shortest(&script, &sa, &sb))
			str_addf(&out, "too different to show: %zu lines before, %zu after\n",
				 sa.count, sb.count);
		else
			print_script(&out, &script, &sa, &sb);
	}
	free(sa.v);
	free(sb.v);
	free(script.v);
	return str_take(&out);
}
