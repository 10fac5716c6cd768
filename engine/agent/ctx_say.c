/* SPDX-License-Identifier: Apache-2.0
 * ctx - what a call says: failures, progress, changes, findings, facts.
 */
#include "engine/agent/ctx.h"

#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "engine/wire/frame.h"
#include "modules/lib/tools.h"

#include <errno.h>
#include <string.h>

#define PROGRESS_EVERY_MS 250

/* A JSON string of at most CTX_TEXT_MAX bytes. */
static json_t *text_of(const char *fmt, va_list ap)
{
	AUTO_FREE char *s = mem_vprintf(fmt, ap);
	size_t n = strlen(s);

	return jtext(s, n < CTX_TEXT_MAX ? n : CTX_TEXT_MAX);
}

/* Send an event that wants no answer; steals. A broken pipe is seen later. */
static void send_event(struct ctx *c, json_t *event)
{
	if (!c->gone &&
	    frame_write_fd(c->fd, FRAME_EVENT, c->step, event, NULL) < 0)
		c->gone = true;
	json_decref(event);
}

/* ---- failures ------------------------------------------------------------- */

int ctx_set_failure(struct ctx *c, const char *kind, int sys, const char *text)
{
	if (c->text)
		return -1;
	c->kind = mem_strdup(kind);
	c->text = mem_strdup(text);
	c->sys = sys;
	return -1;
}

int ctx_fail(struct ctx *c, const char *fmt, ...)
{
	AUTO_FREE char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = mem_vprintf(fmt, ap);
	va_end(ap);
	return ctx_set_failure(c, "failed", 0, text);
}

int ctx_fail_sys(struct ctx *c, const char *fmt, ...)
{
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *whole = NULL;
	int sys = errno;
	va_list ap;

	va_start(ap, fmt);
	text = mem_vprintf(fmt, ap);
	va_end(ap);
	whole = mem_printf("%s: %s", text, strerror(sys));
	ctx_set_failure(c, "failed", sys, whole);
	errno = sys;
	return -1;
}

static int fail_as(struct ctx *c, const char *kind, struct err *e)
{
	bool first = !c->text;

	ctx_set_failure(c, kind, e->sys, e->what ? e->what : "failed for no given reason");
	if (first && e->hint)
		ctx_hint(c, "%s", e->hint);
	err_clear(e);
	return -1;
}

int ctx_fail_err(struct ctx *c, struct err *e)
{
	return fail_as(c, e->kind == ERR_WAITING ? "waiting" : e->kind != ERR_STOPPED ? "failed" :
		       e->sys == EPIPE ? "broken" : "cancelled", e);
}

int ctx_fail_damaged(struct ctx *c, struct err *e)
{
	return fail_as(c, "damaged", e);
}

void ctx_hint(struct ctx *c, const char *fmt, ...)
{
	va_list ap;

	free(c->hint);
	va_start(ap, fmt);
	c->hint = mem_vprintf(fmt, ap);
	va_end(ap);
}

int ctx_need_tool(struct ctx *c, const char *tool)
{
	const char *package = tool_package(tool);

	ctx_fail(c, "cannot run '%s': it is not installed here", tool);
	if (package)
		ctx_hint(c, "install the package %s: apt-get install %s", package,
			 package);
	return -1;
}

/* ---- while it runs ---------------------------------------------------------- */

void ctx_flow(struct ctx *c, const struct ctx_flow *f)
{
	c->flow = *f;
	c->flows = true;
}

static void add_flow(json_t *event, const struct ctx_flow *f)
{
	json_t *part;

	jset_int(event, "sent", (int64_t)f->sent);
	jset_int(event, "read", (int64_t)f->read);
	if (f->pass)
		jset_int(event, "pass", f->pass);
	if (f->total == 0)
		return;
	part = json_object();
	jset_int(part, "done", (int64_t)f->done);
	jset_int(part, "total", (int64_t)f->total);
	jset(event, "part", part);
}

void ctx_progress(struct ctx *c, uint64_t done, uint64_t total,
		  const char *unit, const char *what)
{
	uint64_t now = clock_real.mono_ms(clock_real.arg);
	json_t *event;

	if (c->progress_at && now - c->progress_at < PROGRESS_EVERY_MS &&
	    (total == 0 || done != total))
		return;
	c->progress_at = now;
	event = json_object();
	jset_str(event, "e", "progress");
	jset_int(event, "done", (int64_t)done);
	jset_int(event, "total", (int64_t)total);
	jset_str(event, "unit", unit ? unit : "");
	jset_str(event, "what", what ? what : "");
	if (c->flows)
		add_flow(event, &c->flow);
	c->flows = false;
	send_event(c, event);
}

void ctx_log(struct ctx *c, const char *fmt, ...)
{
	json_t *event = json_object();
	va_list ap;

	jset_str(event, "e", "log");
	va_start(ap, fmt);
	jset(event, "text", text_of(fmt, ap));
	va_end(ap);
	send_event(c, event);
}

void ctx_evidence(struct ctx *c, const char *name, const void *p, size_t n)
{
	json_t *event = json_object();
	const char *s = p;

	if (n > CTX_EVIDENCE_MAX) {
		s += n - CTX_EVIDENCE_MAX;
		n = CTX_EVIDENCE_MAX;
	}
	jset_str(event, "e", "evidence");
	jset_str(event, "name", name);
	jset(event, "text", jtext(s, n));
	send_event(c, event);
}

/* ---- gathered into the result --------------------------------------------- */

static json_t *add_change(struct ctx *c, char mark)
{
	json_t *change = json_object();

	jset(change, "mark", json_stringn(&mark, 1));
	jadd(c->changes, change);
	return change;
}

void ctx_change(struct ctx *c, char mark, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	jset(add_change(c, mark), "text", text_of(fmt, ap));
	va_end(ap);
}

void ctx_unknown(struct ctx *c, const char *what, uint64_t max, const char *fmt, ...)
{
	json_t *change = add_change(c, '?'), *bound = json_object();
	va_list ap;

	va_start(ap, fmt);
	jset(change, "text", text_of(fmt, ap));
	va_end(ap);
	jset_str(bound, "what", what);
	jset_int(bound, "max", (int64_t)max);
	jset(change, "bound", bound);
}

static void count_lines(const char *diff, unsigned *plus, unsigned *minus)
{
	*plus = *minus = 0;
	for (const char *p = diff; p && *p; p = strchr(p, '\n')) {
		if (*p == '\n' && !*++p)
			return;
		if (*p == '+' && strncmp(p, "+++ ", 4) != 0)
			++*plus;
		if (*p == '-' && strncmp(p, "--- ", 4) != 0)
			++*minus;
		if (*p == '\n')
			p--;
	}
}

void ctx_change_text(struct ctx *c, const char *path, const char *before,
		     const char *after)
{
	const char *a = before ? before : "", *b = after ? after : "";
	AUTO_FREE char *diff = text_diff(before ? path : "/dev/null",
					 after ? path : "/dev/null", a,
					 strlen(a), b, strlen(b));
	json_t *change = add_change(c, !before ? '+' : !after ? '-' : '~');
	unsigned plus, minus;

	count_lines(diff, &plus, &minus);
	jset_strf(change, "text", "%s +%u -%u", path, plus, minus);
	jset(change, "path", jtext(path, strlen(path)));
	jset(change, "diff", jtext(diff, strlen(diff)));
}

void ctx_cost(struct ctx *c, uint64_t read, uint64_t send, uint64_t write,
	      uint64_t ms)
{
	c->cost[0] += read;
	c->cost[1] += send;
	c->cost[2] += write;
	c->cost[3] += ms;
	c->costed = true;
}

/* Steals text. */
static json_t *add_finding(struct ctx *c, const char *severity, const char *code,
			   const char *remedy, json_t *text)
{
	json_t *finding = json_object();

	jset_str(finding, "severity", severity);
	jset_str(finding, "code", code);
	jset(finding, "text", text);
	jset_str(finding, "remedy", remedy);
	jadd(c->findings, finding);
	return finding;
}

void ctx_finding(struct ctx *c, const char *severity, const char *code,
		 const char *remedy, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_finding(c, severity, code, remedy, text_of(fmt, ap));
	va_end(ap);
}

void ctx_finding_now(struct ctx *c, const char *severity, const char *code,
		     const char *remedy, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	jset_bool(add_finding(c, severity, code, remedy, text_of(fmt, ap)), "now", true);
	va_end(ap);
}

void ctx_finding_unlike(struct ctx *c, const char *key, const char *text)
{
	json_t *last = json_array_get(c->findings, json_array_size(c->findings) - 1);

	jset(last, "unlike", json_pack("{s:s, s:s}", "key", key, "text", text));
}

void ctx_set_fact(struct ctx *c, const char *name, json_t *stable,
		  json_t *volatile_part)
{
	json_t *fact = json_object();

	jset(fact, "stable", stable ? stable : json_object());
	jset(fact, "volatile", volatile_part ? volatile_part : json_object());
	jset(c->facts, name, fact);
}

void ctx_stable(struct ctx *c, const char *key, json_t *value)
{
	jset(c->stable, key, value);
}

void ctx_volatile(struct ctx *c, const char *key, json_t *value)
{
	jset(c->volatile_part, key, value);
}

/* ---- the result ------------------------------------------------------------- */

static json_t *error_of(const char *kind, const char *text, const char *hint,
			int sys)
{
	json_t *error = json_object();

	jset_str(error, "kind", kind);
	jset(error, "text", jtext(text, strlen(text)));
	if (hint)
		jset(error, "hint", jtext(hint, strlen(hint)));
	jset_int(error, "errno", sys);
	return error;
}

json_t *ctx_result_error(const char *kind, const char *text, const char *hint)
{
	json_t *result = json_object();

	jset_bool(result, "ok", false);
	jset(result, "error", error_of(kind, text, hint, 0));
	return result;
}

static json_t *cost_of(const struct ctx *c)
{
	static const char *const keys[] = { "read", "send", "write", "ms" };
	json_t *cost = json_object();

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		jset_int(cost, keys[i], (int64_t)c->cost[i]);
	return cost;
}

#define GOES_ON "the same command then goes on where it stopped"

/* What to do about what the system said, where nobody knows better. */
static const char *hint_of(int sys)
{
	static const struct { int sys; const char *hint; } hints[] = {
		{ ENOSPC, "free space there; " GOES_ON },
		{ EDQUOT, "free space there, or raise the quota; " GOES_ON },
		{ EIO, "have the storage there looked at, its host's kernel log says more; " GOES_ON },
		{ EROFS, "make it writable there; its host's kernel log says more where an error made "
			 "it read-only; " GOES_ON },
		{ EISDIR, "a directory stands where a file was: move it away; " GOES_ON },
		{ ENOTDIR, "a file stands where a directory was: move it away; " GOES_ON },
		{ ELOOP, "a link there leads to itself: take it away; " GOES_ON },
		{ ECONNRESET, "its host's kernel log says whether it was out of memory; " GOES_ON },
	};

	for (size_t i = 0; i < ARRAY_LEN(hints); i++)
		if (hints[i].sys == sys)
			return hints[i].hint;
	return NULL;
}

json_t *ctx_result(const struct ctx *c, bool ok, const char *state)
{
	json_t *result = json_object();

	jset_bool(result, "ok", ok);
	if (state)
		jset_str(result, "state", state);
	jset(result, "changes", json_incref(c->changes));
	if (c->costed)
		jset(result, "cost", cost_of(c));
	jset(result, "stable", json_incref(c->stable));
	jset(result, "volatile", json_incref(c->volatile_part));
	jset(result, "findings", json_incref(c->findings));
	jset(result, "facts", json_incref(c->facts));
	if (!ok)
		jset(result, "error",
		     error_of(c->kind ? c->kind : "failed",
			      c->text ? c->text : "failed for no given reason",
			      c->hint ? c->hint : hint_of(c->sys), c->sys));
	return result;
}
