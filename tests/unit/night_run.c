/* SPDX-License-Identifier: Apache-2.0
 * night_run - see night.h: commands, what befalls them, and what must be true of each.
 */
#include "tests/unit/night.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/modtest.h"
#include "tests/unit/strike.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HANG_S 300
#define STUCK_MS 2000
#define TRIES 8

/* ---- bytes ------------------------------------------------------------------------------- */

/* As docs/stream.md has it: leaves, nodes of 1024, the root. */
static void tree_of(const uint8_t *p, uint64_t size, uint32_t chunk, char hex[SHA256_HEX])
{
	uint64_t count = (size + chunk - 1) / chunk;
	AUTO_FREE uint8_t *level = mem_alloc((size_t)count * SHA256_LEN);
	struct sha256 *h = sha256_new();
	uint8_t root[SHA256_LEN];

	for (uint64_t i = 0; i < count; i++)
		sha256_of(p + i * chunk, size - i * chunk < chunk ? size - i * chunk : chunk,
			  level + i * SHA256_LEN);
	for (; count > 1; count = (count + 1023) / 1024)
		for (uint64_t i = 0; i < (count + 1023) / 1024; i++) {
			struct sha256 *node = sha256_new();
			uint64_t n = count - i * 1024 < 1024 ? count - i * 1024 : 1024;

			sha256_add(node, "\1", 1);
			sha256_add(node, level + i * 1024 * SHA256_LEN, n * SHA256_LEN);
			sha256_end(node, level + i * SHA256_LEN);
		}
	sha256_add(h, "\2", 1);
	for (int i = 0; i < 64; i += 8)
		sha256_add(h, &(uint8_t){ (uint8_t)(size >> i) }, 1);
	for (int i = 0; i < 32; i += 8)
		sha256_add(h, &(uint8_t){ (uint8_t)(chunk >> i) }, 1);
	sha256_add(h, level, SHA256_LEN);
	sha256_end(h, root);
	io_hex(root, SHA256_LEN, hex);
}

/* All of the target, as who starts it would see it. */
static uint8_t *target_bytes(struct night *n)
{
	AUTO_FREE char *raw = mem_printf("%s/seen.raw", n->r->dir);
	const char *argv[] = { "qemu-img", "convert", "-f", n->r->format, "-O", "raw", n->r->base,
		raw, NULL };
	bool plain = strcmp(n->r->format, "raw") == 0;
	size_t got = 0;
	char *p;

	if (!plain)
		cv_run_ok(argv);
	p = io_read_file(AT_FDCWD, n->to ? n->to_file : plain ? n->r->base : raw, 64 * MIB, &got);
	if (!p || got < n->size)
		night_broken(n, "the target has %zu bytes", got);
	for (size_t i = n->size; i < got; i++)
		if (p[i])
			night_broken(n, "byte %zu, behind the disk's end, is not zero", i);
	return (uint8_t *)p;
}

static uint8_t *copy_of(const uint8_t *p, uint64_t size)
{
	uint8_t *out = mem_alloc(size);

	memcpy(out, p, size);
	return out;
}

static void take(uint8_t **to, const uint8_t *p, uint64_t size)
{
	free(*to);
	*to = p ? copy_of(p, size) : NULL;
}

/* The source as it can be read. */
static void see(struct night *n, uint8_t **to)
{
	free(*to);
	*to = night_seen(n);
}

/* The first byte that is none of a's or of b's (NULL: of a's); the size: each is. */
static uint64_t other_byte(const struct night *n, const uint8_t *is, const uint8_t *a, const uint8_t *b)
{
	uint64_t i = 0;

	while (i < n->size && (is[i] == a[i] || (b && is[i] == b[i])))
		i++;
	return i;
}

static void assert_bytes(struct night *n, const uint8_t *is, const uint8_t *a, const uint8_t *b,
			 const char *what)
{
	uint64_t i = other_byte(n, is, a, b);

	if (i < n->size)
		night_broken(n, "%s, and byte %llu is %02x, not %02x", what, (unsigned long long)i,
			     is[i], a[i]);
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

		/* a length that was flipped has both wait for ever; no transport lets that happen */
		int moves = poll(p, 2, b.n->mishap == FLIP && b.n->came ? STUCK_MS : -1);

		if (moves < 0)
			continue;
		goes = moves > 0;
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
	"the source written to", "killed at a change", "EIO at a change", "ENOSPC at a change" };

static const struct { const char *module, *fact; bool both, pass; } modules[] = {
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

static unsigned row_of(const char *module)
{
	unsigned i = 0;

	while (modules[i].module && strcmp(modules[i].module, module) != 0)
		i++;
	return i;
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

static void note_end(struct night *n, const json_t *source, const json_t *target)
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

static bool call_both(struct night *n, const char *module, const char *op)
{
	struct modtest_end end[2] = { { .module = module, .in = cv_input(n->r, "source"), .op = op },
				      { .module = module, .in = cv_input(n->r, "target"), .op = op } };
	bool ok;

	if (n->mishap == NOTHING || strikes(n->mishap))
		modtest_both(end);
	else
		modtest_both_through(end, between, n);
	disarm(n);
	note_end(n, end[0].out, end[1].out);
	ok = !*n->said;
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

static bool call_target(struct night *n, const char *module, const char *op)
{
	AUTO_JSON *out = cv_at(n->r, "target", module, op);

	disarm(n);
	note_end(n, NULL, out);
	if (!*n->said)
		cv_take_facts(n->r, out);
	return !*n->said;
}

/* A message is one: no crash, and it says what to do, unless it was cut off. */
static void assert_said(struct night *n)
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
	unsigned row = row_of(module);
	bool ok;

	night_tell(n, "%s %s%s%s", module, op, m ? ", " : "", mishap_names[m]);
	n->commands++;
	if (modules[row].pass) {
		see(n, &n->tried);
		take(&n->was, NULL, 0);
		if (m == SCRIBBLE)
			see(n, &n->was);
	}
	arm(n, m);
	ok = modules[row].both ? call_both(n, module, op) : call_target(n, module, op);
	if (modules[row].pass)
		see(n, &n->then);
	if (m)
		night_tell(n, "  %s after %llu%s", n->came ? "came" : "did not come",
			   (unsigned long long)n->after, n->back ? " of the target's" : "");
	if (!ok)
		night_tell(n, "  %s: %s [%s]", n->kind, n->said, n->hint);
	assert_said(n);
	if (!ok && modules[row].pass)
		n->odd |= ODD_CUT;
	return ok;
}

/* ---- what a good end means ---------------------------------------------------------------------- */

static void assert_root(struct night *n, const char *fact, const uint8_t *p)
{
	AUTO_FREE char *key = mem_printf("%s.root.digest", fact);
	uint32_t chunk = (uint32_t)jint(n->r->args, "chunk", 0);
	char hex[SHA256_HEX];

	tree_of(p, n->size, chunk, hex);
	if (strcmp(hex, jstr(n->r->facts, key, "")) != 0)
		night_broken(n, "fact %s has digest %.12s, the disk %.12s", fact,
			     jstr(n->r->facts, key, "none"), hex);
}

static void pass_ended(struct night *n, const char *fact)
{
	AUTO_FREE uint8_t *is = NULL;

	if (n->odd & ODD_SIZE)
		night_broken(n, "it ended well with another size");
	n->odd &= ODD_TARGET;
	see(n, &n->sent);
	if (!n->odd) {
		is = target_bytes(n);
		night_blur(n, n->sent, is);
		assert_bytes(n, is, n->sent, n->was, "a pass ended well");
		take(&n->sent, is, n->size);
	}
	if (!n->odd || (!n->was && !night_blurs(n)))
		assert_root(n, fact, n->sent);
	if (!n->odd)
		take(&n->was, NULL, 0);
}

/* Of one that a kill kept from being told: it may be the one that was tried. */
static void proof_ended(struct night *n, const char *fact)
{
	AUTO_FREE uint8_t *is = NULL;

	if (strcmp(fact, "final") == 0 && (n->odd & ODD_TARGET))
		return;		/* what was proven before is not read again */
	is = target_bytes(n);
	night_blur(n, n->sent, is);
	if (n->tried)
		night_blur(n, n->tried, is);
	if ((n->odd & ODD_CUT) && n->tried && other_byte(n, is, n->tried, n->then) == n->size)
		take(&n->sent, is, n->size);
	assert_bytes(n, is, n->sent, n->was, "a proof ended well");
	take(&n->sent, is, n->size);
	assert_root(n, fact, n->sent);
	take(&n->was, NULL, 0);
	n->odd &= ODD_TRACKER;
}

static void ended(struct night *n, const char *module)
{
	unsigned row = row_of(module);

	if (modules[row].pass)
		pass_ended(n, modules[row].fact);
	else if (modules[row].fact)
		proof_ended(n, modules[row].fact);
}

/* ---- what hints say ------------------------------------------------------------------------------ */

static void forget(struct night *n)
{
	static const char *const facts[] = { "disks", "proof", "sync", "pass", "final", "warm",
		"stamp", "seed" };

	for (size_t i = 0; i < ARRAY_LEN(facts); i++)
		json_object_del(n->r->facts, facts[i]);
	json_object_clear(n->r->kept);
	take(&n->sent, NULL, 0);
	take(&n->tried, NULL, 0);
	take(&n->then, NULL, 0);
	take(&n->was, NULL, 0);
	n->odd = 0;
}

static void assert_no_trace(struct night *n)
{
	AUTO_FREE char *home = mem_printf("%s/erp", n->r->target);
	AUTO_FREE char *p = NULL;
	size_t got = 0;

	if (access(home, F_OK) == 0)
		night_broken(n, "an undo left '%s'", home);
	p = n->to ? io_read_file(AT_FDCWD, n->to_file, 64 * MIB, &got) : NULL;
	for (size_t i = 0; i < got; i++)
		if (p[i])
			night_broken(n, "an undo left byte %zu on the device", i);
}

void night_probe(struct night *n)
{
	AUTO_JSON *source = cv_at(n->r, "source", "convert.disks", "probe");
	AUTO_JSON *target = cv_at(n->r, "target", "convert.disks", "probe");
	const char *root = jstr(target, "facts.disks.stable.root.digest", NULL);
	unsigned pass = (unsigned)jint(target, "facts.disks.stable.root.pass", 0);
	char sent[SHA256_HEX] = "", tried[SHA256_HEX] = "";

	note_end(n, source, target);
	night_tell(n, "convert.disks probe: %s%s", jstr(target, "state", ""), n->said);
	if (*n->said && !n->odd)
		night_broken(n, "it ended badly for no reason");
	assert_said(n);
	if (!root || night_blurs(n) || (n->odd & ~(unsigned)(ODD_CUT | ODD_TRACKER)) ||
	    jint(n->r->facts, "disks.root.pass", 0) == (int64_t)pass)
		return;
	if (n->sent)
		tree_of(n->sent, n->size, (uint32_t)jint(n->r->args, "chunk", 0), sent);
	if (n->tried)
		tree_of(n->tried, n->size, (uint32_t)jint(n->r->args, "chunk", 0), tried);
	if (strcmp(root, sent) != 0 && strcmp(root, tried) != 0 && !n->was)
		night_broken(n, "its digest is neither pass's");
}

/* Both ends of an undo, each as often as it takes. */
void night_undo(struct night *n)
{
	static const enum mishap some[] = { NOTHING, NOTHING, STRIKE_KILL, STRIKE_EIO };
	enum mishap m = some[night_dice(n, 4)];

	if (!night_try(n, "convert.disks", "undo", m) && !n->came)
		night_broken(n, "an undo ended badly");
	if (*n->said && !night_try(n, "convert.disks", "undo", NOTHING))
		night_broken(n, "an undo cannot be repeated");
	assert_no_trace(n);
	forget(n);
}

/* The part that goes with the damaged: what an earlier step brought is sent again. */
static void mend(struct night *n, const char *by)
{
	uint8_t *before = n->sent ? copy_of(n->sent, n->size) : NULL;

	if (night_reads_badly(n))
		jset_str(n->r->args, "bad_sectors", "zero");
	if (!night_try(n, by, "mend", NOTHING))
		night_broken(n, "it cannot be mended");
	free(n->was);
	n->was = before;
	see(n, &n->sent);
	n->odd |= ODD_TRACKER;	/* of a source that serves it is a copy that nothing followed */
}

static void do_what_it_says(struct night *n, const char *module)
{
	AUTO_FREE char *map = mem_printf("remove it and the image beside it");

	if (!strcmp(n->kind, "damaged")) {
		mend(n, strcmp(module, "cutover.proof") ? "convert.disks" : "cutover.pass");
	} else if (strstr(n->hint, map)) {
		unlink(n->r->map);
		unlink(n->r->base);
		n->odd &= ~(unsigned)ODD_SIZE;
	} else if (strstr(n->hint, "say a larger size")) {
		json_object_del(jget(n->r->more, "disks.root"), "size");
	} else if (strstr(n->hint, "`bad_sectors: zero`")) {
		jset_str(n->r->args, "bad_sectors", "zero");
	} else if (strstr(n->hint, "replace: true")) {
		json_object_set_new(n->r->more, "replace", json_true());
	} else if (strstr(n->hint, "rollback")) {
		night_undo(n);
		night_must(n, "convert.disks");
	} else if (strstr(n->hint, "drover sync")) {
		night_must(n, "call.sync");
	} else {
		night_broken(n, "nothing can be done by that hint");
	}
}

/* Something is wrong that no pass makes good. */
static bool stands_in_the_way(const struct night *n)
{
	int64_t size = jint(n->r->more, "disks.root.size", 0);

	return (size > 0 && (uint64_t)size < n->size) || night_reads_badly(n);
}

/* True when it ended well, else it had a reason. */
static bool ends(struct night *n, const char *module, enum mishap m)
{
	/* the last pass of a cutover rather ends than read all */
	bool last = strcmp(module, "cutover.pass") == 0;
	bool excused = n->odd & ~(modules[row_of(module)].pass && !last ? (unsigned)ODD_CUT : 0) ||
		stands_in_the_way(n);
	bool ok = night_try(n, module, "apply", m);

	if (ok)
		ended(n, module);
	else if (!excused && !(n->came && m != BETWEEN))
		night_broken(n, "it ended badly for no reason");
	return ok;
}

void night_risk(struct night *n, const char *module, enum mishap m)
{
	ends(n, module, m);
}

void night_must(struct night *n, const char *module)
{
	for (int i = 0; i < TRIES; i++) {
		if (ends(n, module, NOTHING)) {
			json_object_del(n->r->more, "replace");
			return;
		}
		do_what_it_says(n, module);
	}
	night_broken(n, "it never ends well");
}

/* ---- backups ------------------------------------------------------------------------------------- */

/* A step of its own, with what it kept. */
static json_t *begin_step(struct night *n)
{
	json_t *kept = n->r->kept;

	n->r->kept = json_object();
	return kept;
}

static void end_step(struct night *n, json_t *kept)
{
	json_decref(n->r->kept);
	n->r->kept = kept;
}

void night_backup(struct night *n)
{
	static const enum mishap some[] = { NOTHING, NOTHING, CUT, FLIP, KILL_TARGET, KILL_SOURCE,
		STRIKE_KILL, STRIKE_EIO };
	json_t *kept = begin_step(n);
	AUTO_FREE char *name = mem_printf("20260101T000000Z-%u", n->commands);
	bool ok;

	if (night_reads_badly(n))
		jset_str(n->r->args, "bad_sectors", "zero");
	json_object_set_new(n->r->kept, "name", json_pack("{s:s}", "text", name));
	ok = night_try(n, "backup.image", "apply", some[night_dice(n, 8)]);

	if (!ok && !n->came)
		night_broken(n, "a backup ended badly");
	AUTO_JSON *there = cv_at(n->r, "target", "backup.image", "probe");
	cv_take_facts(n->r, there);	/* no step is run again that is not asked before */
	if (strcmp(jstr(there, "state", ""), "done") && !night_try(n, "backup.image", "apply", NOTHING))
		night_broken(n, "a backup does not go on");
	see(n, &n->saved);
	assert_root(n, "backup.disks", n->saved);
	AUTO_JSON *out = cv_at(n->r, "source", "backup.image", "probe");
	cv_take_facts(n->r, out);
	end_step(n, kept);
}

void night_restore(struct night *n)
{
	AUTO_FREE char *place = mem_printf("%s/backup", n->r->dir);
	AUTO_FREE char *to = mem_printf("%s/restored", n->r->dir), *p = NULL;
	json_t *args = n->r->args;
	bool ok;
	size_t got = 0;

	if (!n->saved)
		return;
	n->r->args = json_pack("{s:s,s:s,s:s,s:s,s:s}", "do", "restore", "place", place, "path",
			       jstr(n->r->facts, "backup.path", ""), "disk", "root", "to", to);
	ok = night_try(n, "call.backups", "apply", night_dice(n, 2) ? NOTHING : STRIKE_KILL);
	if (!ok && !n->came)
		night_broken(n, "a restore ended badly");
	if (!ok && access(to, F_OK) < 0 && !night_try(n, "call.backups", "apply", NOTHING))
		night_broken(n, "a restore does not go on");
	json_decref(n->r->args);
	n->r->args = args;
	p = io_read_file(AT_FDCWD, to, 64 * MIB, &got);
	if (got < n->size || memcmp(p, n->saved, n->size) != 0)
		night_broken(n, "what was restored is not what was backed up");
	unlink(to);
}

/* The copy is begun anew, out of the backup. */
void night_seed(struct night *n)
{
	static const enum mishap some[] = { NOTHING, NOTHING, CUT, FLIP, KILL_TARGET, KILL_SOURCE,
		STRIKE_KILL, STRIKE_EIO };
	json_t *kept;
	AUTO_JSON *out = NULL;

	if (!n->saved)
		return;
	night_undo(n);
	kept = begin_step(n);
	out = cv_at(n->r, "target", "convert.seed", "probe");
	cv_take_facts(n->r, out);
	if (jbool(n->r->facts, "seed.root.fills", false)) {
		AUTO_FREE uint8_t *is = NULL;

		if (!night_try(n, "convert.seed", "apply", some[night_dice(n, 8)]) && !n->came)
			night_broken(n, "a copy is not filled from its backup");
		if (*n->said && !night_try(n, "convert.seed", "apply", NOTHING))
			night_broken(n, "filling does not go on");
		is = target_bytes(n);
		assert_bytes(n, is, n->saved, NULL, "a copy is filled from its backup");
	}
	end_step(n, kept);
	night_must(n, "convert.disks");
}
