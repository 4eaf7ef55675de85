/* SPDX-License-Identifier: Apache-2.0
 * Traps and the timer of RV32. */
#include "arch.h"
#include "csr.h"
#include "run.h"

enum { RA = 1, SP = 2, T0 = 5, T1 = 6, A0 = 10, S11 = 27 };

struct facts facts;
struct actor rig_actor;
extern uint8_t rig_guard_start[], rig_guard_end[], rig_guard_failed[], rig_trap[];
void pmp_probe(void);

static struct {
    uint32_t cause, value, pc, mstatus, sp;
} stop;

/* Set-up */

static volatile uint32_t *const mtimecmp = (volatile uint32_t *)(RIG_CLINT + 0x4000);
static volatile uint32_t *const mtime = (volatile uint32_t *)(RIG_CLINT + 0xBFF8);

static uint64_t until; /* mtimecmp, as the agent set it */

static void settings(void)
{
    csr_write(mstatus, 0);
    csr_write(mtvec, (uint32_t)rig_trap);
    mtimecmp[1] = 0xFFFFFFFF;
    csr_write(mie, MIE_MTIE); /* taken only while an actor runs: the agent keeps MIE off */
    csr_write(mcounteren, 0);
    until = 0;
}

void arch_reassert(void)
{
    arch_forget_map();
    settings();
}

void arch_init(void)
{
    settings();
    pmp_probe();
}

_Noreturn void arch_halt(void)
{
    csr_write(mie, 0);
    for (;;)
        __asm__ volatile("wfi");
}

/* Why we are here */

bool rv_trap(void)
{
    stop.cause = csr_read(mcause);
    stop.value = csr_read(mtval);
#ifdef RIG_MUTANT_M34
    stop.cause = stop.value = 0; /* seeded bug: cleared before it is logged */
#endif
    stop.pc = rig_actor.pc;
    stop.mstatus = rig_actor.mstatus;
    stop.sp = rig_actor.x[SP];
    uint32_t cause = csr_read(mcause);
    if (cause == CAUSE_ECALL_U || cause == CAUSE_ECALL_M) {
        rig_actor.pc += 4; /* there is no short ecall */
        if (rig_actor.x[T0] == 1)
            return on_call(rig_actor.x[T1]);
        return rig_actor.x[T0] == 2 ? on_return() : on_service(rig_actor.x[T0]);
    }
    return on_stop(cause == CAUSE_TIMER ? TIMEOUT : TRAPPED, 0);
}

/* The agent's own fault: a guarded access goes on at its failure exit, anything else is the end. */
void rv_agent_fault(void)
{
    uint32_t pc = csr_read(mepc);
    if (pc < (uint32_t)rig_guard_start || pc >= (uint32_t)rig_guard_end)
        panic(PANIC_FAULT, pc);
    stop.cause = csr_read(mcause);
    stop.value = csr_read(mtval);
    stop.pc = pc;
    stop.mstatus = csr_read(mstatus);
    csr_write(mepc, (uint32_t)rig_guard_failed);
}

void arch_capture(void)
{
    const uint32_t words[8] = {stop.cause, stop.value, stop.pc, stop.mstatus, stop.sp, 0, 0, 0};
    copy_words(now.fault, words, sizeof words);
    copy_words(now.regs, rig_actor.x + A0, sizeof now.regs);
    if (now.outcome == RETURNED)
        now.regs[2] = now.regs[3] = 0;
}

uint32_t arch_fault_address(void)
{
    return stop.cause == CAUSE_FETCH_ACCESS ? stop.pc : stop.value;
}

/* The actor */

struct extent arch_extent(void)
{
    return (struct extent){rig_actor.x[SP], rig_actor.x[SP]};
}

uint32_t arch_word(uint32_t index)
{
    return rig_actor.x[A0 + index];
}

bool arch_set_level(const struct context *c)
{
    uint32_t mode = now.disarm == DISARM_PRIVILEGE ? MODE_M : c->level;
    rig_actor.mstatus = mode << MSTATUS_MPP_SHIFT | MSTATUS_MPIE | (now.flags & FLAG_FP ? MSTATUS_FS_INITIAL : 0);
    return mode != MODE_U;
}

bool arch_begin(const struct context *c, uint32_t sp, uint32_t entry, const uint32_t *words, uint32_t count,
                const uint32_t *fp, uint32_t nfp)
{
    (void)fp; /* floats travel in integer registers (ilp32) */
    (void)nfp;
    zero_words(&rig_actor, sizeof rig_actor);
    for (uint32_t i = 0; i < count; i++)
        rig_actor.x[A0 + i] = words[i];
    rig_actor.x[RA] = (uint32_t)rig_return;
    rig_actor.x[SP] = sp;
    rig_actor.x[S11] = c->r11;
    rig_actor.pc = entry & ~1u;
    return true;
}

void arch_resume(const struct actor *saved, uint32_t result_words)
{
    uint32_t results[2] = {rig_actor.x[A0], rig_actor.x[A0 + 1]};
#ifdef RIG_MUTANT_M23
    uint32_t kept = rig_actor.x[S11]; /* seeded bug: the base register stays as the callee had it */
#endif
    copy_words(&rig_actor, saved, sizeof rig_actor);
    for (uint32_t i = 0; i < result_words; i++)
        rig_actor.x[A0 + i] = results[i];
#ifdef RIG_MUTANT_M23
    rig_actor.x[S11] = kept;
#endif
}

void arch_sync_code(void)
{
    __asm__ volatile("fence.i" ::: "memory");
}

/* Guarded copies */

bool rig_guard_copy(void *to, const void *from, uint32_t bytes, uint32_t how);

bool arch_read(void *to, uint32_t from, uint32_t bytes)
{
    return rig_guard_copy(to, (const void *)from, bytes, 0);
}

bool arch_write(uint32_t to, const void *from, uint32_t bytes)
{
    return rig_guard_copy((void *)to, from, bytes, 0);
}

bool arch_user_read(void *to, uint32_t from, uint32_t bytes)
{
    return rig_guard_copy(to, (const void *)from, bytes, 1);
}

bool arch_user_write(uint32_t to, const void *from, uint32_t bytes)
{
    return rig_guard_copy((void *)to, from, bytes, 2);
}

/* Time limit: mtimecmp. While the agent runs, a timer that strikes only waits: MIE is off. */

static uint32_t started;

static uint64_t now_ticks(void)
{
    uint32_t high = mtime[1], low = mtime[0];
    if (high != mtime[1]) {
        high = mtime[1];
        low = mtime[0];
    }
    return (uint64_t)high << 32 | low;
}

void arch_timer_start(uint32_t us, enum precision precision)
{
    uint32_t per_ms = RIG_TICK_HZ / 1000;
    uint32_t ticks = us / 1000 * per_ms + us % 1000 * per_ms / 1000 + 1;
    uint64_t at = now_ticks();
    if (precision == EXACTLY || until < at + ticks || until > at + 2 * ticks) {
        until = precision == EXACTLY ? at + ticks : at + 2 * ticks;
        mtimecmp[0] = (uint32_t)until;
        mtimecmp[1] = (uint32_t)(until >> 32);
    }
    started = csr_read(mcycle);
}

uint32_t arch_timer_stop(void)
{
    return csr_read(mcycle) - started;
}
