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
from rig.build.cache import digest
from rig.campaign import prepare, record
from rig.campaign.bench import QemuBench
from rig.campaign.calls import Export
from rig.campaign.journal import Journal, read
from rig.campaign.request import Request
from rig.campaign.strategy import Context, StrategyRun, Variation
from rig.errors import Refusal, UsageError
from rig.faults.catalogue import Status, catalogue
from rig.faults.model import RefusedProgram, Why
from rig.host import tools
from rig.image.component import Component
from rig.image.model import Finding, Image, Model
from rig.plan.model import Strategy

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

    @property
    def rows(self) -> tuple[tuple[str, bool], ...]:
        """(name, whether it is a control) of every row to come."""
        return tuple((f"{self.name}/{s.value}", s is Strategy.STATIC) for s in self.request.strategies)


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
            name = self.job.model.value if self.job.model else prepare.fused_model(request.subject)
            return self._all_refused(name, image)
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
                    run = StrategyRun(row, built, plan, bench, self._context(row, nonce, qemu.version))
                    try:
                        done.append(self._row(run))
                    except Refusal as refusal:  # before anything ran: the reference runtime has no room, …
                        done.append(self._refused_row(row, strategy, refusal, built))
                self.journal.flush()
        return tuple(done)

    def _context(self, row: str, nonce: int, version: str) -> Context:
        job = self.job
        return Context(
            request=job.request,
            components=job.components,
            calls=job.calls,
            sample=job.sample,
            variation=job.variation or Variation(),
            journal=self.journal,
            report=self.report,
            done=self.done.get(row, {}),
            nonce=nonce,
            emulator=version,
            guessable=self._guessable(),
        )

    def _row(self, run: StrategyRun) -> RowDone:
        finished = run.run()
        strategy, lowered = run.plan.strategy, run.built.lowered
        self.row_record(
            run.name, strategy, lowered.lowering.value, finished.answer, finished.legs, finished.seconds,
            lowered.why_not, digest(repr((run.plan.contexts, run.plan.seams))),
            {"unit": finished.timebase.unit, "per_tick": finished.timebase.per_tick},
        )  # fmt: skip
        return RowDone(run.name, finished.entries, strategy is Strategy.STATIC)

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

    def _guessable(self) -> str:
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
        reason = " ".join(str(refusal).replace("does not fit: ", "", 1).split())  # an answer is one line
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
        self,
        row: str,
        strategy: Strategy,
        lowering: str,
        words: str,
        legs: int,
        seconds: float,
        why_not: Sequence[str],
        plan: str = "",
        time: Mapping[str, Any] | None = None,
    ) -> None:
        if row in self.finished:
            return
        self.journal.write("row", {
            "row": row, "lowering": lowering, "control": strategy is Strategy.STATIC, "answer": words, "legs": legs,
            "why_not": list(why_not), "plan": plan, "time": time, "wall": {"seconds": round(seconds, 3)},
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


def _finding(image_name: str, image: Image, finding: Finding) -> dict[str, Any]:
    line: dict[str, Any] = {"image": image_name, "id": finding.id, "what": finding.what, "where": finding.where,
                            "cure": finding.cure, "cured": finding.cured}  # fmt: skip
    if finding.pair is not None:
        line["pair"] = [image.owners[owner].name for owner in finding.pair]
    return line
