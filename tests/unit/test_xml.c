/* SPDX-License-Identifier: Apache-2.0
 * test_xml - the XML writer, the reader, and what is read of a domain.
 */
#include "modules/lib/domain.h"
#include "modules/lib/xml.h"
#include "modules/lib/xmlread.h"

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

/* ---- reading --------------------------------------------------------------------- */

static json_t *read_text(const char *text, struct err *e)
{
	return xml_read(text, strlen(text), e);
}

static void xml_is_read_as_it_was_written(void **state)
{
	AUTO_JSON *root = read_text(
		"<?xml version='1.0'?>\n<!-- a <note> -->\n<domain type=\"k&#x41;&amp;&quot;\" "
		"id = '7'>\n <os><type>h<![CDATA[<v>]]>m &lt;&#228;</type></os><a/>\n</domain>\n",
		NULL);

	(void)state;
	assert_non_null(root);
	assert_string_equal(xml_word(root, "", "type", ""), "kA&\"");
	assert_string_equal(xml_word(root, "", "id", ""), "7");
	assert_string_equal(xml_word(root, "os/type", NULL, ""), "h<v>m <\xc3\xa4");
	assert_string_equal(xml_word(root, "a", NULL, "?"), "");
	assert_string_equal(xml_word(root, "os/kernel", NULL, "none"), "none");
	assert_string_equal(xml_word(root, "os", "firmware", "none"), "none");
}

static void what_is_no_xml_is_refused_with_its_line(void **state)
{
	static const struct { const char *text, *says; } bad[] = {
		{ "", "does not begin" }, { "plain", "does not begin" },
		{ "<a>\n<b>\n</a>", "line 3" }, { "<a", "too early" }, { "<a>", "too early" },
		{ "<a b>", "without value" }, { "<a b=c/>", "without quotes" },
		{ "<a b='1' b='2'/>", "twice" }, { "<a>&evil;</a>", "entity" },
		{ "<a>&#0;</a>", "entity" }, { "<a>&#xd800;</a>", "entity" },
		{ "<a>&#-1;</a>", "entity" }, { "<a>& b</a>", "entity" },
		{ "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>", "document types" },
		{ "<a>\xff</a>", "UTF-8" }, { "<a><!-- </a>", "too early" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		AUTO_ERR e = { 0 };

		assert_null(read_text(bad[i].text, &e));
		assert_non_null(strstr(e.what, bad[i].says));
	}
}

/* A reader that stops at any byte must neither crash nor take half for the whole. */
static void no_beginning_of_a_document_is_a_document(void **state)
{
	static const char text[] = "<a b='&lt;1'><!-- c --><d>e<![CDATA[f]]></d><g h=\"i\"/></a>";

	(void)state;
	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		AUTO_FREE char *part = mem_printf("%.*s", (int)n, text);
		AUTO_ERR e = { 0 };

		assert_null(read_text(part, &e));
		assert_non_null(e.what);
	}
}

static void nesting_has_an_end(void **state)
{
	AUTO_STR text = { 0 };
	AUTO_ERR e = { 0 };

	(void)state;
	for (int i = 0; i < 100000; i++)
		str_add(&text, "<a>");
	assert_null(xml_read(text.s, text.len, &e));
	assert_non_null(strstr(e.what, "too many"));
}

/* ---- a domain ---------------------------------------------------------------------- */

#define DOMAIN(os, devices) "<domain type='kvm'><name>erp</name><memory unit='KiB'>2097152" \
	"</memory><vcpu placement='static'>3</vcpu>" os "<clock offset='localtime'/><devices>" \
	devices "</devices></domain>"
#define BIOS "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>"
#define ROOT "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>" \
	"<source file='/srv/a &amp; b.qcow2'/><target dev='vda' bus='virtio'/></disk>"
#define NIC(mac) "<interface type='bridge'><mac address='" mac "'/><source bridge='br0'/>" \
	"<model type='virtio'/></interface>"

static json_t *domain_of(const char *xml, struct err *e)
{
	return domain_read("erp", xml, strlen(xml), e);
}

static void a_domain_is_described_as_libvirt_has_it(void **state)
{
	AUTO_ERR e = { 0 };
	AUTO_JSON *d = domain_of(DOMAIN(BIOS, ROOT
		"<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"
		"<disk type='block' device='disk'><driver type='raw'/><source dev='/dev/vg/data'/>"
		"<target dev='vdb'/></disk>" NIC("52:54:00:00:00:01")), &e);

	(void)state;
	assert_non_null(d);
	assert_int_equal(json_object_size(jget(d, "disks")), 2);
	assert_string_equal(jstr(d, "disks.vda.image", ""), "/srv/a & b.qcow2");
	assert_string_equal(jstr(d, "disks.vda.format", ""), "qcow2");
	assert_string_equal(jstr(d, "disks.vdb.path", ""), "/dev/vg/data");
	assert_int_equal(jint(d, "cpus", 0), 3);
	assert_int_equal(jint(d, "memory", 0), 2147483648LL);
	assert_string_equal(jstr(d, "clock", ""), "localtime");
	assert_string_equal(jstr(d, "firmware", ""), "bios");
}

static void a_domain_tells_its_firmware_in_two_ways(void **state)
{
	AUTO_JSON *said = domain_of(DOMAIN("<os firmware='efi'><type>hvm</type></os>", ROOT), NULL);
	AUTO_JSON *flash = domain_of(DOMAIN("<os><type>hvm</type><loader readonly='yes' "
		"type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader></os>", ROOT), NULL);

	(void)state;
	assert_string_equal(jstr(said, "firmware", ""), "uefi");
	assert_string_equal(jstr(flash, "firmware", ""), "uefi");
}

static void a_disk_that_is_no_file_or_device_is_refused(void **state)
{
	AUTO_ERR e = { 0 };

	(void)state;
	assert_null(domain_of(DOMAIN(BIOS, "<disk type='network' device='disk'><source "
		"protocol='rbd' name='p/i'/><target dev='vda'/></disk>"), &e));
	assert_non_null(strstr(e.what, "disk 'vda'"));
	assert_non_null(strstr(e.what, "network"));
	err_clear(&e);
	assert_null(domain_of(DOMAIN(BIOS, NIC("52:54:00:00:00:01")), &e));
	assert_non_null(strstr(e.what, "no disk"));
	err_clear(&e);
	assert_null(domain_of(DOMAIN(BIOS, "<disk type='file'><source file='/x'/>"
				     "<target dev='../x'/></disk>"), &e));
	assert_non_null(strstr(e.what, "no name"));
}

static void nics_get_the_names_that_the_plan_gives(void **state)
{
	AUTO_JSON *two = domain_of(DOMAIN(BIOS, ROOT NIC("52:54:00:00:00:01")
					  NIC("52:54:00:00:00:02")), NULL);
	AUTO_JSON *one = domain_of(DOMAIN(BIOS, ROOT NIC("52:54:00:00:00:01")), NULL);
	AUTO_JSON *by_mac = json_pack("{s:{s:{s:{s:s}}}}", "source", "nics", "ens3", "mac",
				      "52:54:00:00:00:02");
	AUTO_JSON *only = json_pack("{s:{s:{s:{s:s}}}}", "target", "nics", "ens5", "network",
				    "br0");
	AUTO_JSON *a = domain_nics(two, by_mac), *b = domain_nics(one, only);
	AUTO_JSON *c = domain_nics(two, only);

	(void)state;
	assert_string_equal(jstr(json_array_get(a, 0), "name", ""), "nic0");
	assert_false(jbool(json_array_get(a, 0), "named", true));
	assert_string_equal(jstr(json_array_get(a, 1), "name", ""), "ens3");
	assert_true(jbool(json_array_get(a, 1), "named", false));
	assert_string_equal(jstr(json_array_get(a, 1), "network", ""), "br0");
	assert_string_equal(jstr(json_array_get(b, 0), "name", ""), "ens5");
	assert_string_equal(jstr(json_array_get(c, 0), "name", ""), "nic0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(xml_nests_and_closes_what_was_left_open),
		cmocka_unit_test(xml_lets_no_value_become_markup),
		cmocka_unit_test(xml_is_read_as_it_was_written),
		cmocka_unit_test(what_is_no_xml_is_refused_with_its_line),
		cmocka_unit_test(no_beginning_of_a_document_is_a_document),
		cmocka_unit_test(nesting_has_an_end),
		cmocka_unit_test(a_domain_is_described_as_libvirt_has_it),
		cmocka_unit_test(a_domain_tells_its_firmware_in_two_ways),
		cmocka_unit_test(a_disk_that_is_no_file_or_device_is_refused),
		cmocka_unit_test(nics_get_the_names_that_the_plan_gives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
