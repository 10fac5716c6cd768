/* SPDX-License-Identifier: Apache-2.0
 * report - one run and what is seen of it.
 */
#include "engine/cli/report.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/cli/screen.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TICK_MS 200

struct question {
	char *text;			/* owned */
	void (*answered)(void *who, int answer);
	void *who;
	struct question *next;
};

struct session {
	struct cli *c;
	struct screen *screen;		/* NULL with --json */
	struct loop_timer *tick;	/* NULL: no live region */
	struct question *questions;	/* the first one is on the screen */
	struct loop_fd *typing;		/* while there is a question */
	json_t *told;			/* the errors of steps that the screen showed */
};

static bool is_preview(enum run_kind k)
{
	return k == RUN_PREVIEW || k == RUN_CUTOVER_PREVIEW || k == RUN_ROLLBACK_PREVIEW;
}

/* What was saved is what is run next. */
static void name_saved(const struct cli *c, json_t *end)
{
	const char *next = jstr(end, "next", "");
	const char *verb = strncmp(next, "drover run ", 11) == 0 ? "run" :
		strncmp(next, "drover cutover ", 15) == 0 ? "cutover" : NULL;
	AUTO_FREE char *saved = NULL;

	if (!c->opt[OPT_OUTPUT] || !verb || jint(end, "status", 0) != 0)
		return;
	saved = mem_printf("drover %s %s", verb, c->opt[OPT_OUTPUT]);
	jset_str(end, "next", saved);
}

static void on_report(void *arg, const json_t *event)
{
	struct session *s = arg;

	if (strcmp(jstr(event, "t", ""), "end") == 0) {
		json_decref(s->c->end);
		s->c->end = json_deep_copy(event);
		name_saved(s->c, s->c->end);
		event = s->c->end;
	}
	if (s->screen) {
		if (jstr(event, "error", NULL))
			jset_bool(s->told, jstr(event, "error", ""), true);
		screen_event(s->screen, event);
		return;
	}
	json_dumpf(event, s->c->out, JSON_COMPACT);
	fputc('\n', s->c->out);
	fflush(s->c->out);
}

static void on_tick(void *arg)
{
	struct session *s = arg;

	if (!s->questions)
		screen_tick(s->screen);
	s->tick = loop_timer_add(s->c->loop, TICK_MS, on_tick, s);
}

/* ---- questions that no program can answer; -y does not either ------------- */

static void show_question(struct session *s)
{
	screen_hide(s->screen);
	fputc('\n', s->c->out);
	cli_say(s->c, 0, "%s", s->questions->text);
	fputs("  only 'yes' is accepted: ", s->c->out);
	fflush(s->c->out);
}

/* A line was typed, or the terminal is gone. */
static void on_typed(void *arg, short revents)
{
	struct session *s = arg;
	struct question *q = s->questions;
	char line[256];
	ssize_t n = read(fileno(s->c->in), line, sizeof(line) - 1);

	(void)revents;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	line[n > 0 ? n : 0] = '\0';
	s->questions = q->next;
	if (s->questions) {
		show_question(s);
	} else {
		loop_fd_del(s->typing);
		s->typing = NULL;
	}
	q->answered(q->who, n <= 0 ? -1 : strcmp(line, "yes\n") == 0);
	free(q->text);
	free(q);
}

static void say_nobody(void *arg)
{
	struct question *q = arg;

	q->answered(q->who, -1);
	free(q->text);
	free(q);
}

static void on_ask(void *arg, const char *text, void (*answered)(void *who, int answer),
		   void *who)
{
	struct session *s = arg;
	struct question *q = mem_alloc(sizeof(*q)), **at = &s->questions;

	*q = (struct question){ mem_strdup(text), answered, who, NULL };
	if (!s->c->tty_in || !s->screen) {
		loop_post(s->c->loop, say_nobody, q);
		return;
	}
	while (*at)
		at = &(*at)->next;
	*at = q;
	if (q != s->questions)
		return;		/* one after the other */
	show_question(s);
	s->typing = loop_fd_add(s->c->loop, fileno(s->c->in), POLLIN, on_typed, s);
}

static int width_of(void *arg)
{
	return cli_width(arg);
}

/* "db1 -> kvm1" above a machine's steps, and who serves. */
static void add_titles(struct cli *c, struct screen *screen)
{
	const json_t *machines = jget(state_meta(c->state), "machines");

	for (uint32_t i = 0; i < c->plan->machine_count; i++) {
		const struct plan_machine *m = &c->plan->machines[i];
		AUTO_FREE char *title = NULL;

		if (!cli_wants(c, i) || m->source_host >= c->plan->host_count ||
		    m->target_host >= c->plan->host_count)
			continue;
		title = mem_printf("%s -> %s", c->plan->hosts[m->source_host].name,
				   c->plan->hosts[m->target_host].name);
		screen_machine(screen, m->name, title,
			       jstr(json_object_get(machines, m->name), "serves", "source"));
	}
}

static void session_begin(struct session *s, struct cli *c, enum run_kind kind)
{
	struct screen_options so = {
		.out = c->out, .live = c->tty_out && !is_preview(kind), .color = c->color,
		.diff = c->opt[OPT_DIFF] != NULL, .verbose = c->verbose,
		.clock = &clock_real, .width = width_of, .arg = c,
	};

	s->c = c;
	if (c->json)
		return;
	s->screen = screen_new(&so);
	s->told = json_object();
	add_titles(c, s->screen);
	if (so.live)
		s->tick = loop_timer_add(c->loop, TICK_MS, on_tick, s);
}

static void session_end(struct session *s)
{
	loop_timer_del(s->tick);
	loop_fd_del(s->typing);
	for (struct question *q = s->questions, *next; q; q = next) {
		next = q->next;
		free(q->text);
		free(q);
	}
	screen_free(s->screen);
	s->screen = NULL;
}

static bool same_file(FILE *a, FILE *b)
{
	struct stat sa, sb;

	return fstat(fileno(a), &sa) == 0 && fstat(fileno(b), &sb) == 0 &&
	       sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* The screen has told the error of a step, with its place. It is told again only where
 * standard error goes elsewhere: whoever keeps just that must find the reason there. */
static void tell_error(struct session *s, struct err *e)
{
	if (!err_is(e) || (json_object_get(s->told, e->what) &&
			   same_file(s->c->out, s->c->err)))
		return;
	cli_fail(s->c, e);
}

/* What recovery found when the state was opened. */
static void tell_notice(struct session *s)
{
	AUTO_JSON *ev = json_object();
	const char *text = state_notice(s->c->state);

	if (!text)
		return;
	if (!s->screen) {
		jset_str(ev, "text", text);
		cli_json(s->c, "log", json_incref(ev));
		return;
	}
	cli_say(s->c, 6, "note: %s", text);
}

/* ---- signals ------------------------------------------------------------- */

static void on_signal(int sig)
{
	(void)sig;
	run_interrupt();
}

static void catch_signals(struct sigaction old[2])
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, &old[0]);
	sigaction(SIGTERM, &sa, &old[1]);
}

static void leave_signals(const struct sigaction old[2])
{
	sigaction(SIGINT, &old[0], NULL);
	sigaction(SIGTERM, &old[1], NULL);
}

int cli_run(struct cli *c, struct run_options *o, json_t **preview_out)
{
	struct session s = {0};
	struct sigaction old[2];
	struct run_seams seams = { .make_host = c->make_host, .ask_later = on_ask,
				   .report = on_report, .arg = &s };
	AUTO_ERR e = {0};
	int status;

	if (!c->graph && (status = cli_build_graph(c)))
		return status;
	if (!c->state &&
	    (status = cli_open_state(c, is_preview(o->kind) ? STATE_READ : STATE_WRITE)))
		return status;
	if (!o->selector)
		o->selector = c->opt[OPT_MACHINE];
	if (o->only < 0)
		o->only = cli_phase(c, OPT_ONLY);
	if (o->until < 0)
		o->until = cli_phase(c, OPT_UNTIL);
	seams.loop = c->loop;
	session_begin(&s, c, o->kind);
	tell_notice(&s);
	catch_signals(old);
	status = run_plan(c->plan, c->graph, c->state, &seams, o, preview_out, &e);
	leave_signals(old);
	session_end(&s);
	tell_error(&s, &e);
	json_decref(s.told);
	return status;
}
