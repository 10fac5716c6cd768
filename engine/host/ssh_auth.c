/* SPDX-License-Identifier: Apache-2.0
 * ssh_auth - who is there, and who we are: the host's key, and ours.
 */
#include "engine/host/ssh.h"

#include "engine/host/knownhosts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	ssh_target_scan(&s->to, &r, k.type, k.base64);
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
	AUTO_FREE char *home = ssh_home();

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

/* By the server, when it has had enough of keys, or by anything on the way. */
static int cut_off(struct sshost *s, struct err *e)
{
	err_set(e, ERR_SYSTEM, "cannot log in to '%s' as %s: the connection ended: %s; tried: %s",
		s->host->name, s->to.user, ssh_get_error(s->session),
		s->tried.len ? s->tried.s : "no key yet");
	return err_hint(e, "does `ssh %s@%s true` work? then the same command again", s->to.user,
			s->to.host);
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
			return cut_off(s, e);
		if (++s->method > last)
			return refused(s, e);
	}
}
