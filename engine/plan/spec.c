/* SPDX-License-Identifier: Apache-2.0
 * spec - a machine from its merged nodes: first written out in the words of the
 * plan, then as modules see it (engine/README.md, "spec"). */
#include "engine/plan/private.h"
#include "engine/plan/types.h"

#include <string.h>

const char *spec_format_of(const char *path)
{
	static const char *const known[] = { "qcow2", "vmdk", "vhdx", "vpc", "vdi" };
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot && i < ARRAY_LEN(known); i++)
		if (strcmp(dot + 1, known[i]) == 0)
			return known[i];
	return dot && strcmp(dot, ".vhd") == 0 ? "vpc" : "raw";
}

const char *spec_disk_name(struct loader *l, uint32_t i)
{
	return i ? arena_printf(l->arena, "disk%u", i) : "root";
}

/* ---- in the words of the plan ----------------------------------------------------- */

static void fill_defaults(const struct key *k, json_t *v)
{
	json_t *child;
	const char *name;

	if (k->form == FORM_NAMED)
		json_object_foreach(v, name, child)
			fill_defaults(k->of, child);
	if (k->form != FORM_MAP || !json_is_object(v))
		return;
	for (const struct key *row = k->of; row->p.name; row++) {
		child = json_object_get(v, row->p.name);
		if (child)
			fill_defaults(row, child);
		else if (row->p.dflt) {
			AUTO_FREE char *why = NULL;
			const char *hint;
			jset(v, row->p.name, types_value(&row->p, row->p.dflt, &why, &hint));
		}
	}
}

static json_t *disk_map(const json_t *v, bool image)
{
	const char *text = json_string_value(v);
	json_t *map;

	if (!text)
		return json_deep_copy(v);
	map = json_object();
	jset_str(map, image || *text == '/' ? "path" : "id", text);
	return map;
}

/* A list or a map of disks, short or long, as a map of maps. */
static void write_out_disks(struct loader *l, json_t *source, const char *section)
{
	json_t *old = json_object_get(source, section), *v;
	bool image = strcmp(section, "images") == 0;
	const char *name;
	size_t i;

	if (!old)
		return;
	json_t *disks = json_object();
	if (json_is_array(old))
		json_array_foreach(old, i, v)
			jset(disks, spec_disk_name(l, (uint32_t)i), disk_map(v, image));
	else
		json_object_foreach(old, name, v)
			jset(disks, name, disk_map(v, image));
	json_object_foreach(disks, name, v)
		if (image && !json_object_get(v, "format"))
			jset_str(v, "format", spec_format_of(jstr(v, "path", "")));
	jset(source, section, disks);
}

static void write_out_power(json_t *source)
{
	json_t *power = json_object_get(source, "power"), *how = NULL;
	const char *domain = jstr(source, "domain", NULL);
	const char *host = jstr(source, "host", NULL);
	const char *word = json_string_value(power);

	if (!power && !domain)
		return;		/* cutover.off says what that means */
	if (word || !power) {
		AUTO_FREE char *key = mem_strdup(word ? word : "libvirt");
		power = json_object();
		jset(power, key, json_object());
		jset(source, "power", power);
	}
	if ((how = json_object_get(power, "libvirt")) && domain && !jget(how, "domain"))
		jset_str(how, "domain", domain);
	if (how || (how = json_object_get(power, "command")))
		if (!jget(how, "at"))
			jset_str(how, "at", host);
}

static void write_out_nics(json_t *source)
{
	json_t *v;
	const char *name;
	void *tmp;

	json_object_foreach_safe(json_object_get(source, "nics"), tmp, name, v)
		if (json_is_string(v)) {
			json_t *map = json_object();
			jset(map, "mac", json_incref(v));
			json_object_set_new(json_object_get(source, "nics"), name, map);
		}
}

/* Every disk that is copied has its place at the target, in full. */
static void write_out_target_disks(const json_t *source, json_t *target, bool mapped)
{
	json_t *disks = json_object_get(source, "disks"), *own, *v;
	bool open = mapped || jget(target, "vg") || jget(target, "pool");
	const char *name;

	if (!disks)
		disks = json_object_get(source, "images");
	own = json_object_get(target, "disks");
	json_t *all = json_object();
	json_object_foreach(disks, name, v)
		if (jbool(v, "copy", true))
			jset(all, name, json_object());
	json_object_foreach(own, name, v)
		jset(all, name, json_deep_copy(v));
	json_object_foreach(all, name, v) {
		const char *format = places_format(v, target);
		/* what other keys may move is told by plan_place_disks() */
		if (!jget(v, "format") && format && (places_way(v) || !open))
			jset_str(v, "format", format);
	}
	jset(target, "disks", all);
}

json_t *spec_written_out(struct loader *l, uint32_t machine)
{
	static const char *const sections[] = { "labels", "source", "target", "downtime",
						"stream", "after" };
	const struct yaml_node *node = l->plan->priv->machines[machine].node;
	json_t *out = json_object();

	for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
		const struct key *k = schema_key(schema_machine, sections[i]);
		const struct yaml_node *n = yaml_get(node, sections[i]);
		json_t *v = NULL;
		if (!n || !schema_value(l, k, n, SCOPE_MACHINE, &v) || !v)
			continue;
		jset(out, sections[i], v);
	}
	json_t *source = json_object_get(out, "source");
	json_t *target = json_object_get(out, "target");
	write_out_disks(l, source, "disks");
	write_out_disks(l, source, "images");
	write_out_power(source);
	write_out_nics(source);
	fill_defaults(schema_key(schema_machine, "source"), source);
	fill_defaults(schema_key(schema_machine, "target"), target);
	write_out_target_disks(source, target, yaml_get(yaml_get(l->root, "maps"), "storage"));
	return out;
}

/* ---- as modules see it -------------------------------------------------------------- */

/* Put ${machine} and ${labels.x} in, everywhere. They were checked at load. */
static json_t *put_in(json_t *v, const json_t *known)
{
	const char *name;
	json_t *item;
	void *tmp;
	size_t i;

	if (json_is_string(v) && vars_has_refs(json_string_value(v))) {
		AUTO_FREE char *text = vars_final(json_string_value(v), known, NULL);
		return text ? json_string(text) : json_incref(v);
	}
	json_object_foreach_safe(v, tmp, name, item)
		json_object_set_new(v, name, put_in(item, known));
	json_array_foreach(v, i, item)
		json_array_set_new(v, i, put_in(item, known));
	return json_incref(v);
}

static void image_disks(json_t *source)
{
	json_t *images = json_object_get(source, "images"), *v;
	const char *name;

	if (!images)
		return;
	json_object_foreach(images, name, v) {
		jset(v, "image", json_incref(json_object_get(v, "path")));
		json_object_del(v, "path");
	}
	jset(source, "disks", json_incref(images));
	json_object_del(source, "images");
}

static json_t *maps_of(struct loader *l)
{
	const struct yaml_node *n = yaml_get(l->root, "maps");
	json_t *maps = NULL;

	if (n)
		schema_value(l, schema_key(schema_plan, "maps"), n, SCOPE_MACHINE, &maps);
	if (!maps)
		maps = json_object();
	if (!jget(maps, "networks"))
		jset(maps, "networks", json_object());
	if (!jget(maps, "storage"))
		jset(maps, "storage", json_object());
	return maps;
}

json_t *spec_build(struct loader *l, uint32_t machine)
{
	json_t *s = spec_written_out(l, machine), *v;
	json_t *source = json_object_get(s, "source");
	json_t *target = json_object_get(s, "target");
	const char *name;

	jset_str(s, "name", l->plan->machines[machine].name);
	if (!jget(s, "labels"))
		jset(s, "labels", json_object());
	jset_str(source, "kind", jget(source, "images") ? "image" :
		 jget(source, "disks") ? "block" : "domain");
	image_disks(source);
	if (!jget(source, "disks"))
		jset(source, "disks", json_object());
	if (!jget(source, "nics"))
		jset(source, "nics", json_object());
	if (!jget(target, "nics"))
		jset(target, "nics", json_object());
	json_object_foreach(json_object_get(target, "nics"), name, v)
		if (!jget(v, "dns"))
			jset(v, "dns", json_array());
	if (jget(s, "downtime")) {
		jset(s, "downtime_ms", json_incref(jget(s, "downtime")));
		json_object_del(s, "downtime");
	}
	jset(s, "maps", maps_of(l));
	AUTO_JSON *known = json_pack("{s:s, s:O}", "machine", jstr(s, "name", ""), "labels",
				     jget(s, "labels"));
	json_t *done = put_in(s, known);
	plan_place_disks(done);
	json_decref(s);
	return done;
}
