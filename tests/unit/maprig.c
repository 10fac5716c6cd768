/* SPDX-License-Identifier: Apache-2.0
 * maprig - see the header.
 */
#include "tests/unit/maprig.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

void mr_digest(uint64_t i, unsigned salt, uint8_t out[SHA256_LEN])
{
	uint64_t v[2] = { i, salt };

	sha256_of(v, sizeof(v), out);
}

struct map *mr_fresh(struct here *h)
{
	struct map_id id = { .lineage = "l", .machine = "m", .disk = "root",
		.size = (uint64_t)CHUNK * CHUNKS - 100, .chunk = CHUNK };
	AUTO_ERR e = { 0 };
	struct map *m = map_create(h->path, &id, &e);

	assert_non_null(m);
	assert_int_equal(map_begin(m, 1, &e), 0);
	return m;
}

void mr_put(struct map *m, uint64_t from, uint64_t n, unsigned salt)
{
	struct map_update *u = mem_alloc(n * sizeof(*u));
	AUTO_ERR e = { 0 };

	for (uint64_t i = 0; i < n; i++) {
		u[i] = (struct map_update){ .index = from + i, .count = 1 };
		mr_digest(from + i, salt, u[i].digest);
		assert_int_equal(map_cover(m, from + i, 1, &e), 0);
	}
	assert_int_equal(map_commit(m, u, n, &e), 0);
	free(u);
}

struct map *mr_whole(struct here *h)
{
	struct map *m = mr_fresh(h);
	uint8_t root[SHA256_LEN];
	AUTO_ERR e = { 0 };

	mr_put(m, 0, CHUNKS, 1);
	assert_int_equal(map_finish(m, root, &e), 0);
	return m;
}

struct map *mr_second_pass(struct here *h)
{
	struct map *m = mr_whole(h);
	AUTO_ERR e = { 0 };

	assert_int_equal(map_begin(m, 2, &e), 0);
	return m;
}

void mr_assert_has(struct map *m, uint64_t i, unsigned salt)
{
	uint8_t want[SHA256_LEN], got[SHA256_LEN];

	mr_digest(i, salt, want);
	assert_true(map_get(m, i, got) > 0);
	assert_memory_equal(want, got, SHA256_LEN);
}

struct map *mr_reopen(struct here *h, struct map *m, bool write)
{
	AUTO_ERR e = { 0 };

	map_close(m);
	m = map_open(h->path, write, &e);
	assert_non_null(m);
	return m;
}
