/* SPDX-License-Identifier: Apache-2.0
 * secret - fetching what a plan only refers to. What comes is kept in the vault, from
 * which nothing leaves but to where the plan says.
 */
#include "engine/plan/plan.h"
#include "engine/plan/vault.h"

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
#define SECRET_REF "secret:"

/* One way to fetch: puts the text's first line into `out` (SECRET_MAX + 1 bytes, zeroed). */
static int from_env(const char *name, char *out, struct err *e)
{
	const char *v = getenv(name);

	if (v && *v) {
		snprintf(out, SECRET_MAX + 1, "%s", v);
		return 0;
	}
	err_set(e, ERR_PLAN, "the variable %s is not set", name);
	return err_hint(e, "export %s=... before you start drover", name);
}

static int from_file(const char *path, char *out, struct err *e)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	size_t have = 0;
	ssize_t n = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, ERR_PLAN, "cannot read '%s': %s", path, strerror(errno));
	if (st.st_mode & 077) {
		err_set(e, ERR_PLAN, "cannot use '%s': others may read it", path);
		return err_hint(e, "chmod 600 %s", path);
	}
	/* a pipe gives it in pieces */
	while (have < SECRET_MAX && !memchr(out, '\n', have)) {
		n = read(fd, out + have, SECRET_MAX - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	return n < 0 ? err_set(e, ERR_PLAN, "cannot read '%s': %s", path, strerror(errno)) : 0;
}

static int from_command(const json_t *argv, char *out, struct err *e)
{
	size_t n = json_array_size(argv);
	AUTO_FREE const char **args = mem_alloc((n + 1) * sizeof(*args));
	struct proc p = { .argv = args, .timeout_ms = 60000, .max_output = SECRET_MAX };
	int rc;

	for (size_t i = 0; i < n; i++)
		args[i] = json_string_value(json_array_get(argv, i));
	/* Password stores live by the user's own environment. */
	p.env = (const char *const *)environ;
	rc = proc_run(&p, e);
	if (rc == 0 && p.out.len)
		memcpy(out, p.out.s, p.out.len);
	if (p.out.s)
		explicit_bzero(p.out.s, p.out.len);
	proc_free(&p);
	return rc;
}

static int from_prompt(const char *text, char *out, struct err *e)
{
	AUTO_FD fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	struct termios old, quiet;

	if (fd < 0 || tcgetattr(fd, &old) < 0) {
		err_set(e, ERR_WAITING, "there is no terminal to ask at");
		return err_hint(e, "start drover at a terminal, or fetch the secret with env, "
				"file or command");
	}
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	io_write_full(fd, text, strlen(text));
	io_write_full(fd, ": ", 2);
	tcsetattr(fd, TCSAFLUSH, &quiet);
	ssize_t n = read(fd, out, SECRET_MAX);
	tcsetattr(fd, TCSAFLUSH, &old);
	io_write_full(fd, "\n", 1);
	return n > 1 ? 0 : err_set(e, ERR_WAITING, "no answer was given");
}

static int fetch(const json_t *how, char *out, struct err *e)
{
	int rc;

	if (jget(how, "env"))
		rc = from_env(jstr(how, "env", ""), out, e);
	else if (jget(how, "file"))
		rc = from_file(jstr(how, "file", ""), out, e);
	else if (jget(how, "command"))
		rc = from_command(jget(how, "command"), out, e);
	else
		rc = from_prompt(jstr(how, "prompt", ""), out, e);
	out[strcspn(out, "\r\n")] = '\0';
	if (rc == 0 && !*out)
		return err_set(e, ERR_PLAN, "its first line is empty");
	return rc;
}

bool plan_is_secret(const char *text)
{
	return text && strncmp(text, SECRET_REF, strlen(SECRET_REF)) == 0;
}

const char *plan_secret(const struct plan *p, const char *ref, struct err *e)
{
	const char *name = plan_is_secret(ref) ? ref + strlen(SECRET_REF) : ref;
	const json_t *how = json_object_get(p->secrets, name);
	const char *value = vault_get(p->vault, name);
	char *text;

	if (value)
		return value;
	if (!how) {
		err_set(e, ERR_PLAN, "no secret is called '%s'", name);
		return NULL;
	}
	text = mem_alloc(SECRET_MAX + 1);
	if (fetch(how, text, e) == 0)
		value = vault_put(p->vault, name, text, strlen(text));
	else
		err_wrap(e, "cannot fetch the secret '%s'", name);
	explicit_bzero(text, SECRET_MAX + 1);
	free(text);
	return value;
}

void plan_secrets_hide(const struct plan *p)
{
	const char *name;
	json_t *how;

	json_object_foreach(p->secrets, name, how) {
		const char *variable = jstr(how, "env", NULL);
		char *value = variable ? getenv(variable) : NULL;

		if (!value || !*value || !plan_secret(p, name, NULL))
			continue;
		/* where it stands is what /proc/PID/environ shows */
		explicit_bzero(value, strlen(value));
		unsetenv(variable);
	}
}

/* ---- filling in ---------------------------------------------------------------------- */

json_t *plan_secrets_in(const struct plan *p, const json_t *v, struct err *e)
{
	const char *key, *text = json_string_value(v);
	AUTO_JSON *out = NULL;
	json_t *item, *one;
	size_t i;

	if (plan_is_secret(text)) {
		text = plan_secret(p, text, e);
		return text ? jtext(text, strlen(text)) : NULL;
	}
	if (!json_is_object(v) && !json_is_array(v))
		return json_incref((json_t *)(uintptr_t)v);
	out = json_copy((json_t *)(uintptr_t)v);
	json_array_foreach(v, i, item) {
		one = plan_secrets_in(p, item, e);
		if (!one)
			return NULL;
		json_array_set_new(out, i, one);
	}
	json_object_foreach((json_t *)(uintptr_t)v, key, item) {
		one = plan_secrets_in(p, item, e);
		if (!one)
			return NULL;
		jset(out, key, one);
	}
	return json_incref(out);
}

static void redact(const struct plan *p, char **text)
{
	char *clean = vault_redact(p->vault, *text);

	if (!clean)
		return;
	free(*text);
	*text = clean;
}

void plan_redact_err(const struct plan *p, struct err *e)
{
	redact(p, &e->what);
	redact(p, &e->hint);
}
