/* SPDX-License-Identifier: Apache-2.0
 * imgforeign - look at images of other hypervisors before any program opens them.
 */
#include "modules/lib/imgforeign.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/bytes.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTOR_MAX (64u << 10)	/* bytes of a vmdk's text */
#define NAME_LEN 255

struct image {
	const char *path;
	int fd;
	uint64_t size;		/* of the file */
};

static int refuse(const struct image *m, struct err *e, const char *why)
{
	return err_set(e, ERR_STEP, "cannot use image '%s': %s", m->path, why);
}

static int stands_on(const struct image *m, struct err *e)
{
	refuse(m, e, "it stands on another image");
	return err_hint(e, "an image that names other files is not opened: merge its snapshots "
			"where it comes from, and name the result");
}

/* n bytes at `at`, or -1: it ends before. */
static int take(const struct image *m, void *p, size_t n, uint64_t at)
{
	return at <= m->size && n <= m->size - at ? io_pread_full(m->fd, p, n, at) : -1;
}

/* ---- vmdk ------------------------------------------------------------------------ */

/* A sparse extent's header, by offset; little-endian, counted in sectors. */
enum { VMDK_CAPACITY = 12, VMDK_DESCRIPTOR = 28, VMDK_GRAINS = 56, VMDK_HEAD = 512 };
#define VMDK_QEMU_DESCRIPTOR 512	/* where QEMU looks for the text, whatever it says */
#define VMDK_AT_END UINT64_MAX		/* the header that counts is the footer */

static const char *word_of(const char *line, const char *key)
{
	size_t n = strlen(key);

	while (*line == ' ' || *line == '\t')
		line++;
	if (strncasecmp(line, key, n) != 0)
		return NULL;
	line += n;
	while (*line == ' ' || *line == '\t')
		line++;
	if (*line++ != '=')
		return NULL;
	return line + strspn(line, " \t\"");
}

/* What QEMU searches for anywhere in the text, not only at the beginning of a line. */
static bool names_parent(const char *text)
{
	return strcasestr(text, "parentFileNameHint") != NULL;
}

/* "RW 4096 SPARSE "disk-s001.vmdk" 0": the name; "" for an extent without a file, NULL
 * when the line is no extent. Caller frees. */
static char *extent_name(const char *line, bool *odd)
{
	static const char *const kinds[] = { "SPARSE", "FLAT", "ZERO", "VMFS", "VMFSSPARSE" };
	char access[16], kind[16], name[NAME_LEN + 1];
	long long sectors;
	int got, end = 0;

	got = sscanf(line, " %15s %lld %15s%n", access, &sectors, kind, &end);
	if (got != 3 || (strcmp(access, "RW") != 0 && strcmp(access, "RDONLY") != 0 &&
			 strcmp(access, "NOACCESS") != 0))
		return NULL;
	*odd = true;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		*odd = *odd && strcmp(kind, kinds[i]) != 0;
	if (strcmp(kind, "ZERO") == 0)
		return mem_strdup("");
	if (sscanf(line + end, " \"%255[^\"]\"", name) == 1)
		return mem_strdup(name);
	*odd = true;
	return mem_strdup("");
}

/* A plain name of a file in the same folder: no path, no option, no protocol. */
static bool plain_name(const char *s)
{
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p < 0x20 || strchr("/\\:", *p))
			return false;
	return *s && *s != '-' && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

static int check_sparse(const struct image *m, struct err *e);

/* An extent is a file of its own right: a link could lead anywhere. */
static int check_extent(const struct image *m, const char *name, struct err *e)
{
	const char *slash = strrchr(m->path, '/');
	AUTO_FREE char *path = mem_printf("%.*s%s", slash ? (int)(slash + 1 - m->path) : 0, m->path,
					  name);
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	struct image extent = { .path = path, .fd = fd };
	struct stat st;
	char magic[4] = "";

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "cannot open '%s', an extent of '%s'", path, m->path);
	if (!S_ISREG(st.st_mode))
		return refuse(&extent, e, "it is an extent of a vmdk, and no file");
	extent.size = (uint64_t)st.st_size;
	if (take(&extent, magic, 4, 0) == 0 && memcmp(magic, "KDMV", 4) == 0)
		return check_sparse(&extent, e);
	return 0;
}

static int add_extent(const struct image *m, const char *name, struct img_files *f,
		      struct err *e)
{
	if (!plain_name(name)) {
		err_set(e, ERR_STEP, "cannot use image '%s': it names '%s', which is no plain name "
			"of a file beside it", m->path, name);
		return err_hint(e, "an image that names other files is not opened");
	}
	if (f->count == IMG_EXTENTS_MAX)
		return refuse(m, e, "it has more than 100 extents");
	f->names[f->count++] = mem_strdup(name);
	return check_extent(m, name, e);
}

/* `f` is NULL for the text inside of a single file, whose extent is that file. */
static int check_text(const struct image *m, char *text, struct img_files *f, struct err *e)
{
	char *save = NULL;
	size_t extents = 0;

	if (names_parent(text))
		return stands_on(m, e);
	for (char *line = strtok_r(text, "\r\n", &save); line;
	     line = strtok_r(NULL, "\r\n", &save)) {
		const char *parent = word_of(line, "parentCID");
		bool odd = false;
		AUTO_FREE char *name = extent_name(line, &odd);

		if (parent && strncasecmp(parent, "ffffffff", 8) != 0)
			return stands_on(m, e);
		if (!name)
			continue;
		extents++;
		if (odd)
			return refuse(m, e, "one of its extents is of a kind that is not known");
		if (f && *name && add_extent(m, name, f, e) < 0)
			return -1;
	}
	return f && !extents ? refuse(m, e, "it names no extents") : 0;
}

/* The text that a sparse extent carries at `at`, if any. */
static int check_inner(const struct image *m, uint64_t at, struct err *e)
{
	AUTO_FREE char *text = mem_alloc(DESCRIPTOR_MAX + 1);
	uint64_t n = at < m->size ? m->size - at : 0;

	n = n < DESCRIPTOR_MAX ? n : DESCRIPTOR_MAX;
	if (take(m, text, n, at) < 0)
		return refuse(m, e, "its header points beyond its end");
	/* what follows the text is data of the disk */
	if (strncmp(text, "# Disk Descriptor", 17) != 0)
		return memmem(text, n < 10240 ? n : 10240, "parentFileNameHint", 18) ?
			stands_on(m, e) : 0;
	return check_text(m, text, NULL, e);
}

static int check_header(const struct image *m, const uint8_t *h, struct err *e)
{
	uint64_t at = get_le64(h + VMDK_DESCRIPTOR);

	if (memcmp(h, "KDMV", 4) != 0)
		return refuse(m, e, "its header is damaged");
	/* then it would be a descriptor, of any files */
	if (get_le64(h + VMDK_CAPACITY) == 0)
		return refuse(m, e, "its header gives it no size");
	if (at > m->size / 512)
		return refuse(m, e, "its header points beyond its end");
	return at ? check_inner(m, at * 512, e) : 0;
}

static int check_sparse(const struct image *m, struct err *e)
{
	uint8_t h[VMDK_HEAD];

	if (take(m, h, sizeof(h), 0) < 0)
		return refuse(m, e, "it is no vmdk image");
	if (check_header(m, h, e) < 0 || check_inner(m, VMDK_QEMU_DESCRIPTOR, e) < 0)
		return -1;
	if (get_le64(h + VMDK_GRAINS) != VMDK_AT_END)
		return 0;
	if (m->size < 1536 || take(m, h, sizeof(h), m->size - 1024) < 0)
		return refuse(m, e, "its footer is missing: was all of it copied?");
	return check_header(m, h, e);
}

static int check_vmdk(const struct image *m, struct img_files *f, struct err *e)
{
	char magic[22] = "";

	if (take(m, magic, 21, 0) == 0 && memcmp(magic, "# Disk DescriptorFile", 21) == 0) {
		AUTO_FREE char *text = mem_alloc(DESCRIPTOR_MAX + 1);

		if (m->size > DESCRIPTOR_MAX || take(m, text, m->size, 0) < 0)
			return refuse(m, e, "its descriptor is too long");
		/* zeros may follow, nothing that another reader would take for text */
		size_t n = strlen(text), rest = m->size > n ? m->size - n : 0;
		if (rest && memcmp(text + n, text + n + 1, rest) != 0)
			return refuse(m, e, "its descriptor is no text");
		return check_text(m, text, f, e);
	}
	if (memcmp(magic, "KDMV", 4) != 0)
		return refuse(m, e, "it is no vmdk image");
	return check_sparse(m, e);
}

/* ---- vdi, vpc -------------------------------------------------------------------- */

enum { VDI_MAGIC = 64, VDI_KIND = 76, VDI_PARENT = 440, VDI_HEAD = 512 };

static int check_vdi(const struct image *m, struct img_files *f, struct err *e)
{
	static const uint8_t none[32];
	uint8_t h[VDI_HEAD];
	uint32_t kind;

	(void)f;
	if (take(m, h, sizeof(h), 0) < 0 || get_le32(h + VDI_MAGIC) != 0xbeda107fu)
		return refuse(m, e, "it is no vdi image");
	kind = get_le32(h + VDI_KIND);
	/* uuids of what it is linked to, and of its parent */
	if (kind == 4 || memcmp(h + VDI_PARENT - 16, none, sizeof(none)) != 0)
		return stands_on(m, e);
	return kind == 1 || kind == 2 ? 0 : refuse(m, e, "its kind is not known");
}

enum { VPC_KIND = 60, VPC_FOOT = 512 };

static int check_vpc(const struct image *m, struct img_files *f, struct err *e)
{
	uint8_t h[VPC_FOOT];
	uint32_t kind;

	(void)f;
	if ((take(m, h, sizeof(h), 0) < 0 || memcmp(h, "conectix", 8) != 0) &&
	    (m->size < VPC_FOOT || take(m, h, sizeof(h), m->size - VPC_FOOT) < 0 ||
	     memcmp(h, "conectix", 8) != 0))
		return refuse(m, e, "it is no vpc (vhd) image");
	memcpy(&kind, h + VPC_KIND, sizeof(kind));
	kind = be32toh(kind);
	if (kind == 4)
		return stands_on(m, e);
	return kind == 2 || kind == 3 ? 0 : refuse(m, e, "its kind is not known");
}

/* ---- vhdx ------------------------------------------------------------------------ */

#define VHDX_REGIONS (192u << 10)
#define VHDX_ROWS_MAX 2047u

static const uint8_t vhdx_metadata[16] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
	0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };
static const uint8_t vhdx_parent[16] = { 0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
	0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c };

/* The metadata table: rows of 32 bytes after a head of as many. */
static int check_vhdx_metadata(const struct image *m, uint64_t at, struct err *e)
{
	uint8_t h[32], row[32];
	unsigned count;

	if (take(m, h, sizeof(h), at) < 0 || memcmp(h, "metadata", 8) != 0)
		return refuse(m, e, "its metadata is damaged");
	count = h[10] | (unsigned)h[11] << 8;
	if (count > VHDX_ROWS_MAX)
		return refuse(m, e, "its metadata is damaged");
	for (unsigned i = 0; i < count; i++) {
		if (take(m, row, sizeof(row), at + 32 + 32ull * i) < 0)
			return refuse(m, e, "its metadata is damaged");
		if (memcmp(row, vhdx_parent, 16) == 0)
			return stands_on(m, e);
	}
	return 0;
}

/* 0 and *at, the place of the metadata by the region table there; -1: it is damaged. */
static int vhdx_find_metadata(const struct image *m, uint64_t table, uint64_t *at)
{
	uint8_t h[16], row[32];

	if (take(m, h, sizeof(h), table) < 0 || memcmp(h, "regi", 4) != 0 ||
	    get_le32(h + 8) > VHDX_ROWS_MAX)
		return -1;
	for (uint32_t i = 0; i < get_le32(h + 8); i++) {
		if (take(m, row, sizeof(row), table + 16 + 32ull * i) < 0)
			return -1;
		*at = get_le64(row + 16);
		if (memcmp(row, vhdx_metadata, 16) == 0)
			return 0;
	}
	return -1;
}

static int check_vhdx(const struct image *m, struct img_files *f, struct err *e)
{
	char magic[8];
	bool found = false;
	uint64_t at;

	(void)f;
	if (take(m, magic, 8, 0) < 0 || memcmp(magic, "vhdxfile", 8) != 0)
		return refuse(m, e, "it is no vhdx image");
	/* two copies of the table: whichever a program reads must be harmless */
	for (int i = 0; i < 2; i++) {
		if (vhdx_find_metadata(m, VHDX_REGIONS + i * (64u << 10), &at) < 0)
			continue;
		found = true;
		if (check_vhdx_metadata(m, at, e) < 0)
			return -1;
	}
	return found ? 0 : refuse(m, e, "its region tables are damaged");
}

/* ---- the table --------------------------------------------------------------------- */

static const struct {
	const char *format;
	int (*check)(const struct image *m, struct img_files *f, struct err *e);
} formats[] = {
	{ "vmdk", check_vmdk }, { "vhdx", check_vhdx }, { "vpc", check_vpc }, { "vdi", check_vdi },
};

bool imgforeign_is(const char *format)
{
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (strcmp(formats[i].format, format) == 0)
			return true;
	return false;
}

void img_files_free(struct img_files *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->names[i]);
	f->count = 0;
}

int imgforeign_check(const char *path, const char *format, struct img_files *f,
		     struct err *e)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct image m = { .path = path, .fd = fd };
	struct stat st;

	f->count = 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "cannot open image '%s'", path);
	if (!S_ISREG(st.st_mode))
		return refuse(&m, e, "it is no file");
	m.size = (uint64_t)st.st_size;
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (strcmp(formats[i].format, format) == 0)
			return formats[i].check(&m, f, e);
	return refuse(&m, e, "its format is not supported");
}
