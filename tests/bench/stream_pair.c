/* SPDX-License-Identifier: Apache-2.0
 * stream_pair - how fast one pass of a disk goes between two agents that are
 * joined by a socket pair: the data plane without any link between.
 *
 *   stream_pair AGENT SOURCE DIRECTORY raw|qcow2 [auto|none|zstd [CHUNK]]
 *
 * Prints the seconds until all of it is synced at the target, and MiB of data a
 * second. The directory is the caller's to clear.
 */
#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MAX (1u << 20)

struct end { pid_t pid; int in, out; };

static json_t *input_of(char **argv, int argc, const char *role)
{
	const char *zip = argc > 5 ? argv[5] : "auto";
	uint64_t chunk = 1 << 20;

	if (argc > 6 && text_parse_size(argv[6], &chunk) < 0)
		return NULL;
	return json_pack("{s:{s:i,s:s,s:I,s:s},s:{},s:{},s:s,"
			 "s:{s:s,s:{s:s,s:s,s:{s:{s:s,s:s}}},s:{s:s,s:s,s:s,s:{}}},"
			 "s:{s:s,s:s,s:s}}",
			 "args", "passes", 1, "freeze", "none", "chunk", (json_int_t)chunk,
			 "compress", zip, "facts", "kept", "role", role,
			 "machine", "name", "bench", "source", "host", "a", "kind", "image",
			 "disks", "disk", "image", argv[2], "format", "raw",
			 "target", "host", "b", "dir", argv[3], "format", argv[4], "disks",
			 "run", "plan", "bench", "run", "0", "lineage", "bench");
}

static struct end start(const char *agent, int stream)
{
	struct end e = { .in = -1 };
	int in[2], out[2];
	char fd[16];

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return e;
	snprintf(fd, sizeof(fd), "%d", stream);
	e.pid = fork();
	if (e.pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		fcntl(stream, F_SETFD, 0);
		execl(agent, agent, "--call", "convert.disks", "apply", "--stream-fd", fd, NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	e.in = in[1];
	e.out = out[0];
	return e;
}

static void give(struct end *e, char **argv, int argc, const char *role)
{
	AUTO_JSON *in = input_of(argv, argc, role);
	AUTO_FREE char *text = in ? json_canonical(in) : NULL;

	if (text)
		io_write_full(e->in, text, strlen(text));
	close(e->in);
}

/* What it printed last is its RESULT. */
static char *answer(struct end *e)
{
	char *text = mem_alloc(ANSWER_MAX), *last;
	size_t n = 0;
	ssize_t r;

	while (n < ANSWER_MAX - 1 && (r = read(e->out, text + n, ANSWER_MAX - 1 - n)) > 0)
		n += (size_t)r;
	waitpid(e->pid, NULL, 0);
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	last = strrchr(text, '\n');
	if (last)
		memmove(text, last + 1, strlen(last));
	return text;
}

int main(int argc, char **argv)
{
	struct end source, target;
	uint64_t begin, ms;
	double data;
	int fd[2];

	if (argc < 5 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0) {
		fprintf(stderr, "usage: stream_pair AGENT SOURCE DIRECTORY raw|qcow2 "
			"[auto|none|zstd [CHUNK]]\n");
		return 100;
	}
	signal(SIGPIPE, SIG_IGN);
	begin = clock_real.mono_ms(clock_real.arg);
	source = start(argv[1], fd[0]);
	target = start(argv[1], fd[1]);
	close(fd[0]);
	close(fd[1]);
	give(&source, argv, argc, "source");
	give(&target, argv, argc, "target");

	AUTO_FREE char *a = answer(&source), *b = answer(&target);
	AUTO_JSON *sent = json_parse(a, strlen(a), NULL), *got = json_parse(b, strlen(b), NULL);
	const json_t *pass = json_array_get(jget(sent, "volatile.passes.disk"), 0);

	ms = clock_real.mono_ms(clock_real.arg) - begin;
	if (!jbool(sent, "ok", false) || !jbool(got, "ok", false)) {
		fprintf(stderr, "%s\n%s\n", a, b);
		return 1;
	}
	data = (double)jint(pass, "data", 0) / (1 << 20);
	printf("%.2f s, %.0f MiB of data, %.0f MiB on the wire, %.0f MiB/s\n",
	       (double)ms / 1000, data, (double)jint(pass, "wire", 0) / (1 << 20),
	       data * 1000 / (double)(ms ? ms : 1));
	return 0;
}
