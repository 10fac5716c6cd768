/* SPDX-License-Identifier: Apache-2.0
 * copy_disk - one pass of one disk: the source's end.
 */
#include "modules/lib/copy_impl.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "modules/lib/badsectors.h"
#include "modules/lib/track.h"

#include <stdio.h>
#include <string.h>

/* Only what was written is read of it, most likely; how much that is shows at its turn. */
static bool is_known(struct sending *s, const char *name)
{
	return s->how->changes != CHANGES_DIGEST &&
	       (copy_seeded(s->c, name) || copy_was_followed(s->c, name, NULL));
}

/* What those of the disks behind this one will take of which all is read. */
static uint64_t ahead_of(struct sending *s, const char *disk)
{
	bool behind = false;
	uint64_t sum = 0;
	const char *name;
	json_t *spec;

	json_object_foreach(jget(ctx_machine(s->c), "source.disks"), name, spec) {
		if (behind && copy_wants(s->c, name, spec) && !is_known(s, name)) {
			if (!json_object_get(s->foretold, name))
				jset_int(s->foretold, name,
					 (int64_t)copy_to_read(s->c, name, spec));
			sum += (uint64_t)jint(s->foretold, name, 0);
		}
		behind = behind || strcmp(name, disk) == 0;
	}
	return sum;
}

/* Holes, free space and what was not written are passed over in no time: they are no part of
 * the work. */
static void on_tick(void *arg, const struct stream_stat *st)
{
	struct sending *s = arg;
	struct ctx_flow f = { .pass = st->pass, .sent = s->sent + st->wire,
		.read = s->read + st->read };
	uint64_t due = st->read > st->due ? st->read : st->due;

	if (!st->partly && (s->before || s->ahead)) {	/* one of several */
		f.done = st->read;
		f.total = due;
	}
	ctx_flow(s->c, &f);
	if (st->partly)
		ctx_progress(s->c, st->read, due, "bytes", s->disk);
	else
		ctx_progress(s->c, s->before + st->read, s->before + due + s->ahead, "bytes",
			     s->disk);
}

static bool on_cancelled(void *arg)
{
	struct sending *s = arg;

	return ctx_cancelled(s->c) || checkpoint_is_full(s->at, NULL);
}

static uint64_t on_send_rate(void *arg)
{
	return ctx_send_rate(((struct sending *)arg)->c);
}

static uint64_t on_read_rate(void *arg)
{
	return ctx_read_rate(((struct sending *)arg)->c);
}

/* How the changes of the disk under way are found where they are. */
struct way { const char *by, *text; };
static struct way way_of(const struct sending *s)
{
	if (checkpoint_has(s->at, s->disk))
		return (struct way){ "bitmap", "the writes in its dirty bitmap" };
	if (snapshot_has(s->snaps, s->disk))
		return (struct way){ "snapshot", "the writes that its snapshot noted" };
	return (struct way){ "trace", "its traced writes" };
}

static const char *why_all(const struct stream_stat *st, const char *why)
{
	if (why && strcmp(why, TRACK_NEW) == 0 && st->pass > 1)
		return "nothing followed its writes since the pass before, as after a restart of "
			"its host; they are followed from now on";
	return why ? why : COPY_OTHER;
}

json_t *copy_pass_row(const struct stream_stat *st, const char *by)
{
	json_t *row = json_object();
	char root[SHA256_HEX];

	io_hex(st->root, SHA256_LEN, root);
	jset_int(row, "pass", st->pass);
	jset_int(row, "size", (int64_t)st->size);
	jset_str(row, "digest", root);
	jset_int(row, "data", (int64_t)st->data);
	jset_int(row, "wire", (int64_t)st->wire);
	jset_int(row, "zero", (int64_t)st->zero);
	jset_int(row, "same", (int64_t)st->same);
	jset_int(row, "read", (int64_t)st->read);
	jset_int(row, "ms", (int64_t)st->ms);
	jset_str(row, "by", by);
	return row;
}

/* `why` all of it was read, or NULL. */
static void note_pass(struct sending *s, const struct stream_stat *st, const char *why)
{
	json_t *list = json_object_get(s->report, s->disk);
	char size[24], sent[24], got[24];

	if (!list) {
		list = json_array();
		jset(s->report, s->disk, list);
	}
	jadd(list, copy_pass_row(st, st->partly ? way_of(s).by : "digest"));
	text_size(st->size, size);
	text_size(st->data, sent);
	text_size(st->read, got);
	if (s->how->mend)
		ctx_log(s->c, "%s: %s sent again", s->disk, sent);
	else if (st->partly)
		ctx_log(s->c, "%s: pass %u, %s of %s sent in %llu ms; %s were read: %s", s->disk,
			st->pass, sent, size, (unsigned long long)st->ms, way_of(s).text, got);
	else
		ctx_log(s->c, "%s: pass %u, %s of %s sent in %llu ms; all of it was read: %s",
			s->disk, st->pass, sent, size, (unsigned long long)st->ms,
			why_all(st, why));
}

/* Of a copy that is gone on with the chunks are those it was begun with. */
static uint32_t chunk_of(const struct sending *s, const char *name)
{
	const json_t *was = json_object_get(ctx_fact(s->c, "disks"), name);

	return s->how->goes_on ? (uint32_t)jint(was, "chunk", s->how->chunk) : s->how->chunk;
}

/* Nothing counts as written: what the target does not know is all that is read. */
static void nothing_changed(struct track_changes *t)
{
	*t = (struct track_changes){ .bits = mem_alloc(1), .granule = UINT64_MAX, .count = 1 };
}

/* What is to be read: NULL with *t filled, or why all of it is; "" with e. */
static const char *find_changes(struct sending *s, const char *name, const json_t *spec,
				struct track_changes *t, struct err *e)
{
	AUTO_FREE char *path = disk_find(name, spec, e);

	/* What the page cache holds is no write of the device yet. */
	if (!path || (s->held && track_settle(path, e) < 0))
		return "";
	if (s->how->changes == CHANGES_DIGEST)
		return "digests are compared";
	return track_take(s->c, name, path, s->how->track_ms, t);
}

/* A reboot may give the name of a disk to another one: that assess saw, and the one that
 * this step copied first, must be there still. */
static int same_device(struct sending *s, const char *name, const json_t *spec, struct err *e)
{
	AUTO_FREE char *path = disk_find(name, spec, NULL), *kept = NULL, *was = NULL;
	AUTO_FREE char *now = path ? disk_device(path) : NULL;
	const char *seen = jstr(copy_seen(s->c, name), "device", NULL), *first;
	size_t n = 0;

	if (!path)
		return 0;	/* opening it says why */
	kept = mem_printf("device.%s", name);
	first = s->how->warm ? ctx_kept(s->c, kept, &n) : NULL;
	was = first ? mem_strndup(first, n) : seen ? mem_strdup(seen) : NULL;
	if (was && (!now || strcmp(now, was) != 0)) {
		err_set(e, ERR_STEP, "cannot copy disk '%s': '%s' is another device (%s) than the "
			"one that was seen before (%s)", name, path,
			now ? now : "without a serial number", was);
		return err_hint(e, "name it by its id (ls -l /dev/disk/by-id); for another disk in "
				"its place: drover rollback PLAN --to convert, then drover run PLAN");
	}
	if (s->how->warm && now && !first && ctx_keep(s->c, kept, now, strlen(now)) < 0)
		return err_set(e, ERR_STOPPED, "stopped");
	return 0;
}

/* Found only now, amid a cutover: who asked for it was told of a short last pass. */
static int may_be_whole(struct sending *s, const char *name, const json_t *spec, const char *why,
			struct err *e)
{
	if (!s->how->known || !why || !copy_followed(s->c, name, spec))
		return 0;
	err_set(e, ERR_STEP, COPY_WHOLE_TEXT, name, why);
	return err_hint(e, COPY_WHOLE_ACCEPT);
}

/* The disk as this pass reads it; NULL with e. why, t: as find_changes(). still: what is read
 * does not change meanwhile. */
static struct disk *open_disk(struct sending *s, const char *name, const json_t *spec,
			      struct track_changes *t, const char **why, bool *still,
			      struct err *e)
{
	struct disk *d = NULL;

	if (same_device(s, name, spec, e) < 0)
		return NULL;
	if (checkpoint_has(s->at, name))
		d = checkpoint_open(s->at, name, t, why, e);
	else if (snapshot_has(s->snaps, name))
		d = snapshot_open(s->snaps, name, t, why, still, e);
	else
		*why = find_changes(s, name, spec, t, e);
	if (!d && !err_is(e))
		d = disk_open_source(name, spec, 0, e);
	if (s->how->mend) {
		track_changes_free(t);
		nothing_changed(t);
		*why = NULL;
	}
	if (d && may_be_whole(s, name, spec, *why, e) < 0)
		disk_close(&d, NULL);
	return d;
}

/* What was sent again was read from a source that serves, and so the copy has another root.
 * Of what is followed nothing was taken: all that was written since the copy before the mend
 * still counts as written, and what was written before it was read again is what was sent.
 * So it is relative to the copy after the mend too, if to the one before. */
static void rebase(struct sending *s, const char *name, const struct stream_stat *st)
{
	static const uint8_t none[SHA256_LEN];

	if (memcmp(st->since, none, SHA256_LEN) == 0 ||
	    memcmp(st->since, st->root, SHA256_LEN) == 0)
		return;
	if (checkpoint_has(s->at, name))
		checkpoint_rebase(s->at, name, st->since, st->root);
	else if (snapshot_has(s->snaps, name))
		snapshot_rebase(s->snaps, name, st->since, st->root);
	else
		track_rebase(s->c, name, st->since, st->root);
}

/* The target has all of it: what is written from here on counts for the next pass. */
static void confirm(struct sending *s, const char *name, const uint8_t root[SHA256_LEN])
{
	if (checkpoint_has(s->at, name))
		checkpoint_confirm(s->at, name, root);
	else if (snapshot_has(s->snaps, name))
		snapshot_confirm(s->snaps, name, root);
	else if (s->how->anchor)
		track_anchor(s->c, name, root, s->how->track_ms);
	else if (s->how->changes != CHANGES_DIGEST)
		track_confirm(s->c, name, root, s->how->track_ms);
}

static bool zero_bad(struct ctx *c)
{
	return strcmp(jstr(ctx_args(c), "bad_sectors", "fail"), "zero") == 0;
}

/* Every place, for evidence. Owned. */
static char *list_of(const char *name, const struct badsectors *b, unsigned pass, bool whole)
{
	uint64_t rest = b->bytes;
	AUTO_STR all = { 0 };
	char size[24];

	str_addf(&all, "disk '%s', pass %u, which read %s\n", name, pass,
		 whole ? "all of it" : "what was written since the one before");
	for (size_t i = 0; i < b->count; i++) {
		str_addf(&all, "byte %llu, length %llu\n", (unsigned long long)b->v[i].at,
			 (unsigned long long)b->v[i].len);
		rest -= b->v[i].len;
	}
	text_size(rest, size);
	if (b->count == 0)
		str_add(&all, "nothing was lost\n");
	else if (rest > 0)
		str_addf(&all, "and %s more\n", size);
	return str_take(&all);
}

/* What could not be read, for people: where it begins, and all of it in evidence. A pass that
 * read the whole disk has the last word. */
static void tell_bad(struct sending *s, const char *name, const struct badsectors *b,
		     unsigned pass, bool whole)
{
	AUTO_FREE char *file = mem_printf("%s.bad-sectors%s", name, whole ? "" : "-since");
	AUTO_FREE char *list = list_of(name, b, pass, whole), *remedy = NULL;
	char size[24], places[40] = "";

	if (!zero_bad(s->c) || (b->count == 0 && !whole))
		return;
	ctx_evidence(s->c, file, list, strlen(list));
	if (b->count == 0)
		return;
	text_size(b->bytes, size);
	if (b->count > 1)
		snprintf(places, sizeof(places), " on in %zu places", b->count);
	remedy = mem_printf("find out which files lie there before you cut over; every place: drover "
			    "show PLAN HEAD evidence/%s/%s.text -m %s",
			    jstr(ctx_run(s->c), "evidence", ""), file, ctx_machine_name(s->c));
	ctx_finding(s->c, "warning", "disk.bad_sectors", remedy, "%s of disk '%s' cannot be "
		    "read, from byte %llu%s: zeros were copied", size, name,
		    (unsigned long long)b->v[0].at, places);
}

static uint32_t failed(struct sending *s, const char *name, struct err *e)
{
	AUTO_ERR full = { 0 };

	if (e->kind == ERR_STOPPED && !ctx_cancelled(s->c) && checkpoint_is_full(s->at, &full)) {
		err_clear(e);
		err_move(e, &full);
	}
	if (badsectors_is(e) && !zero_bad(s->c))
		err_hint(e, "the disk cannot be read there; `bad_sectors: zero` in this step and "
			 "in the cutover's pass copies zeros in its place");
	err_wrap(e, "cannot copy disk '%s'", name);
	return 0;
}

uint32_t copy_send_disk(struct sending *s, const char *name, const json_t *spec,
			struct err *e)
{
	struct stream st = { .pipe = ctx_stream(s->c), .zip = s->how->zip, .tick = on_tick,
		.cancelled = on_cancelled, .send_rate = on_send_rate,
		.read_rate = on_read_rate, .arg = s };
	struct stream_open o = { .disk = name, .chunk = chunk_of(s, name) };
	struct stream_stat stat = { 0 };
	AUTO_BADSECTORS bad = { 0 };
	AUTO_CHANGES changes = { 0 };
	const char *why = NULL;
	bool still = false;
	AUTO_DISK *d = open_disk(s, name, spec, &changes, &why, &still, e);

	s->disk = name;
	s->ahead = why ? ahead_of(s, name) : 0;
	o.changes = why ? NULL : &changes;
	if (!d) {
		stream_fail(&st, e);
		return 0;
	}
	if (d->sandbox)
		ctx_log(s->c, "%s: qemu-nbd runs with %s", name, d->sandbox);
	/* Zeros in the place of a bitmap would be free space: that is looked at first. */
	d = copy_without_free(s->c, name, spec, still, d);
	if (zero_bad(s->c))
		d = badsectors_zero(d, &bad);
	if (stream_send(&st, d, &o, &stat, e) < 0)
		return failed(s, name, e);
	if (s->how->mend)
		rebase(s, name, &stat);
	else
		confirm(s, name, stat.root);
	s->before += stat.read;
	s->sent += stat.wire;
	s->read += stat.read;
	s->pass.read += stat.read;
	s->pass.changed += stat.data + stat.zero;
	s->pass.wire += stat.wire;
	note_pass(s, &stat, why);
	tell_bad(s, name, &bad, stat.pass ? stat.pass : 1, !stat.partly);
	return stat.pass ? stat.pass : 1;
}
