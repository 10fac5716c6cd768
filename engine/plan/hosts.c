/* SPDX-License-Identifier: Apache-2.0
 * hosts - hosts and secrets as the plan names them. What reaches ssh is checked
 * letter by letter: a user or host name never holds more than names hold. */
#include "engine/plan/private.h"
#include "engine/plan/vault.h"

#include <stdlib.h>
#include <string.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static bool made_of(const char *s, const char *set)
{
	return *s && *s != '-' && strlen(s) < 256 && strspn(s, set) == strlen(s);
}

/* "user@host:port", "user@[::1]:port", "alias" */
static json_t *parse_ssh(const char *text)
{
	json_t *ssh = json_object();
	const char *at = strrchr(text, '@'), *host = at ? at + 1 : text;
	const char *end = host + strlen(host), *port = NULL;

	if (*host == '[' && strchr(host, ']')) {
		end = strchr(++host, ']');
		port = end[1] == ':' ? end + 2 : end[1] ? "" : NULL;
	} else if (strchr(host, ':') && strchr(host, ':') == strrchr(host, ':')) {
		end = strchr(host, ':');
		port = end + 1;
	}
	if (at) {
		AUTO_FREE char *user = mem_strndup(text, (size_t)(at - text));
		jset_str(ssh, "user", user);
	}
	AUTO_FREE char *name = mem_strndup(host, (size_t)(end - host));
	jset_str(ssh, "host", name);
	if (port)
		jset_int(ssh, "port", *port && strspn(port, "0123456789") == strlen(port) &&
			 strlen(port) < 6 ? atoi(port) : -1);
	return ssh;
}

static void check_ssh(struct loader *l, const struct yaml_node *at, const json_t *ssh)
{
	const char *user = jstr(ssh, "user", NULL), *host = jstr(ssh, "host", "");
	int64_t port = jint(ssh, "port", 22);

	if (user && !made_of(user, LETTERS "._$-"))
		err_hint(load_error(l, at, "'%s' cannot be a user", user),
			 "users are letters, digits, '.', '_', '$' and '-'");
	if (!made_of(host, LETTERS ".:_-"))
		err_hint(load_error(l, at, "'%s' cannot be a host", host),
			 "write user@host, user@host:port or an alias of ~/.ssh/config");
	if (port < 1 || port > 65535)
		load_error(l, at, "the port must be between 1 and 65535");
}

static json_t *host_spec(struct loader *l, const struct yaml_node *n, const char *name)
{
	const struct key *row = schema_key(schema_plan, "hosts")->of;
	json_t *spec = NULL, *ssh;

	if (!schema_required(l, row, n) || !schema_value(l, row, n, SCOPE_PLAN, &spec))
		return NULL;
	jset_str(spec, "name", name);
	ssh = jget(spec, "ssh");
	const struct yaml_node *at = yaml_get(n, "ssh");
	if (json_is_string(ssh)) {
		jset(spec, "ssh", parse_ssh(json_string_value(ssh)));
		ssh = jget(spec, "ssh");
	}
	if (ssh)
		check_ssh(l, at, ssh);
	if (ssh && jbool(spec, "local", false))
		load_error(l, at, "host '%s' cannot be both local and reached by ssh", name);
	else if (!ssh && !jbool(spec, "local", false))
		err_hint(load_error(l, n, "host '%s' says no way to reach it", name),
			 "write local: true, or ssh: user@host");
	return spec;
}

void hosts_build(struct loader *l)
{
	static const char *const roles[] = { "source", "target", "fence" };
	const struct yaml_node *list = yaml_get(l->root, "hosts");
	struct plan *p = l->plan;

	if (!list || list->kind != YAML_MAP)
		return;
	p->hosts = arena_alloc(l->arena, (list->count + 1) * sizeof(*p->hosts));
	for (uint32_t i = 0; i < list->count; i++) {
		const struct yaml_pair *pair = &list->pairs[i];
		if (!yaml_is_scalar(pair->key))
			continue;
		struct plan_host *h = &p->hosts[p->host_count++];
		h->name = pair->key->text;
		h->at = yaml_place(pair->key);
		*names_slot(&l->hosts, h->name) = (void *)(uintptr_t)p->host_count;
		for (size_t r = 0; r < ARRAY_LEN(roles); r++)
			if (strcmp(h->name, roles[r]) == 0)
				err_hint(load_error(l, pair->key,
						    "a host cannot be called '%s'", h->name),
					 "`at: %s` means a machine's own", h->name);
		if (pair->value->kind != YAML_MAP)
			continue;	/* told by the schema */
		/* The schema has told what is wrong in its terms; not twice. */
		h->spec = host_spec(l, pair->value, h->name);
		h->local = jbool(h->spec, "local", false);
		h->bandwidth = rates_read(l, jget(h->spec, "bandwidth"));
	}
}

int host_use(struct loader *l, const struct yaml_node *at, const char *name)
{
	int i = index_of(&l->hosts, name);

	if (i >= 0) {
		l->plan->hosts[i].used = true;
		return i;
	}
	struct err *e = load_error(l, at, "no host is called '%s'", name);
	const char *near = names_near(&l->hosts, name);
	if (near)
		hint_near(e, near);
	else
		err_hint(e, "define it: hosts: { %s: { ssh: user@host } }", name);
	return -1;
}

void secrets_build(struct loader *l)
{
	const struct yaml_node *list = yaml_get(l->root, "secrets");
	const struct key *row = schema_key(schema_plan, "secrets")->of;

	l->plan->secrets = json_object();
	l->plan->vault = vault_new();
	if (!list || list->kind != YAML_MAP)
		return;
	for (uint32_t i = 0; i < list->count; i++) {
		const struct yaml_pair *pair = &list->pairs[i];
		json_t *v = NULL;
		if (pair->value->kind != YAML_MAP || !yaml_is_scalar(pair->key))
			continue;
		if (pair->value->count != 1)
			err_hint(load_error(l, pair->key, "secret '%s' must say one way to "
					    "fetch it", pair->key->text),
				 "one of file, env, command or prompt");
		if (schema_value(l, row, pair->value, SCOPE_PLAN, &v))
			jset(l->plan->secrets, pair->key->text, v);
	}
}
