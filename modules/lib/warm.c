/* SPDX-License-Identifier: Apache-2.0
 * warm - what passes measured, and the forecast that follows from it.
 *
 * While a pass runs the machine goes on writing: what the next one must bring is the
 * dirty rate times the length of this one. A pass takes at least as long as the
 * shortest that was seen (what it reads without finding a change, and coming and
 * going), and the time to carry what changed.
 */
#include "modules/lib/warm.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <stdlib.h>
#include <time.h>

#define PASSES_MAX 32u

int64_t warm_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void warm_add(json_t *passes, const struct warm_pass *p)
{
	json_t *o = json_object();

	jset_int(o, "pass", p->pass);
	jset_int(o, "at", p->at);
	jset_int(o, "ms", (int64_t)p->ms);
	jset_int(o, "read", (int64_t)p->read);
	jset_int(o, "changed", (int64_t)p->changed);
	jset_int(o, "wire", (int64_t)p->wire);
	jset_bool(o, "held", p->held);
	jadd(passes, o);
	while (json_array_size(passes) > PASSES_MAX)
		json_array_remove(passes, 0);
}

/* ---- the forecast ------------------------------------------------------------------ */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The value that `percent` of the sorted ones do not exceed. */
static double rank(const double *v, size_t n, unsigned percent)
{
	size_t at = (n * percent + 99) / 100;

	return v[at ? at - 1 : 0];
}

static double number(const json_t *pass, const char *key)
{
	int64_t n = jint(pass, key, 0);

	return n > 0 ? (double)n : 0;
}

/* Bytes a millisecond: the best that a pass carried. */
static double best_rate(const json_t *passes)
{
	double best = 0;
	json_t *p;
	size_t i;

	json_array_foreach((json_t *)passes, i, p) {
		double ms = number(p, "ms"), rate = number(p, "changed") / (ms > 1 ? ms : 1);

		best = rate > best ? rate : best;
	}
	return best > 0 ? best : 1;
}

/* Milliseconds of the one that took the least: what coming and going costs. */
static double shortest_of(const json_t *passes)
{
	double least = number(json_array_get(passes, 0), "ms");
	json_t *p;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)passes, i, p)
		least = number(p, "ms") < least ? number(p, "ms") : least;
	return least;
}

/* Milliseconds from the beginning of the pass before to that of this one. A clock that was put
 * back tells less than that one took, which cannot be. */
static double since_before(const json_t *passes, size_t i)
{
	const json_t *before = json_array_get(passes, i - 1);
	double since = number(json_array_get(passes, i), "at") - number(before, "at");
	double least = number(before, "ms");

	return since > least ? since : least;
}

bool warm_forecast(const json_t *passes, struct warm_forecast *f)
{
	size_t n = json_array_size(passes), samples = n ? n - 1 : 0;
	const json_t *last = json_array_get(passes, n ? n - 1 : 0);
	AUTO_FREE double *dirty = NULL;
	double rate, shortest, before;

	if (samples == 0)
		return false;
	dirty = mem_alloc(samples * sizeof(*dirty));
	rate = best_rate(passes);
	shortest = shortest_of(passes);
	for (size_t i = 1; i < n; i++) {
		const json_t *p = json_array_get(passes, i);
		double since = since_before(passes, i);

		dirty[i - 1] = number(p, "changed") / (since > 1 ? since : 1);
	}
	qsort(dirty, samples, sizeof(*dirty), by_size);
	before = number(json_array_get(passes, n - 2), "changed");
	*f = (struct warm_forecast){
		.p50_ms = (uint64_t)(shortest + rank(dirty, samples, 50) *
				     number(last, "ms") / rate),
		.p90_ms = (uint64_t)(shortest + rank(dirty, samples, 90) *
				     number(last, "ms") / rate),
		.dirty = (uint64_t)(rank(dirty, samples, 50) * 1000),
		.dirty_p90 = (uint64_t)(rank(dirty, samples, 90) * 1000),
		.shrinking = number(last, "changed") < before * 0.8 };
	return true;
}

bool warm_ahead(const json_t *passes, int64_t now, uint64_t most, uint64_t *bytes, uint64_t *ms)
{
	const json_t *last = json_array_get(passes, json_array_size(passes) - 1);
	struct warm_forecast f;
	double since, dirty;

	if (!warm_forecast(passes, &f))
		return false;
	since = (double)now - number(last, "at");
	since = since > number(last, "ms") ? since : number(last, "ms");
	dirty = (double)f.dirty * since / 1000;
	*bytes = dirty < (double)most ? (uint64_t)dirty : most;
	*ms = (uint64_t)(shortest_of(passes) + (double)*bytes / best_rate(passes));
	return true;
}

bool warm_hopeless(const json_t *passes, int64_t allowed_ms)
{
	struct warm_forecast f;

	return allowed_ms > 0 && warm_forecast(passes, &f) && !f.shrinking &&
		f.p50_ms > (uint64_t)allowed_ms;
}

char *warm_text(const json_t *passes)
{
	const json_t *last = json_array_get(passes, json_array_size(passes) - 1);
	char read[24], changed[24], wire[24], rate[24], dirty[24], most[24], p50[24], p90[24];
	double ms = number(last, "ms");
	struct warm_forecast f;

	if (!warm_forecast(passes, &f))
		return NULL;
	text_size((uint64_t)number(last, "read"), read);
	text_size((uint64_t)number(last, "changed"), changed);
	text_size((uint64_t)number(last, "wire"), wire);
	text_size((uint64_t)(number(last, "read") * 1000 / (ms > 1 ? ms : 1)), rate);
	text_size(f.dirty, dirty);
	text_size(f.dirty_p90, most);
	text_duration(f.p50_ms, p50);
	text_duration(f.p90_ms, p90);
	return mem_printf("pass %lld: %s read at %s/s, %s changed, %s sent; %s/s (P50), "
			  "%s/s (P90) become dirty. The last pass of a cutover now: %s (P50), "
			  "%s (P90)", (long long)jint(last, "pass", 0), read, rate, changed, wire,
			  dirty, most, p50, p90);
}
