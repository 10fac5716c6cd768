/* SPDX-License-Identifier: Apache-2.0
 * secret - fetching what a plan only refers to. Nothing of it is kept. */
#include "engine/plan/plan.h"

#include "engine/base/io.h"
#include "engine/base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define SECRET_MAX 65536

void secret_free(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

/* The first line of what was read. */
static char *first_line(char *text)
{
	text[strcspn(text, "\r\n")] = '\0';
	return text;
}

static char *from_env(const char *name, struct err *e)
{
	const char *v = getenv(name);

	if (v && *v)
		return mem_strdup(v);
	err_set(e, ERR_PLAN, "the variable %s is not set", name);
	err_hint(e, "export %s=... before you start drover", name);
	return NULL;
}

static char *from_file(const char *path, struct err *e)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		err_set(e, ERR_PLAN, "cannot read '%s': %s", path, strerror(errno));
		return NULL;
	}
	if (st.st_mode & 077) {
		err_set(e, ERR_PLAN, "cannot use '%s': others may read it", path);
		err_hint(e, "chmod 600 %s", path);
		return NULL;
	}
	char *text = mem_alloc(SECRET_MAX + 1);
	ssize_t n = read(fd, text, SECRET_MAX);
	if (n <= 0) {
		err_set(e, ERR_PLAN, "cannot read '%s': %s", path,
			n < 0 ? strerror(errno) : "it is empty");
		secret_free(text);
		return NULL;
	}
	return first_line(text);
}

static char *from_command(const json_t *argv, struct err *e)
{
	size_t n = json_array_size(argv);
	AUTO_FREE const char **args = mem_alloc((n + 1) * sizeof(*args));
	struct proc p = { .argv = args, .timeout_ms = 60000, .max_output = SECRET_MAX };
	char *text = NULL;

	for (size_t i = 0; i < n; i++)
		args[i] = json_string_value(json_array_get(argv, i));
	/* Password stores live by the user's own environment. */
	p.env = (const char *const *)environ;
	if (proc_run(&p, e) == 0) {
		if (p.out.len)
			text = first_line(mem_strdup(p.out.s));
		else
			err_set(e, ERR_PLAN, "'%s' printed nothing", args[0]);
	}
	if (p.out.s)
		explicit_bzero(p.out.s, p.out.len);
	proc_free(&p);
	return text;
}

static char *from_prompt(const char *text, struct err *e)
{
	AUTO_FD fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	struct termios old, quiet;

	if (fd < 0 || tcgetattr(fd, &old) < 0) {
		err_set(e, ERR_WAITING, "there is no terminal to ask at");
		err_hint(e, "start drover at a terminal, or fetch the secret with env, file or "
			    "command");
		return NULL;
	}
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	char *answer = mem_alloc(SECRET_MAX + 1);
	io_write_full(fd, text, strlen(text));
	io_write_full(fd, ": ", 2);
	tcsetattr(fd, TCSAFLUSH, &quiet);
	ssize_t n = read(fd, answer, SECRET_MAX);
	tcsetattr(fd, TCSAFLUSH, &old);
	io_write_full(fd, "\n", 1);
	if (n <= 1) {
		err_set(e, ERR_WAITING, "no answer was given");
		secret_free(answer);
		return NULL;
	}
	return first_line(answer);
}

static char *fetch(const json_t *how, struct err *e)
{
	if (jget(how, "env"))
		return from_env(jstr(how, "env", ""), e);
	if (jget(how, "file"))
		return from_file(jstr(how, "file", ""), e);
	if (jget(how, "command"))
		return from_command(jget(how, "command"), e);
	if (jget(how, "prompt"))
		return from_prompt(jstr(how, "prompt", ""), e);
	err_set(e, ERR_PLAN, "it says no way to be fetched");
	return NULL;
}

char *plan_secret(const struct plan *p, const char *ref, struct err *e)
{
	const char *name = strncmp(ref, "secret:", 7) == 0 ? ref + 7 : ref;
	const json_t *how = json_object_get(p->secrets, name);
	char *s;

	if (!how) {
		err_set(e, ERR_PLAN, "no secret is called '%s'", name);
		return NULL;
	}
	s = fetch(how, e);
	if (!s)
		err_wrap(e, "cannot fetch the secret '%s'", name);
	return s;
}
