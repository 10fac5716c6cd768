/* SPDX-License-Identifier: Apache-2.0
 * checkpoint_pass - one pass of a domain's disks: how it begins and ends.
 */
#include "modules/lib/checkpoint.h"

#include "engine/base/mem.h"
#include "modules/lib/checkpoint_priv.h"
#include "modules/lib/ourname.h"
#include "modules/lib/xml.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- beginning ----------------------------------------------------------------------- */

static void add_parts(struct checkpoint_pass *p)
{
	const json_t *disks = jget(ctx_machine(p->c), "source.disks");
	const char *name;
	json_t *spec;

	json_object_foreach((json_t *)(uintptr_t)disks, name, spec) {
		const char *target = p->how.wants(p->c, name, spec) ?
			checkpoint_target(&p->virt, spec) : NULL;

		if (!target)
			continue;
		p->parts = mem_realloc(p->parts, (p->count + 1) * sizeof(*p->parts));
		p->parts[p->count] = (struct checkpoint_part){ .name = name, .target = target,
			.path = disk_find(name, spec, NULL) };
		p->parts[p->count].scratch = checkpoint_file(p->parts[p->count].path, p->name);
		p->count++;
	}
}

/* Does the checkpoint know of which copy this disk's bitmap is? */
static bool follows(const struct checkpoint_pass *p, const struct checkpoint_part *k)
{
	return p->since && json_object_get(jget(p->since, "roots"), k->name) &&
		jstr(jget(p->since, "bitmaps"), k->target, NULL);
}

static void write_disk(struct xml *x, const struct checkpoint_pass *p, const char *target,
		       bool since)
{
	const struct checkpoint_part *k = NULL;

	for (size_t i = 0; i < p->count && !k; i++)
		if (strcmp(p->parts[i].target, target) == 0)
			k = &p->parts[i];
	xml_open(x, "disk");
	xml_attr(x, "name", target);
	xml_attr(x, "backup", k ? "yes" : "no");
	if (k) {
		xml_attr(x, "type", "file");
		xml_attr(x, "exportname", target);
		xml_attr(x, "backupmode", since && follows(p, k) ? "incremental" : "full");
	}
	if (k && since && follows(p, k)) {
		xml_attr(x, "incremental", jstr(p->since, "name", ""));
		xml_attr(x, "exportbitmap", CHECKPOINT_BITMAP);
	}
	if (k) {
		xml_open(x, "scratch");
		xml_attr(x, "file", k->scratch);
		xml_close(x);
	}
	xml_close(x);
}

/* Disks that it does not name are left out by libvirt. */
static char *backup_text(const struct checkpoint_pass *p, bool since)
{
	struct xml x = { 0 };

	xml_open(&x, "domainbackup");
	xml_attr(&x, "mode", "pull");
	xml_open(&x, "server");
	xml_attr(&x, "transport", "unix");
	xml_attr(&x, "socket", p->socket);
	xml_close(&x);
	xml_open(&x, "disks");
	for (size_t i = 0; i < p->count; i++)
		write_disk(&x, p, p->parts[i].target, since);
	return xml_take(&x);
}

static char *checkpoint_text(const struct checkpoint_pass *p)
{
	struct xml x = { 0 };

	if (!p->next)
		return NULL;
	xml_open(&x, "domaincheckpoint");
	xml_text(&x, "name", jstr(p->next, "name", ""));
	xml_open(&x, "disks");
	for (size_t i = 0; i < p->count; i++) {
		xml_open(&x, "disk");
		xml_attr(&x, "name", p->parts[i].target);
		xml_attr(&x, "checkpoint", "bitmap");
		xml_close(&x);
	}
	return xml_take(&x);
}

static void plan_next(struct checkpoint_pass *p)
{
	const json_t *last = json_array_get(p->ours, json_array_size(p->ours) - 1);

	if (!p->how.begin && !(p->how.use && p->since))
		return;
	/* Nobody writes, and the bitmap that is there serves on: quicker while nobody is served. */
	if (p->how.held && p->since)
		return;
	p->next = json_object();
	jset_strf(p->next, "name", "%s-%lld", p->name, (long long)jint(last, "number", 0) + 1);
}

static void say_why(struct checkpoint_pass *p, const char *fault)
{
	for (size_t i = 0; i < p->count; i++) {
		struct checkpoint_part *k = &p->parts[i];

		if (!p->how.use)
			k->why = mem_strdup("digests are compared");
		else if (!follows(p, k))
			k->why = mem_strdup(p->next ? "its writes are noted from now on" :
					    "no dirty bitmap follows it");
		else if (fault)
			k->why = mem_printf("its dirty bitmap is of no use: %s", fault);
	}
}

static int begin_backup(struct checkpoint_pass *p, struct err *e)
{
	AUTO_FREE char *whole = backup_text(p, false), *part = backup_text(p, true);
	AUTO_FREE char *checkpoint = checkpoint_text(p);
	AUTO_FD lock = virt_lock(&p->virt);
	AUTO_ERR fault = { 0 };
	bool any = false;

	(void)lock;	/* held until the return */
	for (size_t i = 0; i < p->count; i++)
		any = any || follows(p, &p->parts[i]);
	any = p->how.use && any && virt_backup(&p->virt, part, checkpoint, &fault) == 0;
	if (!any && virt_backup(&p->virt, whole, checkpoint, e) < 0)
		return err_hint(e, "does another job of it run? type on its host: virsh "
				"domjobinfo %s", p->virt.uuid);
	say_why(p, err_is(&fault) ? fault.what : NULL);
	return 0;
}

/* Of passes that did not end. Where the source stands still its images are left alone. */
static int tidy(struct checkpoint_pass *p, struct err *e)
{
	bool ours = strstr(p->virt.socket, p->name), any = p->virt.backs_up;
	const json_t *cp;
	size_t i;

	if (ours && virt_backup_end(&p->virt, p->name, e) < 0)
		return -1;
	if (ours ? virt_backs_up(&p->virt, "") : any) {	/* libvirt would wait for half a minute */
		err_set(e, ERR_STEP, "another backup of it runs");
		return err_hint(e, "its progress: virsh domjobinfo %s; when it is over, the same "
				"command again", p->virt.uuid);
	}
	for (i = 0; i < p->count; i++)
		unlink(p->parts[i].scratch);
	if (p->how.held)
		return 0;
	json_array_foreach(p->ours, i, cp)
		if (cp != p->since)
			virt_forget(&p->virt, cp, NULL);
	return 0;
}

static int note_in_ledger(struct checkpoint_pass *p)
{
	json_t *detail = json_object(), *scratch = json_array();

	jset_str(detail, "domain", p->virt.uuid);
	for (size_t i = 0; i < p->count; i++)
		jadd(scratch, json_string(p->parts[i].scratch));
	jset(detail, "scratch", scratch);
	return ctx_ledger_add(p->c, "checkpoint", p->name, false, detail);
}

static int begin_running(struct checkpoint_pass *p, struct err *e)
{
	char nonce[9];
	uint8_t r[4];

	io_random(r, sizeof(r));
	io_hex(r, sizeof(r), nonce);
	p->socket = mem_printf("%s/%s.%s", p->virt.dir, p->name, nonce);
	if (strlen(p->socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return err_set(e, ERR_STEP, "cannot make a socket in '%s': its path is too long",
			       p->virt.dir);
	if (note_in_ledger(p) < 0)
		return -1;
	if (tidy(p, e) < 0 || checkpoint_is_full(p, e))
		return -1;
	plan_next(p);
	p->guard = guard_start(&p->virt, p->socket, e);
	return p->guard < 0 ? -1 : begin_backup(p, e);
}

/* Its images lie there, each with its bitmap. */
static void begin_off(struct checkpoint_pass *p)
{
	for (size_t i = 0; i < p->count; i++) {
		struct checkpoint_part *k = &p->parts[i];
		const char *why = !p->how.use ? "digests are compared" :
			!follows(p, k) ? "no dirty bitmap follows it" :
			virt_bitmap_fault(k->path, jstr(jget(p->since, "bitmaps"), k->target, ""));

		k->why = why ? mem_strdup(why) : NULL;
	}
}

/* A guard that was not told that the backup is over ends it. */
static void pass_free(struct checkpoint_pass *p)
{
	mem_close_fd(&p->guard);
	for (size_t i = 0; i < p->count; i++) {
		free(p->parts[i].path);
		free(p->parts[i].scratch);
		free(p->parts[i].why);
	}
	free(p->parts);
	free(p->name);
	free(p->socket);
	json_decref(p->ours);
	json_decref(p->since);
	json_decref(p->next);
	json_decref(p->roots);
	virt_free(&p->virt);
	free(p);
}

int checkpoint_begin(struct ctx *c, const struct checkpoint_how *h, struct checkpoint_pass **out)
{
	struct checkpoint_pass *p = mem_alloc(sizeof(*p));
	const char *domain = checkpoint_domain(c);
	AUTO_ERR e = { 0 };

	*out = NULL;
	*p = (struct checkpoint_pass){ .c = c, .how = *h, .name = ourname(c), .guard = -1,
		.roots = json_object() };
	if (domain && virt_look(domain, &p->virt, &e) > 0) {
		p->ours = virt_checkpoints(&p->virt, p->name, &e);
		p->since = checkpoint_newest(p->ours);
		if (p->ours)
			add_parts(p);
	}
	if (err_is(&e))
		ctx_log(c, "libvirt is not asked for what changed: %s", e.what);
	if (p->count == 0 || (!p->virt.dir && !p->since)) {
		pass_free(p);
		return 0;
	}
	if (!p->virt.dir) {
		begin_off(p);
	} else if (begin_running(p, &e) < 0) {
		pass_free(p);
		if (!err_is(&e))
			return -1;	/* told */
		err_wrap(&e, "cannot read the disks of the running domain '%s'", domain);
		return ctx_fail_err(c, &e);
	}
	*out = p;
	return 0;
}

/* ---- ending --------------------------------------------------------------------------- */

/* The target's copy is younger than the old checkpoint: all that was written since this
 * copy, and more, is in its bitmap. So it serves the new roots too. */
static void note_behind(struct checkpoint_pass *p, json_t *roots)
{
	AUTO_JSON *all = json_deep_copy(jget(p->since, "roots"));
	AUTO_ERR e = { 0 };

	json_object_update_existing(all, roots);
	if (virt_note(&p->virt, p->since, all, &e) < 0)
		ctx_log(p->c, "the checkpoint stays as it is: %s", e.what);
}

void checkpoint_confirm(struct checkpoint_pass *p, const char *disk,
			const uint8_t root[SHA256_LEN])
{
	char hex[SHA256_HEX];

	io_hex(root, SHA256_LEN, hex);
	jset(p->roots, disk, json_string(hex));
	if (p->since && json_object_size(p->roots) < p->count)
		note_behind(p, p->roots);	/* should the pass end here */
}

void checkpoint_rebase(struct checkpoint_pass *p, const char *disk,
		       const uint8_t from[SHA256_LEN], const uint8_t to[SHA256_LEN])
{
	const char *root = json_string_value(json_object_get(jget(p->since, "roots"), disk));
	AUTO_JSON *roots = json_object();
	char was[SHA256_HEX], is[SHA256_HEX];

	io_hex(from, SHA256_LEN, was);
	io_hex(to, SHA256_LEN, is);
	if (!root || strcmp(root, was) != 0)
		return;
	jset(roots, disk, json_string(is));
	note_behind(p, roots);
}

/* The new checkpoint says of which copy it is; then the one before it may go. */
static void settle(struct checkpoint_pass *p, struct err *e)
{
	AUTO_JSON *now = virt_checkpoint(&p->virt, jstr(p->next, "name", ""), e);

	if (now && virt_note(&p->virt, now, p->roots, e) == 0 && p->since && !p->how.held)
		virt_forget(&p->virt, p->since, e);
}

void checkpoint_end(struct checkpoint_pass *p, bool whole)
{
	AUTO_ERR e = { 0 };

	if (!p)
		return;
	if (p->socket && virt_backup_end(&p->virt, p->socket, &e) == 0) {
		for (size_t i = 0; i < p->count; i++)
			unlink(p->parts[i].scratch);	/* libvirt has, but for a crash of it */
		guard_end(&p->guard);
	}
	if (whole && p->next)
		settle(p, &e);
	else if (whole && p->since)
		note_behind(p, p->roots);
	else if (whole && p->socket && !err_is(&e))	/* nothing of it is left */
		ctx_ledger_del(p->c, "checkpoint", p->name);
	if (err_is(&e))
		ctx_log(p->c, "of the pass something is left to cleanup: %s", e.what);
	pass_free(p);
}

