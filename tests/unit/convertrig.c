/* SPDX-License-Identifier: Apache-2.0
 * convertrig - see the header.
 */
#include "tests/unit/convertrig.h"

#include "engine/base/proc.h"
#include "modules/lib/map.h"
#include "tests/unit/modtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- files ----------------------------------------------------------------------- */

void cv_put(const char *path, uint64_t at, const void *p, size_t n)
{
	AUTO_FD fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(io_pwrite_full(fd, p, n, at), 0);
}

void cv_put_unseen(const char *path, uint64_t at)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	cv_put(path, at, "!", 1);
	const struct timespec times[] = { st.st_atim, st.st_mtim };
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

void cv_fill(const char *path, uint64_t at, size_t n, unsigned seed)
{
	AUTO_FREE char *p = mem_alloc(n);

	srand(seed);
	for (size_t i = 0; i < n; i++)
		p[i] = (char)(rand() % 23);
	cv_put(path, at, p, n);
}

void cv_make_source(struct rig *r)
{
	AUTO_FD fd = open(r->src, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(ftruncate(fd, SIZE), 0);
	cv_fill(r->src, 0, 2 * MIB, 1);
	cv_fill(r->src, 5 * MIB + 77, MIB, 2);
	cv_fill(r->src, SIZE - 600, 600, 3);
}

void cv_run_ok(const char *const *argv)
{
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	AUTO_ERR e = { 0 };

	if (proc_run(&p, &e) < 0)
		fail_msg("%s", e.what);
	proc_free(&p);
}

void cv_assert_same(struct rig *r)
{
	const char *argv[] = { "qemu-img", "compare", "-q", "-f", "raw", "-F", r->format,
		r->src, r->base, NULL };

	cv_run_ok(argv);
}

char *cv_copy_aside(struct rig *r, const char *path, const char *name)
{
	char *aside = mem_printf("%s/%s", r->dir, name);
	const char *argv[] = { "cp", "--sparse=always", path, aside, NULL };

	cv_run_ok(argv);
	return aside;
}

char *cv_loop(const char *path, off_t size, const char *sector)
{
	const char *argv[] = { "losetup", "-b", sector, "-f", "--show", path, NULL };
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	AUTO_FD fd = open(path, O_WRONLY | O_CREAT, 0600);
	char *out;

	assert_int_equal(ftruncate(fd, size), 0);
	if (proc_run(&p, NULL) < 0) {
		proc_free(&p);
		return NULL;
	}
	out = str_take(&p.out);
	out[strcspn(out, "\n")] = '\0';
	proc_free(&p);
	return out;
}

int cv_hold(struct rig *r)
{
	struct flock fl = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1 };
	int fd = open(r->src, O_RDONLY | O_CLOEXEC);

	return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? -1 : fd;
}

int cv_set_up_as(void **state, const char *format)
{
	struct rig *r = mem_alloc(sizeof(*r));

	strcpy(r->dir, "/tmp/drover-test.convert.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	r->src = mem_printf("%s/src.raw", r->dir);
	r->target = mem_printf("%s/images", r->dir);
	r->base = mem_printf("%s/erp/root.base.%s", r->target, format);
	r->map = mem_printf("%s/erp/root.map", r->target);
	r->format = format;
	r->machine = "erp";
	r->facts = json_object();
	r->kept = json_object();
	r->args = json_pack("{s:i,s:s,s:i,s:s}", "passes", 1, "freeze", "none", "chunk",
			    (int)MIB, "compress", "auto");
	r->more = json_object();
	assert_int_equal(mkdir(r->target, 0700), 0);
	cv_make_source(r);
	*state = r;
	return 0;
}

int cv_set_up(void **state)
{
	return cv_set_up_as(state, *state);	/* what the table of tests says */
}

int cv_tear_down(void **state)
{
	struct rig *r = *state;
	const char *detach[] = { "losetup", "-d", r->loop, NULL };

	if (r->loop)
		cv_run_ok(detach);
	assert_int_equal(io_remove_tree(r->dir), 0);
	free(r->loop);
	free(r->src);
	free(r->target);
	free(r->base);
	free(r->map);
	json_decref(r->facts);
	json_decref(r->kept);
	json_decref(r->args);
	json_decref(r->more);
	json_decref(r->from);
	json_decref(r->also);
	free(r);
	return 0;
}

/* ---- calls ------------------------------------------------------------------------- */

/* A state of this process's own: the host ends what it takes for a lost agent of one. */
const char *cv_lineage(void)
{
	static char id[33];

	if (!*id)
		snprintf(id, sizeof(id), "%032x", (unsigned)getpid());
	return id;
}

json_t *cv_input(struct rig *r, const char *role)
{
	json_t *target = json_pack("{s:s,s:s,s:s,s:b,s:{}}", "host", "b", "dir", r->target,
				   "format", r->format, "replace", 0, "disks");
	json_t *disk = r->from ? json_incref(r->from) :
		json_pack("{s:s,s:s,s:b}", "image", r->src, "format", "raw", "copy", 1);
	json_t *disks = r->also ? json_deep_copy(r->also) : json_object();

	json_object_update(target, r->more);
	json_object_set_new(disks, "root", disk);
	return json_pack("{s:O,s:O,s:O,s:s,s:{s:s,s:I,s:{s:s,s:s,s:o},s:o},"
			 "s:{s:s,s:s,s:s,s:i,s:s,s:s,s:b}}",
			 "args", r->args, "facts", r->facts, "kept", r->kept, "role", role,
			 "machine", "name", r->machine, "downtime_ms", (json_int_t)r->downtime_ms,
			 "source", "host", "a", "kind", jstr(disk, "path", NULL) ? "block" : "image",
			 "disks", disks, "target", target,
			 "run", "plan", "p", "plan_dir", "/", "run", "abcd1234", "epoch", 1,
			 "lineage", r->lineage ? r->lineage : cv_lineage(), "step", "convert.disks", "preview", 0);
}

json_t *cv_at(struct rig *r, const char *role, const char *module, const char *op)
{
	AUTO_JSON *in = cv_input(r, role);

	return modtest_call(module, op, in, NULL);
}

/* Both ends of one operation; the target's result, the source's in *source. */
json_t *cv_both_do(struct rig *r, const char *module, const char *op, json_t **source)
{
	struct modtest_end end[2] = { { .module = module, .in = cv_input(r, "source"), .op = op },
				      { .module = module, .in = cv_input(r, "target"), .op = op } };

	modtest_both(end);
	for (int i = 0; i < 2; i++) {
		AUTO_JSON *keep = end[i].in;

		modtest_keep(keep, end[i].events);
		if (i == 1)
			json_object_update(r->kept, json_object_get(keep, "kept"));
		json_decref(end[i].events);
	}
	if (source)
		*source = end[0].out;
	else
		json_decref(end[0].out);
	return end[1].out;
}

json_t *cv_both(struct rig *r, const char *module, json_t **source)
{
	return cv_both_do(r, module, "apply", source);
}

void cv_take_facts(struct rig *r, json_t *result)
{
	json_t *fact;
	const char *name;

	if (!jbool(result, "ok", false))
		fail_msg("%s", jstr(result, "error.text", "?"));
	json_object_foreach(json_object_get(result, "facts"), name, fact) {
		json_t *both = json_deep_copy(json_object_get(fact, "stable"));

		if (json_object_get(fact, "volatile"))
			json_object_update_recursive(both, json_object_get(fact, "volatile"));
		json_object_set_new(r->facts, name, both);
	}
}

void cv_do_both(struct rig *r, const char *module)
{
	AUTO_JSON *out = cv_both(r, module, NULL);

	cv_take_facts(r, out);
}

void cv_do_both_told(struct rig *r, const char *module)
{
	AUTO_JSON *source = NULL, *target = cv_both(r, module, &source);

	cv_take_facts(r, target);
	cv_take_facts(r, source);
}

void cv_do_at(struct rig *r, const char *role, const char *module, const char *op)
{
	AUTO_JSON *out = cv_at(r, role, module, op);

	cv_take_facts(r, out);
}

char *cv_lines(const json_t *result)
{
	AUTO_STR all = { 0 };
	json_t *line;
	size_t i;

	assert_true(jbool(result, "ok", false));
	json_array_foreach(jget(result, "changes"), i, line)
		if (!strncmp(jstr(line, "text", ""), "root: ", 6))
			str_addf(&all, "%s\n", jstr(line, "text", ""));
	return str_take(&all);
}

void cv_assert_error(json_t *result, const char *text, const char *hint)
{
	assert_false(jbool(result, "ok", true));
	assert_string_equal(jstr(result, "error.text", ""), text);
	assert_string_equal(jstr(result, "error.hint", ""), hint);
	json_decref(result);
}

/* "2026-11-21T08:36:42Z" becomes "T": when it was is no matter. */
static char *timeless(const char *text)
{
	char *out = mem_strdup(text), *w = out;

	for (const char *p = out; *p;) {
		bool time = strlen(p) >= 20 && p[4] == '-' && p[10] == 'T' && p[19] == 'Z';

		*w++ = time ? 'T' : *p;
		p += time ? 20 : 1;
	}
	*w = '\0';
	return out;
}

void cv_assert_damage(struct rig *r, json_t *result, const char *kind, const char *history)
{
	AUTO_FREE char *text = mem_printf("disk 'root' is not what was sent: byte 5242880, length "
					  "1048576 of '%s' (%s", r->base, history);
	AUTO_FREE char *is = timeless(jstr(result, "error.text", ""));

	assert_string_equal(is, text);
	assert_string_equal(jstr(result, "error.kind", ""), kind);
	json_decref(result);
}

void cv_assert_state(struct rig *r, const char *role, const char *module, const char *state)
{
	AUTO_JSON *out = cv_at(r, role, module, "probe");

	if (!jbool(out, "ok", false))
		fail_msg("%s", jstr(out, "error.text", "?"));
	assert_string_equal(jstr(out, "state", ""), state);
}
