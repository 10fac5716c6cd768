/* SPDX-License-Identifier: Apache-2.0
 * writer - journal thread and git thread. See the header.
 */
#include "engine/state/writer.h"
#include "engine/base/mem.h"
#include "engine/state/dir.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BATCH_BYTES (16u << 20)		/* in one write */
#define BATCH_RECORDS 1024		/* in one turn of either thread */
#define META_EVERY 512			/* records, when git cannot catch up */
#define LINGER_MS 500			/* from one settling in git to the next */
#define TRIM_BYTES (16u << 20)		/* a journal longer than this is trimmed */

/* One record on its way; first to the journal, then to git. */
struct item {
	struct item *next;
	uint64_t seq;
	char *payload;			/* owned */
	size_t len;
	bool starts;
	struct outcome *told;		/* owned until it is queued; NULL: nobody asks */
};

/* What a caller of state_append waits for. */
struct outcome {
	struct outcome *next;
	durable_fn *fn;
	void *arg;
	struct err err;
};

struct items { struct item *head, **tail; };
struct outcomes { struct outcome *head, **tail; };

struct writer {
	const char *dir;		/* borrowed */
	struct loop *loop;		/* borrowed */
	bool inline_journal;		/* virtual clock: no journal thread */
	/* the loop's side only */
	struct loop_fd *watch;		/* while somebody waits */
	size_t waiting;
	/* the journal thread's */
	struct journal journal;
	bool low;			/* the disk is full: we live from the reserve */
	/* the git thread's */
	struct repo *repo;
	/* shared, under lock */
	pthread_mutex_t lock;
	pthread_cond_t moved;		/* anything below has changed */
	struct items to_journal, to_git;
	struct outcomes done;
	uint64_t put;			/* last record handed in */
	uint64_t written;		/* last one the journal has dealt with */
	uint64_t durable;		/* last one that is in the journal */
	uint64_t in_git;		/* last one whose commit is in its branch */
	uint64_t complete;		/* and whose meta edits are too */
	uint64_t trim;			/* the journal may be trimmed up to here; 0: no */
	uint64_t size;			/* of the journal */
	struct err journal_err, git_err;	/* sticky */
	unsigned flushing;		/* callers that wait for git */
	bool stop_journal, stop_git;
	int wake;			/* eventfd: outcomes are there */
	pthread_t journal_thread, git_thread;
};

/* ---- queues ------------------------------------------------------------------ */

static void items_init(struct items *q)
{
	q->head = NULL;
	q->tail = &q->head;
}

static void items_add(struct items *q, struct item *i)
{
	i->next = NULL;
	*q->tail = i;
	q->tail = &i->next;
}

/* Take from the front as many as fit one turn. */
static struct item *items_take(struct items *q)
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

static void item_free(struct item *i)
{
	free(i->payload);
	free(i);
}

static void outcomes_add(struct outcomes *q, struct outcome *o)
{
	o->next = NULL;
	*q->tail = o;
	q->tail = &o->next;
}

/* ---- the journal ------------------------------------------------------------- */

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

static void journal_list(struct writer *w, struct item *list)
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

/* Hand on: records to git, outcomes to the loop. Under lock. */
static void journal_done(struct writer *w, struct item *list)
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

static void journal_trim_to(struct writer *w, uint64_t upto)
{
	AUTO_ERR e = { 0 };

	/* A journal that could not be trimmed is only longer; if it is broken the
	 * next write says so. */
	journal_trim(&w->journal, upto, &e);
}

static void *journal_main(void *arg)
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
		journal_done(w, list);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- git --------------------------------------------------------------------- */

static int git_list(struct writer *w, struct item *list, bool last, struct err *e)
{
	for (struct item *i = list; i; i = i->next) {
		struct journal_record r = { i->seq, i->payload, i->len };

		if (repo_apply(w->repo, &r, e) < 0)
			return -1;
	}
	return repo_settle(w->repo, last || w->repo->meta_pending >= META_EVERY, e);
}

/* Under lock. */
static void git_done(struct writer *w, uint64_t seq, bool last)
{
	w->in_git = seq;
	if (last)
		w->complete = seq;
	if (last && w->size > TRIM_BYTES)
		w->trim = repo_settled(w->repo);
	pthread_cond_broadcast(&w->moved);
}

/* Records that come one by one go to git together: the journal has them safe, and
 * each settling syncs a dozen files, which the journal's own syncs would wait for. */
static void git_linger(struct writer *w, const struct timespec *until)
{
	while (w->to_git.head && !w->inline_journal && !w->stop_git && !w->flushing &&
	       w->durable - w->in_git < BATCH_RECORDS)
		if (pthread_cond_clockwait(&w->moved, &w->lock, CLOCK_MONOTONIC,
					   until) == ETIMEDOUT)
			break;
}

static struct timespec linger_until(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += LINGER_MS * 1000000L;
	t.tv_sec += t.tv_nsec / 1000000000L;
	t.tv_nsec %= 1000000000L;
	return t;
}

static void *git_main(void *arg)
{
	struct writer *w = arg;
	struct timespec until = { 0 };

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct item *list;
		bool last;
		struct err e = { 0 };
		uint64_t seq = 0;

		git_linger(w, &until);
		list = items_take(&w->to_git);
		last = !w->to_git.head;
		if (!list) {
			if (w->stop_git)
				break;
			pthread_cond_wait(&w->moved, &w->lock);
			continue;
		}
		pthread_mutex_unlock(&w->lock);
		if (!err_is(&w->git_err))	/* only this thread sets it */
			git_list(w, list, last, &e);
		for (struct item *next; list; list = next) {
			next = list->next;
			seq = list->seq;
			item_free(list);
		}
		until = linger_until();
		pthread_mutex_lock(&w->lock);
		if (err_is(&e))
			err_move(&w->git_err, &e);
		if (!err_is(&w->git_err))
			git_done(w, seq, last);
		pthread_cond_broadcast(&w->moved);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- the loop's side ----------------------------------------------------------- */

static void deliver(struct writer *w)
{
	struct outcome *list;

	pthread_mutex_lock(&w->lock);
	list = w->done.head;
	w->done.head = NULL;
	w->done.tail = &w->done.head;
	pthread_mutex_unlock(&w->lock);
	for (struct outcome *next; list; list = next) {
		next = list->next;
		w->waiting--;
		list->fn(list->arg, err_is(&list->err) ? &list->err : NULL);
		err_clear(&list->err);
		free(list);
	}
	if (w->waiting == 0) {
		loop_fd_del(w->watch);
		w->watch = NULL;
	}
}

static void on_wake(void *arg, short revents)
{
	struct writer *w = arg;
	eventfd_t n;

	(void)revents;
	if (eventfd_read(w->wake, &n) == 0)
		deliver(w);
}

static struct outcome *outcome_new(struct writer *w, durable_fn *fn, void *arg)
{
	struct outcome *o;

	if (!fn)
		return NULL;
	o = mem_alloc(sizeof(*o));
	o->fn = fn;
	o->arg = arg;
	w->waiting++;
	if (!w->watch)
		w->watch = loop_fd_add(w->loop, w->wake, POLLIN, on_wake, w);
	return o;
}

void writer_put(struct writer *w, uint64_t seq, char *payload, size_t len, bool starts,
		durable_fn *fn, void *arg)
{
	struct item *i = mem_alloc(sizeof(*i));

	*i = (struct item){ .seq = seq, .payload = payload, .len = len, .starts = starts };
	i->told = outcome_new(w, fn, arg);
	if (w->inline_journal)
		journal_list(w, i);
	pthread_mutex_lock(&w->lock);
	w->put = seq;
	if (w->inline_journal)
		journal_done(w, i);
	else
		items_add(&w->to_journal, i);
	pthread_cond_broadcast(&w->moved);
	pthread_mutex_unlock(&w->lock);
}

void writer_refuse(struct writer *w, struct err *e, durable_fn *fn, void *arg)
{
	struct outcome *o = outcome_new(w, fn, arg);

	if (!o) {
		err_clear(e);
		return;
	}
	err_move(&o->err, e);
	pthread_mutex_lock(&w->lock);
	outcomes_add(&w->done, o);
	if (eventfd_write(w->wake, 1) < 0)
		abort();
	pthread_mutex_unlock(&w->lock);
}

static int sticky(struct err *e, const struct err *held)
{
	err_set(e, held->kind, "%s", held->what);
	return held->hint ? err_hint(e, "%s", held->hint) : -1;
}

static int wait_for(struct writer *w, bool git, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&w->lock);
	w->flushing += git;
	pthread_cond_broadcast(&w->moved);
	while (w->written < w->put)
		pthread_cond_wait(&w->moved, &w->lock);
	while (git && w->complete < w->durable && !err_is(&w->git_err))
		pthread_cond_wait(&w->moved, &w->lock);
	w->flushing -= git;
	if (err_is(&w->journal_err))
		rc = sticky(e, &w->journal_err);
	else if (git && err_is(&w->git_err))
		rc = sticky(e, &w->git_err);
	pthread_mutex_unlock(&w->lock);
	return rc;
}

int writer_sync(struct writer *w, struct err *e)
{
	return wait_for(w, false, e);
}

int writer_flush(struct writer *w, struct err *e)
{
	return wait_for(w, true, e);
}

uint64_t writer_in_git(struct writer *w)
{
	uint64_t seq;

	pthread_mutex_lock(&w->lock);
	seq = w->in_git;
	pthread_mutex_unlock(&w->lock);
	return seq;
}

/* ---- start and stop ------------------------------------------------------------ */

/* Signals are the main thread's. */
static void thread_start(pthread_t *t, void *(*fn)(void *), struct writer *w)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(t, NULL, fn, w) != 0)
		abort();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

struct writer *writer_start(const char *dir, struct journal *j, struct repo *repo,
			    struct loop *loop)
{
	struct writer *w = mem_alloc(sizeof(*w));

	w->dir = dir;
	w->loop = loop;
	w->inline_journal = loop_clock(loop)->advance_to != NULL;
	w->journal = *j;
	*j = (struct journal){ .fd = -1 };
	w->repo = repo;
	w->put = w->written = w->durable = w->in_git = w->complete = w->journal.last;
	items_init(&w->to_journal);
	items_init(&w->to_git);
	w->done.tail = &w->done.head;
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake < 0)
		abort();
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->moved, NULL);
	if (!w->inline_journal)
		thread_start(&w->journal_thread, journal_main, w);
	thread_start(&w->git_thread, git_main, w);
	return w;
}

static void thread_end(struct writer *w, pthread_t t, bool *stop)
{
	pthread_mutex_lock(&w->lock);
	*stop = true;
	pthread_cond_broadcast(&w->moved);
	pthread_mutex_unlock(&w->lock);
	pthread_join(t, NULL);
}

int writer_stop(struct writer *w, struct err *e)
{
	int rc = writer_flush(w, e);

	if (!w->inline_journal)
		thread_end(w, w->journal_thread, &w->stop_journal);
	thread_end(w, w->git_thread, &w->stop_git);
	deliver(w);
	loop_fd_del(w->watch);
	if (rc == 0)
		journal_trim_to(w, repo_settled(w->repo));
	journal_close(&w->journal);
	repo_free(w->repo);
	err_clear(&w->journal_err);
	err_clear(&w->git_err);
	close(w->wake);
	pthread_cond_destroy(&w->moved);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return rc;
}
