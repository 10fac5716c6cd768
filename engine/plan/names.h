/* SPDX-License-Identifier: Apache-2.0
 * names - a table from text to a pointer, for everything that is looked up by
 * name: hosts, machines, variables, anchors, the files that a plan writes.
 */
#ifndef DROVER_NAMES_H
#define DROVER_NAMES_H

#include <stddef.h>
#include <stdint.h>

struct names_slot {
	const char *key;	/* borrowed; NULL: free */
	uint32_t hash;
	void *value;
};

/* Zero-initialise before use; names_free() when done. */
struct names {
	struct names_slot *slots;	/* in order of hash, open addressing */
	size_t count, cap;
	size_t compared;		/* words by names_near(), so that it ends */
};

uint32_t names_hash(const char *s);
/* Where the value of `key` is kept; a new key starts with NULL. The address is
 * good until the next names_slot(). The key must outlive the table. */
void **names_slot(struct names *n, const char *key);
void *names_get(const struct names *n, const char *key);	/* NULL: none */
/* The key nearest to `word`, or NULL; one or two letters are near to nothing. A
 * table that was asked for much too often has no more to say. */
const char *names_near(struct names *n, const char *word);
void names_free(struct names *n);

#endif
