/* SPDX-License-Identifier: Apache-2.0
 * checkpoint_virsh - what libvirt is told and says of a domain's backups and checkpoints.
 */
#include "modules/lib/checkpoint_priv.h"

#include "engine/base/io.h"
#include "engine/base/proc.h"
#include "engine/base/text.h"
#include "modules/lib/domain.h"
#include "modules/lib/imgcheck.h"
#include "modules/lib/xml.h"
#include "modules/lib/xmlread.h"

#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#define VIRSH_MS 60000
#define WORDS_MAX 12
#define QEMU_DIRS "/var/lib/libvirt/qemu/domain-%s-*"

/* ---- virsh ------------------------------------------------------------------------- */

/* virsh's last line says why. */
static void say_fault(const char *line, struct err *e)
{
	static const char lead[] = "error: ";

	err_clear(e);
	err_set(e, ERR_STEP, "%s", strncmp(line, lead, strlen(lead)) == 0 ? line + strlen(lead) :
		line);
}

/* `words` after "virsh -q". The answer, owned ("" too); NULL with e. */
static char *virsh(const char *const *words, const char *input, struct err *e)
{
	const char *argv[WORDS_MAX + 3] = { "virsh", "-q" };
	struct proc p = { .argv = argv, .timeout_ms = VIRSH_MS, .max_output = XML_READ_MAX,
		.input = input, .input_len = input ? strlen(input) : 0 };
	char *out = NULL;

	for (size_t i = 0; words[i] && i < WORDS_MAX; i++)
		argv[i + 2] = words[i];
	if (proc_run(&p, e) == 0)
		out = str_take(&p.out);
	else if (p.status == 1 && !p.timed_out && proc_last_line(&p)[0])
		say_fault(proc_last_line(&p), e);
	proc_free(&p);
	return out;
}

static int tell(const char *const *words, const char *input, struct err *e)
{
	AUTO_FREE char *out = virsh(words, input, e);

	return out ? 0 : -1;
}

static json_t *read_xml(const char *const *words, struct err *e)
{
	AUTO_FREE char *text = virsh(words, NULL, e);

	return text ? xml_read(text, strlen(text), e) : NULL;
}

/* ---- several questions to one virsh, which takes longer to start than to ask ---------- */

struct answers {
	char *text;			/* owned */
	char **v;			/* in it, one of each command; "" when it failed. Owned */
};
#define AUTO_ANSWERS __attribute__((cleanup(answers_free))) struct answers

static void answers_free(struct answers *a)
{
	mem_free_ptr(&a->text);
	free(a->v);
}

static void split(struct answers *a, size_t n, const char *mark)
{
	char *at = a->text;

	a->v = mem_alloc(n * sizeof(*a->v));
	for (size_t i = 0; i < n; i++) {
		char *end = strstr(at, mark);

		a->v[i] = at;
		at = end ? end + strlen(mark) : at + strlen(at);
		if (end)
			*end = '\0';
	}
}

/* The n commands stand one behind the other in `commands`, each with a \0 at its end. -1
 * with e when the last of them failed. */
static int ask_all(const struct str *commands, size_t n, struct answers *a, struct err *e)
{
	char mark[33];
	uint8_t r[16];
	const char *one = commands->s;
	AUTO_STR script = { 0 };

	io_random(r, sizeof(r));
	io_hex(r, sizeof(r), mark);
	for (size_t i = 0; i < n; i++, one += strlen(one) + 1)
		str_addf(&script, "%s%s%s%s", i ? "; echo " : "", i ? mark : "", i ? "; " : "", one);
	a->text = virsh((const char *[]){ script.s, NULL }, NULL, e);
	if (!a->text)
		return -1;
	split(a, n, mark);
	return 0;
}

/* One more command of those. */
static void add_command(struct str *commands, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void add_command(struct str *commands, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	AUTO_FREE char *one = mem_vprintf(fmt, ap);
	va_end(ap);
	str_addn(commands, one, strlen(one) + 1);
}

/* As one word of a command. Owned. */
static char *quoted(const char *word)
{
	AUTO_STR out = { 0 };

	str_addc(&out, '"');
	for (; *word; word++) {
		if (*word == '"' || *word == '\\')
			str_addc(&out, '\\');
		str_addc(&out, *word);
	}
	str_addc(&out, '"');
	return str_take(&out);
}

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
static void take_jobs(struct virt *v, const struct answers *a)
{
	AUTO_JSON *backup = xml_read(a->v[1], strlen(a->v[1]), NULL);

	v->socket = mem_strdup(xml_word(backup, "server", "socket", ""));
	v->backs_up = backup != NULL;
	v->names = mem_strdup(a->v[2]);
}

/* 1; 0: there is no such domain; -1 with e: libvirt does not answer, or only of others. */
static int ask_domain(const char *domain, struct answers *a, struct err *e)
{
	AUTO_FREE char *which = quoted(domain), *option = mem_printf("--domain=%s", domain);
	AUTO_STR commands = { 0 };

	add_command(&commands, "dumpxml --domain %s", which);
	add_command(&commands, "backup-dumpxml --domain %s", which);
	add_command(&commands, "checkpoint-list --domain %s --name", which);
	if (ask_all(&commands, 3, a, e) == 0)
		return 1;
	if (tell((const char *[]){ "dumpxml", option, NULL }, NULL, NULL) == 0 ||
	    tell((const char *[]){ "list", "--all", "--name", NULL }, NULL, NULL) < 0)
		return -1;
	err_clear(e);
	return 0;
}

int virt_look(const char *domain, struct virt *v, struct err *e)
{
	AUTO_ANSWERS a = { 0 };
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
	return tell((const char *[]){ "backup-begin", v->which, "--backupxml=/dev/stdin",
				      checkpoint ? file : NULL, NULL }, backup, e);
}

bool virt_backs_up(const struct virt *v, const char *part)
{
	AUTO_JSON *xml = v->dir ? read_xml((const char *[]){ "backup-dumpxml", v->which, NULL },
					   NULL) : NULL;

	return xml && strstr(xml_word(xml, "server", "socket", ""), part);
}

int virt_backup_end(const struct virt *v, const char *part, struct err *e)
{
	AUTO_FD lock = virt_lock(v);

	(void)lock;	/* held until the return */
	if (!virt_backs_up(v, part) ||
	    tell((const char *[]){ "domjobabort", v->which, NULL }, NULL, e) == 0)
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
	AUTO_FREE char *text = virsh((const char *[]){ "checkpoint-dumpxml", v->which, which,
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
	AUTO_ANSWERS a = { 0 };
	char *save = NULL;
	size_t n = 0;

	for (char *name = strtok_r(names, "\r\n \t", &save); name;
	     name = strtok_r(NULL, "\r\n \t", &save))
		if (number_of(name, prefix)) {
			add_command(&commands, "checkpoint-dumpxml %s --checkpointname=%s "
				    "--no-domain", v->which, name);
			n++;
		}
	if (n > 0 && ask_all(&commands, n, &a, e) < 0)
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
	AUTO_JSON *xml = read_xml((const char *[]){ "checkpoint-dumpxml", v->which, which,
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
	if (tell((const char *[]){ "checkpoint-create", v->which, "--xmlfile=/dev/stdin",
				   "--redefine", NULL }, text, e) < 0)
		return -1;
	jset(cp, "roots", json_deep_copy(roots));
	return 0;
}

/* ---- bitmaps in images ---------------------------------------------------------------- */

/* {name, flags} of a bitmap in the image, owned; NULL: it has none of that name. */
static json_t *bitmap_in(const char *path, const char *name)
{
	const char *const argv[] = { "qemu-img", "info", "--output=json", "--force-share", "-f",
		"qcow2", "--", path, NULL };
	struct proc p = { .argv = argv, .timeout_ms = VIRSH_MS, .max_output = XML_READ_MAX };
	AUTO_JSON *info = NULL;
	json_t *b, *found = NULL;
	size_t i;

	if (imgcheck_qcow2(path, &(uint64_t){ 0 }, NULL) == 0 && proc_run(&p, NULL) == 0 &&
	    p.out.s)
		info = json_parse(p.out.s, p.out.len, NULL);
	proc_free(&p);
	json_array_foreach(json_object_get(jget(info, "format-specific.data"), "bitmaps"), i, b)
		if (strcmp(jstr(b, "name", ""), name) == 0)
			found = json_incref(b);
	return found;
}

static bool has_flag(const json_t *bitmap, const char *flag)
{
	const json_t *f;
	size_t i;

	json_array_foreach(jget(bitmap, "flags"), i, f)
		if (strcmp(json_string_value(f) ? json_string_value(f) : "", flag) == 0)
			return true;
	return false;
}

const char *virt_bitmap_fault(const char *path, const char *bitmap)
{
	AUTO_JSON *b = bitmap_in(path, bitmap);

	return !b ? "its image has lost the dirty bitmap" :
		has_flag(b, "in-use") ? "its dirty bitmap is not whole: QEMU did not end orderly" :
		!has_flag(b, "auto") ? "its dirty bitmap stood still" : NULL;
}

static int take_out(const char *path, const char *bitmap, struct err *e)
{
	const char *const argv[] = { "qemu-img", "bitmap", "--remove", "-f", "qcow2", "--", path,
		bitmap, NULL };
	struct proc p = { .argv = argv, .timeout_ms = VIRSH_MS };
	AUTO_JSON *there = bitmap_in(path, bitmap);
	int rc = there ? proc_run(&p, e) : 0;

	proc_free(&p);
	return rc;
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

		if (path && take_out(path, json_string_value(bitmap), e) < 0)
			return -1;
	}
	if (v->dir && tell((const char *[]){ "checkpoint-delete", v->which, which, NULL }, NULL,
			      NULL) == 0)
		return 0;
	return tell((const char *[]){ "checkpoint-delete", v->which, which, "--metadata", NULL },
		    NULL, e);
}
