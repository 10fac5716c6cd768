/* SPDX-License-Identifier: Apache-2.0
 * copy_send - passes of a machine's disks: the source's end.
 */
#include "modules/lib/copy_impl.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "modules/lib/freeze.h"
#include "modules/lib/track.h"

#include <string.h>

#define FREEZE_MS 600000	/* when the plan names no downtime */
#define PASS_KEPT "pass.%u"	/* what it measured, by its number */

/* ---- what passes measured -------------------------------------------------------------- */

/* A kill may come before the fact is told. */
static int keep_pass(struct sending *s)
{
	const json_t *last = json_array_get(s->passes, json_array_size(s->passes) - 1);
	AUTO_FREE char *name = mem_printf(PASS_KEPT, s->pass.pass), *text = json_canonical(last);

	return s->how->keeps ? ctx_keep(s->c, name, text, strlen(text)) : 0;
}

static int sum_up(struct sending *s, uint32_t pass)
{
	AUTO_FREE char *text = NULL;

	s->pass.pass = pass;
	s->pass.ms = clock_real.mono_ms(clock_real.arg) - s->begun;
	warm_add(s->passes, &s->pass);
	text = warm_text(s->passes);
	if (text && s->how->warm)
		ctx_volatile(s->c, "summary", json_string(text));
	if (text && s->how->warm && !s->how->goes_on)	/* a sync tells its passes itself */
		ctx_log(s->c, "%s", text);
	return keep_pass(s);
}

static json_t *kept_pass(struct ctx *c, unsigned pass)
{
	AUTO_FREE char *name = mem_printf(PASS_KEPT, pass);
	size_t n = 0;
	const char *text = ctx_kept(c, name, &n);

	return text ? json_parse(text, n, NULL) : NULL;
}

/* The first pass brings the disk, not what changed. */
static bool little(const struct copy_how *h, const json_t *passes)
{
	const json_t *last = json_array_get(passes, json_array_size(passes) - 1);

	return h->until && jint(last, "pass", 0) > 1 &&
		jint(last, "changed", 0) <= (int64_t)h->until;
}

/* No further one is wanted, however many the plan allows. */
static bool enough(const struct ctx *c, const struct copy_how *h, const json_t *passes)
{
	const json_t *last = json_array_get(passes, json_array_size(passes) - 1);

	return warm_hopeless(passes, jint(ctx_machine(c), "downtime_ms", 0)) ||
		(h->freeze_last ? jbool(last, "held", false) : little(h, passes));
}

json_t *copy_measured(struct ctx *c, const struct copy_how *h)
{
	const json_t *fact = ctx_fact(c, "warm");
	json_t *passes = json_deep_copy(jget(fact, "passes")), *out = json_object();
	bool over = jbool(fact, "enough", false);
	unsigned known;

	if (!passes)
		passes = json_array();
	known = (unsigned)jint(json_array_get(passes, json_array_size(passes) - 1), "pass", 0);
	for (unsigned n = known + 1; n <= COPY_PASSES_MAX; n++) {
		json_t *one = kept_pass(c, n);

		if (!one)
			continue;
		jadd(passes, one);
		over = enough(c, h, passes);
	}
	jset_bool(out, "enough", over);
	jset(out, "passes", passes);
	return out;
}

/* ---- passes ------------------------------------------------------------------------------- */

static uint32_t send_disks(struct sending *s)
{
	const json_t *disks = jget(ctx_machine(s->c), "source.disks");
	uint32_t lowest = UINT32_MAX;
	const char *name;
	json_t *spec;

	json_object_foreach((json_t *)disks, name, spec) {
		AUTO_ERR e = { 0 };
		uint32_t pass;

		if (!copy_wants(s->c, name, spec))
			continue;
		pass = copy_send_disk(s, name, spec, &e);
		if (pass == 0) {
			ctx_fail_err(s->c, &e);
			return 0;
		}
		lowest = pass < lowest ? pass : lowest;
	}
	return lowest;
}

/* All disks once. The lowest pass among them, or 0 (told). */
static uint32_t send_pass(struct sending *s)
{
	struct checkpoint_how h = { .wants = copy_wants, .held = s->held,
		.use = s->how->changes != CHANGES_DIGEST,
		.begin = s->how->changes == CHANGES_TRACE };
	struct snapshot_how v = { .wants = copy_wants, .held = s->held, .use = h.use,
		.make = s->how->snapshots, .keep = h.begin };
	uint32_t lowest = 0;

	s->before = 0;
	s->pass = (struct warm_pass){ .at = warm_now(), .held = s->held };
	s->begun = clock_real.mono_ms(clock_real.arg);
	if (checkpoint_begin(s->c, &h, &s->at) < 0)
		return 0;
	if (snapshot_begin(s->c, &v, &s->snaps) == 0)
		lowest = send_disks(s);
	snapshot_end(s->snaps);
	checkpoint_end(s->at, lowest != 0 && !s->how->mend);
	s->snaps = NULL;
	s->at = NULL;
	return lowest && sum_up(s, lowest) == 0 ? lowest : 0;
}

static uint32_t send_frozen_pass(struct sending *s)
{
	int64_t downtime = jint(ctx_machine(s->c), "downtime_ms", 0);
	struct freeze *f = NULL;
	uint32_t pass;
	unsigned ms;

	if (freeze_begin(s->c, ctx_fact(s->c, "machine"),
			 downtime > 0 ? (unsigned)downtime : FREEZE_MS, &f) < 0)
		return 0;
	s->held = true;
	pass = send_pass(s);
	s->held = false;
	ms = freeze_age(f);
	if (freeze_end(s->c, f) < 0)
		return 0;
	ctx_log(s->c, "the source was frozen for %ums, and serves on", ms);
	ctx_volatile(s->c, "frozen_ms", json_integer(ms));
	return pass;
}

/* The number of the last pass, or 0 (told). */
static uint32_t send_passes(struct sending *s)
{
	const struct copy_how *h = s->how;
	uint32_t pass = 0;
	bool last;

	do {
		last = h->freeze_last && (pass + 1 >= h->passes ||
					  (pass && little(h, s->passes)));
		pass = last ? send_frozen_pass(s) : send_pass(s);
	} while (pass && !last && (h->freeze_last || pass < h->passes) &&
		 !enough(s->c, h, s->passes));
	return pass;
}

/* By what it is followed from here on; NULL: by nothing. */
static const char *followed_by(struct ctx *c, const struct checkpoint_view *domain,
			       const struct snapshot_view *volumes, const char *name,
			       const json_t *spec)
{
	AUTO_FREE char *path = disk_find(name, spec, NULL);
	uint8_t root[SHA256_LEN];

	if (snapshot_of(volumes, name, NULL) == SNAPSHOT_FOLLOWS)
		return "snapshot";
	if (checkpoint_of(domain, name, spec, NULL) == CHECKPOINT_FOLLOWS)
		return "bitmap";
	return path && track_since(c, name, path, root) ? "trace" : NULL;
}

/* Of disks that other steps copy what those told. */
static json_t *followed(struct ctx *c)
{
	AUTO_SNAPSHOTS *volumes = snapshot_view(c);
	AUTO_VIEW *domain = checkpoint_view(c);
	json_t *out = json_deep_copy(jget(ctx_fact(c, "warm"), "followed")), *spec;
	const char *name;

	if (!out)
		out = json_object();
	json_object_foreach(jget(ctx_machine(c), "source.disks"), name, spec) {
		if (!copy_wants(c, name, spec))
			continue;
		json_object_del(out, name);
		jset_str(out, name, followed_by(c, domain, volumes, name, spec));
	}
	return out;
}

static void tell_warm(struct sending *s, uint32_t pass)
{
	json_t *loose = json_object();

	/* a further pass leaves open what convert settled */
	jset_bool(loose, "enough", s->how->goes_on ? jbool(ctx_fact(s->c, "warm"), "enough", false) :
		  pass < s->how->passes);
	jset(loose, "passes", json_incref(s->passes));
	jset(loose, "followed", followed(s->c));
	ctx_set_fact(s->c, "warm", json_object(), loose);
}

int copy_unfollow(struct ctx *c)
{
	return checkpoint_stop(c) < 0 || snapshot_stop(c) < 0 || track_stop(c) < 0 ? -1 : 0;
}

int copy_send(struct ctx *c, const struct copy_how *h)
{
	AUTO_JSON *report = json_object(), *measured = copy_measured(c, h), *foretold = json_object();
	struct sending s = { .c = c, .how = h, .held = h->held, .foretold = foretold,
		.report = report, .passes = json_object_get(measured, "passes") };
	struct stream st = { .pipe = ctx_stream(c) };
	AUTO_ERR e = { 0 };
	uint32_t pass;

	if (h->changes == CHANGES_TRACE && track_start(c, h->track_ms) < 0)
		return -1;
	pass = send_passes(&s);
	if (pass == 0)
		return -1;
	ctx_volatile(c, "passes", json_incref(report));
	if (h->warm)
		tell_warm(&s, pass);
	return stream_bye(&st, &e) < 0 ? ctx_fail_err(c, &e) : 0;
}
