# SPDX-License-Identifier: Apache-2.0
"""From verdicts to the answer in words and the exit code. Pure: the same journal gives the same answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from rig.faults.catalogue import Status, catalogue, family
from rig.faults.model import FaultProgram, Judgement, RefusedProgram, Verdict, Why
from rig.inject.model import Leg

OK, FAILED, VOID, INCOMPLETE = 0, 1, 3, 4
_CALLS = "C-03"
_FREE = (Why.PLATFORM, Why.NA, Why.FIT, Why.INPUT, Why.UNSUPPORTED)  # reasons that leave the exit code alone


@dataclass(frozen=True, slots=True)
class Entry:
    """One program's or refusal's line, with what answer and exit code depend on."""

    id: str
    family: str
    verdict: Verdict
    klass: str = ""
    reason: str = ""
    why: Why | None = None
    leg: Leg | None = None
    control: bool = False

    @classmethod
    def judged(cls, program: FaultProgram, judgement: Judgement) -> Self:
        return cls(program.id, program.family, judgement.verdict, judgement.klass, judgement.reason, judgement.why,
                   judgement.leg, program.control)

    @classmethod
    def refused(cls, program: RefusedProgram) -> Self:
        return cls(program.id, program.family, Verdict.REFUSED, "", program.reason, program.why)

    @property
    def voids(self) -> bool:
        """A control failed: nothing that this row says counts. An ordinary legal leg alone is not one."""
        return self.why is Why.CONTROL and (self.control or self.leg is not Leg.LEGAL)


@dataclass(frozen=True, slots=True)
class Row:
    """All entries of one board, model and strategy; `control`: the `static` row, outside the totals."""

    entries: tuple[Entry, ...]
    control: bool = False


def answer(entries: Iterable[Entry]) -> str:
    """The answer of one row, in words."""
    found = list(entries)
    fails = [e for e in found if e.verdict is Verdict.FAIL]
    shared = list(dict.fromkeys(e.reason for e in found if e.why is Why.SHARED))
    if broken := [e for e in found if e.voids]:
        return f"refused: run void, {_first(broken)}"
    if fails or shared:
        parts = [reason.removeprefix("not isolated: ") for reason in shared]
        parts += [f"{_programs(len(fails))} failed, the first {fails[0].id}: {fails[0].klass}"] if fails else []
        return "not isolated: " + "; ".join(parts)
    if broken := [e for e in found if e.why is Why.CONTROL or e.why is Why.INFRA]:
        return f"refused: {_first(broken)}"
    if not any(e.verdict is Verdict.PASS for e in found):
        reasons = list(dict.fromkeys(e.reason for e in found if e.why is Why.FIT)) or ["nothing could be judged"]
        return "refused: " + "; ".join(reasons)
    platform = Counter(e.family for e in found if e.why is Why.PLATFORM)
    words = "isolated"
    if platform:
        counts = ", ".join(f"{_programs(n)} of {name}" for name, n in sorted(platform.items()))
        words += f" as far as this platform can show: {counts} refused"
    missing = {e.family for e in found if e.why is Why.INPUT}
    if _CALLS in missing:
        compared = any(e.family == _CALLS and e.verdict is Verdict.PASS for e in found)
        words += "; some calls not compared" if compared else "; calls not compared"
    if missing - {_CALLS}:
        words += "; not attacked for want of input: " + ", ".join(sorted(missing - {_CALLS}))
    return words


def exit_code(rows: Sequence[Row], *, strict: bool = False, complete: bool = True) -> int:
    """0 isolated · 1 a FAIL or a pair not isolated · 3 a control or the infrastructure failed · 4 incomplete.

    A control that failed outranks a FAIL: the run is void. A FAIL outranks missing records and ordinary legal legs that
    did not work (C-02 then says what is wrong). `strict`: a P0 program refused for any reason but N/A is 4.
    `complete`: the run was to cover every required family (False: the user chose some programs).
    """
    judged = [e for row in rows if not row.control for e in row.entries]
    every = [e for row in rows for e in row.entries]
    if any(e.voids for e in every):
        return VOID
    if any(e.verdict is Verdict.FAIL or e.why is Why.SHARED for e in judged):
        return FAILED
    if any(e.verdict is Verdict.REFUSED and e.why not in (*_FREE, Why.SHARED) for e in every) or not judged:
        return VOID
    if complete and any(unrecorded(row.entries) for row in rows if not row.control):
        return INCOMPLETE
    if strict and any(e.verdict is Verdict.REFUSED and e.why is not Why.NA and family(e.family).priority == 0
                      for e in judged):
        return INCOMPLETE
    return OK


def unrecorded(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Required families of which a row has no record: neither judged nor refused."""
    seen = {e.family for e in entries}
    return tuple(f.id for f in catalogue() if f.required and f.status is Status.BUILT and f.id not in seen)


def _programs(count: int) -> str:
    return f"{count} program{'s' if count != 1 else ''}"


def _first(entries: Sequence[Entry]) -> str:
    more = f" (and {len(entries) - 1} more)" if len(entries) > 1 else ""
    return f"{entries[0].id}: {entries[0].reason}{more}"
