/* SPDX-License-Identifier: Apache-2.0
 * ssh_target - where to and as whom: what the plan says, then ~/.ssh/config.
 */
#include "engine/host/ssh.h"

#include "engine/host/knownhosts.h"
#include "engine/host/sshconfig.h"

#include <pwd.h>
#include <string.h>
#include <unistd.h>

/* Key types offered when nothing is known, best first. */
#define ALL_TYPES "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384," \
	"ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256"
#define CIPHERS "aes128-gcm@openssh.com,aes256-gcm@openssh.com," \
	"chacha20-poly1305@openssh.com,aes256-ctr,aes128-ctr"

void ssh_target_clear(struct ssh_target *t)
{
	free(t->alias);
	free(t->host);
	free(t->user);
	free(t->proxy);
	free(t->known_hosts);
	free(t->user_known_hosts);
	free(t->identity);
	free(t->config_identity);
	memset(t, 0, sizeof(*t));
}

char *ssh_home(void)
{
	const struct passwd *pw = getpwuid(geteuid());

	return mem_strdup(pw ? pw->pw_dir : "/");
}

static char *expand_home(const char *path)
{
	AUTO_FREE char *home = NULL;

	if (!path || path[0] != '~' || path[1] != '/')
		return mem_strdup(path);
	home = ssh_home();
	return mem_printf("%s%s", home, path + 1);
}

/* %h %p %r %n and %% of a ProxyCommand. */
static char *fill_proxy(const char *command, const struct ssh_target *t)
{
	AUTO_STR out = { 0 };

	for (const char *p = command; *p; p++) {
		if (*p != '%' || !p[1]) {
			str_addc(&out, *p);
			continue;
		}
		switch (*++p) {
		case 'h': str_add(&out, t->host); break;
		case 'n': str_add(&out, t->alias); break;
		case 'p': str_addf(&out, "%d", t->port); break;
		case 'r': str_add(&out, t->user); break;
		case '%': str_addc(&out, '%'); break;
		default: str_addc(&out, '%'); str_addc(&out, *p); break;
		}
	}
	return str_take(&out);
}

/* Names that reach a proxy's shell command hold nothing a shell would read. */
static bool plain_name(const char *s)
{
	return *s && *s != '-' &&
	       s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			   "0123456789._:-$%")] == '\0';
}

/* %d %h %r %u and %% of a path, and "~/" before it. */
static char *fill_path(const char *path, const struct ssh_target *t)
{
	AUTO_FREE char *home = ssh_home();
	const struct passwd *pw = getpwuid(geteuid());
	AUTO_STR out = { 0 };

	if (path[0] == '~' && path[1] == '/') {
		str_add(&out, home);
		path++;
	}
	for (const char *p = path; *p; p++) {
		if (*p != '%' || !p[1]) {
			str_addc(&out, *p);
			continue;
		}
		switch (*++p) {
		case 'd': str_add(&out, home); break;
		case 'h': str_add(&out, t->host); break;
		case 'r': str_add(&out, t->user); break;
		case 'u': str_add(&out, pw ? pw->pw_name : "root"); break;
		default: str_addc(&out, *p); break;
		}
	}
	return str_take(&out);
}

/* The way through other hosts, as a command with nothing left to fill in. */
static int read_proxy(struct ssh_target *t, const struct sshconfig *c, struct err *e)
{
	bool none = (c->proxy_jump && !strcasecmp(c->proxy_jump, "none")) ||
		(c->proxy_command && !strcasecmp(c->proxy_command, "none"));
	AUTO_FREE char *jump = c->proxy_jump && !none ? sshconfig_jump_command(c->proxy_jump) : NULL;
	const char *command = jump ? jump : c->proxy_command;

	if (c->proxy_jump && !none && !jump)
		return err_set(e, ERR_SYSTEM, "cannot connect to '%s' through '%s': ProxyJump takes "
			       "user@host:port, divided by commas", t->alias, c->proxy_jump);
	if (none || !command)
		return 0;
	if (!plain_name(t->host) || !plain_name(t->user) || !plain_name(t->alias))
		return err_set(e, ERR_SYSTEM, "cannot connect to '%s' through a proxy: '%s' as "
			       "'%s' holds odd characters", t->alias, t->host, t->user);
	t->proxy = fill_proxy(command, t);
	return 0;
}

static void read_files(struct sshconfig *c, const struct sshost *s)
{
	AUTO_FREE char *home = ssh_home();
	AUTO_FREE char *own = mem_printf("%s/.ssh/config", home);
	AUTO_FREE char *dir = mem_printf("%s/.ssh", home);
	const char *user = jstr(s->spec, "ssh.user", NULL);

	sshconfig_read(c, own, "~/.ssh/config", dir, s->to.alias, user);
	sshconfig_read(c, "/etc/ssh/ssh_config", "/etc/ssh/ssh_config", "/etc/ssh",
		       s->to.alias, user);
}

/* What the configuration says about the alias; what the plan says goes first. libssh reads
 * it, too, for algorithms and the like. */
static int read_config(struct sshost *s, struct err *e)
{
	__attribute__((cleanup(sshconfig_clear))) struct sshconfig c = { 0 };
	const struct passwd *pw = getpwuid(geteuid());
	struct ssh_target *t = &s->to;
	const char *user;

	ssh_options_set(s->session, SSH_OPTIONS_HOST, t->alias);
	if (ssh_options_parse_config(s->session, NULL) != 0)
		return err_set(e, ERR_SYSTEM, "cannot read ~/.ssh/config: %s",
			       ssh_get_error(s->session));
	read_files(&c, s);
	t->host = mem_strdup(c.host ? c.host : t->alias);
	t->port = (int)jint(s->spec, "ssh.port", c.port ? atoi(c.port) : 22);
	user = jstr(s->spec, "ssh.user", c.user);
	t->user = mem_strdup(user ? user : pw ? pw->pw_name : "root");
	t->config_identity = c.identity ? fill_path(c.identity, t) : NULL;
	t->user_known_hosts = c.known_hosts ? fill_path(c.known_hosts, t) : NULL;
	json_decref(s->host->notes);
	s->host->notes = json_incref(c.notes);
	if (t->port < 1 || t->port > 65535)
		return err_set(e, ERR_SYSTEM, "cannot connect to '%s': port '%s' of ~/.ssh/config "
			       "is none", t->alias, c.port);
	return read_proxy(t, &c, e);
}

void ssh_target_scan(const struct ssh_target *t, struct known_result *r, const char *type,
		     const char *key)
{
	const char *files[] = { t->known_hosts, t->user_known_hosts,
				"/etc/ssh/ssh_known_hosts" };

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (files[i])
			known_scan_file(r, files[i], t->host, t->port, type, key);
}

/* Of the types that the files list for the host, so that it shows a key of one that we know. */
static char *key_types(const struct ssh_target *t)
{
	struct known_result r = KNOWN_START;
	AUTO_STR out = { 0 };
	char *type, *save = NULL;

	ssh_target_scan(t, &r, NULL, NULL);
	for (type = strtok_r(r.types, ",", &save); type; type = strtok_r(NULL, ",", &save)) {
		if (strcmp(type, "ssh-rsa") == 0)
			type = "rsa-sha2-512,rsa-sha2-256";
		else if (!strstr(ALL_TYPES, type))
			continue;
		str_addf(&out, "%s%s", out.len ? "," : "", type);
	}
	if (out.len == 0)
		str_add(&out, ALL_TYPES);
	return str_take(&out);
}

static int read_become(struct sshost *s, struct err *e)
{
	const json_t *sudo = jget(s->spec, "become.sudo");
	const char *ref = jstr(sudo, "password", NULL);

	s->to.sudo = json_is_object(sudo) || json_is_true(sudo);
	if (!ref)
		return 0;
	s->to.sudo_password = s->host->secret(s->host->secrets, ref, e);
	return s->to.sudo_password ? 0 : -1;
}

int ssh_target_read(struct sshost *s, struct err *e)
{
	struct ssh_target *t = &s->to;
	int no = 0, strict = 1;
	AUTO_FREE char *types = NULL;
	AUTO_FREE char *home = ssh_home();

	t->alias = mem_strdup(jstr(s->spec, "ssh.host", ""));
	t->identity = expand_home(jstr(s->spec, "identity", NULL));
	t->known_hosts = expand_home(jstr(s->spec, "known_hosts", NULL));
	if (read_become(s, e) < 0 || read_config(s, e) < 0)
		return -1;
	if (!t->user_known_hosts)
		t->user_known_hosts = mem_printf("%s/.ssh/known_hosts", home);
	types = key_types(t);
	ssh_options_set(s->session, SSH_OPTIONS_PROCESS_CONFIG, &no);
	ssh_options_set(s->session, SSH_OPTIONS_HOST, t->host);
	ssh_options_set(s->session, SSH_OPTIONS_PORT, &t->port);
	ssh_options_set(s->session, SSH_OPTIONS_USER, t->user);
	ssh_options_set(s->session, SSH_OPTIONS_STRICTHOSTKEYCHECK, &strict);
	ssh_options_set(s->session, SSH_OPTIONS_PROXYCOMMAND, "none");
	ssh_options_set(s->session, SSH_OPTIONS_HOSTKEYS, types);
	ssh_options_set(s->session, SSH_OPTIONS_COMPRESSION, "no");
	ssh_options_set(s->session, SSH_OPTIONS_CIPHERS_C_S, CIPHERS);
	ssh_options_set(s->session, SSH_OPTIONS_CIPHERS_S_C, CIPHERS);
	return 0;
}
