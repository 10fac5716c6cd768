/* SPDX-License-Identifier: Apache-2.0
 * json - jansson with the accessors that this program wants. Every getter
 * accepts NULL and wrong types and then gives the default.
 */
#ifndef DROVER_JSON_H
#define DROVER_JSON_H

#include "engine/base/err.h"

#include <jansson.h>
#include <stdbool.h>

void json_unref_ptr(json_t **j);
#define AUTO_JSON __attribute__((cleanup(json_unref_ptr))) json_t

/* `path` is a dotted path of object keys: "source.host". */
json_t *jget(const json_t *o, const char *path);	/* borrowed or NULL */
/* The first object of an array whose `key` is this text; borrowed or NULL. */
json_t *jfind(const json_t *array, const char *key, const char *text);
const char *jstr(const json_t *o, const char *path, const char *dflt);
int64_t jint(const json_t *o, const char *path, int64_t dflt);
double jreal(const json_t *o, const char *path, double dflt);
bool jbool(const json_t *o, const char *path, bool dflt);

/* Build: steal the value, replace an existing one. */
void jset(json_t *o, const char *key, json_t *value);
void jset_str(json_t *o, const char *key, const char *s);	/* NULL: null */
void jset_int(json_t *o, const char *key, int64_t v);
void jset_bool(json_t *o, const char *key, bool v);
void jset_strf(json_t *o, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void jadd(json_t *array, json_t *value);			/* steals */
/* A string from bytes that may not be UTF-8: bad bytes become U+FFFD. */
json_t *jtext(const char *s, size_t n);

/* Sorted keys, compact: equal values give equal bytes. Caller frees. */
char *json_canonical(const json_t *j);
/* Sorted keys, indented by 2, final newline: for trees and people. */
char *json_pretty(const json_t *j);
void json_digest(const json_t *j, char hex[65]);	/* SHA-256 of canonical */
/* Parse bounded text; objects with duplicate keys are refused. NULL with e. */
json_t *json_parse(const char *text, size_t n, struct err *e);

#endif
