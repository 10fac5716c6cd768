/* SPDX-License-Identifier: Apache-2.0
 * trackrig - a serving disk whose writes are traced: a loop device with a mounted ext4, both
 * ends as the agent runs them.
 */
#include "tests/unit/trackrig.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/track.h"
#include "tests/unit/here.h"
#include "tests/unit/modtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- where it can run ------------------------------------------------------------------ */

bool tk_can_run;

void tk_look(void)
{
	AUTO_FREE char *losetup = proc_which("losetup"), *mkfs = proc_which("mkfs.ext4");

	tk_can_run = geteuid() == 0 && losetup && mkfs && unshare(CLONE_NEWNS) == 0 &&
		mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* ---- the source -------------------------------------------------------------------- */

void tk_write(struct rig *r, uint64_t at, size_t n, unsigned seed)
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
void tk_writer_begin(struct rig *r, unsigned seed)
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

/* True: it wrote until now. */
bool tk_writer_end(struct rig *r)
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
	tk_writer_end(r);
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
	tk_write(r, 0, 8 * MIB, 1);
}

int tk_set_up(void **state)
{
	struct rig *r = mem_alloc(sizeof(*r));

	*state = r;
	if (!tk_can_run)
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

int tk_tear_down(void **state)
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

json_t *tk_input(struct rig *r, const char *role)
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

void tk_both(struct rig *r, const char *module, const char *op)
{
	struct modtest_end end[2] = { { .module = module, .in = tk_input(r, "source"), .op = op },
				      { .module = module, .in = tk_input(r, "target"), .op = op } };

	modtest_both(end);
	take_events(r, end[0].events);
	for (int i = 1; i >= 0; i--) {
		take_result(r, end[i].out);
		json_decref(end[i].in);
		json_decref(end[i].out);
		json_decref(end[i].events);
	}
}

void tk_copy(struct rig *r, const char *module)
{
	tk_both(r, module, "apply");
}

/* As a cutover does it: frozen, then the last pass. */
void tk_last_pass(struct rig *r)
{
	const char *cmp[] = { "cmp", r->img, r->base, NULL };
	struct proc p = { .argv = cmp, .timeout_ms = 60000 };
	int same;

	assert_int_equal(freeze(r, FIFREEZE), 0);
	tk_copy(r, "cutover.pass");
	same = proc_run(&p, NULL);
	proc_free(&p);
	assert_int_equal(freeze(r, FITHAW), 0);
	assert_int_equal(same, 0);
}

bool tk_said(struct rig *r, const char *what)
{
	return r->said && strstr(r->said, what);
}

/* ---- the tracker from outside --------------------------------------------------------- */

pid_t tk_pid(struct rig *r)
{
	return modtest_listener(r->tracker);
}

/* Its directory in tracefs, which the test mounts for itself. */
char *tk_instance(struct rig *r, const char *what)
{
	return mem_printf("%s/tracefs/instances/%s/%s", r->dir, r->tracker, what);
}

void tk_mount(struct rig *r)
{
	AUTO_FREE char *dir = mem_printf("%s/tracefs", r->dir);

	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(mount("none", dir, "tracefs", 0, NULL), 0);
}

void tk_umount(struct rig *r)
{
	AUTO_FREE char *dir = mem_printf("%s/tracefs", r->dir);

	assert_int_equal(umount2(dir, MNT_DETACH), 0);
}

/* More of them than its buffers hold while it sleeps. */
void tk_lose_events(struct rig *r)
{
	AUTO_FREE char *size = NULL;
	pid_t pid;

	tk_mount(r);
	size = tk_instance(r, "buffer_size_kb");
	{
		AUTO_FD fd = open(size, O_WRONLY);

		assert_int_equal(io_write_full(fd, "4", 1), 0);
	}
	tk_umount(r);
	pid = tk_pid(r);
	assert_true(pid > 0);
	kill(pid, SIGSTOP);
	for (unsigned i = 0; i < 500; i++)
		tk_write(r, i % 8 * MIB, 4096, i);
	kill(pid, SIGCONT);
}
