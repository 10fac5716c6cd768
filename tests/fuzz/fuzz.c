/* SPDX-License-Identifier: Apache-2.0
 * fuzz - whatever comes from outside, read under libFuzzer and the sanitizers: one
 * program, one target a run, chosen by FUZZ=NAME. `make fuzz` builds it, makes the seeds
 * and runs each target for FUZZ_S seconds.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/host/knownhosts.h"
#include "engine/plan/errlist.h"
#include "engine/plan/yaml.h"
#include "engine/state/journal.h"
#include "engine/wire/frame.h"
#include "modules/lib/bytes.h"
#include "modules/lib/conf.h"
#include "modules/lib/freespace.h"
#include "modules/lib/fstab.h"
#include "modules/lib/gtree.h"
#include "modules/lib/guestlook.h"
#include "modules/lib/imgcheck.h"
#include "modules/lib/initramfs.h"
#include "modules/lib/map.h"
#include "modules/lib/netconf.h"
#include "modules/lib/parttab.h"
#include "modules/lib/snapcow.h"
#include "modules/lib/xmlread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINEAGE "0123456789abcdef0123456789abcdef"
#define DEPTH 4			/* of directories that are walked */

/* ---- texts of people and programs ------------------------------------------------ */

static void fuzz_yaml(const uint8_t *p, size_t n)
{
	struct arena *a = arena_new();
	struct err_list errors = { 0 };

	yaml_parse(a, "fuzz.yaml", arena_strndup(a, (const char *)p, n), n, 0, &errors);
	err_list_free(&errors);
	arena_free(a);
}

static void fuzz_xml(const uint8_t *p, size_t n)
{
	json_decref(xml_read((const char *)p, n, NULL));
}

static void fuzz_known_hosts(const uint8_t *p, size_t n)
{
	AUTO_FREE char *text = mem_strndup((const char *)p, n);
	struct known_result r = KNOWN_START;

	known_scan(&r, "known_hosts", text, strlen(text), "db1.example.net", 2222, "ssh-ed25519",
		   "AAAAC3NzaC1lZDI1NTE5AAAAIIgsMjHx7HSZ5x7cMqrEKi2mpVw2VvWB0X0y3dRLSlEs");
}

/* ---- what comes over a pipe --------------------------------------------------------- */

static void fuzz_frame(const uint8_t *p, size_t n)
{
	struct frame_reader *r = frame_reader_new();
	size_t half = n ? p[0] % n : 0;
	struct frame f;

	if (frame_reader_feed(r, p, half, NULL) == 0 &&
	    frame_reader_feed(r, p + half, n - half, NULL) == 0)
		while (frame_reader_next(r, &f, NULL) == 1)
			frame_clear(&f);
	frame_reader_free(r);
}

/* ---- files ----------------------------------------------------------------------------- */

struct file {
	int fd;
	char path[40];
};

static struct file file_of(const uint8_t *p, size_t n)
{
	struct file f = { .fd = memfd_create("fuzz", MFD_CLOEXEC) };

	if (f.fd < 0 || io_pwrite_full(f.fd, p, n, 0) < 0)
		abort();
	snprintf(f.path, sizeof(f.path), "/proc/self/fd/%d", f.fd);
	return f;
}

static void fuzz_qcow2(const uint8_t *p, size_t n)
{
	struct file f = file_of(p, n);
	uint64_t size;

	imgcheck_qcow2(f.path, &size, NULL);
	imgcheck_looks_like(f.path);
	close(f.fd);
}

static int nothing(void *arg, const struct journal_record *r, struct err *e)
{
	(void)arg;
	(void)r;
	(void)e;
	return 0;
}

static void fuzz_journal(const uint8_t *p, size_t n)
{
	struct file f = file_of(p, n);

	journal_read(f.path, LINEAGE, nothing, NULL, NULL, NULL);
	close(f.fd);
}

static void fuzz_map(const uint8_t *p, size_t n)
{
	struct file f = file_of(p, n);
	struct map *m = map_open(f.path, false, NULL);
	uint8_t digest[SHA256_LEN];

	/* A disk may be huge: what is asked of it here is bounded. */
	if (m && map_chunks(m) < 10000)
		map_root(m, digest, NULL);
	map_close(m);
	close(f.fd);
}

static void fuzz_initramfs(const uint8_t *p, size_t n)
{
	json_decref(initramfs_modules(p, n, NULL));
}

/* ---- disks --------------------------------------------------------------------------------- */

/* A disk whose beginning is the input, and the rest zeros. */
struct memory {
	struct disk d;
	const uint8_t *p;
	size_t n;
};

static int m_read(struct disk *d, void *buf, size_t n, uint64_t at, struct err *e)
{
	const struct memory *m = (struct memory *)d;
	size_t have = at < m->n ? m->n - (size_t)at : 0;

	(void)e;
	memset(buf, 0, n);
	memcpy(buf, have ? m->p + at : m->p, have < n ? have : n);
	return 0;
}

static const struct disk_ops memory_ops = { .read = m_read };
static char memory_path[] = "fuzz";

static struct memory memory_of(const uint8_t *p, size_t n)
{
	return (struct memory){ .d = { .ops = &memory_ops, .path = memory_path, .size = 64 << 20,
		.sector = 512 }, .p = p, .n = n };
}

/* Whatever is said to be free lies on the disk, in order. */
static void find_free(struct disk *d)
{
	AUTO_FREESPACE f = { 0 };

	freespace_find(d, &f);
	for (size_t i = 0; i < f.count; i++)
		if (f.v[i].len > d->size || f.v[i].at > d->size - f.v[i].len ||
		    (i > 0 && f.v[i].at < f.v[i - 1].at + f.v[i - 1].len))
			abort();
}

static void fuzz_disk(const uint8_t *p, size_t n)
{
	struct memory m = memory_of(p, n);

	find_free(&m.d);
}

/* A disk of which the input names the sectors that are not zeros: a number, then the
 * sector, and so on. */
enum { SECTOR = 512, NAMED = SECTOR + 4 };

static int sectors_read(struct disk *d, void *buf, size_t n, uint64_t at, struct err *e)
{
	const struct memory *m = (struct memory *)d;

	(void)e;
	memset(buf, 0, n);
	for (const uint8_t *p = m->p; m->n - (size_t)(p - m->p) >= NAMED; p += NAMED) {
		uint64_t place = (uint64_t)get_le32(p) * SECTOR;

		if (place >= at && place < at + n && at + n - place >= SECTOR)
			memcpy((uint8_t *)buf + (place - at), p + 4, SECTOR);
	}
	return 0;
}

static const struct disk_ops sectors_ops = { .read = sectors_read };

/* Of a volume of 1 GiB, in a store that goes on with zeros. */
static void fuzz_snapcow(const uint8_t *p, size_t n)
{
	struct memory m = memory_of(p, n);
	AUTO_CHANGES t = { 0 };

	snapcow_read(&m.d, 1 << 30, &t, NULL);
}

static void fuzz_sectors(const uint8_t *p, size_t n)
{
	struct memory m = memory_of(p, n);

	m.d.ops = &sectors_ops;
	m.d.size = 32 << 20;
	find_free(&m.d);
}

static void walk(struct gtree *t, const char *dir, int depth)
{
	AUTO_NAMES **names = gtree_list(t, dir);

	for (size_t i = 0; names && names[i] && i < 64; i++) {
		AUTO_FREE char *path = mem_printf("%s/%s", dir[1] ? dir : "", names[i]);
		struct gstat st;

		if (gtree_stat(t, path, &st) < 0)
			continue;
		if (S_ISDIR(st.mode) && depth < DEPTH)
			walk(t, path, depth + 1);
		else if (S_ISREG(st.mode))
			free(gtree_read(t, path, GTREE_FILE_MAX, NULL));
	}
}

static void fuzz_ext(const uint8_t *p, size_t n)
{
	struct memory m = memory_of(p, n);
	struct blk all = blk_of(&m.d);
	struct gtree *t = gtree_ext(&all, false, NULL);

	if (t)
		walk(t, "/", 0);
	gtree_close(&t, NULL);
}

/* ---- guests --------------------------------------------------------------------------------- */

/* A tree in which every name is there, and every file holds the input. */
struct same {
	struct gtree t;
	const uint8_t *p;
	size_t n;
};

static bool is_dir(const char *path)
{
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;

	return !strchr(name, '.') && (!*name || name[strlen(name) - 1] == 'd' ||
				      strcmp(name, "etc") == 0 || strcmp(name, "boot") == 0);
}

static int s_lstat(struct gtree *t, const char *path, struct gstat *st)
{
	*st = (struct gstat){ .mode = is_dir(path) ? S_IFDIR | 0755 : S_IFREG | 0644,
		.size = ((struct same *)t)->n, .ino = 1 };
	return 0;
}

static char *s_readlink(struct gtree *t, const char *path)
{
	(void)t;
	(void)path;
	errno = EINVAL;
	return NULL;
}

static char *s_read(struct gtree *t, const char *path, size_t max, size_t *len)
{
	const struct same *s = (struct same *)t;

	(void)path;
	if (s->n > max) {
		errno = EFBIG;
		return NULL;
	}
	if (len)
		*len = s->n;
	return mem_strndup((const char *)s->p, s->n);
}

static int s_list(struct gtree *t, const char *path, void (*fn)(void *arg, const char *name),
		  void *arg)
{
	static const char *const names[] = { "a.conf", "eth0.network", "ifcfg-eth0", "b.yaml",
		"c.nmconnection", "grub.cfg", "vmlinuz-6.1" };

	(void)t;
	(void)path;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		fn(arg, names[i]);
	return 0;
}

static int s_close(struct gtree *t, struct err *e)
{
	(void)t;
	(void)e;
	return 0;
}

static const struct gtree_ops same_ops = {
	.lstat = s_lstat, .readlink = s_readlink, .read = s_read, .list = s_list,
	.close = s_close,
};

static void fuzz_guest(const uint8_t *p, size_t n)
{
	AUTO_FREE char *text = mem_strndup((const char *)p, n);
	struct same s = { .t = { &same_ops }, .p = (const uint8_t *)text, .n = strlen(text) };
	struct netplan_block b;

	json_decref(netconf_read(&s.t));
	json_decref(guestlook_os(&s.t));
	json_decref(guestlook_boot(&s.t));
	json_decref(guestlook_crypttab(&s.t));
	json_decref(fstab_parse(text));
	netplan_find(text, "eth0", &b);
	free(conf_set(text, "Network", "Address", "10.0.0.1/24"));
	free(ifupdown_set(text, "eth0", "address", "10.0.0.1"));
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct target {
	const char *name;
	void (*run)(const uint8_t *p, size_t n);
} targets[] = {
	{ "yaml", fuzz_yaml }, { "xml", fuzz_xml }, { "known-hosts", fuzz_known_hosts },
	{ "frame", fuzz_frame }, { "qcow2", fuzz_qcow2 }, { "journal", fuzz_journal },
	{ "map", fuzz_map }, { "initramfs", fuzz_initramfs }, { "disk", fuzz_disk },
	{ "ext", fuzz_ext }, { "guest", fuzz_guest }, { "xfs", fuzz_sectors },
	{ "ntfs", fuzz_sectors }, { "snapcow", fuzz_snapcow },
};

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct target *chosen;
	const char *name = getenv("FUZZ");

	for (size_t i = 0; !chosen && i < ARRAY_LEN(targets); i++)
		if (name && strcmp(targets[i].name, name) == 0)
			chosen = &targets[i];
	if (!chosen) {
		for (size_t i = 0; i < ARRAY_LEN(targets); i++)
			fprintf(stderr, "FUZZ=%s\n", targets[i].name);
		exit(100);
	}
	chosen->run(p, n);
	return 0;
}
