/* SPDX-License-Identifier: Apache-2.0
 * zip - how hard to compress.
 */
#include "modules/lib/zip.h"

#define STRETCH_BYTES (32u << 20)	/* by which a step is judged, or ... */
#define STRETCH_NS 2000000000u		/* ... what goes in this time, and ... */
#define STRETCH_LEAST 4			/* ... at least so many pieces for each thread */
#define REST 16				/* stretches before what was refused is tried again */
#define LINK_WAITS 0.15			/* waiting less: the link is the faster one */
#define LINK_RULES 0.5			/* waiting more: the link is the slower one */

static const int levels[ZIP_STEPS] = { 0, 1, 2, 3, 5, 7 };

void zip_begin(struct zip *z, unsigned threads, uint64_t now_ns)
{
	*z = (struct zip){ .threads = threads, .refused = -1, .begin = now_ns };
}

int zip_level(const struct zip *z)
{
	return levels[z->step];
}

/* Faster, or with fewer bytes at nearly the same speed. */
static bool better(const struct zip_seen *now, const struct zip_seen *before)
{
	if (now->rate > before->rate * 1.03)
		return true;
	return now->rate > before->rate * 0.95 && now->shrunk < before->shrunk * 0.99;
}

static void try_step(struct zip *z, int step, const struct zip_seen *seen)
{
	if (step < 0 || step >= ZIP_STEPS || (step == z->refused && z->rest > 0))
		return;
	z->from = z->step;
	z->before = *seen;
	z->step = step;
}

static void judge(struct zip *z, const struct zip_seen *seen, double waits)
{
	if (z->rest > 0)
		z->rest--;
	if (z->step != z->from && !better(seen, &z->before)) {
		z->refused = z->step;
		z->rest = REST;
		z->step = z->from;
		return;
	}
	z->from = z->step;
	if (waits > LINK_RULES)
		try_step(z, z->step + 1, seen);
	else if (waits < LINK_WAITS)
		try_step(z, z->step - 1, seen);
}

void zip_note(struct zip *z, uint64_t now_ns, uint64_t plain, uint64_t sent,
	      uint64_t waited_ns)
{
	uint64_t took = now_ns - z->begin + 1;
	struct zip_seen seen;

	z->plain += plain;
	z->sent += sent;
	z->waited += waited_ns;
	z->pieces++;
	if (z->plain < STRETCH_BYTES &&
	    (took < STRETCH_NS || z->pieces < STRETCH_LEAST * z->threads))
		return;
	seen.rate = (double)z->plain / (double)took;
	seen.shrunk = (double)z->sent / (double)z->plain;
	judge(z, &seen, (double)z->waited / ((double)took * z->threads));
	z->begin = now_ns;
	z->plain = z->sent = z->waited = 0;
	z->pieces = 0;
}
