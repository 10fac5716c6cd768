/* SPDX-License-Identifier: Apache-2.0
 * cli - what every verb needs: plan, graph, state, exit status.
 */
#include "engine/cli/cli.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "engine/base/text.h"
#include "engine/hook/hook.h"
#include "engine/host/host.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

void cli_init(struct cli *c)
{
	memset(c, 0, sizeof(*c));
	c->in = stdin;
	c->out = stdout;
	c->err = stderr;
	c->tty_in = isatty(STDIN_FILENO) == 1;
	c->tty_out = isatty(STDOUT_FILENO) == 1;
	c->make_host = host_new;
}

void cli_print_error(struct cli *c, const struct err *e)
{
	struct winsize w;
	bool terminal = ioctl(fileno(c->err), TIOCGWINSZ, &w) == 0 && w.ws_col >= 20;

	err_print_wrapped(c->err, e, terminal ? w.ws_col : 0);
}

int cli_fail(struct cli *c, struct err *e)
{
	if (c->plan)
		run_err_final(c->plan, e);
	fflush(c->out);
	cli_print_error(c, e);
	fflush(c->err);
	return err_is(e) ? (int)e->kind : 0;
}

/* Nobody reads any more, as in `drover preview | head`: end as such programs do. The
 * signal was ignored until now, since a run must survive whoever watches it. */
static void end_unread(struct cli *c)
{
	struct pollfd p = { .fd = fileno(c->out), .events = POLLOUT };

	if (p.fd < 0 || poll(&p, 1, 0) != 1 || !(p.revents & (POLLERR | POLLHUP)))
		return;
	signal(SIGPIPE, SIG_DFL);
	raise(SIGPIPE);
}

int cli_close(struct cli *c, int status)
{
	AUTO_ERR e = {0};

	if (c->state && state_close(c->state, &e) < 0) {
		int kind = cli_fail(c, &e);

		status = status ? status : kind;
	}
	loop_free(c->loop);
	graph_free(c->graph);
	plan_free(c->plan);
	json_decref(c->end);
	c->end = NULL;
	c->state = NULL;
	c->loop = NULL;
	c->graph = NULL;
	c->plan = NULL;
	if ((fflush(c->out) != 0 || ferror(c->out)) && !status) {
		end_unread(c);
		err_sys(&e, "cannot write the output");
		status = cli_fail(c, &e);
	}
	return status;
}

void cli_json_error(struct cli *c, const char *type, const struct err *e)
{
	json_t *o = json_object();

	jset_str(o, "file", e->at.file);
	jset_int(o, "line", e->at.line);
	jset_int(o, "column", e->at.column);
	jset_str(o, type, e->what);
	jset_str(o, "hint", e->hint);
	cli_json(c, type, o);
}

int cli_errors(struct cli *c, const struct err_list *l)
{
	int status = ERR_PLAN;

	fflush(c->out);
	for (size_t i = 0; i < l->count; i++) {
		if (c->json)
			cli_json_error(c, "error", &l->v[i]);
		else
			cli_print_error(c, &l->v[i]);
		if (l->v[i].kind == ERR_SYSTEM)
			status = ERR_SYSTEM;
	}
	if (l->count > 1 && !c->json)
		fprintf(c->err, "%zu errors\n", l->count);
	return status;
}

/* --machine that matches nothing is a slip of the finger, not an empty run. */
static int check_selector(struct cli *c)
{
	const char *want = c->opt[OPT_MACHINE], *near = NULL;
	AUTO_FREE const char **names = NULL;
	AUTO_ERR e = {0};

	if (!want)
		return 0;
	names = mem_alloc((c->plan->machine_count + 1) * sizeof(*names));
	for (uint32_t i = 0; i < c->plan->machine_count; i++) {
		if (plan_machine_matches(c->plan, i, want))
			return 0;
		names[i] = c->plan->machines[i].name;
	}
	near = text_near(want, names, c->plan->machine_count);
	err_set(&e, ERR_USAGE, "no machine of plan '%s' matches '%s'", c->plan->name, want);
	if (near)
		err_hint(&e, "did you mean --machine %s?", near);
	else
		err_hint(&e, "--machine takes a name, a glob, or label=value");
	return cli_fail(c, &e);
}

/* Names in `dir` that a plan may have; owned by `names`. */
static size_t plans_in(const char *dir, char **names, size_t max)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	for (struct dirent *e; d && n < max && (e = readdir(d));)
		if (text_glob("*.yaml", e->d_name) || text_glob("*.yml", e->d_name))
			names[n++] = mem_strdup(e->d_name);
	if (d)
		closedir(d);
	return n;
}

void cli_hint_plan(struct err_list *errors, const char *file)
{
	char *names[64];
	struct stat st = {0};
	bool missing = stat(file, &st) < 0 && errno == ENOENT;
	bool folder = !missing && S_ISDIR(st.st_mode);
	AUTO_FREE char *copy = mem_strdup(file);
	const char *slash = strrchr(file, '/'), *near;
	struct err *e = errors->v;
	size_t n;

	if (errors->count != 1 || e->hint || (!missing && !folder))
		return;
	if (!folder)
		*(slash ? copy + (slash - file) + 1 : copy) = '\0';
	n = plans_in(*copy ? copy : ".", names, ARRAY_LEN(names));
	near = folder ? (n == 1 ? names[0] : NULL) :
		text_near(slash ? slash + 1 : file, (const char *const *)names, n);
	if (near)
		err_hint(e, "did you mean %s%s%s?", copy, folder && !text_glob("*/", copy) ? "/" :
			 "", near);
	else
		err_hint(e, "a plan is a YAML file that begins with plan: NAME");
	while (n > 0)
		free(names[--n]);
}

int cli_load_plan(struct cli *c, const char *file)
{
	struct plan_options o = { .check_hook = hook_compile };
	struct err_list errors = {0};
	int status = 0;

	c->plan = plan_load_with(file, &o, &errors);
	if (!c->plan) {
		cli_hint_plan(&errors, file);
		status = cli_errors(c, &errors);
	}
	err_list_free(&errors);
	if (status == 0)
		plan_secrets_hide(c->plan);
	if (status == 0 && c->opt[OPT_STATE]) {
		const char *const words[] = { file, "--state", c->opt[OPT_STATE], NULL };
		AUTO_FREE char *typed = proc_argv_text(words);

		c->plan->typed = arena_strdup(c->plan->arena, typed);
	}
	return status ? status : check_selector(c);
}

int cli_build_graph(struct cli *c)
{
	struct err_list errors = {0};
	int status = 0;

	c->graph = graph_build(c->plan, &errors);
	if (!c->graph)
		status = cli_errors(c, &errors);
	err_list_free(&errors);
	return status;
}

char *cli_state_dir(const struct cli *c)
{
	if (c->opt[OPT_STATE])
		return mem_strdup(c->opt[OPT_STATE]);
	return mem_printf("%s/.drover", c->plan->dir && *c->plan->dir ? c->plan->dir : ".");
}

int cli_open_state(struct cli *c, enum state_mode mode)
{
	AUTO_FREE char *dir = cli_state_dir(c);
	AUTO_ERR e = {0};

	if (!c->loop)
		c->loop = loop_new(&clock_real);
	c->state = state_open_as(dir, c->plan->name, mode, c->lineage, c->loop, &e);
	return c->state ? 0 : cli_fail(c, &e);
}

static void tell_nothing(struct cli *c, const char *dir)
{
	json_t *o;

	if (c->json) {
		o = json_object();
		jset_str(o, "plan", c->plan->name);
		jset_str(o, "dir", dir);
		cli_json(c, "empty", o);
		return;
	}
	cli_say(c, 2, "Nothing is recorded of plan '%s': no run of it has begun (state %s).",
		c->plan->name, dir);
	fprintf(c->out, "Every source serves as before.\n");
	fprintf(c->out, "Next: drover preview %s\n", c->plan->typed);
}

bool cli_nothing_recorded(struct cli *c, int *status)
{
	AUTO_FREE char *dir = cli_state_dir(c);
	bool empty;

	*status = cli_open_state(c, STATE_READ);
	if (*status)
		return true;
	empty = state_is_empty(c->state);
	if (empty)
		tell_nothing(c, dir);
	state_close(c->state, NULL);
	c->state = NULL;
	return empty;
}

int cli_admits(struct cli *c, const struct run_options *o)
{
	AUTO_FREE char *dir = cli_state_dir(c), *holder = state_holder(dir);
	struct run_options mine = *o;
	AUTO_ERR e = {0};
	int status = c->graph ? 0 : cli_build_graph(c);

	if (status || (holder && !state_offered(dir)))
		return status;	/* another run is at it: who takes the state says so */
	if ((status = cli_open_state(c, STATE_READ)))
		return status;
	if (state_is_empty(c->state))	/* not made yet: its lineage will be the preview's */
		mine.saved = NULL;
	if (run_admits(c->plan, c->graph, c->state, c->loop, &mine, &e) < 0)
		status = cli_fail(c, &e);
	state_close(c->state, NULL);
	c->state = NULL;
	return status;
}

int cli_phase(const struct cli *c, enum opt o)
{
	return c->opt[o] ? phase_of(c->opt[o]) : -1;
}

bool cli_wants(const struct cli *c, uint32_t machine)
{
	return !c->opt[OPT_MACHINE] ||
	       plan_machine_matches(c->plan, machine, c->opt[OPT_MACHINE]);
}

/* ---- questions ----------------------------------------------------------- */

/* Ask, read one line. The line without its newline, or NULL at end of file. */
static char *ask_line(struct cli *c, const char *question, const char *word)
{
	AUTO_FREE char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	fputc('\n', c->out);
	cli_say(c, 0, "%s", question);
	fprintf(c->out, "  only '%s' is accepted: ", word);
	fflush(c->out);
	n = getline(&line, &cap, c->in);
	if (n < 0) {
		fputc('\n', c->out);	/* the end of the input has not moved the cursor */
		return NULL;
	}
	while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
		line[--n] = '\0';
	return mem_strdup(line);
}

static int refused(struct cli *c)
{
	AUTO_ERR e = {0};

	err_set(&e, ERR_WAITING, "not confirmed; nothing was done");
	return cli_fail(c, &e);
}

static int ask_word(struct cli *c, const char *question, const char *word)
{
	AUTO_FREE char *line = ask_line(c, question, word);

	return line && strcmp(line, word) == 0 ? 0 : refused(c);
}

static int nobody(struct cli *c, const char *question, const char *flag,
		  const char *value)
{
	AUTO_ERR e = {0};

	err_set(&e, ERR_WAITING, "nobody is at a terminal to confirm: %s", question);
	err_hint(&e, "give %s%s%s to say yes beforehand", flag, value ? " " : "",
		 value ? value : "");
	return cli_fail(c, &e);
}

int cli_confirm(struct cli *c, const char *fmt, ...)
{
	AUTO_FREE char *question = NULL;
	va_list ap;

	if (c->opt[OPT_YES])
		return 0;
	va_start(ap, fmt);
	question = mem_vprintf(fmt, ap);
	va_end(ap);
	if (!c->tty_in || c->json)
		return nobody(c, question, "-y", NULL);
	return ask_word(c, question, "yes");
}

int cli_confirm_word(struct cli *c, const char *word, const char *fmt, ...)
{
	const char *given = c->opt[OPT_CONFIRM];
	AUTO_FREE char *question = NULL;
	AUTO_ERR e = {0};
	va_list ap;

	if (given && strcmp(given, word) == 0)
		return 0;
	if (given) {
		err_set(&e, ERR_USAGE, "--confirm '%s' is not '%s'; nothing was done",
			given, word);
		err_hint(&e, "give --confirm %s", word);
		return cli_fail(c, &e);
	}
	va_start(ap, fmt);
	question = mem_vprintf(fmt, ap);
	va_end(ap);
	if (!c->tty_in || c->json)
		return nobody(c, question, "--confirm", word);
	return ask_word(c, question, word);
}
