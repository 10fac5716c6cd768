/* SPDX-License-Identifier: Apache-2.0
 * wrap - text in columns, and in lines no wider than a terminal.
 */
#ifndef DROVER_WRAP_H
#define DROVER_WRAP_H

#include "engine/base/mem.h"

/* Columns that UTF-8 text takes; bytes that fit into `columns`. */
size_t text_columns(const char *t);
size_t text_fit(const char *t, size_t columns);

/* Add `text`, which begins at `column` of its line, escaped and with no newline at
 * its end. Lines are at most `width` columns (0: any) and those after the first begin
 * with `indent` blanks; newlines of the text stay. Lines are broken at blanks only,
 * and not inside a path, a quoted name, a command in backquotes or one that begins
 * with a program's name (`drover run x.yaml --until convert`): whoever copies it from
 * the screen gets it whole. What is wider than a line stays so. */
void str_add_wrapped(struct str *b, const char *text, size_t column, size_t indent,
		     size_t width);

#endif
