/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent: the reference runtime that hosts components unprivileged, gates the calls between them and carries
 * out fault programs. C11, no libc. Contracts (wire, mailbox, gate): docs/internals.md.
 *
 * No initialised data: constants live in .agent.rodata, everything else starts as zero. No floating point.
 */
#ifndef RIG_AGENT_H
#define RIG_AGENT_H

#pragma clang section text = ".agent.text" rodata = ".agent.rodata" data = ".agent.data" bss = ".agent.bss"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch_types.h" /* struct actor, ARG_REGISTERS, STACK_ALIGN: v7m/ or rv32/ */

enum {
    MAX_CONTEXTS = 48,
    MAX_SEAMS = 256,
    MAX_SLOTS = 16,   /* MPU regions or PMP entries of one map */
    MAX_CHECKS = 512, /* list checks of all seams together */
    MAX_SPANS = 256,
    SEED_POOL = 48 * 1024,
    MAX_DEPTH = 16, /* gate calls inside each other */
    /* Argument words: 16 core parameters of 64 bits, or of both widths with padding, a return area and the instance. */
    MAX_ARGS = 40,  /* of a step, integer words */
    MAX_FARGS = 16, /* of a step, floating-point words: s0-s15 */
    MAX_WORDS = 40, /* of a seam, registers and stack together */
    MAX_STEPS = 64,
    MAX_WATCH = 64,
    MAX_SWEEP = 16384,
    MAX_NEEDLE = 64,
    MAX_RET_BYTES = 1024,
    MAX_WINDOW = 4096,
    NOBODY = 0xFF,
    ONE_ELEMENT = 0xFF /* check.length: the pointer leads to one element, no length is passed */
};

struct context {
    bool used;
    uint8_t id, owner, slots;
    uint8_t level; /* Arm: CONTROL.nPRIV; RISC-V: mstatus.MPP */
    uint32_t ctrl; /* Arm: MPU_CTRL; RISC-V: mseccfg */
    uint32_t stack_low, stack_end, sp;
    uint32_t r9, r10, r11; /* r11 is s11 on RISC-V */
    uint32_t instance, window_save;
    uint32_t live_sp;            /* where a call into this context starts its stack */
    uint32_t map[2 * MAX_SLOTS]; /* Arm: RBAR, RASR; RISC-V: MAX_SLOTS / 4 cfg words, then addresses */
};

struct check {
    uint8_t pointer, length, zero[2];
    uint32_t element_size, low, high; /* wasm offsets [low, high) */
};

struct seam {
    bool used, instance_first;
    uint8_t caller, callee, reg_words, stack_words, result_words, checks;
    uint16_t first_check;
    uint32_t target;
};

/* Word-wise copy without a call to memcpy; both sides aligned. */
static inline void copy_words(void *to, const void *from, uint32_t bytes)
{
    uint32_t *d = to;
    const uint32_t *s = from;
    for (uint32_t i = 0; i < bytes / 4; i++)
        d[i] = s[i];
}

static inline void copy_bytes(void *to, const void *from, uint32_t bytes)
{
    uint8_t *d = to;
    const uint8_t *s = from;
    for (uint32_t i = 0; i < bytes; i++)
        d[i] = s[i];
}

static inline void zero_words(void *to, uint32_t bytes)
{
    uint32_t *d = to;
    for (uint32_t i = 0; i < bytes / 4; i++)
        d[i] = 0;
}

/* [at, at + length) inside [start, end), whatever the numbers. */
static inline bool inside(uint32_t at, uint32_t length, uint32_t start, uint32_t end)
{
    return at >= start && (uint64_t)at + length <= end;
}

static inline bool in_shared_ram(uint32_t at, uint32_t length)
{
    return inside(at, length, RIG_SHARED_START, RIG_SHARED_END);
}

#endif
