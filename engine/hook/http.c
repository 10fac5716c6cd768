/* SPDX-License-Identifier: Apache-2.0
 * hook/http - an HTTP GET as text over call.connect.
 */
#include "engine/hook/http.h"
#include "engine/base/mem.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX 65536

struct url {
	char host[64];		/* an address */
	int port;
	const char *path;	/* "" or "/..." */
	char *authority;	/* as written; owned */
};

static bool is_address(const char *s)
{
	unsigned char buf[16];

	return inet_pton(AF_INET, s, buf) == 1 || inet_pton(AF_INET6, s, buf) == 1;
}

/* Blanks and control characters would begin another header or request. */
static bool is_clean(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f)
			return false;
	return true;
}

static char *split_url(const char *url, struct url *u)
{
	const char *p = url + 7, *end = p + strcspn(p, "/?#"), *host = p, *host_end, *colon;
	size_t n;

	if (strncmp(url, "https://", 8) == 0)
		return mem_printf("cannot ask '%s': https is only supported from beside the "
				  "engine; give {at = \"here\"}", url);
	if (strncmp(url, "http://", 7) != 0)
		return mem_printf("cannot ask '%s': it does not begin with http://", url);
	if (!is_clean(url))
		return mem_printf("cannot ask '%s': it has blanks or control characters", url);
	host_end = *p == '[' ? memchr(p, ']', (size_t)(end - p)) : memchr(p, ':', (size_t)(end - p));
	if (*p == '[') {
		if (!host_end)
			return mem_printf("cannot ask '%s': ']' is missing", url);
		host = p + 1;
		colon = host_end[1] == ':' ? host_end + 1 : NULL;
	} else {
		colon = host_end;
		host_end = host_end ? host_end : end;
	}
	n = (size_t)(host_end - host);
	if (n == 0 || n >= sizeof(u->host))
		return mem_printf("cannot ask '%s': no host in it", url);
	memcpy(u->host, host, n);
	u->host[n] = '\0';
	if (strcmp(u->host, "localhost") == 0)
		strcpy(u->host, "127.0.0.1");
	if (!is_address(u->host))
		return mem_printf("cannot ask '%s': hosts resolve no names; give the address, and "
				  "the name as {host = \"%s\"}", url, u->host);
	n = colon ? strspn(colon + 1, "0123456789") : 0;
	u->port = colon ? atoi(colon + 1) : 80;
	if ((colon && (n > 5 || colon + 1 + n != end)) || u->port < 1 || u->port > 65535)
		return mem_printf("cannot ask '%s': the port is wrong", url);
	u->path = end;
	u->authority = mem_strndup(p, (size_t)(end - p));
	return NULL;
}

json_t *http_request(const char *url, const char *host, char **why)
{
	struct url u = {0};
	AUTO_STR text = {0};
	json_t *args;
	size_t n;

	*why = strlen(url) < 7 ? mem_printf("cannot ask '%s': it is no URL", url) :
	       split_url(url, &u);
	if (!*why && host && !is_clean(host))
		*why = mem_printf("cannot ask '%s': the host name is wrong", url);
	if (*why) {
		free(u.authority);
		return NULL;
	}
	n = strcspn(u.path, "#");
	/* 1.0: the server closes when it has said all, and does not chunk. */
	str_addf(&text, "GET %s%.*s HTTP/1.0\r\nHost: %s\r\nUser-Agent: drover\r\n"
		 "Accept: */*\r\nConnection: close\r\n\r\n", *u.path == '/' ? "" : "/", (int)n,
		 u.path, host ? host : u.authority);
	args = json_object();
	jset_str(args, "host", u.host);
	jset_int(args, "port", u.port);
	jset_str(args, "send", text.s);
	jset_int(args, "banner", ANSWER_MAX);
	free(u.authority);
	return args;
}

static json_t *failed(const char *fmt, const char *url, const char *why)
{
	json_t *o = json_object();
	AUTO_STR b = {0};

	str_addf(&b, "cannot ask '%s': ", url);
	str_addf(&b, "%s%s", fmt, why);
	jset_bool(o, "ok", false);
	jset_str(o, "error", b.s);
	return o;
}

/* "Name: value" lines up to the empty one; names in lower case. Returns the body. */
static const char *parse_headers(const char *p, json_t *headers)
{
	while (*p && *p != '\r' && *p != '\n') {
		size_t n = strcspn(p, "\r\n"), name = strcspn(p, ":\r\n");

		if (p[name] == ':' && name < 256 && json_object_size(headers) < 100) {
			AUTO_FREE char *key = mem_strndup(p, name);
			const char *v = p + name + 1;

			for (char *k = key; *k; k++)
				*k = (char)tolower((unsigned char)*k);
			v += strspn(v, " \t");
			jset(headers, key, jtext(v, v < p + n ? (size_t)(p + n - v) : 0));
		}
		p += n;
		p += *p == '\r';
		p += *p == '\n';
	}
	p += *p == '\r';
	p += *p == '\n';
	return p;
}

json_t *http_answer(const char *url, json_t *owned)
{
	AUTO_JSON *answer = owned;
	const char *text = jstr(answer, "result.banner", NULL), *reason;
	json_t *o, *result, *headers;
	int status = 0;

	if (!jbool(answer, "ok", false))
		return json_incref(answer);
	if (!jbool(answer, "result.open", false))
		return failed("", url, jstr(answer, "result.error", "the port is not open"));
	if (!text || !*text)
		return failed("", url, "the server said nothing");
	reason = strchr(text, ' ');
	if (strncmp(text, "HTTP/1.", 7) != 0 || !reason ||
	    sscanf(text + 7, "%*1d %3d", &status) != 1 || status < 100)
		return failed("", url, "the answer is not HTTP");
	o = json_object();
	result = json_object();
	headers = json_object();
	reason++;
	reason += strcspn(reason, " \r\n");
	reason += strspn(reason, " ");
	jset_int(result, "status", status);
	jset(result, "reason", jtext(reason, strcspn(reason, "\r\n")));
	text += strcspn(text, "\n");
	text += *text == '\n';
	text = parse_headers(text, headers);
	jset(result, "headers", headers);
	jset_str(result, "body", text);
	jset_bool(o, "ok", true);
	jset(o, "result", result);
	return o;
}
