/* SPDX-License-Identifier: Apache-2.0
 * fence - a network namespace with no way out, by the `ip` program.
 */
#include "modules/lib/fence.h"

#include "engine/base/mem.h"
#include "engine/base/proc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IP_MS 20000

void fence_name(const char *machine, char out[80])
{
	snprintf(out, 80, "drover-%.64s", machine);
}

static char *path_of(const char *name)
{
	return mem_printf("/run/netns/%s", name);
}

bool fence_there(const char *name)
{
	AUTO_FREE char *path = path_of(name);

	return access(path, F_OK) == 0;
}

int fence_open(const char *name, struct err *e)
{
	AUTO_FREE char *path = path_of(name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? err_sys(e, "cannot enter the fence '%s'", name) : fd;
}

static int run_ip(const char *const *argv, const struct str *script, struct err *e)
{
	struct proc p = { .argv = argv, .timeout_ms = IP_MS,
			  .input = script ? script->s : NULL,
			  .input_len = script ? script->len : 0 };
	int rc = proc_run(&p, e);

	proc_free(&p);
	return rc;
}

/* ---- addresses ----------------------------------------------------------------- */

struct addr {
	int family;
	unsigned char b[16];
	unsigned bytes, prefix;
};

static bool parse(const char *text, struct addr *a)
{
	char plain[64];
	size_t n = text ? strcspn(text, "/") : 0;

	if (n == 0 || n >= sizeof(plain))
		return false;
	memcpy(plain, text, n);
	plain[n] = '\0';
	*a = (struct addr){ .family = strchr(plain, ':') ? AF_INET6 : AF_INET };
	a->bytes = a->family == AF_INET ? 4 : 16;
	a->prefix = text[n] ? (unsigned)atoi(text + n + 1) :
			      (a->family == AF_INET ? 24 : 64);
	return inet_pton(a->family, plain, a->b) == 1 && a->prefix > 0 &&
	       a->prefix < a->bytes * 8;
}

static bool same_subnet(const struct addr *a, const struct addr *b)
{
	for (unsigned bit = 0; bit < a->prefix; bit++)
		if ((a->b[bit / 8] ^ b->b[bit / 8]) & (0x80u >> (bit % 8)))
			return false;
	return a->family == b->family;
}

static void print(const struct addr *a, unsigned prefix, char out[80])
{
	char plain[INET6_ADDRSTRLEN];

	inet_ntop(a->family, a->b, plain, sizeof(plain));
	snprintf(out, 80, "%s/%u", plain, prefix);
}

bool fence_beside(const char *address, const char *gateway, char out[80])
{
	struct addr guest, other;

	if (!parse(address, &guest))
		return false;
	if (parse(gateway, &other) && same_subnet(&guest, &other) &&
	    memcmp(guest.b, other.b, guest.bytes) != 0) {
		print(&other, guest.prefix, out);
		return true;
	}
	other = guest;	/* the subnet's first address, or its second */
	for (unsigned bit = guest.prefix; bit < guest.bytes * 8; bit++)
		other.b[bit / 8] &= (unsigned char)~(0x80u >> (bit % 8));
	other.b[guest.bytes - 1] |= 1;
	if (memcmp(guest.b, other.b, guest.bytes) == 0)
		other.b[guest.bytes - 1] ^= 3;
	if (!same_subnet(&guest, &other))
		return false;
	print(&other, guest.prefix, out);
	return true;
}

/* ---- the namespace ------------------------------------------------------------- */

static bool word_ok(const char *s)
{
	return s[0] && s[0] != '-' && strlen(s) < IFNAMSIZ &&
	       s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			   "0123456789._-")] == '\0';
}

static int script_of(const json_t *nics, struct str *s, struct err *e)
{
	const json_t *nic;
	size_t i;

	str_add(s, "link set lo up\n");
	json_array_foreach(nics, i, nic) {
		const char *tap = jstr(nic, "tap", "");
		char beside[80];

		if (!word_ok(tap))
			return err_set(e, ERR_STEP, "cannot fence NIC '%s': '%s' is no "
				       "interface name", jstr(nic, "name", ""), tap);
		str_addf(s, "link add br%zu type bridge\nlink set br%zu up\n", i, i);
		if (fence_beside(jstr(nic, "address", NULL), jstr(nic, "gateway", NULL), beside))
			str_addf(s, "addr add %s dev br%zu%s\n", beside, i,
				 strchr(beside, ':') ? " nodad" : "");
		str_addf(s, "tuntap add dev %s mode tap\nlink set %s master br%zu\n"
			 "link set %s up\n", tap, tap, i, tap);
	}
	return 0;
}

int fence_make(const char *name, const json_t *nics, struct err *e)
{
	const char *const add[] = { "ip", "netns", "add", name, NULL };
	const char *const fill[] = { "ip", "-n", name, "-batch", "-", NULL };
	AUTO_STR script = {0};

	if (fence_remove(name, e) < 0 || script_of(nics, &script, e) < 0 ||
	    run_ip(add, NULL, e) < 0)
		return err_wrap(e, "cannot make the fence '%s'", name);
	if (run_ip(fill, &script, e) == 0)
		return 0;
	err_wrap(e, "cannot make the fence '%s'", name);
	fence_remove(name, NULL);
	return -1;
}

int fence_remove(const char *name, struct err *e)
{
	const char *const del[] = { "ip", "netns", "del", name, NULL };

	return fence_there(name) ? run_ip(del, NULL, e) : 0;
}

/* ---- taps of machines that serve ------------------------------------------------- */

bool fence_link_there(const char *name)
{
	return if_nametoindex(name) != 0;
}

int fence_tap_make(const char *tap, const char *bridge, struct err *e)
{
	const char *const batch[] = { "ip", "-batch", "-", NULL };
	AUTO_STR script = {0};

	if (!word_ok(tap) || !word_ok(bridge) || !fence_link_there(bridge)) {
		err_set(e, ERR_STEP, "cannot join network '%s': this host has no such "
			"bridge", bridge);
		return err_hint(e, "make the bridge, or map the network in the plan: "
				"maps: { networks: { \"%s\": BRIDGE } }", bridge);
	}
	if (fence_tap_remove(tap, e) < 0)
		return -1;
	str_addf(&script, "tuntap add dev %s mode tap\nlink set %s master %s\n"
		 "link set %s up\n", tap, tap, bridge, tap);
	if (run_ip(batch, &script, e) == 0)
		return 0;
	err_wrap(e, "cannot join network '%s'", bridge);
	fence_tap_remove(tap, NULL);
	return -1;
}

int fence_tap_remove(const char *tap, struct err *e)
{
	const char *const del[] = { "ip", "link", "del", "dev", tap, NULL };

	return fence_link_there(tap) ? run_ip(del, NULL, e) : 0;
}
