# SPDX-License-Identifier: Apache-2.0
"""Every attack stub: legal it works, disarmed it lands, armed it is stopped, with the exact syndrome."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from bringup import A, B, Rig

from rig.inject.model import Disarm, Flag, Leg, Outcome, Program, Step, Verb

pytestmark = pytest.mark.emulator

LOST = 0xFFFF_FFFF
DACCVIOL, MSTKERR, MMARVALID = 0x02, 0x10, 0x80
VALUE = (0x8382_8180, 0x8786_8584)  # at every target before the attack
STORED = (0x0102_0304, 0x0506_0708)


@dataclass(frozen=True, slots=True)
class Load:
    op: str
    result: tuple[int, ...]


LOADS = (
    Load("load8u", (0x80,)),
    Load("load8s", (0xFFFF_FF80,)),
    Load("load16u", (0x8180,)),
    Load("load16s", (0xFFFF_8180,)),
    Load("load32", (VALUE[0],)),
    Load("ldrex", (VALUE[0],)),
    Load("vload32", (VALUE[0],)),
    Load("vload64", VALUE),
)
ARM_LOADS = (Load("load64", VALUE), Load("ldm", VALUE))
STORES = (("store8", 1), ("store16", 2), ("store32", 4), ("vstore32", 4), ("vstore64", 8))
ARM_STORES = (("store64", 8),)
EXCLUSIVE = "strex"


def fp(op: str) -> Flag:
    return Flag.FP if op.startswith("v") else Flag(0)


def three_legs(rig: Rig, op: str, *rest: int, offset: int = 0x100, width: int = 8) -> tuple:
    """Observations of legal (own memory), disarmed and armed (B's memory)."""
    own, other = (mem + offset for mem in rig.where.mem)
    seen = []
    for leg, disarm, address in (
        (Leg.LEGAL, Disarm.NOTHING, own),
        (Leg.DISARMED, Disarm.MAP, other),
        (Leg.ARMED, Disarm.NOTHING, other),
    ):
        rig.poke(address, *VALUE)
        watched = {"watch": address, "watch_len": 16, "focus": address, "flags": Flag.RESTORE | fp(op)}
        seen.append(rig.attack(op, address, *rest, leg=leg, disarm=disarm, **watched))
        assert seen[-1].leg is leg
        assert (rig.word(address), rig.word(address + 4)) == VALUE, "restored"
    return tuple(seen)


def check_stopped(rig: Rig, seen, op: str, address: int, *, store: bool) -> None:
    assert seen.outcome is Outcome.TRAPPED
    assert seen.context == A and seen.caller == 0xFF and seen.step == 0
    assert seen.changed == 0 and seen.before == seen.after
    if rig.arm:
        assert seen.fault[:6] == (DACCVIOL | MMARVALID, 0, address, 0, rig.pc(op), seen.fault[5])
        assert seen.fault[6] == 0xFFFF_FFED and seen.fault[7] == 7  # extended frame, thread, PSP; nPRIV
    else:
        assert seen.fault[:3] == (7 if store else 5, address, rig.pc(op))
        assert seen.fault[3] >> 11 & 3 == 0  # from U


def loads(rig: Rig) -> tuple[Load, ...]:
    return LOADS + (ARM_LOADS if rig.arm else ())


def test_loads(rig: Rig) -> None:
    for load in loads(rig):
        legal, disarmed, armed = three_legs(rig, load.op)
        for seen in (legal, disarmed):
            assert seen.outcome is Outcome.RETURNED, load
            assert seen.regs[: len(load.result)] == load.result, load
            assert seen.changed == 0
        check_stopped(rig, armed, load.op, rig.where.mem[B] + 0x100, store=False)


def test_stores(rig: Rig) -> None:
    for op, width in STORES + (ARM_STORES if rig.arm else ()):
        legal, disarmed, armed = three_legs(rig, op, *STORED)
        stored = b"".join(w.to_bytes(4, "little") for w in STORED)[:width]
        for seen in (legal, disarmed):
            assert seen.outcome is Outcome.RETURNED, op
            assert seen.after[:width] == stored and seen.after[width:] == seen.before[width:], op
            assert (seen.changed, seen.changed_at) == (width, 0)
        check_stopped(rig, armed, op, rig.where.mem[B] + 0x100, store=True)


def test_atomics_of_riscv(riscv: Rig) -> None:
    for op, result in (("amoadd", VALUE[0] + STORED[0]), ("amoswap", STORED[0])):
        legal, disarmed, armed = three_legs(riscv, op, STORED[0])
        for seen in (legal, disarmed):
            assert seen.regs[0] == VALUE[0]
            assert int.from_bytes(seen.after[:4], "little") == result
        check_stopped(riscv, armed, op, riscv.where.mem[B] + 0x100, store=True)  # even for the read half


def test_store_exclusive_needs_its_monitor(rig: Rig) -> None:
    own, other = (mem + 0x100 for mem in rig.where.mem)
    for address, disarm in ((own, Disarm.NOTHING), (other, Disarm.MAP)):
        seen = rig.attack("strex", address, 7, address, disarm=disarm, focus=address, watch=address, watch_len=4)
        assert (seen.outcome, seen.regs[0], seen.after[0]) == (Outcome.RETURNED, 0, 7)
    armed = rig.attack("strex", other, 9, own, focus=other)  # monitor on own memory: status 1, or stopped
    assert armed.before == armed.after
    if armed.outcome is Outcome.RETURNED:
        assert armed.regs[0] == 1
    else:
        check_stopped(rig, armed, "strex", other, store=True)


def test_store_multiple(arm: Rig) -> None:
    legal, disarmed, armed = three_legs(arm, "stm", *STORED, 3)
    for seen in (legal, disarmed):
        assert seen.outcome is Outcome.RETURNED and 8 < seen.changed <= 12
    assert legal.regs[0] == arm.where.mem[A] + 0x10C  # written back
    check_stopped(arm, armed, "stm", arm.where.mem[B] + 0x100, store=True)
    assert armed.regs[0] == arm.where.mem[B] + 0x100  # base restored


def test_push_and_pop_take_the_frame_of_the_fault_with_them(arm: Rig) -> None:
    for op, at in (("push", 0x100 + 8), ("pop", 0x100)):
        legal, disarmed, armed = three_legs(arm, op, *STORED, offset=at)
        assert legal.outcome is disarmed.outcome is Outcome.RETURNED
        if op == "pop":
            assert legal.regs[:2] == disarmed.regs[:2] == VALUE
        assert armed.outcome is Outcome.TRAPPED and armed.changed == 0
        cfsr, _, mmfar, _, pc = armed.fault[:5]
        assert cfsr == DACCVIOL | MSTKERR | MMARVALID
        assert mmfar == arm.where.mem[B] + 0x100  # push stores downwards, lowest word first
        assert pc == LOST and armed.regs == (LOST,) * 4
        assert arm.attack("nop").outcome is Outcome.RETURNED


def test_push_lands_below_its_address(arm: Rig) -> None:
    at = arm.where.mem[A] + 0x200
    seen = arm.attack("push", at, *STORED, focus=at - 8)
    assert seen.after[:8] == b"".join(w.to_bytes(4, "little") for w in STORED)


@pytest.mark.parametrize("width", [8, 16, 32])
def test_read_write_loops_stop_at_the_first_foreign_byte(rig: Rig, width: int) -> None:
    size = width // 8
    end = rig.where.mem[A] + 0x10000
    legal = rig.attack(f"rw{width}", end - 64, 64 // size)
    assert (legal.outcome, legal.regs[0]) == (Outcome.RETURNED, 64 // size)
    armed = rig.attack(f"rw{width}", end - 64, 64 // size + 1)  # B's memory follows A's
    check_stopped(rig, armed, f"rw{width}", end, store=False)
    disarmed = rig.attack(f"rw{width}", end - 64, 64 // size + 1, disarm=Disarm.MAP)
    assert disarmed.regs[0] == 64 // size + 1


def test_the_victims_reader(rig: Rig) -> None:
    words = [0x1234_5678 * (i + 1) & 0xFFFF_FFFF for i in range(16)]
    rig.poke(rig.where.mem[B], *words)
    seen = rig.attack("sum", rig.where.mem[B], 16, context=B)
    assert seen.regs[0] == sum(w * (2 * i + 1) for i, w in enumerate(words)) & 0xFFFF_FFFF
    check_stopped(rig, rig.attack("sum", rig.where.mem[B], 16), "sum", rig.where.mem[B], store=False)
    assert rig.attack("sum", rig.where.mem[B], 0).regs[0] == 0


def test_recursion_leaves_the_stack(rig: Rig) -> None:
    low = rig.where.stack[A]
    legal = rig.attack("recurse", 64, 0xAB)
    assert legal.outcome is Outcome.RETURNED
    armed = rig.attack("recurse", 0x4000, 0xAB)
    assert armed.outcome is Outcome.TRAPPED
    if rig.arm:
        assert armed.fault[0] == DACCVIOL | MSTKERR | MMARVALID and armed.fault[2] == low - 4
        assert armed.fault[4] == LOST
    else:
        assert armed.fault[:3] == (7, low - 4, rig.pc("recurse"))
    assert rig.attack("nop").outcome is Outcome.RETURNED


def test_execute(rig: Rig) -> None:
    own, other = (mem + 0x400 for mem in rig.where.mem)
    plant = {"flags": Flag.PLANT, "watch_len": 4}
    for target in (own, other, rig.symbol["rig_sacrifice_text"], rig.symbol["rig_sacrifice_ram"]):
        rig_before = rig.session.read_memory(target, 4)
        entry = target | 1 if rig.arm else target
        disarmed = rig.attack("call", entry, disarm=Disarm.MAP, leg=Leg.DISARMED, watch=target, **plant)
        assert disarmed.outcome is Outcome.RETURNED and disarmed.changed == 0
        armed = rig.attack("call", entry, watch=target, **plant)
        assert armed.outcome is Outcome.TRAPPED
        if rig.arm:
            assert armed.fault[0] == 1 and armed.fault[4] == target  # IACCVIOL, no address
        else:
            assert armed.fault[:3] == (1, target, target)
        assert rig.session.read_memory(target, 4) == rig_before
    code = rig.symbol["rig_sacrifice_code"]
    legal = rig.attack("call", code | 1 if rig.arm else code, leg=Leg.LEGAL, watch=code, **plant)
    assert legal.outcome is Outcome.RETURNED
    assert rig.session.read_memory(code, 4) == bytes(4)


def test_null_and_holes(rig: Rig) -> None:
    hole = rig.board.holes[-1].start
    for address in (0, hole):
        armed = rig.attack("load32", address)
        assert armed.outcome is Outcome.TRAPPED
        assert armed.fault[2 if rig.arm else 1] == address
    disarmed = rig.attack("load32", hole, disarm=Disarm.MAP)
    assert disarmed.outcome is Outcome.TRAPPED
    if rig.arm:
        assert disarmed.fault[:4] == (0x8200, 0, 0, hole)  # PRECISERR, BFAR
    else:
        assert disarmed.fault[:3] == (5, hole, rig.pc("load32"))


def test_privileged_registers_of_arm(arm: Rig) -> None:
    assert arm.attack("getcontrol").regs[0] == 7  # nPRIV, SPSEL, FPCA
    armed = arm.attack("control", 2)
    assert armed.outcome is Outcome.RETURNED and armed.regs[0] & 1 == 1 and armed.fault[7] & 1 == 1
    assert arm.attack("control", 2, disarm=Disarm.PRIVILEGE).regs[0] & 3 == 2
    assert arm.attack("control", 0, disarm=Disarm.PRIVILEGE).outcome is Outcome.RETURNED  # SP moved to MSP
    for op, value in (("primask", 1), ("basepri", 0x40), ("faultmask", 1), ("cpsid", 0)):
        armed = arm.attack(op, value)
        assert armed.outcome is Outcome.RETURNED and armed.fault[7] >> 8 == 0, op
        disarmed = arm.attack(op, value, disarm=Disarm.PRIVILEGE)
        assert disarmed.outcome is Outcome.RETURNED, op
        assert disarmed.regs[0] == (value or 1), op
    for register in (0xE000_ED94, 0xE000_ED08, 0xE000_E010, 0xE000_ED00):
        armed = arm.attack("load32" if register == 0xE000_ED00 else "store32", register, 0)
        assert armed.fault[:4] == (0x8200, 0, 0, register)
    assert arm.attack("load32", 0xE000_ED00, disarm=Disarm.PRIVILEGE).regs[0] == 0x410F_C240


def test_a_service_call_with_interrupts_masked_escalates_and_is_served(arm: Rig) -> None:
    seen = arm.call("a_masked", 0x77, disarm=Disarm.PRIVILEGE)
    assert (seen.outcome, seen.regs[0]) == (Outcome.RETURNED, 0x77)
    assert seen.fault[1] == 0x4000_0000 and seen.fault[7] >> 8 == 1  # HardFault, FORCED; PRIMASK was set
    assert arm.call("a_masked", 0x77).fault[7] >> 8 == 0


def test_a_privileged_actor_cannot_leave_the_agent_without_its_settings(arm: Rig) -> None:
    victim = arm.where.mem[B]
    for register, value in ((0xE000_ED94, 0), (0xE000_ED24, 0), (0xE000_EDA0, 0), (0xE000_E100, 0xFFFF_FFFF)):
        seen = arm.attack("store32", register, value, disarm=Disarm.PRIVILEGE, leg=Leg.DISARMED)
        assert seen.outcome is Outcome.RETURNED, hex(register)
        check_stopped(arm, arm.attack("load32", victim), "load32", victim, store=False)


def test_csrs(riscv: Rig) -> None:
    names = ["mstatus", "mtvec", "mie", "mepc", "mcause", "mscratch", "pmpcfg0", "pmpaddr0"]
    for op in ["csrr_mhartid", *(f"csrr_{n}" for n in names), *(f"csrw_{n}" for n in names)]:
        armed = riscv.attack(op, 0)
        assert armed.outcome is Outcome.TRAPPED, op
        assert (armed.fault[0], armed.fault[2]) == (2, riscv.pc(op)), op
        disarmed = riscv.attack(op, 0x40, disarm=Disarm.PRIVILEGE, leg=Leg.DISARMED)
        assert disarmed.outcome is Outcome.RETURNED, op
        check_stopped(riscv, riscv.attack("load32", riscv.where.mem[B]), "load32", riscv.where.mem[B], store=False)
    assert riscv.attack("csrw_mepc", 0x40, disarm=Disarm.PRIVILEGE).regs[0] == 0x40
    assert riscv.attack("csrw_pmpaddr0", 0x123, disarm=Disarm.PRIVILEGE).regs[0] == 0x123


def test_floats_of_riscv_need_their_flag(riscv: Rig) -> None:
    seen = riscv.attack("vload32", riscv.where.mem[A])
    assert (seen.outcome, seen.fault[0], seen.fault[2]) == (Outcome.TRAPPED, 2, riscv.pc("vload32"))


def test_every_service_number_is_refused(rig: Rig) -> None:
    steps: list[tuple[int, Step]] = []
    if rig.arm:
        steps = [(n, Step(A, rig.stub("svc") + 4 * n)) for n in range(256)]
    else:
        odd = (0, *range(3, 256), 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
        steps = [(n, Step(A, rig.stub("ecall"), (n, 0))) for n in odd]
    programs = [Program(i, Verb.RUN, Leg.ARMED, (step,)) for i, (_, step) in enumerate(steps)]
    seen = rig.session.run(programs)
    for (number, _), o in zip(steps, seen, strict=True):
        if rig.arm and number == 1:  # a gate call with whatever is in r12
            assert o.outcome is Outcome.RETURNED or o.outcome is Outcome.GATE_REFUSED
        elif number == 2:
            assert o.outcome is Outcome.RETURNED
        else:
            assert (o.outcome, o.detail) == (Outcome.SVC_REJECTED, number)
