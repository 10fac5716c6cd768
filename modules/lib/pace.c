/* SPDX-License-Identifier: Apache-2.0
 * pace - a bucket that fills with time.
 */
#include "modules/lib/pace.h"

#define FULL_S 0.1		/* what may be saved up: so many seconds' worth */

uint64_t pace_wait_ns(struct pace *p, uint64_t now_ns, uint64_t rate)
{
	double full = (double)rate * FULL_S, wait;

	if (rate == 0) {
		*p = (struct pace){ 0, now_ns };
		return 0;
	}
	if (p->at && now_ns > p->at)
		p->bytes += (double)(now_ns - p->at) * (double)rate / 1e9;
	p->at = now_ns;
	if (p->bytes > full)
		p->bytes = full;
	if (p->bytes >= 0)
		return 0;
	wait = -p->bytes * 1e9 / (double)rate;
	return wait < 1 ? 1 : wait > 1e18 ? (uint64_t)1e18 : (uint64_t)wait;
}

void pace_spend(struct pace *p, uint64_t bytes)
{
	p->bytes -= (double)bytes;
}
