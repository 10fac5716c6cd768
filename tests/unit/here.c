/* SPDX-License-Identifier: Apache-2.0
 * here - a folder for one test, with the path of one file in it, and programs that are run
 * for it.
 */
#include "tests/unit/here.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

int here_set_up(void **state)
{
	struct here *h = mem_alloc(sizeof(*h));

	strcpy(h->dir, "/tmp/drover-test.here.XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	h->path = mem_printf("%s/it", h->dir);
	*state = h;
	return 0;
}

int here_tear_down(void **state)
{
	struct here *h = *state;

	assert_int_equal(io_remove_tree(h->dir), 0);
	free(h->path);
	free(h);
	return 0;
}

char *here_ask(const char *const *argv)
{
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	AUTO_ERR e = { 0 };
	char *out;

	if (proc_run(&p, &e) < 0)
		fail_msg("%s", e.what);
	out = str_take(&p.out);
	out[strcspn(out, "\n")] = '\0';
	proc_free(&p);
	return out;
}

void here_run(const char *const *argv)
{
	free(here_ask(argv));
}
