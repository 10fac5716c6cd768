/* SPDX-License-Identifier: Apache-2.0
 * self - who and what this agent is, and what it gives up before it serves.
 */
#include "engine/agent/serve.h"

#include "engine/agent/stream.h"
#include "engine/base/io.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SYNC_MS 10000

static int hash_self(char hex[65])
{
	AUTO_FD fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct sha256 *h;
	uint8_t sum[SHA256_LEN];
	char buf[65536];
	ssize_t n;

	if (fd < 0)
		return -1;
	h = sha256_new();
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		sha256_add(h, buf, (size_t)n);
	sha256_end(h, sum);
	io_hex(sum, sizeof(sum), hex);
	return n < 0 ? -1 : 0;
}

int self_check(struct agent *a)
{
	const struct serve_options *o = a->options;

	/* our file goes at once: what runs from now on is only in memory */
	if (o->remove && io_remove_tree(o->remove) < 0) {
		fprintf(stderr, "drover-agent: cannot remove '%s'\n", o->remove);
		return -1;
	}
	if (hash_self(a->build) < 0) {
		perror("drover-agent: cannot read my own file");
		return -1;
	}
	if (o->expect && strcmp(o->expect, a->build) != 0) {
		fprintf(stderr, "drover-agent: my own file has the digest %.16s..., "
			"%.16s... was sent\n", a->build, o->expect);
		return -1;
	}
	return 0;
}

/* A process without dumpable memory has an exe that its own user cannot execute
 * through /proc. So a bare fork, made before any secret came in, keeps the door. */
static pid_t open_door(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	while (getppid() == parent)
		pause();
	_exit(0);
}

void self_confine(struct agent *a)
{
	struct rlimit none = { 0, 0 };

	a->door = geteuid() == 0 ? getpid() : open_door();
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	if (chdir("/") < 0)
		perror("drover-agent: cannot go to /");
	umask(022);
}

json_t *self_hello(const struct agent *a)
{
	AUTO_FREE char *boot = io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id",
					    128, NULL);
	json_t *hello = json_object(), *un = json_object();
	struct utsname u;

	uname(&u);
	jset_str(un, "system", u.sysname);
	jset_str(un, "node", u.nodename);
	jset_str(un, "release", u.release);
	jset_str(un, "machine", u.machine);
	jset(hello, "uname", un);
	jset_int(hello, "wire", WIRE_VERSION);
	jset_str(hello, "version", DROVER_VERSION);
	jset_str(hello, "build", a->build);
	jset_int(hello, "pid", getpid());
	jset_int(hello, "uid", geteuid());
	jset_int(hello, "door", a->door);
	if (boot)
		jset(hello, "boot", json_stringn(boot, strcspn(boot, "\n")));
	if (a->streams) {
		jset_str(hello, "attach", streams_name(a->streams));
		jset_str(hello, "secret", streams_secret(a->streams));
	}
	return hello;
}

void self_sync(void)
{
	struct timespec tick = { 0, 10000000 };
	pid_t pid = fork();

	if (pid == 0) {
		sync();
		_exit(0);
	}
	/* sync(2) may hang on a dead or frozen disk, and cannot be interrupted */
	for (int ms = 0; pid > 0 && ms < SYNC_MS; ms += 10) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return;
		nanosleep(&tick, NULL);
	}
}
