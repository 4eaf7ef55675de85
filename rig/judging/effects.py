# SPDX-License-Identifier: Apache-2.0
"""Did a leg that must succeed really do what it says? "Returned" alone is not the effect of a load or store."""

from __future__ import annotations

from rig.arch.syndrome import matches
from rig.arch.types import Kind
from rig.faults.model import Effect, Expect, FaultProgram
from rig.inject.model import Leg, Observation, Outcome
from rig.judging.case import Case, fault_of

_REGISTER = 0xFFFF_FFFF


def came_out(case: Case, leg: Leg) -> str:
    """ "" when the leg had its effect, else what was seen instead."""
    program, seen, effect = case.program, case.observations[leg], case.program.effects[leg]
    if effect is Effect.REACHED:
        return _reached(case, seen)
    if effect in (Effect.PASSED_GATE, Effect.NEEDLE):
        if seen.outcome in (Outcome.GATE_REFUSED, Outcome.SVC_REJECTED, Outcome.BAD_PROGRAM):
            return describe(seen)
        return _needle(case, leg) if effect is Effect.NEEDLE else ""
    if seen.outcome is not Outcome.RETURNED:
        return describe(seen)
    if seen.step != len(program.legs[leg].steps) - 1:
        return f"ended at step {seen.step}, not at the last"
    if effect is Effect.LOADED:
        return _compare(result(program, seen), loaded(program, seen.before), program, "loaded")
    if effect is Effect.STORED:
        return _compare(stored(program, seen.after), _value(program, leg), program, "the address now holds")
    if effect is Effect.ADDED:
        return (_compare(result(program, seen), stored(program, seen.before), program, "the old value returned is")
                or _compare(stored(program, seen.after), stored(program, seen.before) + program.values[leg]
                            & _mask(program.width), program, "the address now holds"))
    if effect is Effect.VALUE:
        mask = program.masks.get(leg, _mask(program.width))
        return _compare(result(program, seen) & mask, program.values[leg] & mask, program, "the value is")
    if effect is Effect.COUNT:
        return _all_items(case, leg, seen)
    return ""  # EXECUTED, RETURNED: the return is the effect


def describe(seen: Observation) -> str:
    """An outcome in a few words."""
    match seen.outcome:
        case Outcome.TRAPPED:
            return f"trapped at step {seen.step}: " + " ".join(f"{word:#x}" for word in seen.fault[:5])
        case Outcome.GATE_REFUSED:
            return f"the gate refused with code {seen.detail & 0xFF} at seam {seen.detail >> 8}"
        case Outcome.SVC_REJECTED:
            return f"supervisor call {seen.detail} rejected"
        case Outcome.RETURNED:
            return f"returned {seen.regs[0]:#x}"
        case _:
            return seen.outcome.name.lower().replace("_", " ")


def loaded(program: FaultProgram, memory: bytes) -> int:
    """What a load of the program's width must return when `memory` lay at its address."""
    width = min(program.width, 8)  # two result registers are reported
    value = int.from_bytes(memory[:width], "little", signed=program.signed)
    return value & (_REGISTER if width <= 4 else _mask(8))


def result(program: FaultProgram, seen: Observation) -> int:
    """The value a stub or function returned."""
    low, high = seen.regs[2:4] if program.float_result else seen.regs[0:2]
    return low if program.width <= 4 else low | high << 32


def stored(program: FaultProgram, memory: bytes) -> int:
    return int.from_bytes(memory[: program.width], "little")


def nop_holds(expect: Expect, seen: Observation) -> str:
    """ "" when a privileged write was ignored: the value read back, and the state as the handler saw it, unchanged."""
    if expect.value is not None and (seen.regs[0] ^ expect.value) & expect.mask:
        return f"reads back {seen.regs[0]:#x}, expected {expect.value:#x} in bits {expect.mask:#x}"
    if expect.state is not None and (seen.fault[7] ^ expect.state[1]) & expect.state[0]:
        return f"control state {seen.fault[7]:#x}, expected {expect.state[1]:#x} in bits {expect.state[0]:#x}"
    return ""


def bitmap(seen: Observation, count: int, second: bool = False) -> int:
    """The trap bitmap of a sweep, or the change bitmap behind it, as one integer."""
    size = (count + 7) // 8
    return int.from_bytes(seen.blob[size * second : size * (second + 1)], "little")


def _mask(width: int) -> int:
    return (1 << 8 * width) - 1


def _value(program: FaultProgram, leg: Leg) -> int:
    return program.values[leg] & _mask(program.width)


def _compare(seen: int, expected: int, program: FaultProgram, what: str) -> str:
    return "" if seen == expected else f"{what} {seen:#x}, expected {expected:#x} ({program.width} bytes)"


def _reached(case: Case, seen: Observation) -> str:
    if seen.outcome is not Outcome.TRAPPED:
        return describe(seen)
    reasons = [matches(fault_of(seen, case.arch), syndrome, case.program.armed.pcs or None)
               for syndrome in case.program.reached]
    if None in reasons:
        return ""
    return "; ".join(reason for reason in reasons if reason) or "no admissible end is listed"


def _needle(case: Case, leg: Leg) -> str:
    scan, before = case.after.get(leg), case.program.values[leg]
    if scan is None:
        return "the memory was not searched afterwards"
    if scan.outcome is not Outcome.RETURNED:
        return "the search ended with: " + describe(scan)
    return "" if scan.detail > before else f"the victim's bytes are found {scan.detail} times, {before} before"


def _all_items(case: Case, leg: Leg, seen: Observation) -> str:
    count = case.program.legs[leg].count
    if len(seen.blob) != 2 * ((count + 7) // 8):
        return f"the sweep returned {len(seen.blob)} bytes for {count} items"
    if traps := bitmap(seen, count):
        return f"{traps.bit_count()} of {count} items trapped, the first is item {(traps & -traps).bit_length() - 1}"
    access, changes = case.program.armed.access, bitmap(seen, count, second=True).bit_count()
    if access is not None and access.kind is Kind.WRITE and changes * 2 < count:
        return f"only {changes} of {count} stores changed memory"
    return ""
