/* SPDX-License-Identifier: Apache-2.0
 * mem - memory that cannot fail, cleanup attributes, an arena, a string.
 *
 * Out of memory ends the process, like a power cut: the journal survives both.
 */
#ifndef DROVER_MEM_H
#define DROVER_MEM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Is this built with AddressSanitizer or ThreadSanitizer, by gcc or by clang? What limits or
 * locks memory cannot be had beside them. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEM_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MEM_SANITIZED 1
#endif
#endif
#ifndef MEM_SANITIZED
#define MEM_SANITIZED 0
#endif

#define MEM_NONE 111		/* the status of a process that got no memory, or no thread */

void *mem_alloc(size_t n);			/* zeroed */
void *mem_realloc(void *p, size_t n);
void *mem_aligned(size_t align, size_t n);	/* not zeroed */
char *mem_strdup(const char *s);		/* NULL gives NULL */
char *mem_strndup(const char *s, size_t n);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *mem_vprintf(const char *fmt, va_list ap)
	__attribute__((format(printf, 1, 0)));
/* Grow `v` (elements of `size` bytes) so that one more fits beside `count`. */
void *mem_grow(void *v, size_t count, size_t *cap, size_t size);

void mem_free_ptr(void *p);		/* p is the address of a pointer */
void mem_close_fd(int *fd);		/* closes if >= 0 */
void mem_fclose(FILE **f);
#define AUTO_FREE __attribute__((cleanup(mem_free_ptr)))
#define AUTO_FD __attribute__((cleanup(mem_close_fd))) int
#define AUTO_FILE __attribute__((cleanup(mem_fclose))) FILE

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* An arena: allocations live until arena_free(). Not thread-safe. */
struct arena;
struct arena *arena_new(void);
void arena_free(struct arena *a);		/* NULL is harmless */
void *arena_alloc(struct arena *a, size_t n);	/* zeroed, aligned to 16 */
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* A growing string; always NUL-terminated once anything was added. */
struct str {
	char *s;	/* owned; NULL while empty */
	size_t len;	/* without the NUL */
	size_t cap;	/* allocated */
};
#define AUTO_STR __attribute__((cleanup(str_free))) struct str
void str_add(struct str *b, const char *s);
void str_addn(struct str *b, const void *p, size_t n);
void str_addc(struct str *b, char c);
void str_addf(struct str *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Add text that came from outside: control characters become \x1b. */
void str_add_safe(struct str *b, const char *s);
char *str_take(struct str *b);	/* the string ("" if empty); b is reset */
void str_free(struct str *b);

#endif
