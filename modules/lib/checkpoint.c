/* SPDX-License-Identifier: Apache-2.0
 * checkpoint - what a domain's disks have of bitmaps, and taking all of it away.
 */
#include "modules/lib/checkpoint.h"

#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/checkpoint_priv.h"
#include "modules/lib/domain.h"
#include "modules/lib/imgcheck.h"
#include "modules/lib/ourname.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


/* ---- names ------------------------------------------------------------------------- */

char *checkpoint_file(const char *path, const char *name)
{
	return mem_printf("%s.%s", path, name);
}

char *checkpoint_folder(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash > path ? mem_strndup(path, (size_t)(slash - path)) : mem_strdup("/");
}

const char *checkpoint_domain(const struct ctx *c)
{
	const char *name = jstr(ctx_machine(c), "source.domain", NULL);
	AUTO_FREE char *virsh = domain_name_ok(name) ? proc_which("virsh") : NULL;

	return virsh ? name : NULL;
}

/* The target that this disk of the plan is, if it is a qcow2 that stands alone. */
const char *checkpoint_target(const struct virt *v, const json_t *spec)
{
	AUTO_FREE char *path = disk_find("", spec, NULL);
	const char *target = path ? json_string_value(json_object_get(v->targets, path)) : NULL;
	uint64_t size;

	if (!target || strcmp(jstr(spec, "format", "raw"), "qcow2") != 0 ||
	    imgcheck_qcow2(path, &size, NULL) < 0)
		return NULL;
	return target;
}

/* ---- asking ------------------------------------------------------------------------ */

struct checkpoint_view {
	struct virt virt;
	json_t *since;		/* the checkpoint that says of which copy it is, or NULL */
};

/* The newest of which it is known. Owned, or NULL. */
json_t *checkpoint_newest(const json_t *list)
{
	for (size_t i = json_array_size(list); i > 0; i--) {
		json_t *cp = json_array_get(list, i - 1);

		if (json_object_size(jget(cp, "roots")))
			return json_incref(cp);
	}
	return NULL;
}

struct checkpoint_view *checkpoint_view(const struct ctx *c)
{
	struct checkpoint_view *v = mem_alloc(sizeof(*v));
	AUTO_FREE char *name = ourname(c);
	AUTO_JSON *ours = NULL;

	if (!checkpoint_domain(c) || virt_look(checkpoint_domain(c), &v->virt, NULL) <= 0) {
		checkpoint_view_free(&v);
		return NULL;
	}
	ours = virt_checkpoints(&v->virt, name, NULL);
	v->since = checkpoint_newest(ours);
	return v;
}

void checkpoint_view_free(struct checkpoint_view **v)
{
	if (!*v)
		return;
	virt_free(&(*v)->virt);
	json_decref((*v)->since);
	mem_free_ptr(v);
}

/* Of a disk that the newest checkpoint has. */
static const char *fault_of(const struct checkpoint_view *v, const char *target,
			    const char *bitmap)
{
	if (!v->virt.dir)
		return virt_bitmap_fault(virt_path(&v->virt, target), bitmap);
	return virt_whole(&v->virt, v->since, target) ? NULL :
		"its dirty bitmap is missing, or not whole";
}

enum checkpoint_way checkpoint_of(const struct checkpoint_view *v, const char *disk,
				  const json_t *spec, const char **why)
{
	const char *target = v ? checkpoint_target(&v->virt, spec) : NULL, *fault = NULL;
	const char *bitmap = target ? jstr(jget(v->since, "bitmaps"), target, NULL) : NULL;
	bool known = bitmap && json_object_get(jget(v->since, "roots"), disk);
	enum checkpoint_way way = CHECKPOINT_NONE;

	if (!v)
		fault = "its source is no domain of a libvirt that answers";
	else if (!target)
		fault = "libvirt keeps dirty bitmaps in qcow2 images that stand alone only";
	else if (known)
		way = (fault = fault_of(v, target, bitmap)) ? CHECKPOINT_LOST : CHECKPOINT_FOLLOWS;
	else if (!v->virt.dir)
		fault = "its domain is off";
	else
		way = CHECKPOINT_CAN;
	if (why)
		*why = fault;
	return way;
}

const char *checkpoint_since(const struct checkpoint_view *v, const char *disk)
{
	return jstr(jget(v->since, "roots"), disk, "");
}

char *checkpoint_scratch(const struct checkpoint_view *v, const json_t *spec)
{
	AUTO_FREE char *path = v && v->virt.dir && checkpoint_target(&v->virt, spec) ?
		disk_find("", spec, NULL) : NULL;

	return path ? checkpoint_folder(path) : NULL;
}

/* ---- taking away ------------------------------------------------------------------------ */

int checkpoint_remove(const char *name, const json_t *detail, struct err *e)
{
	const char *domain = jstr(detail, "domain", "");
	AUTO_VIRT v = { 0 };
	AUTO_JSON *ours = NULL;
	const json_t *one;
	size_t i;

	if (!ourname_is(name) || !domain_name_ok(domain))
		return err_set(e, ERR_STEP, "cannot take away checkpoint '%s': no name of ours",
			       name);
	switch (virt_look(domain, &v, e)) {
	case -1:
		return -1;
	case 1:
		if (virt_backup_end(&v, name, e) < 0 ||
		    !(ours = virt_checkpoints(&v, name, e)))
			return -1;
	}
	json_array_foreach(jget(detail, "scratch"), i, one) {
		const char *path = json_string_value(one);

		if (path && strstr(path, name) && unlink(path) < 0 && errno != ENOENT)
			return err_sys(e, "cannot remove '%s'", path);
	}
	json_array_foreach(ours, i, one)
		if (virt_forget(&v, one, e) < 0)
			return -1;
	return 0;
}

/* Its detail is in the ledger; here it is worked out again. */
int checkpoint_stop(struct ctx *c)
{
	AUTO_JSON *detail = json_object(), *scratch = json_array();
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	AUTO_FREE char *name = ourname(c);
	AUTO_ERR e = { 0 };
	const char *disk;
	json_t *spec;

	if (!checkpoint_domain(c))
		return 0;
	jset_str(detail, "domain", checkpoint_domain(c));
	json_object_foreach((json_t *)(uintptr_t)disks, disk, spec) {
		AUTO_FREE char *path = disk_find(disk, spec, NULL);
		AUTO_FREE char *file = path ? checkpoint_file(path, name) : NULL;

		if (file)
			jadd(scratch, json_string(file));
	}
	jset(detail, "scratch", json_incref(scratch));
	if (checkpoint_remove(name, detail, &e) < 0)
		return ctx_fail_err(c, &e);
	return ctx_ledger_del(c, "checkpoint", name);
}
