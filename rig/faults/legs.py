# SPDX-License-Identifier: Apache-2.0
"""From one attack to a fault program: its three legs, what is watched, and what counts.

The manifest decides whether the armed leg must be stopped; nothing here looks at region plans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rig.arch.types import Access, Kind, Syndrome
from rig.faults.model import Effect, Expect, FaultProgram, Stop
from rig.faults.ops import Op
from rig.faults.setting import Setting
from rig.image.model import Owner
from rig.inject.model import Disarm, Flag, Leg, Program, Step, Verb

WATCH = 64  # bytes the agent compares and restores at most
LONG_US = 5_000_000  # time limit of programs that loop
NO_FLAG = Flag(0)


@dataclass(frozen=True, slots=True)
class Attack:
    """One access by one stub, and how its controls are made. Defaults fit plain data accesses."""

    family: str
    actor: Owner
    op: Op
    address: int
    victim: Owner | None = None
    victim_name: str = ""  # where the victim is no owner
    disarm: Disarm = Disarm.MAP
    no_disarmed: str = ""  # reason: there is no disarmed leg
    before: tuple[Step, ...] = ()  # steps of others, before the attack
    reached: tuple[Syndrome, ...] = ()  # the disarmed leg ends so instead of succeeding
    returns: bool = False  # the disarmed leg only has to return: nothing may be read or written around the target
    value: int | None = None  # stored in disarmed and armed leg; None: random, a new one per leg
    disarmed_value: int | None = None  # Effect.VALUE of the disarmed leg
    stop: Stop | None = None  # None: TRAP or ALLOWED, as the manifest says
    control: bool = False
    tag: str = ""  # told apart in the id
    readers: bool = True
    full_record: bool = False
    variants: Mapping[int, int] = field(default_factory=dict)  # disarmed: owner → context to enter instead


def build(s: Setting, a: Attack) -> FaultProgram:
    """The program of one stub access."""
    access = a.op.access(a.address)
    granted = s.allows(a.actor.index, access)
    stop = a.stop or (Stop.ALLOWED if granted else Stop.TRAP)
    edge, far = straddle(s, a.actor, access), far_side(s, a.actor, access)
    values = {leg: a.value if a.value is not None and leg is not Leg.LEGAL else s.value(a.op.width) for leg in Leg}
    succeeds = stop is Stop.ALLOWED or (stop is Stop.PROBE and granted)
    legs: dict[Leg, Program] = {}
    effects: dict[Leg, Effect] = {}
    if not succeeds or a.control:
        legs[Leg.LEGAL] = _legal(s, a, values[Leg.LEGAL])
        effects[Leg.LEGAL] = a.op.effect
    no_disarmed = a.no_disarmed or ("the access is granted, nothing to turn off" if succeeds else "")
    if not no_disarmed:
        legs[Leg.DISARMED] = _disarmed(s, a, values[Leg.DISARMED])
        effects[Leg.DISARMED] = _disarmed_effect(a)
        if a.disarmed_value is not None:
            values[Leg.DISARMED] = a.disarmed_value
    if stop is not Stop.CONTROL:
        legs[Leg.ARMED] = _armed(s, a, values[Leg.ARMED], None if succeeds or stop is Stop.PROBE else far)
        if succeeds or stop in (Stop.LANDS, Stop.PROBE):
            effects[Leg.ARMED] = a.op.effect
    multi = a.op.words > 1 and edge is not None and not a.op.stacking
    expect = Expect(
        stop, access, s.pc(a.op.name), alternatives=("strex-status-1",) if a.op.name == "strex" else (),
        base=a.address + a.op.bias if multi else None, full_record=a.full_record,
        own_side=far is not None and stop is not Stop.PROBE,
    )
    victim = a.victim.name if a.victim else a.victim_name or "nobody"
    target = s.symbolic(a.address)
    return FaultProgram(
        id=s.id(a.family, a.op.name + (f".{a.tag}" if a.tag else ""), a.actor.index, victim, target),
        family=a.family, actor=a.actor.index, victim=a.victim.index if a.victim else None, victim_name=victim,
        target=target, address=a.address, width=a.op.width, legs=legs, effects=effects, armed=expect,
        disarmed_none=no_disarmed, values={leg: v for leg, v in values.items() if leg in legs}, signed=a.op.signed,
        readers=(a.victim.index,) if a.victim and a.readers else (), op=a.op.name, form=a.op.form, straddle=edge,
        control=a.control, reached=a.reached,
    )


def straddle(s: Setting, actor: Owner, access: Access) -> int | None:
    """The first byte of an access that is not granted, when its first byte is."""
    granted = s.granted(actor.index, access.kind)
    if access.address not in granted or granted.covers(access.address, access.end):
        return None
    return next(at for at in range(access.address, access.end) if at not in granted)


def far_side(s: Setting, actor: Owner, access: Access) -> int | None:
    """Where 16 bytes lie that an access across an edge must leave alone; None when all or none of it is granted."""
    granted = s.granted(actor.index, access.kind)
    if granted.covers(access.address, access.end) or not granted.overlaps(access.address, access.end):
        return None
    edge = straddle(s, actor, access)
    if edge is not None:
        return edge
    return next(at for at in range(access.address, access.end) if at in granted) - 16


def window(s: Setting, address: int, width: int) -> tuple[int, int]:
    """(watch, length): up to 64 bytes around an access inside the object it hits; (0, 0) outside RAM."""
    if not s.in_ram(address, width) or address == 0:
        return 0, 0
    spot = s.place(address)
    low = max(spot.start if spot else address, address - 16)
    high = max(min(spot.end if spot else address + 16, low + WATCH), address + width)
    if spot and spot.name == "mailbox":
        return 0, 0  # counters move there
    return low, min(high - low, WATCH)


def flags(s: Setting, op: Op | None, restore: bool) -> Flag:
    floating = op is not None and op.floating and not s.arm
    return (Flag.RESTORE if restore else NO_FLAG) | (Flag.FP if floating else NO_FLAG)


def program(leg: Leg, *steps: Step, disarm: Disarm = Disarm.NOTHING, flag: Flag = NO_FLAG,
            watch: tuple[int, int] = (0, 0), focus: int = 0, limit_us: int | None = None) -> Program:
    """A RUN; the campaign gives it its index."""
    made = Program(0, Verb.RUN, leg, steps, disarm, flag, watch[0], watch[1], focus)
    return made if limit_us is None else replace(made, limit_us=limit_us)


def _legal(s: Setting, a: Attack, value: int) -> Program:
    """The same access in the actor's own bytes, at the same offset from alignment."""
    own = s.scratch(a.actor)
    at = own + (0 if a.op.unit > 1 else a.address & 15)
    write = a.op.kind is Kind.WRITE
    return program(Leg.LEGAL, *(replace(step) for step in a.before), _step(s, a, a.actor.index, at, value, at),
                   flag=flags(s, a.op, write), watch=window(s, at, a.op.width) if write else (0, 0), focus=at)


def _disarmed(s: Setting, a: Attack, value: int) -> Program:
    write = a.op.kind is Kind.WRITE
    blind = a.returns or bool(a.reached)
    before = tuple(replace(step, context=a.variants.get(step.context, step.context)) for step in a.before)
    context = a.variants.get(a.actor.index, a.actor.index)
    return program(Leg.DISARMED, *before, _step(s, a, context, a.address, value, a.address), disarm=a.disarm,
                   flag=flags(s, a.op, write and not blind),
                   watch=window(s, a.address, a.op.width) if write and not blind else (0, 0),
                   focus=0 if blind else a.address)


def _disarmed_effect(a: Attack) -> Effect:
    if a.reached:
        return Effect.REACHED
    if a.disarmed_value is not None:
        return Effect.VALUE
    return Effect.RETURNED if a.returns else a.op.effect


def _armed(s: Setting, a: Attack, value: int, far: int | None) -> Program:
    """What must not change is in focus; across an edge that is the far side, and the watch only restores."""
    write = a.op.kind is Kind.WRITE
    seen = s.in_ram(a.address, a.op.width) and not a.returns and not a.reached
    watch = window(s, a.address, a.op.width) if seen else (0, 0)
    return program(Leg.ARMED, *a.before, _step(s, a, a.actor.index, a.address, value, s.scratch(a.actor)),
                   flag=flags(s, a.op, write and seen), watch=watch, focus=(far or a.address) if seen else 0)


def _step(s: Setting, a: Attack, context: int, address: int, value: int, monitor: int) -> Step:
    return Step(context, s.stub(a.op.name), a.op.args(address, value, monitor))


def sweep(s: Setting, family: str, actor: Owner, op: Op, first: int, count: int, stride: int,
          victim: Owner | None, tag: str = "") -> FaultProgram:
    """One stub over many addresses; the manifest and the registers say which must trap.

    Disarmed, every eighth address is enough: it shows that the attack is one, not where the edge is.
    """
    value = s.value(op.width)
    own = s.scratch(actor)

    def run(leg: Leg, disarm: Disarm, every: int) -> Program:
        step = Step(actor.index, s.stub(op.name), op.args(first, value, 0))
        return Program(0, Verb.SWEEP, leg, (step,), disarm, Flag.RESTORE, limit_us=LONG_US, first=first,
                       count=-(-count // every), stride=stride * every)

    write = op.kind is Kind.WRITE
    legal = program(Leg.LEGAL, Step(actor.index, s.stub(op.name), op.args(own, value, 0)),
                    flag=flags(s, op, write), watch=window(s, own, op.width) if write else (0, 0), focus=own)
    target = f"{s.symbolic(first)}..{count}x{stride}"
    name = victim.name if victim else "nobody"
    return FaultProgram(
        id=s.id(family, op.name + (f".{tag}" if tag else ""), actor.index, name, target), family=family,
        actor=actor.index, victim=victim.index if victim else None, victim_name=name, target=target, address=first,
        width=op.width, legs={Leg.LEGAL: legal, Leg.DISARMED: run(Leg.DISARMED, Disarm.MAP, 8),
                              Leg.ARMED: run(Leg.ARMED, Disarm.NOTHING, 1)},
        effects={Leg.LEGAL: op.effect, Leg.DISARMED: Effect.COUNT},
        armed=Expect(Stop.SWEEP, op.access(first), s.pc(op.name)),
        values={Leg.LEGAL: value, Leg.DISARMED: value, Leg.ARMED: value}, signed=op.signed,
        readers=(victim.index,) if victim else (), op=op.name, sweep=(first, count, stride),
    )


def execute(s: Setting, family: str, actor: Owner, target: int, victim: Owner | None, victim_name: str = "", *,
            plant: bool = True, no_disarmed: str = "", tag: str = "", thumb: bool = True) -> FaultProgram:
    """Jump to an address. The agent plants a return instruction there and takes it away again.

    `thumb` False: an address without the Thumb bit, as a null pointer is; nothing could run there in any case.
    """
    access = Access(Kind.EXECUTE, target, 2, privileged=False)
    granted = s.allows(actor.index, access)
    step = Step(actor.index, s.stub("call"), (target | (s.arm and thumb),))
    planted = Flag.PLANT if plant else NO_FLAG
    watch = window(s, target, 2) if plant else (0, 0)
    watch = (target, watch[0] + watch[1] - target) if watch[1] else (0, 0)  # the agent plants at the first byte
    legs = {
        Leg.LEGAL: program(Leg.LEGAL, Step(actor.index, s.stub("call"), (s.stub("nop"),))),
        Leg.DISARMED: program(Leg.DISARMED, step, disarm=Disarm.MAP, flag=planted, watch=watch),
        Leg.ARMED: program(Leg.ARMED, step, flag=planted, watch=watch),
    }
    effects = {Leg.LEGAL: Effect.EXECUTED, Leg.DISARMED: Effect.EXECUTED}
    if granted:
        effects[Leg.ARMED] = Effect.EXECUTED
    if no_disarmed:
        del legs[Leg.DISARMED], effects[Leg.DISARMED]
    name = victim.name if victim else victim_name or "nobody"
    where = s.symbolic(target)
    return FaultProgram(
        id=s.id(family, "call" + (f".{tag}" if tag else ""), actor.index, name, where), family=family,
        actor=actor.index, victim=victim.index if victim else None, victim_name=name, target=where, address=target,
        width=2, legs=legs, effects=effects,
        armed=Expect(Stop.ALLOWED if granted else Stop.TRAP, access, frozenset({target})),
        disarmed_none=no_disarmed, readers=(victim.index,) if victim else (), op="call",
    )
