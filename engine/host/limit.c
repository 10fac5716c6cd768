/* SPDX-License-Identifier: Apache-2.0
 * limit - how many handshakes run at once: sshd drops connections that have not
 * logged in beyond MaxStartups, and twenty at once only slow each other.
 */
#include "engine/host/ssh.h"

#include <string.h>

struct limit_slot {
	struct limit_slot *next;
	struct loop *loop;
	char *target;
	bool held;
	struct loop_timer *timer;	/* go() is on its way */
	void (*go)(void *arg);
	void *arg;
};

/* All of this thread's slots, oldest first. A thread runs one loop. */
static _Thread_local struct limit_slot *slots;

static bool room(const struct limit_slot *wants)
{
	unsigned all = 0, same = 0;

	for (const struct limit_slot *s = slots; s; s = s->next) {
		if (!s->held)
			continue;
		all++;
		same += strcmp(s->target, wants->target) == 0;
	}
	return all < LIMIT_TOTAL && same < LIMIT_TARGET;
}

static void on_turn(void *arg)
{
	struct limit_slot *s = arg;

	s->timer = NULL;
	s->go(s->arg);
}

static void serve_waiting(void)
{
	for (struct limit_slot *s = slots; s; s = s->next)
		if (!s->held && room(s)) {
			s->held = true;
			s->timer = loop_timer_add(s->loop, 0, on_turn, s);
		}
}

struct limit_slot *limit_acquire(struct loop *loop, const char *target,
				 void (*go)(void *arg), void *arg)
{
	struct limit_slot *s = mem_alloc(sizeof(*s)), **at = &slots;

	*s = (struct limit_slot){ .loop = loop, .target = mem_strdup(target),
				  .go = go, .arg = arg };
	while (*at)
		at = &(*at)->next;
	*at = s;
	serve_waiting();
	return s;
}

void limit_release(struct limit_slot *slot)
{
	if (!slot)
		return;
	for (struct limit_slot **at = &slots; *at; at = &(*at)->next)
		if (*at == slot) {
			*at = slot->next;
			break;
		}
	loop_timer_del(slot->timer);
	free(slot->target);
	free(slot);
	serve_waiting();
}
