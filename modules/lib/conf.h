/* SPDX-License-Identifier: Apache-2.0
 * conf - read and change one setting of a configuration text, keeping comments, order
 * and quotes: sections with key=value (systemd, NetworkManager), plain key=value
 * (ifcfg, /etc/default), and the stanzas of ifupdown.
 */
#ifndef DROVER_CONF_H
#define DROVER_CONF_H

/* The first value of a key, quotes taken off; NULL when it is not there. section NULL:
 * a text without sections. Caller frees. */
char *conf_get(const char *text, const char *section, const char *key);
/* The text with the first occurrence set (quoted as it was), or the key added at the
 * end of its section, made if need be. value NULL takes the key away. Caller frees. */
char *conf_set(const char *text, const char *section, const char *key,
	       const char *value);

/* The method ("static", "dhcp") of `iface NAME inet ...`; NULL if there is none. */
char *ifupdown_method(const char *text, const char *iface);
/* An option of that stanza; NULL. */
char *ifupdown_get(const char *text, const char *iface, const char *option);
/* The text with the option set, added (at the stanza's end, indented as its lines
 * are), or with value NULL taken away. */
char *ifupdown_set(const char *text, const char *iface, const char *option,
		   const char *value);
/* The text with that stanza's method replaced. */
char *ifupdown_set_method(const char *text, const char *iface, const char *method);

#endif
