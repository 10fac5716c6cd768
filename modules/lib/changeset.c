/* SPDX-License-Identifier: Apache-2.0
 * changeset - collecting edits, and writing them.
 */
#include "modules/lib/changeset.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/guestfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- collecting -------------------------------------------------------------------- */

static void edit_clear(struct edit *e)
{
	free(e->path);
	free(e->was);
	free(e->text);
	free(e->why);
	free(e->rule);
}

void changeset_free(struct changeset *s)
{
	for (size_t i = 0; i < s->count; i++)
		edit_clear(&s->edits[i]);
	free(s->edits);
	memset(s, 0, sizeof(*s));
}

/* Where a path leads; of a new file, where its directory does. */
static char *real_path(struct gtree *t, const char *path)
{
	char *real = gtree_resolve(t, path);
	AUTO_FREE char *dir = NULL, *real_dir = NULL;
	const char *slash = strrchr(path, '/');

	if (real || !slash || slash == path)
		return real ? real : mem_strdup(path);
	dir = mem_strndup(path, (size_t)(slash - path));
	real_dir = real_path(t, dir);
	return mem_printf("%s%s", strcmp(real_dir, "/") ? real_dir : "", slash);
}

static struct edit *find(struct changeset *s, const char *real)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->edits[i].path, real) == 0)
			return &s->edits[i];
	return NULL;
}

static char *read_text(struct gtree *t, const char *path)
{
	size_t n = 0;
	char *s = gtree_read(t, path, GTREE_FILE_MAX, &n);

	if (s && strlen(s) != n) {
		free(s);
		errno = EINVAL;
		return NULL;
	}
	return s;
}

char *changeset_text(struct changeset *s, const char *path)
{
	AUTO_FREE char *real = real_path(s->tree, path);
	struct edit *e = find(s, real);

	if (!e)
		return read_text(s->tree, real);
	if (!e->text)
		errno = ENOENT;
	return mem_strdup(e->text);
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static void join(char **to, const char *more)
{
	char *both;

	if (*to && strstr(*to, more))
		return;
	both = *to ? mem_printf("%s; %s", *to, more) : mem_strdup(more);
	free(*to);
	*to = both;
}

static struct edit *add(struct changeset *s, const char *real)
{
	struct gstat st;
	struct edit e = { .was = read_text(s->tree, real), .mode = 0644 };

	if (!e.was && errno != ENOENT)
		return NULL;
	if (e.was && gtree_stat(s->tree, real, &st) == 0)
		e.mode = st.mode & 07777;
	e.path = mem_strdup(real);
	e.text = mem_strdup(e.was);
	s->edits = mem_grow(s->edits, s->count, &s->cap, sizeof(*s->edits));
	s->edits[s->count] = e;
	return &s->edits[s->count++];
}

int changeset_put(struct changeset *s, const char *path, const char *text, mode_t mode,
		  const char *rule, const char *why)
{
	AUTO_FREE char *real = real_path(s->tree, path);
	struct edit *e = find(s, real);

	bool fresh = !e;

	if (fresh && !(e = add(s, real)))
		return -1;
	if (same(e->text, text)) {
		if (fresh)
			edit_clear(&s->edits[--s->count]);
		return 0;
	}
	free(e->text);
	e->text = mem_strdup(text);
	if (!e->was)
		e->mode = mode;
	join(&e->why, why);
	join(&e->rule, rule);
	return 0;
}

/* ---- as JSON ------------------------------------------------------------------------ */

static void set_content(json_t *o, const char *text)
{
	json_t *s = text ? json_string(text) : json_null();

	if (s) {
		jset(o, "content", s);
	} else {
		AUTO_FREE char *b64 = io_base64(text, strlen(text));

		jset_str(o, "content64", b64);
	}
}

static json_t *edit_json(const struct edit *e, const json_t *machine, struct ctx *c)
{
	json_t *disk = NULL, *part = guestfs_holds(machine, e->path, &disk), *o;
	char digest[SHA256_HEX];

	if (!part || !guestfs_is_ext(part) || jstr(part, "stack", NULL)) {
		if (c)
			ctx_finding(c, "warning", "guest.not-writable", "mend it by hand in the "
				    "guest", "%s would be changed (%s), but lies on a file "
				    "system that cannot be written yet", e->path, e->why);
		return NULL;
	}
	o = json_object();
	jset_str(o, "disk", jstr(disk, "name", "?"));
	jset_int(o, "partition", jint(part, "number", 0));
	jset_str(o, "mount", jstr(part, "mount", "/"));
	jset(o, "path", jtext(e->path, strlen(e->path)));
	if (e->was)
		sha256_hex(e->was, strlen(e->was), digest);
	jset_str(o, "before", e->was ? digest : NULL);
	jset_int(o, "mode", e->mode);
	set_content(o, e->text);
	jset_str(o, "why", e->why);
	jset_str(o, "rule", e->rule);
	return o;
}

static int by_path(const void *a, const void *b)
{
	return strcmp((*(const struct edit *const *)a)->path,
		      (*(const struct edit *const *)b)->path);
}

json_t *changeset_json(const struct changeset *s, const json_t *machine, struct ctx *c)
{
	AUTO_FREE const struct edit **order = mem_alloc((s->count + 1) * sizeof(*order));
	json_t *out = json_object(), *edits = json_array();
	size_t n = 0;

	for (size_t i = 0; i < s->count; i++)
		if (!same(s->edits[i].was, s->edits[i].text))
			order[n++] = &s->edits[i];
	qsort(order, n, sizeof(*order), by_path);
	for (size_t i = 0; i < n; i++) {
		json_t *o = edit_json(order[i], machine, c);

		if (o)
			jadd(edits, o);
	}
	jset(out, "edits", edits);
	return out;
}

void changeset_show(struct ctx *c, const struct changeset *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (!same(s->edits[i].was, s->edits[i].text))
			ctx_change_text(c, s->edits[i].path, s->edits[i].was,
					s->edits[i].text);
}

/* ---- writing ------------------------------------------------------------------------- */

char *edit_content(const json_t *edit, size_t *len)
{
	const char *s = jstr(edit, "content", NULL), *b64 = jstr(edit, "content64", NULL);

	*len = 0;
	if (b64)
		return io_unbase64(b64, len);
	if (!s)
		return NULL;
	*len = json_string_length(jget(edit, "content"));
	return mem_strndup(s, *len);
}

/* The digest of a file now; "" when it is not there. False when it cannot be read. */
static bool digest_now(struct gtree *t, const char *path, char hex[SHA256_HEX])
{
	size_t n;
	AUTO_FREE char *p = gtree_read(t, path, GTREE_FILE_MAX, &n);

	hex[0] = 0;
	if (!p)
		return errno == ENOENT;
	sha256_hex(p, n, hex);
	return true;
}

bool edit_fits(struct gtree *t, const json_t *edit)
{
	char now[SHA256_HEX];

	return digest_now(t, jstr(edit, "path", ""), now) &&
	       strcmp(now, jstr(edit, "before", "")) == 0;
}

bool edit_done(struct gtree *t, const json_t *edit)
{
	char now[SHA256_HEX], want[SHA256_HEX] = "";
	size_t n;
	AUTO_FREE char *content = edit_content(edit, &n);

	if (content)
		sha256_hex(content, n, want);
	return digest_now(t, jstr(edit, "path", ""), now) && strcmp(now, want) == 0;
}

static int write_one(struct gtree *t, const json_t *edit, struct err *e)
{
	const char *path = jstr(edit, "path", "");
	size_t n;
	AUTO_FREE char *content = edit_content(edit, &n);
	int r = content ? gtree_write(t, path, content, n, (mode_t)jint(edit, "mode", 0644))
			: gtree_unlink(t, path);

	return r < 0 ? err_sys(e, "cannot change '%s' in the guest", path) : 0;
}

int changeset_write(struct gtree *t, const json_t *changeset, const json_t **misfit,
		    struct err *e)
{
	json_t *edits = jget(changeset, "edits"), *edit;
	size_t i;

	*misfit = NULL;
	json_array_foreach(edits, i, edit)
		if (!edit_done(t, edit) && !edit_fits(t, edit)) {
			*misfit = edit;
			return -1;
		}
	json_array_foreach(edits, i, edit)
		if (!edit_done(t, edit) && write_one(t, edit, e) < 0)
			return -1;
	return 0;
}
