/* SPDX-License-Identifier: Apache-2.0
 * vault - the secrets that were fetched, and where they must not be seen. Each lies in
 * pages of its own: locked, left out of core dumps, wiped when the plan is freed.
 */
#ifndef DROVER_VAULT_H
#define DROVER_VAULT_H

#include "engine/base/json.h"

struct vault;

struct vault *vault_new(void);
void vault_free(struct vault *v);		/* wipes; NULL is harmless */
/* Copies `value` (n bytes); returns the copy, which lives as long as the vault. */
const char *vault_put(struct vault *v, const char *name, const char *value, size_t n);
const char *vault_get(const struct vault *v, const char *name);	/* NULL: not fetched */
/* The name of a secret that stands in the text: in clear, as JSON writes it, in hex or
 * base64. NULL: none does. */
const char *vault_told(const struct vault *v, const char *text);
/* The text with each such place made "[secret:NAME]"; NULL when there is none. Caller
 * frees. */
char *vault_redact(const struct vault *v, const char *text);
/* The same for all texts in a value: `j` itself when it is clean. A new reference. */
json_t *vault_redact_json(const struct vault *v, json_t *j);
/* The name of a secret that any text of the value tells, or NULL. */
const char *vault_told_json(const struct vault *v, const json_t *j);

#endif
