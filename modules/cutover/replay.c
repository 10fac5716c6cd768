/* SPDX-License-Identifier: Apache-2.0
 * cutover.replay - put a fresh overlay on each disk's final base, replay the change set
 * on it, and look whether it would boot. The bases are not written to. Undo takes the
 * overlays away.
 *
 * Overlays are made beside their final name and renamed once all of them are right, so
 * that one under its name is a whole one.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/changeset.h"
#include "modules/lib/copy.h"
#include "modules/lib/disk.h"
#include "modules/lib/guestfs.h"
#include "modules/lib/layout.h"
#include "modules/lib/overlay.h"
#include "modules/module.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct param params[] = {
	{ 0 }
};

/* {disk: {path, base, base_format}} of the disks that were copied; `path` with the
 * suffix. Owned; NULL, told. */
static json_t *overlays_of(struct ctx *c, const char *suffix)
{
	json_t *out = json_object(), *disk;
	size_t i;

	json_array_foreach(jget(ctx_fact(c, "machine"), "disks"), i, disk) {
		const char *name = jstr(disk, "name", "");
		AUTO_LAYOUT_DISK place = { 0 };
		AUTO_ERR e = { 0 };
		json_t *o;

		if (!jbool(disk, "copy", true))
			continue;
		if (layout_of_disk(ctx_machine(c), name, &place, &e) < 0) {
			ctx_fail_err(c, &e);
			json_decref(out);
			return NULL;
		}
		o = json_object();
		jset_strf(o, "path", "%s%s", place.overlay, suffix);
		jset_str(o, "base", place.base);
		jset_str(o, "base_format", place.format);
		jset(out, name, o);
	}
	return out;
}

/* The pass that a base holds, by its own map: overlays end with it. Where there is no
 * map (a base that was not copied by passes) what convert told of it. NULL, told. */
static char *pass_of(struct ctx *c, const char *name, bool must_be_whole)
{
	AUTO_LAYOUT_DISK place = { 0 };
	AUTO_ERR e = { 0 };
	struct copy_there there;
	char hex[SHA256_HEX];

	if (layout_of_disk(ctx_machine(c), name, &place, &e) < 0 ||
	    copy_look(&place, &there, &e) < 0) {
		ctx_fail_err(c, &e);
		return NULL;
	}
	if (!there.map)
		return mem_strdup(jstr(json_object_get(ctx_fact(c, "disks"), name), "digest", ""));
	if (must_be_whole && !there.state.complete) {
		ctx_fail(c, "cannot put an overlay on disk '%s': its last pass is not complete",
			 name);
		ctx_hint(c, "`drover run` goes on with it");
		return NULL;
	}
	io_hex(there.state.root, SHA256_LEN, hex);
	return mem_printf("%u %s", there.state.pass, hex);
}

/* Which replay this is: of these passes, with these edits. Owned; NULL, told. */
static char *subject(struct ctx *c, bool must_be_whole)
{
	AUTO_JSON *all = json_object();
	json_t *passes = json_object(), *disk;
	char hex[65];
	size_t i;

	jset(all, "passes", passes);
	json_array_foreach(jget(ctx_fact(c, "machine"), "disks"), i, disk) {
		const char *name = jstr(disk, "name", "");
		AUTO_FREE char *pass = NULL;

		if (!jbool(disk, "copy", true))
			continue;
		pass = pass_of(c, name, must_be_whole);
		if (!pass)
			return NULL;
		jset_str(passes, name, pass);
	}
	jset(all, "edits", json_deep_copy(jget(ctx_fact(c, "changeset"), "edits")));
	json_digest(all, hex);
	return mem_printf("replayed-%.16s", hex);
}

/* ---- probe -------------------------------------------------------------------------- */

static void say_plan(struct ctx *c, const json_t *overlays)
{
	const json_t *set = ctx_fact(c, "changeset");
	const char *name;
	json_t *o, *edit;
	size_t i;

	json_object_foreach((json_t *)(uintptr_t)overlays, name, o)
		ctx_change(c, '+', "%s: a thin layer over %s", jstr(o, "path", "?"),
			   jstr(o, "base", "?"));
	if (!set && ctx_is_preview(c))	/* else there will be none */
		ctx_change(c, '?', "the files that reconfigure.guest will have named change on it, "
			   "unless that step is skipped");
	json_array_foreach(jget(set, "edits"), i, edit)
		ctx_change(c, jget(edit, "content") && json_is_null(jget(edit, "content")) ? '-'
			   : jstr(edit, "before", NULL) ? '~' : '+', "%s on it: %s",
			   jstr(edit, "path", "?"), jstr(edit, "why", "?"));
}

static int probe(struct ctx *c, enum probe_state *state)
{
	AUTO_JSON *overlays = overlays_of(c, "");
	AUTO_FREE char *name = subject(c, false);
	json_t *o, *there = json_object();
	size_t count = 0;
	const char *disk;

	if (!overlays || !name) {
		json_decref(there);
		return -1;
	}
	json_object_foreach(overlays, disk, o) {
		bool found = access(jstr(o, "path", ""), F_OK) == 0;

		jset_bool(there, disk, found);
		count += found;
	}
	if (!ctx_fact(c, "machine")) {
		ctx_unknown(c, "changes", GUEST_DISKS_MAX, "a thin layer over each copied disk, "
			    "once they are known");
		*state = STATE_UNKNOWN;
	} else if (count == 0) {
		*state = STATE_ABSENT;
	} else {
		*state = count == json_object_size(overlays) && ctx_kept(c, name, NULL)
			? STATE_DONE : STATE_PARTIAL;
	}
	ctx_stable(c, "overlays", there);
	if (*state != STATE_DONE)
		say_plan(c, overlays);
	return 0;
}

/* ---- apply -------------------------------------------------------------------------- */

static int refuse_in_use(struct ctx *c, const char *path)
{
	struct disk_info info;

	if (access(path, F_OK) < 0 || disk_info(path, "raw", &info, NULL) < 0 || !info.busy)
		return 0;
	ctx_fail(c, "cannot take away overlay '%s': a running machine uses it", path);
	ctx_hint(c, "stop the target first");
	return -1;
}

static int drop(struct ctx *c, const char *path)
{
	if (refuse_in_use(c, path) < 0)
		return -1;
	if (unlink(path) < 0 && errno != ENOENT)
		return ctx_fail_sys(c, "cannot take away '%s'", path);
	return 0;
}

static int drop_all(struct ctx *c, const char *suffix)
{
	AUTO_JSON *overlays = overlays_of(c, suffix);
	const char *disk;
	json_t *o;

	if (!overlays)
		return -1;
	json_object_foreach(overlays, disk, o)
		if (drop(c, jstr(o, "path", "")) < 0)
			return -1;
	return 0;
}

static int make_all(struct ctx *c, const json_t *overlays)
{
	const char *disk;
	json_t *o;

	json_object_foreach((json_t *)(uintptr_t)overlays, disk, o) {
		const char *path = jstr(o, "path", "");

		if (ctx_ledger_add(c, "file", path, true, NULL) < 0 ||
		    overlay_make(c, jstr(o, "base", ""), jstr(o, "base_format", "raw"), path) < 0)
			return -1;
	}
	return 0;
}

static int publish(struct ctx *c, const json_t *made)
{
	AUTO_JSON *final = overlays_of(c, "");
	const char *disk;
	json_t *o;

	json_object_foreach(final, disk, o) {
		const char *from = jstr(json_object_get(made, disk), "path", "");
		const char *to = jstr(o, "path", "");

		if (ctx_ledger_add(c, "file", to, true, NULL) < 0)
			return -1;
		if (rename(from, to) < 0)
			return ctx_fail_sys(c, "cannot rename '%s' to '%s'", from, to);
		if (ctx_ledger_del(c, "file", from) < 0)
			return -1;
	}
	return 0;
}

static void leave_evidence(struct ctx *c, const json_t *applied)
{
	AUTO_STR text = { 0 };
	json_t *edit;
	size_t i;

	json_array_foreach(jget(applied, "edits"), i, edit) {
		size_t n;
		AUTO_FREE char *content = edit_content(edit, &n);
		char digest[SHA256_HEX] = "gone";

		if (content)
			sha256_hex(content, n, digest);
		str_addf(&text, "%s  %s  (%s)\n", digest, jstr(edit, "path", "?"),
			 jstr(edit, "why", "?"));
	}
	if (text.len)
		ctx_evidence(c, "replayed", text.s, text.len);
}

static int replay(struct ctx *c, const json_t *made)
{
	const json_t *machine = ctx_fact(c, "machine"), *set = ctx_fact(c, "changeset");
	AUTO_JSON *nothing = json_pack("{s:[]}", "edits");
	AUTO_JSON *applied = NULL;

	if (overlay_mend(c, machine, made, false) < 0 ||
	    changeset_apply(c, set ? set : nothing, machine, made, &applied) < 0 ||
	    overlay_check(c, applied, machine, made) < 0)
		return -1;
	leave_evidence(c, applied);
	return 0;
}

static int apply(struct ctx *c)
{
	AUTO_JSON *made = overlays_of(c, ".new");
	AUTO_FREE char *name = NULL;

	if (!made)
		return -1;
	if (!ctx_fact(c, "machine"))
		return ctx_fail(c, "cannot replay the changes: fact 'machine' is not known");
	name = subject(c, true);
	if (!name || drop_all(c, "") < 0 || drop_all(c, ".new") < 0 || make_all(c, made) < 0 ||
	    replay(c, made) < 0 || publish(c, made) < 0)
		return -1;
	return ctx_keep(c, name, "yes", 3);
}

/* ---- undo ---------------------------------------------------------------------------- */

static int strike(struct ctx *c, const char *suffix)
{
	AUTO_JSON *overlays = overlays_of(c, suffix);
	const char *disk;
	json_t *o;

	json_object_foreach(overlays, disk, o)
		if (ctx_ledger_del(c, "file", jstr(o, "path", "")) < 0)
			return -1;
	return overlays ? 0 : -1;
}

static int undo(struct ctx *c)
{
	if (drop_all(c, ".new") < 0 || drop_all(c, "") < 0)
		return -1;
	return strike(c, ".new") < 0 || strike(c, "") < 0 ? -1 : 0;
}

static const char *const wants[] = { "machine", "guest", "disks", "changeset", NULL };
static const char *const tools[] = { "qemu-img", "qemu-nbd", NULL };

const struct module module_cutover_replay = {
	.name = "cutover.replay",
	.summary = "replay the guest's changes on a fresh overlay of the final base",
	.place = ON_TARGET,
	.flags = MOD_REVERSIBLE,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
	.undo = undo,
};
