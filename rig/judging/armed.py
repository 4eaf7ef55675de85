# SPDX-License-Identifier: Apache-2.0
"""How an armed leg ended, against how it had to end. One function per `Stop`; each returns a judgement."""

from __future__ import annotations

from rig.arch.syndrome import ArmFault, decode, matches
from rig.arch.types import NO_FAULT, Decision, Kind, Syndrome
from rig.boards.model import Arch
from rig.faults.model import Judgement, Stop, Why
from rig.inject.model import Disarm, Leg, Outcome
from rig.judging.case import NOBODY, Case, failed, fault_of, passed, refused
from rig.judging.effects import bitmap, came_out, describe, nop_holds

ESCAPES = {Kind.READ: "ESCAPE_READ", Kind.WRITE: "ESCAPE_WRITE", Kind.EXECUTE: "ESCAPE_EXEC"}
_NO_PC = frozenset({"MSTKERR", "STKERR", "STKOF"})  # the exception frame was lost, and with it what it held


def armed(case: Case) -> Judgement:
    """The end of the armed leg. The controls have come out, the record is whole, nothing hung."""
    match case.program.armed.stop:
        case Stop.TRAP:
            return _must_trap(case, case.decision)
        case Stop.PROBE:
            if case.decision is not None and case.decision.allow:
                return _must_work(case)
            return _must_trap(case, case.decision)
        case Stop.ILLEGAL:
            cause = "2" if case.arch is Arch.RV32 else "UNDEFINSTR"
            return _must_trap(case, Decision(False, (Syndrome(cause, None, None),)))
        case Stop.GATE:
            return _gate(case)
        case Stop.SVC:
            return _svc(case)
        case Stop.NOP:
            return _nop(case)
        case Stop.SWEEP:
            return _sweep(case)
        case Stop.UNAFFECTED:
            return _unaffected(case)
        case Stop.LANDS:
            reason = came_out(case, Leg.ARMED)
            if reason:
                return refused(Why.CONTROL, "CONTROL_FAILED", f"static: one map for all, yet {reason}", Leg.ARMED)
            return passed("LANDED")
        case _:
            return _must_work(case)


def ran_astray(case: Case) -> Judgement | None:
    """Wrong step, wrong context, wrong caller: whatever happened then happened to somebody else."""
    program, seen = case.program, case.armed
    steps = program.legs[Leg.ARMED].steps
    last = len(steps) - 1
    if seen.step != last:
        early = seen.outcome is Outcome.TRAPPED
        return failed("FALSE_TRAP" if early else "COLLATERAL", f"ended at step {seen.step} of {last}: {describe(seen)}")
    passed_gate = program.armed.stop is Stop.GATE and seen.outcome is not Outcome.GATE_REFUSED  # judged below
    expected = steps[last].context if program.armed_context is None else program.armed_context
    if seen.context != expected and not passed_gate:
        return failed("COLLATERAL", f"context {seen.context} ran at the end, expected {expected}")
    caller = NOBODY if program.caller is None else program.caller
    if seen.caller != caller and not passed_gate:
        return failed("COLLATERAL", f"called by {seen.caller}, expected {caller}")
    return None


def touched(case: Case) -> str:
    """ "" when nothing that must stay was changed, else what was."""
    seen = case.armed
    if seen.changed and not case.program.armed.own_side:
        return f"{seen.changed} watched bytes changed, the first at offset {seen.changed_at}"
    if seen.before != seen.after:
        return f"bytes at the target changed from {seen.before.hex()} to {seen.after.hex()}"
    return case.canaries.victim or case.canaries.host or ""


def _must_trap(case: Case, decision: Decision | None) -> Judgement:
    program, seen = case.program, case.armed
    if decision is None:
        return refused(Why.INFRA, "NO_PREDICTION", "no registers were read back for this context and leg", Leg.ARMED)
    harm = touched(case)
    if seen.outcome is Outcome.RETURNED:
        return _landed(case, decision, harm)
    if seen.outcome is not Outcome.TRAPPED:
        return failed("TRAP_WRONG_CAUSE", f"{describe(seen)}, expected {_wanted(decision)}")
    if harm:
        return failed("TRAP_LATE", f"trapped, but {harm}")
    if reason := _record(case):
        return failed("TRAP_WRONG_CAUSE", reason)
    fault, pcs = fault_of(seen, case.arch), program.armed.pcs or None
    reasons = [matches(fault, syndrome, pcs) for syndrome in decision.syndromes if syndrome.cause != NO_FAULT]
    if None not in reasons:
        best = min((r for r in reasons if r), key=_distance, default="no admissible fault is listed")
        return failed(_klass(best), best)
    base = program.armed.base
    if base is not None and seen.regs[0] != base:
        return failed("TRAP_WRONG_CAUSE", f"base register {seen.regs[0]:#x} at the fault, expected {base:#x}")
    if case.canaries.others:
        return failed("COLLATERAL", case.canaries.others[0])
    return passed("TRAP_EXACT")


def _landed(case: Case, decision: Decision, harm: str) -> Judgement:
    """It was not stopped by a trap: a listed silent failure, or an escape."""
    program, seen = case.program, case.armed
    silent = "strex-status-1" in program.armed.alternatives and any(s.cause == NO_FAULT for s in decision.syndromes)
    if silent and seen.regs[0] and not harm and not case.canaries.others:
        return passed("SILENT_NOP", f"store-exclusive failed with status {seen.regs[0]}")
    access = program.armed.access
    klass = ESCAPES[access.kind] if access else "ESCAPE_EXEC"
    if access and access.kind is Kind.WRITE and not harm:
        klass = "SILENT_NOP"
    return failed(klass, f"{describe(seen)}, expected {_wanted(decision)}" + (f"; {harm}" if harm else ""))


def _record(case: Case) -> str:
    """ "" when the record says that unprivileged code was interrupted: a privileged trap proves nothing."""
    fault, seen = fault_of(case.armed, case.arch), case.armed
    if case.program.legs[Leg.ARMED].disarm is Disarm.PRIVILEGE:
        return ""
    if not isinstance(fault, ArmFault):
        return "" if fault.mstatus >> 11 & 3 == 0 else f"mstatus {fault.mstatus:#x}: the trap did not come from U-mode"
    if not seen.fault[7] & 1:
        return f"CONTROL {seen.fault[7] & 0xFF:#x}: nPRIV is 0, the trap came from privileged code"
    if fault.exc_return & 0xF != 0xD:
        return f"EXC_RETURN {fault.exc_return:#x} does not name thread mode on the process stack"
    if case.program.armed.full_record and not decode(fault).causes & _NO_PC and fault.psr & 0x0100_01FF != 0x0100_0000:
        return f"stacked xPSR {fault.psr:#x}: not Thumb code in thread mode"
    return ""


def _gate(case: Case) -> Judgement:
    program, seen = case.program, case.armed
    leak = ""
    if program.after:
        scan = case.after.get(Leg.ARMED)
        if scan is None or scan.outcome is not Outcome.RETURNED:
            return refused(Why.INFRA, "NO_RECORD", "the memory was not searched after the armed leg", Leg.ARMED)
        if scan.detail != program.values[Leg.ARMED]:
            leak = f"the victim's bytes are found {scan.detail} times, {program.values[Leg.ARMED]} before"
    if seen.outcome is not Outcome.GATE_REFUSED:
        stopped = seen.outcome in (Outcome.TRAPPED, Outcome.SVC_REJECTED) and not leak
        klass = "TRAP_WRONG_CAUSE" if stopped else "ESCAPE_READ"
        return failed(klass, f"the gate let the call through: {describe(seen)}" + (f"; {leak}" if leak else ""))
    if leak:
        return failed("TRAP_LATE", f"refused, but {leak}")
    if seen.detail & 0xFF not in program.armed.gate_codes:
        return failed("TRAP_WRONG_CAUSE", f"{describe(seen)}, expected {sorted(program.armed.gate_codes)}")
    if program.armed.seam is not None and seen.detail >> 8 != program.armed.seam & 0xFF_FFFF:
        return failed("TRAP_WRONG_CAUSE", f"{describe(seen)}, expected seam {program.armed.seam}")
    return _clean(case) or passed("GATE_REFUSED")


def _svc(case: Case) -> Judgement:
    seen, number = case.armed, case.program.armed.value
    if seen.outcome is not Outcome.SVC_REJECTED:
        return failed("ESCAPE_EXEC" if seen.outcome is Outcome.RETURNED else "TRAP_WRONG_CAUSE",
                      f"{describe(seen)}, expected supervisor call {number} to be rejected")
    if seen.detail != number:
        return failed("TRAP_WRONG_CAUSE", f"{describe(seen)}, expected number {number}")
    return _clean(case) or passed("SVC_REJECTED")


def _nop(case: Case) -> Judgement:
    if case.armed.outcome is not Outcome.RETURNED:
        return failed("TRAP_WRONG_CAUSE", f"{describe(case.armed)}, expected the write to be ignored")
    if reason := nop_holds(case.program.armed, case.armed):
        return failed("ESCAPE_WRITE", reason)
    return _clean(case) or passed("SILENT_NOP")


def _unaffected(case: Case) -> Judgement:
    seen = case.armed
    if reason := came_out(case, Leg.ARMED):
        stopped = seen.outcome is not Outcome.RETURNED
        return failed("COLLATERAL" if stopped else "ESCAPE_WRITE", f"the victim's state is not its own: {reason}")
    if seen.before != seen.after:
        return failed("ESCAPE_WRITE", f"the victim's bytes changed from {seen.before.hex()} to {seen.after.hex()}")
    return _canaries(case) or passed("UNAFFECTED")


def _must_work(case: Case) -> Judgement:
    if reason := came_out(case, Leg.ARMED):
        trapped = case.armed.outcome is not Outcome.RETURNED
        return failed("FALSE_TRAP" if trapped else "SILENT_NOP", f"a granted access did not work: {reason}")
    found = ("semantic-escape",) if case.program.semantic_escape else ()
    return _canaries(case) or passed("ALLOWED", findings=found)


def _sweep(case: Case) -> Judgement:
    seen, predicted, program = case.armed, case.sweep, case.program
    if predicted is None:
        return refused(Why.INFRA, "NO_PREDICTION", "no registers were read back for this context and leg", Leg.ARMED)
    first, count = program.legs[Leg.ARMED].first, program.legs[Leg.ARMED].count
    if seen.outcome is not Outcome.RETURNED or len(seen.blob) != 2 * ((count + 7) // 8) or predicted.count != count:
        return refused(Why.INFRA, "NO_RECORD", f"the sweep brought no bitmap: {describe(seen)}", Leg.ARMED)
    traps, changes = bitmap(seen, count), bitmap(seen, count, second=True)
    if seen.detail != traps.bit_count():
        found = traps.bit_count()
        return refused(Why.INFRA, "NO_RECORD", f"{seen.detail} traps counted, {found} in the bitmap", Leg.ARMED)
    access = program.armed.access
    if traps and (reason := _same_faults(case, traps.bit_count())):
        return failed("TRAP_WRONG_ADDR", reason)
    if hit := predicted.must_stop & changes:
        return failed("TRAP_LATE" if hit & traps else "ESCAPE_WRITE", _items(first, hit, "changed"))
    if missing := predicted.must_stop & ~traps:
        klass = ESCAPES[access.kind] if access else "ESCAPE_EXEC"
        return failed(klass, _items(first, missing, "not stopped"))
    if extra := traps & ~predicted.must_stop:
        return failed("FALSE_TRAP", _items(first, extra, "stopped, though granted"))
    return _canaries(case) or passed("SWEEP_EXACT")


def _same_faults(case: Case, traps: int) -> str:
    """Of a sweep the agent counts faults that name their own address, and faults of one cause."""
    exact, alike = case.armed.regs[0], case.armed.regs[1]
    if alike != traps:
        return f"only {alike} of {traps} faults have the cause of the first"
    first, _, stride = case.program.sweep or (0, 0, 0)
    aligned = first % case.program.width == 0 and stride % case.program.width == 0
    return f"only {exact} of {traps} faults name their own address" if aligned and exact != traps else ""


def structure(case: Case) -> str:
    """ "" when manifest and registers agree about this program, else how the two halves differ."""
    if (predicted := case.sweep) is not None:
        if predicted.unknown:
            return _items(0, predicted.unknown, "undecided by the architecture")
        if differ := predicted.must_stop ^ predicted.denied:
            granted = differ & predicted.must_stop
            return _items(0, differ, "granted by the registers, not by the manifest" if granted
                          else "granted by the manifest, not by the registers")
        return ""
    if case.program.armed.stop not in (Stop.TRAP, Stop.ALLOWED, Stop.LANDS) or case.program.armed.access is None:
        return ""
    decision = case.decision
    if decision is None:
        return ""
    if decision.allow is None:
        return "the architecture does not say what these registers do: " + "; ".join(decision.unpredictable)
    if case.program.armed.stop is Stop.LANDS:
        return ""
    if decision.allow and case.must_stop:
        return "the manifest says it must be stopped, the registers as read back allow it"
    if not decision.allow and not case.must_stop:
        return "the manifest grants it, the registers as read back deny it"
    return ""


def _clean(case: Case) -> Judgement | None:
    """A refusal must leave nothing behind."""
    if harm := touched(case):
        return failed("TRAP_LATE", f"refused, but {harm}")
    return failed("COLLATERAL", case.canaries.others[0]) if case.canaries.others else None


def _canaries(case: Case) -> Judgement | None:
    """For a program that may change its own bytes: nobody else's."""
    harm = case.canaries.victim or case.canaries.host
    if harm:
        return failed("ESCAPE_WRITE", harm)
    return failed("COLLATERAL", case.canaries.others[0]) if case.canaries.others else None


def _items(first: int, bits: int, what: str) -> str:
    lowest = (bits & -bits).bit_length() - 1
    return f"{bits.bit_count()} items {what}, the first is item {lowest}" + (f" from {first:#x}" if first else "")


def _wanted(decision: Decision) -> str:
    return " or ".join(dict.fromkeys(s.cause for s in decision.syndromes)) or "a trap"


def _distance(reason: str) -> int:
    """How near a mismatch came: the cause first, then the address, then the program counter."""
    return 0 if reason.startswith("pc") else 1 if reason.startswith("address") else 2


def _klass(reason: str) -> str:
    if "escalated" in reason:
        return "TRAP_ESCALATED"
    return ("TRAP_WRONG_PC", "TRAP_WRONG_ADDR", "TRAP_WRONG_CAUSE")[_distance(reason)]

