/* SPDX-License-Identifier: Apache-2.0
 * tls - TLS 1.3 with an external pre-shared key (psk_dhe_ke), by OpenSSL.
 */
#include "engine/agent/tls.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <unistd.h>

#define READ_AHEAD (40u << 10)	/* OpenSSL moves what it has read ahead at each record */
#define WIDE (TLS_BATCH + (16u << 10))	/* with what the records add */
#define IDENTITY "drover"	/* the key says all; the name of it nothing */

struct tls_context {
	SSL_CTX *ssl;
	bool listens;
	uint8_t key[TLS_KEY];
};

struct tls {
	struct tls_context *context;
	SSL *ssl;
	int fd;
	short wants;
	uint64_t written;		/* under this key */
	unsigned keys;
};

/* ---- the key ------------------------------------------------------------------ */

/* The key as a session that could be resumed: that is how OpenSSL takes it. */
static SSL_SESSION *key_session(SSL *ssl, const struct tls_context *c)
{
	static const unsigned char suite[] = { 0x13, 0x01 };	/* AES-128-GCM, SHA-256 */
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, suite);
	SSL_SESSION *s = SSL_SESSION_new();

	if (s && cipher && SSL_SESSION_set1_master_key(s, c->key, TLS_KEY) &&
	    SSL_SESSION_set_cipher(s, cipher) &&
	    SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION))
		return s;
	SSL_SESSION_free(s);
	return NULL;
}

static int use_key(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *n,
		   SSL_SESSION **session)
{
	*session = key_session(ssl, SSL_get_app_data(ssl));
	/* after a retry only a key for the hash that was agreed on is of use */
	if (*session && md && md != SSL_CIPHER_get_handshake_digest(
					SSL_SESSION_get0_cipher(*session))) {
		SSL_SESSION_free(*session);
		*session = NULL;
	}
	*id = (const unsigned char *)IDENTITY;
	*n = strlen(IDENTITY);
	return 1;
}

static int find_key(SSL *ssl, const unsigned char *id, size_t n, SSL_SESSION **session)
{
	*session = n == strlen(IDENTITY) && memcmp(id, IDENTITY, n) == 0 ?
		key_session(ssl, SSL_get_app_data(ssl)) : NULL;
	return 1;
}

/* ---- contexts ------------------------------------------------------------------- */

static int reason(struct err *e, const char *what)
{
	unsigned long code = ERR_get_error();
	const char *why = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return err_set(e, ERR_SYSTEM, "%s%s%s", what, why ? ": " : "", why ? why : "");
}

static bool configure(SSL_CTX *ssl, bool listens)
{
	SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
			 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	/* many records in one read of the socket, not two reads for each */
	SSL_CTX_set_read_ahead(ssl, 1);
	SSL_CTX_set_default_read_buffer_len(ssl, READ_AHEAD);
	if (listens) {
		SSL_CTX_set_psk_find_session_callback(ssl, find_key);
	} else {
		SSL_CTX_set_psk_use_session_callback(ssl, use_key);
		/* a stranger's certificate is no way in: nobody is trusted to sign one */
		SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	}
	return SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) &&
	       SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) &&
	       SSL_CTX_set_ciphersuites(ssl, "TLS_AES_128_GCM_SHA256") &&
	       SSL_CTX_set_num_tickets(ssl, 0);
}

struct tls_context *tls_context_new(bool listens, const uint8_t key[TLS_KEY],
				    struct err *e)
{
	struct tls_context *c = mem_alloc(sizeof(*c));

	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	c->listens = listens;
	memcpy(c->key, key, TLS_KEY);
	c->ssl = SSL_CTX_new(listens ? TLS_server_method() : TLS_client_method());
	if (c->ssl && configure(c->ssl, listens))
		return c;
	reason(e, "cannot set up TLS");
	tls_context_free(c);
	return NULL;
}

void tls_context_free(struct tls_context *c)
{
	if (!c)
		return;
	SSL_CTX_free(c->ssl);
	explicit_bzero(c->key, sizeof(c->key));
	free(c);
}

/* ---- connections ------------------------------------------------------------------ */

struct tls *tls_new(struct tls_context *c, int fd, struct err *e)
{
	struct tls *t = mem_alloc(sizeof(*t));

	t->context = c;
	t->fd = fd;
	t->keys = 1;
	t->ssl = SSL_new(c->ssl);
	if (!t->ssl || !SSL_set_app_data(t->ssl, c) || !SSL_set_fd(t->ssl, fd)) {
		reason(e, "cannot set up TLS");
		tls_free(t);
		return NULL;
	}
	if (c->listens)
		SSL_set_accept_state(t->ssl);
	else
		SSL_set_connect_state(t->ssl);
	t->wants = c->listens ? POLLIN : POLLOUT;
	return t;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	close(t->fd);
	free(t);
}

int tls_fd(const struct tls *t)
{
	return t->fd;
}

/* A buffer before the socket; it frees both. */
static BIO *buffered(int fd)
{
	BIO *buffer = BIO_new(BIO_f_buffer()), *socket = BIO_new_socket(fd, BIO_NOCLOSE);

	if (buffer && socket && BIO_set_read_buffer_size(buffer, WIDE) &&
	    BIO_set_write_buffer_size(buffer, WIDE))
		return BIO_push(buffer, socket);
	BIO_free(buffer);
	BIO_free(socket);
	return NULL;
}

int tls_widen(struct tls *t, int fd)
{
	int to = dup3(t->fd, fd, O_CLOEXEC);
	BIO *in, *out;

	if (to < 0)
		return -1;
	close(t->fd);
	t->fd = to;
	in = buffered(to);
	out = buffered(to);
	if (!in || !out) {
		BIO_free_all(in);
		BIO_free_all(out);
		errno = ENOMEM;
		return -1;
	}
	SSL_set0_rbio(t->ssl, in);
	SSL_set0_wbio(t->ssl, out);
	SSL_set_read_ahead(t->ssl, 0);	/* the buffer does, and moves nothing */
	return 0;
}

bool tls_ended(const struct tls *t)
{
	return SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN;
}

bool tls_pending(const struct tls *t)
{
	return SSL_has_pending(t->ssl) || BIO_pending(SSL_get_rbio(t->ssl)) > 0;
}

unsigned tls_keys(const struct tls *t)
{
	return t->keys;
}

short tls_wants(const struct tls *t)
{
	return t->wants;
}

/* True: it is only a matter of waiting. */
static bool may_wait(struct tls *t, int rc)
{
	switch (SSL_get_error(t->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		t->wants = POLLIN;
		return true;
	case SSL_ERROR_WANT_WRITE:
		t->wants = POLLOUT;
		return true;
	case SSL_ERROR_SYSCALL:
		/* A new key goes out through a buffer of OpenSSL's own before ours, which does
		 * not pass on that ours has to wait. */
		t->wants = POLLOUT;
		return SSL_want_write(t->ssl) && BIO_should_write(SSL_get_wbio(t->ssl));
	default:
		return false;
	}
}

int tls_shake(struct tls *t, struct err *e)
{
	int rc;

	ERR_clear_error();
	rc = SSL_do_handshake(t->ssl);
	if (rc != 1)
		return may_wait(t, rc) ? 0 : reason(e, "the TLS handshake failed");
	/* "resumed" is how a session that came from the key calls itself */
	if (!SSL_session_reused(t->ssl))
		return err_set(e, ERR_SYSTEM, "the TLS handshake failed: it does not have the key");
	return 1;
}

ssize_t tls_read(struct tls *t, void *buf, size_t n)
{
	int rc;

	ERR_clear_error();
	rc = SSL_read(t->ssl, buf, n < INT32_MAX ? (int)n : INT32_MAX);
	return rc > 0 ? rc : may_wait(t, rc) ? 0 : -1;
}

/* The new key goes out with the next write. */
static void renew_key(struct tls *t)
{
	if (t->written < TLS_REKEY || !SSL_key_update(t->ssl, SSL_KEY_UPDATE_NOT_REQUESTED))
		return;
	t->written = 0;
	t->keys++;
}

ssize_t tls_write(struct tls *t, const void *p, size_t n)
{
	int rc;

	ERR_clear_error();
	rc = SSL_write(t->ssl, p, n < INT32_MAX ? (int)n : INT32_MAX);
	if (rc <= 0)
		return may_wait(t, rc) ? 0 : -1;
	t->written += (uint64_t)rc;
	renew_key(t);
	return rc;
}

int tls_flush(struct tls *t)
{
	BIO *out = SSL_get_wbio(t->ssl);

	if (BIO_flush(out) > 0)
		return 1;
	t->wants = POLLOUT;
	return BIO_should_retry(out) ? 0 : -1;
}

void tls_finish(struct tls *t)
{
	ERR_clear_error();
	SSL_shutdown(t->ssl);
	tls_flush(t);
}
