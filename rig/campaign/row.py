# SPDX-License-Identifier: Apache-2.0
"""One row of the run: one image on one board under one strategy. Sends programs, reads canaries, judges, records.

Programs go in groups that share a victim. After a group the victim re-reads its canaries unprivileged and the host
compares the same RAM; when anything changed, the group is replayed program by program, so that the culprit is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from rig.answer import Entry
from rig.campaign import record
from rig.campaign.arrange import arrange, fresh, wire_programs
from rig.campaign.calls import Export, NativeCalls
from rig.campaign.journal import Journal
from rig.campaign.prediction import Predictor
from rig.campaign.readers import NOTHING, Window, host_says, reader_programs, victim_says
from rig.errors import InfrastructureError
from rig.faults.divergence import Platform, refusal
from rig.faults.model import FaultProgram, Judgement, RefusedProgram, Stop, Verdict, Why
from rig.image.model import Image
from rig.inject.model import Leg, Observation, Program
from rig.judge import CanaryResult, judge, judge_structure
from rig.judging.case import INTACT

NEW_PROCESS = "@new-process"  # ends the id of a program that was run once more, from a new process
FRAME = 112  # bytes of the largest exception frame (Arm, with FPU registers), alignment included
MAX_RESTARTS = 40  # of a platform that dies, per row (an attack on an open image may well take the agent down)


class Bench(Protocol):
    """A running image with its plan loaded: what a row needs of the platform."""

    def run(self, programs: Sequence[Program]) -> list[Observation]:
        """Carry programs out in order. Raises InfrastructureError when the platform died or hung."""

    def read(self, address: int, length: int) -> bytes:
        """RAM past the agent."""

    def restart(self) -> None:
        """A new process with the same image and plan."""

    @property
    def seconds(self) -> float:
        """Seconds in which the platform was executing batches."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a row is made of; everything but the platform."""

    name: str  # "board/model/strategy"
    image: Image
    programs: Sequence[FaultProgram]
    refused: Sequence[RefusedProgram]
    predictor: Predictor
    structure: Mapping[int, Sequence[str]]  # owner → differences between read-back grants and manifest (C-05)
    windows: Mapping[int, Sequence[Window]]  # owner → canary windows; -1: the agent's pads
    platform: Platform
    reader_entry: int  # rig_stub_sum
    seed: int
    done: Mapping[str, Entry] = field(default_factory=dict)  # programs that a resumed journal already has


@dataclass(slots=True)
class Tally:
    """What the row needs to remember for its answer."""

    entries: list[Entry] = field(default_factory=list)
    legs: int = 0


class RowRun:
    def __init__(
        self, inputs: Inputs, bench: Bench, journal: Journal, advance: Callable[[int, int, int], None]
    ) -> None:
        self._in = inputs
        self._bench = bench
        self._journal = journal
        self._advance = advance
        self._next = 1
        self._restarts = 0
        self.tally = Tally(entries=list(inputs.done.values()))

    def run(self) -> Tally:
        """Everything the row has to do; every program ends as exactly one record."""
        pending = [p for p in self._in.programs if p.id not in self._in.done]
        for refused in self._in.refused:
            if refused.id not in self._in.done:
                self.refuse(refused)
        ready: list[FaultProgram] = []
        for program in pending:
            why = refusal(program, self._in.platform)
            if program.family == "C-05":
                self._structure(program)
            elif why is not None and not program.control:
                self.refuse(
                    RefusedProgram(program.id, program.family, program.actor, program.victim, Why.PLATFORM, why)
                )
            else:
                ready.append(program)
        total, finished = len(self._in.programs), len(self._in.programs) - len(ready)
        self.send([fresh(self._take(1))])
        for group in arrange(ready, f"{self._in.seed}/{self._in.name}"):
            before = self.tally.legs
            self._group(group)
            self._journal.flush()
            finished += len(group)
            self._advance(finished, total, self.tally.legs - before)
        return self.tally

    def sample(self, programs: Iterable[FaultProgram]) -> None:
        """Each program once more, each from a new process ("fresh" in the strongest sense).

        Not counted into the row's legs: most of the time goes into starting processes.
        """
        legs = self.tally.legs
        for program in programs:
            self._bench.restart()
            self.send([fresh(self._take(1))])
            self._alone(program, suffix=NEW_PROCESS)
        self.tally.legs = legs
        self._journal.flush()

    # What the job adds to the row.

    def send(self, programs: Sequence[Program]) -> dict[int, Observation]:
        """Results by index."""
        return {seen.index: seen for seen in self._bench.run(programs)}

    def refuse(self, refused: RefusedProgram, *, control: bool = False) -> None:
        self._journal.write("refused", record.refused(self._in.name, self._in.image, refused, control=control))
        self.tally.entries.append(replace(Entry.refused(refused), control=control))

    def call(self, export: Export, native: NativeCalls) -> None:
        """C-03 for one export; one record."""
        found = native.compare(export, self._take)
        if isinstance(found, RefusedProgram):
            self.refuse(found)
            return
        judgement = found.judgement()
        self._journal.write("result", record.call(self._in.name, export, found, judgement))
        self.tally.entries.append(
            Entry(export.id, "C-03", judgement.verdict, judgement.klass, judgement.reason, judgement.why, judgement.leg)
        )
        self._journal.flush()

    # One group.

    def _group(self, group: list[FaultProgram]) -> None:
        readers = sorted({owner for program in group for owner in program.readers})
        try:
            seen = self._observe(group, readers)
        except InfrastructureError as error:
            self._after_death(group, error)
            return
        if seen.canaries != INTACT:
            for program in group:
                self.send([fresh(self._take(1))])
                self._alone(program)
            self.send([fresh(self._take(1))])
            return
        for program in seen.programs:
            judgement = self._judge(program, seen)
            if judgement.needs_confirmation:
                self._alone(program, hangs=1)
            else:
                self._write(program, judgement, seen)

    def _alone(self, program: FaultProgram, *, hangs: int = 0, suffix: str = "") -> None:
        """One program with its own canary reading; a hang is run again before it counts."""
        try:
            seen = self._observe([program], program.readers)
        except InfrastructureError as error:
            self._died(program, error, suffix)
            return
        judgement = self._judge(seen.programs[0], seen, hangs=hangs + 1)
        if judgement.needs_confirmation:
            self._alone(program, hangs=hangs + 1, suffix=suffix)
            return
        self._write(seen.programs[0], judgement, seen, suffix)

    def _after_death(self, group: list[FaultProgram], error: InfrastructureError) -> None:
        """The platform died under a group: once more one by one, so that only the culprit loses its verdict."""
        self._restart(error)
        for program in group:
            self._alone(program)

    def _died(self, program: FaultProgram, error: InfrastructureError, suffix: str) -> None:
        judgement = Judgement(Verdict.REFUSED, "NO_RECORD", f"the platform died: {error}", Why.INFRA, leg=Leg.ARMED)
        self._write(program, judgement, Seen([program], {}, {}, INTACT), suffix)
        self._restart(error)

    def _restart(self, error: InfrastructureError) -> None:
        self._restarts += 1
        self._journal.write("restart", {"row": self._in.name, "wall": {"why": str(error)}})
        if self._restarts > MAX_RESTARTS:
            raise InfrastructureError(f"{self._in.name}: the platform died {self._restarts} times, last: {error}")
        self._bench.restart()
        self.send([fresh(self._take(1))])

    # Sending and looking.

    def _observe(self, group: Sequence[FaultProgram], readers: Sequence[int]) -> Seen:
        first = self._next
        programs, sent = wire_programs(group, first)
        looks = reader_programs(self._in.windows, readers, self._in.reader_entry, first + len(sent))
        self._take(len(sent) + len(looks))
        observations = self.send([item.wire for item in sent] + [wire for _, wire in looks])
        by_program: dict[str, dict[Leg, Observation]] = {program.id: {} for program in programs}
        after: dict[str, dict[Leg, Observation]] = {program.id: {} for program in programs}
        for item in sent:
            found = observations.get(item.wire.index)
            if item.leg is not None and found is not None:
                (after if item.after else by_program)[item.id][item.leg] = found
        self.tally.legs += sum(1 for item in sent if item.leg is not None and not item.after)
        alone = programs[0] if len(programs) == 1 else None
        if any(not self._in.windows.get(owner) for owner in readers):
            return Seen(programs, by_program, after, CanaryResult(None, None))  # nothing to look at is not intact
        return Seen(programs, by_program, after, self._canaries(looks, observations, alone))

    def _canaries(
        self,
        looks: Sequence[tuple[Window, Program]],
        observations: Mapping[int, Observation],
        alone: FaultProgram | None,
    ) -> CanaryResult:
        victim = host = ""
        for window, wire in looks:
            found = observations.get(wire.index)
            victim = victim or ("no result of the victim's reader" if found is None else victim_says(window, found))
            host = host or host_says(window, self._bench.read)
        looked = {id(window) for window, _ in looks}
        others = tuple(
            words
            for windows in self._in.windows.values()
            for window in windows
            if id(window) not in looked and (words := host_says(window, self._bench.read, fault_frame(alone, window)))
        )
        return CanaryResult(victim, host, others)

    def _take(self, count: int) -> int:
        first = self._next
        self._next += count
        return first

    # Judging and writing.

    def _judge(self, program: FaultProgram, seen: Seen, *, hangs: int = 1) -> Judgement:
        predictor = self._in.predictor
        return judge(
            program,
            predictor.decision(program) if Leg.ARMED in program.legs else None,
            predictor.must_stop(program),
            seen.observations[program.id],
            seen.canaries,
            self._in.platform.arch,
            after=seen.after[program.id],
            sweep=predictor.sweep(program) if program.armed.stop is Stop.SWEEP else None,
            live=predictor.live(program),
            hangs=hangs,
        )

    def _structure(self, program: FaultProgram) -> None:
        judgement = judge_structure(program, self._in.structure.get(program.actor))
        self._write(program, judgement, Seen([program], {program.id: {}}, {program.id: {}}, INTACT))

    def _write(self, program: FaultProgram, judgement: Judgement, seen: Seen, suffix: str = "") -> None:
        decision = self._in.predictor.decision(program) if Leg.ARMED in program.legs else None
        line: dict[str, Any] = record.result(
            self._in.name,
            self._in.image,
            program,
            judgement,
            seen.observations.get(program.id, {}),
            seen.canaries,
            decision,
            self._in.predictor.must_stop(program),
            self._in.platform.arch,
        )
        line["id"] += suffix
        self._journal.write("result", line)
        for finding in judgement.findings:
            what = f"{program.op} reaches {program.target}: wasm would trap there, the bytes are the actor's own"
            cure = "none needed between components; bounds checks (synth --safety-bounds) stop it inside one"
            found = {"id": finding, "what": what, "where": program.id, "cure": cure}
            self._journal.write("finding", {"image": self._in.image.name, **found})
        self.tally.entries.append(Entry.judged(program, judgement))


def fault_frame(program: FaultProgram | None, window: Window) -> range:
    """Bytes of the actor's own that the fault of this program may overwrite, when it ran alone.

    An access through SP that traps makes the hardware put its frame on that same stack. The part that lies in denied
    bytes is not written (MSTKERR); what lies in the actor's own is, and hurts nobody else.
    """
    access = program.armed.access if program is not None else None
    if program is None or access is None or not access.stacking or window.owner != program.actor:
        return NOTHING
    return range(access.address - FRAME, access.address + access.size * access.words)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one sending brought back. `programs`: as sent, with their indexes."""

    programs: Sequence[FaultProgram]
    observations: Mapping[str, Mapping[Leg, Observation]]
    after: Mapping[str, Mapping[Leg, Observation]]
    canaries: CanaryResult
