/* SPDX-License-Identifier: Apache-2.0
 * Ways in and out of the actor. struct actor: r4-r11 at 0, frame 32, exc_return 36, control 40, s16-s31 at 44.
 *
 * rig_phase: 0 nobody runs · 1 main asks for an entry · 2 the actor runs. Main's own exception frame (from its
 * svc #0) stays on MSP as long as the actor runs; leaving for good means going back to that frame.
 */
    .syntax unified
    .thumb
#ifdef RIG_FPU
    .fpu fpv4-sp-d16
#endif
    .section .agent.text, "ax", %progbits

    .global rig_on_svc
    .type rig_on_svc, %function
rig_on_svc:
    ldr     r3, =rig_phase
    ldr     r2, [r3]
    cmp     r2, #1
    beq     start
    blo     ignore          /* left pending by an exception entry that failed: nobody asks any more */
    ldr     r12, =v7m_svc
    b       stopped
ignore:
    bx      lr

    .global rig_on_fault
    .type rig_on_fault, %function
rig_on_fault:
    ldr     r12, =v7m_fault
    b       actor_or_agent

    .global rig_on_other
    .type rig_on_other, %function
rig_on_other:
    ldr     r12, =v7m_other
actor_or_agent:             /* thread mode while the actor runs is the actor, whatever stack it uses */
    ldr     r3, =rig_phase
    ldr     r2, [r3]
    cmp     r2, #2
    bne     agent
    tst     lr, #8
    bne     stopped
agent:
    mov     r0, sp
    push    {r3, lr}
    bl      v7m_agent_fault /* comes back when it was a guarded copy */
    pop     {r3, pc}

    .global rig_on_tick
    .type rig_on_tick, %function
rig_on_tick:
    ldr     r12, =v7m_tick
    ldr     r3, =rig_phase
    ldr     r2, [r3]
    cmp     r2, #2
    bne     ignore

stopped:
    ldr     r3, =rig_actor
    stmia   r3!, {r4-r11}
    tst     lr, #4
    ite     eq
    mrseq   r0, msp
    mrsne   r0, psp
    str     r0, [r3], #4
    str     lr, [r3], #4
#ifdef RIG_FPU
    tst     lr, #0x10
    bne     1f
    add     r2, r3, #4
    vstmia  r2, {s16-s31}
1:
#endif
    blx     r12
    cbz     r0, unwind
resume:
    ldr     r3, =rig_kernel
    ldr     r1, [r3]
    mov     sp, r1          /* an actor that was privileged may have used MSP */
    ldr     r3, =rig_actor
    ldr     r0, [r3, #40]
    msr     control, r0
    ldr     r1, [r3, #32]
    msr     psp, r1
    ldr     lr, [r3, #36]
#ifdef RIG_FPU
    tst     lr, #0x10
    bne     1f
    add     r2, r3, #44
    vldmia  r2, {s16-s31}
1:
#endif
    ldmia   r3, {r4-r11}
    isb
    bx      lr

start:
    movs    r2, #2
    str     r2, [r3]
    ldr     r3, =rig_kernel
    mov     r1, sp
    str     r1, [r3]
    str     lr, [r3, #4]
    b       resume

unwind:
    movs    r0, #0
    ldr     r3, =rig_phase
    str     r0, [r3]
    msr     control, r0
    msr     primask, r0
    msr     basepri, r0
    msr     faultmask, r0
    ldr     r3, =rig_kernel
    ldr     r1, [r3]
    mov     sp, r1
    ldr     lr, [r3, #4]
    isb
    bx      lr

    .global arch_enter
    .type arch_enter, %function
arch_enter:
    push    {r3-r11, lr}
    ldr     r3, =rig_phase
    movs    r2, #1
    str     r2, [r3]
    svc     #0
    pop     {r3-r11, pc}

/* bool rig_guard_copy(void *to, const void *from, uint32_t bytes, uint32_t how): 0 plain · 1 unprivileged loads ·
 * 2 unprivileged stores. A fault between start and end continues at rig_guard_failed. */
    .global rig_guard_copy, rig_guard_start, rig_guard_end, rig_guard_failed
    .type rig_guard_copy, %function
rig_guard_copy:
    push    {r4, lr}
rig_guard_start:
    cbz     r2, 9f
    cmp     r3, #1
    beq     3f
    bhi     4f
    orr     r4, r0, r1
    orr     r4, r2
    tst     r4, #3
    bne     2f
1:  ldr     r4, [r1], #4
    str     r4, [r0], #4
    subs    r2, #4
    bne     1b
    b       9f
2:  ldrb    r4, [r1], #1
    strb    r4, [r0], #1
    subs    r2, #1
    bne     2b
    b       9f
3:  ldrbt   r4, [r1]
    strb    r4, [r0], #1
    adds    r1, #1
    subs    r2, #1
    bne     3b
    b       9f
4:  ldrb    r4, [r1], #1
    strbt   r4, [r0]
    adds    r0, #1
    subs    r2, #1
    bne     4b
9:  dsb                     /* a late fault belongs in here */
rig_guard_end:
    movs    r0, #1
    pop     {r4, pc}
    .type rig_guard_failed, %function
rig_guard_failed:
    movs    r0, #0
    pop     {r4, pc}

    .pool

    .section .agent.bss.phase, "aw", %nobits
    .global rig_phase, rig_kernel
    .balign 4
rig_phase:
    .space  4
rig_kernel:                 /* MSP and EXC_RETURN of main's svc #0 */
    .space  8
