/* SPDX-License-Identifier: Apache-2.0
 * checkpoint_read - one pass of a domain's disks: what is read, and is there room meanwhile.
 */
#include "modules/lib/checkpoint.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "modules/lib/checkpoint_priv.h"
#include "modules/lib/qemunbd.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#define SPARE (512ull << 20)		/* left free beside an image, or the pass ends */
#define LOOK_MS 200			/* how often that is looked at */

/* ---- reading -------------------------------------------------------------------------- */

static struct checkpoint_part *part_of(const struct checkpoint_pass *p, const char *disk)
{
	for (size_t i = 0; p && i < p->count; i++)
		if (strcmp(p->parts[i].name, disk) == 0)
			return &p->parts[i];
	return NULL;
}

bool checkpoint_has(const struct checkpoint_pass *p, const char *disk)
{
	return part_of(p, disk) != NULL;
}

/* Only the user that QEMU runs as, and root, come to its directory. */
static int reach(const char *path, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	err_sys(e, "cannot reach QEMU at '%s'", path);
	mem_close_fd(&fd);
	return -1;
}

static void mark(void *arg, uint64_t at, uint64_t len)
{
	track_changes_add(arg, at, len);
}

static int take_bits(struct nbd *n, const char *root, struct track_changes *t, struct err *e)
{
	uint64_t size = nbd_size(n), far;

	track_changes_make(t, size);
	if (io_unhex(root, t->base, SHA256_LEN) < 0)
		return err_set(e, ERR_STEP, "its checkpoint names no copy");
	for (uint64_t at = 0; at < size; at += far)
		if ((far = nbd_dirty(n, at, mark, t, e)) == 0)
			return -1;
	if (t->bytes > size)
		t->bytes = size;
	return 0;
}

static struct disk *connect_to(struct checkpoint_pass *p, const struct checkpoint_part *k,
			       struct nbd **nbd, struct err *e)
{
	int fd = reach(p->socket, e);

	*nbd = fd < 0 ? NULL : nbd_new_dirty(fd, k->target, k->why ? NULL : CHECKPOINT_BITMAP, e);
	return *nbd ? qemunbd_of(*nbd, k->path) : NULL;
}

struct disk *checkpoint_open(struct checkpoint_pass *p, const char *disk,
			     struct track_changes *t, const char **why, struct err *e)
{
	struct checkpoint_part *k = part_of(p, disk);
	const char *root = json_string_value(json_object_get(jget(p->since, "roots"), disk));
	const char *bitmap = jstr(jget(p->since, "bitmaps"), k->target, "");
	struct nbd *nbd = NULL;
	struct disk *d;

	if (p->socket)
		d = connect_to(p, k, &nbd, e);
	else if (k->why)
		d = disk_open_image(k->path, "qcow2", 0, e);
	else
		d = qemunbd_open_dirty(k->path, bitmap, &nbd, e);
	*why = k->why;
	if (!d || k->why || take_bits(nbd, root ? root : "", t, e) == 0)
		return d;
	track_changes_free(t);
	disk_close(&d, NULL);
	return NULL;
}

/* Once it has found one it stays with that. */
static void look_for_room(struct checkpoint_pass *p)
{
	uint64_t now = clock_real.mono_ms(clock_real.arg);

	if (p->looked && now - p->looked < LOOK_MS)
		return;
	p->looked = now;
	for (size_t i = 0; i < p->count && !p->full; i++) {
		AUTO_FREE char *dir = checkpoint_folder(p->parts[i].path);
		struct statvfs v;

		if (statvfs(dir, &v) < 0 || (uint64_t)v.f_bavail * v.f_frsize >= SPARE)
			continue;
		p->full = &p->parts[i];
		p->left = (uint64_t)v.f_bavail * v.f_frsize;
	}
}

bool checkpoint_is_full(struct checkpoint_pass *p, struct err *e)
{
	AUTO_FREE char *dir = NULL;
	char left[24];

	if (!p || !p->socket)
		return false;
	look_for_room(p);
	if (!p->full)
		return false;
	dir = checkpoint_folder(p->full->path);
	text_size(p->left, left);
	err_set(e, ERR_STEP, "cannot go on reading '%s' while its domain runs: %s is left free "
		"beside it for what the guest overwrites meanwhile", p->full->path, left);
	err_hint(e, "make room in '%s', or shut the domain down for the copy", dir);
	return true;
}

