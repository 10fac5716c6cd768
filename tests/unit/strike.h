/* SPDX-License-Identifier: Apache-2.0
 * strike - one change to a file or a directory, by whichever process of this program, ends
 * with an error, or with a kill before it; and stretches of a medium that cannot be read.
 *
 * Whoever defines STRIKE_HERE before this, one file of a program, has the calls that change
 * files below instead of libc's: they count down.
 */
#ifndef DROVER_TESTS_STRIKE_H
#define DROVER_TESTS_STRIKE_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct strike {
	int left;	/* changes until it comes; < 0: it does not */
	int error;	/* what that one change ends with; 0: a kill */
	/* bytes of a file or a device that cannot be read; none where they end at 0 */
	dev_t dev, rdev;
	ino_t ino;
	uint64_t bad, bad_end;
	bool cached;	/* they can, but not through the page cache */
	ino_t unsynced;	/* a file of which a sync ends in EIO; 0: none */
};

#ifdef STRIKE_HERE

static struct strike *strike;	/* shared with all children */

/* First of all. */
static void strike_begin(void)
{
	strike = mmap(NULL, sizeof(*strike), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	strike->left = -1;
}

/* True: this one does not come to pass. Before all begins a sanitizer may make its folder. */
static bool struck(void)
{
	if (!strike || __atomic_load_n(&strike->left, __ATOMIC_SEQ_CST) < 0 ||
	    __atomic_fetch_sub(&strike->left, 1, __ATOMIC_SEQ_CST) != 0)
		return false;
	if (!strike->error)
		kill(getpid(), SIGKILL);
	errno = strike->error;
	return true;
}

/* In /run only a socket's name is made, which is taken away at once: no part of a copy. */
static bool counts(const char *path)
{
	return strncmp(path, "/run/", 5) != 0;
}

/* By whatever name it was opened. */
static bool is_bad(int fd, size_t n, off_t at)
{
	struct stat st;

	return strike && strike->bad_end && (uint64_t)at < strike->bad_end &&
		(uint64_t)at + n > strike->bad && fstat(fd, &st) == 0 &&
		!(strike->cached && fcntl(fd, F_GETFL) & O_DIRECT) &&
		(S_ISBLK(st.st_mode) ? st.st_rdev == strike->rdev :
		 st.st_dev == strike->dev && st.st_ino == strike->ino);
}

/* Not under its name: what a fortified libc has of it is inline. */
ssize_t strike_pread(int fd, void *p, size_t n, off_t at) __asm__("pread");
ssize_t strike_pread(int fd, void *p, size_t n, off_t at)
{
	if (is_bad(fd, n, at)) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, p, n, at);
}

#define CHANGE(...) (struck() ? -1 : syscall(__VA_ARGS__))

int mkdir(const char *path, mode_t mode)
{
	return (int)CHANGE(SYS_mkdirat, AT_FDCWD, path, mode);
}

static int take_away(const char *path, int flags)
{
	return counts(path) && struck() ? -1 :
		(int)syscall(SYS_unlinkat, AT_FDCWD, path, flags);
}

int unlink(const char *path)
{
	return take_away(path, 0);
}

int rmdir(const char *path)
{
	return take_away(path, AT_REMOVEDIR);
}

int rename(const char *from, const char *to)
{
	return (int)CHANGE(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int a, const char *from, int b, const char *to)
{
	return (int)CHANGE(SYS_renameat2, a, from, b, to, 0);
}

int fsync(int fd)
{
	return (int)CHANGE(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	struct stat st;

	if (strike && strike->unsynced && fstat(fd, &st) == 0 && st.st_ino == strike->unsynced) {
		errno = EIO;
		return -1;
	}
	return (int)CHANGE(SYS_fdatasync, fd);
}

int ftruncate(int fd, off_t size)
{
	return (int)CHANGE(SYS_ftruncate, fd, size);
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
	return (int)CHANGE(SYS_fallocate, fd, mode, at, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	return CHANGE(SYS_pwrite64, fd, p, n, at);
}

#endif /* STRIKE_HERE */

#endif
