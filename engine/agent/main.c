/* SPDX-License-Identifier: Apache-2.0
 * main - the agent's command line. People only ever need --call and --version.
 */
#include "engine/agent/attach.h"
#include "engine/agent/child.h"
#include "engine/agent/serve.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX (16u << 20)

static const char usage[] =
	"usage: drover-agent --call MODULE probe|apply|undo [--stream-fd N] [--yes|--no] < input.json\n"
	"       drover-agent --serve NONCE [--expect SHA256] [--remove DIR]\n"
	"       drover-agent --attach SOCKET STEP NONCE\n"
	"       drover-agent --version\n"
	"\n"
	"--call runs one module here, without an engine: its events and its result are\n"
	"printed as lines of JSON; what must be durable counts as durable at once.\n"
	"--serve and --attach are for the engine.\n";

static int fail_usage(void)
{
	fputs(usage, stderr);
	return 100;
}

static void print_line(const json_t *j, void *arg)
{
	(void)arg;
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
}

/* All of stdin as JSON; nothing at all counts as {}. */
static json_t *read_input(struct err *e)
{
	AUTO_STR text = { 0 };
	char buf[65536];
	ssize_t n;

	while ((n = read(0, buf, sizeof(buf))) > 0) {
		str_addn(&text, buf, (size_t)n);
		if (text.len > INPUT_MAX) {
			err_set(e, ERR_USAGE, "cannot read the input: it has more than 16 MiB");
			return NULL;
		}
	}
	if (text.len == 0)
		return json_object();
	return json_parse(text.s, text.len, e);
}

static int do_call(int argc, char **argv)
{
	struct child_spec spec = { .step = 1, .stream = -1 };
	AUTO_JSON *input = NULL, *result = NULL;
	AUTO_ERR e = { 0 };
	int yes = -1;

	if (argc < 2)
		return fail_usage();
	spec.module = argv[0];
	spec.op = argv[1];
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--yes") == 0)
			yes = 1;
		else if (strcmp(argv[i], "--no") == 0)
			yes = 0;
		else if (strcmp(argv[i], "--stream-fd") == 0 && i + 1 < argc)
			spec.stream = atoi(argv[++i]);
		else
			return fail_usage();
	}
	input = read_input(&e);
	if (!input) {
		err_print(stderr, &e);
		return 100;
	}
	spec.input = input;
	result = child_call(&spec, yes, print_line, NULL);
	print_line(result, NULL);
	return jbool(result, "ok", false) ? 0 : 1;
}

static int do_serve(int argc, char **argv)
{
	struct serve_options o = { 0 };

	if (argc < 1)
		return fail_usage();
	o.nonce = argv[0];
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--expect") == 0)
			o.expect = argv[i + 1];
		else if (strcmp(argv[i], "--remove") == 0)
			o.remove = argv[i + 1];
		else
			return fail_usage();
	}
	return serve(&o);
}

int main(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], "--call") == 0)
		return do_call(argc - 2, argv + 2);
	if (argc >= 3 && strcmp(argv[1], "--serve") == 0)
		return do_serve(argc - 2, argv + 2);
	if (argc == 5 && strcmp(argv[1], "--attach") == 0)
		return attach_run(argv[2], argv[3], argv[4]);
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return printf("drover-agent %s\n", DROVER_VERSION) < 0;
	return fail_usage();
}
