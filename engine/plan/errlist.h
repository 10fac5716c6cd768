/* SPDX-License-Identifier: Apache-2.0
 * errlist - errors that are collected, so that all of them can be told.
 */
#ifndef DROVER_ERRLIST_H
#define DROVER_ERRLIST_H

#include "engine/base/err.h"
#include "engine/plan/plan.h"

#include <stdarg.h>

/* Add an error with a place; at may be NULL, l may be NULL (nobody asks). The
 * answer, good until the next one is added, is for err_hint() only. */
struct err *err_list_add(struct err_list *l, const struct place *at,
			 const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
struct err *err_list_vadd(struct err_list *l, const struct place *at,
			  const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));
/* Bring them into the order of the text: files in the order given, then line and
 * column; equal ones (from shared text) are told once. */
void err_list_sort(struct err_list *l, const char *const *files, size_t count);

#endif
