/* SPDX-License-Identifier: Apache-2.0
 * shut - pairs of hosts that could not be joined directly.
 */
#include "engine/host/shut.h"

#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

struct pair {
	char *a, *b, *why;	/* owned */
	uint64_t at_ms;
	struct pair *next;
};

struct shut { struct pair *first; };

struct shut *shut_new(void)
{
	return mem_alloc(sizeof(struct shut));
}

void shut_free(struct shut *s)
{
	while (s && s->first) {
		struct pair *p = s->first;

		s->first = p->next;
		free(p->a);
		free(p->b);
		free(p->why);
		free(p);
	}
	free(s);
}

static struct pair *find(const struct shut *s, const char *a, const char *b)
{
	struct pair *p = s->first;

	while (p && (strcmp(p->a, a) || strcmp(p->b, b)) && (strcmp(p->a, b) || strcmp(p->b, a)))
		p = p->next;
	return p;
}

void shut_add(struct shut *s, const char *a, const char *b, const char *why, uint64_t now_ms)
{
	struct pair *p = find(s, a, b);

	if (!p) {
		p = mem_alloc(sizeof(*p));
		*p = (struct pair){ mem_strdup(a), mem_strdup(b), NULL, 0, s->first };
		s->first = p;
	}
	free(p->why);
	p->why = mem_strdup(why);
	p->at_ms = now_ms;
}

const char *shut_why(const struct shut *s, const char *a, const char *b, uint64_t now_ms)
{
	const struct pair *p = s ? find(s, a, b) : NULL;

	return p && now_ms - p->at_ms < SHUT_MS ? p->why : NULL;
}
