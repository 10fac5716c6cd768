/* SPDX-License-Identifier: Apache-2.0
 * direct - bring two agents together.
 */
#include "engine/host/direct.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/host/link.h"

#include <string.h>

#define KEY 32			/* bytes */

struct direct {
	struct relay_party party[2];
	bool joined;			/* one agent has both ends */
	int listener;			/* which of them */
	uint64_t wait_ms;
	char key[2 * KEY + 1];
	bool up[2];
	int64_t port, paths, rtt_ms, strangers;
	struct loop_timer *timer;	/* until it must be up; or until `how` is told */
	struct loop *loop;
	bool over;			/* `ok` and `how` stand */
	bool ok;
	char *how;
	void (*done)(void *arg, bool up, const char *how);
	void *arg;
};

static void tell(struct direct *d, int end, const char *verb, json_t *spec)
{
	AUTO_JSON *body = json_object();

	jset(body, verb, spec);
	link_stream(d->party[end].link, d->party[end].id, body);
}

static void on_told(void *arg)
{
	struct direct *d = arg;

	d->timer = NULL;
	d->done(d->arg, d->ok, d->how);
}

/* It ends this way, told on the loop's next turn. Takes `how`. */
static void end_as(struct direct *d, bool ok, char *how)
{
	if (d->over) {
		free(how);
		return;
	}
	d->over = true;
	d->ok = ok;
	d->how = how;
	loop_timer_del(d->timer);
	d->timer = loop_timer_add(d->loop, 0, on_told, d);
	if (!ok)
		for (int end = 0; end < 2; end++)
			tell(d, end, "drop", json_true());
}

static const char *name(const struct direct *d, int end)
{
	return link_host_name(d->party[end].link);
}

static void on_late(void *arg)
{
	struct direct *d = arg;

	d->timer = NULL;
	end_as(d, false, mem_printf("the agents did not answer within %llu s",
		(unsigned long long)(d->wait_ms + DIRECT_GUARD_MS) / 1000));
}

/* The target listens if it can be met, so that the source opens no port. */
static int who_listens(const struct relay_party party[2])
{
	return party[1].at.text[0] ? 1 : party[0].at.text[0] ? 0 : -1;
}

struct direct *direct_begin(struct loop *loop, const struct relay_party party[2],
			    uint64_t wait_ms,
			    void (*done)(void *arg, bool up, const char *how), void *arg)
{
	struct direct *d = mem_alloc(sizeof(*d));
	uint8_t raw[KEY];
	json_t *spec;

	memcpy(d->party, party, sizeof(d->party));
	d->loop = loop;
	d->wait_ms = wait_ms;
	d->done = done;
	d->arg = arg;
	d->joined = party[0].link == party[1].link;
	if (d->joined) {
		d->timer = loop_timer_add(loop, wait_ms + DIRECT_GUARD_MS, on_late, d);
		tell(d, 0, "join", json_integer(party[1].id));
		return d;
	}
	d->listener = who_listens(party);
	if (d->listener < 0) {
		end_as(d, false, mem_printf("no address is known for '%s' or '%s' (hosts: data)",
					    name(d, 0), name(d, 1)));
		return d;
	}
	io_random(raw, sizeof(raw));
	io_hex(raw, sizeof(raw), d->key);
	explicit_bzero(raw, sizeof(raw));
	spec = json_object();
	jset_str(spec, "address", party[d->listener].at.text);
	jset_int(spec, "from", party[d->listener].at.from);
	jset_int(spec, "to", party[d->listener].at.to);
	jset_str(spec, "key", d->key);
	jset_int(spec, "wait_ms", (int64_t)(wait_ms + DIRECT_GUARD_MS));
	d->timer = loop_timer_add(loop, wait_ms + DIRECT_GUARD_MS, on_late, d);
	tell(d, d->listener, "listen", spec);
	return d;
}

static void connect_other(struct direct *d)
{
	json_t *spec = json_object();

	jset_str(spec, "address", d->party[d->listener].at.text);
	jset_int(spec, "port", d->port);
	jset_str(spec, "key", d->key);
	jset_int(spec, "wait_ms", (int64_t)d->wait_ms);
	tell(d, !d->listener, "connect", spec);
}

static void on_up(struct direct *d)
{
	AUTO_FREE char *strangers = d->strangers > 0 ?
		mem_printf("; %lld strangers were turned away", (long long)d->strangers) :
		mem_strdup("");

	if (d->joined) {
		end_as(d, true, mem_printf("directly on '%s', from process to process",
					   name(d, 0)));
		return;
	}
	end_as(d, true, mem_printf("directly from '%s' to '%s' at %s port %lld, %lld "
		"connection%s, %lld ms there and back%s", name(d, !d->listener),
		name(d, d->listener), d->party[d->listener].at.text, (long long)d->port,
		(long long)d->paths, d->paths == 1 ? "" : "s", (long long)d->rtt_ms,
		strangers));
}

void direct_heard(struct direct *d, int end, const json_t *body)
{
	const char *error = jstr(body, "error", NULL);

	if (d->over)
		return;
	if (error) {
		end_as(d, false, d->port == 0 ? mem_printf("'%s': %s", name(d, end), error) :
			mem_printf("'%s' cannot reach '%s' at %s port %lld: %s",
				   name(d, !d->listener), name(d, d->listener),
				   d->party[d->listener].at.text, (long long)d->port, error));
	} else if (jint(body, "port", 0) > 0 && end == d->listener && d->port == 0) {
		d->port = jint(body, "port", 0);
		connect_other(d);
	} else if (jbool(body, "up", false)) {
		d->up[end] = true;
		d->up[!end] |= d->joined;
		if (end == d->listener) {
			d->strangers = jint(body, "strangers", 0);
			d->paths = jint(body, "paths", 0);
		} else {
			d->rtt_ms = jint(body, "rtt_ms", 0);
		}
		if (d->up[0] && d->up[1])
			on_up(d);
	}
}

void direct_cancel(struct direct *d)
{
	if (d && !d->ok)
		for (int end = 0; end < 2; end++)
			tell(d, end, "drop", json_true());
	direct_free(d);
}

void direct_free(struct direct *d)
{
	if (!d)
		return;
	loop_timer_del(d->timer);
	explicit_bzero(d->key, sizeof(d->key));
	free(d->how);
	free(d);
}
