/* SPDX-License-Identifier: Apache-2.0
 * copy_there - what stands at the target of a copy: looked at, told, taken away.
 */
#include "modules/lib/copy.h"
#include "modules/lib/proof.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <unistd.h>

int copy_look(const struct layout_disk *d, struct copy_there *t, struct err *e)
{
	AUTO_ERR why = { 0 };
	AUTO_MAP *m = map_open(d->map, false, &why);
	struct disk_info i = { 0 };

	if (base_torn(d)) {	/* as if it were not begun */
		map_close(m);
		m = NULL;
		why.sys = ENOENT;
	}
	*t = (struct copy_there){ .base = access(d->base, F_OK) == 0, .map = m != NULL,
				  .room = d->room };
	if (t->base && !d->room && disk_info(d->base, d->format, &i, NULL) == 0)
		t->room = i.size;
	if (!m && why.sys != ENOENT && why.sys != ENOTDIR) {
		err_move(e, &why);
		return -1;
	}
	if (!m)
		return 0;
	map_state(m, &t->state);
	t->size = map_id(m)->size;
	t->chunk = map_id(m)->chunk;
	return 0;
}

void copy_say_later(struct ctx *c, const char *name, const char *what)
{
	const json_t *disk = copy_seen(c, name);

	if (disk)
		ctx_unknown(c, "read", (uint64_t)jint(disk, "size", 0), "%s %s, once it is copied",
			    name, what);
	else
		ctx_unknown(c, "changes", 1, "%s %s, once it is copied", name, what);
}

json_t *copy_fact(const struct layout_disk *d, const struct copy_there *t)
{
	char hex[SHA256_HEX];
	json_t *o = json_object();

	io_hex(t->state.root, SHA256_LEN, hex);
	jset_str(o, "path", d->base);
	jset_str(o, "format", d->format);
	jset_int(o, "size", (int64_t)t->size);
	jset_int(o, "pass", t->state.pass);
	jset_str(o, "digest", hex);
	jset_int(o, "chunk", t->chunk);
	jset_str(o, "map", d->map);
	return o;
}

/* How much of a device we may have written to; 0: nothing. */
static uint64_t written(const struct layout_disk *at)
{
	AUTO_MAP *m = map_open(at->map, false, NULL);
	struct map_state s = { 0 };

	if (m)
		map_state(m, &s);
	return s.generation ? map_id(m)->size : 0;
}

static int remove_disk(struct ctx *c, const char *name, struct err *e)
{
	AUTO_LAYOUT_DISK at = { 0 };
	int begun = layout_of_begun(ctx_machine(c), name, &at, e);

	if (begun <= 0)
		return begun;
	if (base_remove(c, name, &at, written(&at), e) < 0 || proof_mark_drop(&at, e) < 0)
		return -1;
	if (unlink(at.map) < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, "cannot remove '%s'", at.map);
	if (unlink(at.record) < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, "cannot remove '%s'", at.record);
	return 0;
}

int copy_remove(struct ctx *c)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	AUTO_LAYOUT l = { 0 };
	AUTO_ERR e = { 0 };
	const char *name;
	json_t *spec;
	int owner;

	if (layout_of(ctx_machine(c), &l, &e) < 0)
		return ctx_fail_err(c, &e);
	/* Never take away what is not ours. */
	owner = layout_owner(&l, ctx_machine(c), ctx_run(c), NULL);
	if (owner < 0)
		return 0;
	json_object_foreach((json_t *)disks, name, spec)
		if (owner && copy_wants(c, name, spec) && remove_disk(c, name, &e) < 0)
			return ctx_fail_err(c, &e);
	return layout_release(&l, &e) < 0 ? ctx_fail_err(c, &e) : 0;
}
