/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RIG_ARCH_TYPES_H
#define RIG_ARCH_TYPES_H

#include <stdint.h>

enum { ARCH_ID = 2, ARG_REGISTERS = 8, STACK_ALIGN = 16 };
#define ARCH_RETURN_CODE {0x82, 0x80} /* c.jr ra */
#define MAP_WORDS(slots) (((slots) + 3u) / 4u + (slots)) /* cfg bytes padded to words, then addresses */

/* trap.S knows the offsets. */
struct actor {
    uint32_t x[32]; /* x[0] unused */
    uint32_t pc, mstatus;
};

#endif
