/* SPDX-License-Identifier: Apache-2.0
 * Vectors and reset. The linker puts .agent.vectors at the start of the agent's text. */
#include "arch.h"

enum { INTERRUPTS = 48 };

_Alignas(8) static uint8_t stack[8192];

extern uint32_t __agent_ram_start[], __agent_ram_end[];
_Noreturn void agent_main(void);
void rig_on_fault(void);
void rig_on_svc(void);
void rig_on_tick(void);
void rig_on_other(void);

/* Zeroes the agent's RAM, its own stack included, so it must not use one. */
__attribute__((naked, noreturn)) static void reset(void)
{
    __asm__ volatile("cpsid i\n"
                     "movs  r0, #0\n"
                     "1: str r0, [%0], #4\n"
                     "cmp   %0, %1\n"
                     "bne   1b\n"
                     "mov   sp, %2\n"
                     "cpsie i\n"
                     "bl    agent_main\n"
                     :
                     : "r"(__agent_ram_start), "r"(__agent_ram_end), "r"(stack + sizeof stack)
                     : "r0", "memory");
}

__attribute__((section(".agent.vectors"), used)) static const void *const vectors[16 + INTERRUPTS] = {
    stack + sizeof stack,
    (const void *)reset,
    (const void *)rig_on_other, /* NMI */
    (const void *)rig_on_fault, /* HardFault */
    (const void *)rig_on_fault, /* MemManage */
    (const void *)rig_on_fault, /* BusFault */
    (const void *)rig_on_fault, /* UsageFault */
    (const void *)rig_on_other,
    (const void *)rig_on_other,
    (const void *)rig_on_other,
    (const void *)rig_on_other,
    (const void *)rig_on_svc,
    (const void *)rig_on_other, /* DebugMonitor */
    (const void *)rig_on_other,
    (const void *)rig_on_other, /* PendSV */
    (const void *)rig_on_tick,
    [16 ... 16 + INTERRUPTS - 1] = (const void *)rig_on_other,
};
