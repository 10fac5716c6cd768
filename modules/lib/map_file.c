/* SPDX-License-Identifier: Apache-2.0
 * map_file - the file of a map: its headers, pages and history; making and opening it.
 */
#include "modules/lib/map_impl.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file is little-endian");

#define MAGIC "DRMAP02\n"
#define BORN_AT 1024u			/* in the page of each header */

_Static_assert(sizeof(struct page) == PAGE, "a page is a page");
_Static_assert(sizeof(struct head) <= 512, "the header is one sector");
_Static_assert(BORN_AT + sizeof(struct history) <= PAGE, "both fit in one page");

static void check_of(const void *p, size_t n, uint8_t out[CHECK_LEN])
{
	uint8_t d[SHA256_LEN];

	sha256_of(p, n, d);
	memcpy(out, d, CHECK_LEN);
}

static int damaged(const struct map *m, struct err *e)
{
	err_set(e, ERR_STEP, "cannot use map '%s': it is damaged", m->path);
	return err_hint(e, "remove it and the image beside it; the disk is copied again");
}

/* ---- the header ---------------------------------------------------------- */

int map_write_head(struct map *m, struct err *e)
{
	m->h.number++;
	check_of(&m->h, offsetof(struct head, check), m->h.check);
	if (io_pwrite_full(m->fd, &m->h, sizeof(m->h), m->h.number % 2 * PAGE) < 0 ||
	    fdatasync(m->fd) < 0)
		return err_sys(e, "cannot write map '%s'", m->path);
	return 0;
}

static bool read_head(struct map *m, unsigned copy, struct head *h)
{
	uint8_t check[CHECK_LEN];

	if (io_pread_full(m->fd, h, sizeof(*h), copy * PAGE) < 0 ||
	    memcmp(h->magic, MAGIC, sizeof(h->magic)) != 0)
		return false;
	check_of(h, offsetof(struct head, check), check);
	return memcmp(check, h->check, CHECK_LEN) == 0 && h->id.chunk >= 4096 &&
		h->id.chunk % 4096 == 0 && h->id.size > 0;
}

static bool read_history(struct map *m, unsigned copy)
{
	uint8_t check[CHECK_LEN];

	if (io_pread_full(m->fd, &m->history, sizeof(m->history), copy * PAGE + BORN_AT) < 0)
		return false;
	check_of(&m->history, offsetof(struct history, check), check);
	return memcmp(check, m->history.check, CHECK_LEN) == 0;
}

/* Both copies; durable with the header that follows. */
int map_write_history(struct map *m, struct err *e)
{
	check_of(&m->history, offsetof(struct history, check), m->history.check);
	for (unsigned copy = 0; copy < 2; copy++)
		if (io_pwrite_full(m->fd, &m->history, sizeof(m->history),
				   copy * PAGE + BORN_AT) < 0)
			return err_sys(e, "cannot write map '%s'", m->path);
	return 0;
}

/* What a lost header said is unknown: nothing that was proven holds any more. The same
 * for all who open it until the lost one is written again. */
static void bear_anew(struct map *m)
{
	uint8_t d[SHA256_LEN];

	sha256_of(&m->h, sizeof(m->h), d);
	memcpy(m->h.birth, d, MAP_BIRTH);
}

/* The first header ever written is that with number 1: then there is no other. */
static int load_head(struct map *m, struct err *e)
{
	struct head h[2];
	bool ok[2] = { read_head(m, 0, &h[0]), read_head(m, 1, &h[1]) };

	if (!ok[0] && !ok[1])
		return damaged(m, e);
	m->h = ok[0] && (!ok[1] || h[0].number > h[1].number) ? h[0] : h[1];
	m->lost = m->h.number > 1 && !(ok[0] && ok[1]);
	if (m->lost)
		bear_anew(m);
	if (!read_history(m, 0) && !read_history(m, 1))
		memset(&m->history, 0, sizeof(m->history));
	return 0;
}

/* ---- pages --------------------------------------------------------------- */

static int flush_page(struct map *m, struct err *e)
{
	if (!m->page_dirty)
		return 0;
	m->page.number = m->page_number;
	check_of(&m->page, offsetof(struct page, check), m->page.check);
	if (io_pwrite_full(m->fd, &m->page, PAGE, PAGES_AT + m->page_number * PAGE) < 0)
		return err_sys(e, "cannot write map '%s'", m->path);
	m->page_dirty = false;
	return 0;
}

/* Bring page p into memory. What cannot be believed is empty. */
static int load_page(struct map *m, uint64_t p, struct err *e)
{
	uint8_t check[CHECK_LEN];

	if (m->page_number == p)
		return 0;
	if (flush_page(m, e) < 0)
		return -1;
	m->page_number = p;
	if (io_pread_full(m->fd, &m->page, PAGE, PAGES_AT + p * PAGE) == 0) {
		check_of(&m->page, offsetof(struct page, check), check);
		if (m->page.number == p && memcmp(check, m->page.check, CHECK_LEN) == 0)
			return 0;
	}
	memset(&m->page, 0, PAGE);
	return 0;
}

struct entry *map_entry(struct map *m, uint64_t index, struct err *e)
{
	return load_page(m, index / ENTRIES, e) < 0 ? NULL : &m->page.e[index % ENTRIES];
}

int map_sync_pages(struct map *m, struct err *e)
{
	if (flush_page(m, e) < 0)
		return -1;
	return fdatasync(m->fd) < 0 ? err_sys(e, "cannot sync map '%s'", m->path) : 0;
}

/* ---- opening ------------------------------------------------------------- */

static struct map *map_new(const char *path, int fd)
{
	struct map *m = mem_alloc(sizeof(*m));

	m->fd = fd;
	m->path = mem_strdup(path);
	m->page_number = UINT64_MAX;
	pthread_mutex_init(&m->lock, NULL);
	return m;
}

/* Its header is there as soon as its name is: a map that is cut off here is none. */
static int create(struct map *m, const char *half, struct err *e)
{
	if (access(m->path, F_OK) == 0) {
		errno = EEXIST;
		return err_sys(e, "cannot create map '%s'", m->path);
	}
	if (map_write_head(m, e) < 0)
		return -1;
	if (rename(half, m->path) < 0 || io_sync_parent(m->path) < 0)
		return err_sys(e, "cannot create map '%s'", m->path);
	return 0;
}

struct map *map_create(const char *path, const struct map_id *id, struct err *e)
{
	AUTO_FREE char *half = mem_printf("%s" MAP_HALF, path);
	int fd = open(half, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct map *m;

	if (fd < 0) {
		err_sys(e, "cannot create map '%s'", path);
		return NULL;
	}
	m = map_new(path, fd);
	memcpy(m->h.magic, MAGIC, sizeof(m->h.magic));
	m->h.id = *id;
	io_random(m->h.birth, sizeof(m->h.birth));
	if (create(m, half, e) == 0)
		return m;
	unlink(half);
	map_close(m);
	return NULL;
}

struct map *map_open(const char *path, bool write, struct err *e)
{
	/* a pipe of that name is not waited for */
	int fd = open(path, (write ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);
	struct map *m;
	struct stat st;

	if (fd < 0) {
		err_sys(e, "cannot open map '%s'", path);
		return NULL;
	}
	m = map_new(path, fd);
	m->doubts = true;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? load_head(m, e) == 0 : damaged(m, e) == 0)
		return m;
	map_close(m);
	return NULL;
}

void map_close(struct map *m)
{
	if (!m)
		return;
	close(m->fd);
	pthread_mutex_destroy(&m->lock);
	mem_free_ptr(&m->path);
	mem_free_ptr(&m->open);
	mem_free_ptr(&m);
}

void map_close_ptr(struct map **m)
{
	map_close(*m);
	*m = NULL;
}
