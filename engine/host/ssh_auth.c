/* SPDX-License-Identifier: Apache-2.0
 * ssh_auth - where to and as whom; the host's key; our keys.
 */
#include "engine/host/ssh.h"

#include "engine/base/io.h"
#include "engine/host/knownhosts.h"
#include "engine/host/sshconfig.h"

#include <errno.h>
#include <fcntl.h>
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

static char *home_dir(void)
{
	const struct passwd *pw = getpwuid(geteuid());

	return mem_strdup(pw ? pw->pw_dir : "/");
}

static char *expand_home(const char *path)
{
	AUTO_FREE char *home = NULL;

	if (!path || path[0] != '~' || path[1] != '/')
		return mem_strdup(path);
	home = home_dir();
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
	AUTO_FREE char *home = home_dir();
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
	AUTO_FREE char *home = home_dir();
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

/* Look only at what the files list for the host, so that it shows a key of a type
 * that we know. */
static void scan_files(const struct ssh_target *t, struct known_result *r,
		       const char *type, const char *key)
{
	const char *files[] = { t->known_hosts, t->user_known_hosts,
				"/etc/ssh/ssh_known_hosts" };

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (files[i])
			known_scan_file(r, files[i], t->host, t->port, type, key);
}

static char *key_types(const struct ssh_target *t)
{
	struct known_result r = KNOWN_START;
	AUTO_STR out = { 0 };
	char *type, *save = NULL;

	scan_files(t, &r, NULL, NULL);
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
	AUTO_FREE char *home = home_dir();

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

/* ---- the host's key -------------------------------------------------------------- */

struct host_key {
	ssh_key key;
	char *base64, *fingerprint;	/* libssh's */
	const char *type;
};

static void host_key_free(struct host_key *k)
{
	ssh_string_free_char(k->base64);
	ssh_string_free_char(k->fingerprint);
	ssh_key_free(k->key);
}

static int host_key_get(ssh_session session, struct host_key *k)
{
	unsigned char *hash = NULL;
	size_t n = 0;

	memset(k, 0, sizeof(*k));
	if (ssh_get_server_publickey(session, &k->key) != SSH_OK ||
	    ssh_pki_export_pubkey_base64(k->key, &k->base64) != SSH_OK ||
	    ssh_get_publickey_hash(k->key, SSH_PUBLICKEY_HASH_SHA256, &hash, &n) < 0)
		return -1;
	k->fingerprint = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, n);
	ssh_clean_pubkey_hash(&hash);
	k->type = ssh_key_type_to_char(ssh_key_type(k->key));
	if (ssh_key_type(k->key) == SSH_KEYTYPE_ECDSA_P256)
		k->type = "ecdsa-sha2-nistp256";
	else if (ssh_key_type(k->key) == SSH_KEYTYPE_ECDSA_P384)
		k->type = "ecdsa-sha2-nistp384";
	else if (ssh_key_type(k->key) == SSH_KEYTYPE_ECDSA_P521)
		k->type = "ecdsa-sha2-nistp521";
	return k->fingerprint ? 0 : -1;
}

/* For `drover hosts --pin`: the line to add, and where. */
static void offer_pin(struct sshost *s, const struct host_key *k)
{
	const struct ssh_target *t = &s->to;
	json_t *hello = json_object(), *pin = json_object();
	char name[300];

	known_name(name, sizeof(name), t->host, t->port);
	jset_strf(pin, "line", "%s %s %s", name, k->type, k->base64);
	jset_str(pin, "type", k->type);
	jset_str(pin, "fingerprint", k->fingerprint);
	jset_str(pin, "file", t->known_hosts ? t->known_hosts : t->user_known_hosts);
	jset(hello, "hostkey", pin);
	json_decref(s->host->hello);
	s->host->hello = hello;
}

static int unknown_key(struct sshost *s, const struct host_key *k, struct err *e)
{
	err_set(e, ERR_SYSTEM, "cannot trust '%s': no key is known for %s port %d; it shows "
		"%s %s", s->host->name, s->to.host, s->to.port, k->type, k->fingerprint);
	offer_pin(s, k);
	return err_hint(e, "compare it with what the host's own console says (ssh-keygen -lf "
			"/etc/ssh/ssh_host_*.pub), then: drover hosts PLAN --pin %s",
			s->host->name);
}

static int other_key(struct sshost *s, const struct host_key *k,
		     const struct known_result *r, struct err *e)
{
	char name[300];

	known_name(name, sizeof(name), s->to.host, s->to.port);
	err_set(e, ERR_SYSTEM, "cannot trust '%s': its key has changed: %s:%u lists another%s, "
		"it shows %s %s", s->host->name, r->file, r->line,
		r->known == KNOWN_OTHER ? " type" : "", k->type, k->fingerprint);
	return err_hint(e, "somebody may be in between; if the host was really installed anew: "
			"ssh-keygen -R '%s' -f %s, then: drover hosts PLAN --pin %s", name,
			r->file, s->host->name);
}

int ssh_check_host_key(struct sshost *s, struct err *e)
{
	struct known_result r = KNOWN_START;
	struct host_key k;
	int rc = 0;

	if (host_key_get(s->session, &k) < 0) {
		host_key_free(&k);
		return err_set(e, ERR_SYSTEM, "cannot trust '%s': its key cannot be read",
			       s->host->name);
	}
	scan_files(&s->to, &r, k.type, k.base64);
	switch (r.known) {
	case KNOWN_OK:
		break;
	case KNOWN_UNKNOWN:
		rc = unknown_key(s, &k, e);
		break;
	case KNOWN_CHANGED:
	case KNOWN_OTHER:
		rc = other_key(s, &k, &r, e);
		break;
	case KNOWN_REVOKED:
		rc = err_set(e, ERR_SYSTEM, "cannot trust '%s': its key %s %s is revoked at %s:%u",
			     s->host->name, k.type, k.fingerprint, r.file, r.line);
		err_hint(e, "the host needs a new key; a revoked one is never accepted");
		break;
	case KNOWN_AUTHORITY:
		rc = err_set(e, ERR_SYSTEM, "cannot trust '%s': %s:%u expects a host certificate, "
			     "and those are not supported", s->host->name, r.file, r.line);
		err_hint(e, "pin the host's own key beside it: drover hosts PLAN --pin %s",
			 s->host->name);
		offer_pin(s, &k);
		break;
	}
	host_key_free(&k);
	return rc;
}

/* ---- our keys ------------------------------------------------------------------------ */

enum { TRY_NONE, TRY_FILE, TRY_AGENT, TRY_FIRST_DEFAULT };

static const char *const default_keys[] = { "id_ed25519", "id_ecdsa", "id_rsa" };

static void tried(struct sshost *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void tried(struct sshost *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	AUTO_FREE char *text = mem_vprintf(fmt, ap);
	va_end(ap);
	str_addf(&s->tried, "%s%s", s->tried.len ? ", " : "", text);
}

/* The file of the method under way: the plan's, the configuration's, the usual ones. */
static char *method_file(const struct sshost *s)
{
	AUTO_FREE char *home = home_dir();

	if (s->method == TRY_FILE)
		return mem_strdup(s->to.identity ? s->to.identity : s->to.config_identity);
	return mem_printf("%s/.ssh/%s", home, default_keys[s->method - TRY_FIRST_DEFAULT]);
}

/* SSH_AUTH_* of one try with a key file; SSH_AUTH_DENIED when it is of no use. */
static int try_file(struct sshost *s)
{
	AUTO_FREE char *path = method_file(s);
	int rc;

	if (!path)
		return SSH_AUTH_DENIED;
	if (!s->key && access(path, F_OK) < 0) {
		if (s->method == TRY_FILE)
			tried(s, "%s (%s)", path, strerror(errno));
		return SSH_AUTH_DENIED;
	}
	if (!s->key &&
	    ssh_pki_import_privkey_file(path, "", NULL, NULL, &s->key) != SSH_OK) {
		tried(s, "%s (unreadable, or encrypted and not in the ssh agent)", path);
		return SSH_AUTH_DENIED;
	}
	rc = ssh_userauth_publickey(s->session, NULL, s->key);
	if (rc == SSH_AUTH_AGAIN)
		return rc;
	ssh_key_free(s->key);
	s->key = NULL;
	if (rc != SSH_AUTH_SUCCESS)
		tried(s, "%s", path);
	return rc;
}

static int try_agent(struct sshost *s)
{
	int rc;

	if (!getenv("SSH_AUTH_SOCK"))
		return SSH_AUTH_DENIED;
	rc = ssh_userauth_agent(s->session, NULL);
	if (rc != SSH_AUTH_AGAIN && rc != SSH_AUTH_SUCCESS)
		tried(s, "the ssh agent");
	return rc;
}

static int try_method(struct sshost *s)
{
	switch (s->method) {
	case TRY_NONE:
		return ssh_userauth_none(s->session, NULL);
	case TRY_AGENT:
		return try_agent(s);
	default:
		return try_file(s);
	}
}

static int refused(struct sshost *s, struct err *e)
{
	AUTO_STR notes = { 0 };
	json_t *one;
	size_t i;

	json_array_foreach(s->host->notes, i, one)
		str_addf(&notes, "\n%s", json_string_value(one));
	err_set(e, ERR_SYSTEM, "cannot log in to '%s' as %s: no key was accepted; tried: %s",
		s->host->name, s->to.user, s->tried.len ? s->tried.s : "none, there is no key");
	return err_hint(e, "add the public key to ~%s/.ssh/authorized_keys there, or name another "
			"with identity: in the plan%s", s->to.user, notes.s ? notes.s : "");
}

int ssh_auth_step(struct sshost *s, struct err *e)
{
	/* a key that the plan names is the only one offered, besides the agent's */
	int last = s->to.identity ? TRY_AGENT :
		TRY_FIRST_DEFAULT + (int)ARRAY_LEN(default_keys) - 1;

	for (;;) {
		int rc = try_method(s);

		if (rc == SSH_AUTH_SUCCESS)
			return 1;
		if (rc == SSH_AUTH_AGAIN)
			return 0;
		if (rc == SSH_AUTH_ERROR && !ssh_is_connected(s->session))
			return refused(s, e);
		if (++s->method > last)
			return refused(s, e);
	}
}
