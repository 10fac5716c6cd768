/* SPDX-License-Identifier: Apache-2.0
 * host - the constructors' front.
 */
#include "engine/host/host.h"

#include "engine/base/mem.h"

struct host *host_new(struct loop *loop, const char *name, const json_t *spec)
{
	if (jbool(spec, "local", false))
		return host_local_new(loop, name, spec);
	return host_ssh_new(loop, name, spec);
}

void host_free(struct host *h)
{
	if (!h)
		return;
	h->ops->free(h);
	json_decref(h->notes);
	json_decref(h->hello);
	free((char *)h->name);
	free(h);
}
