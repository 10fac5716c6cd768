/* SPDX-License-Identifier: Apache-2.0
 * backuprig - beside convertrig.h's: backups of its disk at one place, and what is done with them.
 * What fails, fails the test.
 */
#ifndef DROVER_TESTS_BACKUPRIG_H
#define DROVER_TESTS_BACKUPRIG_H

#include "tests/unit/convertrig.h"

/* Backups go to <dir>/backup from here on. Owned. */
char *bk_keep(struct rig *r);
/* One more, as a step of its own would make it: must end well; the result, which may not. */
void bk_back_up(struct rig *r, const char *name);
json_t *bk_try_back_up(struct rig *r, const char *name);

/* What is asked of a place; takes args. Its result, the caller's, as of the five below. */
json_t *bk_do(struct rig *r, const char *op, json_t *args);
/* The i-th backup there, or NULL. */
json_t *bk_listed(struct rig *r, const char *place, size_t i);
/* The backup at path: all of it; a sample; its disk to a new file. */
json_t *bk_verified(struct rig *r, const char *place, const char *path);
json_t *bk_sampled(struct rig *r, const char *place, const char *path);
json_t *bk_restored(struct rig *r, const char *place, const char *path, const char *to);
/* All but the newest goes ("apply"), or would ("probe"). */
json_t *bk_pruned(struct rig *r, const char *op, const char *place);

/* It ended well. Takes result. */
void bk_assert_ok(json_t *result);
/* Restored to <dir>/restored it is what the source is now. */
void bk_assert_restores(struct rig *r, const char *place, const json_t *backup);
/* Where that restore writes until it is whole. Owned. */
char *bk_growing(struct rig *r);

#endif
