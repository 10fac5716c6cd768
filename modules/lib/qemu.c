/* SPDX-License-Identifier: Apache-2.0
 * qemu - start and end a machine as a plain QEMU process of this host.
 */
#include "modules/lib/qemu.h"

#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/proc.h"
#include "modules/lib/qmp.h"
#include "modules/lib/task.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROOF_MS 2000
#define LAUNCH_MS 60000

/* ---- is KVM real? ---------------------------------------------------------------
 *
 * A boot sector. It maps the first 2 MiB, enters long mode, counts ten million down,
 * and tells QEMU's exit device 0x10, which makes QEMU exit with 0x21:
 *
 *   cli; xor ax,ax; mov ds,es,ss,ax; mov sp,0x7c00; mov edi,0x1000; mov cr3,edi
 *   xor eax,eax; mov cx,0xc00; rep stosd; tables at 0x1000, 0x2000, 0x3000
 *   cr4.PAE; EFER.LME; lgdt; cr0.PG|PE; ljmp 8:long
 *   long: mov ecx,10000000; dec ecx; jnz; mov al,0x10; out 0xf4,al; hlt; jmp
 */
static const unsigned char proof[] = {
	0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c,
	0x66, 0xbf, 0x00, 0x10, 0x00, 0x00, 0x0f, 0x22, 0xdf, 0x66, 0x31, 0xc0,
	0xb9, 0x00, 0x0c, 0x66, 0xf3, 0xab, 0xc7, 0x06, 0x00, 0x10, 0x03, 0x20,
	0xc7, 0x06, 0x00, 0x20, 0x03, 0x30, 0xc7, 0x06, 0x00, 0x30, 0x83, 0x00,
	0x0f, 0x20, 0xe0, 0x66, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0, 0x66, 0xb9,
	0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32, 0x66, 0x0d, 0x00, 0x01, 0x00, 0x00,
	0x0f, 0x30, 0x0f, 0x01, 0x16, 0x80, 0x7c, 0x0f, 0x20, 0xc0, 0x66, 0x0d,
	0x01, 0x00, 0x00, 0x80, 0x0f, 0x22, 0xc0, 0xea, 0x60, 0x7c, 0x08, 0x00,
	0xb9, 0x80, 0x96, 0x98, 0x00, 0xff, 0xc9, 0x75, 0xfc, 0xb0, 0x10, 0xe6,
	0xf4, 0xf4, 0xeb, 0xfd, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x9a, 0x20, 0x00, 0x0f, 0x00, 0x70, 0x7c,
	0x00, 0x00,
};
#define PROOF_EXIT 0x21
#define SECTOR 512

static int proof_image(void)
{
	unsigned char sector[SECTOR] = {0};
	int fd = memfd_create("proof", 0);

	memcpy(sector, proof, sizeof(proof));
	sector[510] = 0x55;
	sector[511] = 0xaa;
	if (fd >= 0 && io_write_full(fd, sector, sizeof(sector)) < 0)
		mem_close_fd(&fd);
	return fd;
}

bool qemu_kvm_works(void)
{
	AUTO_FD image = -1;
	AUTO_FREE char *drive = NULL;
	bool works;

	if (access("/dev/kvm", R_OK | W_OK) < 0 || (image = proof_image()) < 0)
		return false;
	drive = mem_printf("file=/proc/%d/fd/%d,format=raw,if=ide,file.locking=off",
			   (int)getpid(), image);
	const char *argv[] = { "qemu-system-x86_64", "-accel", "kvm", "-m", "32",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-drive", drive, "-device", "isa-debug-exit,iobase=0xf4,iosize=1", NULL };
	struct proc p = { .argv = argv, .timeout_ms = PROOF_MS };

	proc_run(&p, NULL);
	works = p.status == PROOF_EXIT && !p.timed_out;
	proc_free(&p);
	return works;
}

/* ---- start and end ------------------------------------------------------------ */

const char **qemu_argv(const json_t *argv)
{
	const char **out = mem_alloc((json_array_size(argv) + 1) * sizeof(*out));
	json_t *word;
	size_t i;

	json_array_foreach(argv, i, word)
		out[i] = json_string_value(word);
	return out;
}

/* UEFI keeps its boot entries in a file that the machine must have of its own. */
static int make_vars(struct ctx *c, const json_t *def, const struct vm_run *run)
{
	AUTO_FREE char *beside = vm_uefi_file(def), *text = NULL;
	const char *path = run->vars ? run->vars : beside;
	size_t n = 0;

	if (strcmp(jstr(def, "firmware", ""), "uefi") != 0)
		return 0;
	if (!vm_uefi_code() || !vm_uefi_vars()) {
		ctx_hint(c, "install it there: apt install ovmf");
		return ctx_fail(c, "cannot start '%s': this host has no UEFI firmware",
				jstr(def, "name", ""));
	}
	if (access(path, F_OK) == 0)
		return 0;
	text = io_read_file(AT_FDCWD, vm_uefi_vars(), 8u << 20, &n);
	if (!text || io_write_file(AT_FDCWD, path, text, n, 0600) < 0)
		return ctx_fail_sys(c, "cannot write '%s'", path);
	return 0;
}

static char *marker_of(const char *dir)
{
	return mem_printf("%s/qemu.pid", dir);
}

pid_t qemu_running(const char *dir)
{
	AUTO_FREE char *marker = marker_of(dir);

	return task_find(marker);
}

/* What QEMU printed before it gave up, without its name in front of every line. */
static int told_why(struct ctx *c, const char *log, const char *what)
{
	AUTO_FREE char *text = io_read_file(AT_FDCWD, log, 1u << 16, NULL);
	size_t n = text ? strlen(text) : 0;

	while (n && text[n - 1] == '\n')
		text[--n] = '\0';
	return ctx_fail(c, "cannot start '%s': %s", what, n ? text : "QEMU ended at once");
}

/* Its monitor is the first thing that works. */
static int await_monitor(struct ctx *c, const json_t *def, const struct vm_run *run,
			 const char *log)
{
	AUTO_FREE char *path = mem_printf("%s/qmp.sock", run->dir);
	uint64_t until = clock_real.mono_ms(NULL) + LAUNCH_MS;
	struct qmp *q;

	while (qemu_running(run->dir)) {
		AUTO_ERR e = {0};

		if (access(path, F_OK) == 0 && (q = qmp_open(path, 1000, &e))) {
			qmp_free(q);
			return 0;
		}
		if (clock_real.mono_ms(NULL) > until)
			return ctx_fail(c, "cannot start '%s': its monitor does not answer",
					jstr(def, "name", ""));
		task_sleep_ms(20);
	}
	return told_why(c, log, jstr(def, "name", ""));
}

/* Whoever ends another machine may take an empty /run/drover away in between. */
static int make_run_dir(const char *dir)
{
	int rc = -1;

	for (int tries = 0; tries < 10 && rc < 0; tries++) {
		rc = io_mkdirs("/run/drover", 0700) < 0 ? -1 : io_mkdirs(dir, 0700);
		if (rc < 0 && errno != ENOENT)
			return -1;
	}
	return rc;
}

int qemu_launch(struct ctx *c, const json_t *def, const struct vm_run *run, int netns_fd)
{
	AUTO_JSON *words = vm_argv(def, run);
	AUTO_FREE const char **argv = qemu_argv(words);
	AUTO_FREE char *program = proc_which(argv[0]);
	AUTO_FREE char *log = mem_printf("%s/qemu.log", run->dir);
	AUTO_ERR e = {0};

	if (!program)
		return ctx_need_tool(c, argv[0]);
	if (make_run_dir(run->dir) < 0)
		return ctx_fail_sys(c, "cannot make '%s'", run->dir);
	if (make_vars(c, def, run) < 0)
		return -1;
	if (task_start(argv, log, netns_fd, &e) < 0)
		return ctx_fail_err(c, &e);
	return await_monitor(c, def, run, log);
}

void qemu_power_down(const char *dir, unsigned ms)
{
	AUTO_FREE char *path = mem_printf("%s/qmp.sock", dir);
	uint64_t until = clock_real.mono_ms(NULL) + ms;
	struct qmp *q = qmp_open(path, 1000, NULL);

	if (q && qmp_call(q, "system_powerdown", NULL, NULL, NULL) == 0)
		while (clock_real.mono_ms(NULL) < until && qmp_alive(q))
			task_sleep_ms(100);
	qmp_free(q);
}

int qemu_end(struct ctx *c, const char *dir, unsigned power_down_ms)
{
	AUTO_FREE char *marker = marker_of(dir);

	if (power_down_ms && task_find(marker))
		qemu_power_down(dir, power_down_ms);
	if (!task_end(marker, 5000))
		return ctx_fail(c, "cannot end the machine of '%s': process %d does not "
				"die", dir, (int)task_find(marker));
	if (io_remove_tree(dir) < 0 && errno != ENOENT)
		return ctx_fail_sys(c, "cannot remove '%s'", dir);
	rmdir("/run/drover");	/* fine when another machine is there */
	return 0;
}
