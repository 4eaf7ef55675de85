/* SPDX-License-Identifier: Apache-2.0
 * The program that runs now, and the way from context to context. */
#ifndef RIG_RUN_H
#define RIG_RUN_H

#include "arch.h"
#include "plan.h"

struct now {
    uint32_t index;
    uint8_t verb, leg, disarm, flags;
    uint8_t outcome, step, context, caller;
    bool privileged; /* an actor was, on purpose or by a plan's mistake */
    uint32_t detail, fault[8], regs[4], live, ticks, entries;
};
extern struct now now;

/* Whole context change: window and map; protection must be off. The checksum of what is then live: now.live.
 * The gate writes every register; other entries leave those that hold the value already, and entries of one program
 * into the same context again and again (a sweep) neither write nor check anew. */
void context_in(struct context *context, enum how_much how_much);
void context_out(void); /* ends with protection off and nobody in */
void context_forget(void); /* a new program begins: nothing is known to be in the registers */

/* Why the actor stopped; each returns whether to resume it (true) or to unwind (false). */
bool on_call(uint32_t seam); /* gate.c */
bool on_return(void);
bool on_service(uint32_t number);
bool on_stop(enum outcome outcome, uint32_t detail);

void gate_unwind(void); /* forget all calls in progress */

/* `steps` and the payloads behind them were validated by program_next(). */
struct program_parts {
    const struct program *program;
    const struct step *steps[MAX_STEPS];
    const uint8_t *payloads;
    uint32_t bad; /* BAD_PROGRAM detail, 0: well-formed */
};

/* Take one program off [*at, end); false when not even its extent can be told. */
bool program_next(const uint8_t **at, const uint8_t *end, struct program_parts *parts);
const struct payload *payload_first(const struct program_parts *parts);
const struct payload *payload_next(const struct payload *payload);
const struct payload *payload_behind(const struct payload *payload, uint32_t count);

void program_run(const struct program_parts *parts);

/* Results of a batch go out in frames as full as possible. */
struct result *result_open(uint32_t blob); /* zeroed header with room for `blob` bytes behind it */
void result_close(struct result *result);
void results_flush(void);

_Noreturn void panic(uint32_t code, uint32_t detail);
enum { PANIC_FAULT = 1, PANIC_EXCEPTION = 2, PANIC_BOOT = 3 };

#endif
