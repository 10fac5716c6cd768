/* SPDX-License-Identifier: Apache-2.0
 * proof_mark - how far a read-back has come, noted beside the map: one that is cut off goes
 * on from there.
 *
 * <disk>.readback is one small file, replaced as a whole. It says of what it is true: the
 * map's root, birth and newest generation, what was proven before, which proof it is, and the
 * base itself (of a file its inode, size and time of change). Whatever differs, or a checksum
 * that does not fit, and it is as if it were not there.
 *
 * What a whole reading proved the engine keeps, under a name that is made of all this and of the
 * host's boot, before the notes go: a result that is lost on its way is told from there.
 */
#include "modules/lib/proof_impl.h"

#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MAGIC "DRREAD1\n"
#define CHECK_LEN 16u
#define EVERY_BYTES (64ull << 20)	/* so much is read twice at most, or */
#define EVERY_MS 2000u			/* what was read in so long */

struct marked {
	char magic[8];
	uint8_t of[SHA256_LEN];		/* of what it is true */
	struct proof_mark mark;
	uint8_t check[CHECK_LEN];	/* of all before it */
};

static void check_of(const struct marked *k, uint8_t out[CHECK_LEN])
{
	uint8_t d[SHA256_LEN];

	sha256_of(k, offsetof(struct marked, check), d);
	memcpy(out, d, CHECK_LEN);
}

/* Which base it is, and that nobody has written to it; NULL: it is out of sight. Owned. */
static char *base_is(const char *path)
{
	AUTO_FREE char *device = NULL;
	struct stat st;

	if (stat(path, &st) < 0)
		return NULL;
	if (!S_ISBLK(st.st_mode))
		return mem_printf("file %llu %llu %lld %lld.%09ld", (unsigned long long)st.st_dev,
				  (unsigned long long)st.st_ino, (long long)st.st_size,
				  (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	device = disk_device(path);
	return device ? mem_printf("device %s", device) :
		mem_printf("node %u:%u", major(st.st_rdev), minor(st.st_rdev));
}

/* False: nothing can be remembered of this one. */
static bool of_what(const struct layout_disk *at, struct map *m, const char *proof,
		    uint32_t proven, uint8_t out[SHA256_LEN])
{
	struct map_state s;
	AUTO_FREE char *text = NULL, *copy = NULL, *base = base_is(at->base);
	char root[SHA256_HEX];

	map_state(m, &s);
	copy = proof_copy_name(m, s.generation);
	if (!base || !copy || !s.complete)
		return false;
	io_hex(s.root, SHA256_LEN, root);
	text = mem_printf("%s %u %s %s %s %s", proof, proven, copy, root, at->base, base);
	sha256_of(text, strlen(text), out);
	return true;
}

bool proof_mark_find(const struct layout_disk *at, struct map *m, const char *proof,
		     uint32_t proven, struct proof_mark *mark)
{
	size_t n = 0;
	AUTO_FREE char *text = io_read_file(AT_FDCWD, at->readback, sizeof(struct marked), &n);
	uint8_t of[SHA256_LEN], check[CHECK_LEN];
	struct marked k;

	if (!text || n != sizeof(k))
		return false;
	memcpy(&k, text, sizeof(k));
	check_of(&k, check);
	if (memcmp(k.magic, MAGIC, sizeof(k.magic)) != 0 ||
	    memcmp(k.check, check, CHECK_LEN) != 0 || k.mark.next > map_chunks(m) ||
	    !of_what(at, m, proof, proven, of) || memcmp(k.of, of, SHA256_LEN) != 0)
		return false;
	*mark = k.mark;
	return true;
}

static uint64_t now_ms(void)
{
	return clock_real.mono_ms(clock_real.arg);
}

void proof_mark_begin(struct proving *x)
{
	x->marks = of_what(x->at, x->m, x->proof, x->proven, x->of);
	x->marked_ms = now_ms();
	x->mark.next = 0;
	if (x->marks && proof_mark_find(x->at, x->m, x->proof, x->proven, &x->mark))
		return;
	x->mark = (struct proof_mark){ .since = clock_real.wall_s(clock_real.arg) };
}

bool proof_mark_due(const struct proving *x, const struct proof_mark *now)
{
	uint64_t bytes = now->read - x->mark.read;	/* what is left out costs nothing */

	return x->marks && bytes > 0 &&
		(bytes >= EVERY_BYTES || now_ms() - x->marked_ms >= EVERY_MS);
}

int proof_mark_put(struct proving *x, const struct proof_mark *now)
{
	struct marked k = { .magic = MAGIC, .mark = *now };

	if (!x->marks || now->next == x->mark.next)
		return 0;
	memcpy(k.of, x->of, SHA256_LEN);
	check_of(&k, k.check);
	x->marked_ms = now_ms();
	x->mark = *now;
	if (io_write_file(AT_FDCWD, x->at->readback, &k, sizeof(k), 0600) == 0)
		return 0;
	x->marks = false;	/* the reading itself goes on */
	return -1;
}

int proof_mark_drop(const struct layout_disk *at, struct err *e)
{
	if (unlink(at->readback) < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, "cannot remove '%s'", at->readback);
	return 0;
}

/* ---- a result that was lost ------------------------------------------------------------ */

/* NULL: nothing can be kept of this one. Owned. */
static char *kept_as(const struct proving *x)
{
	char boot[CLOCK_BOOT], hex[SHA256_HEX];
	AUTO_FREE char *text = NULL;
	uint8_t of[SHA256_LEN];

	clock_real.boot(clock_real.arg, boot);
	if (!*boot || !of_what(x->at, x->m, x->proof, x->proven, of))
		return NULL;
	io_hex(of, SHA256_LEN, hex);
	text = mem_printf("%s %s", hex, boot);
	sha256_hex(text, strlen(text), hex);
	return mem_printf("proven.%s.%.32s", x->name, hex);
}

int proof_keep(struct ctx *c, const struct proving *x, const json_t *said)
{
	AUTO_FREE char *name = kept_as(x), *text = json_canonical(said);

	return name ? ctx_keep(c, name, text, strlen(text)) : 0;
}

json_t *proof_kept(struct ctx *c, const struct proving *x)
{
	AUTO_FREE char *name = kept_as(x);
	size_t n = 0;
	const char *text = name ? ctx_kept(c, name, &n) : NULL;

	return text ? json_parse(text, n, NULL) : NULL;
}
