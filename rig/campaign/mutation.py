# SPDX-License-Identifier: Apache-2.0
"""Seeded bugs through the whole pipeline: every mutant must be killed by a verdict that the clean image does not get.

A mutant runs where it can show (its own board, components with a promise, …). First the same row runs clean: a row
that is red without the bug proves nothing. Killers are the families with a FAIL, or whose legal leg broke, beyond what
the clean row had; a plan mutant must have a killer other than C-05, that is: it also dies with C-05 switched off.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rig.answer import Entry
from rig.boards.load import load_board
from rig.campaign.calls import Export, reference_calls
from rig.campaign.job import Job, RowDone, run_job
from rig.campaign.jobs import Done, run_jobs
from rig.campaign.request import Request
from rig.campaign.strategy import Variation
from rig.errors import InfrastructureError, RigError
from rig.faults.model import Verdict, Why
from rig.image.component import Component
from rig.image.model import Model
from rig.plan.model import Plan, Strategy
from rig.plan.mutants import MUTANTS, Mutant

CONSTANT_NONCE = 0x0123_4567_89AB_CDEF
STRUCTURE = "C-05"
AGENT_DEFINES = "RIG_MUTANT_"
MODEL = Model.PAGE
CALL_VECTORS = 20
BOARD = "mps2-an386"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one mutant. `state`: killed | survived | refused."""

    id: str
    title: str
    kind: str
    state: str
    killers: tuple[str, ...]
    reason: str
    board: str
    model: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a mutant can show."""

    board: str
    backed: int | None


def run_mutants(
    request: Request,
    components: tuple[Component, ...],
    wanted: Sequence[str],
    folder: Path,
    note: Callable[[str], None],
) -> Iterator[Fate]:
    """Fates in the order of the table. `wanted`: ids; empty: all. `folder`: where the journals go."""
    chosen = [mutant for mutant in MUTANTS if not wanted or mutant.id in wanted]
    places = list(dict.fromkeys(_place(mutant) for mutant in chosen))
    jobs = [_job(request, components, place, None, folder / f"clean-{i}.jsonl") for i, place in enumerate(places)]
    jobs += [_job(request, components, _place(m), m, folder / f"{m.id}.jsonl") for m in chosen]
    done: dict[int, Done] = {}
    for item in run_jobs(jobs, run_job, request.jobs):
        if isinstance(item, Done):
            done[item.job] = item
            name = "clean run" if item.job < len(places) else chosen[item.job - len(places)].id
            note(f"{name} on {jobs[item.job].board.name} ended")
    clean = {place: done[i] for i, place in enumerate(places)}
    for number, mutant in enumerate(chosen):
        yield _fate(mutant, clean[_place(mutant)], done[len(places) + number])


def _place(mutant: Mutant) -> _Place:
    return _Place(mutant.board or BOARD, mutant.backed)


def _job(request: Request, components: tuple[Component, ...], place: _Place, mutant: Mutant | None, part: Path) -> Job:
    if place.backed is not None:
        components = tuple(replace(component, backed=place.backed) for component in components)
    asked = replace(request, strategies=(Strategy.SWITCH,))
    calls = request_calls(asked, components) if mutant is None or mutant.kind == "agent" else None
    return Job(asked, components, calls, load_board(place.board), MODEL, part, False, _variation(mutant, request.seed))


def request_calls(request: Request, components: tuple[Component, ...]) -> tuple[Export, ...]:
    subject = request.subject
    return reference_calls(components, dict(subject.imports), subject.calls, request.seed, CALL_VECTORS)


def mutant_variation(id: str, seed: int) -> Variation | None:
    """What the mutant `id` changes on the way."""
    return _variation(next(m for m in MUTANTS if m.id == id), seed)


def _variation(mutant: Mutant | None, seed: int) -> Variation | None:
    if mutant is None:
        return None
    if mutant.kind == "plan":
        return Variation(plan=_PlanChange(mutant.id, seed))
    if mutant.kind == "agent":
        return Variation(agent_defines=(AGENT_DEFINES + mutant.id,))
    return Variation(nonce=_constant_nonce)


def _constant_nonce(_: int) -> int:
    """M33: canaries that anybody can know, the same in every run."""
    return CONSTANT_NONCE


@dataclass(frozen=True, slots=True)
class _PlanChange:
    """Applies a plan mutant; InfrastructureError where this plan cannot show it."""

    id: str
    seed: int

    def __call__(self, plan: Plan) -> Plan:
        mutant = next(m for m in MUTANTS if m.id == self.id)
        reason = mutant.applies(plan, load_board(plan.board))
        if reason is not None:
            raise InfrastructureError(f"{self.id} cannot show on this plan: {reason}")
        return mutant.mutate(plan, random.Random(f"{self.seed}/{self.id}"))


def _fate(mutant: Mutant, clean: Done, mutated: Done) -> Fate:
    place = _place(mutant)

    def fate(state: str, killers: Sequence[str] = (), reason: str = "") -> Fate:
        return Fate(mutant.id, mutant.title, mutant.kind, state, tuple(killers), reason, place.board, MODEL.value)

    for what, done in (("the clean run", clean), ("the mutated run", mutated)):
        if done.error is not None:
            return fate("refused", reason=f"{what}: {_first_line(done.error)}")
    if _red(clean.result):
        return fate("refused", reason=f"the clean run is red already: {', '.join(sorted(_red(clean.result)))}")
    killers = sorted(_red(mutated.result))
    if mutant.kind == "plan" and not [family for family in killers if family != STRUCTURE]:
        reason = "only C-05 saw it" if killers else "no family saw it"
        return fate("survived", killers, reason)
    return fate("killed" if killers else "survived", killers, "" if killers else "no family saw it")


def _red(rows: Sequence[RowDone]) -> set[str]:
    return {entry.family for row in rows for entry in row.entries if _is_red(entry)}


def _is_red(entry: Entry) -> bool:
    """A FAIL, or a leg that had to succeed and did not: a legal access that the bug broke, a control that went."""
    return entry.verdict is Verdict.FAIL or (entry.why is Why.CONTROL and (entry.control or entry.leg is not None))


def _first_line(error: RigError) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
