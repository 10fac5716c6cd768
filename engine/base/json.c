/* SPDX-License-Identifier: Apache-2.0
 * json - accessors, canonical text and digests over jansson.
 */
#include "engine/base/json.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void json_unref_ptr(json_t **j)
{
	json_decref(*j);
	*j = NULL;
}

json_t *jget(const json_t *o, const char *path)
{
	char key[128];

	while (o && path) {
		const char *dot = strchr(path, '.');
		size_t n = dot ? (size_t)(dot - path) : strlen(path);
		json_t *whole = json_object_get(o, path);

		if (whole)	/* a key that holds a dot itself */
			return whole;
		if (n >= sizeof(key))
			return NULL;
		memcpy(key, path, n);
		key[n] = '\0';
		o = json_object_get(o, key);
		path = dot ? dot + 1 : NULL;
	}
	return (json_t *)(uintptr_t)o;
}

json_t *jfind(const json_t *array, const char *key, const char *text)
{
	json_t *o;
	size_t i;

	json_array_foreach(array, i, o)
		if (strcmp(jstr(o, key, ""), text) == 0)
			return o;
	return NULL;
}

const char *jstr(const json_t *o, const char *path, const char *dflt)
{
	const char *s = json_string_value(jget(o, path));

	return s ? s : dflt;
}

int64_t jint(const json_t *o, const char *path, int64_t dflt)
{
	const json_t *v = jget(o, path);

	if (json_is_integer(v))
		return json_integer_value(v);
	return json_is_real(v) ? (int64_t)json_real_value(v) : dflt;
}

double jreal(const json_t *o, const char *path, double dflt)
{
	const json_t *v = jget(o, path);

	return json_is_number(v) ? json_number_value(v) : dflt;
}

bool jbool(const json_t *o, const char *path, bool dflt)
{
	const json_t *v = jget(o, path);

	return json_is_boolean(v) ? json_is_true(v) : dflt;
}

void jset(json_t *o, const char *key, json_t *value)
{
	if (!value || json_object_set_new_nocheck(o, key, value) < 0)
		json_object_set_new(o, key, json_null());
}

void jset_str(json_t *o, const char *key, const char *s)
{
	jset(o, key, s ? jtext(s, strlen(s)) : json_null());
}

void jset_int(json_t *o, const char *key, int64_t v)
{
	jset(o, key, json_integer(v));
}

void jset_bool(json_t *o, const char *key, bool v)
{
	jset(o, key, json_boolean(v));
}

void jset_strf(json_t *o, const char *key, const char *fmt, ...)
{
	AUTO_FREE char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	s = mem_vprintf(fmt, ap);
	va_end(ap);
	jset_str(o, key, s);
}

void jadd(json_t *array, json_t *value)
{
	json_array_append_new(array, value ? value : json_null());
}

json_t *jtext(const char *s, size_t n)
{
	json_t *j = json_stringn(s, n);
	AUTO_STR clean = {0};

	if (j)
		return j;
	for (size_t i = 0; i < n;) {
		size_t len = 1;

		while (i + len < n && len < 4 && ((unsigned char)s[i + len] & 0xc0) == 0x80)
			len++;
		j = json_stringn(s + i, len);
		str_add(&clean, "");
		if (j)
			str_addn(&clean, s + i, len);
		else
			str_add(&clean, "\xef\xbf\xbd");
		json_decref(j);
		i += len;
	}
	return json_stringn(clean.s, clean.len);
}

char *json_canonical(const json_t *j)
{
	char *s = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

	return s ? s : mem_strdup("null");
}

char *json_pretty(const json_t *j)
{
	AUTO_FREE char *s = json_dumps(j, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENCODE_ANY);

	return mem_printf("%s\n", s ? s : "null");
}

void json_digest(const json_t *j, char hex[65])
{
	AUTO_FREE char *s = json_canonical(j);

	sha256_hex(s, strlen(s), hex);
}

json_t *json_parse(const char *text, size_t n, struct err *e)
{
	json_error_t je;
	json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);

	if (!j)
		err_set(e, ERR_SYSTEM, "cannot read JSON at line %d: %s", je.line, je.text);
	return j;
}
