/* SPDX-License-Identifier: Apache-2.0
 * tools - external programs that modules may run, and the Debian packages that
 * bring them. One table.
 */
#ifndef DROVER_TOOLS_H
#define DROVER_TOOLS_H

struct tool {
	const char *name;	/* the program, as found in PATH */
	const char *package;	/* the Debian package that brings it */
};

extern const struct tool tools[];		/* ends with .name == NULL */
const char *tool_package(const char *name);	/* NULL: not in the table */

#endif
