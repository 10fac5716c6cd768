/* SPDX-License-Identifier: Apache-2.0
 * loose - read one loose object without trusting a byte of it.
 */
#include "engine/state/store.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define HEAD_MAX 32		/* "commit 4294967295\0" and some */
#define CONTENT_MAX (512u << 20)

/* "blob 12\0": the type, and where the content begins (0: no header). */
static size_t head_parse(const char *p, size_t n, git_object_t *type, size_t *len)
{
	static const struct { const char *word; git_object_t type; } types[] = {
		{ "blob ", GIT_OBJECT_BLOB }, { "tree ", GIT_OBJECT_TREE },
		{ "commit ", GIT_OBJECT_COMMIT }, { "tag ", GIT_OBJECT_TAG },
	};
	const char *nul = memchr(p, '\0', n);

	for (size_t i = 0; nul && i < ARRAY_LEN(types); i++) {
		size_t k = strlen(types[i].word);
		char *end;

		if (strncmp(p, types[i].word, k) != 0)
			continue;
		*type = types[i].type;
		*len = strtoul(p + k, &end, 10);
		if (end != nul || p[k] < '0' || p[k] > '9' || *len > CONTENT_MAX)
			return 0;
		return (size_t)(nul - p) + 1;
	}
	return 0;
}

/* Inflate exactly `want` bytes, not one more, to out. */
static const char *inflate_exact(z_stream *z, void *out, size_t want)
{
	uint8_t extra;
	int rc;

	z->next_out = out;
	z->avail_out = (uInt)want;
	do
		rc = inflate(z, Z_NO_FLUSH);
	while (rc == Z_OK && z->avail_out > 0);
	if (z->avail_out == 0 && (rc == Z_OK || rc == Z_BUF_ERROR)) {
		/* the end marker is still to come */
		z->next_out = &extra;
		z->avail_out = 1;
		rc = inflate(z, Z_FINISH);
		if (z->avail_out == 0)
			return "it is longer than it says";
	} else if (rc == Z_STREAM_END && z->avail_out > 0) {
		return "it is shorter than it says";
	}
	if (rc != Z_STREAM_END)
		return "its compressed data is damaged or cut off";
	return z->avail_in > 0 ? "bytes follow its end" : NULL;
}

static bool digest_is(const void *head, size_t hn, const void *p, size_t n, const char *hex)
{
	uint8_t sum[EVP_MAX_MD_SIZE];
	char got[2 * EVP_MAX_MD_SIZE + 1];
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	unsigned int len = 0;
	int ok = c && EVP_DigestInit_ex(c, EVP_sha1(), NULL) &&
		EVP_DigestUpdate(c, head, hn) && EVP_DigestUpdate(c, p, n) &&
		EVP_DigestFinal_ex(c, sum, &len);

	EVP_MD_CTX_free(c);
	io_hex(sum, ok ? len : 0, got);
	return ok && strcmp(got, hex) == 0;
}

static const char *loose_inflate(z_stream *z, const char *hex, git_object_t *type,
				 void **data, size_t *len)
{
	char head[HEAD_MAX];
	size_t head_len, n, got;
	AUTO_FREE char *content = NULL;
	const char *why;
	int rc;

	z->next_out = (Bytef *)head;
	z->avail_out = sizeof(head);
	rc = inflate(z, Z_SYNC_FLUSH);
	if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
		return "its compressed data is damaged";
	got = sizeof(head) - z->avail_out;
	head_len = head_parse(head, got, type, &n);
	if (head_len == 0)
		return "it has no header of an object";
	if (got - head_len > n)
		return "it is longer than it says";
	content = malloc(n + 1);	/* a size from outside: may fail */
	if (!content)
		return "it is too large for this machine's memory";
	memcpy(content, head + head_len, got - head_len);
	content[n] = '\0';
	if (rc == Z_STREAM_END)
		why = got - head_len == n ? (z->avail_in ? "bytes follow its end" : NULL) :
			"it is shorter than it says";
	else
		why = inflate_exact(z, content + (got - head_len), n - (got - head_len));
	if (why)
		return why;
	if (!digest_is(head, head_len, content, n, hex))
		return "its content is not what its name says";
	if (data) {
		*data = content;
		content = NULL;
	}
	if (len)
		*len = n;
	return NULL;
}

const char *loose_check(const void *file, size_t n, const char *hex, git_object_t *type,
			void **data, size_t *len)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)file, .avail_in = (uInt)n };
	git_object_t any;
	const char *why;

	if (n == 0)
		return "it is empty";
	if (n > LOOSE_FILE_MAX || inflateInit(&z) != Z_OK)
		return "it is too large";
	why = loose_inflate(&z, hex, type ? type : &any, data, len);
	inflateEnd(&z);
	return why;
}
