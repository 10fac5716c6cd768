/* SPDX-License-Identifier: Apache-2.0
 * powerrig - a machine "m" that is a file: it holds "on" or "off".
 */
#ifndef DROVER_TESTS_POWERRIG_H
#define DROVER_TESTS_POWERRIG_H

#include "engine/base/json.h"

struct powerrig {
	char dir[64];		/* gone at the end */
	char *power;		/* the file that is the machine */
	json_t *input;		/* of the next call; its source.power is of commands */
};

int pw_setup(void **state);
int pw_teardown(void **state);
void pw_set(const struct powerrig *w, const char *word);
void pw_is(const struct powerrig *w, const char *want);
/* source.power.command, to be changed. */
json_t *pw_command(struct powerrig *w);
/* A call whose questions are answered so; what it kept is kept. The result is the caller's. */
json_t *pw_call(struct powerrig *w, const char *module, const char *op, int yes);
/* A program that does what the script says, found before any other; gone with the test. */
void pw_program(struct powerrig *w, const char *name, const char *script);

#endif
