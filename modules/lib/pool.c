/* SPDX-License-Identifier: Apache-2.0
 * pool - libvirt storage pools of this host, as virsh tells of them.
 */
#include "modules/lib/pool.h"

#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/xmlread.h"

#include <string.h>

#define VIRSH_MS 60000

void pool_free(struct pool *p)
{
	mem_free_ptr(&p->dir);
	mem_free_ptr(&p->vg);
	*p = (struct pool){ 0 };
}

int pool_read(const char *name, const char *xml, size_t n, struct pool *p, struct err *e)
{
	static const char *const of_files[] = { "dir", "fs", "netfs" };
	AUTO_JSON *doc = xml_read(xml, n, e);
	const char *type = xml_word(doc, "", "type", ""), *path, *vg;

	*p = (struct pool){ 0 };
	if (!doc)
		return err_wrap(e, "cannot read storage pool '%s'", name);
	path = xml_word(doc, "target/path", NULL, NULL);
	vg = xml_word(doc, "source/name", NULL, NULL);
	for (size_t i = 0; i < ARRAY_LEN(of_files); i++)
		if (strcmp(type, of_files[i]) == 0 && path && path[0] == '/')
			p->dir = mem_strdup(path);
	if (strcmp(type, "logical") == 0 && vg)
		p->vg = mem_strdup(vg);
	if (p->dir || p->vg)
		return 0;
	err_set(e, ERR_STEP, "cannot use storage pool '%s': drover does not write to a pool of "
		"type '%s'", name, type);
	return err_hint(e, "name one of type dir, fs, netfs or logical; or make the volume and "
			"name its device: path: /dev/...");
}

/* `names` is a list, a name a line. */
static bool is_listed(const char *names, const char *name)
{
	size_t n = strlen(name);

	while (names && *names) {
		const char *end = strchrnul(names, '\n');
		size_t len = (size_t)(end - names);

		while (len && names[len - 1] == ' ')
			len--;
		if (len == n && strncmp(names, name, n) == 0)
			return true;
		names = *end ? end + 1 : end;
	}
	return false;
}

/* What libvirt says itself is worth more than how virsh was called. */
static int said(const struct proc *p, const char *name, struct err *e)
{
	static const char head[] = "error: ";
	const char *line = proc_last_line(p);

	if (*line) {
		line += strncmp(line, head, strlen(head)) == 0 ? strlen(head) : 0;
		err_clear(e);
		err_set(e, ERR_STEP, "cannot use storage pool '%s': %s", name, line);
	} else {
		err_wrap(e, "cannot use storage pool '%s'", name);
	}
	return err_hint(e, "type on its host: virsh pool-list --all");
}

/* The definition of one that is not started says where its files would be. */
static int must_be_active(const char *name, struct err *e)
{
	static const char *const argv[] = { "virsh", "-q", "pool-list", "--name", NULL };
	struct proc p = { .argv = argv, .timeout_ms = VIRSH_MS };
	int rc = proc_run(&p, e);
	bool active = rc == 0 && is_listed(p.out.s, name);

	proc_free(&p);
	if (rc < 0)
		return said(&p, name, e);
	if (active)
		return 0;
	err_set(e, ERR_STEP, "cannot use storage pool '%s': it is not started", name);
	return err_hint(e, "type on its host: virsh pool-start '%s'", name);
}

int pool_find(const char *name, struct pool *p, struct err *e)
{
	AUTO_FREE char *which = mem_printf("--pool=%s", name);
	const char *const argv[] = { "virsh", "-q", "pool-dumpxml", which, NULL };
	struct proc dump = { .argv = argv, .timeout_ms = VIRSH_MS };
	AUTO_FREE char *virsh = proc_which("virsh");
	int rc = -1;

	*p = (struct pool){ 0 };
	if (!virsh) {
		err_set(e, ERR_STEP, "cannot use storage pool '%s': virsh is not installed here",
			name);
		return err_hint(e, "apt install libvirt-clients");
	}
	if (proc_run(&dump, e) < 0) {
		said(&dump, name, e);
	} else {
		rc = pool_read(name, dump.out.s ? dump.out.s : "", dump.out.len, p, e);
	}
	proc_free(&dump);
	if (rc == 0 && must_be_active(name, e) < 0) {
		pool_free(p);
		rc = -1;
	}
	return rc;
}

int pool_refresh(const char *name, struct err *e)
{
	AUTO_FREE char *which = mem_printf("--pool=%s", name);
	const char *const argv[] = { "virsh", "-q", "pool-refresh", which, NULL };
	struct proc p = { .argv = argv, .timeout_ms = VIRSH_MS };
	int rc = proc_run(&p, e);

	proc_free(&p);
	return rc;
}
