/* SPDX-License-Identifier: Apache-2.0
 * nbdserver - qemu-nbd, confined, on a socket that only we ever had a name for.
 *
 * The socket is made, connected to and unlinked before the program starts: it
 * inherits the listening end and finds our connection waiting. So no other
 * process can be its client, and nothing is left behind however we end, but for an empty
 * directory in /run of a kill between two of these calls.
 */
#include "modules/lib/nbdserver.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

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
static const char *cache_for(const struct nbdserver_what *w)
{
	AUTO_FD fd = w->flags & DISK_DIRECT ? open(w->path, O_RDONLY | O_DIRECT | O_CLOEXEC) : -1;

	if (w->unsynced)
		return "--cache=unsafe";
	return fd >= 0 ? "--cache=none" : "--cache=writeback";
}

static void add_program(struct argv *a, const char *program, const char *path,
			const struct nbdserver_what *w)
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

/* ---- processes of its own ------------------------------------------------------ */

/* In a namespace of processes: bwrap looks them up in /proc, which must be that one's. */
static int own_proc(void)
{
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ? -1 : 0;
}

/* fork(), the child the first of a namespace of processes. */
static pid_t fork_alone(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, NULL, NULL, NULL,
			      NULL);
}

/* Not without root, and not in every container. */
static bool can_be_alone(void)
{
	pid_t pid = fork_alone();
	int status = 0;

	if (pid == 0)
		_exit(own_proc() < 0);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* The child: listening socket at 3, stderr to the pipe, nothing else open. */
static _Noreturn void become(const struct argv *a, const struct nbdserver_what *w,
			     int listening, int noise, bool confine, int minded, bool alone)
{
	struct pollfd gone = { minded, 0, 0 };
	struct rlimit core = { 0, 0 };
	char pid[16];
	int null = open("/dev/null", O_RDWR);

	if (alone && own_proc() < 0)
		_exit(127);
	if (!confine && w->uid && (setgroups(0, NULL) < 0 || setgid(w->gid) < 0 ||
				   setuid(w->uid) < 0))
		_exit(127);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (poll(&gone, 1, 0) > 0)
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
 * before it has said a word qemu-nbd takes no notice, and bwrap is deaf while it sets up.
 * Should this one be killed outright, what it started is the first of a namespace of
 * processes, where that may be made: all in it ends with it. */
static _Noreturn void mind(const struct argv *a, const struct nbdserver_what *w,
			   int listening, int noise, bool confine, pid_t parent)
{
	struct sigaction act = { .sa_handler = end_group };
	int status = 0, minds[2];
	pid_t server;
	bool alone;

	setpgid(0, 0);
	sigaction(SIGTERM, &act, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(127);
	prctl(PR_SET_NAME, "drover-nbd");
	if (pipe2(minds, O_CLOEXEC) < 0)
		_exit(127);
	alone = can_be_alone();
	server = alone ? fork_alone() : fork();
	if (server == 0) {
		close(minds[1]);
		become(a, w, listening, noise, confine, minds[0], alone);
	}
	for (int fd = 0; fd < 1024; fd++)
		if (fd != minds[1])
			close(fd);
	while (server > 0 && waitpid(server, &status, 0) < 0 && errno == EINTR)
		;
	_exit(server > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 127);
}

/* Where the program finds it: an overlay names its base by path, both keep their own. */
static char *place_inside(const struct nbdserver_what *w)
{
	if (w->base)
		return mem_strdup(w->path);
	return w->beside ? mem_printf("/disk%s", strrchr(w->path, '/')) : mem_strdup("/image");
}

static pid_t launch(const struct nbdserver_what *w, int listening, int noise,
		    const char **sandbox, struct err *e)
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

int nbdserver_start(const struct nbdserver_what *w, struct nbdserver *s, struct err *e)
{
	int listening = -1, client = -1, noise[2] = { -1, -1 };

	*s = (struct nbdserver){ .pid = -1, .noise = -1 };
	if (pipe2(noise, O_CLOEXEC) < 0)
		err_sys(e, "cannot make a pipe");
	else if (socket_pair(&listening, &client, e) == 0)
		s->pid = launch(w, listening, noise[1], &s->sandbox, e);
	mem_close_fd(&listening);
	mem_close_fd(&noise[1]);
	s->noise = noise[0];
	if (s->pid > 0)
		return client;
	mem_close_fd(&client);
	mem_close_fd(&s->noise);
	return -1;
}

/* What it said on stderr, one line, made safe. */
char *nbdserver_words(const struct nbdserver *s)
{
	char buf[NOISE_MAX + 1];
	AUTO_STR out = { 0 };
	ssize_t n = read(s->noise, buf, NOISE_MAX);

	if (n <= 0)
		return NULL;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	str_add_safe(&out, buf);
	return str_take(&out);
}

void nbdserver_end(struct nbdserver *s)
{
	uint64_t until = clock_real.mono_ms(clock_real.arg) + END_MS;

	while (s->pid > 0 && waitpid(s->pid, NULL, WNOHANG) == 0) {
		if (clock_real.mono_ms(clock_real.arg) > until) {
			kill(-s->pid, SIGKILL);
			waitpid(s->pid, NULL, 0);
			break;
		}
		usleep(2000);
	}
	s->pid = -1;
}

void nbdserver_free(struct nbdserver *s)
{
	nbdserver_end(s);
	mem_close_fd(&s->noise);
}
