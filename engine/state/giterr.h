/* SPDX-License-Identifier: Apache-2.0
 * giterr - libgit2's last error as ours, and its handles freed at scope's end.
 */
#ifndef DROVER_STATE_GITERR_H
#define DROVER_STATE_GITERR_H

#include "engine/base/err.h"

#include <git2.h>

/* err_set with ERR_SYSTEM and ": " what libgit2 says, "" when it says nothing.
 * Returns -1. e->sys is ENOSPC when that is what it says. */
int giterr(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define GIT_CLEANUP(type) \
	static inline void type##_clean(type **p) { type##_free(*p); }
GIT_CLEANUP(git_tree)
GIT_CLEANUP(git_commit)
GIT_CLEANUP(git_reference)
GIT_CLEANUP(git_treebuilder)
GIT_CLEANUP(git_blob)
GIT_CLEANUP(git_diff)
GIT_CLEANUP(git_reference_iterator)
#define AUTO_GIT(type) __attribute__((cleanup(type##_clean))) type

#endif
