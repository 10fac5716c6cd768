/* SPDX-License-Identifier: Apache-2.0
 * devname - device names of a guest, by what the disks hold.
 */
#include "modules/lib/devname.h"
#include "engine/base/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- by content ---------------------------------------------------------- */

/* How a tag or a directory of links names a partition. */
static const struct { const char *prefix, *key; } by_content[] = {
	{ "UUID=", "uuid" }, { "LABEL=", "label" }, { "PARTUUID=", "partuuid" },
	{ "PARTLABEL=", "name" }, { "/dev/disk/by-uuid/", "uuid" },
	{ "/dev/disk/by-label/", "label" }, { "/dev/disk/by-partuuid/", "partuuid" },
	{ "/dev/disk/by-partlabel/", "name" },
};

static json_t *find_by(const json_t *machine, const char *key, const char *value)
{
	size_t i, k;
	json_t *disk, *part;

	json_array_foreach(jget(machine, "disks"), i, disk)
		json_array_foreach(jget(disk, "partitions"), k, part)
			if (*value && strcasecmp(jstr(part, key, ""), value) == 0)
				return part;
	return NULL;
}

/* UUID="x" is written by some tools. */
static char *unquoted(const char *s)
{
	size_t n = strlen(s);

	if (n >= 2 && (*s == '"' || *s == '\'') && s[n - 1] == *s)
		return mem_strndup(s + 1, n - 2);
	return mem_strdup(s);
}

/* ---- by kernel name ------------------------------------------------------- */

/* "sda1" -> index 0, partition 1; "nvme0n1p2" -> 0, 2; "sdb" -> 1, 0. */
struct kname { size_t disk_len; int index, number; };

static const char *const lettered[] = { "sd", "hd", "vd", "xvd" };

static bool parse_lettered(const char *s, struct kname *k)
{
	for (size_t i = 0; i < ARRAY_LEN(lettered); i++) {
		size_t n = strlen(lettered[i]), at = n;
		int index = 0;

		if (strncmp(s, lettered[i], n) != 0 || !islower((unsigned char)s[n]))
			continue;
		for (; islower((unsigned char)s[at]) && at < n + 3; at++)
			index = index * 26 + (s[at] - 'a' + 1);
		if (s[at] && !isdigit((unsigned char)s[at]))
			return false;
		*k = (struct kname){ at, index - 1, atoi(s + at) };
		return s[at + strspn(s + at, "0123456789")] == 0;
	}
	return false;
}

/* nvme0n1p2, mmcblk0p1, cciss/c0d0p1: the part after the last 'p' is the number. */
static bool parse_numbered(const char *s, struct kname *k)
{
	static const char *const heads[] = { "nvme", "mmcblk", "cciss/c", "ida/c", "loop" };

	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		size_t n = strlen(heads[i]);
		const char *p = s + n;

		if (strncmp(s, heads[i], n) != 0 || !isdigit((unsigned char)*p))
			continue;
		k->index = atoi(p);
		p += strspn(p, "0123456789");
		if (*p == 'n' || *p == 'd') {
			if (*p == 'd')
				k->index = atoi(p + 1);
			p += 1 + strspn(p + 1, "0123456789");
		}
		k->disk_len = (size_t)(p - s);
		k->number = *p == 'p' ? atoi(p + 1) : 0;
		return *p == 0 || (*p == 'p' && isdigit((unsigned char)p[1]));
	}
	return false;
}

static bool parse_kname(const char *name, struct kname *k)
{
	if (strncmp(name, "/dev/", 5) != 0)
		return false;
	return parse_lettered(name + 5, k) || parse_numbered(name + 5, k);
}

static json_t *disk_by_kname(const json_t *machine, const char *name,
			     const struct kname *k)
{
	AUTO_FREE char *kernel = mem_strndup(name + 5, k->disk_len);
	json_t *names = jget(machine, "kernel_names"), *v;
	const char *disk;

	if (json_object_size(names) == 0)
		return json_array_get(jget(machine, "disks"), (size_t)k->index);
	json_object_foreach(names, disk, v)
		if (json_is_string(v) && strcmp(json_string_value(v), kernel) == 0)
			return jfind(jget(machine, "disks"), "name", disk);
	return NULL;
}

json_t *devname_disk(const json_t *machine, const char *name)
{
	struct kname k;

	if (!parse_kname(name, &k) || k.number)
		return NULL;
	return disk_by_kname(machine, name, &k);
}

json_t *devname_partition(const json_t *machine, const char *name)
{
	struct kname k;
	size_t i;
	json_t *part;

	for (i = 0; i < ARRAY_LEN(by_content); i++) {
		size_t n = strlen(by_content[i].prefix);

		if (strncmp(name, by_content[i].prefix, n) == 0) {
			AUTO_FREE char *value = unquoted(name + n);

			return find_by(machine, by_content[i].key, value);
		}
	}
	if (!parse_kname(name, &k))
		return NULL;
	json_array_foreach(jget(disk_by_kname(machine, name, &k), "partitions"), i, part)
		if (jint(part, "number", -1) == k.number)
			return part;
	return NULL;
}

bool devname_is_unstable(const char *name)
{
	struct kname k;

	return parse_kname(name, &k) ||
	       strncmp(name, "/dev/disk/by-path/", 18) == 0 ||
	       strncmp(name, "/dev/disk/by-id/", 16) == 0;
}

char *devname_stable(const json_t *part)
{
	const char *uuid = jstr(part, "uuid", ""), *partuuid = jstr(part, "partuuid", "");

	if (*uuid)
		return mem_printf("UUID=%s", uuid);
	return *partuuid ? mem_printf("PARTUUID=%s", partuuid) : NULL;
}
