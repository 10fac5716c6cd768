/* SPDX-License-Identifier: Apache-2.0
 * fstab - tables of lines of fields, as fstab and crypttab are; comments and layout
 * are kept when a field is changed.
 */
#ifndef DROVER_FSTAB_H
#define DROVER_FSTAB_H

#include "engine/base/json.h"
#include "engine/base/mem.h"

/* [{line, spec, dir, type, options}] of an fstab; lines with less than three fields
 * are left out. Owned. */
json_t *fstab_parse(const char *text);

/* One line at a time: *s moves on; *n is its length without the newline. False at the
 * end. */
bool line_next(const char **s, const char **line, size_t *n);
/* The i-th field of a line (from 0), borrowed; false when there is none, or the line
 * is a comment. */
bool line_field(const char *line, size_t n, int i, const char **field, size_t *len);

/* Rewrite one field of each line that has it: fn gives the new text (owned) or NULL to
 * leave it. Returns the new text, or NULL when nothing changed. Caller frees. */
char *lines_map_field(const char *text, int i,
		      char *(*fn)(void *arg, int line, const char *field), void *arg);
/* Rewrite whole lines, comments too: fn gives the new line or NULL to leave it. */
char *lines_map(const char *text, char *(*fn)(void *arg, int line, const char *s),
		void *arg);

#endif
