/* SPDX-License-Identifier: Apache-2.0
 * qemunbd - a formatted image as a disk, by way of a confined qemu-nbd.
 */
#include "modules/lib/qemunbd.h"

#include "engine/base/mem.h"
#include "modules/lib/imgkind.h"
#include "modules/lib/nbdserver.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_TRIES 40		/* while another process writes to an image ... */
#define LOCK_NAP_US 250000	/* ... this far apart */

struct qemunbd {
	struct disk d;
	struct nbd *nbd;
	struct nbdserver server;	/* none where only a connection was given */
	int file;		/* of an image whose server does not sync: we do; else -1 */
	bool fixed;		/* opened to be read only: what a run is, it stays */
	pthread_mutex_t lock;	/* guards the rest */
	uint64_t from, to;	/* the run that was asked for last */
	bool hole;
};

static struct qemunbd *of(struct disk *d)
{
	return (struct qemunbd *)d;
}

static int q_err(struct disk *d, int rc, struct err *e)
{
	return rc < 0 ? err_wrap(e, "image '%s'", d->path) : 0;
}

static int q_read(struct disk *d, void *buf, size_t n, uint64_t at, struct err *e)
{
	return q_err(d, nbd_read(of(d)->nbd, buf, (uint32_t)n, at, e), e);
}

static int q_write(struct disk *d, const void *buf, size_t n, uint64_t at, struct err *e)
{
	return q_err(d, nbd_write(of(d)->nbd, buf, (uint32_t)n, at, e), e);
}

static int q_zero(struct disk *d, uint64_t at, uint64_t n, struct err *e)
{
	return q_err(d, nbd_zero(of(d)->nbd, at, n, e), e);
}

/* What is synced need not stay in the page cache. */
static int sync_file(struct qemunbd *q, struct err *e)
{
	if (q->file < 0)
		return 0;
	if (fdatasync(q->file) < 0)
		return err_sys(e, "cannot sync");
	posix_fadvise(q->file, 0, 0, POSIX_FADV_DONTNEED);
	return 0;
}

static int q_flush(struct disk *d, struct err *e)
{
	int rc = nbd_flush(of(d)->nbd, e);

	return q_err(d, rc < 0 ? rc : sync_file(of(d), e), e);
}

/* Some formats walk all tables up to the end of a run, each time: asked chunk by chunk a
 * long run would take for ever. */
static bool in_last_run(struct qemunbd *q, uint64_t at, uint64_t *len, bool *hole)
{
	bool known;

	pthread_mutex_lock(&q->lock);
	known = q->fixed && at >= q->from && at < q->to;
	*len = q->to - at;
	*hole = q->hole;
	pthread_mutex_unlock(&q->lock);
	return known;
}

static int q_extent(struct disk *d, uint64_t at, uint64_t *len, bool *hole, struct err *e)
{
	struct qemunbd *q = of(d);

	if (in_last_run(q, at, len, hole))
		return 0;
	if (nbd_extent(q->nbd, at, len, hole, e) < 0)
		return q_err(d, -1, e);
	pthread_mutex_lock(&q->lock);
	q->from = at;
	q->to = at + *len;
	q->hole = *hole;
	pthread_mutex_unlock(&q->lock);
	return 0;
}

static int q_close(struct disk *d, struct err *e)
{
	struct qemunbd *q = of(d);
	int rc;

	nbd_free(q->nbd);
	nbdserver_free(&q->server);
	rc = q_err(d, sync_file(q, e), e);	/* what it wrote when it ended too */
	mem_close_fd(&q->file);
	pthread_mutex_destroy(&q->lock);
	free(d->path);
	free(q);
	return rc;
}

static const struct disk_ops ops = {
	.read = q_read, .write = q_write, .zero = q_zero,
	.flush = q_flush, .extent = q_extent, .close = q_close,
};

/* Why it could not be opened, by what its server said of it. */
static void explain(const char *path, const struct nbdserver *s, struct err *e)
{
	AUTO_FREE char *said = nbdserver_words(s);
	AUTO_ERR why = { 0 };

	if (!e)
		return;
	err_move(&why, e);
	if (!said || !strstr(said, "lock")) {
		err_set(e, ERR_STEP, "cannot open image '%s': %s", path,
			said ? said : why.what ? why.what : "qemu-nbd ended");
		return;
	}
	err_set(e, ERR_STEP, "cannot open image '%s': another process uses it", path);
	err_hint(e, "stop it first, or copy from inside the running machine");
	e->sys = EBUSY;
}

/* QEMU syncs some formats for every cluster that it adds, to no avail: a power cut may damage
 * them all the same, and where it can we begin anew. So it need not sync at all, if we do
 * where a sync is asked for. Those are written through the page cache. */
static int open_unsynced(struct nbdserver_what *w)
{
	const struct img_kind *kind = img_kind(w->format);
	int fd = -1;

	if (w->flags & DISK_WRITE && kind && kind->torn)
		fd = open(w->path, O_RDONLY | O_CLOEXEC);
	w->unsynced = fd >= 0;
	return fd;
}

/* libvirt gives an image to QEMU's user while it runs. In a sandbox root is nobody to it. */
static void find_reader(struct nbdserver_what *w)
{
	struct stat st;

	if (geteuid() != 0 || w->flags & DISK_WRITE || w->base || w->beside ||
	    stat(w->path, &st) < 0 || st.st_uid == 0 || st.st_mode & S_IROTH)
		return;
	w->uid = st.st_uid;
	w->gid = st.st_gid;
}

static struct disk *open_image(const char *path, struct nbdserver_what w, struct err *e)
{
	AUTO_FREE char *real = realpath(path, NULL);
	struct nbdserver server;
	struct nbd *nbd;
	struct disk *d;
	AUTO_FD file = -1;
	int client;

	if (!real) {
		err_sys(e, "cannot open image '%s'", path);
		return NULL;
	}
	w.path = real;
	find_reader(&w);
	file = open_unsynced(&w);
	client = nbdserver_start(&w, &server, e);
	if (client < 0)
		return NULL;
	nbd = nbd_new_dirty(client, "", w.bitmap, e);
	if (!nbd) {
		nbdserver_end(&server);
		explain(path, &server, e);
		nbdserver_free(&server);
		return NULL;
	}
	d = qemunbd_of(nbd, path);
	d->direct = w.flags & DISK_DIRECT;
	d->sandbox = server.sandbox;
	of(d)->server = server;
	of(d)->fixed = !(w.flags & DISK_WRITE) && !w.live;
	of(d)->file = file;
	file = -1;
	return d;
}

struct disk *qemunbd_open(const char *path, const char *format, unsigned flags,
			  struct err *e)
{
	struct nbdserver_what w = { .format = format, .flags = flags };
	AUTO_ERR why = { 0 };
	struct disk *d;

	/* An attempt that was cut off a moment ago may still be putting down what it had. */
	for (int left = flags & DISK_WRITE ? LOCK_TRIES : 1; left > 0; left--) {
		err_clear(&why);
		d = open_image(path, w, &why);
		if (d || why.sys != EBUSY)
			break;
		if (left > 1)
			usleep(LOCK_NAP_US);
	}
	if (!d)
		err_move(e, &why);
	return d;
}

struct disk *qemunbd_open_live(const char *path, struct err *e)
{
	return open_image(path, (struct nbdserver_what){ .format = "qcow2", .live = true }, e);
}

struct disk *qemunbd_open_dirty(const char *path, const char *bitmap, struct nbd **nbd,
				struct err *e)
{
	struct nbdserver_what w = { .format = "qcow2", .bitmap = bitmap };
	struct disk *d = open_image(path, w, e);

	*nbd = d ? of(d)->nbd : NULL;
	return d;
}

struct disk *qemunbd_of(struct nbd *n, const char *name)
{
	struct qemunbd *q = mem_alloc(sizeof(*q));

	q->nbd = n;
	q->server = (struct nbdserver){ .pid = -1, .noise = -1 };
	q->file = -1;
	q->fixed = nbd_read_only(n);
	pthread_mutex_init(&q->lock, NULL);
	q->d = (struct disk){ .ops = &ops, .path = mem_strdup(name), .size = nbd_size(n),
		.sector = 512 };
	return &q->d;
}

struct disk *qemunbd_open_split(const char *path, const char *format,
				const struct img_files *beside, unsigned flags,
				struct err *e)
{
	struct nbdserver_what w = { .format = format, .flags = flags & ~DISK_WRITE,
				    .beside = beside->count ? beside : NULL };

	return open_image(path, w, e);
}

struct disk *qemunbd_open_overlay(const char *path, const char *base, unsigned flags,
				  struct err *e)
{
	AUTO_FREE char *real = realpath(base, NULL);
	struct nbdserver_what w = { .base = real, .format = "qcow2", .flags = flags };

	if (real)
		return open_image(path, w, e);
	err_sys(e, "cannot open base '%s'", base);
	return NULL;
}
