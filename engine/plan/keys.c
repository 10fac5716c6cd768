/* SPDX-License-Identifier: Apache-2.0
 * keys - the table of plan keys. One row gives validation, typing, the key
 * reference and the JSON Schema. */
#include "engine/plan/private.h"

#include "engine/base/addr.h"
#include "engine/base/text.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789"

/* ---- what types do not say ------------------------------------------------------ */

static const char *not_a_name(const char *s)
{
	size_t n = strlen(s);

	if (!text_name_ok(s) || strstr(s, "..") || s[n - 1] == '.' ||
	    (n > 5 && strcmp(s + n - 5, ".lock") == 0))
		return "cannot be a name";
	return NULL;
}

static const char *not_a_mac(const char *s)
{
	unsigned char c;

	for (int i = 0; i < 6; i++) {
		if (!strchr("0123456789abcdefABCDEF", c = (unsigned char)s[0]) || !c ||
		    !strchr("0123456789abcdefABCDEF", c = (unsigned char)s[1]) || !c ||
		    s[2] != (i < 5 ? ':' : '\0'))
			return "is not a MAC address like 52:54:00:12:34:56";
		s += 3;
	}
	return NULL;
}

static const char *not_a_mac_choice(const char *s)
{
	if (strcmp(s, "keep") == 0 || strcmp(s, "new") == 0 || !not_a_mac(s))
		return NULL;
	return "must be keep, new or an address like 52:54:00:12:34:56";
}

static int address_bits(const char *s)
{
	unsigned char buf[16];

	return inet_pton(AF_INET, s, buf) == 1 ? 32 : inet_pton(AF_INET6, s, buf) == 1 ?
		128 : 0;
}

static const char *not_an_address(const char *s)
{
	return address_bits(s) ? NULL : "is not an IP address";
}

static const char *not_a_meeting_place(const char *s)
{
	struct addr a;

	return addr_parse(s, &a) == 0 ? NULL :
		"is not an address with or without ports, like 10.9.0.11 or 10.9.0.11:7000-7099";
}

static const char *not_a_subnet_address(const char *s)
{
	static const char wrong[] = "is not an address with its prefix, like 10.1.0.5/24";
	const char *slash = strchr(s, '/');
	size_t digits = slash ? strspn(slash + 1, DIGITS) : 0;
	AUTO_FREE char *ip = slash ? mem_strndup(s, (size_t)(slash - s)) : NULL;

	if (strcmp(s, "dhcp") == 0)
		return NULL;
	if (digits < 1 || digits > 3 || slash[1 + digits] || !address_bits(ip) ||
	    atoi(slash + 1) > address_bits(ip))
		return wrong;
	return NULL;
}

/* As LVM has them. */
static const char *not_a_vg(const char *s)
{
	static const char set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "0123456789+_.-";

	return *s != '-' && *s && strspn(s, set) == strlen(s) && strlen(s) < 64 &&
		strcmp(s, ".") != 0 && strcmp(s, "..") != 0 ? NULL :
		"is no name of a volume group";
}

static const char *not_a_pool(const char *s)
{
	return *s && *s != '-' && !strpbrk(s, "/\n") ? NULL : "is no name of a storage pool";
}

static const char *not_a_disk_size(const char *s)
{
	uint64_t bytes;

	return text_parse_size(s, &bytes) == 0 && bytes % 4096 == 0 ? NULL :
		"must be a multiple of 4KiB";
}

/* A digit where the form has one, else the same. */
static bool has_form(const char *s, const char *form)
{
	for (; *s && *form; s++, form++)
		if (*form == '0' ? !strchr(DIGITS, *s) : *s != *form)
			return false;
	return !*s && !*form;
}

static const char *not_a_date(const char *s)
{
	static const uint8_t days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	if (!has_form(s, "0000-00-00"))
		return "is not a date like 2027-02-01";
	int y = atoi(s), m = atoi(s + 5), d = atoi(s + 8);
	bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
	if (m < 1 || m > 12 || d < 1 || d > days[m - 1] || (m == 2 && d == 29 && !leap))
		return "is no day of the calendar";
	return NULL;
}

static const char *not_a_time(const char *s)
{
	return has_form(s, "00:00") && atoi(s) < 24 && atoi(s + 3) < 60 ? NULL :
		"is not a time of the day like 06:30";
}

static const char *not_a_secret(const char *s)
{
	return strncmp(s, "secret:", 7) == 0 && s[7] ? NULL :
		"must be a reference like \"secret:NAME\", never the secret itself";
}

/* ---- the rows --------------------------------------------------------------------- */

#define END { .p = { .name = NULL } }
#define ROW(n, t, s, ...) \
	{ .p = { .name = n, .type = t, .summary = s, __VA_ARGS__ } }
#define CHECKED(n, t, s, c, ...) \
	{ .p = { .name = n, .type = t, .summary = s, __VA_ARGS__ }, .check = c }
#define MAP(n, s, rows, ...) \
	{ .p = { .name = n, .type = P_STR, .summary = s }, .form = FORM_MAP, .of = rows, \
	  __VA_ARGS__ }
#define NAMED(n, s, row, ...) \
	{ .p = { .name = n, .summary = s }, .form = FORM_NAMED, .of = row, __VA_ARGS__ }
#define LIST(n, s, row) \
	{ .p = { .name = n, .summary = s }, .form = FORM_LIST, .of = row }
#define RATES(n, s) \
	{ .p = { .name = n, .type = P_RATE, .min = 1, .summary = s }, .form = FORM_LIST, \
	  .of = &rate_row, .flags = KEY_VALUE }
#define STEPS(n) \
	{ .p = { .name = n, .summary = "the steps of this phase, in order" }, \
	  .form = FORM_STEPS }
#define LATER(n, s) { .p = { .name = n, .summary = s }, .form = FORM_LATER }

static const struct key secret_keys[] = {
	ROW("file", P_PATH, "read it from this file, which nobody else may read"),
	ROW("env", P_STR, "read it from this variable of the environment"),
	ROW("command", P_ARGV, "the first line that this program prints"),
	ROW("prompt", P_STR, "ask for it at the terminal, with this text"),
	END
};
static const struct key secret_row = MAP("secret", "where a secret is fetched from",
					 secret_keys);

static const struct key rate_keys[] = {
	ROW("rate", P_RATE, "bytes per second", .required = true, .min = 1),
	CHECKED("from", P_STR, "time of the day, like 22:00; default midnight", not_a_time),
	CHECKED("to", P_STR, "the same; before `from`: on the next day; default midnight",
		not_a_time),
	END
};
static const struct key rate_row = MAP("rate", "a rate and when it holds", rate_keys);

static const struct key ssh_keys[] = {
	ROW("user", P_STR, "who to log in as; default as ssh does"),
	ROW("host", P_STR, "name, address or an alias of ~/.ssh/config", .required = true),
	ROW("port", P_INT, "TCP port; default 22", .min = 1, .max = 65535),
	END
};
static const struct key sudo_keys[] = {
	CHECKED("password", P_STR, "a reference: \"secret:NAME\"", not_a_secret,
		.required = true, .words = PARAM_SECRET),
	END
};
static const struct key become_keys[] = {
	{ .p = { .name = "sudo", .type = P_BOOL, .required = true, .summary =
		 "true, or { password: \"secret:NAME\" }" },
	  .form = FORM_MAP, .of = sudo_keys, .flags = KEY_VALUE },
	END
};
static const struct key host_keys[] = {
	ROW("local", P_BOOL, "true: the machine on which drover runs"),
	MAP("ssh", "user@host:port, an alias, or { user, host, port }", ssh_keys,
	    .flags = KEY_VALUE),
	ROW("identity", P_STR, "the private key's file; ~ is the home directory"),
	MAP("become", "how to become root there", become_keys),
	CHECKED("data", P_STR, "where direct streams can meet it: ADDRESS, or "
		"ADDRESS:PORT-PORT; default the address that ssh reached, any port",
		not_a_meeting_place),
	RATES("bandwidth", "bytes per second that streams bring to and from it, as in limits"),
	ROW("known_hosts", P_STR, "a file of host keys beside ~/.ssh/known_hosts"),
	ROW("transport", P_ENUM, "how SSH is spoken", .words = "libssh"),
	END
};
static const struct key host_row = MAP("host", "where an agent runs", host_keys);

static const struct key link_keys[] = {
	ROW("hosts", P_LIST, "its two ends, each the name of a host or a glob", .required = true),
	RATES("bandwidth", "bytes per second over all streams that cross it, as in limits"),
	END
};
static const struct key link_row = MAP("link", "a way that streams share", link_keys);

static const struct key limits_keys[] = {
	ROW("assess", P_INT, "machines at once in this phase", .min = 1, .max = 100000),
	ROW("backup", P_INT, "machines at once in this phase", .min = 1, .max = 100000),
	ROW("convert", P_INT, "machines at once in this phase", .min = 1, .max = 100000),
	ROW("reconfigure", P_INT, "machines at once in this phase", .min = 1, .max = 100000),
	ROW("validate", P_INT, "machines at once in this phase", .min = 1, .max = 100000),
	ROW("cutover", P_INT, "machines at once in this phase", .min = 1, .max = 100000),
	ROW("host", P_INT, "long steps at once on one host", .min = 1, .max = 100000),
	RATES("bandwidth", "bytes per second over all streams between hosts: a rate, or a list of "
	      "rates with hours, of which the first that holds now counts"),
	RATES("read", "bytes per second read from the disks of one source host while it serves, "
	      "likewise"),
	LIST("links", "ways between hosts that carry less; of those between a stream's hosts, in "
	     "either direction, the first counts", &link_row),
	END
};

static const struct key network_row = ROW("network", P_STR, "the network at the target");
static const struct key store_keys[] = {
	ROW("dir", P_PATH, "a directory for image files"),
	CHECKED("pool", P_STR, "a libvirt storage pool of the target", not_a_pool),
	CHECKED("vg", P_STR, "an LVM volume group of the target", not_a_vg),
	END
};
static const struct key store_row = MAP("store", "where disks of it go", store_keys);
static const struct key maps_keys[] = {
	NAMED("networks", "network or NIC of the source: network of the target",
	      &network_row, .flags = KEY_FREE),
	NAMED("storage", "store of the source (a libvirt pool, or a directory on a disk's "
	      "path): place at the target", &store_row, .flags = KEY_FREE),
	END
};

#define FORMATS "raw|qcow2|vmdk|vhdx|vpc|vdi"
static const struct key disk_keys[] = {
	ROW("id", P_STR, "a name under /dev/disk/by-id; the safest"),
	ROW("path", P_PATH, "a block device's path"),
	ROW("serial", P_STR, "the disk's serial number"),
	ROW("copy", P_BOOL, "false: leave it out", .dflt = "true"),
	END
};
static const struct key disk_row = {
	.p = { .name = "disk", .type = P_STR, .summary =
	       "an id, a path, or { id | path | serial, copy }" },
	.form = FORM_MAP, .of = disk_keys, .flags = KEY_VALUE
};
static const struct key image_keys[] = {
	ROW("path", P_PATH, "the image file", .required = true),
	ROW("format", P_ENUM, "its format; default from the name's ending, else raw",
	    .words = FORMATS),
	ROW("copy", P_BOOL, "false: leave it out", .dflt = "true"),
	END
};
static const struct key image_row = {
	.p = { .name = "image", .type = P_PATH, .summary =
	       "a path, or { path, format, copy }" },
	.form = FORM_MAP, .of = image_keys, .flags = KEY_VALUE
};
static const struct key source_nic_keys[] = {
	CHECKED("mac", P_STR, "its hardware address", not_a_mac),
	END
};
static const struct key source_nic_row = {
	.p = { .name = "nic", .type = P_STR, .summary = "a MAC address, or { mac }" },
	.form = FORM_MAP, .of = source_nic_keys, .flags = KEY_VALUE, .check = not_a_mac
};
static const struct key power_command_keys[] = {
	ROW("off", P_ARGV, "switches the machine off", .required = true),
	ROW("on", P_ARGV, "switches it on again", .required = true),
	ROW("status", P_ARGV, "prints on or off as its first word", .required = true),
	ROW("at", P_STR, "the host that runs them; default the source's"),
	ROW("stdin", P_STR, "what each of them reads; \"secret:NAME\" keeps it out of the record",
	    .words = PARAM_SECRET),
	END
};
static const struct key power_libvirt_keys[] = {
	ROW("domain", P_STR, "the domain's name; default source.domain"),
	ROW("at", P_STR, "the host with libvirt; default the source's"),
	END
};
static const struct key no_keys[] = { END };
static const struct key power_keys[] = {
	MAP("command", "programs that switch it and tell its state", power_command_keys),
	MAP("libvirt", "a libvirt domain", power_libvirt_keys),
	MAP("manual", "a person is asked", no_keys),
	LATER("ipmi", "use `command` with ipmitool"),
	LATER("redfish", "use `command` with curl, or a script of yours"),
	END
};
static const struct key source_keys[] = {
	ROW("host", P_STR, "where the machine or its images are", .required = true),
	NAMED("disks", "block devices by name, or a list", &disk_row, .flags = KEY_LIST),
	NAMED("images", "image files by name, or a list", &image_row, .flags = KEY_LIST),
	ROW("domain", P_STR, "a libvirt domain; alone it tells its disks and hardware itself"),
	LATER("vmx", "use `images` with the .vmdk files"),
	LATER("ova", "unpack it and use `images`"),
	LATER("vcenter", "export the VM and use `images`"),
	ROW("firmware", P_ENUM, "what it boots with; default what assess sees",
	    .words = "bios|uefi"),
	ROW("cpus", P_INT, "processors, for image files", .min = 1, .max = 4096),
	ROW("memory", P_SIZE, "memory, for image files", .min = 1 << 20),
	NAMED("nics", "network interfaces by name", &source_nic_row),
	{ .p = { .name = "power", .type = P_ENUM, .words = "manual|libvirt", .summary =
		 "how it is switched off: command, libvirt (default for a domain) or manual" },
	  .form = FORM_MAP, .of = power_keys, .flags = KEY_VALUE },
	END
};

static const struct key target_disk_keys[] = {
	ROW("format", P_ENUM, "default the target's", .words = FORMATS),
	CHECKED("size", P_SIZE, "at least the source's, which is the default; a bigger disk "
		"has its free space at the end", not_a_disk_size, .min = 1 << 20),
	ROW("path", P_PATH, "a block device that is there"),
	ROW("dir", P_PATH, "another directory for its image file"),
	CHECKED("vg", P_STR, "an LVM volume group, in which a volume is made", not_a_vg),
	CHECKED("pool", P_STR, "a libvirt storage pool: its directory, or its volume group",
		not_a_pool),
	END
};
static const struct key target_disk_row = MAP("disk", "where one disk goes",
					      target_disk_keys);
static const struct key dns_row = { .p = { .name = "dns", .type = P_STR,
	.summary = "a name server" }, .check = not_an_address };
static const struct key target_nic_keys[] = {
	ROW("network", P_STR, "bridge or libvirt network at the target"),
	CHECKED("mac", P_STR, "keep, new or an address", not_a_mac_choice, .dflt = "keep"),
	CHECKED("address", P_STR, "static address with prefix, or dhcp",
		not_a_subnet_address),
	CHECKED("gateway", P_STR, "default gateway", not_an_address),
	LIST("dns", "name servers", &dns_row),
	END
};
static const struct key target_nic_row = MAP("nic", "one network interface",
					     target_nic_keys);
static const struct key target_keys[] = {
	ROW("host", P_STR, "where the machine goes", .required = true),
	ROW("dir", P_PATH, "directory for image files, maps and overlays", .required = true),
	CHECKED("vg", P_STR, "an LVM volume group for the disks", not_a_vg),
	CHECKED("pool", P_STR, "a libvirt storage pool for the disks", not_a_pool),
	ROW("format", P_ENUM, "of the disks", .words = FORMATS, .dflt = "qcow2"),
	ROW("cpus", P_INT, "processors; default as the source", .min = 1, .max = 4096),
	ROW("memory", P_SIZE, "memory; default as the source", .min = 1 << 20),
	ROW("replace", P_BOOL, "true: overwrite what exists there already",
	    .dflt = "false"),
	ROW("start", P_ENUM, "what runs it", .words = "auto|libvirt|systemd|qemu",
	    .dflt = "auto"),
	NAMED("disks", "places of disks, by the source's names", &target_disk_row),
	NAMED("nics", "network interfaces, by the source's names", &target_nic_row),
	END
};

static const struct key label_row = ROW("label", P_STR, "its text");
const struct key schema_machine[] = {
	ROW("recipe", P_STR, "ready-made steps: p2v, v2v, or a file"),
	NAMED("labels", "for --machine label=value", &label_row),
	MAP("source", "the machine as it is", source_keys),
	MAP("target", "the machine as it shall be", target_keys),
	ROW("downtime", P_DURATION, "how long it may be down"),
	ROW("stream", P_ENUM, "how bulk data goes: direct (from host to host), relay (through "
	    "drover), or auto: direct if that is up in two seconds, else relay",
	    .words = "auto|direct|relay", .dflt = "auto"),
	ROW("after", P_LIST, "machines that must be done first"),
	STEPS("assess"), STEPS("backup"), STEPS("convert"),
	STEPS("reconfigure"), STEPS("validate"), STEPS("cutover"),
	END
};
static const struct key machine_row = MAP("machine", "what moves", schema_machine);

const struct key schema_recipe[] = {
	CHECKED("recipe", P_STR, "its name", not_a_name, .required = true),
	ROW("summary", P_STR, "what it is for"),
	ROW("vars", P_MAP, "variables; a plan's own win", .words = PARAM_SECRET),
	STEPS("assess"), STEPS("backup"), STEPS("convert"),
	STEPS("reconfigure"), STEPS("validate"), STEPS("cutover"),
	END
};

static const struct key accept_keys[] = {
	ROW("finding", P_STR, "the finding's code, like net.mtu", .required = true),
	ROW("machine", P_STR, "only for this machine"),
	CHECKED("until", P_STR, "last day, like 2027-02-01", not_a_date),
	ROW("reason", P_STR, "why it may stand", .required = true),
	END
};
static const struct key accept_row = MAP("accept", "a finding that is waived",
					 accept_keys);

#define NOT_YET "the name is reserved; drover does not do this yet"
const struct key schema_plan[] = {
	CHECKED("plan", P_STR, "the plan's name", not_a_name),
	ROW("include", P_LIST, "more files, relative to this one"),
	ROW("vars", P_MAP, "variables for ${name}", .words = PARAM_SECRET),
	NAMED("secrets", "where secrets are fetched from", &secret_row),
	NAMED("hosts", "where agents run", &host_row),
	MAP("limits", "how much at once", limits_keys),
	MAP("maps", "names of the source to names of the target", maps_keys),
	MAP("defaults", "what all machines share", schema_machine),
	NAMED("machines", "what moves", &machine_row, .check = not_a_name),
	LIST("accept", "findings that are waived", &accept_row),
	LATER("environments", NOT_YET), LATER("groups", NOT_YET), LATER("waves", NOT_YET),
	LATER("windows", NOT_YET), LATER("rehearsal", NOT_YET), LATER("state", NOT_YET),
	END
};
