/* SPDX-License-Identifier: Apache-2.0
 * main - parse, dispatch, close.
 */
#include "engine/cli/cli.h"
#include "engine/hook/child.h"

#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <string.h>

int main(int argc, char **argv)
{
	AUTO_ERR e = {0};
	struct cli c;

	/* The engine starts itself again for each check (engine/hook). */
	if (argc == 2 && strcmp(argv[1], HOOK_CHILD_ARG) == 0)
		return hook_child_main();
	setlocale(LC_CTYPE, "");
	if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		setlocale(LC_CTYPE, "C.UTF-8");	/* widths; plans and hosts speak UTF-8 */
	signal(SIGPIPE, SIG_IGN);
	cli_init(&c);
	if (cli_parse(&c, argc, argv, &e) < 0)
		return cli_fail(&c, &e);
	return cli_close(&c, c.verb->run(&c));
}
