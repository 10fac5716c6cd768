/* SPDX-License-Identifier: Apache-2.0
 * night_try - see night.h: one attempt at a command, and what befalls it.
 */
#include "tests/unit/night.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/modtest.h"
#include "tests/unit/strike.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HANG_S 300

/* ---- bytes ------------------------------------------------------------------------------- */

uint8_t *night_copy(const uint8_t *p, uint64_t size)
{
	uint8_t *out = mem_alloc(size);

	memcpy(out, p, size);
	return out;
}

void night_take(uint8_t **to, const uint8_t *p, uint64_t size)
{
	free(*to);
	*to = p ? night_copy(p, size) : NULL;
}

void night_see(struct night *n, uint8_t **to)
{
	free(*to);
	*to = night_seen(n);
}

/* ---- what lies between the ends -------------------------------------------------------------- */

static void kill_some(struct night *n, const pid_t pid[2])
{
	int sig = n->mishap == STOP ? SIGTERM : SIGKILL;

	if (n->mishap != KILL_TARGET)
		kill(pid[0], sig);
	if (n->mishap != KILL_SOURCE)
		kill(pid[1], sig);
}

/* One child of an end that has any. */
static bool kill_server(struct night *n, const pid_t pid[2])
{
	for (unsigned i = 0, first = (unsigned)night_dice(n, 2); i < 2; i++) {
		int end = (int)pid[(first + i) % 2];
		AUTO_FREE char *path = mem_printf("/proc/%d/task/%d/children", end, end);
		AUTO_FREE char *list = io_read_file(AT_FDCWD, path, 4096, NULL);
		int child = list ? atoi(list) : 0;

		if (child > 0)
			return kill(child, SIGKILL) == 0;
	}
	return false;
}

/* It comes about, with these bytes on their way. False: they do not arrive. */
static bool befall(struct night *n, const pid_t pid[2], char *byte)
{
	n->came = true;
	switch (n->mishap) {
	case CUT:
		return false;
	case FLIP:
		*byte ^= 0x10;
		return true;
	case SCRIBBLE:	/* an image that is read is locked */
		if (strcmp(n->from, "raw") == 0)
			night_scribble(n);
		return true;
	case KILL_SERVER:
		n->came = kill_server(n, pid);
		return true;
	case BETWEEN:
		return true;
	default:
		kill_some(n, pid);
		return true;
	}
}

struct between { struct night *n; uint64_t seen; };

/* Pass on what came from this end; false: it is over. */
static bool pass_on(struct between *b, int from, int to, bool counts, const pid_t pid[2])
{
	struct night *n = b->n;
	char buf[8192];
	ssize_t got = read(from, buf, sizeof(buf));

	if (got <= 0)
		return false;
	if (counts && !n->came && b->seen + (size_t)got > n->after &&
	    !befall(n, pid, buf + (n->after - b->seen)))
		return false;
	b->seen += counts ? (size_t)got : 0;
	return send(to, buf, (size_t)got, MSG_NOSIGNAL) == got;
}

static void between(void *arg, int fd[2], const pid_t pid[2])
{
	struct between b = { .n = arg };
	bool goes = true;

	while (goes) {
		struct pollfd p[2] = { { fd[0], POLLIN, 0 }, { fd[1], POLLIN, 0 } };

		if (poll(p, 2, -1) < 0)
			continue;
		for (int i = 0; i < 2 && goes; i++)
			if (p[i].revents)
				goes = pass_on(&b, fd[i], fd[!i], b.n->back == (i == 1), pid);
	}
	close(fd[0]);
	close(fd[1]);
}

/* ---- one attempt --------------------------------------------------------------------------- */

static const char *const mishap_names[MISHAPS] = { "", "through another's hands", "cut off",
	"a flipped bit", "its source killed", "its target killed", "both killed", "stopped", "a server of its killed",
	"the source written to", "unheard", "killed at a change", "EIO at a change", "ENOSPC at a change" };

static const struct night_row rows[] = {
	{ "convert.disks", "disks", true, true },
	{ "call.sync", "sync", true, true },
	{ "cutover.pass", "pass", true, true },
	{ "convert.seed", NULL, true, false },
	{ "backup.image", NULL, true, false },
	{ "validate.disks", "proof", false, false },
	{ "cutover.proof", "final", false, false },
	{ "call.backups", NULL, false, false },
	{ NULL, NULL, false, false },
};

const struct night_row *night_row(const char *module)
{
	const struct night_row *row = rows;

	while (row->module && strcmp(row->module, module) != 0)
		row++;
	return row;
}

static bool strikes(enum mishap m)
{
	return m >= STRIKE_KILL;
}

static void arm(struct night *n, enum mishap m)
{
	n->mishap = m;
	n->came = false;
	n->back = m && night_dice(n, 4) == 0;
	n->after = night_dice(n, 1ull << (strikes(m) ? night_dice(n, 7) : 5 + night_dice(n, 19)));
	n->strike->error = m == STRIKE_EIO ? EIO : m == STRIKE_ENOSPC ? ENOSPC : 0;
	n->strike->left = strikes(m) ? (int)n->after : -1;
	alarm(HANG_S);
}

static void disarm(struct night *n)
{
	alarm(0);
	n->came = n->came || (strikes(n->mishap) && n->strike->left < 0);
	n->strike->left = -1;
}

/* Neither says why, of itself. */
static bool is_vague(const json_t *out)
{
	const char *kind = jstr(out, "error.kind", "");

	return !strcmp(kind, "broken") || !strcmp(kind, "cancelled");
}

void night_note_end(struct night *n, const json_t *source, const json_t *target)
{
	const json_t *bad = target && !jbool(target, "ok", false) ? target : NULL;

	if (source && !jbool(source, "ok", false) && (!bad || is_vague(bad)))
		bad = source;
	snprintf(n->kind, sizeof(n->kind), "%s", jstr(bad, "error.kind", ""));
	snprintf(n->said, sizeof(n->said), "%s", jstr(bad, "error.text", bad ? "?" : ""));
	snprintf(n->hint, sizeof(n->hint), "%s", jstr(bad, "error.hint", ""));
}

static void note_tracker(struct night *n, const json_t *events)
{
	json_t *e;
	size_t i;

	json_array_foreach(events, i, e) {
		if (strcmp(jstr(e, "kind", ""), "tracker") || strcmp(jstr(e, "op", ""), "add"))
			continue;
		free(n->tracker);
		n->tracker = mem_strdup(jstr(e, "name", ""));
	}
}

static bool between_them(enum mishap m)
{
	return m != NOTHING && m != UNHEARD && !strikes(m);
}

/* Who asked was killed meanwhile. */
static bool heard(struct night *n)
{
	if (*n->said || n->mishap != UNHEARD)
		return !*n->said;
	n->came = true;
	strcpy(n->kind, "broken");
	strcpy(n->said, "it ended well, and nobody heard");
	return false;
}

static bool call_both(struct night *n, const char *module, const char *op)
{
	struct modtest_end end[2] = { { .module = module, .in = cv_input(n->r, "source"), .op = op },
				      { .module = module, .in = cv_input(n->r, "target"), .op = op } };
	bool ok;

	if (between_them(n->mishap))
		modtest_both_through(end, between, n);
	else
		modtest_both(end);
	disarm(n);
	night_note_end(n, end[0].out, end[1].out);
	ok = heard(n);
	note_tracker(n, end[0].events);
	for (int i = 0; i < 2; i++) {
		modtest_keep(end[i].in, end[i].events);
		if (ok)
			cv_take_facts(n->r, end[i].out);
		json_decref(end[i].in);
		json_decref(end[i].out);
		json_decref(end[i].events);
	}
	return ok;
}

/* What was kept goes with a result that is recorded. */
void night_forget_proven(struct night *n)
{
	const char *name;
	json_t *one;
	void *next;

	json_object_foreach_safe(n->r->kept, next, name, one)
		if (strncmp(name, "proven.", 7) == 0)
			json_object_del(n->r->kept, name);
}

static bool call_target(struct night *n, const char *module, const char *op)
{
	AUTO_JSON *in = cv_input(n->r, "target"), *events = NULL;
	AUTO_JSON *out = modtest_call(module, op, in, &events);

	disarm(n);
	night_note_end(n, NULL, out);
	modtest_keep(in, events);	/* the rig's own */
	if (!heard(n))
		return false;
	cv_take_facts(n->r, out);
	night_forget_proven(n);
	return true;
}

/* A message is one: no crash, and it says what to do, unless it was cut off. */
void night_assert_said(struct night *n)
{
	bool killed = strstr(n->said, "was ended by signal 9") ||
		(n->mishap == STOP && strstr(n->said, "was ended by signal 15"));
	bool vague = !strcmp(n->kind, "broken") || !strcmp(n->kind, "cancelled");
	bool stopped = n->mishap == STOP || (n->mishap >= KILL_SOURCE && n->mishap <= KILL_BOTH);

	if (!*n->said)
		return;
	if ((strstr(n->said, "was ended by signal") || killed) &&
	    !(killed && n->came && (stopped || n->mishap == STRIKE_KILL)))
		night_broken(n, "it crashed");
	if (!*n->hint && !vague && !killed && n->mishap != FLIP)
		night_broken(n, "no hint");
}

bool night_try(struct night *n, const char *module, const char *op, enum mishap m)
{
	const struct night_row *row = night_row(module);
	bool ok;

	night_tell(n, "%s %s%s%s", module, op, m ? ", " : "", mishap_names[m]);
	n->commands++;
	if (row->pass) {
		n->chunk = n->chunk ? n->chunk : night_planned_chunk(n);
		night_see(n, &n->tried);
		night_other_tried(n);
		night_take(&n->was, NULL, 0);
		if (m == SCRIBBLE)
			night_see(n, &n->was);
	}
	arm(n, m);
	ok = row->both ? call_both(n, module, op) : call_target(n, module, op);
	if (row->pass)
		night_see(n, &n->then);
	if (m)
		night_tell(n, "  %s after %llu%s", n->came ? "came" : "did not come",
			   (unsigned long long)n->after, n->back ? " of the target's" : "");
	if (!ok)
		night_tell(n, "  %s: %s [%s]", n->kind, n->said, n->hint);
	night_assert_said(n);
	if (!ok && row->pass)
		n->odd |= ODD_CUT;
	return ok;
}
