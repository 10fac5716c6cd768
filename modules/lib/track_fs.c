/* SPDX-License-Identifier: Apache-2.0
 * track_fs - devices whose writes can be traced, and a tracefs instance that does it.
 */
#include "modules/lib/track_priv.h"

#include "engine/base/mem.h"
#include "modules/lib/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define TRACEFS 0x74726163
#define BUFFER_KB "1024"	/* each CPU's: some 15,000 events between two looks */
#define SECTOR 512u
/* No reads: our own would fill the buffers. N is what has no letter of its own, such as
 * writing zeros. */
#define FILTER_WRITES "(rwbs ~ \"*W*\" || rwbs ~ \"*D*\" || rwbs ~ \"*N*\" || rwbs ~ \"*Z*\")"
#define FILTER_DISCARDS "(rwbs ~ \"*D*\")"

static const struct { const char *name, *filter; } kinds[TRACK_EVENTS] = {
	{ "block_rq_complete", FILTER_WRITES },
	{ "block_bio_queue", FILTER_DISCARDS },
};

/* ---- devices ------------------------------------------------------------------ */

static char *line_at(const char *dir, const char *name)
{
	AUTO_FREE char *path = mem_printf("%s/%s", dir, name);
	char *s = io_read_file(AT_FDCWD, path, 4096, NULL);

	if (s)
		s[strcspn(s, "\n")] = '\0';
	return s;
}

static uint64_t number_at(const char *dir, const char *name)
{
	AUTO_FREE char *s = line_at(dir, name);

	return s ? strtoull(s, NULL, 10) : 0;
}

static bool has(const char *dir, const char *name)
{
	AUTO_FREE char *path = mem_printf("%s/%s", dir, name);

	return access(path, F_OK) == 0;
}

/* Only what takes requests itself completes them: blk-mq, or before it a device with
 * a choice of schedulers. */
static bool has_requests(const char *disk)
{
	AUTO_FREE char *scheduler = line_at(disk, "queue/scheduler");

	return has(disk, "mq") || (scheduler && strchr(scheduler, '['));
}

const char *track_dev_of(const char *path, struct track_dev *d)
{
	AUTO_FREE char *sys = NULL, *dev = NULL;
	unsigned major = 0, minor = 0;
	struct stat st;

	*d = (struct track_dev){ 0 };
	if (stat(path, &st) < 0 || !S_ISBLK(st.st_mode))
		return "it is no block device";
	sys = disk_sys(path);
	if (!sys)
		return "sysfs does not show it";
	d->size = number_at(sys, "size") * SECTOR;
	if (has(sys, "partition")) {
		d->start = number_at(sys, "start") * SECTOR;
		*strrchr(sys, '/') = '\0';
	}
	dev = line_at(sys, "dev");
	if (!dev || sscanf(dev, "%u:%u", &major, &minor) != 2)
		return "sysfs does not show it";
	if (!has_requests(sys))
		return "the device is built on others";
	d->dev = major << 20 | minor;
	d->seq = number_at(sys, "diskseq");
	return NULL;
}

/* ---- tracefs ------------------------------------------------------------------- */

static int open_mounted(const char *path)
{
	struct statfs f;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Within debugfs it may be a directory of that. */
	if (fd >= 0 && (fstatfs(fd, &f) < 0 || f.f_type != TRACEFS) &&
	    faccessat(fd, "instances", F_OK, 0) < 0)
		mem_close_fd(&fd);
	return fd;
}

/* A mount that has no place: gone with its last descriptor. */
static int open_nowhere(void)
{
#ifdef SYS_fsopen
	AUTO_FD fs = (int)syscall(SYS_fsopen, "tracefs", 1 /* FSOPEN_CLOEXEC */);

	if (fs < 0 || syscall(SYS_fsconfig, fs, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0) < 0)
		return -1;
	return (int)syscall(SYS_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */, 0);
#else
	return -1;
#endif
}

int track_fs_open(void)
{
	int fd = open_mounted("/sys/kernel/tracing");

	if (fd < 0)
		fd = open_mounted("/sys/kernel/debug/tracing");
	return fd >= 0 ? fd : open_nowhere();
}

/* "	field:sector_t sector;	offset:16;	size:8;	signed:0;" */
static bool field(const char *format, const char *name, unsigned size, uint16_t *offset)
{
	AUTO_FREE char *end = mem_printf(" %s;", name);
	const char *at = strstr(format, end);
	unsigned o, n;

	if (!at || sscanf(at + strlen(end), " offset:%u; size:%u;", &o, &n) != 2 ||
	    n != size || o > 4000)
		return false;
	*offset = (uint16_t)o;
	return true;
}

/* "	field:char rwbs[10];	offset:32;	size:10;	signed:0;" */
static void find_letters(const char *format, struct track_event *ev)
{
	const char *at = strstr(format, " rwbs[");
	unsigned o, n;

	if (!at || sscanf(at, " rwbs[%*u]; offset:%u; size:%u;", &o, &n) != 2 || o > 4000 ||
	    n > 64)
		return;
	ev->rwbs = (uint16_t)o;
	ev->letters = (uint16_t)n;
	if (o + n > ev->size)
		ev->size = (uint16_t)(o + n);
}

static bool read_event(int root, const char *name, struct track_event *ev)
{
	AUTO_FREE char *path = mem_printf("events/block/%s/format", name);
	AUTO_FREE char *format = io_read_file(root, path, 64 << 10, NULL);
	const char *id = format ? strstr(format, "ID: ") : NULL;
	unsigned n;

	if (!id || sscanf(id, "ID: %u", &n) != 1 || n > UINT16_MAX)
		return false;
	*ev = (struct track_event){ .id = (uint16_t)n };
	if (!field(format, "dev", 4, &ev->dev) || !field(format, "sector", 8, &ev->sector) ||
	    !field(format, "nr_sector", 4, &ev->sectors))
		return false;
	ev->size = ev->sectors + 4;
	find_letters(format, ev);
	return ev->sector + 8 <= ev->size && ev->dev + 4 <= ev->size;
}

bool track_fs_usable(int root)
{
	struct track_event ev;

	for (size_t i = 0; i < TRACK_EVENTS; i++)
		if (!read_event(root, kinds[i].name, &ev))
			return false;
	return faccessat(root, "instances", W_OK, 0) == 0;
}

/* ---- an instance ------------------------------------------------------------------- */

static int put(int dir, const char *path, const char *text, struct err *e)
{
	AUTO_FD fd = openat(dir, path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0 || io_write_full(fd, text, strlen(text)) < 0)
		return err_sys(e, "cannot write '%s' in tracefs", path);
	return 0;
}

static int put_event(int dir, const char *name, const char *filter,
		     const struct track_dev *devs, size_t n, struct err *e)
{
	AUTO_FREE char *where = mem_printf("events/block/%s/filter", name);
	AUTO_FREE char *enable = mem_printf("events/block/%s/enable", name);
	AUTO_STR text = { 0 };

	for (size_t i = 0; i < n; i++)
		str_addf(&text, "%sdev == %u", i ? " || " : "(", devs[i].dev);
	str_addf(&text, ") && %s", filter);
	return put(dir, where, text.s, e) < 0 ? -1 : put(dir, enable, "1", e);
}

static int open_cpu(struct track_trace *t, int dir, const char *name, unsigned cpu,
		    struct err *e)
{
	AUTO_FREE char *raw = mem_printf("%s/trace_pipe_raw", name);
	AUTO_FREE char *stats = mem_printf("%s/stats", name);
	struct track_cpu *c;

	t->cpus = mem_realloc(t->cpus, (t->cpu_count + 1) * sizeof(*t->cpus));
	c = &t->cpus[t->cpu_count++];
	*c = (struct track_cpu){ .cpu = cpu,
		.pipe = openat(dir, raw, O_RDONLY | O_NONBLOCK | O_CLOEXEC),
		.stats = openat(dir, stats, O_RDONLY | O_CLOEXEC) };
	return c->pipe < 0 || c->stats < 0 ?
		err_sys(e, "cannot open '%s' in tracefs", raw) : 0;
}

static int open_cpus(struct track_trace *t, int instance, struct err *e)
{
	int dir = openat(instance, "per_cpu", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = dir >= 0 ? fdopendir(dir) : NULL;
	struct dirent *de;
	unsigned cpu;
	int rc = 0;

	if (!d)
		return err_sys(e, "cannot open 'per_cpu' in tracefs");
	while (rc == 0 && (de = readdir(d)))
		if (sscanf(de->d_name, "cpu%u", &cpu) == 1)
			rc = open_cpu(t, dir, de->d_name, cpu, e);
	closedir(d);
	return rc;
}

static int set_up(struct track_trace *t, const struct track_dev *devs, size_t n,
		  struct err *e)
{
	AUTO_FD dir = openat(t->instances, t->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return err_sys(e, "cannot open '%s' in tracefs", t->name);
	if (put(dir, "buffer_size_kb", BUFFER_KB, e) < 0 || open_cpus(t, dir, e) < 0)
		return -1;
	for (size_t i = 0; i < TRACK_EVENTS; i++)
		if (put_event(dir, kinds[i].name, kinds[i].filter, devs, n, e) < 0)
			return -1;
	return put(dir, "tracing_on", "1", e);
}

/* -1 with e and `made` telling whether the instance is there. */
static int make(int root, const struct track_dev *devs, size_t n, struct track_trace *t,
		bool *made, struct err *e)
{
	for (size_t i = 0; i < TRACK_EVENTS; i++)
		if (!read_event(root, kinds[i].name, &t->events[i]))
			return err_set(e, ERR_SYSTEM, "the kernel has no %s", kinds[i].name);
	*made = t->instances >= 0 && mkdirat(t->instances, t->name, 0700) == 0;
	if (!*made)
		return err_sys(e, "cannot make '%s' in tracefs", t->name);
	return set_up(t, devs, n, e);
}

int track_fs_make(int root, const char *name, const struct track_dev *devs, size_t n,
		  struct track_trace *t, struct err *e)
{
	bool made = false;

	*t = (struct track_trace){ .name = mem_strdup(name),
		.instances = openat(root, "instances", O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	if (make(root, devs, n, t, &made, e) == 0)
		return 0;
	track_fs_close(t);
	if (made)
		track_fs_remove(root, name);
	return -1;
}

void track_fs_close(struct track_trace *t)
{
	for (size_t i = 0; i < t->cpu_count; i++) {
		mem_close_fd(&t->cpus[i].pipe);
		mem_close_fd(&t->cpus[i].stats);
	}
	mem_free_ptr(&t->cpus);
	mem_close_fd(&t->instances);
	mem_free_ptr(&t->name);
	*t = (struct track_trace){ .instances = -1 };
}

int track_fs_remove(int root, const char *name)
{
	AUTO_FD dir = openat(root, "instances", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir >= 0 && unlinkat(dir, name, AT_REMOVEDIR) == 0)
		return 0;
	return errno == ENOENT ? 0 : -1;
}
