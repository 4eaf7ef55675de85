/* SPDX-License-Identifier: Apache-2.0
 * What an architecture does for the shared part. `struct actor` (arch_types.h) is the state of the unprivileged
 * code that is not running right now: it is saved on every way in and loaded on every way out.
 */
#ifndef RIG_ARCH_H
#define RIG_ARCH_H

#include "wire.h"

enum { FEATURE_FPU = 1 };

struct facts { /* probed at boot */
    uint32_t regions, grain, mpu_type, features;
};
extern struct facts facts;
extern struct actor rig_actor;

void arch_init(void);

/* Protection. The agent works with it off (PMP without lock bits never binds M-mode, so there it may stay). */
uint32_t arch_accept(struct context *context); /* 0, or which word is refused + 1; puts words into final form */
enum how_much { WHOLE_MAP, WHAT_DIFFERS }; /* the latter from what the agent knows it wrote last */
void arch_protect(const struct context *context, uint32_t disarm, enum how_much how_much); /* write, then enable */
void arch_rearm(const struct context *context, uint32_t disarm); /* enable again: slots still hold the map */
void arch_unprotect(void);
void arch_forget_map(void); /* a privileged actor may have written registers */
uint32_t arch_checksum(void);              /* over the registers as they are now */
uint32_t arch_readback(uint32_t *words);   /* at most READBACK_WORDS; returns how many */
enum { READBACK_WORDS = 2 + 2 * MAX_SLOTS };

/* Copies that may fault without harm; false when they did. `user_` ones use unprivileged rights. */
bool arch_read(void *to, uint32_t from, uint32_t bytes);
bool arch_write(uint32_t to, const void *from, uint32_t bytes);
bool arch_user_read(void *to, uint32_t from, uint32_t bytes);
bool arch_user_write(uint32_t to, const void *from, uint32_t bytes);

/* Actor. */
struct extent { /* what a calling actor occupies of its stack */
    uint32_t low;  /* lowest address in use */
    uint32_t args; /* where argument words on the stack begin */
};
struct extent arch_extent(void);
uint32_t arch_word(uint32_t index); /* argument register */
/* Make the actor enter `entry` in `context` with SP = sp and LR/ra = rig_return; false: no room below sp.
 * `fp`: floating-point argument words, or NULL to hand on what the calling actor has in its argument registers. */
bool arch_begin(const struct context *context, uint32_t sp, uint32_t entry, const uint32_t *words, uint32_t count,
                const uint32_t *fp, uint32_t nfp);
/* The actor `saved` made a gate call; resume it with the results of the present actor. */
void arch_resume(const struct actor *saved, uint32_t result_words);
bool arch_set_level(const struct context *context); /* for the next entry or resumption; true: privileged */
void arch_capture(void);                            /* now.fault and now.regs from the actor as it stopped */
void arch_enter(void);                              /* run the actor; comes back when it is to be unwound */
uint32_t arch_fault_address(void);                  /* of the last fault: data address, or the PC for fetches */
void arch_sync_code(void);                          /* after planting an instruction */
void arch_reassert(void);                           /* settings that a privileged actor may have changed */

/* Limit on unprivileged time, in microseconds of platform time. Setting a timer is what costs an emulator most. */
enum { MAX_LIMIT_US = 10 * 1000 * 1000 };
enum precision {
    EXACTLY,  /* the limit strikes `microseconds` from now */
    AT_LEAST, /* or up to twice as late, when the last start leaves that much */
};
void arch_timer_start(uint32_t microseconds, enum precision precision);
uint32_t arch_timer_stop(void); /* ticks since start: SysTick or mcycle */

_Noreturn void arch_halt(void);

/* Unprivileged code. */
extern uint8_t rig_return[];

#endif
