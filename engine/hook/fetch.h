/* SPDX-License-Identifier: Apache-2.0
 * hook/fetch - HTTP and HTTPS from beside the engine, for checks `at = "here"`: names
 * are resolved, certificates are verified. Blocking; runs in a process of its own.
 */
#ifndef DROVER_HOOK_FETCH_H
#define DROVER_HOOK_FETCH_H

#include "engine/base/json.h"

/* job: {url, host, timeout_ms}. A result as of a module's call; volatile: {status,
 * reason, headers, body, truncated}. New. */
json_t *fetch_run(const json_t *job);

#endif
