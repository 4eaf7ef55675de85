/* SPDX-License-Identifier: Apache-2.0
 * The plan as the host sent it. Everything in here has been validated. */
#ifndef RIG_PLAN_H
#define RIG_PLAN_H

#include "wire.h"

struct span {
    uint8_t kind, zero[3]; /* enum span_kind */
    uint32_t address, length, seed;
};
enum span_kind { SPAN_ZERO, SPAN_CANARY };

struct plan {
    struct context contexts[MAX_CONTEXTS];
    struct seam seams[MAX_SEAMS];
    struct check checks[MAX_CHECKS];
    struct span spans[MAX_SPANS];
    uint32_t check_count, span_count, seed_bytes;
    uint32_t window, window_length;
    _Alignas(4) uint8_t seeds[SEED_POOL]; /* SEED payloads one after the other, padded to 4 */
};
extern struct plan plan;

struct answer {
    uint32_t status, detail;
};

/* Carry out one of the plan frames. */
struct answer plan_frame(uint8_t type, const uint8_t *payload, uint32_t length);

/* NULL when there is no such context. */
struct context *plan_context(uint32_t id);

/* FRESH: bring every memory back to its initial state. Protection must be off. */
void plan_fresh(bool canaries);

#endif
