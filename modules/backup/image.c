/* SPDX-License-Identifier: Apache-2.0
 * image - an image of each source disk in a repository of backups at a place that the
 * plan names, compressed, every chunk kept once for all machines; undo removes that backup.
 *
 * A backup appears whole or not at all; older ones are never touched.
 */
#include "modules/lib/backup.h"
#include "modules/lib/checkpoint.h"
#include "modules/lib/copy.h"
#include "modules/lib/followed.h"
#include "modules/lib/snapshot.h"
#include "modules/lib/track.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct param params[] = {
	{ "to", P_PLACE, true, NULL, NULL, "HOST:/directory where backups are kept", 0, 0 },
	{ "freeze", P_ENUM, false, "none", "none|last",
	  "hold the source's file systems still meanwhile", 0, 0 },
	{ "follow", P_DURATION, false, NULL, NULL,
	  "what is written from the backup on is followed, for so long without a pass, so that "
	  "convert.seed may fill the copy from it; set where a plan has convert.disks",
	  60000, 30ll * 86400000 },
	COPY_CHUNK_PARAM,
	{ "compress", P_ENUM, false, "zstd", "auto|none|zstd",
	  "auto measures which is faster", 0, 0 },
	COPY_FREE_PARAM,
	COPY_BAD_PARAM,
	COPY_DISKS_PARAM,
	{ .name = NULL },
};

static const char *const wants[] = { "machine", "backup", "disks", NULL };

/* Where this backup lies; the name is kept, so that all attempts mean the same. */
struct spot {
	char *place;		/* the directory that the plan names */
	char *parent;		/* <place>/machines/<machine> */
	char *final;		/* NULL: it was never begun */
	char *growing;		/* the same while it is written */
};

static void spot_free(struct spot *p)
{
	mem_free_ptr(&p->place);
	mem_free_ptr(&p->parent);
	mem_free_ptr(&p->final);
	mem_free_ptr(&p->growing);
}

#define AUTO_SPOT __attribute__((cleanup(spot_free))) struct spot

static bool at_source(const struct ctx *c)
{
	return strcmp(ctx_role(c), "source") == 0;
}

/* Of a copy that is there another pass follows the source. */
static bool follows(const struct ctx *c)
{
	return jint(ctx_args(c), "follow", 0) > 0 && !ctx_fact(c, "disks");
}

static int spot_of(struct ctx *c, struct spot *p)
{
	const char *to = jstr(ctx_args(c), "to", ""), *colon = strchr(to, ':');
	const char *machine = ctx_machine_name(c), *kept;
	AUTO_FREE char *name = NULL;
	size_t n = 0;

	*p = (struct spot){ 0 };
	if (!colon || colon[1] != '/' || !text_name_ok(machine))
		return ctx_fail(c, "cannot keep backups at '%s': HOST:/directory is meant", to);
	p->place = mem_strdup(colon + 1);
	p->parent = backup_machine_dir(p->place, machine);
	kept = ctx_kept(c, "name", &n);
	if (!kept)
		return 0;
	name = mem_strndup(kept, n);
	if (!text_name_ok(name))
		return ctx_fail(c, "cannot find the backup: its kept name is damaged");
	p->final = mem_printf("%s/%s", p->parent, name);
	p->growing = mem_printf("%s/.%s.new", p->parent, name);
	return 0;
}

/* ---- probe --------------------------------------------------------------- */

static void tell_fact(struct ctx *c, const char *dir, const json_t *index)
{
	json_t *fact = json_object();

	jset_str(fact, "path", dir);
	jset_str(fact, "to", jstr(ctx_args(c), "to", NULL));
	json_object_set(fact, "disks", json_object_get(index, "disks"));
	ctx_set_fact(c, "backup", fact, NULL);
}

static void say_change(struct ctx *c, const char *place)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	const char *name;
	json_t *spec;

	json_object_foreach((json_t *)disks, name, spec) {
		uint64_t size = (uint64_t)jint(copy_seen(c, name), "size", 0);
		char sz[24];

		if (!copy_wants(c, name, spec))
			continue;
		text_size(size, sz);
		if (size)
			ctx_change(c, '+', "%s %s -> %s, compressed", name, sz, place);
		else
			ctx_change(c, '+', "%s -> %s, compressed", name, place);
		ctx_cost(c, 0, 0, (uint64_t)jint(json_object_get(ctx_fact(c, "machine"), "used"),
						 name, (int64_t)size), 0);
	}
}

static int probe_far(struct ctx *c, enum probe_state *state)
{
	AUTO_SPOT p = { 0 };
	AUTO_JSON *index = NULL;
	AUTO_ERR e = { 0 };

	if (spot_of(c, &p) < 0)
		return -1;
	index = p.final ? backup_index(p.final, &e) : NULL;
	if (!index && err_is(&e) && e.sys != ENOENT && e.sys != ENOTDIR)
		return ctx_fail_err(c, &e);
	ctx_stable(c, "to", json_string(jstr(ctx_args(c), "to", "")));
	ctx_stable(c, "exists", json_boolean(index != NULL));
	if (index) {
		*state = STATE_DONE;
		ctx_change(c, '=', "backup %s", p.final);
		tell_fact(c, p.final, index);
		return 0;
	}
	*state = p.growing && access(p.growing, F_OK) == 0 ? STATE_PARTIAL : STATE_ABSENT;
	say_change(c, p.place);
	return 0;
}

static int probe(struct ctx *c, enum probe_state *state)
{
	if (!at_source(c))
		return probe_far(c, state);
	*state = STATE_DONE;	/* the far end says whether it is there */
	if (copy_probe_source(c, false) < 0)
		return -1;
	if (jint(ctx_args(c), "follow", 0) > 0)
		followed_tell(c, follows(c) && !ctx_fact(c, "backup"));
	return 0;
}

/* ---- apply at the far end -------------------------------------------------- */

struct keeping {
	struct ctx *c;
	const struct spot *at;
	struct chunkstore *store;
	json_t *disks;		/* name -> line of index.json */
	struct map_id id;	/* of the disk under way */
};

static struct sink *on_open(void *arg, const struct stream_offer *o, struct err *e)
{
	struct keeping *k = arg;
	const json_t *spec = json_object_get(jget(ctx_machine(k->c), "source.disks"), o->disk);
	struct backup_target t = { .store = k->store, .place = k->at->place,
		.dir = k->at->growing, .id = &k->id };

	if (!spec || !text_name_ok(o->disk) || !copy_wants(k->c, o->disk, spec)) {
		err_set(e, ERR_STEP, "disk '%s' was offered, but it is not in the plan",
			o->disk);
		return NULL;
	}
	copy_map_id(&k->id, ctx_machine(k->c), ctx_run(k->c), o->disk, o->size, o->chunk);
	return backup_sink(&t, e);
}

static int on_close(void *arg, struct sink *s, const struct stream_stat *st, bool ok,
		    struct err *e)
{
	struct keeping *k = arg;
	json_t *line = backup_sink_end(s);

	(void)st;
	if (ok && line) {
		jset(k->disks, k->id.disk, line);
		return 0;
	}
	json_decref(line);
	return ok ? err_set(e, ERR_STEP, "the backup of disk '%s' is not whole", k->id.disk) : 0;
}

static bool on_cancelled(void *arg)
{
	return ctx_cancelled(((struct keeping *)arg)->c);
}

/* Give it a name once and for all: the time, and the run that began it. */
static int keep_name(struct ctx *c)
{
	int64_t now = clock_real.wall_s(clock_real.arg);
	char iso[21], name[64];
	size_t n = 0;

	if (ctx_kept(c, "name", &n))
		return 0;
	clock_iso(now, iso);
	/* No colon belongs in a file name: 20260201T100000Z. */
	snprintf(name, sizeof(name), "%.4s%.2s%.2sT%.2s%.2s%.2sZ-%.8s", iso, iso + 5,
		 iso + 8, iso + 11, iso + 14, iso + 17, jstr(ctx_run(c), "run", "run"));
	return ctx_keep(c, "name", name, strlen(name));
}

static json_t *index_of(const struct ctx *c, json_t *disks)
{
	json_t *j = json_object();
	char iso[21];

	clock_iso(clock_real.wall_s(clock_real.arg), iso);
	jset_int(j, "version", 1);
	jset_str(j, "machine", ctx_machine_name(c));
	jset_str(j, "plan", jstr(ctx_run(c), "plan", NULL));
	jset_str(j, "lineage", jstr(ctx_run(c), "lineage", NULL));
	jset_str(j, "source", jstr(ctx_machine(c), "source.host", NULL));
	jset_str(j, "at", iso);
	json_object_set(j, "disks", disks);
	return j;
}

/* Who sends decides when it is over: what the plan wants must have come. */
static int all_came(struct ctx *c, const json_t *disks, struct err *e)
{
	const char *name;
	json_t *spec;

	json_object_foreach(jget(ctx_machine(c), "source.disks"), name, spec)
		if (copy_wants(c, name, spec) && !json_object_get(disks, name))
			return err_set(e, ERR_STEP, "cannot keep the backup: the source did not "
				       "send disk '%s'", name);
	return 0;
}

/* What an earlier attempt of this step left is gone on with. */
static struct chunkstore *make_place(const struct spot *p, struct err *e)
{
	struct chunkstore *store = chunkstore_open(p->place, CHUNKS_ADD, e);

	/* Under its lock: nobody tidies the directory away. */
	if (!store || io_mkdirs(p->growing, 0700) == 0)
		return store;
	err_sys(e, "cannot make directory '%s'", p->growing);
	chunkstore_close(store);
	return NULL;
}

static int receive_all(struct ctx *c, const struct spot *p)
{
	AUTO_JSON *disks = json_object(), *index = NULL;
	AUTO_ERR e = { 0 };
	AUTO_CHUNKS *store = make_place(p, &e);
	struct keeping k = { .c = c, .at = p, .store = store, .disks = disks };
	struct stream s = { .pipe = ctx_stream(c), .cancelled = on_cancelled, .arg = &k };
	struct stream_receiver r = { .open = on_open, .close = on_close, .arg = &k };
	int rc = store ? 1 : -1;

	if (rc < 0)
		stream_fail(&s, &e);
	while (rc == 1)
		rc = stream_recv(&s, &r, &e);
	if (rc == 0)
		rc = all_came(c, disks, &e);
	if (rc == 0) {
		index = index_of(c, disks);
		rc = backup_publish(p->growing, p->final, index, &e);
	}
	if (rc < 0)
		return ctx_fail_err(c, &e);
	tell_fact(c, p->final, index);
	return 0;
}

static int apply_far(struct ctx *c)
{
	AUTO_SPOT p = { 0 };
	json_t *detail;

	if (keep_name(c) < 0 || spot_of(c, &p) < 0)
		return -1;
	detail = json_object();
	jset_str(detail, "growing", p.growing);
	if (ctx_ledger_add(c, "file", p.final, true, detail) < 0)
		return -1;
	return receive_all(c, &p);
}

static int apply(struct ctx *c)
{
	struct copy_how h = { .passes = 1, .snapshots = true,
		.freeze_last = strcmp(jstr(ctx_args(c), "freeze", "none"), "last") == 0 };

	if (copy_args(c, &h) < 0)
		return -1;
	if (!at_source(c))
		return apply_far(c);
	if (follows(c)) {	/* begun before the first block is read */
		h.changes = CHANGES_TRACE;
		h.anchor = true;
		h.track_ms = (uint64_t)jint(ctx_args(c), "follow", TRACK_KEEP_MS);
	}
	if (strcmp(jstr(ctx_args(c), "compress", "zstd"), "zstd") == 0)
		h.zip = ZIP_ZSTD;
	return copy_send(c, &h);
}

/* ---- undo ------------------------------------------------------------------ */

/* Its chunks go too, unless other backups need them; when somebody is at work there,
 * the next tidying takes them. */
static void give_back_room(struct ctx *c, const char *place)
{
	AUTO_ERR e = { 0 };
	uint64_t freed;

	if (backup_sweep(place, NULL, &freed, &e) < 0)
		ctx_log(c, "the room of the backup is not given back yet: %s", e.what);
}

static int undo(struct ctx *c)
{
	AUTO_SPOT p = { 0 };
	AUTO_ERR e = { 0 };

	if (at_source(c))	/* also what a plan of before had followed */
		return checkpoint_stop(c) < 0 || snapshot_stop(c) < 0 || track_stop(c) < 0 ? -1 : 0;
	if (spot_of(c, &p) < 0)
		return -1;
	if (!p.final)
		return 0;
	if (backup_remove(p.final, &e) < 0 || backup_remove(p.growing, &e) < 0)
		return ctx_fail_err(c, &e);
	rmdir(p.parent);	/* stays while other backups are in it */
	give_back_room(c, p.place);
	return ctx_ledger_del(c, "file", p.final);
}

const struct module module_backup_image = {
	.name = "backup.image",
	.summary = "keep an image of each source disk in a repository of backups",
	.place = ON_BOTH,
	.flags = MOD_REVERSIBLE | MOD_LONG,
	.params = params,
	.wants = wants,
	.far_end = "to",
	.probe = probe,
	.apply = apply,
	.undo = undo,
};
