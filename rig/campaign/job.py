# SPDX-License-Identifier: Apache-2.0
"""One job: one image on one board, all its strategies, in one child process. Writes its part of the journal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rig import answer
from rig.boards.model import Board
from rig.campaign import prepare, record
from rig.campaign.bench import QemuBench
from rig.campaign.calls import Export, NativeCalls
from rig.campaign.journal import Journal, read
from rig.campaign.prediction import Predictor
from rig.campaign.readers import Window
from rig.campaign.request import Request
from rig.campaign.row import NEW_PROCESS, Inputs, RowRun
from rig.campaign.sampling import thin
from rig.errors import InfrastructureError, Refusal, UsageError
from rig.faults.catalogue import Status, catalogue
from rig.faults.divergence import Platform, version
from rig.faults.expand import expand, variants
from rig.faults.model import FaultProgram, RefusedProgram, Verdict, Why
from rig.host import tools
from rig.image.component import Component
from rig.image.elf import read_code
from rig.image.model import Finding, Image, Model
from rig.inject.model import Flag, Leg, Program, ReadBack, Step, Verb
from rig.inject.session import Session
from rig.plan import spans
from rig.plan.manifest import manifest
from rig.plan.model import ContextPlan, Plan, Strategy
from rig.plan.seeds import seeds
from rig.plan.structure import compare

PADS = -1  # owner of canary windows that belong to the agent
Report = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Job:
    request: Request
    components: tuple[Component, ...]
    calls: tuple[Export, ...] | None  # None: nothing to compare with
    board: Board
    model: Model | None
    part: Path  # this job's journal
    sample: bool  # also run one program of each family from a new process
    variation: Variation | None = None

    @property
    def name(self) -> str:
        return f"{self.board.name}/{self.model.value if self.model else 'fused'}"


@dataclass(frozen=True, slots=True)
class Variation:
    """A seeded bug: what `rig mutants` changes on the way. Each part is None where it stays as it is."""

    plan: Callable[[Plan], Plan] | None = None
    agent_defines: tuple[str, ...] = ()
    nonce: Callable[[int], int] | None = None


@dataclass(frozen=True, slots=True)
class RowDone:
    """What the parent needs of a finished row; everything else is in the journal."""

    name: str
    entries: tuple[answer.Entry, ...]
    control: bool


def run_job(job: Job, report: Report) -> tuple[RowDone, ...]:
    """Build and run everything of the job. A plan that does not fit is an answer, not an error."""
    with Journal(job.part) as journal:
        return _Run(job, report, journal).run()


@dataclass(slots=True)
class _Run:
    job: Job
    report: Report
    journal: Journal
    done: dict[str, dict[str, answer.Entry]] = field(default_factory=dict)  # row → what a resumed journal has of it
    finished: set[str] = field(default_factory=set)  # rows that a resumed journal has whole
    described: bool = False  # a resumed journal has the image

    def run(self) -> tuple[RowDone, ...]:
        self._resume()
        request = self.job.request
        image = self._image()
        if isinstance(image, Refusal):
            return self._all_refused(self.job.model.value if self.job.model else "fused", image)
        try:
            built = prepare.build(
                request.subject,
                image,
                self.job.board,
                self._note,
                wanted=request.lowering,
                agent_defines=self.job.variation.agent_defines if self.job.variation else (),
            )
        except Refusal as refusal:
            self._image_record(image, None)
            return self._all_refused(image.model.value, refusal)
        self._image_record(image, built)
        return self._rows(built)

    def _rows(self, built: prepare.Built) -> tuple[RowDone, ...]:
        board, linked = built.board, built.linked
        plans = prepare.bind_strategies(built, self.job.request.strategies)
        done: list[RowDone] = []
        qemu = tools.find(f"qemu-system-{board.qemu.system}") if board.qemu else None
        if qemu is None:
            raise UsageError(f"board {board.name} is described for planning only: it has no [qemu] table to run on")
        nonce = self._nonce()
        bench = QemuBench(
            board, linked.path, bytes.fromhex(linked.build_id), linked.symbols["rig_mailbox"], qemu, nonce
        )
        with bench:
            self._note(f"starting {board.name} ({built.image.model.value})")
            bench.start()
            for strategy, plan in plans.items():
                row = f"{board.name}/{built.image.model.value}/{strategy.value}"
                if row in self.finished:
                    entries = tuple(self.done.get(row, {}).values())
                    done.append(RowDone(row, entries, strategy is Strategy.STATIC))
                elif isinstance(plan, Refusal):
                    done.append(self._refused_row(row, strategy, plan, built))
                else:
                    done.append(_Row(self, built, plan, bench, row, nonce, qemu.version).run())
                self.journal.flush()
        return tuple(done)

    def _image(self) -> Image | Refusal:
        try:
            return prepare.make_image(self.job.request.subject, self.job.components, self.job.model, self._note)
        except Refusal as refusal:
            return refusal

    def _nonce(self) -> int:
        return self._nonce_of(self.job.request.seed)

    def _nonce_of(self, seed: int) -> int:
        """Nonces derive from the seed, so that the same seed gives the same journal."""
        digest = hashlib.sha256(f"nonce {seed}".encode()).digest()
        nonce = int.from_bytes(digest[:8], "little")
        change = self.job.variation.nonce if self.job.variation else None
        return change(nonce) if change else nonce

    def guessable(self) -> str:
        """ "" when another seed has another nonce; else why canaries prove nothing (M33)."""
        seed = self.job.request.seed
        if self._nonce_of(seed) == self._nonce_of(seed + 1):
            return "canaries do not depend on the seed: an attacker who knows them can restore what he changed"
        return ""

    def _note(self, text: str) -> None:
        self.report("note", text=text)

    # Records

    def _image_record(self, image: Image, built: prepare.Built | None) -> None:
        if self.described:
            return
        facts: dict[str, Any] = {
            "image": self.job.name,
            "board": self.job.board.name,
            "model": image.model.value,
            "owners": [[owner.name, owner.kind.value] for owner in image.owners],
            "wasm": prepare.identity(image),
            "components": {component.name: component.sha256 for component in self.job.components},
        }
        findings: Sequence[Finding] = image.findings
        if built is not None:
            findings = built.findings
            facts |= {
                "lowering": built.lowered.lowering.value,
                "why_not": list(built.lowered.why_not),
                "object": built.lowered.sha256,
                "elf": built.linked.sha256,
                "build_id": built.linked.build_id,
                "tools": dict(built.lowered.tools),
                "placement": [[p.name, p.start, p.end, p.region_end] for p in built.placement.objects],
                "seams": len(image.seams),
            }
        self.journal.write("image", facts)
        for finding in findings:
            self.journal.write("finding", _finding(self.job.name, image, finding))

    def _all_refused(self, model: str, refusal: Refusal) -> tuple[RowDone, ...]:
        return tuple(
            self._refused_row(f"{self.job.board.name}/{model}/{strategy.value}", strategy, refusal, None)
            for strategy in self.job.request.strategies
        )

    def _refused_row(self, row: str, strategy: Strategy, refusal: Refusal, built: prepare.Built | None) -> RowDone:
        """One answer row, one REFUSED per family, with the arithmetic."""
        reason = str(refusal).replace("does not fit: ", "", 1)
        entries = []
        for family in catalogue():
            if family.status is Status.BUILT:
                refused = RefusedProgram(f"{family.id}/all", family.id, None, None, Why.FIT, reason)
                entries.append(answer.Entry.refused(refused))
                if refused.id not in self.done.get(row, {}):
                    self.journal.write("refused", {"row": row, "id": refused.id, "case": family.id, "actor": "-",
                                                   "victim": "-", "why": Why.FIT.value, "reason": reason})  # fmt: skip
        lowering = built.lowered.lowering.value if built else ""
        self.row_record(row, strategy, lowering, answer.answer(entries), 0, 0.0, ())
        return RowDone(row, tuple(entries), strategy is Strategy.STATIC)

    def row_record(
        self, row: str, strategy: Strategy, lowering: str, words: str, legs: int, seconds: float, why_not: Sequence[str]
    ) -> None:
        if row in self.finished:
            return
        self.journal.write("row", {
            "row": row, "lowering": lowering, "control": strategy is Strategy.STATIC, "answer": words, "legs": legs,
            "why_not": list(why_not), "wall": {"seconds": round(seconds, 3)},
        })  # fmt: skip

    def _resume(self) -> None:
        """What this job's part of a killed run's journal already has."""
        if self.job.part.exists():
            for line in read(self.job.part):
                if line["k"] in ("result", "refused"):
                    self.done.setdefault(line["row"], {})[line["id"]] = record.entry(line)
                elif line["k"] == "row":
                    self.finished.add(line["row"])
                elif line["k"] == "image":
                    self.described = True


@dataclass(slots=True)
class _Row:
    """One strategy of a job."""

    owner: _Run
    built: prepare.Built
    plan: Plan
    bench: QemuBench
    name: str
    nonce: int
    version: str

    def run(self) -> RowDone:
        built, request, variation = self.built, self.owner.job.request, self.owner.job.variation
        symbols = built.linked.symbols
        extra = variants(self.plan)
        loaded = variation.plan(self.plan) if variation and variation.plan else self.plan
        fills = spans.spans(built.image, self.plan.placement, self.nonce)
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
            platform=Platform(built.board.arch, "qemu", version(self.version)),
            reader_entry=symbols["rig_stub_sum"],
            seed=request.seed,
            done=self.owner.done.get(self.name, {}),
        )
        seconds = self.bench.seconds
        run = RowRun(inputs, self.bench, self.owner.journal, self._advance)
        tally = run.run()
        seconds = self.bench.seconds - seconds  # of the legs; calls and samples from new processes are no legs
        if why := self.owner.guessable():
            run.refuse(RefusedProgram("C-08/nonce", "C-08", None, None, Why.CONTROL, why), control=True)
        if self.plan.strategy is not Strategy.STATIC:
            self._calls(run)
            if self.owner.job.sample and not request.only and not request.quick:
                run.sample(p for p in _one_per_family(chosen) if p.id + NEW_PROCESS not in inputs.done)
        entries = tuple(tally.entries)
        words = answer.answer(entries)
        if self.plan.strategy is Strategy.STATIC and words.startswith("isolated"):
            landed = sum(entry.verdict is Verdict.PASS for entry in entries)
            words = f"control: {landed} accesses to other owners' memory landed, as one map for all must let them"
        self.owner.row_record(
            self.name, self.plan.strategy, built.lowered.lowering.value, words, tally.legs,
            seconds, built.lowered.why_not,
        )  # fmt: skip
        return RowDone(self.name, entries, self.plan.strategy is Strategy.STATIC)

    def _chosen(self, programs: Sequence[FaultProgram]) -> list[FaultProgram]:
        request = self.owner.job.request
        if request.only:
            return [p for p in programs if p.id in request.only or p.id + NEW_PROCESS in request.only or p.control]
        found = [p for p in programs if self._wanted(p.family) or p.control]
        return thin(found) if request.quick else found

    def _wanted(self, family: str) -> bool:
        return not self.owner.job.request.families or family in self.owner.job.request.families

    def _read_back(self, plan: Plan, extra: Sequence[ContextPlan]) -> list[ReadBack]:
        """Every context's registers, after the switch and before entry, with the map on and off."""
        nop = self.built.linked.symbols["rig_stub_nop"]
        programs = [
            Program(index=i, verb=Verb.RUN, leg=Leg.ARMED, steps=(Step(context.id, nop),), flags=Flag.READBACK)
            for i, context in enumerate((*plan.contexts, *extra))
        ]
        self.bench.take_read_backs()
        self.bench.run([Program(index=len(programs), verb=Verb.FRESH, leg=Leg.LEGAL), *programs])
        backs = self.bench.take_read_backs()
        missing = {p.steps[0].context for p in programs} - {b.context for b in backs}
        if missing:
            raise InfrastructureError(f"{self.name}: no registers were read back for contexts {sorted(missing)}")
        owners = {context.id: context.owner for context in (*plan.contexts, *extra)}
        if self.name not in self.owner.finished:
            for back in backs:
                line = record.read_back(self.name, self.built.image, back, owners[back.context])
                self.owner.journal.write("readback", line)
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
        request, calls = self.owner.job.request, self.owner.job.calls
        if not self._wanted("C-03"):
            return
        native = NativeCalls(self.built.image, self.built.board, self.plan, self.built.linked.symbols, run.send)
        for refused in _uncalled(self.owner.job.components, calls, self.built.image):
            if not request.only:
                run.refuse(refused)
        for export in calls or ():
            if (request.only and export.id not in request.only) or export.id in self.owner.done.get(self.name, ()):
                continue
            run.call(export, native)

    def _advance(self, done: int, total: int, legs: int) -> None:
        self.owner.report("advance", row=self.name, done=done, total=total, legs=legs)


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


def _one_per_family(programs: Sequence[FaultProgram]) -> list[FaultProgram]:
    """The first program of each family that has legs of its own."""
    found: dict[str, FaultProgram] = {}
    for program in programs:
        if program.legs:
            found.setdefault(program.family, program)
    return list(found.values())


def _finding(image_name: str, image: Image, finding: Finding) -> dict[str, Any]:
    line: dict[str, Any] = {"image": image_name, "id": finding.id, "what": finding.what, "where": finding.where,
                            "cure": finding.cure, "cured": finding.cured}  # fmt: skip
    if finding.pair is not None:
        line["pair"] = [image.owners[owner].name for owner in finding.pair]
    return line
