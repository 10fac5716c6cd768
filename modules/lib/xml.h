/* SPDX-License-Identifier: Apache-2.0
 * xml - write XML: elements, attributes and text, always escaped, indented.
 */
#ifndef DROVER_XML_H
#define DROVER_XML_H

#include "engine/base/mem.h"

#define XML_DEPTH 16

/* Zero-initialise. Element names are borrowed until they are closed. */
struct xml {
	struct str out;			/* what is written so far; owned */
	const char *open[XML_DEPTH];	/* elements not yet closed */
	int depth;			/* how many */
	int tag_open;			/* the last start tag may take attributes */
};

void xml_open(struct xml *x, const char *name);
void xml_attr(struct xml *x, const char *name, const char *value);
void xml_attrf(struct xml *x, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* An element that holds nothing but text. */
void xml_text(struct xml *x, const char *name, const char *value);
void xml_textf(struct xml *x, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void xml_close(struct xml *x);
/* Close an element that has attributes and, between its tags, only text. */
void xml_close_text(struct xml *x, const char *text);
/* Close what is open and take the text; the caller frees. */
char *xml_take(struct xml *x);

#endif
