# SPDX-License-Identifier: Apache-2.0
"""How fast legs are carried out: the campaign's way against two slower ones, side by side in one run.

All three ways carry out the same wire programs (a leg each) of the demo image `scalar`, model `multi`, strategy
`switch`; what they observe must be the same. The machine's load changes from second to second, so ratios are taken
round by round and their medians count.

* batches: as `rig run` does, groups of fault programs through the ring, the victims' canary readers included;
* debugger: one exchange over QEMU's gdbstub for each leg;
* new process: one emulator for each leg, from its start to its end, with plan and fresh memories.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from statistics import median

from rig.boards.model import Board
from rig.build.subject import Subject
from rig.campaign import prepare
from rig.campaign.arrange import Sent, arrange, fresh, wire_programs
from rig.campaign.bench import QemuBench
from rig.campaign.readers import Window, host_says, reader_programs, victim_says
from rig.errors import InfrastructureError, Refusal, UsageError
from rig.faults.divergence import Platform, refusal, version
from rig.faults.expand import expand, variants
from rig.faults.model import FaultProgram
from rig.host import tools
from rig.host.tool import Tool
from rig.image.elf import read_code
from rig.image.model import Model
from rig.inject.gdb_carrier import GdbCarrier
from rig.inject.model import Observation, Program, Verb
from rig.inject.session import Session
from rig.plan import spans
from rig.plan.manifest import manifest
from rig.plan.model import Strategy
from rig.plan.seeds import seeds
from rig.targets.qemu import QemuTarget
from rig.targets.rsp import Rsp

LEAST_ROUNDS = 3
NONCE = 0x5EED
Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is measured on a board."""

    rounds: int = 5
    groups: int = 6  # of up to 96 fault programs, three legs each, per round
    exchanges: int = 120  # legs per round
    processes: int = 4  # legs per round
    seconds: float = 10.0  # no new round after that, once there are `LEAST_ROUNDS`


@dataclass(frozen=True, slots=True)
class Rates:
    """Legs per second of one round, by way."""

    batches: float
    debugger: float
    new_process: float


@dataclass(frozen=True, slots=True)
class Speed:
    """Medians over the rounds. Times are the host's; CPU times do not change with other load on the machine."""

    board: str
    lowering: str
    rounds: int
    legs: int  # in batches, all rounds
    legs_per_second: float  # legs / seconds in which the emulator was executing batches
    debugger_legs_per_second: float
    new_process_legs_per_second: float
    ratio_gdb: float  # how many times faster batches are than one debugger exchange per leg
    ratio_new_process: float  # … than one process per leg
    emulator_us_per_leg: float  # CPU time of the emulator per leg in batches
    host_us_per_leg: float  # CPU time of this process per leg in batches: encoding, carrying, decoding


class Measurement:
    """One board's image, its programs, and the three ways to carry them out."""

    def __init__(self, subject: Subject, board: Board, note: Note, *, seed: int = 1) -> None:
        """Builds the image. Raises UsageError for a board without an emulator, Refusal where the image does not fit."""
        if board.qemu is None:
            raise UsageError(f"board {board.name} is described for planning only: it has no [qemu] table to run on")
        self._board = board
        self._qemu: Tool = tools.find(f"qemu-system-{board.qemu.system}")
        components = subject.read_components()
        built = prepare.build(subject, prepare.make_image(subject, components, Model.MULTI, note), board, note)
        plan = prepare.bind_strategies(built, [Strategy.SWITCH])[Strategy.SWITCH]
        if isinstance(plan, Refusal):
            raise plan
        self._linked, self._symbols = built.linked, built.linked.symbols
        self.lowering = built.lowered.lowering.value
        self._plan, self._variants = plan, variants(plan)
        self._fills = spans.spans(built.image, plan.placement, NONCE)
        self._seeds = seeds(built.image, plan.placement, plan, self._symbols, built.linked.type_ids)
        self.windows: dict[int, list[Window]] = {}
        for fill in self._fills:
            if fill.kind == spans.CANARY and fill.owner is not None:
                window = Window(fill.owner, fill.address, fill.length, fill.seed)
                self.windows.setdefault(fill.owner, []).append(window)
        rights = manifest(built.image, plan.placement, board)
        code = read_code(built.linked.path)
        programs, _ = expand(built.image, board, plan, rights, self._symbols, code, seed)
        platform = Platform(board.arch, "qemu", version(self._qemu.version))
        self.groups = arrange([p for p in programs if plain(p) and refusal(p, platform) is None], str(seed))
        if not self.groups:
            raise InfrastructureError(f"{board.name}: the demo image has no program with three single legs")
        self._random = Random(seed)

    def measure(self, amount: Amount, note: Note) -> Speed:
        """Raises InfrastructureError when the ways do not observe the same, or a canary changed."""
        began = time.monotonic()
        rounds: list[Rates] = []
        legs = 0
        with ExitStack() as stack:
            bench = stack.enter_context(self._bench())
            bench.start()
            bench.load(self._load)
            debugged = self._debugged(stack)
            emulator, host = bench.cpu_seconds, 0.0
            for number in range(amount.rounds):
                if number >= LEAST_ROUNDS and time.monotonic() - began > amount.seconds:
                    break
                note(f"measuring {self._board.name}: round {number + 1} of {amount.rounds}")
                groups = [self.groups[(number * amount.groups + i) % len(self.groups)] for i in range(amount.groups)]
                cpu = time.process_time()
                batches, seen = self._batches(bench, groups)
                host += time.process_time() - cpu
                legs += len(seen)
                chosen = self._random.sample(seen, min(len(seen), amount.exchanges))
                debugger = self._one_by_one(chosen, debugged.run, "through the debugger")
                few = chosen[: amount.processes]
                new_process = self._one_by_one(few, self._in_new_process, "in a process of its own")
                rounds.append(Rates(batches, debugger, new_process))
            emulator = bench.cpu_seconds - emulator
        return Speed(
            board=self._board.name,
            lowering=self.lowering,
            rounds=len(rounds),
            legs=legs,
            legs_per_second=median(r.batches for r in rounds),
            debugger_legs_per_second=median(r.debugger for r in rounds),
            new_process_legs_per_second=median(r.new_process for r in rounds),
            ratio_gdb=median(r.batches / r.debugger for r in rounds),
            ratio_new_process=median(r.batches / r.new_process for r in rounds),
            emulator_us_per_leg=1e6 * emulator / legs,
            host_us_per_leg=1e6 * host / legs,
        )

    # The three ways

    def _batches(
        self, bench: QemuBench, groups: Sequence[Sequence[FaultProgram]]
    ) -> tuple[float, list[tuple[Sent, Observation]]]:
        """Legs per second, and every leg with what was observed. Starts fresh; ends with all canaries as they were."""
        bench.run([fresh(0)])
        before = bench.seconds
        seen: list[tuple[Sent, Observation]] = []
        for group in groups:
            _, sent = wire_programs(group, 1)
            owners = sorted({owner for program in group for owner in program.readers})
            looks = reader_programs(self.windows, owners, self._symbols["rig_stub_sum"], 1 + len(sent))
            found = bench.run([item.wire for item in sent] + [wire for _, wire in looks])
            seen += zip(sent, found, strict=False)
            for (window, _), observation in zip(looks, found[len(sent) :], strict=True):
                words = victim_says(window, observation) or host_says(window, bench.read)
                if words:
                    raise InfrastructureError(f"{self._board.name}: nothing is measured on a board that leaks: {words}")
        return len(seen) / (bench.seconds - before), seen

    def _one_by_one(
        self, legs: Sequence[tuple[Sent, Observation]], run: Callable[[list[Program]], list[Observation]], how: str
    ) -> float:
        """Legs per second, each by a `run` of its own; they must end as they did in a batch."""
        seconds = 0.0
        for item, expected in legs:
            began = time.perf_counter()
            observation = run([item.wire])[-1]
            seconds += time.perf_counter() - began
            if _ending(observation) != _ending(expected):
                leg = f"{self._board.name}: the {expected.leg.name.lower()} leg of {item.id}"
                raise InfrastructureError(
                    f"{leg} ends as {_ending(observation)} {how}, in a batch as {_ending(expected)}: "
                    "the ways do not do the same"
                )
        return len(legs) / seconds

    def _in_new_process(self, programs: list[Program]) -> list[Observation]:
        with self._bench() as bench:
            bench.start()
            bench.load(self._load)
            return bench.run([fresh(0), *programs])

    def _debugged(self, stack: ExitStack) -> Session:
        """An emulator that is only talked to through its debugger's door."""
        target = stack.enter_context(QemuTarget(self._board, self._qemu, gdb=True))
        target.load(self._linked.path)
        target.reset()
        rsp = stack.enter_context(Rsp(target.debugger))
        session = Session(GdbCarrier(rsp, self._symbols["rig_mailbox"], target.check))
        session.hello(NONCE)
        self._load(session)
        session.run([fresh(0)])
        return session

    def _bench(self) -> QemuBench:
        linked = self._linked
        return QemuBench(
            self._board, linked.path, bytes.fromhex(linked.build_id), self._symbols["rig_mailbox"], self._qemu, NONCE
        )

    def _load(self, session: Session) -> None:
        session.load_plan(self._plan, spans=self._fills, seeds=self._seeds, extra=self._variants)


def plain(program: FaultProgram) -> bool:
    """Three legs of a single entry each, nothing to start fresh for: what most programs are. A sweep is one leg, too,
    but holds many accesses."""
    if program.control or program.fresh or program.fresh_start or program.after or len(program.legs) != 3:
        return False
    return all(leg.verb is Verb.RUN for leg in program.legs.values())


def _ending(seen: Observation) -> tuple[str, tuple[int, ...], int]:
    """What must not depend on the way: outcome, fault record, detail."""
    return seen.outcome.name, seen.fault, seen.detail
