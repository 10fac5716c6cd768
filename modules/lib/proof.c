/* SPDX-License-Identifier: Apache-2.0
 * proof - read a base image back and compare it with its map.
 */
#include "modules/lib/proof.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "modules/lib/copy.h"
#include "modules/lib/disk.h"
#include "modules/lib/map.h"
#include "modules/lib/tree.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 2
#define TICK_US 100000

struct proving {
	struct disk *d;
	struct map *m;
	const char *name;
	uint32_t proven;	/* chunks up to this generation need no reading */
	uint8_t zero[SHA256_LEN];	/* digest of a whole chunk of zeros */
	pthread_mutex_t lock;	/* guards all below */
	uint64_t next, done;	/* chunk to take; bytes behind us */
	uint64_t read;		/* bytes read */
	unsigned working;
	bool stop;
	struct err err;
};

/* ---- one disk ------------------------------------------------------------ */

static int mismatch(struct proving *x, uint64_t index, uint32_t generation, struct err *e)
{
	struct map_state s;

	map_state(x->m, &s);
	err_set(e, ERR_STEP, "disk '%s' is not what was sent: byte %llu, length %u of '%s' "
		"(written by %s)", x->name,
		(unsigned long long)(index * map_id(x->m)->chunk),
		map_chunk_len(x->m, index), x->d->path,
		generation >= s.pass_begin ? "the last pass" : "an earlier pass");
	return err_hint(e, "the target's storage lost or changed it; `drover rollback` before "
			"convert and copy again, to other storage");
}

/* A hole of the image reads as zeros; its map of holes is read, not its data. */
static bool is_hole(struct proving *x, uint64_t index, uint32_t len)
{
	uint64_t at = index * map_id(x->m)->chunk, run = 0;
	bool hole = false;

	return x->d->ops->extent(x->d, at, &run, &hole, NULL) == 0 && hole && run >= len;
}

static int prove_chunk(struct proving *x, uint64_t index, void *buf, struct err *e)
{
	uint8_t want[SHA256_LEN], got[SHA256_LEN];
	uint32_t generation = map_get(x->m, index, want);
	uint32_t len = map_chunk_len(x->m, index);

	if (generation == 0)
		return err_set(e, ERR_STEP, "the map of disk '%s' does not know byte %llu",
			       x->name, (unsigned long long)(index * map_id(x->m)->chunk));
	if (generation <= x->proven)
		return 0;
	if (memcmp(want, x->zero, SHA256_LEN) == 0 && is_hole(x, index, len))
		return 0;
	if (x->d->ops->read(x->d, buf, len, index * map_id(x->m)->chunk, e) < 0)
		return -1;
	sha256_of(buf, len, got);
	if (memcmp(want, got, SHA256_LEN) != 0)
		return mismatch(x, index, generation, e);
	return (int)len;
}

static void *work(void *arg)
{
	struct proving *x = arg;
	AUTO_FREE void *buf = disk_buffer(map_id(x->m)->chunk);
	AUTO_ERR e = { 0 };

	pthread_mutex_lock(&x->lock);
	while (!x->stop && x->next < map_chunks(x->m)) {
		uint64_t index = x->next++;
		int n;

		pthread_mutex_unlock(&x->lock);
		n = prove_chunk(x, index, buf, &e);
		pthread_mutex_lock(&x->lock);
		x->done += map_chunk_len(x->m, index);
		x->read += n > 0 ? (uint64_t)n : 0;
		if (n < 0 && !x->stop)
			err_move(&x->err, &e);
		x->stop = x->stop || n < 0;
	}
	x->working--;
	pthread_mutex_unlock(&x->lock);
	return NULL;
}

static int run_threads(struct ctx *c, struct proving *x, struct err *e)
{
	pthread_t t[THREADS];
	unsigned working = THREADS;

	x->working = THREADS;
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&t[i], NULL, work, x) != 0)
			abort();	/* no thread is like no memory */
	while (working > 0) {
		uint64_t done;

		usleep(working < THREADS ? 1000 : TICK_US / 10);
		pthread_mutex_lock(&x->lock);
		working = x->working;
		done = x->done;
		if (ctx_cancelled(c) && !x->stop) {
			x->stop = true;
			err_set(&x->err, ERR_STOPPED, "stopped");
		}
		pthread_mutex_unlock(&x->lock);
		ctx_progress(c, done, map_id(x->m)->size, "bytes", x->name);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	err_move(e, &x->err);
	return err_is(e) ? -1 : 0;
}

static int check_root(struct proving *x, const char *want, char hex[SHA256_HEX],
		      struct err *e)
{
	uint8_t root[SHA256_LEN];

	if (map_root(x->m, root, e) < 0)
		return -1;
	io_hex(root, SHA256_LEN, hex);
	if (!want || strcmp(want, hex) == 0)
		return 0;
	err_set(e, ERR_STEP, "disk '%s' has digest %.12s, the pass that was recorded "
		"%.12s", x->name, hex, want);
	return err_hint(e, "something else wrote to '%s': drover rollback PLAN --to convert, "
			"then drover run PLAN", x->d->path);
}

/* The digest to be met, when it is of the pass that the map holds. A later pass
 * than the recorded one is met by the map alone, which carries its own root. */
static const char *digest_for(const json_t *fact, const struct map_state *s)
{
	return (uint32_t)jint(fact, "pass", 0) == s->pass ? jstr(fact, "digest", NULL) : NULL;
}

/* Was it said of this very copy? One made anew counts its generations anew. */
static bool same_copy(const json_t *said, const struct map_state *s)
{
	char birth[2 * MAP_BIRTH + 1];

	io_hex(s->birth, MAP_BIRTH, birth);
	return strcmp(jstr(said, "copy", ""), birth) == 0;
}

static json_t *told(const struct map_state *s, const char *hex)
{
	json_t *o = json_object();

	jset_int(o, "pass", s->pass);
	jset_int(o, "generation", s->generation);
	jset_str(o, "digest", hex);
	return o;
}

/* Which copy it is: random, so no part of the record that is compared. */
static json_t *copy_of(const struct map_state *s)
{
	json_t *o = json_object();
	char birth[2 * MAP_BIRTH + 1];

	io_hex(s->birth, MAP_BIRTH, birth);
	jset_str(o, "copy", birth);
	return o;
}

/* What is told of all disks. */
struct proven { json_t *stable, *loose; };

/* `last`: what was recorded last must be what is there. */
static int prove_disk(struct ctx *c, const char *name, const json_t *before, bool last,
		      const json_t *recorded, struct proven *out, struct err *e)
{
	AUTO_LAYOUT_DISK at = { 0 };
	struct proving x = { .name = name };
	AUTO_MAP *m = NULL;
	AUTO_DISK *d = NULL;
	struct map_state s;
	char hex[SHA256_HEX], size[24];
	int rc;

	if (layout_of_disk(ctx_machine(c), name, &at, e) < 0)
		return -1;
	m = map_open(at.map, false, e);
	d = m ? disk_open_image(at.base, at.format, DISK_DIRECT, e) : NULL;
	if (!d)
		return -1;
	map_state(m, &s);
	if (!s.complete)
		return err_set(e, ERR_STEP, "disk '%s' is not whole: pass %u was "
			       "interrupted", name, s.pass);
	if (last && (uint32_t)jint(recorded, "pass", 0) != s.pass) {
		err_set(e, ERR_STEP, "disk '%s' holds pass %u, the last pass that was recorded "
			"is %u", name, s.pass, (uint32_t)jint(recorded, "pass", 0));
		return err_hint(e, "something else copied to it: drover cutover PLAN begins "
				"with a pass again");
	}
	x.m = m;
	x.d = d;
	tree_zero_digest(map_id(m)->chunk, x.zero);
	x.proven = same_copy(before, &s) ? (uint32_t)jint(before, "generation", 0) : 0;
	pthread_mutex_init(&x.lock, NULL);
	rc = check_root(&x, digest_for(recorded, &s), hex, e);
	if (rc == 0)
		rc = run_threads(c, &x, e);
	if (rc < 0)
		return -1;
	text_size(x.read, size);
	ctx_log(c, "%s: %s read back and equal, digest %.12s", name, size, hex);
	jset(out->stable, name, told(&s, hex));
	jset(out->loose, name, copy_of(&s));
	return 0;
}

/* ---- all disks ----------------------------------------------------------- */

/* How the chunks were proven goes in the record. */
static void leave_evidence(struct ctx *c, const json_t *out)
{
	AUTO_FREE char *text = json_pretty(out);

	ctx_evidence(c, "digests", text, strlen(text));
}

/* What was proven of a disk last, by any of these facts. */
static const json_t *newest(const struct ctx *c, const char *const *proven, const char *name)
{
	const json_t *best = NULL;

	for (; proven && *proven; proven++) {
		const json_t *one = json_object_get(ctx_fact(c, *proven), name);

		if (one && (!best || jint(one, "generation", 0) > jint(best, "generation", 0)))
			best = one;
	}
	return best;
}

int proof_run(struct ctx *c, const struct proof_how *h)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	AUTO_JSON *out = json_object(), *loose = json_object();
	struct proven all = { out, loose };
	AUTO_ERR e = { 0 };
	const char *name;
	json_t *spec;

	json_object_foreach((json_t *)disks, name, spec)
		if (layout_copies(spec) &&
		    prove_disk(c, name, newest(c, h->proven, name), h->last,
			       json_object_get(ctx_fact(c, h->digests), name), &all, &e) < 0)
			return ctx_fail_err(c, &e);
	if (h->evidence)
		leave_evidence(c, out);
	ctx_set_fact(c, h->out, json_incref(out), json_incref(loose));
	return 0;
}

/* Is what was proven still what the map says? 1, 0; -1 with e. */
static int still_holds(struct ctx *c, const char *name, const json_t *was,
		       const json_t *before, struct err *e)
{
	AUTO_LAYOUT_DISK at = { 0 };
	struct copy_there t;
	bool holds;

	if (layout_of_disk(ctx_machine(c), name, &at, e) < 0 || copy_look(&at, &t, e) < 0)
		return -1;
	holds = was && t.map && t.state.complete && same_copy(was, &t.state) &&
		(uint32_t)jint(was, "generation", 0) == t.state.generation;
	if (holds)
		ctx_change(c, '=', "%s proven, digest %.12s", name, jstr(was, "digest", ""));
	else if (!t.map)
		copy_say_later(c, name, "read back whole");
	else if (before)
		ctx_change(c, '+', "%s read back what was written since it was proven", name);
	else
		ctx_change(c, '+', "%s read back whole from %s", name, at.base);
	if (!holds && !before)
		ctx_cost(c, t.size, 0, 0, 0);
	return holds;
}

int proof_probe(struct ctx *c, const struct proof_how *h, enum probe_state *state)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	const json_t *out = ctx_fact(c, h->out);
	const char *name;
	json_t *spec;

	*state = STATE_DONE;
	json_object_foreach((json_t *)disks, name, spec) {
		AUTO_ERR e = { 0 };
		int holds;

		if (!layout_copies(spec))
			continue;
		holds = still_holds(c, name, json_object_get(out, name),
				    newest(c, h->proven, name), &e);
		if (holds < 0)
			return ctx_fail_err(c, &e);
		if (!holds)
			*state = STATE_ABSENT;
	}
	return 0;
}
