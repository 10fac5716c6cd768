/* SPDX-License-Identifier: Apache-2.0
 * base_claim - whose a base is: by a claim, a tag, a record.
 */
#include "modules/lib/base.h"
#include "modules/lib/base_claim.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define CLAIM_MAX 4096u
#define TAG_HEAD "drover/"

/* ---- a file in a directory that others share ---------------------------------------------- */

/* The directory, with its last slash; d->base is absolute. Owned. */
static char *folder_of(const struct layout_disk *d)
{
	return mem_strndup(d->base, (size_t)(strrchr(d->base, '/') + 1 - d->base));
}

static char *claim_of(const struct layout_disk *d)
{
	AUTO_FREE char *folder = folder_of(d);

	return mem_printf("%s.%s.drover", folder, strrchr(d->base, '/') + 1);
}

/* Without its end it was cut short. */
static bool is_claim(const char *text)
{
	return strncmp(text, TAG_HEAD, strlen(TAG_HEAD)) == 0 && strchr(text, '\n');
}

static bool is_gone(const char *path)
{
	return access(path, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR);
}

int base_claimed(const struct layout_disk *d, const char *tag, struct err *e)
{
	AUTO_FREE char *path = claim_of(d);
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, CLAIM_MAX, NULL);
	size_t n = text ? strcspn(text, "\n") : 0;
	int why = errno;

	if (text && strlen(tag) == n && strncmp(text, tag, n) == 0)
		return BASE_OURS;
	if (text && is_claim(text))
		return BASE_OTHERS;
	if (is_gone(path) || is_gone(d->base))
		return BASE_NOBODYS;
	errno = why;
	if (text)
		err_set(e, ERR_STEP, "cannot tell whose '%s' is: '%s' is damaged", d->base, path);
	else
		err_sys(e, "cannot tell whose '%s' is: cannot read '%s'", d->base, path);
	return err_hint(e, "if it is this plan's copy, put %s into a new '%s'; if it is another "
			"plan's, drover preview of that one says what to put there; then type the "
			"same again", tag, path);
}

int base_claim_hold(const struct layout_disk *d, struct err *e)
{
	AUTO_FREE char *folder = folder_of(d);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, "cannot open directory '%s'", folder);
	while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
		;
	return fd;
}

int base_claim(const struct layout_disk *d, const char *tag, struct err *e)
{
	AUTO_FREE char *path = claim_of(d), *text = mem_printf("%s\n", tag);

	return io_write_file(AT_FDCWD, path, text, strlen(text), 0600) == 0 ? 0 :
		err_sys(e, "cannot write '%s'", path);
}

int base_unclaim(const struct layout_disk *d, struct err *e)
{
	AUTO_FREE char *path = claim_of(d), *half = mem_printf("%s.new", path);

	unlink(half);	/* of a claim that was cut off */
	if (unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, "cannot remove '%s'", path);
	return 0;
}

/* ---- whose is it? --------------------------------------------------------------------------- */

bool base_may_replace(struct ctx *c)
{
	return jbool(ctx_machine(c), "target.replace", false);
}

char *base_tag(struct ctx *c, const char *disk)
{
	return mem_printf(TAG_HEAD "%s/%s/%s/%s", jstr(ctx_run(c), "lineage", ""),
			  jstr(ctx_run(c), "plan", ""), ctx_machine_name(c), disk);
}

int base_look_volume(const struct layout_disk *d, const char *tag, struct volume *v, struct err *e)
{
	*v = (struct volume){ .vg = d->vg, .name = d->volume, .tag = tag };
	return volume_look(v, e);
}

static int strange(const struct layout_disk *d, struct err *e)
{
	bool volume = d->kind == AT_VOLUME;

	err_set(e, ERR_STEP, "cannot write to '%s': drover did not make it", d->base);
	if (volume)
		return err_hint(e, "remove it (lvremove %s/%s), name another vg, or say target: "
				"{ replace: true } to overwrite it", d->vg, d->volume);
	return err_hint(e, "move it away, name another place, or say target: { replace: true } "
			"to overwrite it");
}

static int others(const struct layout_disk *d, struct err *e)
{
	err_set(e, ERR_STEP, "cannot write to '%s': another state, plan, machine or disk has its copy "
		"there", d->base);
	return err_hint(e, "name another place for one of them under target.disks");
}

/* A folder's file is ours by its claim, and without one by its record. */
static int look_in_folder(const struct layout_disk *d, const char *tag, bool *exists, bool *ours,
			  struct err *e)
{
	int owner = base_claimed(d, tag, e);

	*exists = access(d->base, F_OK) == 0;
	*ours = owner == BASE_OURS || (owner == BASE_NOBODYS && d->recorded);
	return owner;
}

int base_check(struct ctx *c, const char *disk, const struct layout_disk *d, bool *there,
	       struct err *e)
{
	AUTO_FREE char *tag = base_tag(c, disk);
	bool exists = false, ours = true;
	int owner = BASE_NOBODYS;

	if (d->kind == AT_VOLUME) {
		AUTO_VOLUME v = { 0 };

		if (base_look_volume(d, tag, &v, e) < 0)
			return -1;
		exists = v.exists;
		ours = v.ours;
	} else if (d->kind == AT_FOLDER) {
		owner = look_in_folder(d, tag, &exists, &ours, e);
		if (owner < 0 && !base_may_replace(c))
			return -1;
		err_clear(e);
	} else {	/* what is at home is ours by the marker there */
		exists = access(d->base, F_OK) == 0;
	}
	if (there)
		*there = exists;
	if (!exists || ours || base_may_replace(c))
		return 0;
	return owner == BASE_OTHERS ? others(d, e) : strange(d, e);
}

int base_still_ours(const struct layout_disk *d, struct err *e)
{
	int owner = d->kind == AT_FOLDER && d->tag ? base_claimed(d, d->tag, e) : BASE_OURS;

	if (owner == BASE_OTHERS && access(d->base, F_OK) == 0)
		return others(d, e);
	return owner < 0 ? -1 : 0;
}
