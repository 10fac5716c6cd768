/* SPDX-License-Identifier: Apache-2.0
 * sshd - a private OpenSSH server on loopback.
 */
#include "tests/unit/sshd.h"

#include "engine/base/io.h"
#include "engine/base/proc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int free_port(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(sin);
	AUTO_FD fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sin, n) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sin, &n) < 0)
		return -1;
	return ntohs(sin.sin_port);
}

char *sshd_file(const struct sshd *s, const char *name, const char *text)
{
	char *path = mem_printf("%s/%s", s->dir, name);

	if (io_write_file(AT_FDCWD, path, text, strlen(text), 0644) < 0) {
		free(path);
		return NULL;
	}
	return path;
}

static int keygen(const char *path)
{
	const char *argv[] = { "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path, NULL };
	struct proc p = { .argv = argv, .timeout_ms = 30000 };
	int rc = proc_run(&p, NULL);

	proc_free(&p);
	return rc;
}

/* The first two words of a .pub file. */
static char *public_key(const char *path)
{
	AUTO_FREE char *pub = mem_printf("%s.pub", path);
	AUTO_FREE char *text = io_read_file(AT_FDCWD, pub, 8192, NULL);
	char *end = text ? strchr(text, ' ') : NULL;

	end = end ? strchr(end + 1, ' ') : NULL;
	return end ? mem_strndup(text, (size_t)(end - text)) : NULL;
}

static int wait_until_it_listens(int port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	for (int i = 0; i < 500; i++) {
		AUTO_FD fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (connect(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0)
			return 0;
		poll(NULL, 0, 10);
	}
	return -1;
}

static int configure(struct sshd *s, const char *extra)
{
	AUTO_FREE char *key = mem_printf("%s/host_key", s->dir);
	AUTO_FREE char *config = NULL, *user_key = NULL, *line = NULL;
	AUTO_FREE char *a = NULL, *b = NULL;

	s->identity = mem_printf("%s/user_key", s->dir);
	if (keygen(key) < 0 || keygen(s->identity) < 0)
		return -1;
	s->host_key = public_key(key);
	user_key = public_key(s->identity);
	line = mem_printf("[127.0.0.1]:%d %s\n", s->port, s->host_key);
	s->known_hosts = sshd_file(s, "known_hosts", line);
	a = sshd_file(s, "authorized_keys", user_key);
	config = mem_printf("%s\nPort %d\nListenAddress 127.0.0.1\nHostKey %s\n"
		"PidFile %s/pid\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\n"
		"PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
		"PermitRootLogin yes\nPrintMotd no\nMaxStartups 100\nMaxAuthTries 10\n"
		"LogLevel QUIET\n", extra ? extra : "", s->port, key, s->dir, a);
	b = sshd_file(s, "sshd_config", config);
	return a && b ? 0 : -1;
}

void sshd_overlay(const struct sshd *s, const char *path, const char *text, mode_t mode)
{
	AUTO_FREE char *base = mem_strdup(path + 1);
	AUTO_FREE char *file = NULL;

	for (char *p = base; *p; p++)
		if (*p == '/')
			*p = '_';
	file = sshd_file(s, base, text);
	if (!file || chmod(file, mode) < 0 || mount(file, path, NULL, MS_BIND, NULL) < 0)
		_exit(126);
}

/* "secret", as crypt(3) writes it */
#define SECRET "$6$drover$CRW3oxuhBFFvUqb.GNAu/wqYDKTCC2O1VEgOW6TP6PqvBg2muxj1Bi9i5Y9GdDgpipBXakg2SFUkLEsA.jUr1."

/* Add a line to a system file, inside the namespace. */
static void overlay_add(const struct sshd *s, const char *path, const char *line, mode_t mode)
{
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, 1 << 20, NULL);
	AUTO_FREE char *more = mem_printf("%s%s", text ? text : "", line);

	sshd_overlay(s, path, more, mode);
}

static void add_user(const struct sshd *s)
{
	AUTO_FREE char *home = mem_printf("%s/home", s->dir);
	AUTO_FREE char *line = mem_printf("drover:x:4242:4242::%s:/bin/bash\n", home);

	if (mkdir(home, 0755) < 0 || chown(home, 4242, 4242) < 0)
		_exit(126);
	/* what this machine's own root runs at log-in is no part of the test */
	if (access("/root/.bashrc", F_OK) == 0)
		sshd_overlay(s, "/root/.bashrc", "", 0644);
	overlay_add(s, "/etc/passwd", line, 0644);
	overlay_add(s, "/etc/group", "drover:x:4242:\n", 0644);
	overlay_add(s, "/etc/shadow", "drover:" SECRET ":19000:0:99999:7:::\n", 0640);
}

static _Noreturn void run_sshd(const struct sshd *s, void (*prepare)(const struct sshd *s))
{
	AUTO_FREE char *config = mem_printf("%s/sshd_config", s->dir);
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	setpgid(0, 0);
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		_exit(126);
	add_user(s);
	if (prepare)
		prepare(s);
	execl("/usr/sbin/sshd", "/usr/sbin/sshd", "-D", "-f", config, (char *)NULL);
	_exit(127);
}

struct sshd *sshd_start(const char *extra, void (*prepare)(const struct sshd *s))
{
	struct sshd *s = mem_alloc(sizeof(*s));

	s->dir = mem_strdup("/tmp/drover-test.XXXXXX");
	s->port = free_port();
	mkdir("/run/sshd", 0755);
	if (!mkdtemp(s->dir) || chmod(s->dir, 0755) < 0 || s->port < 0 ||
	    configure(s, extra) < 0) {
		sshd_stop(s);
		return NULL;
	}
	s->pid = fork();
	if (s->pid == 0)
		run_sshd(s, prepare);
	if (s->pid < 0 || wait_until_it_listens(s->port) < 0) {
		sshd_stop(s);
		return NULL;
	}
	return s;
}

void sshd_stop(struct sshd *s)
{
	if (!s)
		return;
	if (s->pid > 0) {
		kill(s->pid, SIGTERM);
		while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (s->dir)
		io_remove_tree(s->dir);
	free(s->dir);
	free(s->host_key);
	free(s->identity);
	free(s->known_hosts);
	free(s);
}

json_t *sshd_spec(const struct sshd *s, const char *name, const char *user)
{
	json_t *spec = json_object(), *ssh = json_object();

	jset_str(spec, "name", name);
	jset_str(ssh, "user", user);
	jset_str(ssh, "host", "127.0.0.1");
	jset_int(ssh, "port", s->port);
	jset(spec, "ssh", ssh);
	jset_str(spec, "identity", s->identity);
	jset_str(spec, "known_hosts", s->known_hosts);
	return spec;
}
