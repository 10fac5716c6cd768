/* SPDX-License-Identifier: Apache-2.0
 * T=pattern in the environment picks tests by name, in every test program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

__attribute__((constructor)) static void filter_from_environment(void)
{
	const char *t = getenv("T");

	if (t && *t)
		cmocka_set_test_filter(t);
}
