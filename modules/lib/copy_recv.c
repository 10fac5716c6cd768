/* SPDX-License-Identifier: Apache-2.0
 * copy_recv - passes of a machine's disks: the target's end.
 */
#include "modules/lib/copy_recv.h"

#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct target *of(struct sink *k)
{
	return (struct target *)k;
}

/* ---- the sink ------------------------------------------------------------ */

static bool t_have(struct sink *k, uint64_t index, uint8_t digest[SHA256_LEN])
{
	return map_get(of(k)->m, index, digest) != 0;
}

/* By several threads at once. */
static int wrote(struct target *t, int rc)
{
	if (rc < 0)
		__atomic_store_n(&t->broken, true, __ATOMIC_RELAXED);
	return rc;
}

static int t_data(struct sink *k, const struct stream_chunk *c, struct err *e)
{
	struct target *t = of(k);
	uint64_t at = c->index * map_id(t->m)->chunk;

	if (map_cover(t->m, c->index, 1, e) < 0)
		return -1;
	return wrote(t, t->d->ops->write(t->d, c->plain, c->plain_len, at, e));
}

static int t_zero(struct sink *k, uint64_t index, uint64_t count, struct err *e)
{
	struct target *t = of(k);
	uint64_t at = index * map_id(t->m)->chunk, n = count * map_id(t->m)->chunk;

	if (t->d->blank)
		return 0;	/* nothing was ever written there */
	if (map_cover(t->m, index, count, e) < 0)
		return -1;
	if (n > map_id(t->m)->size - at)
		n = map_id(t->m)->size - at;
	return wrote(t, t->d->ops->zero(t->d, at, n, e));
}

static int t_sync(struct sink *k, struct err *e)
{
	return wrote(of(k), of(k)->d->ops->flush(of(k)->d, e));
}

static int t_enter(struct sink *k, const struct map_update *u, size_t n, struct err *e)
{
	return map_commit(of(k)->m, u, n, e);
}

static int t_finish(struct sink *k, uint8_t root[SHA256_LEN], struct err *e)
{
	return map_finish(of(k)->m, root, e);
}

/* An image that is closed in order can be gone on with, whatever happens to the host. What
 * its format does not bear ends the copy: without a map it is begun anew. */
static int close_base(struct target *t, struct err *e)
{
	bool open = t->d != NULL;
	int rc = disk_close(&t->d, e);

	if (t->broken && t->at.boot)
		return unlink(t->at.map) < 0 ? err_sys(e, "cannot remove '%s'", t->at.map) : rc;
	return rc == 0 && open ? base_closed(&t->at, e) : rc;
}

static void target_free(struct target *t)
{
	close_base(t, NULL);
	map_close(t->m);
	layout_disk_free(&t->at);
	free(t);
}

static struct sink *on_open(void *arg, const struct stream_offer *o, struct err *e)
{
	struct target *t = mem_alloc(sizeof(*t));

	t->k = (struct sink){ .have = t_have, .data = t_data, .zero = t_zero,
		.sync = t_sync, .enter = t_enter, .finish = t_finish };
	if (target_open(arg, t, o, e) == 0)
		return &t->k;
	target_free(t);
	return NULL;
}

static int on_close(void *arg, struct sink *k, const struct stream_stat *st, bool ok,
		    struct err *e)
{
	struct receiving *x = arg;
	struct target *t = of(k);
	int rc = close_base(t, e);

	if (ok && rc == 0) {
		struct copy_there there = { .base = true, .map = true,
			.size = map_id(t->m)->size, .chunk = map_id(t->m)->chunk };
		json_t *one = json_object();

		map_state(t->m, &there.state);
		jset(x->fact, t->name, copy_fact(&t->at, &there));
		jset_int(one, "changed", (int64_t)st->data);
		jset_int(one, "wire", (int64_t)st->wire);
		jset_int(one, "ms", (int64_t)st->ms);
		jset(x->loose, t->name, one);
		base_announce(x->c, &t->at);
	}
	target_free(t);
	return rc;
}

/* ---- the end of the module ------------------------------------------------ */

static bool on_cancelled(void *arg)
{
	return ctx_cancelled(((struct receiving *)arg)->c);
}

int copy_receive(struct ctx *c, const struct copy_how *h)
{
	AUTO_JSON *fact = json_object(), *loose = json_object();
	struct receiving x = { .c = c, .how = h, .fact = fact, .loose = loose };
	struct stream s = { .pipe = ctx_stream(c), .cancelled = on_cancelled, .arg = &x };
	struct stream_receiver r = { .open = on_open, .close = on_close, .arg = &x };
	AUTO_LAYOUT l = { 0 };
	AUTO_ERR e = { 0 };
	int rc;

	if (layout_of(ctx_machine(c), &l, &e) < 0 ||
	    (h->goes_on ? copy_home_check : copy_home_keep)(c, &l, &e) < 0 ||
	    layout_claim(&l, ctx_machine(c), ctx_run(c), &e) < 0) {
		stream_fail(&s, &e);
		return ctx_fail_err(c, &e);
	}
	while ((rc = stream_recv(&s, &r, &e)) == 1)
		;
	if (rc < 0)
		return ctx_fail_err(c, &e);
	if (h->fact)
		ctx_set_fact(c, h->fact, json_incref(fact), json_incref(loose));
	return 0;
}
