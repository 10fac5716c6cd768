/* SPDX-License-Identifier: Apache-2.0
 * test_sshconfig - what an OpenSSH configuration asks for in vain.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/host/sshconfig.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char dir[64];

static int setup(void **s)
{
	(void)s;
	strcpy(dir, "/tmp/drover-test.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **s)
{
	(void)s;
	return io_remove_tree(dir);
}

/* The notes for the alias, joined by " | ". */
static void notes_are(const char *config, const char *alias, const char *want)
{
	AUTO_FREE char *path = mem_printf("%s/config", dir);
	__attribute__((cleanup(sshconfig_clear))) struct sshconfig c = { 0 };
	AUTO_STR text = { 0 };
	json_t *one;
	size_t i;

	assert_int_equal(io_write_file(AT_FDCWD, path, config, strlen(config), 0600), 0);
	sshconfig_read(&c, path, "C", dir, alias, "ops");
	json_array_foreach(c.notes, i, one)
		str_addf(&text, "%s%s", i ? " | " : "", json_string_value(one));
	assert_string_equal(text.s ? text.s : "", want);
}

static void what_has_an_effect_is_not_told(void **s)
{
	(void)s;
	notes_are("Host *\n  Port 2222\n  IdentityFile ~/.ssh/x\n  ProxyJump j\n  ServerAliveInterval 5\n"
		  "  IdentitiesOnly no\n  CertificateFile none\n  StrictHostKeyChecking yes\n"
		  "  AddressFamily any\n  SendEnv LANG LC_*\n  HashKnownHosts yes\n", "db1", "");
}

static void what_has_none_is_told_with_its_line(void **s)
{
	(void)s;
	notes_are("# mine\nCertificateFile=~/.ssh/a-cert.pub\nHost db1\n\tpkcs11provider \"/usr/lib/x.so\"\n",
		  "db1", "C:2: CertificateFile has no effect: user certificates are not offered | "
		  "C:4: PKCS11Provider has no effect: keys on a token are used through the ssh agent alone");
}

static void sections_of_others_are_passed_over(void **s)
{
	static const char config[] = "Host web* !web9\n IdentitiesOnly yes\n"
		"Match host db1,db2 user ops\n HostKeyAlias db\n"
		"Match user root\n BindAddress 10.0.0.1\n"
		"Match exec \"test -e /x\"\n ControlMaster auto\n";

	(void)s;
	notes_are(config, "web1", "C:2: IdentitiesOnly has no effect: the ssh agent's keys are "
		  "offered, too | C:7: Match exec is not asked: what follows it is passed over");
	notes_are(config, "web9", "C:7: Match exec is not asked: what follows it is passed over");
	notes_are(config, "db2", "C:4: HostKeyAlias has no effect: known keys are looked up by the "
		  "host's own name | C:7: Match exec is not asked: what follows it is passed over");
}

static void the_first_of_a_keyword_is_told(void **s)
{
	(void)s;
	notes_are("Host db1\n HostKeyAlias a\nHost *\n HostKeyAlias b\n", "db1",
		  "C:2: HostKeyAlias has no effect: known keys are looked up by the host's own name");
}

static void includes_are_followed_and_their_sections_end_with_them(void **s)
{
	AUTO_FREE char *path = mem_printf("%s/more.conf", dir);
	AUTO_FREE char *want = mem_printf("%s/more.conf:2: BindInterface has no effect: the connection "
		"leaves by any interface | C:3: BindAddress has no effect: the connection leaves from "
		"any address", dir);
	static const char more[] = "Host db1\n BindInterface eth0\n"
		"Host other\n Include more.conf\n";

	(void)s;
	assert_int_equal(io_write_file(AT_FDCWD, path, more, strlen(more), 0600), 0);
	notes_are("Host db1\nInclude *.conf\nBindAddress 10.0.0.1\n", "db1", want);
}

static void one_that_includes_itself_comes_to_an_end(void **s)
{
	AUTO_FREE char *want = mem_printf("%s/config:2: BindAddress has no effect: the connection "
					  "leaves from any address", dir);

	(void)s;
	notes_are("Include config\nBindAddress 10.0.0.1\nInclude\nMatch host\nHost\n=\n\"\n",
		  "db1", want);
}

static void read_text(struct sshconfig *c, const char *config, const char *alias)
{
	AUTO_FREE char *path = mem_printf("%s/config", dir);

	assert_int_equal(io_write_file(AT_FDCWD, path, config, strlen(config), 0600), 0);
	sshconfig_read(c, path, "C", dir, alias, NULL);
}

static void the_first_value_counts_and_sections_go_by_the_alias(void **s)
{
	static const char config[] = "Host db1\n HostName %h.example.net\n"
		"Host db*\n User ops\n ProxyJump a,b\n IdentityFile \"~/my keys/x\"\n"
		"Match host *.example.net\n Port 2200\n"
		"Match originalhost *.example.net\n UserKnownHostsFile none\n"
		"Host *\n User other\n Port 22\n ProxyCommand nc %h %p\n";
	__attribute__((cleanup(sshconfig_clear))) struct sshconfig c = { 0 }, d = { 0 };

	(void)s;
	read_text(&c, config, "db1");
	assert_string_equal(c.host, "db1.example.net");
	assert_string_equal(c.user, "ops");
	assert_string_equal(c.port, "2200");
	assert_string_equal(c.identity, "~/my keys/x");
	assert_string_equal(c.proxy_jump, "a,b");
	assert_null(c.proxy_command);
	assert_null(c.known_hosts);
	read_text(&d, config, "web");
	assert_null(d.host);
	assert_string_equal(d.proxy_command, "nc %h %p");
}

static void jumps_become_a_command_from_the_near_end_on(void **s)
{
	static const struct { const char *jumps, *command; } rows[] = {
		{ "j", "ssh -o BatchMode=yes -W '[%h]:%p' 'j'" },
		{ "ops@j:2200", "ssh -o BatchMode=yes -W '[%h]:%p' 'ssh://ops@j:2200'" },
		{ "ssh://j:22", "ssh -o BatchMode=yes -W '[%h]:%p' 'ssh://j:22'" },
		{ "a,b@c,d", "ssh -o BatchMode=yes -J 'a','b@c' -W '[%h]:%p' 'd'" },
		{ "", NULL }, { ",", NULL }, { "a,", NULL }, { ",a", NULL }, { "a,,b", NULL },
		{ "-oX", NULL }, { "a,-oX", NULL }, { "-oX,a", NULL }, { "a;b", NULL },
		{ "$(x)", NULL }, { "a'b,c", NULL },
	};

	(void)s;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *command = sshconfig_jump_command(rows[i].jumps);

		if (rows[i].command)
			assert_string_equal(command, rows[i].command);
		else
			assert_null(command);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_has_an_effect_is_not_told),
		cmocka_unit_test(what_has_none_is_told_with_its_line),
		cmocka_unit_test(sections_of_others_are_passed_over),
		cmocka_unit_test(the_first_of_a_keyword_is_told),
		cmocka_unit_test(includes_are_followed_and_their_sections_end_with_them),
		cmocka_unit_test(one_that_includes_itself_comes_to_an_end),
		cmocka_unit_test(the_first_value_counts_and_sections_go_by_the_alias),
		cmocka_unit_test(jumps_become_a_command_from_the_near_end_on),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
