/* SPDX-License-Identifier: Apache-2.0
 * writer_git - the git thread: what is safe in the journal becomes commits.
 */
#include "engine/base/mem.h"
#include "engine/state/writer_priv.h"

#include <errno.h>
#include <time.h>

#define META_EVERY 512			/* records, when git cannot catch up */
#define LINGER_MS 500			/* from one settling in git to the next */
#define TRIM_BYTES (16u << 20)		/* a journal longer than this is trimmed */

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

void *git_main(void *arg)
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
