/* SPDX-License-Identifier: Apache-2.0
 * xmlread - read the XML that programs write about machines, such as libvirt: elements,
 * attributes and text, all bounded. No document types, hence no entities but the five.
 *
 * libxml2 would do this too, but static it brings ICU along, 30 MB of it, and the
 * agent travels to every host.
 *
 * An element is {"name": "disk", "attrs": {"type": "file"}, "text": "...", "kids": [...]}.
 */
#ifndef DROVER_XMLREAD_H
#define DROVER_XMLREAD_H

#include "engine/base/err.h"
#include "engine/base/json.h"

#include <stddef.h>

#define XML_READ_MAX (4u << 20)		/* bytes of a document */
#define XML_READ_DEPTH 64
#define XML_READ_ELEMENTS 100000

/* The root element, owned; NULL with e, which names the line. */
json_t *xml_read(const char *text, size_t n, struct err *e);

/* The first element by a path of names ("os/type"); borrowed, NULL: none. */
json_t *xml_kid(const json_t *element, const char *path);
/* Its attribute, or with `attr` NULL its text; borrowed, `dflt` when there is none. */
const char *xml_word(const json_t *element, const char *path, const char *attr,
		     const char *dflt);

#endif
