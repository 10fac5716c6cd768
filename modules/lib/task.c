/* SPDX-License-Identifier: Apache-2.0
 * task - a program that outlives the step that started it.
 */
#include "modules/lib/task.h"

#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CMDLINE_MAX (1u << 20)

void task_sleep_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static bool has_argument(int proc, const char *pid, const char *marker)
{
	AUTO_FREE char *path = mem_printf("%s/cmdline", pid), *line = NULL;
	size_t len = 0, want = strlen(marker) + 1;

	line = io_read_file(proc, path, CMDLINE_MAX, &len);
	for (char *p = line; p && p < line + len; p += strlen(p) + 1)
		if (strlen(p) + 1 == want && memcmp(p, marker, want) == 0)
			return true;
	return false;
}

pid_t task_find(const char *marker)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		pid_t pid = (pid_t)atoi(entry->d_name);

		if (pid > 0 && pid != getpid() &&
		    has_argument(dirfd(proc), entry->d_name, marker))
			found = pid;
	}
	if (proc)
		closedir(proc);
	return found;
}

bool task_end(const char *marker, unsigned grace_ms)
{
	uint64_t start = clock_real.mono_ms(NULL), now;
	bool asked = false;
	pid_t pid;

	while ((pid = task_find(marker)) > 0) {
		now = clock_real.mono_ms(NULL);
		if (now > start + grace_ms + 10000)
			return false;	/* not even SIGKILL ends it */
		if (!asked || now > start + grace_ms)
			kill(pid, asked ? SIGKILL : SIGTERM);
		asked = true;
		task_sleep_ms(20);
	}
	return true;
}
