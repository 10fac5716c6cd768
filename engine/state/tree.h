/* SPDX-License-Identifier: Apache-2.0
 * tree - git trees by path: edit, read, list. Only the folders on the way to a
 * changed file are written again.
 */
#ifndef DROVER_STATE_TREE_H
#define DROVER_STATE_TREE_H

#include "engine/base/err.h"
#include "engine/base/json.h"

#include <git2.h>

/* Apply `del`, then `set` (as tree_apply in record.h) to tree `base` (NULL: the
 * empty tree). Folders that become empty go. */
int tree_edit(git_repository *repo, const git_oid *base, const json_t *del,
	      const json_t *set, git_oid *out, struct err *e);
/* All files: path -> text (bytes that are no UTF-8 become U+FFFD). NULL with e. */
json_t *tree_read(git_repository *repo, const git_oid *tree, struct err *e);
/* All paths, sorted. NULL with e. */
json_t *tree_list(git_repository *repo, const git_oid *tree, struct err *e);
/* One file's text. NULL: not there, or with e set damaged. Caller frees. */
char *tree_file(git_repository *repo, const git_oid *tree, const char *path, size_t *len,
		struct err *e);

#endif
