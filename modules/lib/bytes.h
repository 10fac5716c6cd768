/* SPDX-License-Identifier: Apache-2.0
 * bytes - numbers out of bytes, whatever their order and place.
 */
#ifndef DROVER_BYTES_H
#define DROVER_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BYTES_GET(name, type, turn) \
	static inline type name(const void *p) \
	{ \
		type v; \
		memcpy(&v, p, sizeof(v)); \
		return turn(v); \
	}
BYTES_GET(get_le16, uint16_t, le16toh)
BYTES_GET(get_le32, uint32_t, le32toh)
BYTES_GET(get_le64, uint64_t, le64toh)
BYTES_GET(get_be16, uint16_t, be16toh)
BYTES_GET(get_be32, uint32_t, be32toh)
BYTES_GET(get_be64, uint64_t, be64toh)
#undef BYTES_GET

#endif
