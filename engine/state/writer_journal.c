/* SPDX-License-Identifier: Apache-2.0
 * writer_journal - the journal thread: one write and one sync for all that waits.
 */
#include "engine/base/mem.h"
#include "engine/state/dir.h"
#include "engine/state/writer_priv.h"

#include <errno.h>
#include <sys/eventfd.h>

struct item *items_take(struct items *q)
{
	struct item *first = q->head, **p = &q->head;
	size_t n = 0, bytes = 0;

	while (*p && n < BATCH_RECORDS && (n == 0 || bytes + (*p)->len <= BATCH_BYTES)) {
		bytes += (*p)->len;
		n++;
		p = &(*p)->next;
	}
	q->head = *p;
	if (!q->head)
		q->tail = &q->head;
	*p = NULL;
	return n ? first : NULL;
}

static void item_fail(struct item *i, const struct err *why)
{
	if (!i->told || err_is(&i->told->err))
		return;
	err_set(&i->told->err, why->kind, "%s", why->what);
	i->told->err.sys = why->sys;
	if (why->hint)
		err_hint(&i->told->err, "%s", why->hint);
}

/* Write those of the list that may be written. 0, or -1 with e: none was. */
static int batch_write(struct writer *w, struct item *list, struct err *e)
{
	struct journal_record v[BATCH_RECORDS];
	size_t n = 0;

	for (struct item *i = list; i; i = i->next)
		if (!(w->low && i->starts))
			v[n++] = (struct journal_record){ i->seq, i->payload, i->len };
	return journal_write(&w->journal, v, n, e);
}

static void err_full(struct err *e, const struct writer *w)
{
	err_set(e, ERR_SYSTEM, "cannot start anything more: the disk of '%s' is full", w->dir);
	err_hint(e, "what has ended is still recorded; make room, then `drover run` goes on");
}

void journal_list(struct writer *w, struct item *list)
{
	AUTO_ERR e = { 0 };
	AUTO_ERR full = { 0 };
	int rc = batch_write(w, list, &e);

	if (rc < 0 && e.sys == ENOSPC && !w->low) {
		w->low = true;
		dir_reserve_drop(w->dir);
		err_clear(&e);
		rc = batch_write(w, list, &e);
	}
	err_full(&full, w);
	for (struct item *i = list; i; i = i->next) {
		if (rc < 0)
			item_fail(i, &e);
		else if (w->low && i->starts)
			item_fail(i, &full);
	}
	if (rc < 0)		/* records after a gap would tell a false story */
		w->journal.broken = true;
}

void journal_list_done(struct writer *w, struct item *list)
{
	for (struct item *i = list, *next; i; i = next) {
		bool failed = w->journal.broken || (w->low && i->starts);

		next = i->next;
		w->written = i->seq;
		if (failed && w->journal.broken && !err_is(&w->journal_err))
			err_set(&w->journal_err, ERR_SYSTEM, "%s", i->told &&
				err_is(&i->told->err) ? i->told->err.what :
				"cannot write the journal: an earlier write failed");
		if (i->told)
			outcomes_add(&w->done, i->told);
		if (failed) {
			item_free(i);
			continue;
		}
		w->durable = i->seq;
		items_add(&w->to_git, i);
	}
	w->size = w->journal.end;
	pthread_cond_broadcast(&w->moved);
	if (w->done.head && eventfd_write(w->wake, 1) < 0)
		abort();
}

void journal_trim_to(struct writer *w, uint64_t upto)
{
	AUTO_ERR e = { 0 };

	/* A journal that could not be trimmed is only longer; if it is broken the
	 * next write says so. */
	journal_trim(&w->journal, upto, &e);
}

void *journal_main(void *arg)
{
	struct writer *w = arg;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct item *list = items_take(&w->to_journal);
		uint64_t trim = w->trim;

		w->trim = 0;
		if (!list && !trim) {
			if (w->stop_journal)
				break;
			pthread_cond_wait(&w->moved, &w->lock);
			continue;
		}
		pthread_mutex_unlock(&w->lock);
		if (trim)
			journal_trim_to(w, trim);
		if (list)
			journal_list(w, list);
		pthread_mutex_lock(&w->lock);
		journal_list_done(w, list);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}
