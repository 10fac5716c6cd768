/* SPDX-License-Identifier: Apache-2.0
 * lvm - LVM's own programs, and what they report.
 */
#include "modules/lib/lvm.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/task.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define LVM_MS 60000
#define REPORT_MAX (4u << 20)	/* bytes of a report: some thousand volumes */
#define SAID_MAX 1024u		/* bytes of why a change failed */

/* What cannot be done. Owned. */
static char *cannot(const char *vg)
{
	return vg ? mem_printf("cannot use volume group '%s'", vg) : mem_strdup("cannot ask LVM");
}

static int have(const char *tool, const char *vg, struct err *e)
{
	AUTO_FREE char *path = proc_which(tool), *what = cannot(vg);

	if (path)
		return 0;
	err_set(e, ERR_STEP, "%s: '%s' is not installed here", what, tool);
	return err_hint(e, "apt install lvm2");
}

/* What LVM says itself is worth more than how it was called. */
static int said(const struct proc *p, const char *vg, struct err *e)
{
	const char *line = proc_last_line(p);
	AUTO_FREE char *what = cannot(vg);

	if (*line) {
		err_clear(e);
		err_set(e, ERR_STEP, "%s: %s: %s", what, p->argv[0], line);
	} else {
		err_wrap(e, "%s", what);
	}
	return err_hint(e, "type on its host: vgs; lvs%s%s%s", vg ? " '" : "", vg ? vg : "",
			vg ? "'" : "");
}

int lvm_run(const char *vg, const char *const *argv, struct err *e)
{
	struct proc p = { .argv = argv, .timeout_ms = LVM_MS };
	int rc = have(argv[0], vg, e);

	if (rc == 0 && proc_run(&p, e) < 0)
		rc = said(&p, vg, e);
	proc_free(&p);
	return rc;
}

struct change { const char *vg; const char *const *argv; };

/* Tells a '+', or a '-' and what went wrong. */
static void see_through(void *arg)
{
	const struct change *c = arg;
	struct proc p = { .argv = c->argv };
	AUTO_FREE char *text = NULL;
	AUTO_ERR e = { 0 };

	prctl(PR_SET_NAME, "drover-lvm");
	signal(SIGPIPE, SIG_IGN);
	if (proc_run(&p, &e) < 0)
		said(&p, c->vg, &e);
	proc_free(&p);
	text = mem_printf("%c%s", err_is(&e) ? '-' : '+', err_is(&e) ? e.what : "");
	io_write_full(0, text, strlen(text));
}

int lvm_change(const char *vg, const char *const *argv, struct err *e)
{
	char said_so[SAID_MAX + 1] = "";
	size_t n = 0;
	ssize_t got;
	struct change c = { vg, argv };
	AUTO_FD fd = have(argv[0], vg, e) < 0 ? -1 : task_fork(see_through, &c, false, e);

	if (fd < 0)
		return -1;
	while (n < SAID_MAX && ((got = read(fd, said_so + n, SAID_MAX - n)) > 0 ||
				(got < 0 && errno == EINTR)))
		n += got > 0 ? (size_t)got : 0;
	if (said_so[0] == '+')
		return 0;
	return err_set(e, ERR_STEP, "%s", n ? said_so + 1 : "LVM's program was killed");
}

json_t *lvm_report(const char *const *argv, const char *kind, const char *vg, struct err *e)
{
	struct proc p = { .argv = argv, .timeout_ms = LVM_MS, .max_output = REPORT_MAX };
	AUTO_FREE char *what = cannot(vg);
	AUTO_ERR mine = { 0 };
	AUTO_JSON *doc = NULL;
	const json_t *rows = NULL;

	if (have(argv[0], vg, &mine) == 0 && proc_run(&p, &mine) < 0) {
		said(&p, vg, &mine);
	} else if (p.out.s) {
		doc = json_parse(p.out.s, p.out.len, &mine);
		rows = json_object_get(json_array_get(jget(doc, "report"), 0), kind);
	}
	proc_free(&p);
	if (!rows && !err_is(&mine))
		err_set(&mine, ERR_STEP, "%s: %s said nothing that can be read", what, argv[0]);
	if (!rows && e)
		err_move(e, &mine);
	return json_incref((json_t *)(uintptr_t)rows);
}

uint64_t lvm_number(const json_t *row, const char *key)
{
	return strtoull(jstr(row, key, "0"), NULL, 10);
}

bool lvm_has_tag(const char *tags, const char *tag)
{
	size_t n = strlen(tag);

	for (const char *p = tags; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (strncmp(p, tag, n) == 0 && (p[n] == '\0' || p[n] == ','))
			return true;
	return false;
}
