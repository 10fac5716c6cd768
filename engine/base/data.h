/* SPDX-License-Identifier: Apache-2.0
 * data - the texts that the Makefile embeds: recipes and the Lua library.
 */
#ifndef DROVER_DATA_H
#define DROVER_DATA_H

/* Names as in the tree, "plans/p2v.yaml", "lua/port.lua"; ends with a NULL name. */
extern const struct drover_datum {
	const char *name, *text;
} drover_data[];

#endif
