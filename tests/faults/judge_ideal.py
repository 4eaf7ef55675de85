# SPDX-License-Identifier: Apache-2.0
"""What an agent on perfect hardware reports for a program: made from the expectation, so that tests can spoil it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from faults_samples import Sample

from rig.arch.syndrome import BFARVALID, CFSR_BITS, MMARVALID
from rig.arch.types import NO_FAULT, Decision, Syndrome
from rig.boards.model import Arch
from rig.faults.model import Effect, FaultProgram, Judgement, Stop
from rig.inject.model import Leg, Observation, Outcome
from rig.judge import CanaryResult, judge
from rig.judging.case import INTACT, NOBODY, SweepPrediction

BEFORE = bytes(range(0x81, 0x91))
LIVE = 0x1234_5678
_BIT = {name: bit for bit, name in CFSR_BITS.items()}


@dataclass(frozen=True)
class Scene:
    """A program with everything the judge is given; `verdict` judges it as it is."""

    program: FaultProgram
    decision: Decision | None
    must_stop: bool
    seen: Mapping[Leg, Observation]
    arch: Arch
    canaries: CanaryResult = INTACT
    after: Mapping[Leg, Observation] | None = None
    sweep: SweepPrediction | None = None
    live: int | None = LIVE
    hangs: int = 1

    def verdict(self) -> Judgement:
        return judge(self.program, self.decision, self.must_stop, self.seen, self.canaries, self.arch,
                     after=self.after, sweep=self.sweep, live=self.live, hangs=self.hangs)

    def spoil(self, leg: Leg, /, **fields: object) -> Scene:
        """The same scene with fields of one leg's observation changed."""
        return replace(self, seen={**self.seen, leg: replace(self.seen[leg], **fields)})

    @property
    def armed(self) -> Observation:
        return self.seen[Leg.ARMED]


def scene(s: Sample, program: FaultProgram) -> Scene:
    """All legs as they must come out."""
    legs = {leg: replace(wire, index=100 + leg) for leg, wire in program.legs.items()}
    program = replace(program, legs=legs)
    decision, sweep = s.decision(program), s.sweep(program)
    arch = s.board.arch
    seen = {leg: _observe(program, leg, decision, sweep, arch) for leg in legs}
    after = {leg: _base(replace(program, legs={leg: program.after[leg]}), leg,
                        detail=program.values[leg] + (program.effects.get(leg) is Effect.NEEDLE))
             for leg in program.after}
    return Scene(program, decision, s.must_stop(program), seen, arch, after=after, sweep=sweep)


def _base(program: FaultProgram, leg: Leg, **fields: object) -> Observation:
    wire = program.legs[leg]
    context = wire.steps[-1].context if wire.steps else NOBODY
    plain = Observation(wire.index, Outcome.RETURNED, leg, max(0, len(wire.steps) - 1), (0,) * 8, (0, 0, 0, 0), context,
                        NOBODY, 0, LIVE, 100, 0, 0, bytes(16), bytes(16))
    return replace(plain, **fields)


def _observe(p: FaultProgram, leg: Leg, decision: Decision | None, sweep: SweepPrediction | None, arch: Arch
             ) -> Observation:
    if leg is not Leg.ARMED:
        return _succeeds(p, leg, p.effects[leg], arch)
    match p.armed.stop:
        case Stop.TRAP:
            assert decision is not None
            return _traps(p, leg, _first(decision), arch)
        case Stop.PROBE:
            assert decision is not None
            return _succeeds(p, leg, p.effects[leg], arch) if decision.allow else _traps(p, leg, _first(decision), arch)
        case Stop.ILLEGAL:
            return _traps(p, leg, Syndrome("2" if arch is Arch.RV32 else "UNDEFINSTR", None, None), arch)
        case Stop.GATE:
            code, seam = min(p.armed.gate_codes), p.armed.seam or 0
            return _base(p, leg, outcome=Outcome.GATE_REFUSED, detail=code | seam << 8 & 0xFFFF_FFFF)
        case Stop.SVC:
            return _base(p, leg, outcome=Outcome.SVC_REJECTED, detail=p.armed.value)
        case Stop.NOP:
            assert p.armed.value is not None
            state = p.armed.state[1] if p.armed.state else 0
            return _base(p, leg, regs=(p.armed.value & p.armed.mask, 0, 0, 0), fault=(0,) * 7 + (state,))
        case Stop.SWEEP:
            assert sweep is not None
            traps = sweep.must_stop.bit_count()
            size = (sweep.count + 7) // 8
            return _base(p, leg, detail=traps, regs=(traps, traps, 0, 0),
                         blob=sweep.must_stop.to_bytes(size, "little") + bytes(size))
        case _:
            return _succeeds(p, leg, p.effects[leg], arch)


def _first(decision: Decision) -> Syndrome:
    return next(s for s in decision.syndromes if s.cause != NO_FAULT)


def _traps(p: FaultProgram, leg: Leg, syndrome: Syndrome, arch: Arch) -> Observation:
    pc, at = min(p.armed.pcs, default=0x1000), syndrome.first or 0
    regs = (p.armed.base or 0, 0, 0, 0)
    if arch is Arch.RV32:
        fault = (int(syndrome.cause), at, pc, 0, 0, 0, 0, 0)
    else:
        cfsr = sum(1 << _BIT[cause] for cause in syndrome.cause.split("|"))
        bus = "PRECISERR" in syndrome.cause
        cfsr |= 0 if syndrome.first is None else BFARVALID if bus else MMARVALID
        fault = (cfsr, 0, 0 if bus else at, at if bus else 0, pc, 0x0100_0000, 0xFFFF_FFED, 7)
    return _base(p, leg, outcome=Outcome.TRAPPED, fault=fault, regs=regs,
                 before=BEFORE if p.legs[leg].focus else bytes(16), after=BEFORE if p.legs[leg].focus else bytes(16))


def _succeeds(p: FaultProgram, leg: Leg, effect: Effect, arch: Arch) -> Observation:
    value, width = p.values.get(leg, 0), p.width
    match effect:
        case Effect.LOADED:
            return _base(p, leg, before=BEFORE, after=BEFORE, regs=_registers(p, _loaded(p)))
        case Effect.STORED:
            return _base(p, leg, before=BEFORE, after=value.to_bytes(width, "little") + BEFORE[width:], changed=width)
        case Effect.ADDED:
            old = int.from_bytes(BEFORE[:width], "little")
            new = (old + value) & (1 << 8 * width) - 1
            after = new.to_bytes(width, "little") + BEFORE[width:]
            return _base(p, leg, before=BEFORE, after=after, regs=(old, 0, 0, 0))
        case Effect.VALUE:
            return _base(p, leg, regs=_registers(p, value))
        case Effect.COUNT:
            size = (p.legs[leg].count + 7) // 8
            return _base(p, leg, blob=bytes(size) + b"\xff" * size)
        case Effect.REACHED:
            return _traps(p, leg, p.reached[0], arch)
        case _:
            return _base(p, leg)


def _loaded(p: FaultProgram) -> int:
    width = min(p.width, 8)
    value = int.from_bytes(BEFORE[:width], "little", signed=p.signed)
    return value & (0xFFFF_FFFF if width <= 4 else (1 << 64) - 1)


def _registers(p: FaultProgram, value: int) -> tuple[int, int, int, int]:
    low, high = value & 0xFFFF_FFFF, value >> 32 & 0xFFFF_FFFF
    return (0, 0, low, high) if p.float_result else (low, high, 0, 0)
