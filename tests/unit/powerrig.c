/* SPDX-License-Identifier: Apache-2.0
 * powerrig - see the header.
 */
#include "tests/unit/powerrig.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/modtest.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pw_set(const struct powerrig *w, const char *word)
{
	assert_int_equal(io_write_file(AT_FDCWD, w->power, word, strlen(word), 0600), 0);
}

void pw_is(const struct powerrig *w, const char *want)
{
	AUTO_FREE char *now = io_read_file(AT_FDCWD, w->power, 64, NULL);

	assert_non_null(now);
	now[strcspn(now, "\n")] = '\0';
	assert_string_equal(now, want);
}

int pw_setup(void **state)
{
	struct powerrig *w = mem_alloc(sizeof(*w));

	snprintf(w->dir, sizeof(w->dir), "/tmp/drover-test.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->power = mem_printf("%s/power", w->dir);
	pw_set(w, "on");
	w->input = json_pack(
		"{s:{}, s:{s:s, s:{s:s,s:s,s:{s:{s:o,s:o,s:o}}}}, s:{}, s:{s:b}}", "args",
		"machine", "name", "m", "source", "host", "a", "kind", "image", "power",
		"command", "off", modtest_sh("echo off > %s", w->power), "on",
		modtest_sh("echo on > %s", w->power), "status", modtest_sh("cat %s", w->power), "facts",
		"run", "preview", 0);
	assert_non_null(w->input);
	*state = w;
	return 0;
}

int pw_teardown(void **state)
{
	struct powerrig *w = *state;

	io_remove_tree(w->dir);
	json_decref(w->input);
	free(w->power);
	free(w);
	return 0;
}

json_t *pw_call(struct powerrig *w, const char *module, const char *op, int yes)
{
	json_t *events = NULL;
	json_t *r = modtest_call_with(module, op, w->input, -1, yes, &events);

	modtest_keep(w->input, events);
	json_decref(events);
	return r;
}

json_t *pw_command(struct powerrig *w)
{
	return jget(w->input, "machine.source.power.command");
}

void pw_program(struct powerrig *w, const char *name, const char *script)
{
	AUTO_FREE char *path = mem_printf("%s/%s", w->dir, name);
	AUTO_FREE char *text = mem_printf("#!/bin/sh\n%s\n", script);
	AUTO_FREE char *paths = mem_printf("%s:/usr/bin:/bin", w->dir);

	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0755), 0);
	assert_int_equal(setenv("PATH", paths, 1), 0);
}
