/* SPDX-License-Identifier: Apache-2.0
 * Passes of a serving disk by its traced writes: a loop device with a mounted ext4,
 * both ends as the agent runs them.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/map.h"
#include "modules/lib/track.h"
#include "tests/unit/here.h"
#include "tests/unit/modtest.h"
#include "tests/unit/part.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1u << 20)
#define SIZE (64u * MIB)

struct rig {
	char dir[64];
	char *img, *loop, *mnt, *file, *target, *base;
	char lineage[33];	/* of this rig alone: a tracker's name is the host's */
	char *tracker;		/* its name, once the ledger has it */
	json_t *facts, *args;
	pid_t writer;		/* writes on while the test goes on; 0: none */
	bool strict;		/* its plan does not accept a last pass that reads all */
	const char *by;		/* how the last pass of the source found what changed */
	int64_t read;		/* what it read */
	char *said;		/* its log */
};

static bool can_run;

/* The system's call, but for the counters of lost events, which a tracker begun while this is
 * so cannot read. */
static bool counters_unreadable;

ssize_t pread(int fd, void *p, size_t n, off_t at)
{
	AUTO_FREE char *link = counters_unreadable ? mem_printf("/proc/self/fd/%d", fd) : NULL;
	char to[256] = "";

	if (link && readlink(link, to, sizeof(to) - 1) > 6 && !strcmp(to + strlen(to) - 6, "/stats")) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, p, n, at);
}

/* ---- the source -------------------------------------------------------------------- */

static void write_at(struct rig *r, uint64_t at, size_t n, unsigned seed)
{
	AUTO_FD fd = open(r->file, O_WRONLY | O_CREAT, 0600);
	AUTO_FREE char *p = mem_alloc(n);

	assert_true(fd >= 0);
	for (size_t i = 0; i < n; i++)
		p[i] = (char)(seed = seed * 1103515245u + 12345u, seed >> 16);
	assert_int_equal(io_pwrite_full(fd, p, n, at), 0);
	assert_int_equal(fsync(fd), 0);
}

static int freeze(struct rig *r, unsigned long what)
{
	AUTO_FD fd = open(r->mnt, O_RDONLY | O_DIRECTORY);

	return ioctl(fd, what, 0);
}

/* True: it wrote until now. */
static bool writer_end(struct rig *r)
{
	int status = 0;

	if (r->writer <= 0)
		return false;
	kill(r->writer, SIGKILL);
	waitpid(r->writer, &status, 0);
	r->writer = 0;
	return WIFSIGNALED(status);
}

/* A test that failed may have left it frozen, and the writer waiting for its thaw. */
static void umount_source(struct rig *r)
{
	const char *detach[] = { "losetup", "-d", r->loop, NULL };

	freeze(r, FITHAW);
	writer_end(r);
	umount2(r->mnt, MNT_DETACH);
	here_run(detach);
}

static void mount_source(struct rig *r)
{
	const char *losetup[] = { "losetup", "-f", "--show", r->img, NULL };
	const char *mkfs[] = { "mkfs.ext4", "-q", "-F", "-E",	/* nothing in background */
		"lazy_itable_init=0,lazy_journal_init=0,nodiscard", r->img, NULL };
	AUTO_FD fd = open(r->img, O_WRONLY | O_CREAT, 0600);

	assert_int_equal(ftruncate(fd, SIZE), 0);
	here_run(mkfs);
	r->loop = here_ask(losetup);
	assert_int_equal(mkdir(r->mnt, 0700), 0);
	assert_int_equal(mount(r->loop, r->mnt, "ext4", 0, NULL), 0);
	write_at(r, 0, 8 * MIB, 1);
}

static int set_up(void **state)
{
	struct rig *r = mem_alloc(sizeof(*r));

	*state = r;
	if (!can_run)
		return 0;
	strcpy(r->dir, "/var/tmp/drover-test.track.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	unsigned char random[16];

	io_random(random, sizeof(random));
	io_hex(random, sizeof(random), r->lineage);
	r->img = mem_printf("%s/src.raw", r->dir);
	r->mnt = mem_printf("%s/mnt", r->dir);
	r->file = mem_printf("%s/file", r->mnt);
	r->target = mem_printf("%s/images", r->dir);
	r->base = mem_printf("%s/erp/root.base.raw", r->target);
	assert_int_equal(mkdir(r->target, 0700), 0);
	r->facts = json_object();
	r->args = json_pack("{s:i,s:s,s:i,s:s,s:s}", "passes", 1, "freeze", "none", "chunk",
			    (int)MIB, "compress", "auto", "changes", "auto");
	mount_source(r);
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	if (r->tracker)
		track_end(r->tracker, NULL);
	if (r->loop)
		umount_source(r);
	if (*r->dir)
		io_remove_tree(r->dir);
	free(r->img);
	free(r->loop);
	free(r->mnt);
	free(r->file);
	free(r->target);
	free(r->base);
	free(r->tracker);
	free(r->said);
	json_decref(r->facts);
	json_decref(r->args);
	free(r);
	return 0;
}

/* ---- calls ------------------------------------------------------------------------- */

static json_t *input(struct rig *r, const char *role)
{
	return json_pack("{s:o,s:o,s:{},s:s,s:{s:s,s:{s:s,s:s,s:{s:{s:s,s:s,s:b}}},"
			 "s:{s:s,s:s,s:s,s:b,s:{}}},s:{s:s,s:s,s:s,s:i,s:s,s:s,s:b,s:[s]}}",
			 "args", json_deep_copy(r->args), "facts", json_deep_copy(r->facts), "kept", "role", role,
			 "machine", "name", "erp",
			 "source", "host", "a", "kind", "block", "disks",
			 "root", "path", r->loop, "format", "raw", "copy", 1,
			 "target", "host", "b", "dir", r->target, "format", "raw", "replace", 0,
			 "disks",
			 "run", "plan", "p", "plan_dir", "/", "run", "abcd1234", "epoch", 1,
			 "lineage", r->lineage, "step", "convert.disks",
			 "preview", 0, "accepted", r->strict ? "another" : "pass.whole");
}

static void take_events(struct rig *r, const json_t *events)
{
	AUTO_STR said = { 0 };
	json_t *e;
	size_t i;

	json_array_foreach(events, i, e) {
		if (!strcmp(jstr(e, "e", ""), "log"))
			str_addf(&said, "%s\n", jstr(e, "text", ""));
		if (strcmp(jstr(e, "kind", ""), "tracker") || strcmp(jstr(e, "op", ""), "add"))
			continue;
		free(r->tracker);
		r->tracker = mem_strdup(jstr(e, "name", ""));
	}
	free(r->said);
	r->said = str_take(&said);
}

static void take_result(struct rig *r, json_t *out)
{
	const json_t *passes = jget(out, "volatile.passes.root"), *last;
	const char *name;
	json_t *fact;

	if (!jbool(out, "ok", false))
		fail_msg("%s", jstr(out, "error.text", "?"));
	json_object_foreach(json_object_get(out, "facts"), name, fact)
		json_object_set(r->facts, name, json_object_get(fact, strcmp(name, "warm") ? "stable" :
								"volatile"));
	if (!passes)
		return;
	last = json_array_get(passes, json_array_size(passes) - 1);
	r->by = strcmp(jstr(last, "by", ""), "trace") ? "digest" : "trace";
	r->read = jint(last, "read", -1);
}

static void both(struct rig *r, const char *module, const char *op)
{
	struct modtest_end end[2] = { { .module = module, .in = input(r, "source"), .op = op },
				      { .module = module, .in = input(r, "target"), .op = op } };

	modtest_both(end);
	take_events(r, end[0].events);
	for (int i = 1; i >= 0; i--) {
		take_result(r, end[i].out);
		json_decref(end[i].in);
		json_decref(end[i].out);
		json_decref(end[i].events);
	}
}

static void copy(struct rig *r, const char *module)
{
	both(r, module, "apply");
}

/* As a cutover does it: frozen, then the last pass. */
static void last_pass(struct rig *r)
{
	const char *cmp[] = { "cmp", r->img, r->base, NULL };
	struct proc p = { .argv = cmp, .timeout_ms = 60000 };
	int same;

	assert_int_equal(freeze(r, FIFREEZE), 0);
	copy(r, "cutover.pass");
	same = proc_run(&p, NULL);
	proc_free(&p);
	assert_int_equal(freeze(r, FITHAW), 0);
	assert_int_equal(same, 0);
}

static bool said(struct rig *r, const char *what)
{
	return r->said && strstr(r->said, what);
}

/* ---- the tracker from outside --------------------------------------------------------- */

static pid_t tracker_pid(struct rig *r)
{
	return modtest_listener(r->tracker);
}

/* Its directory in tracefs, which the test mounts for itself. */
static char *instance(struct rig *r, const char *what)
{
	return mem_printf("%s/tracefs/instances/%s/%s", r->dir, r->tracker, what);
}

static void mount_tracefs(struct rig *r)
{
	AUTO_FREE char *dir = mem_printf("%s/tracefs", r->dir);

	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(mount("none", dir, "tracefs", 0, NULL), 0);
}

static void umount_tracefs(struct rig *r)
{
	AUTO_FREE char *dir = mem_printf("%s/tracefs", r->dir);

	assert_int_equal(umount2(dir, MNT_DETACH), 0);
}

/* ---- tests ------------------------------------------------------------------------------ */

static void a_file_overwritten_between_passes_is_found_and_nothing_else_is_read(void **s)
{
	struct rig *r = *s;

	if (!can_run)
		skip();
	copy(r, "convert.disks");
	assert_string_equal(r->by, "digest");
	assert_true(said(r, "its writes are followed from now on"));
	write_at(r, 3 * MIB, 2 * MIB, 2);
	last_pass(r);
	assert_string_equal(r->by, "trace");
	assert_true(r->read >= 2 * MIB && r->read < SIZE / 2);
	/* nothing was written since, but for what a thaw brings */
	last_pass(r);
	assert_string_equal(r->by, "trace");
	assert_true(r->read < SIZE / 2);
}

/* The plan was changed: nobody tells the tracker any more which copy the target has. */
static void passes_by_digests_end_what_was_followed(void **s)
{
	struct rig *r = *s;

	if (!can_run)
		skip();
	copy(r, "convert.disks");
	assert_int_not_equal(tracker_pid(r), 0);
	json_object_set_new(r->args, "changes", json_string("digest"));
	write_at(r, 3 * MIB, 2 * MIB, 2);
	copy(r, "call.sync");
	assert_int_equal(tracker_pid(r), 0);
	r->strict = true;
	last_pass(r);
	assert_string_equal(r->by, "digest");
}

/* All over the file, in all sizes; holes are punched, blocks are zeroed. */
static void write_on(const char *file, unsigned x)
{
	AUTO_FD fd = open(file, O_RDWR);
	AUTO_FREE char *p = mem_alloc(256 << 10);

	for (int i = 0;; i++) {
		off_t at = (off_t)((x = x * 1103515245u + 12345u) >> 8) % (8 * (off_t)MIB);
		size_t n = ((x = x * 1103515245u + 12345u) >> 8) % (256 << 10) + 1;

		memset(p, (int)(x >> 16), n);
		if (i % 13 == 0)
			fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, at,
				  (off_t)n);
		else if (i % 17 == 0)
			fallocate(fd, FALLOC_FL_ZERO_RANGE, at, (off_t)n);
		else if (io_pwrite_full(fd, p, n, (uint64_t)at) < 0)
			break;
		if (i % 5 == 0)
			fdatasync(fd);
	}
}

/* A process, as those of a source are: no thread is in the way of the forks of a copy. */
static void writer_begin(struct rig *r, unsigned seed)
{
	pid_t parent = getpid();

	r->writer = fork();
	assert_true(r->writer >= 0);
	if (r->writer > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		write_on(r->file, seed);
	_exit(1);
}

static void what_writers_write_during_passes_is_all_there(void **s)
{
	struct rig *r = *s;

	if (!can_run)
		skip();
	for (unsigned round = 0; round < (unsigned)test_part(4, 1); round++) {
		json_object_set_new(r->args, "passes", json_integer(4 + 5 * round));
		writer_begin(r, 77 + round);
		copy(r, "convert.disks");
		last_pass(r);
		assert_true(writer_end(r));
		/* who is starved may lose events, but must know it */
		if (strcmp(r->by, "trace"))
			assert_true(said(r, "events of its tracing were lost"));
	}
}

/* More of them than its buffers hold while it sleeps. */
static void lose_events(struct rig *r)
{
	AUTO_FREE char *size = NULL;
	pid_t pid;

	mount_tracefs(r);
	size = instance(r, "buffer_size_kb");
	{
		AUTO_FD fd = open(size, O_WRONLY);

		assert_int_equal(io_write_full(fd, "4", 1), 0);
	}
	umount_tracefs(r);
	pid = tracker_pid(r);
	assert_true(pid > 0);
	kill(pid, SIGSTOP);
	for (unsigned i = 0; i < 500; i++)
		write_at(r, i % 8 * MIB, 4096, i);
	kill(pid, SIGCONT);
}

static void lost_events_mean_that_all_is_read_and_it_is_said(void **s)
{
	struct rig *r = *s;

	if (!can_run)
		skip();
	copy(r, "convert.disks");
	lose_events(r);
	last_pass(r);
	assert_string_equal(r->by, "digest");
	assert_true(said(r, "events of its tracing were lost"));
	assert_int_equal(r->read, SIZE);
	last_pass(r);
	assert_string_equal(r->by, "trace");
}

static void who_cannot_tell_whether_events_were_lost_trusts_none(void **s)
{
	struct rig *r = *s;

	if (!can_run)
		skip();
	counters_unreadable = true;
	copy(r, "convert.disks");
	last_pass(r);
	counters_unreadable = false;
	assert_string_equal(r->by, "digest");
	assert_true(said(r, "events of its tracing were lost"));
}

static void a_killed_tracker_means_that_all_is_read(void **s)
{
	struct rig *r = *s;

	if (!can_run)
		skip();
	copy(r, "convert.disks");
	kill(tracker_pid(r), SIGKILL);
	write_at(r, 5 * MIB, MIB, 3);
	last_pass(r);
	assert_string_equal(r->by, "digest");
	assert_true(said(r, "no tracker follows it"));
	json_object_set_new(r->args, "passes", json_integer(3));
	copy(r, "convert.disks");
	assert_true(said(r, "nothing followed its writes since the pass before"));
	last_pass(r);
	assert_string_equal(r->by, "trace");
}

/* What a cutover's last pass says of reading all of the disk; "": nothing. */
static char *whole(struct rig *r, const char *serves)
{
	AUTO_JSON *in = input(r, "source"), *out = NULL;
	const json_t *f;

	jset_str(jget(in, "run"), "serves", serves);
	out = modtest_call("cutover.pass", "probe", in, NULL);
	f = json_array_get(jget(out, "findings"), 0);
	if (!f)
		return mem_strdup("");
	assert_string_equal(jstr(f, "code", ""), "pass.whole");
	assert_true(jbool(f, "now", false));
	return mem_printf("%s %s", jstr(f, "severity", ""), jstr(f, "text", ""));
}

static void assert_whole(struct rig *r, const char *serves, const char *severity, const char *why)
{
	AUTO_FREE char *said = whole(r, serves), *want = mem_printf("%s the last pass would read all of "
		"disk 'root' while nobody is served: %s", severity, why);

	assert_string_equal(said, *severity ? want : "");
}

static void a_cutover_is_refused_while_a_lost_tracker_can_be_replaced(void **s)
{
	struct rig *r = *s;

	if (!can_run)
		skip();
	copy(r, "convert.disks");
	assert_whole(r, "source", "", "");
	lose_events(r);
	assert_whole(r, "source", "blocker", "events of its tracing were lost");
	copy(r, "call.sync");
	assert_whole(r, "source", "", "");
	kill(tracker_pid(r), SIGKILL);
	assert_whole(r, "source", "blocker", "its tracker is gone");
	assert_whole(r, "nobody", "blocker", "its tracker is gone");
	json_object_set_new(r->facts, "pass", json_object());	/* it was read since it stands still */
	assert_whole(r, "nobody", "", "");
	json_object_del(r->facts, "pass");
	copy(r, "call.sync");
	assert_whole(r, "source", "", "");
}

/* A last pass that nobody accepted to read all: this end of it says why not. */
static void assert_ends_unread(struct rig *r, int says, const char *why)
{
	AUTO_FREE char *want = mem_printf("the last pass would read all of disk 'root' while nobody "
					  "is served: %s", why);

	r->strict = true;
	struct modtest_end end[2] = { { .module = "cutover.pass", .in = input(r, "source") },
				      { .module = "cutover.pass", .in = input(r, "target") } };

	modtest_both(end);
	assert_string_equal(jstr(end[says].out, "error.text", ""), want);
	assert_string_equal(jstr(end[says].out, "error.hint", ""), "drover sync PLAN reads it while "
			    "the source serves; cut over after that; or accept it in the plan: accept: "
			    "[{finding: pass.whole, until: DATE, reason: WHY}]");
	for (int i = 0; i < 2; i++) {
		assert_false(jbool(end[i].out, "ok", true));
		json_decref(end[i].in);
		json_decref(end[i].out);
		json_decref(end[i].events);
	}
	r->strict = false;
}

/* The probe before it saw nothing; what it would read is its downtime. */
static void a_tracker_lost_at_the_last_moment_ends_the_last_pass_before_it_reads(void **s)
{
	struct rig *r = *s;

	if (!can_run)
		skip();
	copy(r, "convert.disks");
	kill(tracker_pid(r), SIGKILL);
	assert_ends_unread(r, 0, "no tracker follows it");
	copy(r, "call.sync");
	last_pass(r);
	assert_string_equal(r->by, "trace");
}

static void undo_and_cleanup_leave_nothing_of_it(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *dir = NULL;
	AUTO_JSON *in = NULL, *out = NULL, *again = NULL, *cleanup = NULL;

	if (!can_run)
		skip();
	copy(r, "convert.disks");
	mount_tracefs(r);
	dir = instance(r, "");
	assert_int_equal(access(dir, F_OK), 0);
	in = input(r, "source");
	out = modtest_call("convert.disks", "undo", in, NULL);
	assert_true(jbool(out, "ok", false));
	assert_int_equal(access(dir, F_OK), -1);
	assert_int_equal(tracker_pid(r), 0);
	/* one that was killed leaves its instance: cleanup takes it */
	json_object_set_new(r->args, "passes", json_integer(2));
	copy(r, "convert.disks");
	kill(tracker_pid(r), SIGKILL);
	cleanup = input(r, "a");
	jset(cleanup, "args", json_pack("{s:s,s:s}", "kind", "tracker", "name", r->tracker));
	again = modtest_call("call.cleanup", "apply", cleanup, NULL);
	assert_true(jbool(again, "ok", false));
	assert_int_equal(access(dir, F_OK), -1);
	umount_tracefs(r);
}

/* A second pass, and the target as the first one left it: what came since is not there. */
static void put_back_the_first_pass(struct rig *r)
{
	AUTO_FREE char *dir = mem_printf("%s/erp", r->target);
	AUTO_FREE char *aside = mem_printf("%s/aside", r->target);
	const char *cp[] = { "cp", "-a", dir, aside, NULL };

	copy(r, "convert.disks");
	here_run(cp);
	write_at(r, 5 * MIB, MIB, 4);
	json_object_set_new(r->args, "passes", json_integer(2));
	copy(r, "convert.disks");
	assert_string_equal(r->by, "trace");
	assert_int_equal(io_remove_tree(dir), 0);
	assert_int_equal(rename(aside, dir), 0);
}

static void a_target_that_holds_another_copy_is_compared_whole(void **s)
{
	struct rig *r = *s;

	if (!can_run)
		skip();
	put_back_the_first_pass(r);
	last_pass(r);
	assert_string_equal(r->by, "digest");
	assert_true(said(r, "the target's copy is not the one that was followed"));
}

/* The target's finding counts where the source tells another copy than it holds. */
static bool in_the_way(struct rig *r)
{
	AUTO_JSON *in = input(r, "source"), *source = modtest_call("cutover.pass", "probe", in, NULL);
	AUTO_JSON *also = input(r, "target"), *target = modtest_call("cutover.pass", "probe", also, NULL);
	const json_t *f = json_array_get(jget(target, "findings"), 0);

	assert_string_equal(jstr(f, "severity", ""), "blocker");
	assert_string_equal(jstr(f, "code", ""), "pass.whole");
	assert_string_equal(jstr(f, "text", ""), "the last pass would read all of disk 'root' while "
			    "nobody is served: the target's copy is not the one that was followed");
	assert_string_equal(jstr(f, "unlike.key", ""), "since.root");
	return strcmp(jstr(f, "unlike.text", ""), jstr(source, "volatile.since.root", "")) != 0;
}

static void another_copy_at_the_target_is_in_the_way_of_a_cutover(void **s)
{
	struct rig *r = *s;

	if (!can_run)
		skip();
	put_back_the_first_pass(r);
	assert_true(in_the_way(r));
	assert_ends_unread(r, 1, "the target's copy is not the one that was followed");
	copy(r, "call.sync");
	assert_false(in_the_way(r));
	r->strict = true;
	last_pass(r);
	assert_string_equal(r->by, "trace");
	assert_false(in_the_way(r));	/* should it go back */
}

/* The first chunk in which the source is another by now; the map is made to forget it, as a
 * proof does of one that is damaged. */
static void forget_one_that_was_written(struct rig *r)
{
	AUTO_FREE char *path = mem_printf("%s/erp/root.map", r->target);
	AUTO_FREE char *img = mem_alloc(MIB), *base = mem_alloc(MIB);
	AUTO_MAP *m = map_open(path, true, NULL);
	AUTO_FD a = open(r->img, O_RDONLY), b = open(r->base, O_RDONLY);
	uint64_t chunk = 0;

	do {
		assert_int_equal(io_pread_full(a, img, MIB, chunk * MIB), 0);
		assert_int_equal(io_pread_full(b, base, MIB, chunk * MIB), 0);
	} while (memcmp(img, base, MIB) == 0 && ++chunk < SIZE / MIB);
	assert_int_equal(map_drop(m, &chunk, 1, NULL), 0);
}

/* What it sends again is younger than the rest of the copy, which so is one that nobody read
 * as a whole: all that was written since the pass before still counts as written. */
static void what_was_mended_while_the_source_served_is_in_the_way_of_no_cutover(void **s)
{
	struct rig *r = *s;

	if (!can_run)
		skip();
	copy(r, "convert.disks");
	write_at(r, MIB, 100, 5);
	write_at(r, 6 * MIB, 100, 6);
	forget_one_that_was_written(r);
	both(r, "convert.disks", "mend");
	assert_in_range(r->read, 1, MIB);
	assert_false(in_the_way(r));
	write_at(r, MIB, 200, 7);
	/* and once more, of a copy that is itself a mended one */
	forget_one_that_was_written(r);
	both(r, "convert.disks", "mend");
	assert_false(in_the_way(r));
	write_at(r, 3 * MIB, 100, 8);
	r->strict = true;
	last_pass(r);
	assert_string_equal(r->by, "trace");
	assert_true(r->read < SIZE / 2);
	assert_false(in_the_way(r));
}

/* What is mended of another copy than the one that was followed is another one still. */
static void a_mend_makes_no_strange_copy_known(void **s)
{
	struct rig *r = *s;

	if (!can_run)
		skip();
	put_back_the_first_pass(r);
	forget_one_that_was_written(r);
	both(r, "convert.disks", "mend");
	assert_true(in_the_way(r));
	assert_ends_unread(r, 1, "the target's copy is not the one that was followed");
	copy(r, "call.sync");
	assert_false(in_the_way(r));
	last_pass(r);
	assert_string_equal(r->by, "trace");
}

static void the_preview_says_how_and_why(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *in = NULL, *out = NULL, *digest = NULL, *file = NULL, *files = NULL,
		  *copied = NULL;
	AUTO_FREE char *text = NULL;

	if (!can_run)
		skip();
	in = input(r, "source");
	out = modtest_call("convert.disks", "probe", in, NULL);
	text = json_canonical(json_object_get(out, "changes"));
	assert_non_null(strstr(text, "root: its writes are traced, later passes read what was "
				     "written"));
	free(text);
	jset(jget(in, "args"), "changes", json_string("digest"));
	digest = modtest_call("convert.disks", "probe", in, NULL);
	text = json_canonical(json_object_get(digest, "changes"));
	assert_non_null(strstr(text, "compares digests: the plan says so"));
	json_object_set_new(r->args, "changes", json_string("trace"));
	file = input(r, "source");
	jset(jget(file, "machine.source.disks.root"), "path", json_string(r->img));
	files = modtest_call("convert.disks", "probe", file, NULL);
	assert_string_equal(jstr(json_array_get(jget(files, "findings"), 0), "text", ""),
			    "cannot trace the writes of disk 'root': it is no block device");
	/* also once it was copied: never was it traced */
	jset_str(jget(file, "args"), "changes", "auto");
	jset(jget(file, "facts"), "disks", json_pack("{s:{s:I}}", "root", "size",
						     (json_int_t)SIZE));
	copied = modtest_call("convert.disks", "probe", file, NULL);
	free(text);
	text = json_canonical(json_object_get(copied, "changes"));
	assert_non_null(strstr(text, "compares digests: it is no block device"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_file_overwritten_between_passes_is_found_and_nothing_else_is_read),
		T(passes_by_digests_end_what_was_followed),
		T(what_writers_write_during_passes_is_all_there),
		T(lost_events_mean_that_all_is_read_and_it_is_said),
		T(who_cannot_tell_whether_events_were_lost_trusts_none),
		T(a_killed_tracker_means_that_all_is_read),
		T(a_cutover_is_refused_while_a_lost_tracker_can_be_replaced),
		T(a_tracker_lost_at_the_last_moment_ends_the_last_pass_before_it_reads),
		T(undo_and_cleanup_leave_nothing_of_it),
		T(a_target_that_holds_another_copy_is_compared_whole),
		T(another_copy_at_the_target_is_in_the_way_of_a_cutover),
		T(what_was_mended_while_the_source_served_is_in_the_way_of_no_cutover),
		T(a_mend_makes_no_strange_copy_known),
		T(the_preview_says_how_and_why),
	};
	AUTO_FREE char *losetup = proc_which("losetup"), *mkfs = proc_which("mkfs.ext4");

	can_run = geteuid() == 0 && losetup && mkfs && unshare(CLONE_NEWNS) == 0 &&
		  mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
