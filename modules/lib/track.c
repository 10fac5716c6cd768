/* SPDX-License-Identifier: Apache-2.0
 * track - the step's side: start the tracker, ask it, end it.
 */
#include "modules/lib/track.h"

#include "engine/base/addr.h"
#include "engine/base/mem.h"
#include "modules/lib/disk.h"
#include "modules/lib/layout.h"
#include "modules/lib/task.h"
#include "modules/lib/track_priv.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_S 30
#define END_MS 10000
#define NAME_PREFIX "drover-"

/* ---- names and sockets ------------------------------------------------------------ */

/* The same in every step of this machine, another for every other machine: tracefs and
 * the abstract sockets of a host are shared by all that migrates from it. */
static char *name_of(const struct ctx *c)
{
	const char *machine = ctx_machine_name(c);
	AUTO_FREE char *key = mem_printf("%s/%s/%s", jstr(ctx_run(c), "lineage", ""),
					 jstr(ctx_run(c), "plan", ""), machine);
	AUTO_FREE char *plain = mem_printf("%.24s", machine);
	char hex[SHA256_HEX];

	for (char *p = plain; *p; p++)
		if (!isalnum((unsigned char)*p))
			*p = '_';
	sha256_hex(key, strlen(key), hex);
	return mem_printf(NAME_PREFIX "%s-%.16s", plain, hex);
}

static int listener_of(const char *name)
{
	struct sockaddr_un a;
	socklen_t n = addr_local(name, &a);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && (bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 8) < 0))
		mem_close_fd(&fd);
	return fd;
}

/* To the tracker; -1: there is none. Anybody could have taken its name. */
static int reach(const char *name)
{
	struct timeval patience = { ANSWER_S, 0 };
	struct sockaddr_un a;
	socklen_t n = addr_local(name, &a), size;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct ucred who = { 0 };

	size = sizeof(who);
	if (fd >= 0 && (connect(fd, (struct sockaddr *)&a, n) < 0 ||
			getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 ||
			(who.uid != 0 && who.uid != geteuid())))
		mem_close_fd(&fd);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* The connection, after the answer was read; -1: no tracker follows this disk. */
static int ask(const struct ctx *c, struct track_ask *a, const char *disk,
	       const char *path, struct track_told *t)
{
	AUTO_FREE char *name = name_of(c);
	int fd;

	a->magic = TRACK_MAGIC;
	a->version = TRACK_VERSION;
	snprintf(a->disk, sizeof(a->disk), "%s", disk);
	if (track_dev_of(path, &a->at) || (fd = reach(name)) < 0)
		return -1;
	if (send(fd, a, sizeof(*a), MSG_NOSIGNAL) != sizeof(*a) ||
	    io_read_full(fd, t, sizeof(*t)) <= 0 || t->magic != TRACK_MAGIC || !t->ok ||
	    t->granule == 0 || t->count != (a->at.size + t->granule - 1) / t->granule)
		mem_close_fd(&fd);
	return fd;
}

/* ---- changes ------------------------------------------------------------------------ */

const char *track_take(const struct ctx *c, const char *disk, const char *path,
		       uint64_t keep_ms, struct track_changes *t)
{
	struct track_ask a = { .op = TRACK_TAKE, .keep_ms = keep_ms };
	struct track_told told;
	AUTO_FD fd = ask(c, &a, disk, path, &told);

	*t = (struct track_changes){ 0 };
	if (fd < 0)
		return "no tracker follows it";
	*t = (struct track_changes){ .granule = told.granule, .count = told.count,
		.bytes = told.set * told.granule };
	if (t->bytes > a.at.size)
		t->bytes = a.at.size;
	memcpy(t->base, told.base, SHA256_LEN);
	t->bits = mem_alloc((told.count + 7) / 8 + 1);
	if (told.gap & TRACK_GAP_LOST || told.gap & TRACK_GAP_NEW ||
	    io_read_full(fd, t->bits, (told.count + 7) / 8) <= 0) {
		track_changes_free(t);
		return told.gap & TRACK_GAP_NEW ? TRACK_NEW :
			told.gap & TRACK_GAP_LOST ? "events of its tracing were lost" :
			"its tracker does not answer";
	}
	return NULL;
}

/* Did it hear? */
static bool say(const struct ctx *c, struct track_ask *a, const char *disk)
{
	const json_t *spec = json_object_get(jget(ctx_machine(c), "source.disks"), disk);
	AUTO_FREE char *path = disk_find(disk, spec, NULL);
	struct track_told told;
	AUTO_FD fd = path ? ask(c, a, disk, path, &told) : -1;

	return fd >= 0;
}

/* Not heard, the next pass reads more than it must. */
void track_confirm(const struct ctx *c, const char *disk, const uint8_t root[SHA256_LEN],
		   uint64_t keep_ms)
{
	struct track_ask a = { .op = TRACK_CONFIRM, .keep_ms = keep_ms };

	memcpy(a.root, root, SHA256_LEN);
	say(c, &a, disk);
}

/* Not heard, the next pass finds another copy than it knows. */
void track_rebase(const struct ctx *c, const char *disk, const uint8_t from[SHA256_LEN],
		  const uint8_t to[SHA256_LEN])
{
	struct track_ask a = { .op = TRACK_REBASE };

	memcpy(a.from, from, SHA256_LEN);
	memcpy(a.root, to, SHA256_LEN);
	say(c, &a, disk);
}

void track_anchor(const struct ctx *c, const char *disk, const uint8_t root[SHA256_LEN],
		  uint64_t keep_ms)
{
	struct track_ask a = { .op = TRACK_ANCHOR, .keep_ms = keep_ms };

	memcpy(a.root, root, SHA256_LEN);
	say(c, &a, disk);
}

int track_back(struct ctx *c, uint64_t keep_ms)
{
	struct track_ask a = { .op = TRACK_BACK, .keep_ms = keep_ms };
	const char *disk;
	json_t *spec;
	bool any = false;

	json_object_foreach(jget(ctx_machine(c), "source.disks"), disk, spec)
		any = say(c, &a, disk) || any;
	return any ? 0 : track_stop(c);
}

bool track_follows(const struct ctx *c, const char *disk, const char *path)
{
	struct track_ask a = { .op = TRACK_STATE };
	struct track_told told;
	AUTO_FD fd = ask(c, &a, disk, path, &told);

	return fd >= 0;
}

bool track_since(const struct ctx *c, const char *disk, const char *path,
		 uint8_t root[SHA256_LEN])
{
	struct track_ask a = { .op = TRACK_STATE };
	struct track_told told;
	AUTO_FD fd = ask(c, &a, disk, path, &told);

	if (fd < 0 || told.gap)
		return false;
	memcpy(root, told.base, SHA256_LEN);
	return true;
}

const char *track_why_not(const char *path)
{
	struct track_dev d;
	const char *why = track_dev_of(path, &d);
	AUTO_FD root = -1;

	if (why)
		return why;
	root = track_fs_open();
	return root < 0 ? "this kernel shows no tracefs, or not to us" :
		track_fs_usable(root) ? NULL : "its tracefs has no block events for us";
}

/* ---- starting ------------------------------------------------------------------------ */

static void add_disk(struct track_dog *d, const char *name, const struct track_dev *at)
{
	struct track_disk *k;

	d->disks = mem_realloc(d->disks, (d->disk_count + 1) * sizeof(*d->disks));
	k = &d->disks[d->disk_count++];
	*k = (struct track_disk){ .at = *at, .granule = track_granule(at->size) };
	snprintf(k->name, sizeof(k->name), "%s", name);
	k->count = (at->size + k->granule - 1) / k->granule;
	k->since = mem_alloc((k->count + 7) / 8 + 1);
	k->taken = mem_alloc((k->count + 7) / 8 + 1);
	k->all = mem_alloc((k->count + 7) / 8 + 1);
	memset(k->since, 0xff, (k->count + 7) / 8);
	k->gap_since = k->gap_all = TRACK_GAP_NEW;
}

/* All disks that can be followed. True when a tracker follows every one already. */
static bool list_disks(const struct ctx *c, struct track_dog *d)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	bool all = true;
	const char *name;
	json_t *spec;

	json_object_foreach((json_t *)disks, name, spec) {
		AUTO_FREE char *path = layout_copies(spec) ? disk_find(name, spec, NULL) : NULL;
		struct track_dev at;

		if (!path || strcmp(jstr(spec, "format", "raw"), "raw") != 0 ||
		    track_dev_of(path, &at))
			continue;
		add_disk(d, name, &at);
		all = all && track_follows(c, name, path);
	}
	return all;
}

static void free_disks(struct track_dog *d)
{
	for (size_t i = 0; i < d->disk_count; i++) {
		mem_free_ptr(&d->disks[i].since);
		mem_free_ptr(&d->disks[i].taken);
		mem_free_ptr(&d->disks[i].all);
	}
	mem_free_ptr(&d->disks);
}

/* Twice forked, in a session of its own: nothing that ends the step's group or its
 * agent ends it. */
static int start_dog(struct track_dog *d, struct err *e)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, 0);
		setsid();
		pid = fork();
		if (pid == 0)
			track_dog(d);
		_exit(pid < 0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && status == 0 ? 0 : err_sys(e, "cannot start a tracker");
}

static int begin(struct track_dog *d, const char *name, struct err *e)
{
	AUTO_FREE struct track_dev *devs = mem_alloc(d->disk_count * sizeof(*devs));
	AUTO_FD root = track_fs_open();
	int rc;

	for (size_t i = 0; i < d->disk_count; i++)
		devs[i] = d->disks[i].at;
	if (root < 0)
		return err_sys(e, "cannot reach tracefs");
	d->listener = listener_of(name);
	if (d->listener < 0)
		return err_sys(e, "cannot listen as '%s'", name);
	rc = track_fs_make(root, name, devs, d->disk_count, &d->trace, e);
	if (rc == 0 && (rc = start_dog(d, e)) < 0) {
		track_fs_close(&d->trace);
		track_fs_remove(root, name);
	}
	if (rc == 0)
		track_fs_close(&d->trace);
	mem_close_fd(&d->listener);
	return rc;
}

int track_start(struct ctx *c, uint64_t keep_ms)
{
	AUTO_FREE char *name = name_of(c);
	struct track_dog d = { .listener = -1, .keep_ms = keep_ms };
	AUTO_ERR e = { 0 };
	int rc = 0;

	if (!list_disks(c, &d) && d.disk_count > 0) {
		rc = ctx_ledger_add(c, "tracker", name, false, NULL);
		if (rc == 0 && (track_end(name, &e) < 0 || begin(&d, name, &e) < 0)) {
			ctx_log(c, "writes are not traced: %s", e.what);
			rc = ctx_ledger_del(c, "tracker", name);
		}
	}
	free_disks(&d);
	return rc;
}

/* ---- ending --------------------------------------------------------------------------- */

int track_end(const char *name, struct err *e)
{
	struct track_ask a = { .magic = TRACK_MAGIC, .version = TRACK_VERSION,
		.op = TRACK_END };
	AUTO_FD fd = -1, root = -1;
	char c;

	if (strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX)) != 0 || strchr(name, '/'))
		return err_set(e, ERR_STEP, "cannot end tracker '%s': no name of ours", name);
	fd = reach(name);
	if (fd >= 0 && send(fd, &a, sizeof(a), MSG_NOSIGNAL) == sizeof(a))
		io_read_full(fd, &c, 1);	/* until it is gone */
	root = track_fs_open();
	if (root < 0)
		return 0;
	/* One that was killed may not have closed its files yet. */
	for (int i = 0; i < END_MS / 20; i++) {
		if (track_fs_remove(root, name) == 0)
			return 0;
		if (errno != EBUSY)
			break;
		task_sleep_ms(20);
	}
	return err_sys(e, "cannot remove '%s' from tracefs", name);
}

int track_stop(struct ctx *c)
{
	AUTO_FREE char *name = name_of(c);
	AUTO_ERR e = { 0 };

	if (track_end(name, &e) < 0)
		return ctx_fail_err(c, &e);
	return ctx_ledger_del(c, "tracker", name);
}

/* ---- settling --------------------------------------------------------------------------- */

static int sync_device(const char *path, struct err *e)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? err_sys(e, "cannot sync '%s'", path) : 0;
}

/* A partition has a page cache of its own. */
static int sync_partitions(const char *sys, struct err *e)
{
	DIR *d = opendir(sys);
	struct dirent *de;
	int rc = 0;

	while (d && rc == 0 && (de = readdir(d))) {
		AUTO_FREE char *is = mem_printf("%s/%s/partition", sys, de->d_name);
		AUTO_FREE char *dev = disk_node(de->d_name);

		if (de->d_name[0] != '.' && access(is, F_OK) == 0)
			rc = sync_device(dev, e);
	}
	if (d)
		closedir(d);
	return rc;
}

int track_settle(const char *path, struct err *e)
{
	AUTO_FREE char *sys = NULL;
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(e, "cannot look at '%s'", path);
	if (!S_ISBLK(st.st_mode))
		return 0;
	sys = mem_printf("/sys/dev/block/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	return sync_device(path, e) < 0 ? -1 : sync_partitions(sys, e);
}
