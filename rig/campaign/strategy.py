# SPDX-License-Identifier: Apache-2.0
"""One strategy of a job: plan loaded, registers read back, programs expanded and run, calls compared, one answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rig import answer
from rig.campaign import prepare, record
from rig.campaign.bench import QemuBench
from rig.campaign.calls import Export, NativeCalls
from rig.campaign.journal import Journal
from rig.campaign.prediction import Predictor
from rig.campaign.readers import Window
from rig.campaign.request import Request
from rig.campaign.row import NEW_PROCESS, Inputs, RowRun
from rig.campaign.sampling import thin
from rig.errors import InfrastructureError
from rig.faults.divergence import Platform, refusal, version
from rig.faults.expand import expand, variants
from rig.faults.model import FaultProgram, RefusedProgram, Verdict, Why
from rig.image.component import Component
from rig.image.elf import read_code
from rig.image.model import Image
from rig.inject.model import Disarm, Flag, Leg, Program, ReadBack, Step, Verb
from rig.inject.session import Session
from rig.plan import spans
from rig.plan.manifest import manifest
from rig.plan.model import ContextPlan, Plan, Strategy
from rig.plan.seeds import seeds
from rig.plan.structure import compare
from rig.targets.protocol import Timebase

PADS = -1  # owner of canary windows that belong to the agent


@dataclass(frozen=True, slots=True)
class Variation:
    """A seeded bug: what `rig mutants` changes on the way. Each part is None where it stays as it is."""

    plan: Callable[[Plan], Plan] | None = None
    agent_defines: tuple[str, ...] = ()
    nonce: Callable[[int], int] | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What a strategy's run needs of its job."""

    request: Request
    components: tuple[Component, ...]
    calls: tuple[Export, ...] | None  # None: nothing to compare with
    sample: bool  # also run one program of each family from a new process
    variation: Variation
    journal: Journal
    report: Callable[..., None]
    done: Mapping[str, answer.Entry]  # what a resumed journal has of this row
    nonce: int
    emulator: str  # version
    guessable: str  # why canaries prove nothing, or ""


@dataclass(frozen=True, slots=True)
class Finished:
    entries: tuple[answer.Entry, ...]
    answer: str
    legs: int
    seconds: float  # in which the emulator was executing legs
    timebase: Timebase  # of the ticks in the records


@dataclass(frozen=True, slots=True)
class StrategyRun:
    """One row: an image on a board under one strategy, on a bench that runs the image."""

    name: str  # "board/model/strategy"
    built: prepare.Built
    plan: Plan
    bench: QemuBench
    context: Context

    def run(self) -> Finished:
        built, request, variation = self.built, self.context.request, self.context.variation
        symbols = built.linked.symbols
        extra = variants(self.plan)
        loaded = variation.plan(self.plan) if variation.plan else self.plan
        fills = spans.spans(built.image, self.plan.placement, self.context.nonce)
        initial = seeds(built.image, self.plan.placement, self.plan, symbols, built.linked.type_ids)
        self.bench.load(lambda session: _load(session, loaded, extra, fills, initial))
        rights = manifest(built.image, self.plan.placement, built.board)
        backs = self._read_back(loaded, extra)
        predictor = Predictor(built.board, rights, {(b.context, b.leg): b for b in backs})
        programs, refused = expand(
            built.image, built.board, self.plan, rights, symbols, read_code(built.linked.path), request.seed,
            quick=request.quick,
        )  # fmt: skip
        chosen = self._chosen(programs)
        inputs = Inputs(
            name=self.name,
            image=built.image,
            programs=chosen,
            refused=[r for r in refused if not request.only and self._wanted(r.family)],
            predictor=predictor,
            structure=self._structure(predictor, rights),
            windows=_windows(fills),
            platform=Platform(built.board.arch, "qemu", version(self.context.emulator)),
            reader_entry=symbols["rig_stub_sum"],
            seed=request.seed,
            done=self.context.done,
        )
        seconds = self.bench.seconds
        run = RowRun(inputs, self.bench, self.context.journal, self._advance)
        tally = run.run()
        seconds = self.bench.seconds - seconds  # of the legs; calls and samples from new processes are no legs
        if why := self.context.guessable:
            run.refuse(RefusedProgram("C-08/nonce", "C-08", None, None, Why.CONTROL, why), control=True)
        if self.plan.strategy is not Strategy.STATIC:
            self._calls(run)
            if self.context.sample and not request.only and not request.quick:
                run.sample(p for p in _one_per_family(inputs) if p.id + NEW_PROCESS not in inputs.done)
        entries = tuple(tally.entries)
        words = answer.answer(entries)
        if self.plan.strategy is Strategy.STATIC and words.startswith("isolated"):
            landed = sum(entry.verdict is Verdict.PASS for entry in entries)
            words = f"control: {landed} accesses to other owners' memory landed, as one map for all must let them"
        return Finished(entries, words, tally.legs, seconds, self.bench.timebase)

    def _chosen(self, programs: Sequence[FaultProgram]) -> list[FaultProgram]:
        request = self.context.request
        if request.only:
            return [p for p in programs if p.id in request.only or p.id + NEW_PROCESS in request.only or p.control]
        found = [p for p in programs if self._wanted(p.family) or p.control]
        return thin(found) if request.quick else found

    def _wanted(self, family: str) -> bool:
        return not self.context.request.families or family in self.context.request.families

    def _read_back(self, plan: Plan, extra: Sequence[ContextPlan]) -> list[ReadBack]:
        """Every context's registers, after the switch and before entry, with the map on and off."""
        nop = self.built.linked.symbols["rig_stub_nop"]
        programs = [
            Program(0, Verb.RUN, leg, steps=(Step(context.id, nop),), disarm=disarm, flags=Flag.READBACK)
            for leg, disarm in ((Leg.ARMED, Disarm.NOTHING), (Leg.DISARMED, Disarm.MAP))
            for context in (*plan.contexts, *extra)
        ]
        programs = [replace(program, index=index) for index, program in enumerate(programs)]
        self.bench.take_read_backs()
        self.bench.run([Program(index=len(programs), verb=Verb.FRESH, leg=Leg.LEGAL), *programs])
        backs = self.bench.take_read_backs()
        missing = {(p.steps[0].context, p.leg) for p in programs} - {(b.context, b.leg) for b in backs}
        if missing:
            raise InfrastructureError(f"{self.name}: no registers were read back for contexts {sorted(missing)}")
        owners = {context.id: context.owner for context in (*plan.contexts, *extra)}
        if not self.context.done:
            for back in backs:
                line = record.read_back(self.name, self.built.image, back, owners[back.context])
                self.context.journal.write("readback", line)
        return backs

    def _structure(self, predictor: Predictor, rights: Any) -> dict[int, Sequence[str]]:
        """C-05: what the registers as read back grant, against the manifest, byte for byte."""
        found: dict[int, Sequence[str]] = {}
        for owner in self.built.image.owners:
            registers = predictor.context_registers(owner.index)
            if registers is not None:
                found[owner.index] = compare(registers, rights, owner.index)
        return found

    def _calls(self, run: RowRun) -> None:
        request, calls = self.context.request, self.context.calls
        if not self._wanted("C-03"):
            return
        native = NativeCalls(
            self.built.image, self.built.board, self.plan, self.built.linked.symbols, run.send, self.bench.read
        )
        for refused in _uncalled(self.context.components, calls, self.built.image):
            if not request.only:
                run.refuse(refused)
        for export in calls or ():
            if (request.only and export.id not in request.only) or export.id in self.context.done:
                continue
            run.call(export, native)

    def _advance(self, done: int, total: int, legs: int) -> None:
        self.context.report("advance", row=self.name, done=done, total=total, legs=legs)


def _load(
    session: Session,
    plan: Plan,
    extra: Sequence[ContextPlan],
    fills: Sequence[spans.Fill],
    initial: Sequence[tuple[int, bytes]],
) -> None:
    session.load_plan(plan, spans=fills, seeds=initial, extra=extra)


def _windows(fills: Sequence[spans.Fill]) -> Mapping[int, Sequence[Window]]:
    found: dict[int, list[Window]] = {}
    for fill in fills:
        if fill.kind == spans.CANARY:
            owner = PADS if fill.owner is None else fill.owner
            found.setdefault(owner, []).append(Window(owner, fill.address, fill.length, fill.seed))
    return found


def _uncalled(components: Sequence[Component], calls: tuple[Export, ...] | None, image: Image) -> list[RefusedProgram]:
    if calls is None:
        reason = image.refusals.get("C-03", "no components")
        return [RefusedProgram("C-03/all", "C-03", None, None, Why.INPUT, reason)]
    return [
        RefusedProgram(
            f"C-03/{component.name}", "C-03", None, None, Why.NA, "an intruder's exports are attack primitives"
        )
        for component in components
        if component.intruder
    ]


def _one_per_family(inputs: Inputs) -> list[FaultProgram]:
    """The first program of each family that has legs of its own and that the platform may vouch for.

    Not C-05: it compares registers that were read back once, its leg alone says nothing.
    """
    found: dict[str, FaultProgram] = {}
    for program in inputs.programs:
        if program.legs and program.family != "C-05" and refusal(program, inputs.platform) is None:
            found.setdefault(program.family, program)
    return list(found.values())
