/* SPDX-License-Identifier: Apache-2.0
 * hook/sandbox - limits and the filter of system calls, by hand.
 */
#include "engine/hook/sandbox.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROOM (48u << 20)	/* beyond the limit: stacks, JSON, the allocator's slack */

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

void sandbox_start(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 0);
	signal(SIGPIPE, SIG_DFL);
	closefrom(3);
}

static uint64_t mapped_now(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f) {
		if (fscanf(f, "%lu", &pages) != 1)
			pages = 0;
		fclose(f);
	}
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int limit(int what, uint64_t value)
{
	struct rlimit r = { (rlim_t)value, (rlim_t)value };

	return setrlimit((__rlimit_resource_t)what, &r);
}

static int set_limits(uint64_t memory, uint64_t timeout_ms)
{
	uint64_t mapped = mapped_now();

	if (limit(RLIMIT_CPU, timeout_ms / 1000 + 5) < 0 || limit(RLIMIT_CORE, 0) < 0)
		return -1;
	if (MEM_SANITIZED)
		return 0;
	if (limit(RLIMIT_NPROC, 0) < 0 || limit(RLIMIT_FSIZE, 0) < 0 ||
	    limit(RLIMIT_AS, mapped + memory + ROOM) < 0)
		return -1;
	return 0;
}

#ifdef ARCH

/* Talking on what is open, memory, time, and the end. Nothing opens, connects,
 * starts or signals anything. */
static const int allowed[] = {
	SYS_read, SYS_write, SYS_close, SYS_fstat, SYS_lseek,
	SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_brk,
	SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_sigaltstack,
	SYS_clock_gettime, SYS_gettimeofday, SYS_clock_nanosleep, SYS_restart_syscall,
	SYS_futex, SYS_getrandom, SYS_getpid, SYS_gettid, SYS_exit, SYS_exit_group,
#ifdef SYS_newfstatat
	SYS_newfstatat,
#endif
};
#define ALLOWED (sizeof(allowed) / sizeof(allowed[0]))

static int set_filter(void)
{
	struct sock_filter code[5 + ALLOWED + 2];
	struct sock_fprog prog = { 0, code };
	size_t n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, arch));
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < ALLOWED; i++)
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
			(uint32_t)allowed[i], (uint8_t)(ALLOWED - i), 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	prog.len = (unsigned short)n;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

#else

static int set_filter(void)
{
	return 0;	/* the limits and the deadline hold here too */
}

#endif

int sandbox_enter(uint64_t memory, uint64_t timeout_ms)
{
	if (set_limits(memory, timeout_ms) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	if (MEM_SANITIZED || set_filter() == 0)
		return 0;
	/* A kernel without seccomp: limits and the deadline still hold. */
	return errno == EINVAL ? 0 : -1;
}
