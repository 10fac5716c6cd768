/* SPDX-License-Identifier: Apache-2.0
 * mem - allocation that ends the process when there is none, arena, string.
 */
#include "engine/base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void out_of_memory(void)
{
	static const char msg[] = "drover: out of memory; what is recorded is safe, "
				  "run the same command again\n";
	ssize_t n = write(2, msg, sizeof(msg) - 1);

	_exit(n < 0 ? 112 : MEM_NONE);
}

void *mem_alloc(size_t n)
{
	void *p = calloc(1, n ? n : 1);

	if (!p)
		out_of_memory();
	return p;
}

void *mem_realloc(void *old, size_t n)
{
	void *p = realloc(old, n ? n : 1);

	if (!p)
		out_of_memory();
	return p;
}

void *mem_aligned(size_t align, size_t n)
{
	void *p = NULL;

	if (posix_memalign(&p, align, n) != 0)
		out_of_memory();
	return p;
}

char *mem_strdup(const char *s)
{
	return s ? mem_strndup(s, strlen(s)) : NULL;
}

char *mem_strndup(const char *s, size_t n)
{
	char *p = mem_alloc(n + 1);

	memcpy(p, s, n);
	return p;
}

char *mem_vprintf(const char *fmt, va_list ap)
{
	char *p = NULL;

	if (vasprintf(&p, fmt, ap) < 0)
		out_of_memory();
	return p;
}

char *mem_printf(const char *fmt, ...)
{
	va_list ap;
	char *p;

	va_start(ap, fmt);
	p = mem_vprintf(fmt, ap);
	va_end(ap);
	return p;
}

void *mem_grow(void *v, size_t count, size_t *cap, size_t size)
{
	if (count < *cap)
		return v;
	*cap = *cap ? *cap * 2 : 8;
	if (*cap > SIZE_MAX / size)
		out_of_memory();
	return mem_realloc(v, *cap * size);
}

void mem_free_ptr(void *p)
{
	free(*(void **)p);
}

void mem_close_fd(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

void mem_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
	*f = NULL;
}

/* ---- arena ----------------------------------------------------------------- */

#define ARENA_BLOCK (64u << 10)

struct block {
	struct block *next;
	size_t used, size;
	_Alignas(16) char data[];
};

struct arena {
	struct block *head;	/* the one that is filled now */
};

struct arena *arena_new(void)
{
	return mem_alloc(sizeof(struct arena));
}

void arena_free(struct arena *a)
{
	if (!a)
		return;
	for (struct block *b = a->head, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	free(a);
}

void *arena_alloc(struct arena *a, size_t n)
{
	struct block *b = a->head;
	size_t need = (n + 15) & ~(size_t)15;

	if (!b || b->size - b->used < need) {
		size_t size = need > ARENA_BLOCK ? need : ARENA_BLOCK;

		b = mem_alloc(sizeof(*b) + size);
		b->size = size;
		/* a large one of its own does not end the block in use */
		if (a->head && need > ARENA_BLOCK / 2) {
			b->next = a->head->next;
			a->head->next = b;
		} else {
			b->next = a->head;
			a->head = b;
		}
	}
	b->used += need;
	return b->data + b->used - need;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
	char *p = arena_alloc(a, n + 1);

	memcpy(p, s, n);
	return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *s, *p;

	va_start(ap, fmt);
	s = mem_vprintf(fmt, ap);
	va_end(ap);
	p = arena_strdup(a, s);
	free(s);
	return p;
}

/* ---- string ---------------------------------------------------------------- */

void str_addn(struct str *b, const void *p, size_t n)
{
	if (b->len + n + 1 > b->cap) {
		size_t cap = b->cap ? b->cap : 64;

		while (cap < b->len + n + 1)
			cap *= 2;
		b->s = mem_realloc(b->s, cap);
		b->cap = cap;
	}
	if (n)
		memcpy(b->s + b->len, p, n);
	b->len += n;
	b->s[b->len] = '\0';
}

void str_add(struct str *b, const char *s)
{
	str_addn(b, s, strlen(s));
}

void str_addc(struct str *b, char c)
{
	str_addn(b, &c, 1);
}

void str_addf(struct str *b, const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = mem_vprintf(fmt, ap);
	va_end(ap);
	str_add(b, s);
	free(s);
}

void str_add_safe(struct str *b, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
			str_addf(b, "\\x%02x", c);
		else
			str_addc(b, *s);
	}
}

char *str_take(struct str *b)
{
	char *s = b->s ? b->s : mem_strdup("");

	*b = (struct str){0};
	return s;
}

void str_free(struct str *b)
{
	free(b->s);
	*b = (struct str){0};
}

/* ---- sanitizers ------------------------------------------------------------------------- */

/* An agent, a step or a watchdog may have a stderr that nobody reads, and an environment of
 * its own: what a sanitizer finds in it goes to a folder that is compiled in, which
 * tests/run looks into. */
#if MEM_SANITIZED
const char *__asan_default_options(void);
const char *__tsan_default_options(void);
const char *__tsan_default_suppressions(void);

const char *__asan_default_options(void)
{
	return "log_path=" DROVER_REPORTS "/report";
}

const char *__tsan_default_options(void)
{
	return "die_after_fork=0:report_thread_leaks=0:log_path=" DROVER_REPORTS "/report";
}

/* It does not know pthread_mutex_clocklock(). */
const char *__tsan_default_suppressions(void)
{
	return "mutex:give_up\n";
}
#endif
