/* SPDX-License-Identifier: Apache-2.0
 * here - a folder for one test, with the path of one file in it, and programs that are run
 * for it.
 */
#ifndef DROVER_TESTS_HERE_H
#define DROVER_TESTS_HERE_H

struct here {
	char dir[64];		/* empty; gone with the test, and all that is in it */
	char *path;		/* of a file in it that is not there yet */
};

/* Of a test whose state it is. */
int here_set_up(void **state);
int here_tear_down(void **state);

/* Run a program for a minute at most; the test fails with it. */
void here_run(const char *const *argv);
/* The same; the first line that it says. Caller frees. */
char *here_ask(const char *const *argv);

#endif
