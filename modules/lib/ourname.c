/* SPDX-License-Identifier: Apache-2.0
 * ourname - what a machine's things are called where others keep theirs too.
 */
#include "modules/lib/ourname.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <string.h>

#define PREFIX "drover-"

char *ourname(const struct ctx *c)
{
	AUTO_FREE char *key = mem_printf("%s/%s/%s", jstr(ctx_run(c), "lineage", ""),
					 jstr(ctx_run(c), "plan", ""), ctx_machine_name(c));
	char hex[SHA256_HEX];

	sha256_hex(key, strlen(key), hex);
	return mem_printf(PREFIX "%.16s", hex);
}

bool ourname_is(const char *name)
{
	return strncmp(name, PREFIX, strlen(PREFIX)) == 0 && name[strlen(PREFIX)] &&
		!strchr(name, '/');
}
