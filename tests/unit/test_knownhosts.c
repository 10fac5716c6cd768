/* SPDX-License-Identifier: Apache-2.0
 * test_knownhosts - known_hosts files, line by line.
 */
#include "engine/host/knownhosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#define ED "ssh-ed25519 AAAAC3Nz"
#define ED2 "ssh-ed25519 AAAAOTHER"
#define RSA "ssh-rsa AAAAB3Nz"

static enum known ask(const char *text, const char *host, int port)
{
	struct known_result r = KNOWN_START;

	known_scan(&r, "file", text, strlen(text), host, port, "ssh-ed25519", "AAAAC3Nz");
	return r.known;
}

static void a_listed_key_is_good(void **state)
{
	(void)state;
	assert_int_equal(ask("db1 " ED "\n", "db1", 22), KNOWN_OK);
	assert_int_equal(ask("db1 " ED, "DB1", 22), KNOWN_OK);
	assert_int_equal(ask("x,db1,y " ED " a comment\r\n", "db1", 22), KNOWN_OK);
	assert_int_equal(ask("*.example.net " ED "\n", "db1.example.net", 22), KNOWN_OK);
	assert_int_equal(ask("10.0.0.? " ED "\n", "10.0.0.7", 22), KNOWN_OK);
}

static void what_is_not_listed_is_unknown(void **state)
{
	(void)state;
	assert_int_equal(ask("", "db1", 22), KNOWN_UNKNOWN);
	assert_int_equal(ask("# db1 " ED "\n", "db1", 22), KNOWN_UNKNOWN);
	assert_int_equal(ask("db2 " ED "\ndb1\ndb1 ssh-ed25519\n", "db1", 22), KNOWN_UNKNOWN);
	assert_int_equal(ask("*,!db1 " ED "\n", "db1", 22), KNOWN_UNKNOWN);
	assert_int_equal(ask("!db1,* " ED "\n", "db1", 22), KNOWN_UNKNOWN);
}

static void a_port_is_part_of_the_name(void **state)
{
	(void)state;
	assert_int_equal(ask("[db1]:2222 " ED "\n", "db1", 2222), KNOWN_OK);
	assert_int_equal(ask("[db1]:2222 " ED "\n", "db1", 22), KNOWN_UNKNOWN);
	assert_int_equal(ask("db1 " ED "\n", "db1", 2222), KNOWN_UNKNOWN);
	assert_int_equal(ask("[::1]:2222 " ED "\n", "::1", 2222), KNOWN_OK);
}

static void hashed_names_are_understood(void **state)
{
	/* made by ssh-keygen -H of "db1" */
	static const char db1[] = "|1|8slpJ6zaEIWHWsCBQAYZODDvIrY=|/fidVfOgl8og5zruTHI4z/ISTe4= " ED "\n";

	(void)state;
	assert_int_equal(ask(db1, "db1", 22), KNOWN_OK);
	assert_int_equal(ask(db1, "db2", 22), KNOWN_UNKNOWN);
	assert_int_equal(ask("|1|bad|worse| " ED "\n", "db1", 22), KNOWN_UNKNOWN);
	assert_int_equal(ask("|1| " ED "\n", "db1", 22), KNOWN_UNKNOWN);
}

static void another_key_means_changed(void **state)
{
	(void)state;
	assert_int_equal(ask("db1 " ED2 "\n", "db1", 22), KNOWN_CHANGED);
	assert_int_equal(ask("db1 " RSA "\n", "db1", 22), KNOWN_OTHER);
	assert_int_equal(ask("db1 " ED2 "\ndb1 " ED "\n", "db1", 22), KNOWN_OK);
}

static void a_revoked_key_is_never_good(void **state)
{
	(void)state;
	assert_int_equal(ask("@revoked * " ED "\n", "db1", 22), KNOWN_REVOKED);
	assert_int_equal(ask("db1 " ED "\n@revoked db1 " ED "\n", "db1", 22), KNOWN_REVOKED);
	assert_int_equal(ask("@revoked db1 " ED "\ndb1 " ED "\n", "db1", 22), KNOWN_REVOKED);
	/* another key is revoked, ours is fine */
	assert_int_equal(ask("@revoked * " ED2 "\ndb1 " ED "\n", "db1", 22), KNOWN_OK);
	assert_int_equal(ask("@revoked * " ED2 "\n", "db1", 22), KNOWN_UNKNOWN);
}

static void an_authority_is_told_apart(void **state)
{
	(void)state;
	assert_int_equal(ask("@cert-authority * " ED "\n", "db1", 22), KNOWN_AUTHORITY);
	assert_int_equal(ask("@cert-authority * " RSA "\ndb1 " ED "\n", "db1", 22), KNOWN_OK);
	assert_int_equal(ask("@new-marker * " ED "\n", "db1", 22), KNOWN_UNKNOWN);
}

static void the_place_and_the_types_are_told(void **state)
{
	struct known_result r = KNOWN_START;
	static const char text[] = "# first\ndb1 " RSA "\ndb1 " ED2 "\n";

	(void)state;
	known_scan(&r, "/some/file", text, strlen(text), "db1", 22, "ssh-ed25519", "AAAAC3Nz");
	assert_int_equal(r.known, KNOWN_CHANGED);
	assert_string_equal(r.file, "/some/file");
	assert_int_equal(r.line, 3);
	assert_string_equal(r.types, "ssh-rsa,ssh-ed25519");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_listed_key_is_good),
		cmocka_unit_test(what_is_not_listed_is_unknown),
		cmocka_unit_test(a_port_is_part_of_the_name),
		cmocka_unit_test(hashed_names_are_understood),
		cmocka_unit_test(another_key_means_changed),
		cmocka_unit_test(a_revoked_key_is_never_good),
		cmocka_unit_test(an_authority_is_told_apart),
		cmocka_unit_test(the_place_and_the_types_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
