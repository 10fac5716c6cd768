/* SPDX-License-Identifier: Apache-2.0
 * dir - look at a state directory, make one.
 */
#include "engine/state/dir.h"
#include "engine/base/io.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/state/repo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT "drover.json"
#define VERSION 1
#define FORMAT_MAX 65536
#define RESERVE_BYTES (1 << 20)

/* Files that a first start may have left when it was killed right away. */
static bool is_beginning(const char *name)
{
	static const char *const names[] = { ".", "..", "lock", FORMAT ".new",
		".gitignore", ".gitignore.new" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static int unreadable(const char *dir, struct err *e)
{
	err_sys(e, "cannot read state '%s'", dir);
	return err_hint(e, "run drover as the user who made it, or name another directory "
			"with --state DIR");
}

/* No format file: empty (0), or the folder of something else (-1). */
static int look_inside(const char *dir, struct err *e)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	AUTO_FREE char *other = NULL;

	if (!d)
		return errno == ENOENT ? 0 : unreadable(dir, e);
	while (!other && (entry = readdir(d)))
		if (!is_beginning(entry->d_name))
			other = mem_strdup(entry->d_name);
	closedir(d);
	if (!other)
		return 0;
	err_set(e, ERR_SYSTEM, "cannot use state '%s': it holds '%s' and was not made by "
		"drover", dir, other);
	return err_hint(e, "name another directory with --state DIR, or an empty one");
}

static int format_damaged(const char *dir, struct err *e)
{
	err_set(e, ERR_SYSTEM, "cannot use state '%s': its file '" FORMAT "' is damaged", dir);
	return err_hint(e, "it reads {\"format\": \"drover state\", \"version\": %d, \"lineage\": "
			"ID}; ID is in git -C %s show refs/drover/PLAN/meta:epoch.json",
			VERSION, dir);
}

int dir_look(const char *dir, char lineage[LINEAGE_HEX], struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/" FORMAT, dir), *text = NULL;
	AUTO_JSON *o = NULL;
	uint8_t raw[16];
	size_t n;

	lineage[0] = '\0';
	text = io_read_file(AT_FDCWD, path, FORMAT_MAX, &n);
	if (!text && errno != ENOENT)
		return unreadable(dir, e);
	if (!text) {
		int rc = look_inside(dir, e);

		/* Another start may have begun in between: it writes this file before
		 * all others. */
		if (rc == 0 || access(path, F_OK) < 0)
			return rc;
		err_clear(e);
		return dir_look(dir, lineage, e);
	}
	o = json_loadb(text, n, 0, NULL);
	if (strcmp(jstr(o, "format", ""), "drover state") != 0)
		return format_damaged(dir, e);
	if (jint(o, "version", 0) > VERSION) {
		err_set(e, ERR_SYSTEM, "cannot use state '%s': it has format %lld, this drover "
			"knows %d", dir, (long long)jint(o, "version", 0), VERSION);
		return err_hint(e, "a newer drover made it: use that one");
	}
	if (jint(o, "version", 0) < 1 || strlen(jstr(o, "lineage", "")) != LINEAGE_HEX - 1 ||
	    io_unhex(jstr(o, "lineage", ""), raw, sizeof(raw)) < 0)
		return format_damaged(dir, e);
	snprintf(lineage, LINEAGE_HEX, "%s", jstr(o, "lineage", ""));
	return 1;
}

static int sync_dir(const char *path)
{
	AUTO_FD fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -1 : fsync(fd);
}

/* Make it and what is missing above it, each entry synced. */
static int make_synced(const char *dir)
{
	AUTO_FREE char *copy = mem_strdup(dir), *above = mem_strdup(dirname(copy));

	if (mkdir(dir, 0700) < 0) {
		if (errno == EEXIST)
			return 0;
		if (errno != ENOENT || make_synced(above) < 0 || mkdir(dir, 0700) < 0)
			return -1;
	}
	return sync_dir(above);
}

int dir_make(const char *dir, struct err *e)
{
	if (access(dir, F_OK) == 0 || make_synced(dir) == 0)
		return 0;
	err_sys(e, "cannot make state '%s'", dir);
	return err_hint(e, "recording needs a directory that can be written to: "
			"name another one with --state DIR");
}

void dir_draw(char lineage[LINEAGE_HEX])
{
	uint8_t raw[16];

	io_random(raw, sizeof(raw));
	io_hex(raw, sizeof(raw), lineage);
}

static int format_write(const char *dir, const char *path, const char *as,
			char lineage[LINEAGE_HEX], struct err *e)
{
	AUTO_FREE char *ignore = mem_printf("%s/.gitignore", dir), *text = NULL;
	AUTO_JSON *o = json_object();
	uint8_t raw[16];

	if (as && strlen(as) == LINEAGE_HEX - 1 && io_unhex(as, raw, sizeof(raw)) == 0)
		io_hex(raw, sizeof(raw), lineage);
	else
		dir_draw(lineage);
	jset_str(o, "format", "drover state");
	jset_int(o, "version", VERSION);
	jset_str(o, "lineage", lineage);
	text = json_pretty(o);
	if (io_write_file(AT_FDCWD, ignore, "*\n", 2, 0644) < 0 ||
	    io_write_file(AT_FDCWD, path, text, strlen(text), 0600) < 0)
		return err_sys(e, "cannot write to state '%s'", dir);
	return 0;
}

int dir_make_all(const char *dir, const char *as, char lineage[LINEAGE_HEX], struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/" FORMAT, dir);
	AUTO_FREE char *journals = mem_printf("%s/journal", dir);
	int found = dir_look(dir, lineage, e);

	if (found < 0 || (found == 0 && format_write(dir, path, as, lineage, e) < 0) ||
	    repo_make(dir, e) < 0)
		return -1;
	if (mkdir(journals, 0700) < 0)
		return errno == EEXIST ? 0 : err_sys(e, "cannot make '%s'", journals);
	return sync_dir(dir) < 0 ? err_sys(e, "cannot sync state '%s'", dir) : 0;
}

int dir_reserve(const char *dir, struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/reserve", dir);
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc = fd < 0 ? errno : posix_fallocate(fd, 0, RESERVE_BYTES);

	if (rc == 0)
		return 0;
	errno = rc;
	return err_sys(e, "cannot keep %d KiB of '%s' in reserve", RESERVE_BYTES >> 10, dir);
}

void dir_reserve_drop(const char *dir)
{
	AUTO_FREE char *path = mem_printf("%s/reserve", dir);

	unlink(path);
}

char *dir_journal(const char *dir, const char *plan)
{
	return mem_printf("%s/journal/%s.wal", dir, plan);
}
