/* SPDX-License-Identifier: Apache-2.0
 * Ways in and out of the actor. struct actor: x1-x31 at 4*n, pc at 128, mstatus at 132.
 * mscratch is &rig_actor while the actor runs, in whatever mode, and 0 while the agent runs. */
    .section .agent.text, "ax", @progbits

    .macro  EACH_REGISTER op    /* all but x0 and sp */
    \op     x1, 4(sp)
    .irp    n, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    \op     x\n, 4*\n(sp)
    .endr
    .endm

    .macro  EACH_SAVED op       /* callee-saved, in a 64-byte frame */
    \op     ra, 0(sp)
    \op     s0, 4(sp)
    \op     s1, 8(sp)
    \op     s2, 12(sp)
    \op     s3, 16(sp)
    \op     s4, 20(sp)
    \op     s5, 24(sp)
    \op     s6, 28(sp)
    \op     s7, 32(sp)
    \op     s8, 36(sp)
    \op     s9, 40(sp)
    \op     s10, 44(sp)
    \op     s11, 48(sp)
    .endm

    .macro  EACH_SCRATCH op     /* caller-saved, in a 64-byte frame */
    \op     ra, 0(sp)
    \op     t0, 4(sp)
    \op     t1, 8(sp)
    \op     t2, 12(sp)
    \op     t3, 16(sp)
    \op     t4, 20(sp)
    \op     t5, 24(sp)
    \op     t6, 28(sp)
    \op     a0, 32(sp)
    \op     a1, 36(sp)
    \op     a2, 40(sp)
    \op     a3, 44(sp)
    \op     a4, 48(sp)
    \op     a5, 52(sp)
    \op     a6, 56(sp)
    \op     a7, 60(sp)
    .endm

    .balign 4
    .global rig_trap
    .type   rig_trap, @function
rig_trap:
    csrrw   sp, mscratch, sp
    beqz    sp, agent
    EACH_REGISTER sw
    csrr    t0, mscratch
    sw      t0, 8(sp)
    csrr    t0, mepc
    sw      t0, 128(sp)
    csrr    t0, mstatus
    sw      t0, 132(sp)
    csrw    mscratch, zero
    la      t0, rig_kernel
    lw      sp, 0(t0)
    call    rv_trap
    beqz    a0, unwind
resume:
    la      sp, rig_actor
    csrw    mscratch, sp
    lw      t0, 128(sp)
    csrw    mepc, t0
    lw      t0, 132(sp)
    csrw    mstatus, t0
    EACH_REGISTER lw
    lw      sp, 8(sp)
    mret

agent:                          /* the agent's own fault */
    csrrw   sp, mscratch, sp
    addi    sp, sp, -64
    EACH_SCRATCH sw
    call    rv_agent_fault      /* comes back when it was a guarded access */
    EACH_SCRATCH lw
    addi    sp, sp, 64
    mret

    .global arch_enter
    .type   arch_enter, @function
arch_enter:
    addi    sp, sp, -64
    EACH_SAVED sw
    la      t0, rig_kernel
    sw      sp, 0(t0)
    j       resume
unwind:
    csrw    mstatus, zero
    la      t0, rig_kernel
    lw      sp, 0(t0)
    EACH_SAVED lw
    addi    sp, sp, 64
    ret

/* Guarded accesses: a fault between start and end continues at rig_guard_failed.
 * bool rig_guard_copy(void *to, const void *from, uint32_t bytes, uint32_t how): 0 plain · 1 unprivileged loads ·
 * 2 unprivileged stores (MPRV with MPP = U). */
    .global rig_guard_start, rig_guard_end, rig_guard_failed
rig_guard_start:
    .global rig_guard_copy
    .type   rig_guard_copy, @function
rig_guard_copy:
    li      t2, 0x20000         /* MPRV */
    li      t3, 0x1800          /* MPP */
    csrc    mstatus, t3
    beqz    a2, 9f
    li      t0, 1
    beq     a3, t0, 3f
    bgtu    a3, t0, 4f
    or      t0, a0, a1
    or      t0, t0, a2
    andi    t0, t0, 3
    bnez    t0, 2f
1:  lw      t1, 0(a1)
    sw      t1, 0(a0)
    addi    a1, a1, 4
    addi    a0, a0, 4
    addi    a2, a2, -4
    bnez    a2, 1b
    j       9f
2:  lbu     t1, 0(a1)
    sb      t1, 0(a0)
    addi    a1, a1, 1
    addi    a0, a0, 1
    addi    a2, a2, -1
    bnez    a2, 2b
    j       9f
3:  csrs    mstatus, t2
    lbu     t1, 0(a1)
    csrc    mstatus, t2
    sb      t1, 0(a0)
    addi    a1, a1, 1
    addi    a0, a0, 1
    addi    a2, a2, -1
    bnez    a2, 3b
    j       9f
4:  lbu     t1, 0(a1)
    csrs    mstatus, t2
    sb      t1, 0(a0)
    csrc    mstatus, t2
    addi    a1, a1, 1
    addi    a0, a0, 1
    addi    a2, a2, -1
    bnez    a2, 4b
9:  li      a0, 1
    ret

/* bool rig_guard_mseccfg(uint32_t *value): false where there is none */
    .global rig_guard_mseccfg
    .type   rig_guard_mseccfg, @function
rig_guard_mseccfg:
    csrr    t0, 0x747
    sw      t0, 0(a0)
    li      a0, 1
    ret

/* pmpaddr registers have no index register: runs of them are unrolled and entered at the right place.
 * bool rig_pmpaddr_write(const uint32_t *words, uint32_t count): entries count-1 down to 0
 * bool rig_pmpaddr_read(uint32_t *words, uint32_t count) */
    .macro  EACH_ENTRY_DOWN
    .option push
    .option norvc
    .irp    n, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0
    ENTRY   \n
    .endr
    .option pop
    .endm

    .macro  INTO label          /* 8 bytes per entry, 16 entries, the last `a1` of them */
    li      t0, 16
    sub     t0, t0, a1
    slli    t0, t0, 3
    la      t1, \label
    add     t1, t1, t0
    jr      t1
    .endm

    .global rig_pmpaddr_write
    .type   rig_pmpaddr_write, @function
rig_pmpaddr_write:
    INTO    1f
    .macro  ENTRY n
    lw      t0, 4*\n(a0)
    csrw    0x3B0 + \n, t0
    .endm
1:  EACH_ENTRY_DOWN
    .purgem ENTRY
    li      a0, 1
    ret

    .global rig_pmpaddr_read
    .type   rig_pmpaddr_read, @function
rig_pmpaddr_read:
    INTO    1f
    .macro  ENTRY n
    csrr    t0, 0x3B0 + \n
    sw      t0, 4*\n(a0)
    .endm
1:  EACH_ENTRY_DOWN
    .purgem ENTRY
    li      a0, 1
    ret
rig_guard_end:

rig_guard_failed:
    li      t2, 0x20000
    csrc    mstatus, t2
    li      a0, 0
    ret

    .section .agent.bss.kernel, "aw", @nobits
    .global rig_kernel
    .balign 4
rig_kernel:                     /* sp of arch_enter's frame */
    .space  4
