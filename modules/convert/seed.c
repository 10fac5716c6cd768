/* SPDX-License-Identifier: Apache-2.0
 * seed - fill a machine's copy from the backup that was just made of it, so that its disks
 * are read once: convert.disks then reads what was written since. Undo removes what was made
 * at the target.
 *
 * A plan need not name it: it stands before a convert.disks that follows a backup.image. The
 * first end is the backup's host. Which disks are filled the target decides in its probe,
 * and tells as fact `seed`: {DISK: {fills: true} | {why}}; only of one whose writes are all
 * known since that backup (fact `followed`) it is worth it. What is filled is pass 0 of the
 * copy, and its digest must be the backup's.
 */
#include "modules/lib/backup.h"
#include "modules/lib/copy.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <string.h>

static const struct param params[] = {
	{ "from", P_PLACE, true, NULL, NULL, "HOST:/directory where backups are kept", 0, 0 },
	COPY_CHUNK_PARAM,
	COPY_ZIP_PARAM,
	COPY_DISKS_PARAM,
	{ .name = NULL },
};

static const char *const wants[] = { "machine", "backup", "followed", "seed", NULL };
static const char *const tools[] = { "qemu-img", "qemu-nbd", NULL };

#define OVER "over"	/* kept: nothing more is filled */

static bool at_backup(const struct ctx *c)
{
	return strcmp(ctx_role(c), "source") == 0;
}

/* ---- what can be filled ---------------------------------------------------------------- */

struct view {
	struct ctx *c;
	json_t *fact;		/* disk -> {fills} or {why} */
	size_t done, begun, all;
};

/* What the backup has of this disk; NULL: nothing, or there is none. */
static const json_t *backed_up(const struct ctx *c, const char *name)
{
	return json_object_get(jget(ctx_fact(c, "backup"), "disks"), name);
}

/* Is this what the backup has, and is all known that was written since? */
static bool is_followed(const struct ctx *c, const char *name, const char *digest)
{
	const json_t *row = json_object_get(ctx_fact(c, "followed"), name);

	return strcmp(jstr(row, "digest", "?"), digest) == 0 &&
		strcmp(jstr(backed_up(c, name), "digest", "?"), digest) == 0;
}

/* What was kept once its backup could not be read: the next attempt leaves it alone. Owned. */
static char *unread(const char *disk)
{
	return mem_printf("unread.%s", disk);
}

static bool was_unread(struct ctx *c, const char *disk)
{
	AUTO_FREE char *name = unread(disk);
	size_t n;

	return ctx_kept(c, name, &n);
}

/* Why the disk is not filled; NULL: it is. */
static const char *why_not(struct ctx *c, const char *name)
{
	const json_t *row = json_object_get(ctx_fact(c, "followed"), name);
	const json_t *was = backed_up(c, name);

	if (was_unread(c, name))
		return "its backup cannot be read";
	if (!jstr(row, "by", NULL))
		return jstr(row, "why", "what is written to it is not followed");
	if (!was && !ctx_fact(c, "backup") && ctx_is_preview(c))
		return NULL;	/* it will be made */
	if (!was)
		return "no backup of it is known";
	if (copy_seen(c, name) && jint(was, "size", 0) != jint(copy_seen(c, name), "size", 0))
		return "its size is another since its backup";
	if (jint(was, "chunk", 0) != jint(ctx_args(c), "chunk", 0))
		return "its backup has chunks of another size";
	if (!is_followed(c, name, jstr(was, "digest", "")))
		return "not all is known that was written since its backup";
	return NULL;
}

/* What can never be followed is no step to take; else it is one, though nothing be done. */
static bool never(const struct ctx *c)
{
	return strcmp(jstr(ctx_machine(c), "source.kind", ""), "image") == 0;
}

static void tell(struct view *v, const char *name, const char *why)
{
	json_t *row = json_object();

	if (why)
		jset_str(row, "why", why);
	else
		jset_bool(row, "fills", true);
	jset(v->fact, name, row);
}

/* A copy that the map knows of, or part of one. True: there is nothing left to do. */
static bool is_there(struct view *v, const char *name, const struct copy_there *t)
{
	char root[SHA256_HEX];
	bool fits;

	if (!t->map || (t->state.pass == 0 && !t->state.complete))
		return false;
	io_hex(t->state.root, SHA256_LEN, root);
	fits = t->state.pass == 0 && is_followed(v->c, name, root);
	if (t->state.pass == 0)
		ctx_change(v->c, '=', "%s was filled from its backup", name);
	else
		ctx_change(v->c, '=', "%s was copied already: pass %u", name, t->state.pass);
	tell(v, name, fits ? NULL : "what is there is compared");
	return true;
}

static void say_left(struct view *v, const char *name, const char *why)
{
	ctx_change(v->c, '.', "%s is not filled from a backup: %s", name, why);
	if (was_unread(v->c, name))
		ctx_finding(v->c, "warning", "backup.unreadable", "drover backups verify PLAN tells "
			    "which of them are whole; make a new one before you cut over",
			    "the backup of disk '%s' cannot be read, its copy comes from the "
			    "source", name);
	ctx_cost(v->c, 0, 0, 0, 1);
}

/* Bytes that a backup of it has, or will have; by assess.machine, else by whoever backs up. */
static uint64_t to_fill(const struct ctx *c, const char *name)
{
	const json_t *row = json_object_get(ctx_fact(c, "followed"), name);
	int64_t used = jint(json_object_get(ctx_fact(c, "machine"), "used"), name,
			    jint(copy_seen(c, name), "size", 0));

	return (uint64_t)(used ? used : jint(row, "used", jint(backed_up(c, name), "size", 0)));
}

static int probe_disk(struct view *v, const char *name)
{
	uint64_t used = to_fill(v->c, name);
	const char *why = why_not(v->c, name);
	size_t n;
	AUTO_LAYOUT_DISK d = { 0 };
	AUTO_ERR e = { 0 };
	struct copy_there t;
	bool ours;

	if (layout_of_disk(ctx_machine(v->c), name, &d, &e) < 0 ||
	    base_check(v->c, name, &d, &ours, &e) < 0 || copy_look(&d, &t, &e) < 0)
		return ctx_fail_err(v->c, &e);
	v->all++;
	if (is_there(v, name, &t)) {
		v->done++;
		return 0;
	}
	tell(v, name, why);
	v->begun += t.map;
	v->done += why && (never(v->c) || ctx_kept(v->c, OVER, &n));
	if (why) {
		say_left(v, name, why);
		return 0;
	}
	ctx_change(v->c, '+', "%s from its backup at %s -> %s", name,
		   jstr(ctx_args(v->c), "from", ""), d.base);
	ctx_cost(v->c, used, used, used, 0);
	return 0;
}

static int probe(struct ctx *c, enum probe_state *state)
{
	AUTO_JSON *fact = json_object();
	struct view v = { .c = c, .fact = fact };
	struct copy_how h = { 0 };
	const char *name;
	json_t *spec;

	*state = STATE_DONE;	/* at the backup: the target says how far it is */
	if (copy_args(c, &h) < 0)
		return -1;
	if (at_backup(c))
		return 0;
	json_object_foreach(jget(ctx_machine(c), "source.disks"), name, spec)
		if (copy_wants(c, name, spec) && probe_disk(&v, name) < 0)
			return -1;
	ctx_set_fact(c, "seed", json_object(), json_incref(fact));
	*state = v.done == v.all ? STATE_DONE : v.begun ? STATE_PARTIAL : STATE_ABSENT;
	return 0;
}

/* ---- apply at the backup ----------------------------------------------------------------- */

struct filling {
	struct ctx *c;
	struct chunkstore *store;
	char *dir;		/* of the backup; owned */
	const char *disk;
	uint64_t sent;
	struct str said;	/* for the evidence */
	json_t *passes;		/* disk -> what was measured, as of passes; borrowed */
};

static void on_tick(void *arg, const struct stream_stat *st)
{
	struct filling *f = arg;
	struct ctx_flow flow = { .sent = f->sent + st->wire };

	ctx_flow(f->c, &flow);
	ctx_progress(f->c, st->read, st->due, "bytes", f->disk);
}

static bool on_cancelled(void *arg)
{
	return ctx_cancelled(((struct filling *)arg)->c);
}

static uint64_t on_rate(void *arg)
{
	return ctx_send_rate(((struct filling *)arg)->c);
}

/* Where the backup lies: below our own place, whoever told its path. */
static int find_backup(struct filling *f, struct err *e)
{
	const char *from = jstr(ctx_args(f->c), "from", ""), *colon = strchr(from, ':');
	const char *path = jstr(ctx_fact(f->c, "backup"), "path", ""), *slash = strrchr(path, '/');
	AUTO_FREE char *parent = NULL;

	if (!colon || colon[1] != '/')
		return err_set(e, ERR_STEP, "cannot read backups at '%s': HOST:/directory is "
			       "meant", from);
	if (!slash || !text_name_ok(slash + 1) || !text_name_ok(ctx_machine_name(f->c)))
		return err_set(e, ERR_STEP, "cannot find the backup '%s'", path);
	parent = backup_machine_dir(colon + 1, ctx_machine_name(f->c));
	f->dir = mem_printf("%s%s", parent, slash);
	from = colon + 1;
	f->store = chunkstore_open(from, CHUNKS_READ, e);
	return f->store ? 0 : -1;
}

static void say_filled(struct filling *f, const struct stream_stat *st)
{
	char sent[24], size[24];

	text_size(st->data, sent);
	text_size(st->size, size);
	ctx_log(f->c, "%s: filled from backup %s, %s of %s sent in %llu ms; of the source only what "
		"was written since is read", f->disk, strrchr(f->dir, '/') + 1, sent, size,
		(unsigned long long)st->ms);
	str_addf(&f->said, "%s: filled from backup %s: %llu bytes of %llu sent, %llu read there, "
		 "none of the source\n", f->disk, f->dir, (unsigned long long)st->data,
		 (unsigned long long)st->size, (unsigned long long)st->read);
}

/* Every chunk is checked against its digest when it is read from there, and again, as ever,
 * before it is written. */
static int fill_disk(struct filling *f, const struct copy_how *h, struct err *e)
{
	struct stream s = { .pipe = ctx_stream(f->c), .zip = h->zip, .tick = on_tick,
		.cancelled = on_cancelled, .send_rate = on_rate, .arg = f };
	struct stream_open o = { .disk = f->disk };
	struct stream_stat st = { 0 };
	AUTO_DISK *d = backup_open(f->store, f->dir, f->disk, e);
	char root[SHA256_HEX];

	if (!d) {
		stream_fail(&s, e);
		return -1;
	}
	o.chunk = backup_chunk(d);
	if (stream_send(&s, d, &o, &st, e) < 0)
		return -1;
	io_hex(st.root, SHA256_LEN, root);
	if (strcmp(root, jstr(backed_up(f->c, f->disk), "digest", "")) != 0)
		return err_set(e, ERR_STEP, "it has digest %.12s, not the recorded %.12s", root,
			       jstr(backed_up(f->c, f->disk), "digest", ""));
	f->sent += st.wire;
	say_filled(f, &st);
	jset(f->passes, f->disk, json_pack("[o]", copy_pass_row(&st, "backup")));
	return 0;
}

static int fill_all(struct filling *f, const struct copy_how *h, struct err *e)
{
	json_t *row;

	json_object_foreach((json_t *)(uintptr_t)ctx_fact(f->c, "seed"), f->disk, row)
		if (copy_seeded(f->c, f->disk) && fill_disk(f, h, e) < 0) {
			err_wrap(e, "cannot fill disk '%s' from backup '%s'", f->disk, f->dir);
			return -1;
		}
	return 0;
}

/* Told by the failure itself: the next attempt leaves alone what cannot be read. */
static void fall_back(struct filling *f, struct err *e)
{
	const char *name;
	json_t *row;

	if (e->kind == ERR_STOPPED || e->kind == ERR_HELD)
		return;
	json_object_foreach((json_t *)(uintptr_t)ctx_fact(f->c, "seed"), name, row) {
		AUTO_FREE char *kept = unread(name);

		if (copy_seeded(f->c, name) && (!f->disk || strcmp(name, f->disk) == 0))
			ctx_keep(f->c, kept, e->what, strlen(e->what));
	}
	err_hint(e, "the same command again, and the source is read instead; drover backups verify "
		 "PLAN tells which of them are whole");
}

static int send_all(struct ctx *c, const struct copy_how *h)
{
	AUTO_JSON *passes = json_object();
	struct filling f = { .c = c, .passes = passes };
	struct stream s = { .pipe = ctx_stream(c) };
	AUTO_ERR e = { 0 };
	int rc = find_backup(&f, &e);

	if (rc < 0)
		stream_fail(&s, &e);
	else
		rc = fill_all(&f, h, &e);
	if (rc == 0)
		rc = stream_bye(&s, &e);
	if (rc == 0) {
		ctx_evidence(c, "seed", f.said.s, f.said.len);
		ctx_volatile(c, "passes", json_incref(passes));
	}
	if (rc < 0)
		fall_back(&f, &e);
	chunkstore_close(f.store);
	mem_free_ptr(&f.dir);
	str_free(&f.said);
	if (rc == 0)
		return 0;
	return ctx_fail_err(c, &e);
}

/* ---- apply ---------------------------------------------------------------------------------- */

static bool anything(const struct ctx *c)
{
	const char *name;
	json_t *row;

	json_object_foreach((json_t *)(uintptr_t)ctx_fact(c, "seed"), name, row)
		if (copy_seeded(c, name))
			return true;
	return false;
}

static void log_left(struct ctx *c)
{
	const char *name;
	json_t *row;

	json_object_foreach((json_t *)(uintptr_t)ctx_fact(c, "seed"), name, row)
		if (jstr(row, "why", NULL))
			ctx_log(c, "%s: not filled from a backup: %s", name, jstr(row, "why", ""));
}

static int apply(struct ctx *c)
{
	struct copy_how h = { .seed = true };

	if (copy_args(c, &h) < 0)
		return -1;
	if (at_backup(c))
		return anything(c) ? send_all(c, &h) : 0;
	log_left(c);
	if (anything(c) && copy_receive(c, &h) < 0)
		return -1;
	return ctx_keep(c, OVER, "1", 1);
}

static int undo(struct ctx *c)
{
	return at_backup(c) ? 0 : copy_remove(c);
}

const struct module module_convert_seed = {
	.name = "convert.seed",
	.summary = "fill the copy from the machine's backup",
	.place = ON_BOTH,
	.flags = MOD_REVERSIBLE | MOD_LONG,
	.params = params,
	.wants = wants,
	.tools = tools,
	.near_end = "from",
	.probe = probe,
	.apply = apply,
	.undo = undo,
};
