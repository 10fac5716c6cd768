/* SPDX-License-Identifier: Apache-2.0
 * hook/http - an HTTP GET as text over call.connect: the request is written and the
 * answer is read inside the check's own process, where a hostile answer can do no
 * harm.
 */
#ifndef DROVER_HOOK_HTTP_H
#define DROVER_HOOK_HTTP_H

#include "engine/base/json.h"

/* Arguments of call.connect for `url`, new; `host` is the Host header, NULL: from
 * the URL. NULL with *why (owned by the caller) when it cannot be asked. */
json_t *http_request(const char *url, const char *host, char **why);
/* The answer of that call made into {ok, result: {status, reason, headers, body}} or
 * {ok: false, error}. Steals `answer`, gives a new one. */
json_t *http_answer(const char *url, json_t *answer);

#endif
