/* SPDX-License-Identifier: Apache-2.0
 * check - what a machine says has to make sense beyond keys and types: names that must
 * exist, and no two machines that would get into each other's way.
 */
#include "engine/plan/private.h"

#include <string.h>

/* One machine while it is looked at. */
struct look {
	struct loader *l;
	uint32_t machine;
	const char *name;
	const struct yaml_node *node;		/* merged */
	const struct yaml_node *source, *target;
	const struct yaml_node *disks;		/* source.disks or source.images */
	bool images;
	struct names *written;			/* "host:path" -> the node that writes it */
	struct names *read;			/* source disks */
	const struct yaml_node *claimed;	/* where it claims what a table holds */
};

/* ---- small helpers -------------------------------------------------------------------- */

/* A value's text with everything put in; NULL when there is none or it is wrong
 * (then the schema has told). */
static const char *text_of(const struct look *k, const struct yaml_node *n)
{
	bool open = false;

	if (!n || !yaml_is_scalar(n) || (n->kind == YAML_NULL && n->plain))
		return NULL;
	if (!n->refs)
		return n->text;
	struct err_list *errors = k->l->errors;
	k->l->errors = NULL;			/* told by the schema */
	const char *text = vars_text(k->l, n, SCOPE_MACHINE, &open);
	k->l->errors = errors;
	if (!text || !open)
		return text;
	AUTO_JSON *labels = json_object();
	const struct yaml_node *map = yaml_get(k->node, "labels");
	for (uint32_t i = 0; map && map->kind == YAML_MAP && i < map->count; i++)
		if (yaml_is_scalar(map->pairs[i].value))
			jset_str(labels, map->pairs[i].key->text, map->pairs[i].value->text);
	AUTO_JSON *known = json_pack("{s:s, s:O}", "machine", k->name, "labels", labels);
	AUTO_ERR e = { 0 };
	AUTO_FREE char *final = vars_final(text, known, &e);
	if (!final) {
		err_hint(load_error(k->l, n, "%s", e.what), "machine '%s' has no such label",
			 k->name);
		return NULL;
	}
	return arena_strdup(k->l->arena, final);
}

static const struct yaml_node *first(const struct yaml_node *a, const struct yaml_node *b)
{
	return a ? a : b;
}

/* Two machines at one thing: the second is told, with the place of the first. */
static void claim(struct names *table, const struct look *k, const char *thing,
		  const struct yaml_node *at, const char *fmt)
	__attribute__((format(printf, 5, 0)));

static void claim(struct names *table, const struct look *k, const char *thing,
		  const struct yaml_node *at, const char *fmt)
{
	void **slot = names_slot(table, thing);
	const struct look *other = *slot;

	if (!other) {
		struct look *mine = arena_alloc(k->l->arena, sizeof(*mine));
		*mine = *k;
		mine->claimed = at;
		*slot = mine;
		return;
	}
	struct place first_at = k->l->plan->machines[other->machine].at;
	AUTO_FREE char *both = other->machine == k->machine ?
		mem_printf("machine '%s' names it twice", k->name) :
		mem_printf("machines '%s' (%s:%u) and '%s'", other->name, first_at.file,
			   first_at.line, k->name);
	err_hint(load_error(k->l, at, fmt, thing), "%s", both);
}

/* ---- source ----------------------------------------------------------------------------- */

static void look_at_block_disk(struct look *k, const char *host,
			       const struct yaml_node *disk)
{
	static const char *const ways[] = { "id", "path", "serial" };
	const struct yaml_node *found = NULL;
	int count = 0;

	for (size_t i = 0; disk->kind == YAML_MAP && i < ARRAY_LEN(ways); i++)
		if (yaml_get(disk, ways[i])) {
			found = yaml_get(disk, ways[i]);
			count++;
		}
	if (yaml_is_scalar(disk))
		found = disk;
	else if (count != 1) {
		err_hint(load_error(k->l, disk, "a disk is named in one way"),
			 "one of id, path or serial; an id is the safest");
		return;
	}
	const char *text = text_of(k, found);
	if (text && host)
		claim(k->read, k, arena_printf(k->l->arena, "%s:%s", host, text), found,
		      "the source disk '%s' is used twice");
}

static void look_at_image(struct look *k, const char *host, const struct yaml_node *disk)
{
	const struct yaml_node *path = yaml_is_scalar(disk) ? disk : yaml_get(disk, "path");
	const char *text = text_of(k, path);

	if (text && host)
		claim(k->read, k, arena_printf(k->l->arena, "%s:%s", host, text), path,
		      "the source image '%s' is used twice");
}

static void look_at_power(struct look *k)
{
	const struct yaml_node *power = yaml_get(k->source, "power");
	const struct yaml_node *domain = yaml_get(k->source, "domain");
	const struct yaml_node *libvirt = yaml_get(power, "libvirt");
	static const char *const ways[] = { "command", "libvirt" };

	if (!power)
		return;
	if (power->kind == YAML_MAP && power->count != 1)
		err_hint(load_error(k->l, power, "power is switched in one way"),
			 "one of command, libvirt or manual");
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		const struct yaml_node *at = yaml_get(yaml_get(power, ways[i]), "at");
		const char *host = text_of(k, at);
		if (host)
			host_use(k->l, at, host);
	}
	bool word = yaml_is_scalar(power) && strcmp(power->text, "libvirt") == 0;
	if ((libvirt || word) && !domain && !yaml_get(libvirt, "domain"))
		err_hint(load_error(k->l, power, "libvirt switches which domain?"),
			 "write power: { libvirt: { domain: NAME } }");
}

static const char *disk_name(const struct look *k, uint32_t i)
{
	return k->disks->kind == YAML_LIST ? spec_disk_name(k->l, i) :
		k->disks->pairs[i].key->text;
}

static const struct yaml_node *disk_node(const struct look *k, uint32_t i)
{
	return k->disks->kind == YAML_LIST ? k->disks->items[i] :
		k->disks->pairs[i].value;
}

static void look_at_source(struct look *k)
{
	const struct yaml_node *host = yaml_get(k->source, "host");
	const char *name = text_of(k, host);
	static const char *const kinds[] = { "disks", "images", "domain" };
	const struct yaml_node *kind = NULL;

	if (name)
		k->l->plan->machines[k->machine].source_host =
			(uint32_t)host_use(k->l, host, name);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct yaml_node *n = yaml_get(k->source, kinds[i]);
		if (n && kind && i < 2)
			err_hint(load_error(k->l, n, "a source has disks or images, not both"),
				 "split it into two machines");
		kind = first(kind, n);
	}
	static const char *const later[] = { "vmx", "ova", "vcenter" };
	for (size_t i = 0; i < ARRAY_LEN(later); i++)
		if (yaml_get(k->source, later[i]))
			return;		/* told by the schema */
	if (!kind) {
		err_hint(load_error(k->l, k->source, "the source of '%s' has no disks", k->name),
			 "write disks: [/dev/sda], images: [/path] or domain: NAME");
		return;
	}
	look_at_power(k);
	for (uint32_t i = 0; k->disks && i < k->disks->count; i++) {
		if (k->images)
			look_at_image(k, name, disk_node(k, i));
		else
			look_at_block_disk(k, name, disk_node(k, i));
	}
	if (k->disks && !k->disks->count)
		load_error(k->l, k->disks, "the source of '%s' has no disks", k->name);
}

/* ---- target ------------------------------------------------------------------------------- */

static bool is_copied(const struct yaml_node *disk)
{
	const struct yaml_node *copy = disk->kind == YAML_MAP ? yaml_get(disk, "copy") : NULL;

	return !copy || !yaml_is_scalar(copy) || strcasecmp(copy->text, "false") != 0;
}

/* Of the ways to say where a disk goes a map may hold one. The value, or NULL. */
static const struct yaml_node *one_way(struct look *k, const struct yaml_node *map,
				       const char *const *ways, size_t count, const char **way)
{
	const struct yaml_node *found = NULL;

	for (size_t i = 0; i < count; i++) {
		const struct yaml_node *n = yaml_get(map, ways[i]);
		if (n && found)
			err_hint(load_error(k->l, n, "a disk goes to one place: `%s` and `%s` are "
					    "two", *way, ways[i]), "leave one of them away");
		if (n && !found)
			*way = ways[i];
		found = first(found, n);
	}
	return found;
}

static void look_at_target_disk(struct look *k, const char *host, const char *name,
				const struct yaml_node *own)
{
	static const char *const ways[] = { "path", "dir", "vg", "pool" };
	const struct yaml_node *format = yaml_get(own, "format");
	const char *way = "", *as = text_of(k, format);
	const struct yaml_node *at = one_way(k, own, ways, ARRAY_LEN(ways), &way);
	bool vg = at ? strcmp(way, "vg") == 0 : false, path = at && strcmp(way, "path") == 0;

	if (!at)
		vg = (at = yaml_get(k->target, "vg")) != NULL;
	const char *text = text_of(k, at);
	if (!text || !(vg || path))
		return;
	claim(k->written, k, vg ? arena_printf(k->l->arena, "%s:/dev/%s/%s-%s", host, text,
					       k->name, name) :
	      arena_printf(k->l->arena, "%s:%s", host, text), at,
	      "two disks would be written to '%s'");
	if (as && strcmp(as, "raw") != 0)
		err_hint(load_error(k->l, format, "disk '%s' goes to a %s, which is raw", name,
				    vg ? "volume" : "device"),
			 "leave `format` away, or write format: raw");
}

/* The directory of a machine is <dir>/<machine>; no device may lie in it, and no
 * two machines may have one. */
static void claim_directory(struct look *k, const char *host)
{
	const struct yaml_node *at = yaml_get(k->target, "dir");
	const char *dir = text_of(k, at);
	size_t n = dir ? strlen(dir) : 0;

	while (n > 1 && dir[n - 1] == '/')
		n--;
	if (dir)
		claim(k->written, k, arena_printf(k->l->arena, "%s:%.*s/%s", host, (int)n,
						  dir, k->name), at,
		      "two machines would be written to '%s'");
}

/* Names on the target must be names of the source. */
static void match_names(struct look *k, const char *what, const struct yaml_node *target,
			const struct yaml_node *source, bool source_is_list)
{
	if (!target || target->kind != YAML_MAP || !source ||
	    source->kind != (source_is_list ? YAML_LIST : YAML_MAP))
		return;
	struct names known = { 0 };
	for (uint32_t i = 0; i < source->count; i++)
		if (source_is_list || yaml_is_scalar(source->pairs[i].key))
			*names_slot(&known, source_is_list ? spec_disk_name(k->l, i) :
				    source->pairs[i].key->text) = k;
	for (uint32_t i = 0; i < target->count; i++) {
		const struct yaml_node *key = target->pairs[i].key;
		if (!yaml_is_scalar(key) || names_get(&known, key->text))
			continue;
		struct err *e = load_error(k->l, key, "the source of '%s' has no %s '%s'",
					   k->name, what, key->text);
		const char *near = names_near(&known, key->text);
		if (near)
			hint_near(e, near);
		else if (source_is_list)
			err_hint(e, "disks of a list are called root, disk1, disk2 ...");
	}
	names_free(&known);
}

static void look_at_target(struct look *k)
{
	const struct yaml_node *host = yaml_get(k->target, "host");
	const struct yaml_node *own = yaml_get(k->target, "disks");
	const char *name = text_of(k, host);
	bool list = k->disks && k->disks->kind == YAML_LIST;

	if (name)
		k->l->plan->machines[k->machine].target_host =
			(uint32_t)host_use(k->l, host, name);
	match_names(k, "disk", own, k->disks, list);
	match_names(k, "nic", yaml_get(k->target, "nics"), yaml_get(k->source, "nics"), false);
	static const char *const ways[] = { "vg", "pool" };
	const char *way = "";
	one_way(k, k->target, ways, ARRAY_LEN(ways), &way);
	if (!name)
		return;
	claim_directory(k, name);
	for (uint32_t i = 0; k->disks && i < k->disks->count; i++)
		if ((list || yaml_is_scalar(k->disks->pairs[i].key)) &&
		    is_copied(disk_node(k, i))) {
			const char *disk = disk_name(k, i);
			look_at_target_disk(k, name, disk, yaml_get(own, disk));
		}
	for (uint32_t i = 0; !k->disks && own && own->kind == YAML_MAP && i < own->count; i++)
		if (yaml_is_scalar(own->pairs[i].key))
			look_at_target_disk(k, name, own->pairs[i].key->text,
					    own->pairs[i].value);
}

/* ---- machines ------------------------------------------------------------------------------- */

static void resolve_after(struct look *k)
{
	const struct yaml_node *list = yaml_get(k->node, "after");
	struct plan_machine *m = &k->l->plan->machines[k->machine];

	if (!list || list->kind != YAML_LIST)
		return;
	uint32_t *after = arena_alloc(k->l->arena, list->count * sizeof(*after) + 1);
	for (uint32_t i = 0; i < list->count; i++) {
		const char *name = text_of(k, list->items[i]);
		int other = name ? index_of(&k->l->machines, name) : -1;
		if (other >= 0)
			after[m->after_count++] = (uint32_t)other;
		else if (name)
			hint_near(load_error(k->l, list->items[i],
					     "no machine is called '%s'", name),
				  names_near(&k->l->machines, name));
	}
	m->after = after;
}

static void look_at_steps(struct look *k)
{
	struct plan_machine *m = &k->l->plan->machines[k->machine];
	struct chain *c = k->l->plan->priv->machines[k->machine].chain;

	if (!c || !chain_compile(k->l, c))
		return;
	m->steps = c->steps;
	m->step_count = c->step_count;
	if (!c->step_count)
		err_hint(err_list_add(k->l->errors, &m->at, "machine '%s' has no steps",
				      k->name), "add recipe: p2v or recipe: v2v");
}

static void look_at_machine(struct look *k)
{
	static const char *const wanted[] = { "source", "target" };
	const struct place *at = &k->l->plan->machines[k->machine].at;

	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		const struct yaml_node *n = yaml_get(k->node, wanted[i]);
		if (!n)
			err_hint(err_list_add(k->l->errors, at, "machine '%s' has no %s",
					      k->name, wanted[i]), "add %s: { host: ... }",
				 wanted[i]);
		else
			schema_required(k->l, schema_key(schema_machine, wanted[i]), n);
	}
	if (k->source && k->source->kind == YAML_MAP)
		look_at_source(k);
	if (k->target && k->target->kind == YAML_MAP)
		look_at_target(k);
	resolve_after(k);
	look_at_steps(k);
}

/* ---- all of them ------------------------------------------------------------------------------ */

/* What one machine reads, none may write. */
static void check_overwritten(struct loader *l, const struct names *written,
			      const struct names *read)
{
	for (size_t i = 0; i < written->cap; i++) {
		const struct look *w = written->slots[i].value;
		const struct look *r = w ? names_get(read, written->slots[i].key) : NULL;
		if (r)
			err_hint(load_error(l, w->claimed, "the source disk '%s' of '%s' "
					    "would be overwritten", written->slots[i].key,
					    r->name), "name another place; drover writes to "
				 "no source");
	}
}

/* A store of the source goes to one place. */
static void check_maps(struct loader *l)
{
	static const char *const ways[] = { "dir", "pool", "vg" };
	const struct yaml_node *map = yaml_get(yaml_get(l->root, "maps"), "storage");
	struct look k = { .l = l };

	for (uint32_t i = 0; map && map->kind == YAML_MAP && i < map->count; i++) {
		const struct yaml_node *n = map->pairs[i].value;
		const char *way = "";
		if (n->kind == YAML_MAP && !one_way(&k, n, ways, ARRAY_LEN(ways), &way))
			err_hint(load_error(l, n, "'%s' goes to no place", map->pairs[i].key->text),
				 "write { dir: /path }, { pool: NAME } or { vg: NAME }");
	}
}

void check_machines(struct loader *l)
{
	struct names written = { 0 }, read = { 0 };
	const struct plan *p = l->plan;

	for (uint32_t m = 0; m < p->machine_count; m++) {
		const struct yaml_node *node = p->priv->machines[m].node;
		struct look k = {
			.l = l, .machine = m, .name = p->machines[m].name, .node = node,
			.source = yaml_get(node, "source"), .target = yaml_get(node, "target"),
			.written = &written, .read = &read,
		};
		k.images = yaml_get(k.source, "images") != NULL;
		k.disks = yaml_get(k.source, k.images ? "images" : "disks");
		if (k.disks && yaml_is_scalar(k.disks))
			k.disks = NULL;		/* told by the schema */
		look_at_machine(&k);
	}
	check_maps(l);
	check_overwritten(l, &written, &read);
	names_free(&written);
	names_free(&read);
}
