/* SPDX-License-Identifier: Apache-2.0
 * loop - poll(2), timers, posted work. Handles deleted in a callback stay in
 * memory until the turn ends, so that nothing dangles.
 */
#include "engine/base/loop.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct loop_fd {
	struct loop *loop;
	int fd;
	short events;
	bool dead;
	void (*fn)(void *arg, short revents);
	void *arg;
};

struct loop_timer {
	struct loop *loop;
	uint64_t at;			/* mono ms */
	uint64_t seq;			/* equal times fire in the order added */
	size_t index;			/* place in the heap */
	void (*fn)(void *arg);
	void *arg;
};

struct post {
	void (*fn)(void *arg);
	void *arg;
};

struct loop {
	const struct clock *clock;
	uint64_t now, seq;
	bool stopped;
	struct loop_fd **fds;
	size_t fd_count, fd_cap;
	struct pollfd *polls;
	size_t poll_cap;
	struct loop_timer **timers;	/* a binary heap by (at, seq) */
	size_t timer_count, timer_cap;
	pthread_mutex_t lock;		/* guards posts only */
	struct post *posts;
	size_t post_count, post_cap;
	int wake;			/* eventfd */
};

struct loop *loop_new(const struct clock *clock)
{
	struct loop *l = mem_alloc(sizeof(*l));

	l->clock = clock;
	l->now = clock->mono_ms(clock->arg);
	pthread_mutex_init(&l->lock, NULL);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake < 0)
		abort();
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->fd_count; i++)
		free(l->fds[i]);
	for (size_t i = 0; i < l->timer_count; i++)
		free(l->timers[i]);
	free(l->fds);
	free(l->polls);
	free(l->timers);
	free(l->posts);
	close(l->wake);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

const struct clock *loop_clock(const struct loop *l)
{
	return l->clock;
}

uint64_t loop_now(const struct loop *l)
{
	return l->now;
}

struct loop_fd *loop_fd_add(struct loop *l, int fd, short events,
			    void (*fn)(void *arg, short revents), void *arg)
{
	struct loop_fd *h = mem_alloc(sizeof(*h));

	*h = (struct loop_fd){ l, fd, events, false, fn, arg };
	l->fds = mem_grow(l->fds, l->fd_count, &l->fd_cap, sizeof(*l->fds));
	l->fds[l->fd_count++] = h;
	return h;
}

void loop_fd_events(struct loop_fd *h, short events)
{
	h->events = events;
}

void loop_fd_del(struct loop_fd *h)
{
	if (h)
		h->dead = true;
}

/* ---- timers: a binary heap ------------------------------------------------- */

static bool sooner(const struct loop_timer *a, const struct loop_timer *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void heap_put(struct loop *l, size_t i, struct loop_timer *t)
{
	l->timers[i] = t;
	t->index = i;
}

static void heap_up(struct loop *l, size_t i, struct loop_timer *t)
{
	while (i > 0 && sooner(t, l->timers[(i - 1) / 2])) {
		heap_put(l, i, l->timers[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(l, i, t);
}

static void heap_down(struct loop *l, size_t i, struct loop_timer *t)
{
	for (size_t kid; (kid = 2 * i + 1) < l->timer_count; i = kid) {
		if (kid + 1 < l->timer_count && sooner(l->timers[kid + 1], l->timers[kid]))
			kid++;
		if (!sooner(l->timers[kid], t))
			break;
		heap_put(l, i, l->timers[kid]);
	}
	heap_put(l, i, t);
}

struct loop_timer *loop_timer_add(struct loop *l, uint64_t ms,
				  void (*fn)(void *arg), void *arg)
{
	struct loop_timer *t = mem_alloc(sizeof(*t));

	/* the clock's own time, not the turn's: a long callback must not shorten it */
	*t = (struct loop_timer){ l, l->clock->mono_ms(l->clock->arg) + ms, l->seq++,
				  0, fn, arg };
	l->timers = mem_grow(l->timers, l->timer_count, &l->timer_cap,
			     sizeof(*l->timers));
	heap_up(l, l->timer_count++, t);
	return t;
}

void loop_timer_del(struct loop_timer *t)
{
	struct loop *l;
	struct loop_timer *last;
	size_t i;

	if (!t)
		return;
	l = t->loop;
	i = t->index;
	last = l->timers[--l->timer_count];
	if (last != t) {
		if (sooner(last, t))
			heap_up(l, i, last);
		else
			heap_down(l, i, last);
	}
	free(t);
}

static void fire_timers(struct loop *l)
{
	while (l->timer_count && l->timers[0]->at <= l->now) {
		struct loop_timer *t = l->timers[0];
		void (*fn)(void *) = t->fn;
		void *arg = t->arg;

		loop_timer_del(t);
		fn(arg);
	}
}

/* ---- posted work ------------------------------------------------------------ */

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
	uint64_t one = 1;

	pthread_mutex_lock(&l->lock);
	l->posts = mem_grow(l->posts, l->post_count, &l->post_cap, sizeof(*l->posts));
	l->posts[l->post_count++] = (struct post){ fn, arg };
	pthread_mutex_unlock(&l->lock);
	if (write(l->wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
		abort();
}

static bool run_posts(struct loop *l)
{
	struct post *posts;
	size_t n;
	uint64_t count;

	if (read(l->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
		abort();
	pthread_mutex_lock(&l->lock);
	posts = l->posts;
	n = l->post_count;
	l->posts = NULL;
	l->post_count = l->post_cap = 0;
	pthread_mutex_unlock(&l->lock);
	for (size_t i = 0; i < n; i++)
		posts[i].fn(posts[i].arg);
	free(posts);
	return n > 0;
}

/* ---- one turn ---------------------------------------------------------------- */

static void bury_dead(struct loop *l)
{
	size_t keep = 0;

	for (size_t i = 0; i < l->fd_count; i++) {
		if (l->fds[i]->dead)
			free(l->fds[i]);
		else
			l->fds[keep++] = l->fds[i];
	}
	l->fd_count = keep;
}

static int wait_ms(const struct loop *l, int max_ms)
{
	uint64_t left;

	if (l->timer_count == 0)
		return max_ms;
	left = l->timers[0]->at > l->now ? l->timers[0]->at - l->now : 0;
	if (l->clock->advance_to && max_ms != 0 && left > 0)
		return 0;	/* virtual time does not wait: it jumps after poll */
	if (max_ms >= 0 && left > (uint64_t)max_ms)
		return max_ms;
	return left > 60000 ? 60000 : (int)left;
}

int loop_turn(struct loop *l, int max_ms)
{
	size_t n;
	int ready;

	bury_dead(l);
	n = l->fd_count;
	if (n + 1 > l->poll_cap) {
		l->poll_cap = (n + 1) * 2;
		l->polls = mem_realloc(l->polls, l->poll_cap * sizeof(*l->polls));
	}
	for (size_t i = 0; i < n; i++)
		l->polls[i] = (struct pollfd){ l->fds[i]->fd, l->fds[i]->events, 0 };
	l->polls[n] = (struct pollfd){ l->wake, POLLIN, 0 };

	l->now = l->clock->mono_ms(l->clock->arg);
	ready = poll(l->polls, n + 1, wait_ms(l, max_ms));
	if (ready == 0 && l->clock->advance_to && l->timer_count && max_ms != 0)
		l->clock->advance_to(l->clock->arg, l->timers[0]->at);
	l->now = l->clock->mono_ms(l->clock->arg);

	run_posts(l);
	for (size_t i = 0; ready > 0 && i < n; i++) {
		struct loop_fd *h = l->fds[i];

		if (l->polls[i].revents && !h->dead)
			h->fn(h->arg, l->polls[i].revents);
	}
	fire_timers(l);
	bury_dead(l);
	return l->fd_count || l->timer_count || l->post_count;
}

void loop_run(struct loop *l)
{
	l->stopped = false;
	while (!l->stopped)
		loop_turn(l, -1);
}

void loop_stop(struct loop *l)
{
	l->stopped = true;
}
