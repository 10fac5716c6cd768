/* SPDX-License-Identifier: Apache-2.0
 * hook/fetch - HTTP and HTTPS from beside the engine, by libcurl.
 */
#include "engine/hook/fetch.h"
#include "engine/base/mem.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX (1u << 20)
#define HEADERS_MAX 100

struct answer {
	struct str body;
	bool truncated;
	json_t *headers;
	char *reason;		/* of the last status line; owned */
};

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;
	size_t room = BODY_MAX - a->body.len, take = size * n < room ? size * n : room;

	str_addn(&a->body, p, take);
	a->truncated = a->truncated || take < size * n;
	return take;		/* less than all ends the transfer */
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;
	size_t len = size * n;
	AUTO_FREE char *line = mem_strndup(p, len);
	char *colon = strchr(line, ':'), *v;

	line[strcspn(line, "\r\n")] = '\0';
	if (strncmp(line, "HTTP/", 5) == 0) {
		v = strchr(line, ' ');
		v = v ? strchr(v + 1, ' ') : NULL;
		free(a->reason);
		a->reason = mem_strdup(v ? v + 1 : "");
		json_object_clear(a->headers);
	} else if (colon && json_object_size(a->headers) < HEADERS_MAX) {
		*colon = '\0';
		for (char *k = line; *k; k++)
			*k = (char)tolower((unsigned char)*k);
		v = colon + 1 + strspn(colon + 1, " \t");
		jset(a->headers, line, jtext(v, strlen(v)));
	}
	return len;
}

static CURL *prepare(const json_t *job, struct answer *a, struct curl_slist **list)
{
	const char *host = jstr(job, "host", NULL);
	CURL *c = curl_easy_init();

	if (!c)
		return NULL;
	if (host) {
		AUTO_FREE char *line = mem_printf("Host: %s", host);

		*list = curl_slist_append(*list, line);
	}
	curl_easy_setopt(c, CURLOPT_URL, jstr(job, "url", ""));
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, *list);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_USERAGENT, "drover");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)jint(job, "timeout_ms", 10000));
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, a);
	return c;
}

static json_t *result_of(const json_t *job, CURL *c, struct answer *a, CURLcode rc)
{
	json_t *o = json_object(), *vol = json_object();
	long status = 0;

	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	if ((rc != CURLE_OK && !(rc == CURLE_WRITE_ERROR && a->truncated)) || status == 0) {
		json_t *error = json_object();

		jset_strf(error, "text", "cannot ask '%s': %s", jstr(job, "url", ""),
			  rc ? curl_easy_strerror(rc) : "the answer is not HTTP");
		jset(o, "error", error);
		jset_bool(o, "ok", false);
		json_decref(vol);
		return o;
	}
	jset_int(vol, "status", status);
	jset_str(vol, "reason", a->reason ? a->reason : "");
	json_object_set(vol, "headers", a->headers);
	jset(vol, "body", jtext(a->body.s ? a->body.s : "", a->body.len));
	jset_bool(vol, "truncated", a->truncated);
	jset_bool(o, "ok", true);
	jset(o, "volatile", vol);
	return o;
}

json_t *fetch_run(const json_t *job)
{
	struct answer a = { .headers = json_object() };
	struct curl_slist *list = NULL;
	json_t *o;
	CURL *c;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	c = prepare(job, &a, &list);
	if (!c)
		abort();	/* no memory */
	o = result_of(job, c, &a, curl_easy_perform(c));
	curl_easy_cleanup(c);
	curl_slist_free_all(list);
	json_decref(a.headers);
	free(a.reason);
	str_free(&a.body);
	return o;
}
