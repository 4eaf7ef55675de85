/* SPDX-License-Identifier: Apache-2.0
 * Reset: the first instruction of the agent's text. */
    .section .agent.vectors, "ax", @progbits
    .global rig_reset
    .type   rig_reset, @function
rig_reset:
    csrw    mie, zero
    csrw    mstatus, zero
    csrw    mscratch, zero      /* no actor runs */
    la      t0, rig_trap
    csrw    mtvec, t0
    la      t0, __agent_ram_start
    la      t1, __agent_ram_end
1:  sw      zero, 0(t0)
    addi    t0, t0, 4
    bltu    t0, t1, 1b
    la      sp, stack_top
    call    agent_main

    .section .agent.bss.stack, "aw", @nobits
    .balign 16
    .space  8192
stack_top:
