/* SPDX-License-Identifier: Apache-2.0
 * verify - check objects in a child. See the header for what is checked when.
 */
#include "engine/state/verify.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/state/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FEW 2048
#define CHECK_MAX 50000
#define SLICES 16
#define SHA1_LEN 20
#define SAY_MAX 4096
#define SLACK_S 2		/* coarse time stamps */

struct check {
	const char *dir;
	int objects;			/* the directory */
	struct timespec since;		/* the mark; 0: never */
	unsigned slice;			/* whose turn it is: folders xx % SLICES */
	bool all;			/* few enough to check all */
	size_t checked;
	int say;			/* the pipe */
};

static bool is_new(const struct check *c, const struct stat *st)
{
	return st->st_ctim.tv_sec + SLACK_S >= c->since.tv_sec;
}

static int say(const struct check *c, const char *path, const char *why)
{
	AUTO_FREE char *text = mem_printf("'%s/objects/%s': %s", c->dir, path, why);

	text[strnlen(text, SAY_MAX)] = '\0';
	if (io_write_full(c->say, text, strlen(text)) < 0)
		_exit(1);		/* nobody listens: the status must do */
	return -1;
}

/* ---- loose objects ----------------------------------------------------------- */

static int check_file(struct check *c, const char *folder, const char *name)
{
	AUTO_FREE char *path = mem_printf("%s/%s", folder, name);
	AUTO_FREE char *hex = mem_printf("%s%s", folder, name);
	AUTO_FREE char *file = NULL;
	const char *why;
	size_t n;

	c->checked++;
	file = io_read_file(c->objects, path, LOOSE_FILE_MAX, &n);
	why = file ? loose_check(file, n, hex, NULL, NULL, NULL) : strerror(errno);
	return why ? say(c, path, why) : 0;
}

static DIR *open_folder(const struct check *c, const char *folder)
{
	int fd = openat(c->objects, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

static bool is_object(const char *name)
{
	return strlen(name) == 38 && strspn(name, "0123456789abcdef") == 38;
}

static int check_folder(struct check *c, unsigned i)
{
	char folder[3];
	struct dirent *entry;
	struct stat st;
	DIR *d;
	int rc = 0;

	snprintf(folder, sizeof(folder), "%02x", i & 0xff);
	d = open_folder(c, folder);
	while (d && rc == 0 && c->checked < CHECK_MAX && (entry = readdir(d)))
		if (is_object(entry->d_name) &&
		    (c->all || i % SLICES == c->slice ||
		     (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		      is_new(c, &st))))
			rc = check_file(c, folder, entry->d_name);
	if (d)
		closedir(d);
	return rc;
}

static size_t count_objects(const struct check *c)
{
	size_t n = 0;

	for (unsigned i = 0; i < 256 && n <= FEW; i++) {
		char folder[3];
		struct dirent *entry;
		DIR *d;

		snprintf(folder, sizeof(folder), "%02x", i);
		d = open_folder(c, folder);
		while (d && (entry = readdir(d)))
			n += is_object(entry->d_name);
		if (d)
			closedir(d);
	}
	return n;
}

/* ---- packs ------------------------------------------------------------------- */

/* A pack and its index end in the SHA-1 of all bytes before. */
static const char *sum_at_end(int fd, off_t size)
{
	uint8_t buf[65536], want[SHA1_LEN], got[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *h = EVP_MD_CTX_new();
	off_t at = 0, end = size - SHA1_LEN;
	bool ok = h && EVP_DigestInit_ex(h, EVP_sha1(), NULL) && end > 0;

	while (ok && at < end) {
		size_t n = end - at < (off_t)sizeof(buf) ? (size_t)(end - at) : sizeof(buf);

		ok = io_pread_full(fd, buf, n, (uint64_t)at) == 0 &&
			EVP_DigestUpdate(h, buf, n);
		at += (off_t)n;
	}
	ok = ok && EVP_DigestFinal_ex(h, got, NULL) &&
		io_pread_full(fd, want, SHA1_LEN, (uint64_t)end) == 0 &&
		memcmp(want, got, SHA1_LEN) == 0;
	EVP_MD_CTX_free(h);
	return ok ? NULL : "its checksum does not fit: it is damaged";
}

static int check_packs(struct check *c)
{
	DIR *d = open_folder(c, "pack");
	struct dirent *entry;
	unsigned i = 0;
	int rc = 0;

	while (d && rc == 0 && (entry = readdir(d))) {
		const char *dot = strrchr(entry->d_name, '.');
		AUTO_FREE char *path = mem_printf("pack/%s", entry->d_name);
		struct stat st;
		const char *why;
		AUTO_FD fd = -1;

		if (!dot || (strcmp(dot, ".pack") != 0 && strcmp(dot, ".idx") != 0))
			continue;
		fd = openat(dirfd(d), entry->d_name, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) < 0)
			rc = say(c, path, strerror(errno));
		else if ((c->all || is_new(c, &st) || i++ % SLICES == c->slice) &&
			 (why = sum_at_end(fd, st.st_size)))
			rc = say(c, path, why);
	}
	if (d)
		closedir(d);
	return rc;
}

/* ---- the child ----------------------------------------------------------------- */

static int check_all(struct check *c, bool loose)
{
	c->all = loose && count_objects(c) <= FEW;
	/* This opening's turn first: what is new may use up the bound. */
	for (unsigned i = 0; loose && i < 256; i++)
		if (check_folder(c, (i + c->slice) % 256) < 0)
			return -1;
	return check_packs(c);
}

static int child_start(struct check *c, bool loose, int *from, pid_t *pid)
{
	pid_t parent = getpid();
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -1;
	*pid = fork();
	if (*pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(0);
		c->say = p[1];
		_exit(check_all(c, loose) < 0 ? 1 : 0);
	}
	close(p[1]);
	*from = p[0];
	return *pid < 0 ? -1 : 0;
}

static int child_end(const char *dir, int from, pid_t pid, struct err *e)
{
	char text[SAY_MAX + 1] = "";
	size_t n = 0;
	ssize_t k;
	int status = 0;

	while (n < SAY_MAX && ((k = read(from, text + n, SAY_MAX - n)) > 0 ||
			       (k < 0 && errno == EINTR)))
		n += k > 0 ? (size_t)k : 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status)) {
		err_set(e, ERR_SYSTEM, "cannot use state '%s': its check was ended by signal %d (%s)",
			dir, WTERMSIG(status), strsignal(WTERMSIG(status)));
		return err_hint(e, "of the state that says nothing: type the same again");
	}
	if (WEXITSTATUS(status) == 0)
		return 0;
	err_set(e, ERR_SYSTEM, "cannot use state '%s': damaged object %s", dir, text);
	return err_hint(e, "bring the file back from a backup or a clone of this state, or "
			"move %s aside and start anew: drover probes before it changes "
			"anything; `git -C %s fsck` says what else is missing", dir, dir);
}

/* ---- the mark ------------------------------------------------------------------ */

static void mark_read(const char *path, struct check *c)
{
	struct stat st;
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, 64, NULL);

	if (!text || stat(path, &st) < 0)
		return;
	c->since = st.st_mtim;
	c->slice = (unsigned)strtoul(text, NULL, 10) % SLICES;
}

/* A lost mark only costs a longer check. */
static void mark_write(const char *path, const struct check *c, struct timespec begun)
{
	char text[16];
	struct timespec times[2] = { begun, begun };
	AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	snprintf(text, sizeof(text), "%u\n", (c->slice + 1) % SLICES);
	if (fd < 0 || io_write_full(fd, text, strlen(text)) < 0 || futimens(fd, times) < 0)
		unlink(path);
}

int verify_objects(const char *dir, bool loose, bool mark, struct err *e)
{
	AUTO_FREE char *objects = mem_printf("%s/objects", dir);
	AUTO_FREE char *path = mem_printf("%s/verified", dir);
	struct check c = { .dir = dir, .say = -1 };
	struct timespec begun;
	AUTO_FD fd = open(objects, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD from = -1;
	pid_t pid;

	if (fd < 0)
		return err_sys(e, "cannot read '%s'", objects);
	c.objects = fd;
	clock_gettime(CLOCK_REALTIME, &begun);
	mark_read(path, &c);
	if (child_start(&c, loose, &from, &pid) < 0)
		return err_sys(e, "cannot check state '%s'", dir);
	if (child_end(dir, from, pid, e) < 0)
		return -1;
	if (mark)
		mark_write(path, &c, begun);
	return 0;
}
