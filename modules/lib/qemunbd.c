/* SPDX-License-Identifier: Apache-2.0
 * qemunbd - a formatted image as a disk: a confined qemu-nbd.
 *
 * The socket is made, connected to and unlinked before the program starts: it
 * inherits the listening end and finds our connection waiting. So no other
 * process can be its client, and nothing is left behind however we end.
 */
#include "modules/lib/qemunbd.h"

#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOCK_TRIES 40		/* while another process writes to an image ... */
#define LOCK_NAP_US 250000	/* ... this far apart */
#define END_MS 30000		/* how long it may take to end by itself */
#define NOISE_MAX 4096
#define FIRST_FD 3		/* where a program finds what it was given to listen on */

static const char in_bwrap[] = "bwrap: one file, no network, no other process";
static const char in_netns[] = "no network (bwrap is missing)";
static const char in_nothing[] = "not confined (neither bwrap nor network namespaces)";

/* For glibc in qemu-nbd: the buffer of a request of a MiB is used again, not mapped anew and
 * zeroed each time, which costs as much as the copying. */
static const struct { const char *name, *value; } keeps[2] = {
	{ "MALLOC_MMAP_THRESHOLD_", "33554432" },
	{ "MALLOC_TRIM_THRESHOLD_", "67108864" },
};

struct qemunbd {
	struct disk d;
	struct nbd *nbd;
	pid_t pid;		/* of who minds it, and leads its group; -1: it is not ours */
	int noise;		/* its stderr, or -1 */
	bool fixed;		/* opened to be read only: what a run is, it stays */
	pthread_mutex_t lock;	/* guards the rest */
	uint64_t from, to;	/* the run that was asked for last */
	bool hole;
};

static struct qemunbd *of(struct disk *d)
{
	return (struct qemunbd *)d;
}

/* ---- the socket ---------------------------------------------------------- */

/* A listening socket and a connection to it; no name is left. */
static int socket_pair(int *listening, int *client, struct err *e)
{
	static const char *const places[] = { "/run", "/dev/shm", "/tmp" };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char dir[32] = "";
	int rc = -1;

	for (size_t i = 0; i < ARRAY_LEN(places) && !dir[0]; i++) {
		snprintf(dir, sizeof(dir), "%s/drover-nbd.XXXXXX", places[i]);
		if (!mkdtemp(dir))
			dir[0] = '\0';
	}
	if (!dir[0])
		return err_sys(e, "cannot make a directory for a socket");
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/s", dir);
	*listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*listening >= 0 && *client >= 0 &&
	    bind(*listening, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	    listen(*listening, 1) == 0 &&
	    connect(*client, (struct sockaddr *)&a, sizeof(a)) == 0)
		rc = 0;
	else
		err_sys(e, "cannot make a socket");
	unlink(a.sun_path);
	rmdir(dir);
	return rc;
}

/* ---- the program --------------------------------------------------------- */

/* What is to be opened. */
struct what {
	const char *path;		/* absolute, no links in it */
	const char *base;		/* of an overlay, or NULL */
	const char *format;
	unsigned flags;			/* DISK_WRITE, DISK_DIRECT */
	const struct img_files *beside;	/* extents in its folder, or NULL */
	const char *bitmap;		/* in it, that is exported too, or NULL */
	bool live;			/* another program writes to it */
	uid_t uid;			/* who may read it, if not root's own: the sandbox runs as */
	gid_t gid;			/* that; 0: as we do */
};

struct argv {
	const char *v[64 + 3 * IMG_EXTENTS_MAX];
	size_t n;
	char *owned[2 * IMG_EXTENTS_MAX + 2];	/* words that were made for it */
	size_t owns;
};
#define AUTO_ARGV __attribute__((cleanup(argv_free))) struct argv

static void argv_free(struct argv *a)
{
	for (size_t i = 0; i < a->owns; i++)
		free(a->owned[i]);
}

static const char *own(struct argv *a, char *word)
{
	return a->owned[a->owns++] = word;
}

static void add(struct argv *a, const char *const *words)
{
	for (; *words; words++)
		a->v[a->n++] = *words;
	a->v[a->n] = NULL;
}

static bool bwrap_works(const char *bwrap)
{
	const char *argv[] = { bwrap, "--unshare-all", "--ro-bind", "/", "/", "--", "true",
		NULL };
	struct proc p = { .argv = argv, .timeout_ms = 10000 };
	bool ok = proc_run(&p, NULL) == 0;

	proc_free(&p);
	return ok;
}

/* An overlay names its base by path: both keep their own. */
static void add_sandbox(struct argv *a, const char *bwrap, const char *path,
			const char *inside, const char *base, bool write)
{
	const char *words[] = { bwrap, "--unshare-all", "--as-pid-1", "--die-with-parent",
		"--clearenv",
		"--setenv", "LISTEN_FDS", "1", "--setenv", "LISTEN_PID", "1",
		"--setenv", keeps[0].name, keeps[0].value, "--setenv", keeps[1].name,
		keeps[1].value,
		"--ro-bind", "/usr", "/usr", "--ro-bind-try", "/bin", "/bin",
		"--ro-bind-try", "/lib", "/lib", "--ro-bind-try", "/lib64", "/lib64",
		"--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache",
		"--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/var/tmp",
		"--chdir", "/", write ? "--bind" : "--ro-bind", path, inside,
		NULL };
	const char *below[] = { "--ro-bind", base, base, NULL };

	add(a, words);
	if (base)
		add(a, below);
}

/* Extents keep their names beside the image. */
static void add_extents(struct argv *a, const char *path, const struct img_files *beside)
{
	int folder = (int)(strrchr(path, '/') - path);

	for (size_t i = 0; i < beside->count; i++) {
		const char *name = beside->names[i];
		const char *from = own(a, mem_printf("%.*s/%s", folder, path, name));

		add(a, (const char *[]){ "--ro-bind", from, own(a, mem_printf("/disk/%s", name)),
					 NULL });
	}
}

/* Locks are not asked for. In a value of QEMU's options a comma is said by two. */
static char *live_options(const char *path)
{
	AUTO_STR out = { 0 };

	str_add(&out, "driver=qcow2,force-share=on,file.driver=file,file.filename=");
	for (; *path; path++)
		str_addn(&out, *path == ',' ? ",," : path, *path == ',' ? 2 : 1);
	return str_take(&out);
}

/* Not every file system (tmpfs, for long) can go past the page cache: QEMU would refuse. */
static const char *cache_for(const struct what *w)
{
	AUTO_FD fd = w->flags & DISK_DIRECT ? open(w->path, O_RDONLY | O_DIRECT | O_CLOEXEC) : -1;

	return fd >= 0 ? "--cache=none" : "--cache=writeback";
}

static void add_program(struct argv *a, const char *program, const char *path,
			const struct what *w)
{
	const char *cache = cache_for(w);
	const char *write[] = { program, "--format", w->format, "--shared=1", cache,
		"--discard=unmap", "--detect-zeroes=unmap", "--", path, NULL };
	const char *read[] = { program, "--format", w->format, "--shared=1", "--read-only",
		cache, NULL };
	const char *live[] = { program, "--image-opts", "--shared=1", "--read-only", cache,
		NULL };

	if (w->flags & DISK_WRITE) {
		add(a, write);
		return;
	}
	add(a, w->live ? live : read);
	if (w->bitmap)
		add(a, (const char *[]){ "--bitmap", w->bitmap, NULL });
	add(a, (const char *[]){ "--", w->live ? own(a, live_options(path)) : path, NULL });
}

/* The child: listening socket at 3, stderr to the pipe, nothing else open. */
static _Noreturn void become(const struct argv *a, const struct what *w, int listening, int noise,
			     bool confine, pid_t parent)
{
	struct rlimit core = { 0, 0 };
	char pid[16];
	int null = open("/dev/null", O_RDWR);

	if (!confine && w->uid && (setgroups(0, NULL) < 0 || setgid(w->gid) < 0 ||
				   setuid(w->uid) < 0))
		_exit(127);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &core);
	if (confine)
		unshare(CLONE_NEWNET);
	/* Above all targets first, so that none of them is overwritten. */
	listening = fcntl(listening, F_DUPFD, 10);
	noise = fcntl(noise, F_DUPFD, 10);
	null = fcntl(null, F_DUPFD, 10);
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(noise, 2) < 0 ||
	    dup2(listening, FIRST_FD) < 0)
		_exit(127);
	for (int fd = FIRST_FD + 1; fd < 1024; fd++)
		close(fd);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	setenv("LC_ALL", "C", 1);
	for (size_t i = 0; i < ARRAY_LEN(keeps); i++)
		setenv(keeps[i].name, keeps[i].value, 1);
	execv(a->v[0], (char *const *)a->v);
	_exit(127);
}

static void end_group(int sig)
{
	(void)sig;
	kill(0, SIGKILL);
}

/* Its parent, for one purpose: when we die it ends the whole group. Of a client that goes
 * before it has said a word qemu-nbd takes no notice, and bwrap is deaf while it sets up. */
static _Noreturn void mind(const struct argv *a, const struct what *w, int listening, int noise,
			   bool confine, pid_t parent)
{
	struct sigaction act = { .sa_handler = end_group };
	pid_t me = getpid(), server;
	int status = 0;

	setpgid(0, 0);
	sigaction(SIGTERM, &act, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(127);
	prctl(PR_SET_NAME, "drover-nbd");
	server = fork();
	if (server == 0)
		become(a, w, listening, noise, confine, me);
	for (int fd = 0; fd < 1024; fd++)
		close(fd);
	while (server > 0 && waitpid(server, &status, 0) < 0 && errno == EINTR)
		;
	_exit(server > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 127);
}

/* Where the program finds it: an overlay names its base by path, both keep their own. */
static char *place_inside(const struct what *w)
{
	if (w->base)
		return mem_strdup(w->path);
	return w->beside ? mem_printf("/disk%s", strrchr(w->path, '/')) : mem_strdup("/image");
}

static pid_t start(const struct what *w, int listening, int noise, const char **sandbox,
		   struct err *e)
{
	AUTO_FREE char *program = proc_which("qemu-nbd");
	AUTO_FREE char *bwrap = proc_which("bwrap");
	AUTO_FREE char *inside = place_inside(w);
	AUTO_ARGV a = { .n = 0 };
	bool wrapped = bwrap && bwrap_works(bwrap);
	pid_t pid, parent;

	if (!program) {
		err_set(e, ERR_STEP, "cannot open image '%s': qemu-nbd is not installed here",
			w->path);
		err_hint(e, "apt install qemu-utils");
		return -1;
	}
	*sandbox = wrapped ? in_bwrap : geteuid() == 0 ? in_netns : in_nothing;
	if (wrapped)
		add_sandbox(&a, bwrap, w->path, inside, w->base, w->flags & DISK_WRITE);
	if (wrapped && w->beside)
		add_extents(&a, w->path, w->beside);
	if (wrapped)
		add(&a, (const char *[]){ "--", NULL });
	add_program(&a, program, wrapped ? inside : w->path, w);
	parent = getpid();
	pid = fork();
	if (pid == 0)
		mind(&a, w, listening, noise, !wrapped, parent);
	if (pid < 0)
		err_sys(e, "cannot start qemu-nbd");
	return pid;
}

/* What it said on stderr, one line, made safe. */
static char *last_words(int fd)
{
	char buf[NOISE_MAX + 1];
	AUTO_STR out = { 0 };
	ssize_t n = read(fd, buf, NOISE_MAX);

	if (n <= 0)
		return NULL;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	str_add_safe(&out, buf);
	return str_take(&out);
}

/* Wait for its end; kill it when it does not come. */
static void reap(pid_t pid)
{
	uint64_t until = clock_real.mono_ms(clock_real.arg) + END_MS;

	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (clock_real.mono_ms(clock_real.arg) > until) {
			kill(-pid, SIGKILL);
			waitpid(pid, NULL, 0);
			return;
		}
		usleep(2000);
	}
}

/* ---- the disk ------------------------------------------------------------ */

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

static int q_flush(struct disk *d, struct err *e)
{
	return q_err(d, nbd_flush(of(d)->nbd, e), e);
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

	(void)e;
	nbd_free(q->nbd);
	if (q->pid > 0)
		reap(q->pid);
	mem_close_fd(&q->noise);
	pthread_mutex_destroy(&q->lock);
	free(d->path);
	free(q);
	return 0;
}

static const struct disk_ops ops = {
	.read = q_read, .write = q_write, .zero = q_zero,
	.flush = q_flush, .extent = q_extent, .close = q_close,
};

static void explain(const char *path, int noise, struct err *e)
{
	AUTO_FREE char *said = last_words(noise);
	AUTO_ERR why = { 0 };

	if (said && strstr(said, "lock")) {
		err_clear(e);
		err_set(e, ERR_STEP, "cannot open image '%s': another process uses it", path);
		e->sys = EBUSY;
		err_hint(e, "stop it first, or copy from inside the running machine");
		if (e)
			e->sys = EBUSY;
		return;
	}
	err_move(&why, e);
	err_set(e, ERR_STEP, "cannot open image '%s': %s", path,
		said ? said : why.what ? why.what : "qemu-nbd ended");
}

/* libvirt gives an image to QEMU's user while it runs. In a sandbox root is nobody to it. */
static void find_reader(struct what *w)
{
	struct stat st;

	if (geteuid() != 0 || w->flags & DISK_WRITE || w->base || w->beside ||
	    stat(w->path, &st) < 0 || st.st_uid == 0 || st.st_mode & S_IROTH)
		return;
	w->uid = st.st_uid;
	w->gid = st.st_gid;
}

static struct disk *open_image(const char *path, struct what w, struct err *e)
{
	AUTO_FREE char *real = realpath(path, NULL);
	int listening = -1, client = -1, noise[2] = { -1, -1 };
	const char *sandbox = NULL;
	struct qemunbd *q;
	pid_t pid = -1;

	if (!real) {
		err_sys(e, "cannot open image '%s'", path);
		return NULL;
	}
	w.path = real;
	find_reader(&w);
	if (pipe2(noise, O_CLOEXEC) < 0)
		err_sys(e, "cannot make a pipe");
	else if (socket_pair(&listening, &client, e) == 0)
		pid = start(&w, listening, noise[1], &sandbox, e);
	mem_close_fd(&listening);
	mem_close_fd(&noise[1]);
	if (pid < 0) {
		mem_close_fd(&client);
		mem_close_fd(&noise[0]);
		return NULL;
	}
	q = mem_alloc(sizeof(*q));
	q->nbd = nbd_new_dirty(client, "", w.bitmap, e);
	q->pid = pid;
	q->noise = noise[0];
	q->fixed = !(w.flags & DISK_WRITE) && !w.live;
	pthread_mutex_init(&q->lock, NULL);
	if (!q->nbd) {
		reap(pid);
		explain(path, noise[0], e);
		close(noise[0]);
		pthread_mutex_destroy(&q->lock);
		free(q);
		return NULL;
	}
	q->d = (struct disk){ .ops = &ops, .path = mem_strdup(path),
		.size = nbd_size(q->nbd), .sector = 512,
		.direct = w.flags & DISK_DIRECT, .sandbox = sandbox };
	return &q->d;
}

struct disk *qemunbd_open(const char *path, const char *format, unsigned flags,
			  struct err *e)
{
	struct what w = { .format = format, .flags = flags };
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
	return open_image(path, (struct what){ .format = "qcow2", .live = true }, e);
}

struct disk *qemunbd_open_dirty(const char *path, const char *bitmap, struct nbd **nbd,
				struct err *e)
{
	struct disk *d = open_image(path, (struct what){ .format = "qcow2",
							 .bitmap = bitmap }, e);

	*nbd = d ? of(d)->nbd : NULL;
	return d;
}

struct disk *qemunbd_of(struct nbd *n, const char *name)
{
	struct qemunbd *q = mem_alloc(sizeof(*q));

	q->nbd = n;
	q->pid = -1;
	q->noise = -1;
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
	struct what w = { .format = format, .flags = flags & ~DISK_WRITE,
			  .beside = beside->count ? beside : NULL };

	return open_image(path, w, e);
}

struct disk *qemunbd_open_overlay(const char *path, const char *base, unsigned flags,
				  struct err *e)
{
	AUTO_FREE char *real = realpath(base, NULL);

	if (!real) {
		err_sys(e, "cannot open base '%s'", base);
		return NULL;
	}
	return open_image(path, (struct what){ .base = real, .format = "qcow2", .flags = flags }, e);
}
