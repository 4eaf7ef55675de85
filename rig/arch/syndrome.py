# SPDX-License-Identifier: Apache-2.0
"""What a trap reported, and whether it is one of the admissible syndromes. Exact: "some fault" is not a match."""

from __future__ import annotations

from dataclasses import dataclass

from rig.arch.types import Syndrome

# CFSR bits (Armv7-M B3.2.15; bit 20 is Armv8-M), without the two address-valid bits
CFSR_BITS: dict[int, str] = {
    0: "IACCVIOL", 1: "DACCVIOL", 3: "MUNSTKERR", 4: "MSTKERR", 5: "MLSPERR",
    8: "IBUSERR", 9: "PRECISERR", 10: "IMPRECISERR", 11: "UNSTKERR", 12: "STKERR", 13: "LSPERR",
    16: "UNDEFINSTR", 17: "INVSTATE", 18: "INVPC", 19: "NOCP", 20: "STKOF", 24: "UNALIGNED", 25: "DIVBYZERO",
}  # fmt: skip
MMARVALID, BFARVALID = 1 << 7, 1 << 15
HFSR_BITS: dict[int, str] = {1: "VECTTBL", 31: "DEBUGEVT"}
FORCED = 1 << 30  # HFSR: a configurable fault was escalated to HardFault; CFSR keeps its cause

_FRAME_LOST = frozenset({"MSTKERR", "STKERR", "STKOF"})  # the exception frame was not written: no PC to compare


@dataclass(frozen=True, slots=True)
class ArmFault:
    """The registers a fault handler saved. `pc`, `psr`: from the stacked frame."""

    cfsr: int
    hfsr: int
    mmfar: int
    bfar: int
    pc: int
    psr: int
    exc_return: int
    control: int


@dataclass(frozen=True, slots=True)
class RiscvFault:
    mcause: int
    mtval: int
    mepc: int
    mstatus: int


@dataclass(frozen=True, slots=True)
class ArmDecoded:
    causes: frozenset[str]
    mmfar: int | None  # None: MMARVALID was 0
    bfar: int | None
    escalated: bool


def decode(fault: ArmFault) -> ArmDecoded:
    """Names for the status bits; an address only when its valid bit is set. Unknown bits are named "CFSR[n]"."""
    causes = {CFSR_BITS.get(bit, f"CFSR[{bit}]") for bit in range(32)
              if fault.cfsr & ~(MMARVALID | BFARVALID) & 1 << bit}
    causes |= {name for bit, name in HFSR_BITS.items() if fault.hfsr >> bit & 1}
    return ArmDecoded(frozenset(causes), fault.mmfar if fault.cfsr & MMARVALID else None,
                      fault.bfar if fault.cfsr & BFARVALID else None, bool(fault.hfsr & FORCED))


def matches(fault: ArmFault | RiscvFault, syndrome: Syndrome, pc: frozenset[int] | None, *,
            escalated: bool = False) -> str | None:
    """None when the fault is exactly this syndrome, else a short reason.

    `pc`: admissible program counters, None when not to be compared (nor is it when the frame was lost).
    `escalated`: the configuration makes HardFault with FORCED the expected form (Arm only).
    """
    if isinstance(fault, RiscvFault):
        return _matches_riscv(fault, syndrome, pc)
    seen = decode(fault)
    wanted = frozenset(syndrome.cause.split("|"))
    if seen.causes != wanted:
        return f"cause {'|'.join(sorted(seen.causes)) or 'none'}, expected {syndrome.cause}"
    bus = "PRECISERR" in wanted
    for name, value, expected in (("MMFAR", seen.mmfar, not bus), ("BFAR", seen.bfar, bus)):
        if reason := _address(name, value, syndrome if expected else Syndrome(syndrome.cause, None, None)):
            return reason
    if seen.escalated != escalated:
        return "escalated" if seen.escalated else "not escalated, expected HardFault with FORCED"
    return None if wanted & _FRAME_LOST else _pc(fault.pc, pc)


def _matches_riscv(fault: RiscvFault, syndrome: Syndrome, pc: frozenset[int] | None) -> str | None:
    if str(fault.mcause) != syndrome.cause:
        return f"cause {fault.mcause:#x}, expected {syndrome.cause}"
    compared = syndrome.first is not None and not (syndrome.zero_ok and fault.mtval == 0)  # cause 2 may hold the opcode
    if compared and (reason := _address("mtval", fault.mtval, syndrome)):
        return reason
    return _pc(fault.mepc, pc)


def _address(name: str, value: int | None, syndrome: Syndrome) -> str | None:
    first, last = syndrome.first, syndrome.last
    if first is None or last is None:
        return None if value is None else f"address {value:#010x} in {name}, expected none"
    if value is None:
        return f"address not reported, {name} expected in {first:#010x}..{last:#010x}"
    return None if first <= value <= last else f"address {value:#010x} outside {first:#010x}..{last:#010x}"


def _pc(value: int, admissible: frozenset[int] | None) -> str | None:
    if admissible is None or value in admissible:
        return None
    return f"pc {value:#010x}, expected {' or '.join(f'{p:#010x}' for p in sorted(admissible)) or 'none'}"
