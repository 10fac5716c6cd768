/* SPDX-License-Identifier: Apache-2.0
 * night_run - see night.h: commands, and what must be true of each.
 */
#include "tests/unit/night.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* ---- what a good end means ---------------------------------------------------------------------- */

uint32_t night_planned_chunk(const struct night *n)
{
	return (uint32_t)jint(n->r->args, "chunk", 0);
}

void night_assert_root(struct night *n, const char *fact, const char *disk,
		       const struct night_bytes *b)
{
	AUTO_FREE char *key = mem_printf("%s.%s.digest", fact, disk);
	char hex[SHA256_HEX];

	tree_of(b->p, b->size, b->chunk, hex);
	if (strcmp(hex, jstr(n->r->facts, key, "")) != 0)
		night_broken(n, "fact %s has digest %.12s, disk %s %.12s", fact,
			     jstr(n->r->facts, key, "none"), disk, hex);
}

static void assert_root(struct night *n, const char *fact, const uint8_t *p)
{
	night_assert_root(n, fact, "root", &(struct night_bytes){ p, n->size, n->chunk });
}

/* What was begun with another size than the plan's goes on with that, or not at all. */
static void note_chunk(struct night *n, const char *fact)
{
	AUTO_FREE char *key = mem_printf("%s.root.chunk", fact);
	uint32_t chunk = (uint32_t)jint(n->r->facts, key, n->chunk);

	if (chunk != n->chunk && chunk != night_planned_chunk(n))
		night_broken(n, "it was copied in chunks of %u", chunk);
	n->chunk = chunk;
}

static void pass_ended(struct night *n, const char *fact)
{
	AUTO_FREE uint8_t *is = NULL;

	if (n->odd & ODD_SIZE)
		night_broken(n, "it ended well with another size");
	n->odd &= ODD_TARGET;
	note_chunk(n, fact);
	night_other_passed(n, fact);
	night_see(n, &n->sent);
	if (!n->odd) {
		is = target_bytes(n);
		night_blur(n, n->sent, is);
		assert_bytes(n, is, n->sent, n->was, "a pass ended well");
		night_take(&n->sent, is, n->size);
	}
	if (!n->odd || (!n->was && !night_blurs(n)))
		assert_root(n, fact, n->sent);
	if (!n->odd)
		night_take(&n->was, NULL, 0);
}

/* Of one that a kill kept from being told: it may be the one that was tried. */
static void proof_ended(struct night *n, const char *fact)
{
	AUTO_FREE uint8_t *is = NULL;

	night_other_proven(n, fact);
	if (strcmp(fact, "final") == 0 && (n->odd & ODD_TARGET))
		return;		/* what was proven before is not read again */
	is = target_bytes(n);
	night_blur(n, n->sent, is);
	if (n->tried)
		night_blur(n, n->tried, is);
	if ((n->odd & ODD_CUT) && n->tried && other_byte(n, is, n->tried, n->then) == n->size)
		night_take(&n->sent, is, n->size);
	assert_bytes(n, is, n->sent, n->was, "a proof ended well");
	night_take(&n->sent, is, n->size);
	assert_root(n, fact, n->sent);
	night_take(&n->was, NULL, 0);
	n->odd &= ODD_TRACKER;
}

static void ended(struct night *n, const char *module)
{
	const struct night_row *row = night_row(module);

	if (row->pass)
		pass_ended(n, row->fact);
	else if (row->fact)
		proof_ended(n, row->fact);
}

/* ---- what hints say ------------------------------------------------------------------------------ */

static void forget(struct night *n)
{
	static const char *const facts[] = { "disks", "proof", "sync", "pass", "final", "warm",
		"stamp", "seed" };

	for (size_t i = 0; i < ARRAY_LEN(facts); i++)
		json_object_del(n->r->facts, facts[i]);
	json_object_clear(n->r->kept);
	night_take(&n->sent, NULL, 0);
	night_take(&n->tried, NULL, 0);
	night_take(&n->then, NULL, 0);
	night_take(&n->was, NULL, 0);
	n->odd = 0;
	n->chunk = 0;
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

	night_note_end(n, source, target);
	night_tell(n, "convert.disks probe: %s%s", jstr(target, "state", ""), n->said);
	if (*n->said && !n->odd)
		night_broken(n, "it ended badly for no reason");
	night_assert_said(n);
	if (!root || night_blurs(n) || (n->odd & ~(unsigned)(ODD_CUT | ODD_TRACKER)) ||
	    jint(n->r->facts, "disks.root.pass", 0) == (int64_t)pass)
		return;
	if (n->sent)
		tree_of(n->sent, n->size, n->chunk, sent);
	if (n->tried)
		tree_of(n->tried, n->size, n->chunk ? n->chunk : night_planned_chunk(n), tried);
	if (strcmp(root, sent) != 0 && strcmp(root, tried) != 0 && !n->was)
		night_broken(n, "its digest is neither pass's");
}

void night_assert_read(struct night *n, const char *module)
{
	AUTO_JSON *out = cv_at(n->r, "target", module, "probe");

	if (!jbool(out, "ok", false) || jint(out, "cost.read", 0) != 0)
		night_broken(n, "%lld bytes are read back again",
			     (long long)jint(out, "cost.read", 0));
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
	night_other_gone(n);
	forget(n);
}

/* The part that goes with the damaged: what an earlier step brought is sent again. */
static void mend(struct night *n, const char *by)
{
	uint8_t *before = n->sent ? night_copy(n->sent, n->size) : NULL;

	if (night_reads_badly(n))
		jset_str(n->r->args, "bad_sectors", "zero");
	if (!night_try(n, by, "mend", NOTHING))
		night_broken(n, "it cannot be mended");
	free(n->was);
	n->was = before;
	night_see(n, &n->sent);
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
	} else if (strstr(n->hint, "set chunk back") && n->chunk && night_dice(n, 2)) {
		night_chunk_back(n);
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

	return (size > 0 && (uint64_t)size < n->size) || night_reads_badly(n) ||
		(n->chunk && n->chunk != night_planned_chunk(n));
}

/* True when it ended well, else it had a reason. */
static bool ends(struct night *n, const char *module, enum mishap m)
{
	/* the last pass of a cutover rather ends than read all */
	bool last = strcmp(module, "cutover.pass") == 0;
	bool excused = n->odd & ~(night_row(module)->pass && !last ? (unsigned)ODD_CUT : 0) ||
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
	night_see(n, &n->saved);
	night_assert_root(n, "backup.disks", "root",
			  &(struct night_bytes){ n->saved, n->size, night_planned_chunk(n) });
	if (n->other.src && !n->other.out)
		night_assert_root(n, "backup.disks", "other", &(struct night_bytes){
				  n->other.now, n->other.size, night_planned_chunk(n) });
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
