/* SPDX-License-Identifier: Apache-2.0
 * copy_send - passes of a machine's disks: the source's end.
 */
#include "modules/lib/copy.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "modules/lib/badsectors.h"
#include "modules/lib/freespace.h"
#include "modules/lib/freeze.h"
#include "modules/lib/imgcheck.h"
#include "modules/lib/track.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define FREEZE_MS 600000	/* when the plan names no downtime */

struct sending {
	struct ctx *c;
	const struct copy_how *how;
	uint64_t before, total;	/* bytes of this pass: disks that are done, all */
	const char *disk;
	bool held;		/* the source stands still in this pass */
	json_t *report;		/* disk -> list of passes */
};

bool copy_wants(const struct ctx *c, const char *disk, const json_t *source_disk)
{
	const json_t *only = json_object_get(ctx_args(c), "disks"), *name;
	size_t i;

	if (!layout_copies(source_disk))
		return false;
	if (!json_is_array(only) || json_array_size(only) == 0)
		return true;
	json_array_foreach(only, i, name)
		if (json_is_string(name) && strcmp(json_string_value(name), disk) == 0)
			return true;
	return false;
}

static int check_names(struct ctx *c)
{
	const json_t *only = json_object_get(ctx_args(c), "disks"), *name;
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	size_t i;

	json_array_foreach(only, i, name) {
		const char *s = json_string_value(name);

		if (s && json_object_get(disks, s))
			continue;
		ctx_hint(c, "the machine's disks are the keys of source.disks");
		return ctx_fail(c, "cannot copy disk '%s': the machine has none of that name",
				s ? s : "?");
	}
	return 0;
}

int copy_args(struct ctx *c, struct copy_how *h)
{
	const char *zip = jstr(ctx_args(c), "compress", "auto");
	int64_t chunk = jint(ctx_args(c), "chunk", 1 << 20);

	h->zip = strcmp(zip, "none") == 0 ? ZIP_NONE :
		strcmp(zip, "zstd") == 0 ? ZIP_ZSTD : ZIP_AUTO;
	h->chunk = (uint32_t)chunk;
	if (chunk < STREAM_CHUNK_MIN || chunk > STREAM_CHUNK_MAX || chunk % DISK_ALIGN) {
		ctx_hint(c, "from 64KiB to 4MiB");
		return ctx_fail(c, "cannot copy in chunks of %lld bytes: it is no multiple of "
				"4096 that is allowed", (long long)chunk);
	}
	return check_names(c);
}

/* ---- apply --------------------------------------------------------------- */

static void on_tick(void *arg, const struct stream_stat *st)
{
	struct sending *s = arg;

	ctx_progress(s->c, s->before + st->scanned, s->total, "bytes", s->disk);
}

static bool on_cancelled(void *arg)
{
	return ctx_cancelled(((struct sending *)arg)->c);
}

static uint64_t on_send_rate(void *arg)
{
	return ctx_send_rate(((struct sending *)arg)->c);
}

static uint64_t on_read_rate(void *arg)
{
	return ctx_read_rate(((struct sending *)arg)->c);
}

/* `why` all of it was read, or NULL. */
static void note_pass(struct sending *s, const struct stream_stat *st, const char *why)
{
	json_t *list = json_object_get(s->report, s->disk), *one = json_object();
	char size[24], sent[24], got[24];

	if (!list) {
		list = json_array();
		jset(s->report, s->disk, list);
	}
	jset_int(one, "pass", st->pass);
	jset_int(one, "data", (int64_t)st->data);
	jset_int(one, "wire", (int64_t)st->wire);
	jset_int(one, "zero", (int64_t)st->zero);
	jset_int(one, "same", (int64_t)st->same);
	jset_int(one, "read", (int64_t)st->read);
	jset_int(one, "ms", (int64_t)st->ms);
	jset_str(one, "by", st->partly ? "trace" : "digest");
	jadd(list, one);
	text_size(st->size, size);
	text_size(st->data, sent);
	text_size(st->read, got);
	if (st->partly)
		ctx_log(s->c, "%s: pass %u, %s of %s sent in %llu ms; its traced writes were "
			"read: %s", s->disk, st->pass, sent, size, (unsigned long long)st->ms,
			got);
	else
		ctx_log(s->c, "%s: pass %u, %s of %s sent in %llu ms; all of it was read: %s",
			s->disk, st->pass, sent, size, (unsigned long long)st->ms,
			why ? why : "the target's copy is not the one that was followed");
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

/* Does nothing use it, in any mount namespace? The kernel lends a device in use to nobody. */
static bool is_quiet(const char *name, const json_t *spec)
{
	AUTO_FREE char *path = disk_find(name, spec, NULL);
	struct disk_info info;

	if (!path || disk_info(path, jstr(spec, "format", "raw"), &info, NULL) < 0)
		return false;
	AUTO_FD fd = info.block ? open(path, O_RDONLY | O_EXCL | O_CLOEXEC) : -1;

	return info.block ? fd >= 0 : !info.busy;
}

/* Free space is left out of a disk that nothing uses: of another it may be taken into
 * use while we read. */
static struct disk *without_free(struct ctx *c, const char *name, const json_t *spec,
				 struct disk *d)
{
	AUTO_FREESPACE f = { 0 };

	if (strcmp(jstr(ctx_args(c), "free", "skip"), "skip") != 0 || !is_quiet(name, spec))
		return d;
	freespace_find(d, &f);
	if (f.said.len)
		ctx_log(c, "%s: %s", name, f.said.s);
	return f.count > 0 ? freespace_skip(d, &f) : d;
}

static bool zero_bad(struct ctx *c)
{
	return strcmp(jstr(ctx_args(c), "bad_sectors", "fail"), "zero") == 0;
}

/* What could not be read, for people: the first stretches, and all of it in evidence. */
static void tell_bad(struct sending *s, const char *name, const struct badsectors *b)
{
	AUTO_FREE char *file = mem_printf("%s.bad-sectors", name);
	AUTO_STR all = { 0 };
	char size[24], places[40] = "";

	if (b->count == 0)
		return;
	for (size_t i = 0; i < b->count; i++)
		str_addf(&all, "byte %llu, length %llu\n", (unsigned long long)b->v[i].at,
			 (unsigned long long)b->v[i].len);
	text_size(b->bytes, size);
	if (b->count > 1)
		snprintf(places, sizeof(places), " on in %zu places", b->count);
	ctx_evidence(s->c, file, all.s, all.len);
	ctx_finding(s->c, "warning", "disk.bad_sectors", "find out which files lie there before "
		    "you cut over; the evidence names every place", "%s of disk '%s' cannot be "
		    "read, from byte %llu%s: zeros were copied", size, name,
		    (unsigned long long)b->v[0].at, places);
}

static uint32_t failed(struct ctx *c, const char *name, struct err *e)
{
	if (badsectors_is(e) && !zero_bad(c))
		err_hint(e, "the disk cannot be read there; `bad_sectors: zero` in this step and "
			 "in the cutover's pass copies zeros in its place");
	err_wrap(e, "cannot copy disk '%s'", name);
	return 0;
}

/* One disk, one pass. The pass it was, or 0 with e. */
static uint32_t send_disk(struct sending *s, const char *name, const json_t *spec,
			  struct err *e)
{
	struct stream st = { .fd = ctx_stream(s->c), .zip = s->how->zip, .tick = on_tick,
		.cancelled = on_cancelled, .send_rate = on_send_rate,
		.read_rate = on_read_rate, .arg = s };
	struct stream_open o = { .disk = name, .chunk = s->how->chunk };
	struct stream_stat stat = { 0 };
	AUTO_BADSECTORS bad = { 0 };
	AUTO_CHANGES changes = { 0 };
	const char *why = find_changes(s, name, spec, &changes, e);
	AUTO_DISK *d = err_is(e) ? NULL : disk_open_source(name, spec, 0, e);

	s->disk = name;
	o.changes = why ? NULL : &changes;
	if (!d) {
		stream_fail(&st, e);
		return 0;
	}
	if (d->sandbox)
		ctx_log(s->c, "%s: qemu-nbd runs with %s", name, d->sandbox);
	/* Zeros in the place of a bitmap would be free space: that is looked at first. */
	d = without_free(s->c, name, spec, d);
	if (zero_bad(s->c))
		d = badsectors_zero(d, &bad);
	if (stream_send(&st, d, &o, &stat, e) < 0)
		return failed(s->c, name, e);
	if (s->how->changes != CHANGES_DIGEST)
		track_confirm(s->c, name, stat.root, s->how->track_ms);
	s->before += stat.size;
	note_pass(s, &stat, why);
	tell_bad(s, name, &bad);
	return stat.pass ? stat.pass : 1;
}

/* All disks once. The lowest pass among them, or 0 (told). */
static uint32_t send_pass(struct sending *s)
{
	const json_t *disks = jget(ctx_machine(s->c), "source.disks");
	uint32_t lowest = UINT32_MAX;
	const char *name;
	json_t *spec;

	s->before = 0;
	json_object_foreach((json_t *)disks, name, spec) {
		AUTO_ERR e = { 0 };
		uint32_t pass;

		if (!copy_wants(s->c, name, spec))
			continue;
		pass = send_disk(s, name, spec, &e);
		if (pass == 0) {
			ctx_fail_err(s->c, &e);
			return 0;
		}
		lowest = pass < lowest ? pass : lowest;
	}
	return lowest;
}

static uint32_t send_frozen_pass(struct sending *s)
{
	int64_t downtime = jint(ctx_machine(s->c), "downtime_ms", 0);
	struct freeze *f = NULL;
	uint32_t pass;

	if (freeze_begin(s->c, ctx_fact(s->c, "machine"),
			 downtime > 0 ? (unsigned)downtime : FREEZE_MS, &f) < 0)
		return 0;
	s->held = true;
	pass = send_pass(s);
	s->held = false;
	return freeze_end(s->c, f) < 0 ? 0 : pass;
}

static uint64_t total_size(struct ctx *c)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	uint64_t total = 0;
	const char *name;
	json_t *spec;

	json_object_foreach((json_t *)disks, name, spec) {
		AUTO_FREE char *path = NULL;
		struct disk_info info;

		if (copy_wants(c, name, spec) && (path = disk_find(name, spec, NULL)) &&
		    disk_info(path, jstr(spec, "format", "raw"), &info, NULL) == 0)
			total += info.size;
	}
	return total;
}

static int send_passes(struct sending *s)
{
	uint32_t pass = 0;

	do {
		bool last = pass + 1 >= s->how->passes;

		pass = last && s->how->freeze_last ? send_frozen_pass(s) : send_pass(s);
		if (pass == 0)
			return -1;
	} while (pass < s->how->passes);
	return 0;
}

int copy_send(struct ctx *c, const struct copy_how *h)
{
	AUTO_JSON *report = json_object();
	struct sending s = { .c = c, .how = h, .total = total_size(c), .held = h->held,
		.report = report };
	struct stream st = { .fd = ctx_stream(c) };
	AUTO_ERR e = { 0 };

	if (h->changes == CHANGES_TRACE && track_start(c, h->track_ms) < 0)
		return -1;
	if (send_passes(&s) < 0)
		return -1;
	ctx_volatile(c, "passes", json_incref(report));
	return stream_bye(&st, &e) < 0 ? ctx_fail_err(c, &e) : 0;
}

/* ---- probe --------------------------------------------------------------- */

static void look_at_use(struct ctx *c, const char *name, const char *path,
			const struct disk_info *i)
{
	const char *like = i->block ? NULL : imgcheck_looks_like(path);

	if (i->busy && !ctx_fact(c, "machine"))		/* else assess told it: disk.busy */
		ctx_finding(c, "info", "disk.serving", "the cutover stops the machine, then "
			    "copies once more what changed", "disk '%s' is in use by a "
			    "running machine: '%s'", name, path);
	if (like)
		ctx_finding(c, "warning", "disk.format", "say the image's format in the plan",
			    "disk '%s' is copied as raw but looks like %s: '%s'", name, like,
			    path);
}

/* Bytes that a first pass will read: all but holes and free space. An image that is not raw
 * is not opened for it: what its file takes is near enough. */
static uint64_t to_read(struct ctx *c, const char *name, const json_t *spec,
			const struct disk_info *i)
{
	bool raw = strcmp(jstr(spec, "format", "raw"), "raw") == 0, hole;
	AUTO_DISK *d = raw ? disk_open_source(name, spec, 0, NULL) : NULL;
	uint64_t sum = 0, len;

	if (!d)
		return i->used ? i->used : i->size;
	d = without_free(c, name, spec, d);
	for (uint64_t at = 0; at < d->size; at += len) {
		if (d->ops->extent(d, at, &len, &hole, NULL) < 0)
			return i->size;
		sum += hole ? 0 : len;
	}
	return sum;
}

static int probe_disk(struct ctx *c, const char *name, const json_t *spec)
{
	AUTO_ERR e = { 0 };
	AUTO_FREE char *path = disk_find(name, spec, &e);
	const char *format = jstr(spec, "format", "raw");
	const json_t *was = json_object_get(ctx_fact(c, "disks"), name);
	const json_t *row = json_object_get(jget(ctx_machine(c), "target.disks"), name);
	struct disk_info info;
	uint64_t used;

	if (!path || disk_info(path, format, &info, &e) < 0)
		return ctx_fail_err(c, &e);
	if (was && (uint64_t)jint(was, "size", 0) != info.size) {
		ctx_hint(c, "drover rollback PLAN --to convert, then drover run PLAN");
		return ctx_fail(c, "cannot go on with disk '%s': it has %llu bytes now, the "
				"copy was begun with %lld", name,
				(unsigned long long)info.size,
				(long long)jint(was, "size", 0));
	}
	if (copy_check_size(name, (uint64_t)jint(row, "size", 0), info.size, &e) < 0)
		return ctx_fail_err(c, &e);
	if (strcmp(format, "raw") == 0)
		look_at_use(c, name, path, &info);
	if (!was) {
		used = to_read(c, name, spec, &info);
		ctx_cost(c, used, used, 0, 0);
	}
	return 0;
}

/* With `auto` the way is not known before it was tried. */
static void tell_way(struct ctx *c)
{
	const char *way = jstr(ctx_machine(c), "stream", "auto");

	if (strcmp(way, "direct") == 0)
		ctx_change(c, '=', "the data goes straight from host to host, or not at all");
	else if (strcmp(way, "relay") == 0)
		ctx_change(c, '=', "the data goes through drover");
}

int copy_probe_source(struct ctx *c)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	const char *name;
	json_t *spec;
	size_t n = 0;

	if (check_names(c) < 0)
		return -1;
	json_object_foreach((json_t *)disks, name, spec) {
		if (!copy_wants(c, name, spec))
			continue;
		n++;
		if (probe_disk(c, name, spec) < 0)
			return -1;
	}
	if (n > 0) {
		tell_way(c);
		return 0;
	}
	ctx_hint(c, "name its disks in the plan: source: { disks: { root: ... } }");
	return ctx_fail(c, "cannot copy '%s': it has no disk to copy", ctx_machine_name(c));
}

static const char *why_no_trace(const char *path, const json_t *spec)
{
	return strcmp(jstr(spec, "format", "raw"), "raw") != 0 ?
		"it is an image of a format" : track_why_not(path);
}

static void say_changes(struct ctx *c, enum copy_changes how, const char *name,
			const json_t *spec)
{
	AUTO_FREE char *path = disk_find(name, spec, NULL);
	const char *why = "it is out of sight";

	if (path && how != CHANGES_DIGEST && track_follows(c, name, path)) {
		ctx_change(c, '=', "%s: its writes are traced; a pass reads what was written",
			   name);
		return;
	}
	if (how == CHANGES_DIGEST)
		why = "the plan says so";
	else if (how == CHANGES_KNOWN || json_object_get(ctx_fact(c, "disks"), name))
		why = "its writes were not traced since the last one";
	else if (path)
		why = why_no_trace(path, spec);
	if (why)
		ctx_change(c, '.', "%s: the next pass reads all of it and compares digests: %s",
			   name, why);
	else
		ctx_change(c, '+', "%s: its writes are traced, later passes read what was "
			   "written", name);
}

void copy_probe_changes(struct ctx *c, enum copy_changes how)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	const char *name;
	json_t *spec;

	json_object_foreach((json_t *)disks, name, spec)
		if (copy_wants(c, name, spec))
			say_changes(c, how, name, spec);
}
