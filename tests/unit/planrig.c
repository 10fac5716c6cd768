/* SPDX-License-Identifier: Apache-2.0
 * planrig - plans as texts.
 */
#include "tests/unit/planrig.h"

#include "engine/base/io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

const char planrig_two_disks[] = HEAD
	"maps: { networks: { lan: br0 } }\n"
	"machines:\n"
	"  one:\n"
	"    labels: { app: erp, wave: 1 }\n"
	"    downtime: 10m\n"
	"    source:\n"
	"      host: old\n"
	"      disks: { root: wwn-1, data: /dev/sdb, scratch: { serial: S3, copy: false } }\n"
	"      nics: { eth0: \"52:54:00:12:34:56\" }\n"
	"      power: { libvirt: { domain: one } }\n"
	"    target:\n"
	"      host: new\n"
	"      dir: \"/srv/${labels.app}/${machine}\"\n"
	"      memory: 32GiB\n"
	"      disks: { data: { path: /dev/vg/data } }\n"
	"      nics: { eth0: { address: 10.0.0.5/24 } }\n" STEP;

static char dir[] = "/tmp/drover-test.XXXXXX";

int planrig_up(void **s)
{
	(void)s;
	return mkdtemp(dir) ? 0 : -1;
}

int planrig_down(void **s)
{
	(void)s;
	return io_remove_tree(dir);
}

char *planrig_put(const char *name, const char *text)
{
	char *path = mem_printf("%s/%s", dir, name);

	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0600), 0);
	return path;
}

struct plan *planrig_load(const char *text)
{
	AUTO_FREE char *path = planrig_put("plan.yaml", text);
	struct err_list errors = { 0 };
	struct plan *p = plan_load(path, &errors);

	for (size_t i = 0; i < errors.count; i++)
		err_print(stderr, &errors.v[i]);
	assert_non_null(p);
	assert_int_equal(errors.count, 0);
	err_list_free(&errors);
	return p;
}
