/* SPDX-License-Identifier: Apache-2.0
 * hook/api_priv - what the files of the table `drover` share. All functions raise a Lua error
 * where one is due, and do not come back then.
 */
#ifndef DROVER_HOOK_API_PRIV_H
#define DROVER_HOOK_API_PRIV_H

#include "engine/hook/api.h"

/* The check that runs in this state. */
struct check *api_check(lua_State *L);
/* To the engine, without an answer; takes o. */
void api_send(lua_State *L, json_t *o);
/* While the file is loaded only functions are defined: one that asks or says
 * something there is a plain check, run from top to bottom when its turn comes. */
void api_must_run(lua_State *L);

/* The options table at index i, or none: it has only these keys, NULL behind the last. */
void api_options(lua_State *L, int i, const char *const *keys);
/* One of its texts, valid as long as the table, or dflt. */
const char *api_option(lua_State *L, int i, const char *key, const char *dflt);

/* ---- api_say.c: functions of the table ---- */
int api_ok(lua_State *L);
int api_fail(lua_State *L);
int api_warn(lua_State *L);
int api_finding(lua_State *L);
int api_log(lua_State *L);
int api_change(lua_State *L);
int api_fact(lua_State *L);

#endif
