/* SPDX-License-Identifier: Apache-2.0
 * overlay - make a thin layer over a base and replay the change set on it.
 */
#include "modules/lib/overlay.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "engine/base/text.h"
#include "modules/lib/guestfs.h"
#include "modules/reconfigure/rules/rules.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int take_name(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? -1 : close(fd);
}

int overlay_make(struct ctx *c, const char *base, const char *base_format,
		 const char *path)
{
	AUTO_FREE char *real = realpath(base, NULL);
	const char *argv[] = { "qemu-img", "create", "-q", "-f", "qcow2", "-F", base_format,
			       "-b", real, "--", path, NULL };
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	AUTO_ERR e = { 0 };
	int r;

	if (!real)
		return ctx_fail_sys(c, "cannot make an overlay of '%s'", base);
	/* qemu-img overwrites what is there, and makes files that all may read: take the
	 * name first */
	if (take_name(path) < 0)
		return ctx_fail_sys(c, "cannot make overlay '%s'", path);
	r = proc_run(&p, &e);
	proc_free(&p);
	if (r < 0) {
		unlink(path);
		err_wrap(&e, "cannot make overlay '%s'", path);
		return ctx_fail_err(c, &e);
	}
	return 0;
}

/* ---- replay ------------------------------------------------------------------------ */

static const json_t *same_edit(const json_t *set, const json_t *edit)
{
	size_t i;
	json_t *other;

	json_array_foreach(jget(set, "edits"), i, other)
		if (strcmp(jstr(other, "path", ""), jstr(edit, "path", "?")) == 0)
			return other;
	return NULL;
}

/* Name each file whose edit is not the one that was recorded. */
static void tell_difference(struct ctx *c, const json_t *recorded, const json_t *now)
{
	size_t i;
	json_t *edit;

	json_array_foreach(jget(now, "edits"), i, edit) {
		const json_t *was = same_edit(recorded, edit);

		if (!was)
			ctx_finding(c, "warning", "replay.new-edit", NULL, "%s is changed too: it "
				    "was in order when the changes were recorded",
				    jstr(edit, "path", "?"));
		else if (!json_equal(was, edit))
			ctx_finding(c, "warning", "replay.other-edit", NULL, "%s has changed "
				    "since its edit was recorded; it was worked out again (%s)",
				    jstr(edit, "path", "?"), jstr(edit, "why", "?"));
	}
	json_array_foreach(jget(recorded, "edits"), i, edit)
		if (!same_edit(now, edit))
			ctx_finding(c, "warning", "replay.no-edit", NULL, "%s needs no change any "
				    "more", jstr(edit, "path", "?"));
}

/* The rules again, on the overlay's own texts. Owned; NULL with e. */
static json_t *work_out_again(struct ctx *c, const json_t *machine, struct gtree *t,
			      struct err *e)
{
	AUTO_CHANGESET set = { .tree = t };

	if (rules_run(c, ctx_machine(c), machine, &set, e) < 0)
		return NULL;
	return changeset_json(&set, machine, c);
}

static int write_edits(struct ctx *c, const json_t *changeset, const json_t *machine,
		       struct gtree *t, json_t **applied, struct err *e)
{
	AUTO_JSON *again = NULL;
	const json_t *misfit = NULL;
	const json_t *used = changeset;

	if (changeset_write(t, changeset, &misfit, e) < 0) {
		if (!misfit)
			return -1;
		ctx_log(c, "'%s' is not as it was when its edit was recorded: the changes "
			"are worked out again", jstr(misfit, "path", "?"));
		again = work_out_again(c, machine, t, e);
		if (!again)
			return -1;
		tell_difference(c, changeset, again);
		if (changeset_write(t, again, &misfit, e) < 0)
			return misfit ? err_set(e, ERR_STEP, "cannot change '%s': it changes "
						"while it is read", jstr(misfit, "path", "?")) : -1;
		used = again;
	}
	if (applied)
		*applied = json_deep_copy(used);
	return 0;
}

int changeset_apply(struct ctx *c, const json_t *changeset, const json_t *machine,
		    const json_t *overlays, json_t **applied)
{
	AUTO_GUESTFS g = { 0 };
	AUTO_ERR e = { 0 };

	if (applied)
		*applied = NULL;
	if (guestfs_open_overlays(machine, overlays, true, &g, &e) < 0 ||
	    write_edits(c, changeset, machine, g.tree, applied, &e) < 0 ||
	    guestfs_close(&g, &e) < 0)
		return ctx_fail_err(c, &e);
	return 0;
}
