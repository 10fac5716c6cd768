/* SPDX-License-Identifier: Apache-2.0
 * fakeplan - a plan with fake steps.
 */
#include "tests/unit/fakehost.h"

#include "engine/base/io.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put_steps(struct fake_plan *p, const struct fake_step *steps)
{
	size_t n = 0;

	while (steps[n].machine)
		n++;
	p->steps = mem_alloc((n + 1) * sizeof(*p->steps));
	p->lists = mem_alloc((n + 1) * sizeof(*p->lists));
	for (size_t i = 0; i < n; i++) {
		int m = plan_find_machine(p->plan, steps[i].machine);

		assert_true(m >= 0);
		p->steps[i] = (struct plan_step){
			.phase = steps[i].phase, .id = steps[i].id, .verb = steps[i].id,
			.module = steps[i].module, .args = json_object(),
			.needs = steps[i].needs, .when = steps[i].when, .at = steps[i].at,
			.place = { "erp.yaml", 7, 9, "    - step" },
		};
		p->lists[i] = &p->steps[i];
		if (i == 0 || strcmp(steps[i].machine, steps[i - 1].machine)) {
			p->plan->machines[m].steps = &p->lists[i];
			p->plan->machines[m].step_count = 0;
		}
		p->plan->machines[m].step_count++;
	}
}

void fake_plan_make(struct fake_plan *p, const char *text, const struct fake_step *steps)
{
	struct err_list errors = { 0 };
	AUTO_FREE char *file = NULL;

	memset(p, 0, sizeof(*p));
	/* Memory where there is some: a thousand states are synced here. */
	snprintf(p->dir, sizeof(p->dir), "%s/drover-test.XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->state_dir, sizeof(p->state_dir), "%s/.drover", p->dir);
	file = mem_printf("%s/erp.yaml", p->dir);
	assert_int_equal(io_write_file(AT_FDCWD, file, text, strlen(text), 0600), 0);
	p->plan = plan_load(file, &errors);
	for (size_t i = 0; i < errors.count; i++)
		err_print(stderr, &errors.v[i]);
	assert_non_null(p->plan);
	put_steps(p, steps);
	p->graph = graph_build(p->plan, &errors);
	assert_non_null(p->graph);
	err_list_free(&errors);
}

void fake_plan_free(struct fake_plan *p)
{
	graph_free(p->graph);
	for (size_t i = 0; p->steps && p->steps[i].module; i++)
		json_decref(p->steps[i].args);
	free(p->steps);
	free(p->lists);
	plan_free(p->plan);
	io_remove_tree(p->dir);
}
