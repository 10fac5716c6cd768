/* SPDX-License-Identifier: Apache-2.0
 * imgcheck - look at an image's header before any program opens the image.
 */
#include "modules/lib/imgcheck.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define QCOW2_MAGIC 0x514649fbu		/* "QFI\xfb" */
#define QCOW2_SIZE_MAX (1ull << 56)

/* The header's first fields, big-endian, by offset. */
enum {
	AT_VERSION = 4, AT_BACKING = 8, AT_BACKING_LEN = 16, AT_CLUSTER_BITS = 20,
	AT_SIZE = 24, AT_CRYPT = 32, AT_INCOMPATIBLE = 72, AT_HEADER_LEN = 100,
	V2_LEN = 72, V3_LEN = 104,
};

/* Incompatible features (version 3). */
enum { F_DIRTY = 1, F_CORRUPT = 2, F_DATA_FILE = 4, F_COMPRESSION = 8, F_EXTENDED_L2 = 16 };
#define F_KNOWN (F_DIRTY | F_COMPRESSION | F_EXTENDED_L2)

/* Header extensions that name other files. */
#define EXT_END 0u
#define EXT_BACKING_FORMAT 0xe2792acau
#define EXT_DATA_FILE 0x44415441u
#define EXT_CRYPTO 0x0537be77u

static int refuse(struct err *e, const char *path, const char *why)
{
	return err_set(e, ERR_STEP, "cannot use image '%s': %s", path, why);
}

static int reference(struct err *e, const char *path, const char *why)
{
	refuse(e, path, why);
	return err_hint(e, "an image that names other files is not opened; make one that "
			"stands alone: qemu-img convert -f qcow2 -O qcow2 '%s' NEW", path);
}

static int check_features(const uint8_t *h, const char *path, struct err *e)
{
	uint64_t f = get_be64(h + AT_INCOMPATIBLE);

	if (f & F_DATA_FILE)
		return reference(e, path, "it keeps its data in another file");
	if (f & F_CORRUPT)
		return refuse(e, path, "it is marked corrupt");
	if (f & ~(uint64_t)F_KNOWN)
		return err_set(e, ERR_STEP, "cannot use image '%s': it has unknown "
			       "features (0x%llx)", path,
			       (unsigned long long)(f & ~(uint64_t)F_KNOWN));
	return 0;
}

/* The extensions lie between the header and the end of the first cluster. */
static int check_extensions(const uint8_t *h, size_t have, size_t at, const char *path,
			    struct err *e)
{
	while (at + 8 <= have) {
		uint32_t type = get_be32(h + at), len = get_be32(h + at + 4);

		if (type == EXT_END)
			return 0;
		if (type == EXT_DATA_FILE)
			return reference(e, path, "it names a data file");
		if (type == EXT_BACKING_FORMAT)
			return reference(e, path, "it names the format of a backing file");
		if (type == EXT_CRYPTO)
			return refuse(e, path, "it is encrypted");
		if (len > have - at - 8)
			break;
		at += 8 + (((size_t)len + 7) & ~(size_t)7);
	}
	return refuse(e, path, "its header extensions have no end");
}

static int check_header(const uint8_t *h, size_t have, const char *path, uint64_t *size,
			struct err *e)
{
	uint32_t version, bits, len;

	if (have < V2_LEN || get_be32(h) != QCOW2_MAGIC)
		return refuse(e, path, "it is no qcow2 image");
	version = get_be32(h + AT_VERSION);
	bits = get_be32(h + AT_CLUSTER_BITS);
	len = version == 3 && have >= V3_LEN ? get_be32(h + AT_HEADER_LEN) : V2_LEN;
	*size = get_be64(h + AT_SIZE);
	if (version != 2 && version != 3)
		return refuse(e, path, "its qcow2 version is not known");
	if (bits < 9 || bits > 21 || *size > QCOW2_SIZE_MAX)
		return refuse(e, path, "its header is damaged");
	if (version == 3 && (have < V3_LEN || len < V3_LEN || len > 4096 || len % 8))
		return refuse(e, path, "its header is damaged");
	if (get_be64(h + AT_BACKING) || get_be32(h + AT_BACKING_LEN))
		return reference(e, path, "it names a backing file");
	if (get_be32(h + AT_CRYPT))
		return refuse(e, path, "it is encrypted");
	if (version == 3 && check_features(h, path, e) < 0)
		return -1;
	if (have > (size_t)1 << bits)
		have = (size_t)1 << bits;
	return check_extensions(h, have, len, path, e);
}

int imgcheck_qcow2(const char *path, uint64_t *size, struct err *e)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	AUTO_FREE uint8_t *h = mem_alloc(65536);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "cannot open image '%s'", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return refuse(e, path, "it is neither a file nor a device");
	n = pread(fd, h, 65536, 0);
	if (n < 0)
		return err_sys(e, "cannot read image '%s'", path);
	return check_header(h, (size_t)n, path, size, e);
}

const char *imgcheck_looks_like(const char *path)
{
	static const struct { const char *name, *magic; size_t at, n; } known[] = {
		{ "qcow2", "QFI\xfb", 0, 4 },
		{ "vmdk", "KDMV", 0, 4 },
		{ "vmdk", "# Disk DescriptorFile", 0, 21 },
		{ "vhdx", "vhdxfile", 0, 8 },
		{ "vpc", "conectix", 0, 8 },
		{ "vdi", "\x7f\x10\xda\xbe", 64, 4 },
		{ "luks", "LUKS\xba\xbe", 0, 6 },
	};
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char head[128] = { 0 };

	if (fd < 0 || pread(fd, head, sizeof(head), 0) < 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (memcmp(head + known[i].at, known[i].magic, known[i].n) == 0)
			return known[i].name;
	return NULL;
}
