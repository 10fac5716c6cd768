/* SPDX-License-Identifier: Apache-2.0
 * writer - the loop's side of the two threads, their start and their end.
 */
#include "engine/base/mem.h"
#include "engine/base/thread.h"
#include "engine/state/writer_priv.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

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
		journal_list_done(w, i);
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
static void start(pthread_t *t, void *(*fn)(void *), struct writer *w)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	thread_start(t, fn, w);
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
		start(&w->journal_thread, journal_main, w);
	start(&w->git_thread, git_main, w);
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
