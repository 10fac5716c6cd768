/* SPDX-License-Identifier: Apache-2.0
 * proof - read the base images of a machine back, and say what they are proven to be.
 */
#include "modules/lib/proof.h"

#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "modules/lib/copy.h"
#include "modules/lib/proof_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NICE 19

/* A base under work. */
struct proving_disk {
	const struct proof_how *how;
	struct layout_disk at;
	struct map_state s;
	struct proving x;
	const json_t *recorded;	/* the pass to be met; borrowed */
	char hex[SHA256_HEX];	/* its root, once it is known */
};

/* ---- which copy it is ------------------------------------------------------------- */

char *proof_copy_name(struct map *m, uint32_t generation)
{
	char birth[2 * MAP_BIRTH + 1];
	struct map_born b;
	struct map_state s;

	map_state(m, &s);
	io_hex(s.birth, MAP_BIRTH, birth);
	return map_born(m, generation, &b) ?
		mem_printf("%s.%016llx", birth, (unsigned long long)b.mark) : NULL;
}

bool proof_same_copy(const json_t *said, struct map *m)
{
	AUTO_FREE char *is = proof_copy_name(m, (uint32_t)jint(said, "generation", 0));

	return is && strcmp(jstr(said, "copy", ""), is) == 0;
}

/* ---- one disk --------------------------------------------------------------------- */

/* -1 with e when it is another one; without e when the map does not know every chunk,
 * which reading will tell. A later pass than those that are recorded is met by the map alone,
 * which carries its own root. */
static int check_root(struct ctx *c, struct proving_disk *p, struct err *e)
{
	const char *want = copy_digest_recorded(c, p->x.name, p->s.pass);
	uint8_t root[SHA256_LEN];

	if (map_root(p->x.m, root, NULL) < 0)
		return -1;
	io_hex(root, SHA256_LEN, p->hex);
	if (!want || strcmp(want, p->hex) == 0)
		return 0;
	err_set(e, ERR_STEP, "disk '%s' has digest %.12s, the pass that was recorded "
		"%.12s", p->x.name, p->hex, want);
	return err_hint(e, "something else wrote to '%s': drover rollback PLAN --to convert, "
			"then drover run PLAN", p->x.d->path);
}

static json_t *told(const struct proving_disk *p)
{
	json_t *o = json_object();

	jset_int(o, "pass", p->s.pass);
	jset_int(o, "generation", p->s.generation);
	jset_str(o, "digest", p->hex);
	return o;
}

/* What differs from run to run. */
static json_t *told_loosely(const struct proving_disk *p)
{
	AUTO_FREE char *copy = proof_copy_name(p->x.m, p->s.generation);
	json_t *o = json_object();
	char at[21];

	clock_iso(clock_real.wall_s(clock_real.arg), at);
	jset_str(o, "copy", copy);
	jset_str(o, "at", at);
	return o;
}

/* What is told of all disks. */
struct proven { json_t *stable, *loose; };

/* Is there anything that can be proven? 0; 1: it must be mended first; -1. */
static int may_prove(struct ctx *c, struct proving_disk *p, struct err *e)
{
	uint32_t pass = (uint32_t)jint(p->recorded, "pass", 0);
	uint32_t newest = copy_pass_recorded(c, p->x.name);
	struct map_born b;

	/* It would be met by its own map. */
	if (!p->how->last && p->s.pass < newest) {
		err_set(e, ERR_STEP, COPY_OLDER_TEXT, p->x.name, p->s.pass, newest);
		return err_hint(e, COPY_OLDER_HINT);
	}
	if (!p->s.complete) {
		bool amid = p->s.pass == pass ||
			(map_born(p->x.m, p->s.generation, &b) && b.mend);

		err_set(e, ERR_STEP, "disk '%s' is not whole: pass %u was interrupted", p->x.name,
			p->s.pass);
		err_hint(e, "drover sync PLAN goes on with it");
		return p->how->mend && amid ? 1 : -1;
	}
	if (p->how->last && pass != p->s.pass) {
		err_set(e, ERR_STEP, "disk '%s' holds pass %u, the last pass that was recorded "
			"is %u", p->x.name, p->s.pass, pass);
		return err_hint(e, "something else copied to it: drover cutover PLAN begins "
				"with a pass again");
	}
	return 0;
}

/* All that is said of a disk once it is proven. Owned. */
static json_t *saying(const struct proving_disk *p)
{
	json_t *said = json_object();

	jset(said, "stable", told(p));
	jset(said, "loose", told_loosely(p));
	jset_int(said, "mended", (int64_t)p->x.mended);
	return said;
}

static void say(struct ctx *c, const char *name, const json_t *said, struct proven *out)
{
	uint64_t mended = (uint64_t)jint(said, "mended", 0);
	char again[24];

	text_size(mended, again);
	if (mended)
		ctx_finding(c, "warning", "disk.mended", "have the target's storage looked at "
			    "before you rely on it", "%s of disk '%s' was not what had been "
			    "written there: it was sent again and is right now", again, name);
	jset(out->stable, name, json_incref(jget(said, "stable")));
	jset(out->loose, name, json_incref(jget(said, "loose")));
}

/* 0 with *said, owned; 1: it must be mended; -1. */
static int read_now(struct ctx *c, struct proving_disk *p, json_t **said, struct err *e)
{
	char size[24];

	if (proof_read(c, &p->x, e) < 0)
		return -1;
	if (p->x.bads > 0)
		return proof_mark_drop(&p->at, e) < 0 ? -1 :
			proof_damaged(c, p->how, &p->x, p->at.map, e);
	text_size(p->x.read, size);
	ctx_log(c, "%s: %s read back and equal, digest %.12s", p->x.name, size, p->hex);
	*said = saying(p);
	/* What is proven in parts is soon read again. */
	return p->how->proven || proof_keep(c, &p->x, *said) == 0 ? 0 :
		err_set(e, ERR_STOPPED, "stopped");
}

static int read_back(struct ctx *c, struct proving_disk *p, struct proven *out, struct err *e)
{
	/* An entry that is unknown is found by reading; else the root is known before. */
	bool known = check_root(c, p, e) == 0;
	AUTO_JSON *said = known ? proof_kept(c, &p->x) : NULL;
	int rc = 0;

	if (err_is(e))
		return -1;
	if (said && strcmp(jstr(said, "stable.digest", ""), p->hex) == 0) {
		ctx_log(c, "%s: was read back and equal at %s, which nobody heard; digest %.12s",
			p->x.name, jstr(said, "loose.at", "?"), p->hex);
	} else {
		json_unref_ptr(&said);
		rc = read_now(c, p, &said, e);
	}
	if (rc == 0)
		say(c, p->x.name, said, out);
	return rc;
}

#define KEEP_SOURCE "keep the source until the target's disks were looked at"

/* Without one nothing can be proven. */
static struct map *open_map(const struct proving_disk *p, const char *name, struct err *e)
{
	struct map *m = map_open(p->at.map, false, e);

	if (m || e->sys != ENOENT)
		return m;
	err_set(e, ERR_STEP, "cannot prove disk '%s': its map '%s' is gone", name, p->at.map);
	err_hint(e, p->how->serving ? KEEP_SOURCE :
		 "drover sync PLAN copies the disk again");
	return NULL;
}

static struct disk *open_base(const struct proving_disk *p, struct err *e)
{
	struct disk *d = disk_open_image(p->at.base, p->at.format, DISK_DIRECT, e);

	if (!d && (!e->sys || e->sys == ENOENT) && !e->hint)
		err_hint(e, p->how->serving ? KEEP_SOURCE :
			 "drover rollback PLAN --to convert, then drover run PLAN");
	return d;
}

static int prove_disk(struct ctx *c, const char *name, const json_t *before,
		      struct proving_disk *p, struct proven *out, struct err *e)
{
	AUTO_MAP *m = NULL;
	AUTO_DISK *d = NULL;
	int rc;

	if (layout_of_disk(ctx_machine(c), name, &p->at, e) < 0)
		return -1;
	m = open_map(p, name, e);
	d = m ? open_base(p, e) : NULL;
	if (!d)
		return -1;
	map_state(m, &p->s);
	p->x = (struct proving){ .d = d, .m = m, .name = name, .at = &p->at, .proof = p->how->out,
		.rate = (uint64_t)jint(ctx_args(c), "rate", 0),
		.proven = proof_same_copy(before, m) ? (uint32_t)jint(before, "generation", 0) : 0 };
	rc = may_prove(c, p, e);
	if (rc == 0)
		rc = read_back(c, p, out, e);
	proof_read_free(&p->x);
	return rc;
}

/* ---- all disks ----------------------------------------------------------- */

/* How the chunks were proven goes in the record. */
static void leave_evidence(struct ctx *c, const json_t *out)
{
	AUTO_FREE char *text = json_pretty(out);

	ctx_evidence(c, "digests", text, strlen(text));
}

const json_t *proof_newest(const struct ctx *c, const char *const *proven, const char *name)
{
	const json_t *best = NULL;

	for (; proven && *proven; proven++) {
		const json_t *one = json_object_get(ctx_fact(c, *proven), name);

		if (one && (!best || jint(one, "generation", 0) > jint(best, "generation", 0)))
			best = one;
	}
	return best;
}

/* Behind everything else on this host: who serves goes first. */
static void stand_back(void)
{
	setpriority(PRIO_PROCESS, 0, NICE);
	syscall(SYS_ioprio_set, 1 /* this process */, 0, 3 << 13 /* when nobody else wants to */);
}

/* All is told: whoever asks again has it read again. */
static int forget_marks(struct ctx *c)
{
	const char *name;
	json_t *spec;

	json_object_foreach(jget(ctx_machine(c), "source.disks"), name, spec) {
		AUTO_LAYOUT_DISK at = { 0 };
		AUTO_ERR e = { 0 };

		if (layout_copies(spec) && (layout_of_disk(ctx_machine(c), name, &at, &e) < 0 ||
					    proof_mark_drop(&at, &e) < 0))
			return ctx_fail_err(c, &e);
	}
	return 0;
}

int proof_run(struct ctx *c, const struct proof_how *h)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	AUTO_JSON *out = json_object(), *loose = json_object();
	struct proven all = { out, loose };
	AUTO_ERR first = { 0 };
	const char *name;
	json_t *spec;

	if (h->serving)
		stand_back();
	json_object_foreach((json_t *)disks, name, spec) {
		struct proving_disk p = { .how = h,
			.recorded = json_object_get(ctx_fact(c, h->digests), name) };
		AUTO_ERR e = { 0 };
		int rc = layout_copies(spec) ?
			prove_disk(c, name, proof_newest(c, h->proven, name), &p, &all, &e) : 0;

		layout_disk_free(&p.at);
		if (rc < 0 && !h->serving)
			return ctx_fail_err(c, &e);
		/* Before it is mended, or where nothing can be, the others are looked at. */
		if (rc != 0 && !err_is(&first))
			err_move(&first, &e);
	}
	if (err_is(&first))
		return h->serving ? ctx_fail_err(c, &first) : ctx_fail_damaged(c, &first);
	if (forget_marks(c) < 0)
		return -1;
	if (h->evidence)
		leave_evidence(c, out);
	ctx_set_fact(c, h->out, json_incref(out), json_incref(loose));
	return 0;
}
