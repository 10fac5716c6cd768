/* SPDX-License-Identifier: Apache-2.0
 * parse - the command line to struct cli: -x, --x=V and --x V alike.
 */
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "engine/cli/cli.h"

#include <stdlib.h>
#include <string.h>

static const char *nearest_verb(const char *word)
{
	const char *names[64];
	size_t n = 0;

	for (; n < verb_count && n < ARRAY_LEN(names); n++)
		names[n] = verbs[n].name;
	return text_near(word, names, n);
}

static const char *nearest_option(const struct verb *v, const char *word)
{
	const char *names[OPT_COUNT];
	size_t n = 0;

	for (int o = 0; o < OPT_COUNT; o++)
		if (option_rows[o].summary && (!v || verb_takes(v, (enum opt)o)))
			names[n++] = option_rows[o].name;
	return text_near(word, names, n);
}

static int bad_verb(const char *word, struct err *e)
{
	const char *near = nearest_verb(word);

	err_set(e, ERR_USAGE, "unknown verb '%s'", word);
	if (near)
		return err_hint(e, "did you mean `drover %s`?", near);
	return err_hint(e, "`drover help` lists the verbs");
}

/* "machine", "m", with n the length before '='; OPT_COUNT when there is none. */
/* Two verbs may give a name different meanings: the verb's own comes first. */
static enum opt find_option(const struct verb *v, const char *name, size_t n)
{
	enum opt found = OPT_COUNT;

	for (int o = 0; o < OPT_COUNT; o++) {
		const struct option_row *r = &option_rows[o];

		if (!(n == 1 && r->letter == name[0]) &&
		    !(strlen(r->name) == n && memcmp(r->name, name, n) == 0))
			continue;
		if (v && verb_takes(v, (enum opt)o))
			return (enum opt)o;
		if (found == OPT_COUNT)
			found = (enum opt)o;
	}
	return found;
}

static int bad_option(const struct verb *v, const char *arg, const char *name,
		      size_t n, struct err *e)
{
	AUTO_FREE char *word = mem_strndup(name, n);
	const char *near = nearest_option(v, word);

	err_set(e, ERR_USAGE, "unknown option '%s'", arg);
	if (near)
		return err_hint(e, "did you mean --%s?", near);
	return err_hint(e, "`drover help%s%s` lists the options", v ? " " : "",
			v ? v->name : "");
}

/* An option that exists, but not for this verb: say where it belongs. */
static int foreign_option(const struct verb *v, enum opt o, struct err *e)
{
	AUTO_STR where = {0};

	for (const struct verb *w = verbs; w->name; w++)
		if (verb_takes(w, o))
			str_addf(&where, "%s%s", where.len ? ", " : "", w->name);
	err_set(e, ERR_USAGE, "`drover %s` takes no option --%s", v->name,
		option_rows[o].name);
	return err_hint(e, "--%s belongs to: %s", option_rows[o].name,
			where.s ? where.s : "nothing");
}

static bool word_among(const char *words, const char *s)
{
	size_t n = strlen(s);

	for (const char *p = words; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
		if (n && strncmp(p, s, n) == 0 && (p[n] == '|' || !p[n]))
			return true;
	return false;
}

static int set_option(struct cli *c, enum opt o, const char *value, struct err *e)
{
	const struct option_row *r = &option_rows[o];

	if (r->words && !word_among(r->words, value)) {
		AUTO_FREE char *list = mem_strdup(r->words);

		for (char *p = list; (p = strchr(p, '|'));)
			*p = ' ';
		err_set(e, ERR_USAGE, "option --%s: '%s' is no %s", r->name, value,
			r->value);
		return err_hint(e, "one of: %s", list);
	}
	if (r->value && !*value) {
		err_set(e, ERR_USAGE, "option --%s: the value is empty", r->name);
		return err_hint(e, "--%s %s: %s", r->name, r->value, r->summary);
	}
	if (r->value && c->opt[o] && strcmp(c->opt[o], value) != 0) {
		err_set(e, ERR_USAGE, "option --%s is given twice: '%s' and '%s'",
			r->name, c->opt[o], value);
		return err_hint(e, "give it once");
	}
	if (o == OPT_VERBOSE)
		c->verbose++;
	c->opt[o] = value;
	return 0;
}

/* One argument that begins with '-'. Returns how many arguments it took, or -1. */
static int take_option(struct cli *c, char **argv, struct err *e)
{
	const char *arg = argv[0], *name = arg + (arg[1] == '-' ? 2 : 1);
	const char *eq = strchr(name, '=');
	size_t n = eq ? (size_t)(eq - name) : strlen(name);
	enum opt o = find_option(c->verb, name, n);

	if (o == OPT_COUNT && n > 1 && strspn(name, "v") == n) {
		c->verbose += (int)n;
		c->opt[OPT_VERBOSE] = "";
		return 1;
	}
	if (o == OPT_COUNT)
		return bad_option(c->verb, arg, name, n, e);
	if (c->verb && !verb_takes(c->verb, o))
		return foreign_option(c->verb, o, e);
	if (!option_rows[o].value) {
		if (!eq)
			return set_option(c, o, "", e) < 0 ? -1 : 1;
		err_set(e, ERR_USAGE, "option --%s takes no value", option_rows[o].name);
		return err_hint(e, "write --%s alone", option_rows[o].name);
	}
	if (eq)
		return set_option(c, o, eq + 1, e) < 0 ? -1 : 1;
	if (!argv[1]) {
		err_set(e, ERR_USAGE, "option --%s needs a value", option_rows[o].name);
		return err_hint(e, "--%s %s: %s", option_rows[o].name,
				option_rows[o].value, option_rows[o].summary);
	}
	return set_option(c, o, argv[1], e) < 0 ? -1 : 2;
}

static int check_count(struct cli *c, struct err *e)
{
	const struct verb *v = c->verb;

	if (c->arg_count < v->min_args) {
		err_set(e, ERR_USAGE, "`drover %s` needs %s", v->name, v->args);
		return err_hint(e, "usage: drover %s [options] %s", v->name, v->args);
	}
	if (v->max_args >= 0 && c->arg_count > v->max_args) {
		err_set(e, ERR_USAGE, "`drover %s` does not know what to do with '%s'",
			v->name, c->args[v->max_args]);
		return err_hint(e, "usage: drover %s [options] %s", v->name, v->args);
	}
	return 0;
}

static void decide_color(struct cli *c)
{
	const char *when = c->opt[OPT_COLOR], *none = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	if (when && strcmp(when, "auto") != 0)
		c->color = strcmp(when, "always") == 0;
	else
		c->color = c->tty_out && !(none && *none) &&
			   !(term && strcmp(term, "dumb") == 0);
	c->json = c->opt[OPT_JSON] != NULL;
}

/* Options that stand before the verb are judged once it is known. */
static int check_early(struct cli *c, struct err *e)
{
	for (int o = OPT_SHARED_COUNT; o < OPT_COUNT; o++)
		if (c->opt[o] && !verb_takes(c->verb, (enum opt)o))
			return foreign_option(c->verb, (enum opt)o, e);
	return 0;
}

static int take_word(struct cli *c, const char *word, struct err *e)
{
	if (!c->verb) {
		c->verb = verb_find(word);
		return c->verb ? check_early(c, e) : bad_verb(word, e);
	}
	if (c->arg_count == (int)ARRAY_LEN(c->args)) {
		err_set(e, ERR_USAGE, "too many arguments");
		return err_hint(e, "at most %zu", ARRAY_LEN(c->args));
	}
	c->args[c->arg_count++] = word;
	return 0;
}

int cli_parse(struct cli *c, int argc, char **argv, struct err *e)
{
	bool words_only = false;

	for (int i = 1; i < argc; i++) {
		if (!words_only && strcmp(argv[i], "--") == 0) {
			words_only = true;
		} else if (!words_only && argv[i][0] == '-' && argv[i][1]) {
			int took = take_option(c, argv + i, e);

			if (took < 0)
				return -1;
			i += took - 1;
		} else if (take_word(c, argv[i], e) < 0) {
			return -1;
		}
	}
	decide_color(c);
	if (c->opt[OPT_VERSION] && !c->opt[OPT_HELP]) {
		c->arg_count = 0;
		c->verb = verb_find("version");
		return 0;
	}
	if (c->opt[OPT_HELP] || !c->verb) {
		c->arg_count = 0;
		if (c->verb && strcmp(c->verb->name, "help") != 0)
			c->args[c->arg_count++] = c->verb->name;
		c->verb = verb_find("help");
		return 0;
	}
	return check_count(c, e);
}
