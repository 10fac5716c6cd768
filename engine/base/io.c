/* SPDX-License-Identifier: Apache-2.0
 * io - files, whole reads and writes, digests, random bytes.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#define OPENSSL_SUPPRESS_DEPRECATED	/* SHA256_*() */
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A chunk of 1 MiB waits whole in a socket, and the next one behind it: with the system's own
 * 208 KiB, who sends and who receives take turns five times a chunk. */
#define WIDE (2 << 20)

ssize_t io_read_full(int fd, void *buf, size_t n)
{
	size_t got = 0;

	while (got < n) {
		ssize_t r = read(fd, (char *)buf + got, n - got);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		if (r == 0) {
			if (got == 0)
				return 0;
			errno = EPIPE;
			return -1;
		}
		got += (size_t)r;
	}
	return (ssize_t)got;
}

int io_write_full(int fd, const void *buf, size_t n)
{
	for (size_t put = 0; put < n;) {
		ssize_t r = write(fd, (const char *)buf + put, n - put);

		if (r < 0 && errno != EINTR)
			return -1;
		if (r > 0)
			put += (size_t)r;
	}
	return 0;
}

int io_pread_full(int fd, void *buf, size_t n, uint64_t at)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = pread(fd, (char *)buf + got, n - got, (off_t)(at + got));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		if (r == 0) {
			errno = ENODATA;	/* shorter than it was said to be */
			return -1;
		}
		got += (size_t)r;
	}
	return 0;
}

int io_pwrite_full(int fd, const void *buf, size_t n, uint64_t at)
{
	for (size_t put = 0; put < n;) {
		ssize_t r = pwrite(fd, (const char *)buf + put, n - put,
				   (off_t)(at + put));

		if (r < 0 && errno != EINTR)
			return -1;
		if (r > 0)
			put += (size_t)r;
	}
	return 0;
}

char *io_read_file(int dirfd, const char *path, size_t max, size_t *len)
{
	AUTO_FD fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	AUTO_STR out = {0};
	char buf[16384];

	if (fd < 0)
		return NULL;
	for (;;) {
		ssize_t r = read(fd, buf, sizeof(buf));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return NULL;
		if (r == 0)
			break;
		if (out.len + (size_t)r > max) {
			errno = EFBIG;
			return NULL;
		}
		str_addn(&out, buf, (size_t)r);
	}
	if (len)
		*len = out.len;
	return str_take(&out);
}

static int sync_parent(int dirfd, const char *path)
{
	AUTO_FREE char *dir = mem_strdup(path);
	char *slash = strrchr(dir, '/');
	AUTO_FD fd = -1;

	if (slash == dir)
		slash[1] = '\0';
	else if (slash)
		*slash = '\0';
	fd = openat(dirfd, slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -1 : fsync(fd);
}

int io_write_file(int dirfd, const char *path, const void *p, size_t n, mode_t mode)
{
	AUTO_FREE char *tmp = mem_printf("%s.new", path);
	AUTO_FD fd = openat(dirfd, tmp,
			    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);

	if (fd < 0)
		return -1;
	if (io_write_full(fd, p, n) < 0 || fsync(fd) < 0 ||
	    renameat(dirfd, tmp, dirfd, path) < 0) {
		int saved = errno;

		unlinkat(dirfd, tmp, 0);
		errno = saved;
		return -1;
	}
	return sync_parent(dirfd, path);
}

int io_sync_parent(const char *path)
{
	return sync_parent(AT_FDCWD, path);
}

int io_sync_dir(const char *path)
{
	AUTO_FD fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -1 : fsync(fd);
}

int io_mkdirs(const char *path, mode_t mode)
{
	AUTO_FREE char *p = mem_strdup(path);
	struct stat st;

	for (char *s = p + 1; *s; s++) {
		if (*s != '/')
			continue;
		*s = '\0';
		if (mkdir(p, mode) < 0 && errno != EEXIST)
			return -1;
		*s = '/';
	}
	if (mkdir(p, mode) == 0)
		return 0;
	if (errno != EEXIST)
		return -1;
	if (stat(p, &st) < 0)
		return -1;
	if (S_ISDIR(st.st_mode))
		return 0;
	errno = ENOTDIR;
	return -1;
}

static int remove_below(int dirfd, const char *name, dev_t dev)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	struct dirent *d;
	DIR *dir;
	int rc = 0;

	if (fd < 0)
		return errno == ENOTDIR || errno == ELOOP ? unlinkat(dirfd, name, 0) : -1;
	if (fstat(fd, &st) < 0 || st.st_dev != dev) {
		close(fd);
		errno = EXDEV;
		return -1;
	}
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -1;
	}
	while (rc == 0 && (d = readdir(dir)))
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
			rc = remove_below(fd, d->d_name, dev);
	closedir(dir);
	return rc ? rc : unlinkat(dirfd, name, AT_REMOVEDIR);
}

int io_remove_tree(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -1;
	return remove_below(AT_FDCWD, path, st.st_dev);
}

int io_set_nonblock(int fd)
{
	int fl = fcntl(fd, F_GETFL);

	return fl < 0 ? -1 : fcntl(fd, F_SETFL, fl | O_NONBLOCK);
}

int io_set_cloexec(int fd)
{
	return fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void io_widen(int fd)
{
	int bytes = WIDE;

	/* beyond the system's own limit only for root */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

/* ---- digests --------------------------------------------------------------- */

/* The three plain functions, not EVP's nor SHA256(): those bring half of libcrypto into
 * the agent, which travels to every host, and read the host's openssl.cnf. */
struct sha256 { SHA256_CTX ctx; };

struct sha256 *sha256_new(void)
{
	struct sha256 *h = mem_alloc(sizeof(*h));

	SHA256_Init(&h->ctx);
	return h;
}

void sha256_add(struct sha256 *h, const void *p, size_t n)
{
	SHA256_Update(&h->ctx, p, n);
}

void sha256_end(struct sha256 *h, uint8_t out[SHA256_LEN])
{
	SHA256_Final(out, &h->ctx);
	free(h);
}

void sha256_of(const void *p, size_t n, uint8_t out[SHA256_LEN])
{
	SHA256_CTX ctx;

	SHA256_Init(&ctx);
	SHA256_Update(&ctx, p, n);
	SHA256_Final(out, &ctx);
}

void sha256_hex(const void *p, size_t n, char out[SHA256_HEX])
{
	uint8_t d[SHA256_LEN];

	sha256_of(p, n, d);
	io_hex(d, SHA256_LEN, out);
}

void io_hex(const uint8_t *p, size_t n, char *out)
{
	static const char digit[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digit[p[i] >> 4];
		out[2 * i + 1] = digit[p[i] & 15];
	}
	out[2 * n] = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int io_unhex(const char *s, uint8_t *out, size_t n)
{
	if (!s || strlen(s) != 2 * n)
		return -1;
	for (size_t i = 0; i < n; i++) {
		int hi = hex_value(s[2 * i]), lo = hex_value(s[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -1;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

static const char base64_digit[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *io_base64(const void *p, size_t n)
{
	char *out = mem_alloc(4 * ((n + 2) / 3) + 1), *to = out;
	const uint8_t *from = p;

	for (size_t i = 0; i < n; i += 3) {
		size_t have = n - i < 3 ? n - i : 3;
		uint32_t v = (uint32_t)from[i] << 16;

		v |= have > 1 ? (uint32_t)from[i + 1] << 8 : 0;
		v |= have > 2 ? from[i + 2] : 0;
		for (size_t k = 0; k < 4; k++, v <<= 6)
			*to++ = k <= have ? base64_digit[v >> 18 & 63] : '=';
	}
	*to = '\0';
	return out;
}

/* Four letters as the 24 bits they say; -1 when one is none. */
static int32_t base64_group(const char *s, size_t pad)
{
	int32_t v = 0;

	for (size_t k = 0; k < 4; k++) {
		const char *at = k < 4 - pad ? memchr(base64_digit, s[k], 64) : base64_digit;

		if (!at)
			return -1;
		v = v << 6 | (int32_t)(at - base64_digit);
	}
	return v;
}

void *io_unbase64(const char *s, size_t *n)
{
	size_t len = strlen(s), pad = 0, got = 0;
	uint8_t *out = mem_alloc(len / 4 * 3 + 1);

	while (pad < 2 && pad < len && s[len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < len; i += 4) {
		int32_t v = len % 4 ? -1 : base64_group(s + i, i + 4 == len ? pad : 0);

		if (v < 0) {
			free(out);
			return NULL;
		}
		out[got++] = (uint8_t)(v >> 16);
		out[got++] = (uint8_t)(v >> 8);
		out[got++] = (uint8_t)v;
	}
	*n = got - pad;
	return out;
}

void io_random(void *p, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = getrandom((char *)p + got, n - got, 0);

		if (r > 0)
			got += (size_t)r;
		else if (errno != EINTR)
			abort();
	}
}
