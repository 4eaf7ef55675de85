# SPDX-License-Identifier: Apache-2.0
"""Program + both halves of the prediction + observations of its legs → one verdict. No I/O, no second chance.

Order, and why: a missing record first (nothing can be said) · the legal and the disarmed leg (without them the armed
one says nothing) · a hang (only what was seen twice counts) · the two halves of the prediction against each other ·
registers that changed between read-back and entry · who really ran · and only then how the armed leg ended.
Anything that is not exactly as expected is a FAIL; anything that was not looked at is REFUSED. docs/how-it-decides.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rig.arch.types import Decision
from rig.boards.model import Arch
from rig.faults.model import FaultProgram, Judgement, Stop, Verdict, Why
from rig.inject.model import Leg, Observation, Outcome
from rig.judging.armed import armed, ran_astray, structure
from rig.judging.case import INTACT, CanaryResult, Case, SweepPrediction, failed, passed, refused
from rig.judging.effects import came_out, describe

__all__ = ["INTACT", "CanaryResult", "SweepPrediction", "judge", "judge_structure"]

CONFIRMATIONS = 2  # a hang is a verdict when it was seen so many times


def judge(
    program: FaultProgram,
    decision: Decision | None,
    must_stop: bool,
    observations: Mapping[Leg, Observation],
    canaries: CanaryResult,
    arch: Arch,
    *,
    after: Mapping[Leg, Observation] | None = None,
    sweep: SweepPrediction | None = None,
    live: int | None = None,
    hangs: int = 1,
) -> Judgement:
    """The verdict on one program.

    `decision`: rig.arch on the registers as read back (None where the program is no memory access). `must_stop`: the
    manifest. `after`: results of `program.after`. `sweep`: both halves per item. `live`: checksum of the read-back
    registers, to compare with the one taken at entry. `hangs`: how often the armed leg hung in a row, now included.
    """
    case = Case(program, decision, must_stop, observations, canaries, arch, after or {}, sweep, live, hangs)
    for rule in (_whole_record, _agreed, _controls, _hang, _halves, _same_registers, _looked_at, _who_ran):
        if verdict := rule(case):
            break
    else:
        verdict = passed("CONTROL") if program.armed.stop is Stop.CONTROL else armed(case)
    return _voiding(program, verdict)


def judge_structure(program: FaultProgram, differences: Sequence[str] | None) -> Judgement:
    """C-05: the record of one context. `differences` from `rig.plan.structure`; None: registers were not read back."""
    if differences is None:
        return refused(Why.INFRA, "NO_PREDICTION", "no registers were read back for this context", Leg.ARMED)
    if differences:
        more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
        return failed("STRUCTURE", differences[0] + more)
    return passed("STRUCTURE_EXACT")


def _whole_record(case: Case) -> Judgement | None:
    for leg, sent in case.program.legs.items():
        seen = case.observations.get(leg)
        if seen is None:
            return refused(Why.INFRA, "NO_RECORD", f"{leg.name.lower()} leg: no result", leg)
        if seen.leg is not leg or seen.index != sent.index:
            return refused(Why.INFRA, "NO_RECORD", f"{leg.name.lower()} leg: the result is of program {seen.index}, "
                           f"{seen.leg.name.lower()} leg, not of program {sent.index}", leg)
        if seen.outcome is Outcome.BAD_PROGRAM:
            return refused(Why.INFRA, "NO_RECORD", f"{leg.name.lower()} leg: the agent could not run it, "
                           f"detail {seen.detail}", leg)
    return None


def _agreed(case: Case) -> Judgement | None:
    """The expansion and the manifest must say the same about the program, or it was made for another image."""
    stop = case.program.armed.stop
    wanted = {Stop.TRAP: True, Stop.LANDS: True, Stop.ALLOWED: False}.get(stop, case.must_stop)
    if case.program.armed.access is not None and wanted != case.must_stop:
        return refused(Why.INFRA, "NO_PREDICTION", f"the program expects {stop.value}, the manifest says "
                       f"{'stop' if case.must_stop else 'grant'}", Leg.ARMED)
    return None


def _controls(case: Case) -> Judgement | None:
    for leg in (Leg.LEGAL, Leg.DISARMED):
        if leg in case.program.legs and (reason := came_out(case, leg)):
            return refused(Why.CONTROL, "CONTROL_FAILED", f"{leg.name.lower()} leg: {reason}", leg)
    return None


def _hang(case: Case) -> Judgement | None:
    if Leg.ARMED not in case.program.legs or case.armed.outcome is not Outcome.TIMEOUT:
        return None
    if case.hangs < CONFIRMATIONS:
        return refused(Why.INFRA, "HANG", "no end within the time limit, seen once", Leg.ARMED, again=True)
    return failed("HANG", f"no end within the time limit, {case.hangs} times")


def _halves(case: Case) -> Judgement | None:
    if reason := structure(case):
        end = describe(case.armed) if Leg.ARMED in case.program.legs else "no armed leg"
        return failed("STRUCTURE", f"{reason}; it {end}")
    return None


def _same_registers(case: Case) -> Judgement | None:
    if Leg.ARMED in case.program.legs and case.live is not None and case.armed.live != case.live:
        return failed("STRUCTURE", f"protection registers at entry have checksum {case.armed.live:#010x}, "
                      f"as read back {case.live:#010x}")
    return None


def _looked_at(case: Case) -> Judgement | None:
    if case.program.readers and Leg.ARMED in case.program.legs and None in (case.canaries.victim, case.canaries.host):
        return refused(Why.INFRA, "NO_RECORD", "the victim's canaries were not read after the armed leg", Leg.ARMED)
    return None


def _who_ran(case: Case) -> Judgement | None:
    return ran_astray(case) if Leg.ARMED in case.program.legs else None


def _voiding(program: FaultProgram, verdict: Judgement) -> Judgement:
    """A control that fails is no verdict about the product: it voids the run."""
    if program.control and verdict.verdict is Verdict.FAIL:
        return replace(verdict, verdict=Verdict.REFUSED, why=Why.CONTROL, reason=f"{verdict.klass}: {verdict.reason}",
                       klass="CONTROL_FAILED")
    return verdict


