/* SPDX-License-Identifier: Apache-2.0
 * Unprivileged code: the attack stubs. rig_stub_<op> is the entry, rig_pc_<op> the instruction that accesses.
 * Leaf functions; entered with ra = rig_return. Accessing instructions are 4 bytes long (norvc). */
    .option norvc
    .option arch, +f, +d
    .section .unpriv.text.stubs, "ax", @progbits

    .macro  STUB name
    .balign 4
    .global rig_stub_\name
    .type   rig_stub_\name, @function
rig_stub_\name:
    .endm

    .macro  AT name
    .global rig_pc_\name
    .type   rig_pc_\name, @object
rig_pc_\name:
    .endm

    .macro  ONE name, instruction:vararg
    STUB    \name
    AT      \name
    \instruction
    ret
    .endm

    .balign 4
    .global rig_return
    .type   rig_return, @function
rig_return:
    li      t0, 2
    ecall

    ONE     load8u,  lbu a0, 0(a0)
    ONE     load8s,  lb  a0, 0(a0)
    ONE     load16u, lhu a0, 0(a0)
    ONE     load16s, lh  a0, 0(a0)
    ONE     load32,  lw  a0, 0(a0)
    ONE     store8,  sb  a1, 0(a0)
    ONE     store16, sh  a1, 0(a0)
    ONE     store32, sw  a1, 0(a0)

    ONE     ldrex,   lr.w a0, (a0)
    STUB    strex
    lr.w    t0, (a2)
    AT      strex
    sc.w    a0, a1, (a0)
    ret
    ONE     amoadd,  amoadd.w a0, a1, (a0)
    ONE     amoswap, amoswap.w a0, a1, (a0)

    STUB    vload32
    AT      vload32
    flw     ft0, 0(a0)
    fmv.x.w a0, ft0
    ret

    STUB    vstore32
    fmv.w.x ft0, a1
    AT      vstore32
    fsw     ft0, 0(a0)
    ret

    STUB    vload64
    addi    sp, sp, -16
    AT      vload64
    fld     ft0, 0(a0)
    fsd     ft0, 0(sp)
    lw      a0, 0(sp)
    lw      a1, 4(sp)
    addi    sp, sp, 16
    ret

    STUB    vstore64
    addi    sp, sp, -16
    sw      a1, 0(sp)
    sw      a2, 4(sp)
    fld     ft0, 0(sp)
    addi    sp, sp, 16
    AT      vstore64
    fsd     ft0, 0(a0)
    ret

    STUB    call
    AT      call
    jr      a0

    /* Written registers are read back and restored: a privileged actor (disarmed leg) must not hurt the agent. */
    .macro  READ name
    ONE     csrr_\name, csrr a0, \name
    .endm
    .macro  WRITE name
    STUB    csrw_\name
    AT      csrw_\name
    csrrw   t0, \name, a0
    csrr    a0, \name
    csrw    \name, t0
    ret
    .endm
    READ    mhartid
    .irp    name, mstatus, mtvec, mie, mepc, mcause, mscratch, pmpcfg0, pmpaddr0
    READ    \name
    WRITE   \name
    .endr

    STUB    recurse             /* a0 words, value a1 */
    mv      t0, a0
    mv      t1, sp
1:  beqz    t0, 2f
    addi    sp, sp, -4
    AT      recurse
    sw      a1, 0(sp)
    addi    t0, t0, -1
    j       1b
2:  mv      sp, t1
    ret

    /* a1 items from a0: load, store the same, load again, compare; returns how many were right. */
    .macro  RW name, load, store, step
    STUB    \name
    li      t0, 0
1:  beq     t0, a1, 2f
    AT      \name
    \load   t1, 0(a0)
    \store  t1, 0(a0)
    \load   t2, 0(a0)
    addi    a0, a0, \step
    bne     t1, t2, 2f
    addi    t0, t0, 1
    j       1b
2:  mv      a0, t0
    ret
    .endm
    RW      rw8,  lbu, sb, 1
    RW      rw16, lhu, sh, 2
    RW      rw32, lw,  sw, 4

    STUB    sum                 /* sum of word[i] * (2i + 1) over a1 words from a0 */
    li      t0, 0
    li      t1, 1
1:  beqz    a1, 2f
    AT      sum
    lw      t2, 0(a0)
    mul     t2, t2, t1
    add     t0, t0, t2
    addi    t1, t1, 2
    addi    a0, a0, 4
    addi    a1, a1, -1
    j       1b
2:  mv      a0, t0
    ret

    STUB    nop
    ret

    STUB    ecall               /* number a0, argument a1 */
    mv      t0, a0
    mv      t1, a1
    AT      ecall
    ecall
    ret

    .balign 64
    .global rig_sacrifice_code
    .type   rig_sacrifice_code, @object
rig_sacrifice_code:
    .space  64

    .section .agent.text.sacrifice, "ax", @progbits
    .balign 64
    .global rig_sacrifice_text
    .type   rig_sacrifice_text, @object
rig_sacrifice_text:
    .space  64

    .section .agent.bss.sacrifice, "aw", @nobits
    .balign 64
    .global rig_sacrifice_ram
    .type   rig_sacrifice_ram, @object
rig_sacrifice_ram:
    .space  64
