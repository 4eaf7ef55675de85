/* SPDX-License-Identifier: Apache-2.0
 * Exceptions, frames and the timer of Armv7-M. */
#include "arch.h"
#include "run.h"
#include "scs.h"

enum {
    BASIC = 8,     /* words of a frame */
    EXTENDED = 26, /* with s0-s15 and FPSCR */
    R12 = 4,
    LR = 5,
    PC = 6,
    PSR = 7,
    S0 = 8,
    PSR_THUMB = 1 << 24,
    PSR_PADDED = 1 << 9,
    EXC_RETURN_PSP = 0xFFFFFFFD,
    EXC_RETURN_BASIC = 1 << 4,
    LOST = 0xFFFFFFFF
};

struct facts facts;
struct actor rig_actor;
extern uint32_t rig_phase, rig_kernel[2];
extern uint8_t rig_guard_start[], rig_guard_end[], rig_guard_failed[];

static struct {
    uint32_t cfsr, hfsr, mmfar, bfar, pc, psr;
    bool frame; /* the exception frame was written */
} stop;

static uint32_t load; /* SYST_RVR */

static uint32_t *frame_of(const struct actor *a)
{
    return (uint32_t *)a->frame;
}

/* Set-up */

static void settings(void)
{
    extern uint8_t __agent_text_start[];
    VTOR = (uint32_t)__agent_text_start;
    CCR = CCR_STKALIGN;
    SHPR1 = 0;                 /* faults before */
    SHPR2 = 0x80000000;        /* SVC */
    SHPR3 = 0x80800000;        /* and SysTick, PendSV */
    SHCSR = SHCSR_ENABLES;     /* nothing active or pending */
    ICSR = ICSR_PENDSTCLR | ICSR_PENDSVCLR;
    SYST_CSR = 0;
    SYST_RVR = load = 0;
    for (uint32_t i = 0; i < 8; i++) {
        NVIC_ICER(i) = 0xFFFFFFFF;
        NVIC_ICPR(i) = 0xFFFFFFFF;
    }
#ifdef RIG_FPU
    CPACR = 0xF << 20;
    barrier();
    FPCCR = 1u << 31; /* ASPEN; no lazy stacking: what an actor leaves is in its frame at once */
#endif
    barrier();
}

void arch_reassert(void)
{
    arch_unprotect();
    arch_forget_map();
    settings();
}

void arch_init(void)
{
    settings();
    facts.mpu_type = MPU_TYPE;
    facts.regions = facts.mpu_type >> 8 & 0xFF;
    MPU_CTRL = 0;
    barrier();
    MPU_RNR = 0;
    MPU_RASR = 0;
    MPU_RBAR = 0xFFFFFFE0;
    uint32_t base = MPU_RBAR & ~0x1Fu;
    facts.grain = base & -base; /* smallest base alignment, bytes */
    MPU_RBAR = 0;
    for (uint32_t i = 0; i < facts.regions; i++) {
        MPU_RNR = i;
        MPU_RASR = 0;
    }
#ifdef RIG_FPU
    if (CPACR & 0xF << 20)
        facts.features |= FEATURE_FPU;
#endif
}

_Noreturn void arch_halt(void)
{
    for (;;)
        __asm__ volatile("wfi");
}

/* Why we are here */

static void note(bool frame)
{
    stop.cfsr = stop.hfsr = stop.mmfar = stop.bfar = 0;
    stop.frame = frame;
    stop.pc = frame ? frame_of(&rig_actor)[PC] : LOST;
    stop.psr = frame ? frame_of(&rig_actor)[PSR] : LOST;
}

static void note_fault(bool of_actor)
{
    uint32_t cfsr = CFSR;
#ifdef RIG_MUTANT_M34
    CFSR = cfsr; /* seeded bug: cleared before it is logged */
    cfsr = CFSR;
#endif
    note(of_actor && !(cfsr & (CFSR_MSTKERR | CFSR_MUNSTKERR | CFSR_STKERR | CFSR_UNSTKERR)));
    stop.cfsr = cfsr;
    stop.hfsr = HFSR;
    stop.mmfar = cfsr & CFSR_MMARVALID ? MMFAR : 0;
    stop.bfar = cfsr & CFSR_BFARVALID ? BFAR : 0;
    CFSR = cfsr;
    HFSR = stop.hfsr;
    SHCSR = SHCSR & ~(0xF << 12); /* pended, never to be taken: the actor will be gone */
}

/* CONTROL as the actor had it (a handler sees SPSEL as 0 and its own FPCA), and the masks. */
static uint32_t masks(void)
{
    uint32_t control, primask, faultmask, basepri;
    __asm__("mrs %0, control\nmrs %1, primask\nmrs %2, faultmask\nmrs %3, basepri"
            : "=r"(control), "=r"(primask), "=r"(faultmask), "=r"(basepri));
    uint32_t spsel = rig_actor.exc_return >> 2 & 1, fpca = ~rig_actor.exc_return >> 4 & 1;
    return (control & 1) | spsel << 1 | fpca << 2 | primask << 8 | faultmask << 9 | basepri << 16;
}

static bool service(void)
{
    const uint32_t *frame = frame_of(&rig_actor);
    uint32_t number = *(const uint16_t *)(frame[PC] - 2) & 0xFF;
    if (number == 1)
        return on_call(frame[R12]);
    return number == 2 ? on_return() : on_service(number);
}

bool v7m_svc(void)
{
    note(true);
    return service();
}

bool v7m_fault(void)
{
    note_fault(true);
    /* SVC with interrupts masked (only a privileged actor can) escalates, without a cause of its own. */
    if (stop.hfsr == HFSR_FORCED && stop.cfsr == 0 && masks() >> 8 && *(const uint8_t *)(stop.pc - 1) == 0xDF)
        return service();
    return on_stop(TRAPPED, 0);
}

bool v7m_other(void)
{
    uint32_t number;
    __asm__("mrs %0, ipsr" : "=r"(number));
    note(true);
    return on_stop(TRAPPED, number);
}

/* `frame`: the agent's own, on MSP. A guarded copy goes on at its failure exit, anything else is the end. */
void v7m_agent_fault(uint32_t *frame)
{
    uint32_t pc = frame[PC], number;
    __asm__("mrs %0, ipsr" : "=r"(number));
    if (number < 3 || number > 6)
        panic(PANIC_EXCEPTION, number);
    if (pc < (uint32_t)rig_guard_start || pc >= (uint32_t)rig_guard_end)
        panic(PANIC_FAULT, pc);
    note_fault(false);
    stop.pc = pc;
    stop.psr = frame[PSR];
    frame[PC] = (uint32_t)rig_guard_failed & ~1u;
    frame[PSR] &= PSR_THUMB; /* no leftover of an interrupted IT block */
}

void arch_capture(void)
{
    const uint32_t *frame = frame_of(&rig_actor);
    bool extended = !(rig_actor.exc_return & EXC_RETURN_BASIC);
    const uint32_t words[8] = {stop.cfsr, stop.hfsr, stop.mmfar, stop.bfar,
                               stop.pc,   stop.psr,  rig_actor.exc_return, masks()};
    copy_words(now.fault, words, sizeof words);
    for (uint32_t i = 0; i < 4; i++)
        now.regs[i] = stop.frame ? frame[i] : LOST;
    if (now.outcome == RETURNED) {
        now.regs[2] = extended ? frame[S0] : 0;
        now.regs[3] = extended ? frame[S0 + 1] : 0;
    }
}

uint32_t arch_fault_address(void)
{
    if (stop.cfsr & CFSR_MMARVALID)
        return stop.mmfar;
    return stop.cfsr & CFSR_BFARVALID ? stop.bfar : stop.pc;
}

/* The actor */

struct extent arch_extent(void)
{
    const uint32_t *frame = frame_of(&rig_actor);
    uint32_t words = rig_actor.exc_return & EXC_RETURN_BASIC ? BASIC : EXTENDED;
    uint32_t padded = frame[PSR] & PSR_PADDED ? 4 : 0;
    return (struct extent){rig_actor.frame, rig_actor.frame + 4 * words + padded};
}

uint32_t arch_word(uint32_t index)
{
    return frame_of(&rig_actor)[index];
}

bool arch_set_level(const struct context *c)
{
    rig_actor.control = now.disarm == DISARM_PRIVILEGE ? 0 : c->level & 1;
    return rig_actor.control == 0;
}

bool arch_begin(const struct context *c, uint32_t sp, uint32_t entry, const uint32_t *words, uint32_t count,
                const uint32_t *fp, uint32_t nfp)
{
    bool fpu = facts.features & FEATURE_FPU;
    uint32_t size = fpu ? EXTENDED : BASIC;
    if (sp < c->stack_low || sp - c->stack_low < 4 * size)
        return false;
    const uint32_t *from = fp ? fp : frame_of(&rig_actor) + S0;
    if (!fp)
        nfp = rig_actor.exc_return & EXC_RETURN_BASIC ? 0 : 16;
    uint32_t *frame = (uint32_t *)(sp - 4 * size);
    for (uint32_t i = 0; i < 4; i++)
        frame[i] = i < count ? words[i] : 0;
    frame[R12] = 0;
    frame[LR] = (uint32_t)rig_return;
    frame[PC] = entry & ~1u;
    frame[PSR] = entry & 1 ? PSR_THUMB : 0;
    if (fpu)
        for (uint32_t i = 0; i < EXTENDED - BASIC; i++)
            frame[S0 + i] = i < nfp ? from[i] : 0;
    zero_words(&rig_actor, sizeof rig_actor);
    rig_actor.r4_11[5] = c->r9;
    rig_actor.r4_11[6] = c->r10;
    rig_actor.r4_11[7] = c->r11;
    rig_actor.frame = (uint32_t)frame;
    rig_actor.exc_return = fpu ? EXC_RETURN_PSP & ~EXC_RETURN_BASIC : EXC_RETURN_PSP;
    return true;
}

/* Callee-saved registers come back as the caller had them, base registers among them: compiled C may keep
 * anything there. A caller that spoiled its own bases keeps the damage. */
void arch_resume(const struct actor *saved, uint32_t result_words)
{
    const uint32_t *from = frame_of(&rig_actor);
    uint32_t *to = frame_of(saved);
    for (uint32_t i = 0; i < result_words; i++)
        to[i] = from[i];
    if (!(saved->exc_return & EXC_RETURN_BASIC) && !(rig_actor.exc_return & EXC_RETURN_BASIC))
        for (uint32_t i = 0; i < 4; i++)
            to[S0 + i] = from[S0 + i];
#ifdef RIG_MUTANT_M23
    uint32_t kept[3]; /* seeded bug: base registers stay as the callee had them */
    copy_words(kept, rig_actor.r4_11 + 5, sizeof kept);
#endif
    copy_words(&rig_actor, saved, sizeof rig_actor);
#ifdef RIG_MUTANT_M23
    copy_words(rig_actor.r4_11 + 5, kept, sizeof kept);
#endif
}

void arch_sync_code(void)
{
    barrier();
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

/* Time limit: SysTick counts 24 bits, longer limits take several rounds. It runs on between programs: a tick finds
 * nobody then. */

enum { SHORT = RIG_TICK_HZ / 1000 }; /* ticks; shorter periods are not left running, they would only disturb */

static uint32_t rounds_left, rounds_done, started;

void arch_timer_start(uint32_t us, enum precision precision)
{
    uint32_t per_ms = RIG_TICK_HZ / 1000;
    uint32_t ticks = us / 1000 * per_ms + us % 1000 * per_ms / 1000 + 1;
    bool spare = precision == AT_LEAST && 2 * ticks <= SYST_MAX;
    uint32_t rounds = ticks / SYST_MAX + 1, period = spare ? 2 * ticks : ticks / rounds + 1;
    rounds_left = rounds - 1;
    rounds_done = 0;
    if (spare && load == period && (started = SYST_CVR) > ticks)
        return;
    started = period;
    if (load == period) {
        SYST_CVR = 0; /* counts from the start again */
        return;
    }
    SYST_RVR = load = period;
    SYST_CVR = 0;
    SYST_CSR = SYST_CLKSOURCE | SYST_TICKINT | SYST_ENABLE;
}

uint32_t arch_timer_stop(void)
{
    uint32_t value = SYST_CVR;
    if (load < SHORT)
        SYST_CSR = load = 0;
    return rounds_done * (started + 1) + (value ? started - value : 0);
}

bool v7m_tick(void)
{
    rounds_done++;
    if (rounds_left) {
        rounds_left--;
        return true;
    }
    note(true);
    return on_stop(TIMEOUT, 0);
}
