/* SPDX-License-Identifier: Apache-2.0
 * test_power_tools - what libvirt and systemd say of a machine is believed only as far as it goes,
 * and who asks them ends when the call is stopped.
 */
#include "engine/base/mem.h"
#include "engine/base/io.h"
#include "modules/lib/task.h"
#include "tests/unit/modtest.h"
#include "tests/unit/powerrig.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

static void quiesce_takes_a_domain_that_shuts_down_for_one_that_writes(void **state)
{
	struct powerrig *w = *state;

	jset(w->input, "args", json_pack("{s:s}", "mode", "pause"));
	jset_str(jget(w->input, "machine.source"), "domain", "m");
	pw_program(w, "virsh", "echo 'in shutdown'");
	modtest_state(w->input, "cutover.quiesce", "absent");
	pw_program(w, "virsh", "echo paused");
	modtest_state(w->input, "cutover.quiesce", "done");
}

static void use_domain(struct powerrig *w, const char *name)
{
	json_t *source = jget(w->input, "machine.source");

	json_object_del(source, "power");
	jset_str(source, "kind", "domain");
	jset_str(source, "domain", name);
}

static void off_is_not_proven_by_a_libvirt_that_is_silent_about_autostart(void **state)
{
	struct powerrig *w = *state;

	use_domain(w, "m");
	pw_program(w, "virsh", "[ \"$2\" = domstate ] && { echo 'shut off'; exit 0; }; exit 1");
	modtest_fails(w->input, "cutover.off", "probe",
		      "cannot tell whether 'm' starts with its host: "
		      "'virsh -q dominfo m' exited with status 1");
	pw_program(w, "virsh", "[ \"$2\" = domstate ] && { echo 'shut off'; exit 0; }\n"
		   "printf 'Id: -\\nAutostart:      enable\\nManaged save:   no\\n'");
	modtest_state(w->input, "cutover.off", "partial");
	pw_program(w, "virsh", "[ \"$2\" = domstate ] && { echo 'shut off'; exit 0; }\n"
		   "printf 'Id: -\\nAutostart:  disable\\nManaged save:   no\\n'");
	modtest_state(w->input, "cutover.off", "done");
}

/* Its process is still there, with its disks open; somebody may reset it. */
static void off_does_not_take_a_crashed_domain_for_off(void **state)
{
	struct powerrig *w = *state;

	use_domain(w, "m");
	pw_program(w, "virsh", "[ \"$2\" = domstate ] && { echo crashed; exit 0; }\n"
		   "printf 'Id: 3\\nAutostart: disable\\n'");
	modtest_state(w->input, "cutover.off", "absent");
}

/* What the ledger names stays there until it is known to be gone. */
static void cleanup_takes_a_domain_for_gone_only_when_libvirt_answers(void **state)
{
	struct powerrig *w = *state;

	jset(w->input, "args", json_pack("{s:s,s:s}", "kind", "domain", "name", "erp-test"));
	pw_program(w, "virsh", "echo 'error: failed to connect to the hypervisor' >&2; exit 1");
	modtest_fails(w->input, "call.cleanup", "apply",
		      "cannot tell whether domain 'erp-test' is gone: "
		      "failed to connect to the hypervisor");
	pw_program(w, "virsh", "[ \"$2\" = list ]");
	modtest_must(w->input, "call.cleanup", "apply");
}

static void a_domain_called_by_a_number_is_not_switched(void **state)
{
	struct powerrig *w = *state;

	use_domain(w, "12");
	pw_program(w, "virsh", "echo \"$*\" >> ${0%/*}/called; echo running");
	modtest_fails(w->input, "cutover.off", "probe",
		      "cannot switch 'm': source.power.libvirt names no domain");
	jset(w->input, "args", json_pack("{s:s}", "mode", "pause"));
	modtest_fails(w->input, "cutover.quiesce", "apply",
		      "cannot pause 'm': the source is no libvirt domain");
	AUTO_FREE char *called = mem_printf("%s/called", w->dir);
	assert_int_not_equal(access(called, F_OK), 0);
}

static void start_is_not_undone_by_a_libvirt_that_falls_silent(void **state)
{
	struct powerrig *w = *state;

	jset(w->input, "facts", json_pack("{s:{s:s,s:s,s:[],s:[]}}", "definition", "name", "m",
		"uuid", "0d0b0e01-0000-4000-8000-000000000001", "disks", "nics"));
	jset(w->input, "kept", json_pack("{s:{s:s}}", "way", "text", "libvirt"));
	pw_program(w, "virsh", "[ \"$2\" = uri ] && exit 0; echo 'error: no connection' >&2; exit 1");
	modtest_fails(w->input, "cutover.start", "undo", "cannot prove that 'm' is off at the target: "
		      "'virsh -q list --all --uuid' exited with status 1: error: no connection");
}

/* A process that has this argument, until *end is closed. */
static pid_t run_marked(const char *marker, int *end)
{
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[0], 0);
		execlp("sh", "sh", "-c", "cat; exit", "sh", marker, NULL);
		_exit(127);
	}
	close(fds[0]);
	*end = fds[1];
	return pid;
}

/* In a /run of its own, where it looks as if systemd ran here. */
static int undo_by_systemd(struct powerrig *w, const char *want)
{
	AUTO_JSON *r = NULL;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0 ||
	    io_mkdirs("/run/systemd/system", 0755) < 0)
		return 2;
	r = pw_call(w, "cutover.start", "undo", -1);
	return strcmp(jstr(r, "error.text", "undone"), want) == 0 ? 0 : 1;
}

static int undo_in_child(struct powerrig *w, const char *want)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(undo_by_systemd(w, want));
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void start_is_not_undone_by_a_unit_whose_machine_still_runs(void **state)
{
	struct powerrig *w = *state;
	AUTO_FREE char *marker = mem_printf("%s/qemu.pid", w->dir), *text = NULL;
	int end = -1;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	jset(w->input, "facts", json_pack("{s:{s:s,s:s,s:[],s:[]}}", "definition", "name", "m",
					  "dir", w->dir, "disks", "nics"));
	jset(w->input, "kept", json_pack("{s:{s:s}}", "way", "text", "systemd"));
	pid = run_marked(marker, &end);
	while (task_find(marker) == 0)
		sched_yield();
	text = mem_printf("cannot prove that 'm' is off at the target: process %d runs it",
			  (int)pid);
	assert_int_equal(undo_in_child(w, text), 0);
	close(end);
	waitpid(pid, NULL, 0);
	assert_int_equal(undo_in_child(w, "undone"), 0);
}

/* ---- a call that is stopped ------------------------------------------------------------- */

/* The program stops the call that runs it, as the agent would, and stays. */
#define STOPS_ITS_CALL "kill -TERM $PPID; exec sleep 30"

/* What the call ran was told to end, or it would have been quoted as too slow. */
static void is_stopped(struct powerrig *w, const char *module, const char *op)
{
	AUTO_JSON *events = NULL;
	AUTO_JSON *r = modtest_call(module, op, w->input, &events);

	assert_false(jbool(r, "ok", true));
	if (!strstr(jstr(r, "error.text", ""), "was ended by signal 15"))
		assert_string_equal(jstr(r, "error.kind", ""), "cancelled");
	for (size_t i = 0; i < json_array_size(events); i++)
		assert_string_not_equal(jstr(json_array_get(events, i), "e", ""), "keep");
}

static void power_ends_what_it_runs_when_it_is_stopped(void **state)
{
	struct powerrig *w = *state;

	jset(pw_command(w), "status", modtest_sh(STOPS_ITS_CALL));
	is_stopped(w, "cutover.off", "probe");
}

static void quiesce_ends_what_it_runs_when_it_is_stopped(void **state)
{
	struct powerrig *w = *state;

	jset(w->input, "args", json_pack("{s:s}", "mode", "pause"));
	jset_str(jget(w->input, "machine.source"), "domain", "m");
	pw_program(w, "virsh", STOPS_ITS_CALL);
	is_stopped(w, "cutover.quiesce", "apply");
}

static void drain_that_is_stopped_takes_no_service_for_idle(void **state)
{
	struct powerrig *w = *state;

	jset(w->input, "args", json_pack("{s:[s]}", "services", "db"));
	pw_program(w, "systemctl", STOPS_ITS_CALL);
	is_stopped(w, "cutover.drain", "probe");
	is_stopped(w, "cutover.drain", "apply");
}

#define T(f) cmocka_unit_test_setup_teardown(f, pw_setup, pw_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(quiesce_takes_a_domain_that_shuts_down_for_one_that_writes),
		T(off_is_not_proven_by_a_libvirt_that_is_silent_about_autostart),
		T(off_does_not_take_a_crashed_domain_for_off),
		T(cleanup_takes_a_domain_for_gone_only_when_libvirt_answers),
		T(a_domain_called_by_a_number_is_not_switched),
		T(power_ends_what_it_runs_when_it_is_stopped),
		T(quiesce_ends_what_it_runs_when_it_is_stopped),
		T(drain_that_is_stopped_takes_no_service_for_idle),
		T(start_is_not_undone_by_a_libvirt_that_falls_silent),
		T(start_is_not_undone_by_a_unit_whose_machine_still_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
