/* SPDX-License-Identifier: Apache-2.0
 * Unprivileged code: the attack stubs. rig_stub_<op> is the entry, rig_pc_<op> the instruction that accesses.
 * Leaf functions by AAPCS; entered with LR = rig_return. */
    .syntax unified
    .thumb
    .fpu    fpv4-sp-d16
    .section .unpriv.text.stubs, "ax", %progbits

    .macro  STUB name
    .balign 4
    .global rig_stub_\name
    .type   rig_stub_\name, %function
rig_stub_\name:
    .endm

    .macro  AT name             /* a plain address: no Thumb bit */
    .global rig_pc_\name
    .type   rig_pc_\name, %object
rig_pc_\name:
    .endm

    .macro  ONE name, instruction:vararg
    STUB    \name
    AT      \name
    \instruction
    bx      lr
    .endm

    .global rig_return
    .type   rig_return, %function
rig_return:
    svc     #2

    ONE     load8u,  ldrb  r0, [r0]
    ONE     load8s,  ldrsb r0, [r0]
    ONE     load16u, ldrh  r0, [r0]
    ONE     load16s, ldrsh r0, [r0]
    ONE     load32,  ldr   r0, [r0]
    ONE     store8,  strb  r1, [r0]
    ONE     store16, strh  r1, [r0]
    ONE     store32, str   r1, [r0]
    ONE     store64, strd  r1, r2, [r0]
    ONE     ldm,     ldm   r0, {r0-r3}
    ONE     stm,     stmia r0!, {r1-r3}

    STUB    load64          /* the base is no destination: it must be as it was after a fault */
    AT      load64
    ldrd    r2, r3, [r0]
    mov     r0, r2
    mov     r1, r3
    bx      lr

    STUB    push
    mov     r3, sp
    mov     sp, r0
    AT      push
    push    {r1, r2}
    mov     sp, r3
    bx      lr

    STUB    pop
    mov     r3, sp
    mov     sp, r0
    AT      pop
    pop     {r0, r1}
    mov     sp, r3
    bx      lr

    ONE     ldrex, ldrex r0, [r0]

    STUB    strex
    ldrex   r3, [r2]
    AT      strex
    strex   r3, r1, [r0]        /* status and address may not share a register */
    mov     r0, r3
    bx      lr

    STUB    vload32
    AT      vload32
    vldr    s0, [r0]
    vmov    r0, s0
    bx      lr

    STUB    vload64
    AT      vload64
    vldm    r0, {s0-s1}
    vmov    r0, r1, s0, s1
    bx      lr

    STUB    vstore32
    vmov    s0, r1
    AT      vstore32
    vstr    s0, [r0]
    bx      lr

    STUB    vstore64
    vmov    s0, s1, r1, r2
    AT      vstore64
    vstm    r0, {s0-s1}
    bx      lr

    STUB    call
    AT      call
    bx      r0

    STUB    control
    mrs     r2, control
    AT      control
    msr     control, r0
    isb
    mrs     r0, control
    bx      lr

    STUB    getcontrol
    AT      getcontrol
    mrs     r0, control
    bx      lr

    /* Masks: set and read back; a privileged actor (disarmed leg) clears them, or its return could not be taken. */
    .macro  MASK name, instruction:vararg
    STUB    \name
    AT      \name
    \instruction
    mrs     r0, \name
    b       unmask
    .endm
    MASK    primask,   msr primask, r0
    MASK    basepri,   msr basepri, r0
    MASK    faultmask, msr faultmask, r0
    STUB    cpsid
    AT      cpsid
    cpsid   i
    mrs     r0, primask
unmask:
    mrs     r2, control
    tst     r2, #1
    bne     1f
    movs    r2, #0
    msr     primask, r2
    msr     basepri, r2
    msr     faultmask, r2
1:  bx      lr

    STUB    recurse             /* a0 words, value a1 */
    mov     r2, r0
1:  cbz     r2, 2f
    AT      recurse
    push    {r1}
    subs    r2, #1
    b       1b
2:  add     sp, sp, r0, lsl #2
    bx      lr

    /* a1 items from a0: load, store the same, load again, compare; returns how many were right. */
    .macro  RW name, load, store, step
    STUB    \name
    movs    r2, #0
1:  cmp     r2, r1
    beq     2f
    AT      \name
    \load   r3, [r0]
    \store  r3, [r0]
    \load   r12, [r0], #\step
    cmp     r3, r12
    bne     2f
    adds    r2, #1
    b       1b
2:  mov     r0, r2
    bx      lr
    .endm
    RW      rw8,  ldrb, strb, 1
    RW      rw16, ldrh, strh, 2
    RW      rw32, ldr,  str,  4

    STUB    sum                 /* sum of word[i] * (2i + 1) over a1 words from a0 */
    movs    r2, #0
    movs    r12, #1
    cbz     r1, 2f
    AT      sum
1:  ldr     r3, [r0], #4
    mla     r2, r3, r12, r2
    add     r12, #2
    subs    r1, #1
    bne     1b
2:  mov     r0, r2
    bx      lr

    STUB    nop
    bx      lr

    .balign 4
    .global rig_stub_svc
    .type   rig_stub_svc, %function
rig_stub_svc:
    .set    number, 0
    .rept   256
    svc     #number
    bx      lr
    .set    number, number + 1
    .endr

    .balign 64
    .global rig_sacrifice_code
    .type   rig_sacrifice_code, %object
rig_sacrifice_code:
    .space  64

    .section .agent.text.sacrifice, "ax", %progbits
    .balign 64
    .global rig_sacrifice_text
    .type   rig_sacrifice_text, %object
rig_sacrifice_text:
    .space  64

    .section .agent.bss.sacrifice, "aw", %nobits
    .balign 64
    .global rig_sacrifice_ram
    .type   rig_sacrifice_ram, %object
rig_sacrifice_ram:
    .space  64
