# SPDX-License-Identifier: Apache-2.0
"""Group P: control state, system registers, supervisor calls. Disarmed turns off the privilege level.

Values are such that a privileged actor does the agent no harm: the agent restores its system registers afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator

from rig.faults.legs import NO_FLAG, Attack, build, program
from rig.faults.model import Effect, Expect, FaultProgram, Stop
from rig.faults.setting import Case, Setting
from rig.image.model import Owner
from rig.inject.model import Disarm, Leg, Program, Step

GATE, RETURN = 1, 2  # the two supervisor calls that exist
NO_SEAM, WRONG_CALLER = 1, 2  # refusal codes of the gate
_MASKS = 0xFFFF_FF00  # of the control state in a fault record: PRIMASK, FAULTMASK, BASEPRI

# (address, name, value); none changes what the agent relies on while the program runs
MPU = ((0xE000_ED94, "MPU_CTRL", 5), (0xE000_ED98, "MPU_RNR", 0),
       (0xE000_ED9C, "MPU_RBAR", 0), (0xE000_EDA0, "MPU_RASR", 0))  # fmt: skip
SCS = ((0xE000_ED0C, "AIRCR", 0), (0xE000_ED24, "SHCSR", 0x7_0000), (0xE000_ED28, "CFSR", 0),
       (0xE000_E100, "NVIC_ISER0", 0), (0xE000_E018, "SYST_CVR", 0))  # fmt: skip
VTOR = 0xE000_ED08
CPUID, ICSR = 0xE000_ED00, 0xE000_ED04


def p01(s: Setting, a: Owner) -> Iterator[Case]:
    """Clear nPRIV, or write mstatus."""
    if s.arm:
        yield _masked(s, "P-01", a, "control", 2, 1, armed=1, disarmed=0, state=(1, 1))
    else:
        yield csr(s, "P-01", a, "csrw_mstatus", 0x1800, mask=0x1800)


def p02(s: Setting, a: Owner) -> Iterator[Case]:
    """Mask interrupts. An unprivileged read of a mask is 0 whatever it holds: the handler's own reading counts."""
    if not s.arm:
        yield csr(s, "P-02", a, "csrw_mstatus", 0x1808, mask=0x1808)
        yield csr(s, "P-02", a, "csrw_mie", 0x80)
        return
    for name, value in (("primask", 1), ("basepri", 0x80), ("faultmask", 1), ("cpsid", 1)):
        yield _masked(s, "P-02", a, name, value, 0xFF, armed=0, disarmed=value, state=(_MASKS, 0))


def p03(s: Setting, a: Owner) -> Iterator[Case]:
    """Switch the protection itself off."""
    if s.arm:
        yield from (_register(s, "P-03", a, *item) for item in MPU)
    else:
        yield csr(s, "P-03", a, "csrw_pmpcfg0", 0)
        yield csr(s, "P-03", a, "csrw_pmpaddr0", s.value(4) & 0x1FFF_FFFF)


def p04(s: Setting, a: Owner) -> Iterator[Case]:
    """Vectors, fault enables, interrupts, the timer."""
    if s.arm:
        vectors = s.symbols.get("__agent_text_start", 0)
        yield from (_register(s, "P-04", a, *item) for item in ((VTOR, "VTOR", vectors), *SCS))
        return
    trap = s.symbols.get("rig_trap", s.board.roles.agent_text[0] if s.board.roles else 0)
    yield csr(s, "P-04", a, "csrw_mtvec", trap & ~3)
    yield csr(s, "P-04", a, "csrw_mie", 0x80)
    yield csr(s, "P-04", a, "csrw_mepc", trap & ~3)
    if s.board.clint is not None:
        store = s.ops("store32")[0]
        yield build(s, Attack("P-04", a, store, s.board.clint, victim_name="clint", returns=True, value=0))


def p05(s: Setting, a: Owner) -> Iterator[Case]:
    if not s.arm:
        yield csr(s, "P-05", a, "csrr_mcause", None)
        return
    load = s.ops("load32")[0]
    yield build(s, Attack("P-05", a, load, CPUID, victim_name="ppb", disarm=Disarm.PRIVILEGE))
    yield build(s, Attack("P-05", a, load, ICSR, victim_name="ppb", disarm=Disarm.PRIVILEGE, returns=True))


def p06(s: Setting, a: Owner, every: bool) -> Iterator[Case]:
    """Supervisor calls that do not exist, and the gate with seams that do not exist or are another's.

    `every`: all 256 immediates (for one owner: the number alone decides), else the ends of the range.
    """
    numbers = [n for n in (range(256) if every and not s.quick else (0, 3, 255)) if n not in (GATE, RETURN)]
    if s.arm:
        yield from (_call(s, a, f"svc:{n}", s.symbols["rig_stub_svc"] + 4 * n, (), Expect(Stop.SVC, value=n))
                    for n in numbers)
    else:
        for n in dict.fromkeys((*numbers, 0xFFFF_FFFF, 0x7FFF_FFFF, 0x8000_0000)):
            yield _call(s, a, f"ecall:{n:#x}", s.stub("ecall"), (n, 0), Expect(Stop.SVC, value=n))
        for seam in dict.fromkeys((0xFFFF_FFFF, 0x7FFF_FFFF, 256, len(s.plan.seams))):
            if seam >= len(s.image.seams):
                yield _call(s, a, f"seam:{seam:#x}", s.stub("ecall"), (GATE, seam),
                            Expect(Stop.GATE, gate_codes=frozenset({NO_SEAM}), seam=seam))
    for foreign in s.plan.seams:
        gate = s.symbols.get(f"rig_gate_{foreign.index}")
        if gate is not None and foreign.caller != a.index:
            expect = Expect(Stop.GATE, gate_codes=frozenset({WRONG_CALLER}), seam=foreign.index)
            yield _call(s, a, f"gate:{foreign.index}", gate, (), expect)
            if not every:
                break


def csr(s: Setting, family: str, a: Owner, stub: str, value: int | None, *, mask: int = 0xFFFF_FFFF,
        control: bool = False, full_record: bool = False) -> FaultProgram:
    """A CSR access from U-mode: illegal instruction. Disarmed it must work, and a write must read back."""
    step = Step(a.index, s.stub(stub), () if value is None else (value,))
    effects = {Leg.LEGAL: Effect.RETURNED, Leg.DISARMED: Effect.RETURNED if value is None else Effect.VALUE}
    return FaultProgram(
        id=s.id(family, stub, a.index, "core", stub.partition("_")[2]), family=family, actor=a.index, victim=None,
        victim_name="core", target=stub.partition("_")[2], address=0, width=4,
        legs={Leg.LEGAL: _nop(s, a), Leg.DISARMED: program(Leg.DISARMED, step, disarm=Disarm.PRIVILEGE),
              Leg.ARMED: program(Leg.ARMED, step)},
        effects=effects, armed=Expect(Stop.ILLEGAL, pcs=s.pc(stub), full_record=full_record),
        values={} if value is None else {Leg.DISARMED: value}, masks={Leg.DISARMED: mask}, op=stub, control=control,
    )


def _masked(s: Setting, family: str, a: Owner, stub: str, value: int, mask: int, *, armed: int, disarmed: int,
            state: tuple[int, int]) -> FaultProgram:
    """A write that unprivileged code makes without effect: what reads back afterwards tells."""
    step = Step(a.index, s.stub(stub), (value,))
    return FaultProgram(
        id=s.id(family, stub, a.index, "core", stub), family=family, actor=a.index, victim=None, victim_name="core",
        target=stub, address=0, width=4,
        legs={Leg.LEGAL: program(Leg.LEGAL, Step(a.index, s.stub("getcontrol"))),
              Leg.DISARMED: program(Leg.DISARMED, step, disarm=Disarm.PRIVILEGE), Leg.ARMED: program(Leg.ARMED, step)},
        effects={Leg.LEGAL: Effect.VALUE, Leg.DISARMED: Effect.VALUE},
        armed=Expect(Stop.NOP, value=armed, mask=mask, state=state),
        values={Leg.LEGAL: 1, Leg.DISARMED: disarmed}, masks={Leg.LEGAL: 1, Leg.DISARMED: mask}, op=stub,
    )


def _register(s: Setting, family: str, a: Owner, address: int, name: str, value: int) -> FaultProgram:
    return build(s, Attack(family, a, s.ops("store32")[0], address, victim_name=name, disarm=Disarm.PRIVILEGE,
                           returns=True, value=value))


def _call(s: Setting, a: Owner, what: str, entry: int, args: tuple[int, ...], armed: Expect) -> FaultProgram:
    """Entered like any function; the thumb bit of a table entry is that of the table's symbol."""
    none = "an unknown number does nothing with the checks off either"
    return FaultProgram(
        id=s.id("P-06", "svc" if armed.stop is Stop.SVC else "gate", a.index, "agent", what), family="P-06",
        actor=a.index, victim=None, victim_name="agent", target=what, address=0, width=4,
        legs={Leg.LEGAL: _nop(s, a), Leg.ARMED: program(Leg.ARMED, Step(a.index, entry, args), flag=NO_FLAG)},
        effects={Leg.LEGAL: Effect.RETURNED}, armed=armed, disarmed_none=none, op=what.partition(":")[0],
    )


def _nop(s: Setting, a: Owner) -> Program:
    return program(Leg.LEGAL, Step(a.index, s.stub("nop")))
