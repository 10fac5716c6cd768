/* SPDX-License-Identifier: Apache-2.0
 * layout_priv - names in a machine's directory; for the files of layout alone.
 */
#ifndef DROVER_LAYOUT_PRIV_H
#define DROVER_LAYOUT_PRIV_H

#include "modules/lib/layout.h"

#define LAYOUT_RECORD ".place"
#define LAYOUT_READBACK ".readback"
#define LAYOUT_MARKER ".drover"

#endif
