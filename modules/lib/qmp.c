/* SPDX-License-Identifier: Apache-2.0
 * qmp - talk to a running QEMU through its monitor socket: JSON objects, one a
 * line, answers and events mixed.
 */
#include "modules/lib/qmp.h"

#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/task.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_MAX_BYTES (4u << 20)
#define ANSWER_MS 30000

struct qmp {
	int fd;
	struct str in;		/* received, not yet a whole line */
};

#define AUTO_QMP __attribute__((cleanup(free_ptr))) struct qmp
static void free_ptr(struct qmp **q)
{
	qmp_free(*q);
}

static uint64_t now(void)
{
	return clock_real.mono_ms(NULL);
}

/* The next object. NULL with e: silence, end of file, or nonsense. */
static json_t *next(struct qmp *q, unsigned timeout_ms, struct err *e)
{
	uint64_t until = now() + timeout_ms;
	char buf[4096], *end;
	json_t *o;

	while (!(end = q->in.len ? memchr(q->in.s, '\n', q->in.len) : NULL)) {
		struct pollfd p = { q->fd, POLLIN, 0 };
		uint64_t t = now();
		ssize_t n;

		if (t >= until || poll(&p, 1, (int)(until - t)) == 0) {
			err_set(e, ERR_STEP, "the monitor does not answer");
			return NULL;
		}
		n = read(q->fd, buf, sizeof(buf));
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0 || q->in.len + (size_t)n > LINE_MAX_BYTES) {
			err_set(e, ERR_STEP, "the monitor closed the connection");
			return NULL;
		}
		str_addn(&q->in, buf, (size_t)n);
	}
	o = json_parse(q->in.s, (size_t)(end - q->in.s), e);
	q->in.len -= (size_t)(end + 1 - q->in.s);
	memmove(q->in.s, end + 1, q->in.len);
	return o;
}

static int connect_to(const char *path, unsigned timeout_ms, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	uint64_t until = now() + timeout_ms;
	int fd;

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(e, ERR_STEP, "cannot reach the monitor '%s': the path is too "
			       "long for a socket", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, "cannot reach the monitor '%s'", path);
	while (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		if (now() >= until) {
			err_sys(e, "cannot reach the monitor '%s'", path);
			close(fd);
			return -1;
		}
		task_sleep_ms(20);
	}
	return fd;
}

struct qmp *qmp_open(const char *path, unsigned timeout_ms, struct err *e)
{
	AUTO_QMP *q = mem_alloc(sizeof(*q));
	AUTO_JSON *greeting = NULL;
	struct qmp *ok;

	q->fd = connect_to(path, timeout_ms, e);
	if (q->fd < 0 || !(greeting = next(q, timeout_ms ? timeout_ms : 1, e)))
		return NULL;
	if (!jget(greeting, "QMP")) {
		err_set(e, ERR_STEP, "'%s' is no monitor of QEMU", path);
		return NULL;
	}
	if (qmp_call(q, "qmp_capabilities", NULL, NULL, e) < 0)
		return NULL;
	ok = q;
	q = NULL;
	return ok;
}

void qmp_free(struct qmp *q)
{
	if (!q)
		return;
	mem_close_fd(&q->fd);
	str_free(&q->in);
	mem_free_ptr(&q);
}

int qmp_call(struct qmp *q, const char *command, json_t *args, json_t **out,
	     struct err *e)
{
	AUTO_JSON *ask = json_object();
	AUTO_FREE char *text = NULL;

	jset_str(ask, "execute", command);
	if (args)
		jset(ask, "arguments", args);
	text = json_canonical(ask);
	if (send(q->fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text) ||
	    send(q->fd, "\n", 1, MSG_NOSIGNAL) != 1)
		return err_sys(e, "cannot tell the monitor '%s'", command);
	for (;;) {
		AUTO_JSON *answer = next(q, ANSWER_MS, e);

		if (!answer)
			return err_wrap(e, "cannot '%s'", command);
		if (jget(answer, "error"))
			return err_set(e, ERR_STEP, "cannot '%s': %s", command,
				       jstr(answer, "error.desc", "refused"));
		if (!json_object_get(answer, "return"))
			continue;	/* an event */
		if (out)
			*out = json_incref(json_object_get(answer, "return"));
		return 0;
	}
}

bool qmp_alive(struct qmp *q)
{
	return qmp_call(q, "query-status", NULL, NULL, NULL) == 0;
}

/* ---- merging an overlay into its base -------------------------------------- */

#define JOB "drover-commit"

/* The job as query-jobs tells it; NULL with nothing in e: it is gone. */
static json_t *find_job(struct qmp *q, struct err *e)
{
	AUTO_JSON *jobs = NULL;
	json_t *job;
	size_t i;

	if (qmp_call(q, "query-jobs", NULL, &jobs, e) < 0)
		return NULL;
	json_array_foreach(jobs, i, job)
		if (strcmp(jstr(job, "id", ""), JOB) == 0)
			return json_incref(job);
	return NULL;
}

static int tell_job(struct qmp *q, const char *command, struct err *e)
{
	json_t *args = json_object();

	jset_str(args, "id", JOB);
	return qmp_call(q, command, args, NULL, e);
}

/* It stays to be asked once it is concluded: its error is not lost. */
static int job_end(struct qmp *q, const json_t *job, struct err *e)
{
	const char *error = jstr(job, "error", NULL);

	if (error)
		err_set(e, ERR_STEP, "cannot merge the overlay: %s", error);
	return tell_job(q, "job-dismiss", error ? NULL : e) < 0 || error ? -1 : 0;
}

static int job_wait(struct qmp *q, bool (*tick)(void *, uint64_t, uint64_t), void *arg,
		    struct err *e)
{
	bool completing = false;

	for (;;) {
		AUTO_JSON *job = find_job(q, e);
		const char *status = jstr(job, "status", "");

		if (!job)
			return err_is(e) ? -1 : err_set(e, ERR_STEP, "the merge is gone");
		if (strcmp(status, "concluded") == 0)
			return job_end(q, job, e);
		if (strcmp(status, "ready") == 0 && !completing) {
			if (tell_job(q, "job-complete", e) < 0)
				return -1;
			completing = true;
		}
		if (tick && !tick(arg, (uint64_t)jint(job, "current-progress", 0),
				  (uint64_t)jint(job, "total-progress", 0))) {
			tell_job(q, "job-cancel", NULL);
			return err_set(e, ERR_STOPPED, "the merge was stopped");
		}
		task_sleep_ms(100);
	}
}

int qmp_uses(struct qmp *q, const char *path, struct err *e)
{
	AUTO_JSON *nodes = NULL;

	if (qmp_call(q, "query-named-block-nodes", NULL, &nodes, e) < 0)
		return -1;
	return jfind(nodes, "file", path) != NULL;
}

int qmp_commit(struct qmp *q, const char *node, const char *base_path,
	       bool (*tick)(void *arg, uint64_t done, uint64_t total), void *arg,
	       struct err *e)
{
	json_t *args = json_object();

	jset_str(args, "job-id", JOB);
	jset_str(args, "device", node);
	jset_str(args, "base", base_path);
	jset_bool(args, "auto-dismiss", false);
	if (qmp_call(q, "block-commit", args, NULL, e) < 0)
		return -1;
	return job_wait(q, tick, arg, e);
}
