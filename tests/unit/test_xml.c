/* SPDX-License-Identifier: Apache-2.0
 * test_xml - the XML writer.
 */
#include "modules/lib/xml.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static void xml_nests_and_closes_what_was_left_open(void **state)
{
	struct xml x = {0};
	AUTO_FREE char *text = NULL;

	(void)state;
	xml_open(&x, "domain");
	xml_attr(&x, "type", "kvm");
	xml_textf(&x, "vcpu", "%d", 4);
	xml_open(&x, "memory");
	xml_attr(&x, "unit", "MiB");
	xml_close_text(&x, "512");
	xml_open(&x, "devices");
	xml_open(&x, "rng");
	xml_attr(&x, "model", "virtio");
	xml_close(&x);
	text = xml_take(&x);
	assert_string_equal(text, "<domain type='kvm'>\n"
				  "  <vcpu>4</vcpu>\n"
				  "  <memory unit='MiB'>512</memory>\n"
				  "  <devices>\n"
				  "    <rng model='virtio'/>\n"
				  "  </devices>\n"
				  "</domain>\n");
}

static void xml_lets_no_value_become_markup(void **state)
{
	struct xml x = {0};
	AUTO_FREE char *text = NULL;

	(void)state;
	xml_open(&x, "a");
	xml_attr(&x, "b", "'/><!-- \"\n");
	xml_text(&x, "c", "</c>&\x1b]0;");
	text = xml_take(&x);
	assert_string_equal(text, "<a b='&apos;/&gt;&lt;!-- &quot;&#10;'>\n"
				  "  <c>&lt;/c&gt;&amp;\xef\xbf\xbd]0;</c>\n"
				  "</a>\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(xml_nests_and_closes_what_was_left_open),
		cmocka_unit_test(xml_lets_no_value_become_markup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
