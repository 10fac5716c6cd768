/* SPDX-License-Identifier: Apache-2.0
 * virsh - libvirt asked by its own program.
 */
#include "modules/lib/virsh.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/xmlread.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define VIRSH_MS 60000
#define WORDS_MAX 12

/* virsh's last line says why. */
static void say_fault(const char *line, struct err *e)
{
	static const char lead[] = "error: ";

	err_clear(e);
	err_set(e, ERR_STEP, "%s", strncmp(line, lead, strlen(lead)) == 0 ? line + strlen(lead) :
		line);
}

char *virsh_ask(const char *const *words, const char *input, struct err *e)
{
	const char *argv[WORDS_MAX + 3] = { "virsh", "-q" };
	struct proc p = { .argv = argv, .timeout_ms = VIRSH_MS, .max_output = XML_READ_MAX,
		.input = input, .input_len = input ? strlen(input) : 0 };
	char *out = NULL;

	for (size_t i = 0; i < WORDS_MAX && words[i]; i++)
		argv[i + 2] = words[i];
	if (proc_run(&p, e) == 0)
		out = str_take(&p.out);
	else if (p.status == 1 && !p.timed_out && proc_last_line(&p)[0])
		say_fault(proc_last_line(&p), e);
	proc_free(&p);
	return out;
}

int virsh_tell(const char *const *words, const char *input, struct err *e)
{
	AUTO_FREE char *out = virsh_ask(words, input, e);

	return out ? 0 : -1;
}

json_t *virsh_xml(const char *const *words, struct err *e)
{
	AUTO_FREE char *text = virsh_ask(words, NULL, e);

	return text ? xml_read(text, strlen(text), e) : NULL;
}

void virsh_answers_free(struct virsh_answers *a)
{
	mem_free_ptr(&a->text);
	free(a->v);
}

static void split(struct virsh_answers *a, size_t n, const char *mark)
{
	char *at = a->text;

	a->v = mem_alloc(n * sizeof(*a->v));
	for (size_t i = 0; i < n; i++) {
		char *end = strstr(at, mark);

		a->v[i] = at;
		at = end ? end + strlen(mark) : at + strlen(at);
		if (end)
			*end = '\0';
	}
}

int virsh_ask_all(const struct str *commands, size_t n, struct virsh_answers *a, struct err *e)
{
	char mark[33];
	uint8_t r[16];
	const char *one = commands->s;
	AUTO_STR script = { 0 };

	io_random(r, sizeof(r));
	io_hex(r, sizeof(r), mark);
	for (size_t i = 0; i < n; i++, one += strlen(one) + 1)
		str_addf(&script, "%s%s%s%s", i ? "; echo " : "", i ? mark : "", i ? "; " : "", one);
	a->text = virsh_ask((const char *[]){ script.s, NULL }, NULL, e);
	if (!a->text)
		return -1;
	split(a, n, mark);
	return 0;
}

void virsh_add(struct str *commands, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	AUTO_FREE char *one = mem_vprintf(fmt, ap);
	va_end(ap);
	str_addn(commands, one, strlen(one) + 1);
}

char *virsh_quoted(const char *word)
{
	AUTO_STR out = { 0 };

	str_addc(&out, '"');
	for (; *word; word++) {
		if (*word == '"' || *word == '\\')
			str_addc(&out, '\\');
		str_addc(&out, *word);
	}
	str_addc(&out, '"');
	return str_take(&out);
}
