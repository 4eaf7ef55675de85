# SPDX-License-Identifier: Apache-2.0
"""Everything one verdict rests on, in one value, and the words a verdict is given in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rig.arch.syndrome import ArmFault, RiscvFault
from rig.arch.types import Decision
from rig.boards.model import Arch
from rig.faults.model import FaultProgram, Judgement, Verdict, Why
from rig.inject.model import Leg, Observation

NOBODY = 0xFF  # Observation.caller: not called through the gate


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """What the readers saw after the armed leg of a program: "" intact, else what differs; None: did not look."""

    victim: str | None  # the victim, unprivileged in its own context
    host: str | None  # the host, past the agent
    others: tuple[str, ...] = ()  # canaries of anybody else (pads, third owners) that differ


INTACT = CanaryResult("", "")


@dataclass(frozen=True, slots=True)
class SweepPrediction:
    """Per item of a sweep, bit i for item i: both halves of the prediction."""

    count: int
    must_stop: int  # by the manifest
    denied: int  # by rig.arch on the registers as read back
    unknown: int = 0  # the architecture does not say


@dataclass(frozen=True, slots=True)
class Case:
    program: FaultProgram
    decision: Decision | None
    must_stop: bool
    observations: Mapping[Leg, Observation]
    canaries: CanaryResult
    arch: Arch
    after: Mapping[Leg, Observation] = field(default_factory=dict)  # of `program.after`
    sweep: SweepPrediction | None = None
    live: int | None = None  # checksum that the armed leg's last entry must have seen
    hangs: int = 1  # how many runs of the armed leg hung, this one included

    @property
    def armed(self) -> Observation:
        return self.observations[Leg.ARMED]


def combined(decisions: Sequence[Decision]) -> Decision:
    """What is decided about an access that a compiler split (`Expect.pieces`), in whatever order the pieces run.

    Denied where any piece is, and any denied piece may be the one that shows.
    """
    if len(decisions) == 1:
        return decisions[0]
    if any(decision.allow is None for decision in decisions):
        return Decision(None, (), tuple(dict.fromkeys(d for decision in decisions for d in decision.unpredictable)))
    shown = dict.fromkeys(s for decision in decisions if not decision.allow for s in decision.syndromes)
    return Decision(all(decision.allow for decision in decisions), tuple(shown))


def passed(klass: str, reason: str = "", findings: tuple[str, ...] = ()) -> Judgement:
    return Judgement(Verdict.PASS, klass, reason, findings=findings)


def failed(klass: str, reason: str) -> Judgement:
    return Judgement(Verdict.FAIL, klass, reason, leg=Leg.ARMED)


def refused(why: Why, klass: str, reason: str, leg: Leg | None = None, *, again: bool = False) -> Judgement:
    return Judgement(Verdict.REFUSED, klass, reason, why, leg=leg, needs_confirmation=again)


def fault_of(observation: Observation, arch: Arch) -> ArmFault | RiscvFault:
    """The fault record, as `rig.arch.syndrome` wants it."""
    return RiscvFault(*observation.fault[:4]) if arch is Arch.RV32 else ArmFault(*observation.fault[:8])
