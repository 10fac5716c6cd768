/* SPDX-License-Identifier: Apache-2.0
 * hook/child - one check in its process.
 *
 * A check is either a plain file, run from top to bottom when its turn comes, or one
 * that returns {probe=, apply=, undo=} and is then like a C module. Which of them it
 * is shows when the file is loaded with calls forbidden: a plain one is stopped by its
 * first call. A plain check is probed by saying what it is (and in assess, where
 * nothing waits for an earlier step, by running it with the reading calls), applied by
 * running it, and done when it was applied.
 */
#include "engine/hook/child.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/hook/api.h"
#include "engine/hook/fetch.h"
#include "engine/hook/sandbox.h"
#include "engine/wire/frame.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DONE_MARK "passed"	/* kept once a plain check was applied; with what it asked */
#define UNDONE_MARK "undone"	/* kept once it was undone: it is to be asked again */

static const char *job_str(const struct check *ck, const char *key, const char *dflt)
{
	return jstr(ck->job, key, dflt);
}

/* ---- results ------------------------------------------------------------- */

static json_t *result_new(struct check *ck, const char *state)
{
	json_t *o = json_object(), *vol = json_object();

	jset_bool(o, "ok", true);
	jset_str(o, "state", state);
	json_object_set(o, "changes", ck->changes);
	json_object_set(o, "findings", ck->findings);
	json_object_set(o, "facts", ck->facts);
	jset(o, "stable", json_object());
	if (ck->message)
		jset_str(vol, "message", ck->message);
	jset(o, "volatile", vol);
	return o;
}

static void add_change(struct check *ck, const char *mark, const char *text)
{
	json_t *o = json_object();

	jset_str(o, "mark", mark);
	jset(o, "text", jtext(text, strlen(text)));
	jadd(ck->changes, o);
}

/* What a plain check will do, for a preview. */
static json_t *announce(struct check *ck, const char *asks)
{
	AUTO_STR b = {0};

	str_addf(&b, "check %s at %s", job_str(ck, "label", "check"), job_str(ck, "role", "source"));
	if (asks)
		str_addf(&b, ", %s", asks);
	add_change(ck, "?", b.s);
	return result_new(ck, "unknown");
}

static const char *hint_for(enum vm_end end)
{
	switch (end) {
	case END_FAIL: return NULL;
	case END_TIME: return "`timeout:` in the plan allows more";
	case END_MEMORY: return "`memory:` in the plan allows more";
	default: return "the check itself is broken, or what it asked for is not there";
	}
}

/* drover.fail, an error, or a limit; only the first two are worth another try. */
static json_t *broken(struct check *ck, const char *error)
{
	enum vm_end end = ck->vm.end;
	json_t *o = frame_failure("failed", error, hint_for(end));

	json_object_set(o, "findings", ck->findings);
	jset_bool(o, "final", end != END_FAIL && end != END_NONE);
	return o;
}

/* ---- loading ------------------------------------------------------------- */

/* A fresh state with the file loaded as a function on its stack. */
static int load(struct check *ck, char **error)
{
	const char *text = job_str(ck, "text", "");

	vm_close(&ck->vm);
	memset(&ck->vm, 0, sizeof(ck->vm));
	ck->vm.arg = ck;
	if (vm_open(&ck->vm, (size_t)jint(ck->job, "memory", 64 << 20),
		    (uint64_t)jint(ck->job, "timeout_ms", 30000)) < 0) {
		*error = mem_strdup("the memory limit is too small to begin");
		ck->vm.end = END_MEMORY;
		return -1;
	}
	ck->vm.deadline = ck->deadline;	/* one for all of its states */
	lua_pushcfunction(ck->vm.L, api_open);
	if (vm_call(&ck->vm, 0, 0, error) < 0)
		return -1;
	return vm_load(&ck->vm, job_str(ck, "name", "check"), text, strlen(text), error);
}

/* Run the file with calls forbidden. 1: it returned a table, on the stack; 0: it is a
 * plain check; -1 with *error. */
static int load_table(struct check *ck, char **error)
{
	int rc;

	if (load(ck, error) < 0)
		return -1;
	ck->loading = true;
	rc = vm_call(&ck->vm, 0, 1, error);
	ck->loading = false;
	if (rc == 0)
		return lua_istable(ck->vm.L, -1);
	if (ck->vm.end != END_ASKS)
		return -1;
	free(*error);
	*error = NULL;
	return 0;
}

/* An event for the engine; when it is gone the result will show it. */
static void say(struct check *ck, const char *e, const char *name, const char *text)
{
	AUTO_JSON *o = json_object();

	jset_str(o, "e", e);
	if (name)
		jset_str(o, "name", name);
	jset(o, "text", jtext(text, strlen(text)));
	frame_write_fd(ck->fd, FRAME_EVENT, 1, o, NULL);
}

/* ---- plain checks -------------------------------------------------------- */

/* A check that is changed, or asks for something else, has not passed yet. Owned. */
static char *done_mark(const struct check *ck)
{
	return mem_printf("%s-%s", DONE_MARK, job_str(ck, "asked", ""));
}

static json_t *run_plain(struct check *ck)
{
	AUTO_FREE char *error = NULL, *mark = done_mark(ck);

	if (load(ck, &error) < 0)
		return broken(ck, error);
	if (vm_call(&ck->vm, 0, 0, &error) < 0)
		return ck->vm.end == END_ASKS ? announce(ck, ck->vm.text) : broken(ck, error);
	if (ck->reading_only) {		/* in assess: reading was all it wanted */
		if (ck->message)
			add_change(ck, "=", ck->message);
		return result_new(ck, "done");
	}
	say(ck, "keep", mark, ck->message ? ck->message : "ok");
	if (ck->message)
		say(ck, "log", NULL, ck->message);
	return result_new(ck, "done");
}

static json_t *undo_plain(struct check *ck)
{
	say(ck, "keep", UNDONE_MARK, "yes");
	return result_new(ck, "absent");
}

static json_t *probe_plain(struct check *ck)
{
	const json_t *kept = json_object_get(ck->job, "kept");
	AUTO_FREE char *mark = done_mark(ck);
	const json_t *passed = json_object_get(kept, mark);

	if (passed && !json_object_get(kept, UNDONE_MARK)) {
		add_change(ck, "=", jstr(passed, "text", "ok"));
		return result_new(ck, "done");
	}
	if (strncmp(job_str(ck, "step", ""), "assess.", 7) != 0)
		return announce(ck, NULL);
	return run_plain(ck);
}

/* ---- checks with functions ----------------------------------------------- */

static bool state_word(const char *s)
{
	return !strcmp(s, "done") || !strcmp(s, "absent") || !strcmp(s, "partial") ||
	       !strcmp(s, "unknown");
}

/* Call the function `op` of the table on the stack. */
static json_t *run_function(struct check *ck, const char *op)
{
	AUTO_FREE char *error = NULL;
	lua_State *L = ck->vm.L;
	const char *state;

	lua_getfield(L, -1, op);
	if (lua_isnil(L, -1) && strcmp(op, "undo") == 0)
		return result_new(ck, "absent");
	if (!lua_isfunction(L, -1)) {
		error = mem_printf("%s: it returns a table without a function '%s'",
				   job_str(ck, "name", "check"), op);
		return frame_failure("failed", error, "return {probe = function() ... end, "
				     "apply = function() ... end}");
	}
	if (vm_call(&ck->vm, 0, 1, &error) < 0)
		return ck->vm.end == END_ASKS ? announce(ck, ck->vm.text) : broken(ck, error);
	if (strcmp(op, "probe") != 0)
		return result_new(ck, strcmp(op, "apply") ? "absent" : "done");
	state = lua_isnil(L, -1) ? "absent" : lua_tostring(L, -1);
	if (state && state_word(state))
		return result_new(ck, state);
	error = mem_printf("%s: probe returned '%s'", job_str(ck, "name", "check"),
			   state ? state : luaL_typename(L, -1));
	return frame_failure("failed", error, "one of: done, absent, partial, unknown");
}

static json_t *run_job(struct check *ck)
{
	const char *op = job_str(ck, "op", "probe");
	AUTO_FREE char *error = NULL;
	int table = load_table(ck, &error);

	if (table < 0)
		return broken(ck, error);
	if (table > 0)
		return run_function(ck, op);
	if (strcmp(op, "probe") == 0)
		return probe_plain(ck);
	if (strcmp(op, "apply") == 0)
		return run_plain(ck);
	return undo_plain(ck);
}

int hook_child_main(void)
{
	struct check ck = { .fd = 0 };
	struct frame job = {0};
	AUTO_JSON *result = NULL;

	sandbox_start();
	if (frame_read_fd(ck.fd, &job, NULL) <= 0 || job.type != FRAME_RUN)
		return 1;
	ck.job = job.body;
	if (strcmp(jstr(ck.job, "op", ""), "fetch") == 0) {
		result = fetch_run(ck.job);
		frame_write_fd(ck.fd, FRAME_RESULT, 1, result, NULL);
		_exit(0);
	}
	ck.deadline = clock_real.mono_ms(clock_real.arg) +
		      (uint64_t)jint(ck.job, "timeout_ms", 30000);
	ck.findings = json_array();
	ck.changes = json_array();
	ck.facts = json_object();
	ck.reading_only = strcmp(jstr(ck.job, "op", "probe"), "probe") == 0;
	if (sandbox_enter((uint64_t)jint(ck.job, "memory", 64 << 20),
			  (uint64_t)jint(ck.job, "timeout_ms", 30000)) < 0) {
		AUTO_FREE char *text = mem_printf("cannot lock the check in: %s", strerror(errno));

		result = frame_failure("failed", text, NULL);
	} else {
		result = run_job(&ck);
	}
	frame_write_fd(ck.fd, FRAME_RESULT, 1, result, NULL);
	_exit(0);	/* the state dies with the process */
}
