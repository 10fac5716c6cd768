/* SPDX-License-Identifier: Apache-2.0
 * serve - keep a target machine running: in which way.
 */
#include "modules/lib/serve_priv.h"

#include "engine/base/proc.h"
#include "modules/lib/imgkind.h"

#include <string.h>
#include <sys/stat.h>

int serve_ask(const char *const *argv, unsigned ms, const char *input, struct str *out,
	      struct err *e)
{
	struct proc p = { .argv = argv, .timeout_ms = ms, .input = input,
			  .input_len = input ? strlen(input) : 0 };
	int rc = proc_run(&p, e);

	if (out) {
		*out = p.out;
		p.out = (struct str){0};
	}
	proc_free(&p);
	return rc;
}

int serve_run(const char *const *argv, struct err *e)
{
	return serve_ask(argv, SERVE_TOOL_MS, NULL, NULL, e);
}

const char *serve_name(const json_t *def)
{
	return jstr(def, "name", "");
}

int64_t serve_allocated(const json_t *def)
{
	const json_t *disk;
	int64_t sum = 0;
	struct stat st;
	size_t i;

	json_array_foreach(jget(def, "disks"), i, disk)
		if (stat(jstr(disk, "path", ""), &st) == 0)
			sum += (int64_t)st.st_blocks * 512;
	return sum;
}

static const struct serve_way *const ways[] = { &serve_libvirt, &serve_systemd, &serve_qemu };

const struct serve_way *serve_found(const json_t *def)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++)
		if (ways[i]->usable() && ways[i]->known(def))
			return ways[i];
	return NULL;
}

/* The first format of its disks that libvirt does not know; NULL: it knows them all. */
static const char *strange_format(const json_t *def)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(jget(def, "disks"), i, disk) {
		const char *format = jstr(disk, "base_format", "raw");
		const struct img_kind *kind = img_kind(format);

		if (kind && !kind->libvirt)
			return format;
	}
	return NULL;
}

char *serve_refused(const json_t *def, const char *wanted)
{
	const char *format = strcmp(wanted, "libvirt") == 0 ? strange_format(def) : NULL;

	return format ? mem_printf("libvirt does not know images of format '%s'", format) : NULL;
}

const struct serve_way *serve_way(struct ctx *c, const char *wanted)
{
	const json_t *def = ctx_fact(c, "definition");
	bool any = strcmp(wanted, "auto") == 0;

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		AUTO_FREE char *refused = serve_refused(def, ways[i]->name);

		if ((!any && strcmp(ways[i]->name, wanted) != 0) || (any && refused))
			continue;
		if (refused) {
			ctx_hint(c, SERVE_REFUSED_HINT);
			ctx_fail(c, "cannot start by %s: %s", wanted, refused);
			return NULL;
		}
		if (ways[i]->usable())
			return ways[i];
		if (any)
			continue;
		ctx_hint(c, "say `start: auto` in the plan's target, or mend the host");
		ctx_fail(c, "cannot start by %s: %s", wanted, ways[i]->lacks);
		return NULL;
	}
	ctx_fail(c, "cannot start by '%s': no such way", wanted);
	return NULL;
}
