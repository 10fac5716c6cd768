/* SPDX-License-Identifier: Apache-2.0
 * test_fence - the network of a test copy, which leads nowhere.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/fence.h"
#include "tests/unit/bootrig.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

static void fence_stands_beside_the_guest_in_its_subnet(void **state)
{
	static const struct { const char *address, *gateway, *want; } rows[] = {
		{ "10.1.0.5/24", "10.1.0.1", "10.1.0.1/24" },
		{ "10.1.0.5/24", NULL, "10.1.0.1/24" },
		{ "10.1.0.1/24", NULL, "10.1.0.2/24" },
		{ "10.1.0.5/24", "10.2.0.1", "10.1.0.1/24" },
		{ "10.1.0.5", NULL, "10.1.0.1/24" },
		{ "fd00::5/64", NULL, "fd00::1/64" },
		{ "10.1.0.5/32", NULL, NULL },
		{ "dhcp", NULL, NULL },
		{ NULL, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char out[80] = "";
		bool got = fence_beside(rows[i].address, rows[i].gateway, out);

		assert_int_equal(got, rows[i].want != NULL);
		if (got)
			assert_string_equal(out, rows[i].want);
	}
}

/* What connect(2) says from inside. */
static int errno_inside(int ns, const char *address, int port)
{
	AUTO_FD home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	AUTO_FD fd = -1;
	int rc;

	inet_pton(AF_INET, address, &a.sin_addr);
	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	rc = connect(fd, (struct sockaddr *)&a, sizeof(a));
	return rc < 0 ? errno : 0;
}

static void fence_has_no_way_out(void **state)
{
	AUTO_JSON *nics = json_pack("[{s:s,s:s,s:s}]", "name", "eth0", "tap", "drvtest0",
				    "address", "10.77.0.5/24");
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof(a);
	AUTO_FD outside = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	AUTO_FD ns = -1;
	AUTO_ERR e = {0};
	char name[80];

	(void)state;
	if (!bt_can_run())
		skip();
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(outside, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(outside, 4), 0);
	assert_int_equal(getsockname(outside, (struct sockaddr *)&a, &n), 0);
	fence_name("fence-test", name);
	if (fence_make(name, nics, &e) < 0)
		fail_msg("%s", e.what);
	ns = fence_open(name, &e);
	assert_true(ns >= 0);
	assert_int_equal(errno_inside(ns, "127.0.0.1", ntohs(a.sin_port)), ECONNREFUSED);
	assert_int_equal(errno_inside(ns, "192.0.2.1", 80), ENETUNREACH);
	assert_int_equal(fence_remove(name, &e), 0);
	assert_false(fence_there(name));
	assert_int_equal(fence_remove(name, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fence_stands_beside_the_guest_in_its_subnet),
		cmocka_unit_test(fence_has_no_way_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
