/* SPDX-License-Identifier: Apache-2.0
 * knownhosts - read known_hosts files as OpenSSH does: patterns, negation, hashed
 * names, ports, @revoked, @cert-authority.
 */
#include "engine/host/knownhosts.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define FILE_MAX (16u << 20)
#define SHA1_LEN 20

/* What decides when lines disagree: the higher wins. */
static const int weight[] = {
	[KNOWN_UNKNOWN] = 0, [KNOWN_AUTHORITY] = 1, [KNOWN_OTHER] = 2,
	[KNOWN_CHANGED] = 3, [KNOWN_OK] = 4, [KNOWN_REVOKED] = 5,
};

struct line {
	char *marker;		/* "@revoked" or NULL */
	char *names, *type, *key;
};

void known_name(char *out, size_t size, const char *host, int port)
{
	if (port == 22)
		snprintf(out, size, "%s", host);
	else
		snprintf(out, size, "[%s]:%d", host, port);
	for (char *p = out; *p; p++)
		*p = (char)tolower((unsigned char)*p);
}

/* |1|salt|hmac-sha1(salt, name)| in base64 */
static bool hash_matches(const char *word, const char *name)
{
	AUTO_FREE char *copy = mem_strdup(word + 3);
	AUTO_FREE uint8_t *salt = NULL, *want = NULL;
	char *bar = strchr(copy, '|');
	uint8_t got[EVP_MAX_MD_SIZE];
	size_t salt_len = 0, want_len = 0;
	unsigned got_len = 0;

	if (!bar)
		return false;
	*bar = '\0';
	salt = io_unbase64(copy, &salt_len);
	want = io_unbase64(bar + 1, &want_len);
	return salt && want && salt_len > 0 && want_len == SHA1_LEN &&
	       HMAC(EVP_sha1(), salt, (int)salt_len, (const uint8_t *)name,
		    strlen(name), got, &got_len) &&
	       got_len == SHA1_LEN && memcmp(got, want, SHA1_LEN) == 0;
}

/* Does the list of patterns mean this host? A negated match means: not at all. */
static bool names_match(char *names, const char *name)
{
	bool match = false;
	char *save = NULL;

	for (char *p = strtok_r(names, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		bool negated = *p == '!';

		p += negated;
		if (strncmp(p, "|1|", 3) == 0) {
			match |= hash_matches(p, name);
			continue;
		}
		for (char *q = p; *q; q++)
			*q = (char)tolower((unsigned char)*q);
		/* "[host]:port" is not a set of letters */
		if (strcmp(p, name) == 0 || (*p != '[' && text_glob(p, name))) {
			if (negated)
				return false;
			match = true;
		}
	}
	return match;
}

static char *next_word(char **at)
{
	char *start = *at + strspn(*at, " \t\r");

	if (!*start)
		return NULL;
	*at = start + strcspn(start, " \t\r");
	if (**at)
		*(*at)++ = '\0';
	return start;
}

static bool parse_line(char *text, struct line *l)
{
	char *at = text;

	memset(l, 0, sizeof(*l));
	l->names = next_word(&at);
	if (!l->names || *l->names == '#')
		return false;
	if (*l->names == '@') {
		l->marker = l->names;
		l->names = next_word(&at);
	}
	l->type = next_word(&at);
	l->key = next_word(&at);
	return l->names && l->type && l->key;
}

static void add_type(struct known_result *r, const char *type)
{
	size_t have = strlen(r->types);

	if (strstr(r->types, type) || have + strlen(type) + 2 > sizeof(r->types))
		return;
	snprintf(r->types + have, sizeof(r->types) - have, "%s%s", have ? "," : "", type);
}

static enum known judge(const struct line *l, const char *type, const char *key)
{
	bool same = type && strcmp(l->type, type) == 0 && strcmp(l->key, key) == 0;

	if (l->marker && strcmp(l->marker, "@revoked") == 0)
		return same ? KNOWN_REVOKED : KNOWN_UNKNOWN;
	if (l->marker && strcmp(l->marker, "@cert-authority") == 0)
		return KNOWN_AUTHORITY;
	if (l->marker)
		return KNOWN_UNKNOWN;
	if (same)
		return KNOWN_OK;
	return type && strcmp(l->type, type) == 0 ? KNOWN_CHANGED : KNOWN_OTHER;
}

static void scan_line(struct known_result *r, const char *file, unsigned number,
		      char *text, const char *name, const char *type, const char *key)
{
	struct line l;
	enum known k;

	if (!parse_line(text, &l))
		return;
	k = judge(&l, type, key);
	/* a revoked key is revoked for everybody whom the line names */
	if (!names_match(l.names, name) || k == KNOWN_UNKNOWN)
		return;
	r->seen++;
	if (!l.marker)
		add_type(r, l.type);
	if (weight[k] > weight[r->known]) {
		r->known = k;
		r->line = number;
		snprintf(r->file, sizeof(r->file), "%s", file);
	}
}

void known_scan(struct known_result *r, const char *file, const char *text, size_t n,
		const char *host, int port, const char *type, const char *key)
{
	AUTO_FREE char *copy = mem_strndup(text, n);
	unsigned number = 0;
	char name[300];

	known_name(name, sizeof(name), host, port);
	for (char *at = copy, *end; *at; at = end) {
		end = at + strcspn(at, "\n");
		if (*end)
			*end++ = '\0';
		scan_line(r, file, ++number, at, name, type, key);
	}
}

void known_scan_file(struct known_result *r, const char *file, const char *host,
		     int port, const char *type, const char *key)
{
	size_t n = 0;
	AUTO_FREE char *text = io_read_file(AT_FDCWD, file, FILE_MAX, &n);

	if (text)
		known_scan(r, file, text, n, host, port, type, key);
}
