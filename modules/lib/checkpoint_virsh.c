/* SPDX-License-Identifier: Apache-2.0
 * checkpoint_virsh - what libvirt is told and says of a domain's backups and checkpoints.
 */
#include "modules/lib/checkpoint_priv.h"

#include "engine/base/io.h"
#include "engine/base/text.h"
#include "modules/lib/virsh.h"
#include "modules/lib/xml.h"
#include "modules/lib/xmlread.h"

#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#define QEMU_DIRS "/var/lib/libvirt/qemu/domain-%s-*"

/* ---- the domain -------------------------------------------------------------------- */

void virt_free(struct virt *v)
{
	mem_free_ptr(&v->which);
	mem_free_ptr(&v->dir);
	mem_free_ptr(&v->socket);
	mem_free_ptr(&v->names);
	json_decref(v->targets);
	*v = (struct virt){ 0 };
}

static char *qemu_dir(const char *id)
{
	AUTO_FREE char *pattern = mem_printf(QEMU_DIRS, id);
	char *dir = NULL;
	glob_t g;

	if (!id[0] || id[strspn(id, "0123456789")] || glob(pattern, 0, NULL, &g) != 0)
		return NULL;
	if (g.gl_pathc == 1)
		dir = mem_strdup(g.gl_pathv[0]);
	globfree(&g);
	return dir;
}

static void take_disks(const json_t *domain, json_t *targets)
{
	const json_t *device;
	size_t i;

	json_array_foreach(jget(xml_kid(domain, "devices"), "kids"), i, device) {
		const char *file = xml_word(device, "source", "file", NULL);
		const char *target = xml_word(device, "target", "dev", "");

		if (strcmp(jstr(device, "name", ""), "disk") == 0 && file &&
		    strcmp(xml_word(device, "", "device", "disk"), "disk") == 0 &&
		    strcmp(xml_word(device, "driver", "type", "raw"), "qcow2") == 0 &&
		    text_name_ok(target))
			jset_str(targets, file, target);
	}
}

/* Of what runs there now: the socket that a backup serves at, and its checkpoints. */
static void take_jobs(struct virt *v, const struct virsh_answers *a)
{
	AUTO_JSON *backup = xml_read(a->v[1], strlen(a->v[1]), NULL);

	v->socket = mem_strdup(xml_word(backup, "server", "socket", ""));
	v->backs_up = backup != NULL;
	v->names = mem_strdup(a->v[2]);
}

/* 1; 0: there is no such domain; -1 with e: libvirt does not answer, or only of others. */
static int ask_domain(const char *domain, struct virsh_answers *a, struct err *e)
{
	AUTO_FREE char *which = virsh_quoted(domain), *option = mem_printf("--domain=%s", domain);
	AUTO_STR commands = { 0 };

	virsh_add(&commands, "dumpxml --domain %s", which);
	virsh_add(&commands, "backup-dumpxml --domain %s", which);
	virsh_add(&commands, "checkpoint-list --domain %s --name", which);
	if (virsh_ask_all(&commands, 3, a, e) == 0)
		return 1;
	if (virsh_tell((const char *[]){ "dumpxml", option, NULL }, NULL, NULL) == 0 ||
	    virsh_tell((const char *[]){ "list", "--all", "--name", NULL }, NULL, NULL) < 0)
		return -1;
	err_clear(e);
	return 0;
}

int virt_look(const char *domain, struct virt *v, struct err *e)
{
	AUTO_VIRSH a = { 0 };
	AUTO_JSON *xml = NULL;
	const char *uuid, *id;
	int there = ask_domain(domain, &a, e);

	*v = (struct virt){ 0 };
	if (there < 0)
		return -1;
	xml = there ? xml_read(a.v[0], strlen(a.v[0]), NULL) : NULL;
	uuid = xml_word(xml, "uuid", NULL, NULL);
	if (!uuid)
		return 0;
	id = xml_word(xml, "", "id", NULL);
	v->which = mem_printf("--domain=%s", uuid);
	v->uuid = strchr(v->which, '=') + 1;
	v->dir = id ? qemu_dir(id) : NULL;
	v->targets = json_object();
	take_disks(xml, v->targets);
	take_jobs(v, &a);
	if (!id || v->dir)
		return 1;
	err_set(e, ERR_STEP, "cannot find where domain '%s' has its sockets: it is not in "
		"/var/lib/libvirt/qemu", domain);
	virt_free(v);
	return -1;
}

const char *virt_path(const struct virt *v, const char *target)
{
	const char *path;
	json_t *is;

	json_object_foreach(v->targets, path, is)
		if (strcmp(json_string_value(is), target) == 0)
			return path;
	return NULL;
}

int virt_lock(const struct virt *v)
{
	int fd = v->dir ? open(v->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0)
		flock(fd, LOCK_EX);
	return fd;
}

/* ---- backups ------------------------------------------------------------------------ */

/* virsh reads both documents from files: one is its stdin, the other has no name. */
int virt_backup(const struct virt *v, const char *backup, const char *checkpoint,
		struct err *e)
{
	AUTO_FD fd = checkpoint ? memfd_create("checkpoint", MFD_CLOEXEC) : -1;
	AUTO_FREE char *file = mem_printf("--checkpointxml=/proc/%d/fd/%d", (int)getpid(), fd);

	if (checkpoint && (fd < 0 || io_write_full(fd, checkpoint, strlen(checkpoint)) < 0))
		return err_sys(e, "cannot keep a document in memory");
	return virsh_tell((const char *[]){ "backup-begin", v->which, "--backupxml=/dev/stdin",
				      checkpoint ? file : NULL, NULL }, backup, e);
}

bool virt_backs_up(const struct virt *v, const char *part)
{
	AUTO_JSON *xml = v->dir ? virsh_xml((const char *[]){ "backup-dumpxml", v->which, NULL },
					   NULL) : NULL;

	return xml && strstr(xml_word(xml, "server", "socket", ""), part);
}

int virt_backup_end(const struct virt *v, const char *part, struct err *e)
{
	AUTO_FD lock = virt_lock(v);

	(void)lock;	/* held until the return */
	if (!virt_backs_up(v, part) ||
	    virsh_tell((const char *[]){ "domjobabort", v->which, NULL }, NULL, e) == 0)
		return 0;
	if (virt_backs_up(v, part))	/* it may just have ended by itself */
		return -1;
	err_clear(e);
	return 0;
}

/* ---- checkpoints --------------------------------------------------------------------- */

static json_t *read_bitmaps(const json_t *xml)
{
	json_t *out = json_object();
	const json_t *disk;
	size_t i;

	json_array_foreach(jget(xml_kid(xml, "disks"), "kids"), i, disk) {
		const char *name = xml_word(disk, "", "name", NULL);
		const char *bitmap = xml_word(disk, "", "bitmap", NULL);

		if (name && bitmap)
			jset_str(out, name, bitmap);
	}
	return out;
}

/* Of one that was not confirmed the description is no document. */
static json_t *read_roots(const char *text)
{
	json_t *roots = json_parse(text, strlen(text), NULL);

	if (json_is_object(roots))
		return roots;
	json_decref(roots);
	return json_object();
}

static json_t *checkpoint_of_xml(const char *text, struct err *e)
{
	AUTO_JSON *xml = xml_read(text, strlen(text), e);
	json_t *cp;

	if (!xml)
		return NULL;
	cp = json_object();
	jset_str(cp, "name", xml_word(xml, "name", NULL, ""));
	jset_str(cp, "parent", xml_word(xml, "parent/name", NULL, NULL));
	jset_str(cp, "created", xml_word(xml, "creationTime", NULL, "0"));
	jset(cp, "roots", read_roots(xml_word(xml, "description", NULL, "")));
	jset(cp, "bitmaps", read_bitmaps(xml));
	return cp;
}

json_t *virt_checkpoint(const struct virt *v, const char *name, struct err *e)
{
	AUTO_FREE char *which = mem_printf("--checkpointname=%s", name);
	AUTO_FREE char *text = virsh_ask((const char *[]){ "checkpoint-dumpxml", v->which, which,
						       "--no-domain", NULL }, NULL, e);

	return text ? checkpoint_of_xml(text, e) : NULL;
}

/* PREFIX-NUMBER; 0: no name of ours. */
static int64_t number_of(const char *name, const char *prefix)
{
	size_t n = strlen(prefix);
	const char *digits = name + n + 1;

	if (strncmp(name, prefix, n) != 0 || name[n] != '-' || !digits[0] ||
	    digits[strspn(digits, "0123456789")] || strlen(digits) > 9)
		return 0;
	return strtol(digits, NULL, 10);
}

static void insert_by_number(json_t *list, json_t *cp)
{
	size_t at = json_array_size(list);

	while (at > 0 && jint(json_array_get(list, at - 1), "number", 0) > jint(cp, "number", 0))
		at--;
	json_array_insert_new(list, at, cp);
}

json_t *virt_checkpoints(const struct virt *v, const char *prefix, struct err *e)
{
	AUTO_FREE char *names = mem_strdup(v->names);
	AUTO_JSON *list = json_array();
	AUTO_STR commands = { 0 };
	AUTO_VIRSH a = { 0 };
	char *save = NULL;
	size_t n = 0;

	for (char *name = strtok_r(names, "\r\n \t", &save); name;
	     name = strtok_r(NULL, "\r\n \t", &save))
		if (number_of(name, prefix)) {
			virsh_add(&commands, "checkpoint-dumpxml %s --checkpointname=%s "
				    "--no-domain", v->which, name);
			n++;
		}
	if (n > 0 && virsh_ask_all(&commands, n, &a, e) < 0)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		json_t *cp = checkpoint_of_xml(a.v[i], e);

		if (!cp)
			return NULL;
		jset_int(cp, "number", number_of(jstr(cp, "name", ""), prefix));
		insert_by_number(list, cp);
	}
	return json_incref(list);
}

/* Only of a whole one it can be said how much was written since. */
bool virt_whole(const struct virt *v, const json_t *cp, const char *target)
{
	AUTO_FREE char *which = mem_printf("--checkpointname=%s", jstr(cp, "name", ""));
	AUTO_JSON *xml = virsh_xml((const char *[]){ "checkpoint-dumpxml", v->which, which,
						    "--no-domain", "--size", NULL }, NULL);
	const json_t *disk;
	size_t i;

	json_array_foreach(jget(xml_kid(xml, "disks"), "kids"), i, disk)
		if (strcmp(xml_word(disk, "", "name", ""), target) == 0)
			return xml_word(disk, "", "size", NULL) != NULL;
	return false;
}

int virt_note(const struct virt *v, json_t *cp, const json_t *roots, struct err *e)
{
	AUTO_FREE char *said = json_canonical(roots), *text = NULL;
	const char *target;
	struct xml x = { 0 };
	json_t *bitmap;

	xml_open(&x, "domaincheckpoint");
	xml_text(&x, "name", jstr(cp, "name", ""));
	xml_text(&x, "description", said);
	if (jstr(cp, "parent", NULL)) {
		xml_open(&x, "parent");
		xml_text(&x, "name", jstr(cp, "parent", ""));
		xml_close(&x);
	}
	xml_text(&x, "creationTime", jstr(cp, "created", "0"));
	xml_open(&x, "disks");
	json_object_foreach(jget(cp, "bitmaps"), target, bitmap) {
		xml_open(&x, "disk");
		xml_attr(&x, "name", target);
		xml_attr(&x, "checkpoint", "bitmap");
		xml_attr(&x, "bitmap", json_string_value(bitmap));
		xml_close(&x);
	}
	text = xml_take(&x);
	if (virsh_tell((const char *[]){ "checkpoint-create", v->which, "--xmlfile=/dev/stdin",
				   "--redefine", NULL }, text, e) < 0)
		return -1;
	jset(cp, "roots", json_deep_copy(roots));
	return 0;
}

/* libvirt takes out only those of a running domain; the images of another are ours to mend.
 * Of a bitmap that is lost already there is but its name to forget. */
int virt_forget(const struct virt *v, const json_t *cp, struct err *e)
{
	AUTO_FREE char *which = mem_printf("--checkpointname=%s", jstr(cp, "name", ""));
	const char *target;
	json_t *bitmap;

	json_object_foreach(jget(cp, "bitmaps"), target, bitmap) {
		const char *path = v->dir ? NULL : virt_path(v, target);

		if (path && virt_bitmap_remove(path, json_string_value(bitmap), e) < 0)
			return -1;
	}
	if (v->dir && virsh_tell((const char *[]){ "checkpoint-delete", v->which, which, NULL }, NULL,
			      NULL) == 0)
		return 0;
	return virsh_tell((const char *[]){ "checkpoint-delete", v->which, which, "--metadata", NULL },
		    NULL, e);
}
