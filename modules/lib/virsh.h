/* SPDX-License-Identifier: Apache-2.0
 * virsh - libvirt asked by its own program, one question at a time, or several to one program,
 * which takes longer to start than to ask. What it says of a failure is what is told.
 */
#ifndef DROVER_VIRSH_H
#define DROVER_VIRSH_H

#include "engine/base/json.h"
#include "engine/base/mem.h"

/* `words` (up to 12, then NULL) after "virsh -q", `input` its stdin or NULL. The answer, owned
 * ("" too); NULL with e. */
char *virsh_ask(const char *const *words, const char *input, struct err *e);
/* The same, whatever is answered. 0, -1 with e. */
int virsh_tell(const char *const *words, const char *input, struct err *e);
/* An answer that is XML, as xml_read() gives it. Owned; NULL with e. */
json_t *virsh_xml(const char *const *words, struct err *e);

struct virsh_answers {
	char *text;			/* owned */
	char **v;			/* in it, one of each command; "" when it failed. Owned */
};
#define AUTO_VIRSH __attribute__((cleanup(virsh_answers_free))) struct virsh_answers
void virsh_answers_free(struct virsh_answers *a);

/* One more command for virsh_ask_all(); they stand one behind the other, each with a \0. */
void virsh_add(struct str *commands, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* As one word of such a command. Owned. */
char *virsh_quoted(const char *word);
/* Asks all n. -1 with e when the last of them failed. */
int virsh_ask_all(const struct str *commands, size_t n, struct virsh_answers *a, struct err *e);

#endif
