/* SPDX-License-Identifier: Apache-2.0
 * record - a transition as text in the journal, and what it does to a machine's
 * tree and to the meta document. Pure functions; the same ones serve the
 * engine's memory and git.
 */
#ifndef DROVER_STATE_RECORD_H
#define DROVER_STATE_RECORD_H

#include "engine/state/state.h"

/* The journal's payload, compact JSON; caller frees. NULL with e when a name, a
 * tree path or the size is not acceptable. */
char *record_encode(const struct record *r, const char *run, int64_t at, size_t *len,
		    struct err *e);

/* A name of a plan or machine that can be part of a branch's name: text_name_ok,
 * and not what git refuses ("a..b", "a.", "a.lock"). */
bool record_name_ok(const char *name);
/* Relative, no empty part, no "." or ".." or ".git", at most 512 bytes. */
bool record_path_ok(const char *path);

/* tree: path -> text. First `del` (a path, or a prefix that ends in '/'), then
 * `set`. A file gives way to a folder of its name and the other way round. */
void tree_apply(json_t *tree, const json_t *del, const json_t *set);

/* Pointer edits (state.h, record.meta) of the meta document. */
void meta_apply(json_t *doc, const json_t *edits);

/* The commit's message: subject, blank line, trailers. Caller frees. */
char *record_message(const json_t *record, uint64_t seq);
/* The trailers of a message as an object; `subject` (caller frees) may be NULL. */
json_t *message_trailers(const char *message, char **subject);

#endif
