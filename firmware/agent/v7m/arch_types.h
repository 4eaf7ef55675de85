/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RIG_ARCH_TYPES_H
#define RIG_ARCH_TYPES_H

#include <stdint.h>

enum { ARCH_ID = 1, ARG_REGISTERS = 4, STACK_ALIGN = 8 };
#define ARCH_RETURN_CODE {0x70, 0x47} /* bx lr */
#define MAP_WORDS(slots) (2u * (slots))

/* What the hardware does not put into the exception frame. trap.S knows the offsets. */
struct actor {
    uint32_t r4_11[8];
    uint32_t frame;      /* address of the exception frame, on the actor's stack */
    uint32_t exc_return; /* bit 4 clear: extended frame */
    uint32_t control;
    uint32_t s16_31[16];
};

#endif
