/* SPDX-License-Identifier: Apache-2.0
 * screen_text - how many columns text takes on a terminal.
 */
#include "engine/cli/screen_priv.h"

#include <wchar.h>

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

void add_cell(struct str *b, const char *t, size_t columns, bool cut)
{
	AUTO_STR safe = {0};
	size_t w;

	str_add_safe(&safe, t ? t : "");
	w = text_columns(safe.s ? safe.s : "");
	if (cut && w > columns) {
		size_t n = text_fit(safe.s, columns ? columns - 1 : 0);

		str_addn(b, safe.s, n);
		str_add(b, "~");
		w = text_columns(safe.s) - text_columns(safe.s + n) + 1;
	} else {
		str_add(b, safe.s ? safe.s : "");
	}
	for (; w < columns; w++)
		str_addc(b, ' ');
}
