/* SPDX-License-Identifier: Apache-2.0
 * chunkrig - see the header.
 */
#include "tests/unit/chunkrig.h"

#include "engine/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int chunkrig_set_up(void **state)
{
	struct chunkrig *r = mem_alloc(sizeof(*r));

	snprintf(r->place, sizeof(r->place), "/tmp/drover-test.XXXXXX");
	assert_non_null(mkdtemp(r->place));
	chunkrig_reopen(r, CHUNKS_ADD);
	*state = r;
	return 0;
}

int chunkrig_tear_down(void **state)
{
	struct chunkrig *r = *state;

	chunkstore_close(r->s);
	io_remove_tree(r->place);
	free(r);
	return 0;
}

void chunkrig_reopen(struct chunkrig *r, enum chunkstore_mode mode)
{
	chunkstore_close(r->s);
	r->s = chunkstore_open(r->place, mode, NULL);
	assert_non_null(r->s);
}

/* ---- chunks ------------------------------------------------------------------ */

void chunkrig_plain(unsigned n, uint8_t out[CHUNKRIG_LEN])
{
	for (size_t i = 0; i < CHUNKRIG_LEN; i += sizeof(n))
		memcpy(out + i, &n, sizeof(n));
}

static void chunkrig_digest(unsigned n, uint8_t out[SHA256_LEN])
{
	uint8_t p[CHUNKRIG_LEN];

	chunkrig_plain(n, p);
	sha256_of(p, CHUNKRIG_LEN, out);
}

uint64_t chunkrig_put(struct chunkstore *s, unsigned n)
{
	uint8_t p[CHUNKRIG_LEN], d[SHA256_LEN];
	struct chunk_bytes b = { p, CHUNKRIG_LEN, CHUNKRIG_LEN, false };
	uint64_t added = 0;

	chunkrig_plain(n, p);
	chunkrig_digest(n, d);
	assert_int_equal(chunkstore_put(s, d, &b, &added, NULL), 0);
	return added;
}

bool chunkrig_is_whole(struct chunkstore *s, unsigned n, struct err *e)
{
	uint8_t p[CHUNKRIG_LEN], got[CHUNKRIG_LEN], d[SHA256_LEN];

	chunkrig_plain(n, p);
	chunkrig_digest(n, d);
	return chunkstore_get(s, d, got, CHUNKRIG_LEN, e) == 0 && memcmp(p, got, CHUNKRIG_LEN) == 0;
}

bool chunkrig_mark(struct chunkstore *s, unsigned n)
{
	uint8_t d[SHA256_LEN];

	chunkrig_digest(n, d);
	return chunkstore_mark(s, d);
}

/* ---- files ------------------------------------------------------------------- */

size_t chunkrig_files(const struct chunkrig *r, const char *sub, uint64_t *bytes)
{
	AUTO_FREE char *path = mem_printf("%s/%s", r->place, sub);
	DIR *dir = opendir(path);
	const struct dirent *d;
	struct stat st;
	size_t n = 0;

	assert_non_null(dir);
	while ((d = readdir(dir)))
		if (d->d_name[0] != '.' && fstatat(dirfd(dir), d->d_name, &st, 0) == 0) {
			n++;
			if (bytes)
				*bytes += (uint64_t)st.st_size;
		}
	closedir(dir);
	return n;
}

void chunkrig_flip(const struct chunkrig *r, const char *sub, off_t at)
{
	AUTO_FREE char *path = mem_printf("%s/%s", r->place, sub);
	DIR *dir = opendir(path);
	const struct dirent *d;
	char byte;

	assert_non_null(dir);
	while ((d = readdir(dir)) && d->d_name[0] == '.')
		;
	assert_non_null(d);
	AUTO_FD fd = openat(dirfd(dir), d->d_name, O_RDWR);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte = (char)(byte ^ 0x10);
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	closedir(dir);
}
