/* SPDX-License-Identifier: Apache-2.0
 * changeset - the recorded edits of a guest: which file on which disk, its digest
 * before, its content after, and why. Made by the rules of reconfigure.guest from the
 * source's files, nothing being written; replayed on overlays.
 *
 * As JSON (fact `changeset`):
 *   {edits: [{disk, partition, mount, path, before: sha256|null, mode,
 *             content | content64 (not UTF-8) | content: null (taken away), why, rule}]}
 * `path` is the guest's own, absolute; what lies below `mount` is its place in the
 * partition.
 */
#ifndef DROVER_CHANGESET_H
#define DROVER_CHANGESET_H

#include "modules/lib/gtree.h"
#include "modules/module.h"

struct edit {
	char *path;		/* absolute, links resolved; owned */
	char *was;		/* text before; NULL: it was not there; owned */
	char *text;		/* text after; NULL: taken away; owned */
	mode_t mode;		/* of a new file */
	char *why;		/* one line; several rules are joined by "; " */
	char *rule;		/* names of the rules, joined alike */
};

struct changeset {
	struct gtree *tree;	/* borrowed */
	struct edit *edits;	/* in the order of the first change; owned */
	size_t count, cap;
};
#define AUTO_CHANGESET __attribute__((cleanup(changeset_free))) struct changeset

void changeset_free(struct changeset *s);
/* A file as the edits so far leave it; NULL with errno. Text only: a file with a NUL
 * in it is EINVAL. Caller frees. */
char *changeset_text(struct changeset *s, const char *path);
/* Record that a file is to hold `text` (NULL: to be gone). Nothing is recorded when it
 * does already. 0, or -1 with errno when the file there cannot be read. */
int changeset_put(struct changeset *s, const char *path, const char *text, mode_t mode,
		  const char *rule, const char *why);

/* The JSON form; edits sorted by path. Edits of files on no partition that can be
 * written (ext) are left out and told: as warnings when c is given. Owned. */
json_t *changeset_json(const struct changeset *s, const json_t *machine, struct ctx *c);
/* Preview lines, a diff for each edit. */
void changeset_show(struct ctx *c, const struct changeset *s);

/* What an edit of the JSON form is to leave: content (owned, NUL-terminated) and its
 * length; NULL when the file is to be gone. */
char *edit_content(const json_t *edit, size_t *len);
/* Does the file in the tree have the digest before / after the edit? */
bool edit_fits(struct gtree *t, const json_t *edit);
bool edit_done(struct gtree *t, const json_t *edit);

/* Apply edits to a writable tree. Each must fit, or be done already; else nothing at
 * all is written, *misfit is the first that does not and -1 comes without e. -1 with e
 * when writing fails. */
int changeset_write(struct gtree *t, const json_t *changeset, const json_t **misfit,
		    struct err *e);

#endif
