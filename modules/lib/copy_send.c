/* SPDX-License-Identifier: Apache-2.0
 * copy_send - passes of a machine's disks: the source's end.
 */
#include "modules/lib/copy_impl.h"

#include "engine/base/mem.h"
#include "modules/lib/freeze.h"
#include "modules/lib/track.h"

#define FREEZE_MS 600000	/* when the plan names no downtime */

static void sum_up(struct sending *s, uint32_t pass)
{
	int64_t ms = warm_now() - s->pass.at;
	AUTO_FREE char *text = NULL;

	s->pass.pass = pass;
	s->pass.ms = ms > 0 ? (uint64_t)ms : 0;
	warm_add(s->passes, &s->pass);
	text = warm_text(s->passes);
	if (text && s->how->warm) {
		ctx_log(s->c, "%s", text);
		ctx_volatile(s->c, "summary", json_string(text));
	}
}

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
	uint32_t lowest;

	s->before = 0;
	s->pass = (struct warm_pass){ .at = warm_now(), .held = s->held };
	if (checkpoint_begin(s->c, &h, &s->at) < 0)
		return 0;
	lowest = send_disks(s);
	checkpoint_end(s->at, lowest != 0 && !s->how->mend);
	s->at = NULL;
	if (lowest)
		sum_up(s, lowest);
	return lowest;
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

/* The first pass brings the disk, not what changed. */
static bool little(const struct sending *s, uint32_t pass)
{
	return s->how->until && pass > 1 && s->pass.changed <= s->how->until;
}

/* The number of the last pass, or 0 (told). */
static uint32_t send_passes(struct sending *s)
{
	const struct copy_how *h = s->how;
	int64_t allowed = jint(ctx_machine(s->c), "downtime_ms", 0);
	uint32_t pass = 0;
	bool last;

	do {
		last = h->freeze_last && (pass + 1 >= h->passes || little(s, pass));
		pass = last ? send_frozen_pass(s) : send_pass(s);
	} while (pass && !last && !warm_hopeless(s->passes, allowed) &&
		 (h->freeze_last || (pass < h->passes && !little(s, pass))));
	return pass;
}

static void tell_warm(struct sending *s, uint32_t pass)
{
	json_t *loose = json_object();

	jset_bool(loose, "enough", pass < s->how->passes);
	jset(loose, "passes", json_incref(s->passes));
	ctx_set_fact(s->c, "warm", json_object(), loose);
}

int copy_send(struct ctx *c, const struct copy_how *h)
{
	AUTO_JSON *report = json_object(), *passes = json_deep_copy(jget(ctx_fact(c, "warm"),
									 "passes"));
	struct sending s = { .c = c, .how = h, .total = total_size(c), .held = h->held,
		.report = report };
	struct stream st = { .fd = ctx_stream(c) };
	AUTO_ERR e = { 0 };
	uint32_t pass;

	if (!passes)
		passes = json_array();
	s.passes = passes;
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
