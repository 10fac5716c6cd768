/* SPDX-License-Identifier: Apache-2.0
 * night_plan - see night.h: the plan is edited between commands.
 */
#include "tests/unit/night.h"

#include "engine/base/mem.h"

static void edit_word(struct night *n, const char *key, const char *const *words, unsigned count)
{
	const char *word = words[night_dice(n, count)];

	night_tell(n, "the plan: %s: %s", key, word);
	jset_str(n->r->args, key, word);
}

/* What was begun with one size of chunks does not go on with another, which is told. */
static void edit_chunk(struct night *n)
{
	static const unsigned chunks[] = { 64, 128, 1024 };
	unsigned chunk = chunks[night_dice(n, 3)] << 10;

	night_tell(n, "the plan: chunk: %u", chunk);
	json_object_set_new(n->r->args, "chunk", json_integer(chunk));
}

void night_chunk_back(struct night *n)
{
	night_tell(n, "the plan: chunk: %u again", n->chunk);
	json_object_set_new(n->r->args, "chunk", json_integer(n->chunk));
}

/* The other disk leaves the plan, or is in it again. Meanwhile nobody follows it. */
static void edit_disks(struct night *n)
{
	struct night_other *o = &n->other;
	json_t *rows = json_object_get(n->r->more, "disks");

	if (!o->src)
		return;
	o->out = !o->out;
	night_tell(n, "the plan: %s the other disk", o->out ? "without" : "with");
	if (o->out) {
		o->row = json_incref(json_object_get(rows, "other"));
		o->spec = n->r->also;
		n->r->also = NULL;
		json_object_del(rows, "other");
	} else {
		json_object_set_new(rows, "other", o->row);
		n->r->also = o->spec;
		o->row = o->spec = NULL;
	}
	n->odd |= ODD_TRACKER;
}

void night_replan(struct night *n)
{
	static const char *const zips[] = { "auto", "none", "zstd" };
	static const char *const ways[] = { "auto", "digest" }, *const frees[] = { "copy", "skip" };

	switch (night_dice(n, 6)) {
	case 0:
		edit_word(n, "compress", zips, 3);
		break;
	case 1:
		edit_word(n, "changes", ways, 2);
		break;
	case 2:
		edit_word(n, "free", frees, 2);
		break;
	case 3:
		edit_chunk(n);
		break;
	default:
		edit_disks(n);
	}
}
