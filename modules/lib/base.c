/* SPDX-License-Identifier: Apache-2.0
 * base - the base image of a disk, whatever it is.
 */
#include "modules/lib/base.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "engine/base/text.h"
#include "modules/lib/base_claim.h"
#include "modules/lib/imgkind.h"
#include "modules/lib/pool.h"
#include "modules/lib/task.h"
#include "modules/lib/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLANK_LOOK (1u << 20)	/* bytes at either end of a device that must be zero */
#define GROW_MS 60000
#define BUSY_TRIES 50		/* of 100 ms, until the attempt before has let go of an image */

uint64_t base_size(const struct layout_disk *d, uint64_t source)
{
	return d->size > source ? d->size : source;
}

/* ---- what is on a device --------------------------------------------------------- */

static int look_blank(struct disk *d, struct err *e)
{
	AUTO_FREE char *buf = disk_buffer(BLANK_LOOK + DISK_ALIGN);
	size_t n = d->size < BLANK_LOOK ? (size_t)d->size : BLANK_LOOK;
	const uint64_t at[2] = { 0, (d->size - n) / DISK_ALIGN * DISK_ALIGN };

	for (int i = 0; i < 2; i++) {
		size_t part = i ? (size_t)(d->size - at[i]) : n;	/* to the very end */

		if (d->ops->read(d, buf, part, at[i], e) < 0)
			return -1;
		if (buf[0] == 0 && memcmp(buf, buf + 1, part - 1) == 0)
			continue;
		err_set(e, ERR_STEP, "cannot write to device '%s': it holds data", d->path);
		return err_hint(e, "wipe it (wipefs -a, blkdiscard), name another device, or "
				"say target: { replace: true }");
	}
	return 0;
}

/* Behind the copy no old signature may stand: the copy of a GPT, a RAID's mark. */
static int wipe_rest(struct disk *d, uint64_t from, struct err *e)
{
	uint64_t rest = d->size - from, n = rest < BLANK_LOOK ? rest : BLANK_LOOK;

	if (rest == 0 || d->blank)
		return 0;
	if (d->ops->zero(d, from, n, e) < 0)
		return -1;
	return d->ops->zero(d, d->size - n, n, e);
}

static int check_room(const struct layout_disk *at, struct disk *d, uint64_t source,
		      struct err *e)
{
	uint64_t want = base_size(at, source);
	char have[24], need[24];

	if (d->size >= want)
		return 0;
	text_size(d->size, have);
	text_size(want, need);
	err_set(e, ERR_STEP, "cannot copy to '%s': it has %s (%llu bytes), the %s %s "
		"(%llu bytes)", at->base, have, (unsigned long long)d->size,
		want == source ? "source" : "plan wants", need, (unsigned long long)want);
	return err_hint(e, "make the target at least as large as the source");
}

/* ---- what its format bears ------------------------------------------------------- */

static bool grows(const struct layout_disk *d)
{
	return img_kind(d->format)->grows;
}

int base_fits(const char *disk, const struct layout_disk *d, uint64_t source, struct err *e)
{
	uint64_t want = base_size(d, source), max = img_kind(d->format)->max;
	char need[24], most[24];

	text_size(want, need);
	if (max && want > max) {
		text_size(max, most);
		err_set(e, ERR_STEP, "cannot write disk '%s' as format '%s': it has %s, the format "
			"ends at %s", disk, d->format, need, most);
		return err_hint(e, "say format: qcow2, raw or vhdx under target.disks.%s", disk);
	}
	if (!d->room || d->room >= want)
		return 0;
	err_set(e, ERR_STEP, "cannot make disk '%s' %s long: an image of format '%s' keeps the size "
		"that it was made with", disk, need, d->format);
	return err_hint(e, "put its size back; or type drover rollback PLAN --to convert, and run "
			"again");
}

static char *this_boot(void)
{
	char *id = io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 128, NULL);

	if (id)
		id[strcspn(id, "\n")] = '\0';
	return id ? id : mem_strdup("?");
}

bool base_torn(const struct layout_disk *d)
{
	AUTO_FREE char *boot = this_boot();

	return d->boot && strcmp(d->boot, boot) != 0;
}

/* Note what a format cannot bear, before it is written to. */
static int note_open(struct layout_disk *d, uint64_t room, struct err *e)
{
	const struct img_kind *k = img_kind(d->format);

	mem_free_ptr(&d->boot);
	d->boot = k->torn ? this_boot() : NULL;
	d->room = k->grows ? 0 : room;
	return layout_record(d, e);
}

int base_closed(struct layout_disk *d, struct err *e)
{
	AUTO_FD fd = d->boot ? open(d->base, O_RDONLY | O_CLOEXEC) : -1;

	if (!d->boot)
		return 0;
	if (fd < 0 || fsync(fd) < 0)
		return err_sys(e, "cannot sync '%s'", d->base);
	mem_free_ptr(&d->boot);
	d->boot = NULL;
	return layout_record(d, e);
}

/* ---- making ---------------------------------------------------------------------- */

/* In a place that is ours, a base without a map was being made when something ended it. */
static int make_file(const struct layout_disk *d, uint64_t size, struct err *e)
{
	if (unlink(d->base) < 0 && errno != ENOENT)
		return err_sys(e, "cannot remove '%s'", d->base);
	return img_create(d->base, d->format, size, e);
}

/* Of two that come at once one is first: what is there is looked at again, held. */
static int make_in_folder(struct ctx *c, const char *disk, const struct layout_disk *d, uint64_t size,
			  struct err *e)
{
	AUTO_FD held = base_claim_hold(d, e);

	if (held < 0 || base_check(c, disk, d, NULL, e) < 0 || base_claim(d, d->tag, e) < 0)
		return -1;
	return make_file(d, size, e);
}

static int make_volume(struct ctx *c, const char *disk, struct layout_disk *d,
		       uint64_t size, struct err *e)
{
	AUTO_FREE char *tag = base_tag(c, disk);
	AUTO_VOLUME v = { 0 };
	int rc = base_look_volume(d, tag, &v, e);

	if (rc == 0 && !v.exists)
		rc = volume_make(&v, size, e);
	else if (rc == 0 && !v.ours)
		rc = volume_adopt(&v, e);
	if (rc == 0 && v.exists && v.size < size)
		rc = volume_grow(&v, size, e);
	if (rc < 0 || volume_look(&v, e) < 0)
		return -1;
	if (!v.exists || v.path[0] != '/')
		return err_set(e, ERR_STEP, "cannot find volume '%s/%s', which LVM has just made",
			       d->vg, d->volume);
	free(d->base);
	d->base = mem_strdup(v.path);
	return layout_record(d, e);
}

static int make(struct ctx *c, const char *disk, struct layout_disk *d, uint64_t size,
		struct err *e)
{
	switch (d->kind) {
	case AT_VOLUME:
		return make_volume(c, disk, d, size, e);
	case AT_DEVICE:
		return 0;
	case AT_FOLDER:
		return make_in_folder(c, disk, d, size, e);
	default:
		return make_file(d, size, e);
	}
}

/* How the ledger calls it: what is made here, beside its map. */
static char *ledger_name(const struct layout_disk *d)
{
	return d->kind == AT_VOLUME ? mem_printf("%s/%s", d->vg, d->volume) :
		mem_strdup(d->kind == AT_DEVICE ? d->map : d->base);
}

static const char *ledger_kind(const struct layout_disk *d)
{
	return d->kind == AT_VOLUME ? "volume" : "file";
}

struct disk *base_make(struct ctx *c, const char *disk, struct layout_disk *d,
		       uint64_t size, struct err *e)
{
	AUTO_FREE char *name = ledger_name(d);
	json_t *detail = json_object();
	AUTO_DISK *opened = NULL;
	struct disk *done;

	jset_str(detail, "disk", disk);
	mem_free_ptr(&d->tag);
	d->tag = base_tag(c, disk);
	if (d->kind == AT_VOLUME)
		jset_str(detail, "tag", d->tag);
	d->room = 0;	/* of what was there before */
	mem_free_ptr(&d->device);
	d->device = d->kind == AT_DEVICE ? disk_device(d->base) : NULL;
	if (base_check(c, disk, d, NULL, e) < 0 || base_fits(disk, d, size, e) < 0 ||
	    note_open(d, base_size(d, size), e) < 0) {
		json_decref(detail);
		return NULL;
	}
	if (ctx_ledger_add(c, ledger_kind(d), name, true, detail) < 0) {
		err_set(e, ERR_STOPPED, "stopped");
		return NULL;
	}
	if (make(c, disk, d, base_size(d, size), e) < 0)
		return NULL;
	opened = disk_open_image(d->base, d->format, DISK_WRITE | DISK_DIRECT, e);
	if (!opened || check_room(d, opened, size, e) < 0)
		return NULL;
	if (d->kind == AT_DEVICE && !base_may_replace(c) && look_blank(opened, e) < 0)
		return NULL;
	opened->blank = !layout_is_block(d);
	if (wipe_rest(opened, size, e) < 0)
		return NULL;
	done = opened;
	opened = NULL;
	return done;
}

/* ---- going on --------------------------------------------------------------------- */

static int grow_file(const struct layout_disk *d, uint64_t size, struct err *e)
{
	AUTO_FREE char *bytes = mem_printf("%llu", (unsigned long long)size);
	const char *const argv[] = { "qemu-img", "resize", "-q", "-f", d->format, d->base,
		bytes, NULL };
	struct proc p = { .argv = argv, .timeout_ms = GROW_MS };
	struct disk_info i;
	int rc = disk_info(d->base, d->format, &i, e);

	if (rc < 0 || i.size >= size)
		return rc;
	if (strcmp(d->format, "raw") == 0)
		return truncate(d->base, (off_t)size) == 0 ? 0 :
			err_sys(e, "cannot make '%s' longer", d->base);
	rc = proc_run(&p, e);
	proc_free(&p);
	return rc;
}

static int grow_volume(const struct layout_disk *d, uint64_t size, struct err *e)
{
	AUTO_VOLUME v = { 0 };

	if (base_look_volume(d, "", &v, e) < 0)
		return -1;
	if (!v.exists || v.size >= size)
		return 0;	/* gone: opening it says so */
	return volume_grow(&v, size, e);
}

/* e->sys is ENOENT when it is gone. */
static int make_longer(const char *disk, struct layout_disk *d, uint64_t source, struct err *e)
{
	if (d->kind == AT_DEVICE)
		return 0;
	if (d->kind == AT_VOLUME)
		return grow_volume(d, base_size(d, source), e);
	if (grows(d))
		return grow_file(d, base_size(d, source), e);
	if (access(d->base, F_OK) < 0)
		return err_sys(e, "cannot open image '%s'", d->base);
	return base_fits(disk, d, source, e) < 0 ? -1 : note_open(d, d->room, e);
}

/* Somebody may have put something else in its place. */
static int still_a_file(const struct layout_disk *d, struct err *e)
{
	struct stat st;

	if (layout_is_block(d) || stat(d->base, &st) < 0 || (S_ISREG(st.st_mode) && st.st_size > 0))
		return 0;	/* gone: opening it says so */
	err_set(e, ERR_STEP, "cannot go on with '%s': it is %s", d->base,
		S_ISREG(st.st_mode) ? "empty" : "no file any more");
	return err_hint(e, "bring it back; or drover rollback PLAN --to convert, then drover run PLAN");
}

/* libvirt gives all images of a domain to QEMU's user, and what lies under an overlay it does
 * not give back. Opening it says why when that cannot be changed. */
static void take_back(const struct layout_disk *d)
{
	struct stat st;

	if (geteuid() == 0 && d->kind != AT_DEVICE && d->kind != AT_VOLUME &&
	    lstat(d->base, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid != 0 &&
	    lchown(d->base, 0, 0) < 0)
		errno = 0;
}

static struct disk *open_now(const char *disk, struct layout_disk *d, uint64_t size,
			     struct err *e)
{
	AUTO_DISK *opened = NULL;
	struct disk *done;

	take_back(d);
	if (base_still_ours(d, e) < 0 || still_a_file(d, e) < 0 || make_longer(disk, d, size, e) < 0)
		return NULL;
	opened = disk_open_image(d->base, d->format, DISK_WRITE | DISK_DIRECT, e);
	if (!opened || check_room(d, opened, size, e) < 0)
		return NULL;
	done = opened;
	opened = NULL;
	return done;
}

/* The server of an attempt that was killed may be just ending. */
struct disk *base_open(const char *disk, struct layout_disk *d, uint64_t size,
		       struct err *e)
{
	struct disk *opened = open_now(disk, d, size, e);

	for (int i = 0; !opened && e->sys == EBUSY && d->kind != AT_DEVICE && i < BUSY_TRIES; i++) {
		err_clear(e);
		task_sleep_ms(100);
		opened = open_now(disk, d, size, e);
	}
	return opened;
}

void base_announce(struct ctx *c, const struct layout_disk *d)
{
	AUTO_ERR e = { 0 };

	if (d->pool && pool_refresh(d->pool, &e) < 0)
		ctx_log(c, "libvirt does not list anew what is in pool '%s' (%s): virsh "
			"pool-refresh %s", d->pool, e.what, d->pool);
}

/* ---- taking away ------------------------------------------------------------------- */

/* Give a device back as it was taken: blank where we wrote. */
static int wipe_device(const struct layout_disk *at, uint64_t written, struct err *e)
{
	AUTO_DISK *d = NULL;

	if (!written)
		return 0;	/* nothing of ours is on it */
	d = disk_open(at->base, DISK_WRITE, e);
	if (!d || d->ops->zero(d, 0, written, e) < 0)
		return -1;
	return d->ops->flush(d, e);
}

static int remove_volume(struct ctx *c, const char *disk, const struct layout_disk *d,
			 struct err *e)
{
	AUTO_FREE char *tag = base_tag(c, disk);
	AUTO_VOLUME v = { 0 };

	if (base_look_volume(d, tag, &v, e) < 0)
		return -1;
	return v.exists && v.ours ? volume_remove(&v, e) : 0;
}

static int remove_file(const struct layout_disk *d, struct err *e)
{
	if (unlink(d->base) < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, "cannot remove '%s'", d->base);
	return 0;
}

/* Where somebody else's is by now, ours is gone already. */
static int remove_in_folder(struct ctx *c, const char *disk, const struct layout_disk *d,
			    struct err *e)
{
	AUTO_FREE char *tag = base_tag(c, disk);
	AUTO_FD held = base_claim_hold(d, e);
	int owner = held < 0 ? -1 : base_claimed(d, tag, e);

	if (held < 0 && (e->sys == ENOENT || e->sys == ENOTDIR)) {
		err_clear(e);	/* gone with its directory */
		return 0;
	}
	if (owner < 0 || owner == BASE_OTHERS)
		return owner < 0 ? -1 : 0;
	return remove_file(d, e) < 0 ? -1 : base_unclaim(d, e);
}

int base_remove(struct ctx *c, const char *disk, const struct layout_disk *d,
		uint64_t written, struct err *e)
{
	AUTO_FREE char *name = ledger_name(d);
	int rc = d->kind == AT_VOLUME ? remove_volume(c, disk, d, e) :
		d->kind == AT_DEVICE ? wipe_device(d, written, e) :
		d->kind == AT_FOLDER ? remove_in_folder(c, disk, d, e) : remove_file(d, e);

	if (rc < 0)
		return -1;
	base_announce(c, d);
	return ctx_ledger_del(c, ledger_kind(d), name) < 0 ?
		err_set(e, ERR_STOPPED, "stopped") : 0;
}
