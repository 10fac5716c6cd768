/* SPDX-License-Identifier: Apache-2.0
 * sshconfig - see the header.
 */
#include "engine/host/sshconfig.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <fcntl.h>
#include <glob.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (1u << 20)
#define DEPTH_MAX 8

struct scan {
	struct sshconfig *c;
	const char *dir, *alias, *user;
	const char *file;		/* as shown */
	int depth;
	bool active;			/* the section is the alias's */
};

/* ---- what is told ------------------------------------------------------------------- */

static bool is_off(const char *value)
{
	return !strcasecmp(value, "no") || !strcasecmp(value, "none") ||
	       !strcasecmp(value, "off") || !strcasecmp(value, "false");
}

static bool set(const char *value) { return !is_off(value); }
static bool lax(const char *value) { return is_off(value) || !strcasecmp(value, "accept-new"); }
static bool any_family(const char *value) { return strcasecmp(value, "any") != 0; }
static bool not_keys(const char *value) { return strncasecmp(value, "publickey", 9) != 0; }

static const struct {
	const char *keyword;
	bool (*matters)(const char *value);
	const char *instead;
} rows[] = {
	{ "CertificateFile", set, "user certificates are not offered" },
	{ "PKCS11Provider", set, "keys on a token are used through the ssh agent alone" },
	{ "SecurityKeyProvider", set, "keys on a token are used through the ssh agent alone" },
	{ "IdentitiesOnly", set, "the ssh agent's keys are offered, too" },
	{ "IdentityAgent", set, "the agent of SSH_AUTH_SOCK is asked" },
	{ "PreferredAuthentications", not_keys, "only keys are offered" },
	{ "HostKeyAlias", set, "known keys are looked up by the host's own name" },
	{ "RevokedHostKeys", set, "only @revoked lines of known_hosts are heeded" },
	{ "KnownHostsCommand", set, "known keys are read from files alone" },
	{ "StrictHostKeyChecking", lax, "an unknown or changed key is never accepted by itself" },
	{ "CanonicalizeHostname", set, "the name is looked up as it is written" },
	{ "AddressFamily", any_family, "addresses of both families are tried" },
	{ "BindAddress", set, "the connection leaves from any address" },
	{ "BindInterface", set, "the connection leaves by any interface" },
	{ "ProxyUseFdpass", set, "a proxy's descriptor is not taken over" },
	{ "ControlMaster", set, "a connection of its own is made" },
};

static void note(struct scan *s, unsigned line, const char *keyword, const char *value)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *has = mem_printf(": %s has no effect", rows[i].keyword);
		const char *known = NULL;
		json_t *old;
		size_t k;

		if (strcasecmp(rows[i].keyword, keyword) != 0)
			continue;
		json_array_foreach(s->c->notes, k, old)
			if (strstr(json_string_value(old), has))
				known = has;	/* the first one wins, as in ssh */
		if (!known && rows[i].matters(value))
			jadd(s->c->notes, json_sprintf("%s:%u: %s has no effect: %s", s->file, line,
						    rows[i].keyword, rows[i].instead));
		return;
	}
}

/* ---- reading ---------------------------------------------------------------------------- */

/* The next word, without quotes. NULL at the end. */
static char *word(char **at)
{
	char *start = *at + strspn(*at, " \t"), quote = *start == '"' ? '"' : '\0', *end;

	if (!*start)
		return NULL;
	start += quote != '\0';
	end = start + (quote ? strcspn(start, "\"") : strcspn(start, " \t"));
	*at = end + (*end != '\0');
	*end = '\0';
	return start;
}

/* Do the patterns, divided by any of `by`, mean the name? A negated match means: no. */
static bool meant(const char *patterns, const char *by, const char *name)
{
	AUTO_FREE char *copy = mem_strdup(patterns);
	char *save = NULL;
	bool match = false;

	for (char *p = strtok_r(copy, by, &save); p; p = strtok_r(NULL, by, &save)) {
		if (*p == '!' && text_glob(p + 1, name))
			return false;
		match |= *p != '!' && text_glob(p, name);
	}
	return match;
}

static const char *local_user(void)
{
	const struct passwd *pw = getpwuid(geteuid());

	return pw ? pw->pw_name : "root";
}

/* 1 met, 0 not, -1: not asked here. */
static int criterion(const struct scan *s, const char *what, const char *arg)
{
	const char *user = s->user ? s->user : s->c->user ? s->c->user : local_user();

	if (!strcasecmp(what, "originalhost"))
		return meant(arg, ",", s->alias);
	if (!strcasecmp(what, "host"))
		return meant(arg, ",", s->c->host ? s->c->host : s->alias);
	if (!strcasecmp(what, "user"))
		return meant(arg, ",", user);
	if (!strcasecmp(what, "localuser"))
		return meant(arg, ",", local_user());
	return -1;
}

static bool match_line(struct scan *s, unsigned line, char *rest)
{
	bool met = true;
	char *what, *arg;
	int rc;

	while (met && (what = word(&rest))) {
		bool negated = *what == '!';

		what += negated;
		if (!strcasecmp(what, "all"))
			continue;
		/* both mean a second pass over the files, which there is not */
		if (!strcasecmp(what, "canonical") || !strcasecmp(what, "final")) {
			met = negated;
			continue;
		}
		arg = word(&rest);
		rc = arg ? criterion(s, what, arg) : 0;
		if (rc < 0)
			jadd(s->c->notes, json_sprintf("%s:%u: Match %s is not asked: what follows "
				"it is passed over", s->file, line, what));
		met = rc >= 0 && rc != negated;
	}
	return met;
}

/* ---- what is taken --------------------------------------------------------------------- */

static char *host_name(const struct scan *s, const char *value)
{
	AUTO_STR out = { 0 };

	for (const char *p = value; *p; p++) {
		bool escape = *p == '%' && (p[1] == 'h' || p[1] == '%');

		if (escape && *++p == 'h')
			str_add(&out, s->alias);
		else
			str_addc(&out, *p);
	}
	return str_take(&out);
}

/* True when the keyword is one whose value is used. */
static bool take(struct scan *s, unsigned line, const char *keyword, char *rest)
{
	struct sshconfig *c = s->c;
	const struct { const char *keyword; char **to; bool whole; } fields[] = {
		{ "HostName", &c->host, false }, { "User", &c->user, false },
		{ "Port", &c->port, false }, { "IdentityFile", &c->identity, false },
		{ "UserKnownHostsFile", &c->known_hosts, false },
		{ "ProxyJump", &c->proxy_jump, false }, { "ProxyCommand", &c->proxy_command, true },
	};
	bool proxy = !strncasecmp(keyword, "Proxy", 5);

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		char *value, *more;

		if (strcasecmp(fields[i].keyword, keyword) != 0)
			continue;
		if (proxy && (c->proxy_jump || c->proxy_command))
			return true;	/* the first of the two wins */
		value = fields[i].whole ? rest : word(&rest);
		more = fields[i].whole ? NULL : word(&rest);
		if ((*fields[i].to || more) && value && (fields[i].to == &c->identity ||
							 fields[i].to == &c->known_hosts))
			jadd(c->notes, json_sprintf("%s:%u: %s: only the first file is used",
						    s->file, line, fields[i].keyword));
		if (!*fields[i].to && value && *value)
			*fields[i].to = fields[i].to == &c->host ? host_name(s, value) :
				mem_strdup(value);
		return true;
	}
	return false;
}

static void scan_file(struct scan *s, const char *path, const char *shown);

static void include(struct scan *s, char *rest)
{
	char *pattern;

	while (s->depth < DEPTH_MAX && (pattern = word(&rest))) {
		AUTO_FREE char *path = *pattern == '/' || *pattern == '~' ? mem_strdup(pattern) :
			mem_printf("%s/%s", s->dir, pattern);
		glob_t g = { 0 };

		if (glob(path, GLOB_TILDE, NULL, &g) == 0)
			for (size_t i = 0; i < g.gl_pathc; i++)
				scan_file(s, g.gl_pathv[i], g.gl_pathv[i]);
		globfree(&g);
	}
}

static void scan_line(struct scan *s, unsigned number, char *line)
{
	char *keyword = line + strspn(line, " \t"), *rest;
	size_t n = strcspn(keyword, " \t=");

	if (!*keyword || *keyword == '#')
		return;
	rest = keyword + n;
	rest += strspn(rest, " \t");
	rest += *rest == '=';
	rest += strspn(rest, " \t");
	keyword[n] = '\0';
	if (!strcasecmp(keyword, "Host")) {
		s->active = meant(rest, " \t", s->alias);
	} else if (!strcasecmp(keyword, "Match")) {
		s->active = match_line(s, number, rest);
	} else if (s->active && !strcasecmp(keyword, "Include")) {
		include(s, rest);
	} else if (s->active && !take(s, number, keyword, rest)) {
		note(s, number, keyword, rest);
	}
}

static void scan_file(struct scan *s, const char *path, const char *shown)
{
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, FILE_MAX, NULL);
	const char *outer = s->file;
	bool active = s->active;
	unsigned number = 0;

	s->file = shown;
	s->depth++;
	for (char *at = text, *end; at && *at; at = end) {
		size_t n = strcspn(at, "\n"), keep = n;

		end = at + n + (at[n] == '\n');
		while (keep > 0 && strchr(" \t\r", at[keep - 1]))
			keep--;
		at[keep] = '\0';
		scan_line(s, ++number, at);
	}
	s->depth--;
	s->file = outer;
	s->active = active;	/* a file's last section ends with it */
}

void sshconfig_read(struct sshconfig *c, const char *file, const char *shown, const char *dir,
		    const char *alias, const char *user)
{
	struct scan s = { .c = c, .dir = dir, .alias = alias, .user = user, .active = true };

	if (!c->notes)
		c->notes = json_array();
	scan_file(&s, file, shown);
}

void sshconfig_clear(struct sshconfig *c)
{
	free(c->host);
	free(c->user);
	free(c->port);
	free(c->identity);
	free(c->known_hosts);
	free(c->proxy_jump);
	free(c->proxy_command);
	json_decref(c->notes);
	memset(c, 0, sizeof(*c));
}

/* ---- jumps ---------------------------------------------------------------------------------- */

/* Nothing that a shell would read, and no option. */
static bool plain_hop(const char *s)
{
	return *s && *s != '-' &&
		s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789._:@[]/-")] == '\0';
}

char *sshconfig_jump_command(const char *jumps)
{
	AUTO_FREE char *copy = mem_strdup(jumps);
	char *last = strrchr(copy, ','), *uri;
	AUTO_STR out = { 0 };

	if (last)
		*last++ = '\0';
	else
		last = copy;
	for (const char *p = jumps; (p = strstr(p, ",,")); p++)
		return NULL;
	if (!plain_hop(last))
		return NULL;
	/* prompts would go to a terminal that shows something else */
	str_add(&out, "ssh -o BatchMode=yes");
	if (last != copy) {
		char *save = NULL;
		int n = 0;

		str_add(&out, " -J ");
		for (char *hop = strtok_r(copy, ",", &save); hop; hop = strtok_r(NULL, ",", &save)) {
			if (!plain_hop(hop))
				return NULL;
			str_addf(&out, "%s'%s'", n++ ? "," : "", hop);
		}
		if (n == 0)
			return NULL;
	}
	/* ssh takes user@host, but a port only in a URI */
	uri = strncmp(last, "ssh://", 6) == 0 || !strchr(last, ':') ? mem_strdup(last) :
		mem_printf("ssh://%s", last);
	str_addf(&out, " -W '[%%h]:%%p' '%s'", uri);
	free(uri);
	return str_take(&out);
}
