# SPDX-License-Identifier: Apache-2.0
"""W-17 and W-18: function table and globals of one owner in another's hands, and the contexts that let it happen.

Armed, each owner has copies of its own, or a table that nobody may write. Disarmed, *one table for all*: variant
contexts in which everybody uses the copies of the first owner and may write them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rig.faults.legs import NO_FLAG, Attack, build, program, window
from rig.faults.model import Effect, Expect, FaultProgram, Stop
from rig.faults.setting import Case, Setting
from rig.image.model import Global, Owner
from rig.inject.model import Disarm, Flag, Leg, Program, Step
from rig.plan import tables
from rig.plan.bind import own_table
from rig.plan.globals import instance, table_bytes, width
from rig.plan.model import ContextPlan, Kind, Lowering, Plan, RegionPlan, Strategy

MOST = 48  # contexts that the agent holds
_AP, _RW = 24, 0b011  # RASR.AP: read and write for all
_VALID, _REGION = 0x10, 0xF  # RBAR
_NO_ROOM = "N/A(no free region for one table for all)"


def variants(plan: Plan) -> tuple[ContextPlan, ...]:
    """One context per owner with `id` = number of owners + owner; () for `static`. Owners without room are left out."""
    count = len(plan.contexts)
    if plan.strategy is Strategy.STATIC or 2 * count > MOST or not count:
        return ()
    first = plan.contexts[0]
    wanted = [(first, r) for r in first.regions if r.what == f"stack:{first.owner}"]
    wanted += _table_region(plan)
    made = (_variant(c, first, count, wanted) for c in plan.contexts)
    return tuple(v for v in made if v is not None)


def _table_region(plan: Plan) -> list[tuple[ContextPlan, RegionPlan]]:
    """synth on Arm keeps the table at memory 0's start: whoever has a region there can hand out its words."""
    start = next((p.start for p in plan.placement.all(Kind.MEMORY) if p.index == 0), None)
    if not plan.lowering.is_synth or not plan.contexts[0].arm:
        return []
    return [(c, r) for c in plan.contexts for r in c.regions if r.start == start][:1]


def _variant(c: ContextPlan, first: ContextPlan, count: int, wanted: list[tuple[ContextPlan, RegionPlan]]
             ) -> ContextPlan | None:
    made: ContextPlan | None = c
    for source, region in wanted:
        own = source.owner == c.owner and not _read_only_part(c, region)
        if made is not None and not own:
            made = _with_region(made, source, region)
    if made is None:
        return None
    return replace(made, id=count + c.owner, r9=first.r9, instance=first.instance, window_save=first.window_save)


def _read_only_part(c: ContextPlan, region: RegionPlan) -> bool:
    """Does another region take the right to write away from the start of this one?"""
    return any(r.start == region.start and "w" not in r.rights for r in c.regions)


def _with_region(c: ContextPlan, source: ContextPlan, region: RegionPlan) -> ContextPlan | None:
    """The context with another one's region beside its own, writable; None when no slot is free."""
    if c.arm:
        free = max((slot + 1 for slot, (_, rasr) in enumerate(c.arm) if rasr & 1), default=0)
        if free >= len(c.arm):
            return None
        rbar, rasr = source.arm[region.slot]
        words = list(c.arm)
        words[free] = rbar & ~(_VALID | _REGION) | _VALID | free, rasr & ~(7 << _AP) | _RW << _AP
        return replace(c, arm=tuple(words), regions=(*c.regions, replace(region, slot=free, rights="rw")))
    free = max((i + 1 for i, cfg in enumerate(c.pmpcfg) if cfg & 0x18), default=0)
    size = 1 if source.pmpcfg[region.slot] & 0x18 else 2  # a TOR pair begins with an entry that is off
    if free + size > len(c.pmpcfg):
        return None
    cfg, addr = list(c.pmpcfg), list(c.pmpaddr)
    cfg[free : free + size] = [byte | 3 if byte & 0x18 else byte for byte in source.pmpcfg[region.slot :][:size]]
    addr[free : free + size] = source.pmpaddr[region.slot :][:size]
    return replace(c, pmpcfg=tuple(cfg), pmpaddr=tuple(addr), regions=(*c.regions, replace(region, slot=free)))


class Shared:
    """What both families need: the variants of this plan, and where tables and globals lie."""

    def __init__(self, s: Setting) -> None:
        self.s = s
        self.variant = {v.owner: v for v in variants(s.plan)}

    def ids(self, *owners: Owner) -> dict[int, int] | None:
        """Owner → variant context; None when one of them has none."""
        if any(o.index not in self.variant for o in owners):
            return None
        return {o.index: self.variant[o.index].id for o in owners}

    # W-17

    def table(self, owner: Owner) -> int | None:
        """Where the table lies that the owner calls through; None: it calls through none, or code holds it."""
        s = self.s
        if not tables.entries(s.image) or not tables.calls_indirectly(s.image, owner):
            return None
        if s.plan.lowering is Lowering.WASM2C:
            return s.context(owner.index).instance + instance(s.image).size
        if not s.arm:
            return None
        if tables.uses_memory0(s.image, owner):
            return s.memory_base(0)
        return own_table(s.image, s.plan.placement, owner)

    def first_table(self, like: Owner) -> int | None:
        """The table that is everybody's when there is one for all: the first owner's, of the same kind as `like`'s."""
        s, first = self.s, self.s.image.owners[0]
        if s.plan.lowering is Lowering.WASM2C:
            return s.context(0).instance + instance(s.image).size
        if tables.uses_memory0(s.image, like):
            return s.memory_base(0)
        return own_table(s.image, s.plan.placement, first)

    def w17(self, a: Owner, v: Owner) -> Iterator[Case]:
        """The actor forges an entry of the table that the victim calls through."""
        s, at = self.s, self.table(v)
        if at is None:
            yield s.refuse("W-17", "pair", "N/A(no table)", a, v)
            return
        store = s.ops("store32")[0]
        if s.allows(a.index, store.access(at)):
            yield s.refuse("W-17", "pair", "N/A(granted)", a, v)
            return
        ids, there = self.ids(a, v), self.first_table(v)
        if ids is None or there is None:
            yield s.refuse("W-17", "pair", _NO_ROOM, a, v)
            return
        made = build(s, Attack("W-17", a, store, at, v, disarm=Disarm.GATE, variants=ids))
        step = Step(ids[a.index], s.stub("store32"), store.args(there, made.values[Leg.DISARMED], 0))
        legs = dict(made.legs)
        legs[Leg.DISARMED] = program(Leg.DISARMED, step, disarm=Disarm.GATE, flag=Flag.RESTORE,
                                     watch=window(s, there, 4), focus=there)
        yield replace(made, legs=legs)

    # W-18

    def w18(self, a: Owner, v: Owner) -> Iterator[Case]:
        """The actor poisons its own stack pointer; the victim then reads its own."""
        s = self.s
        item = _pointer(s, v)
        ids = self.ids(a, v)
        if item is None:
            yield s.refuse("W-18", "pair", "N/A(no mutable globals)", a, v)
        elif ids is None:
            yield s.refuse("W-18", "pair", _NO_ROOM, a, v)
        elif s.plan.placement.all(Kind.WINDOW):
            yield self._windowed(a, v, item, ids)
        else:
            yield self._copies(a, v, item, ids)

    def _copies(self, a: Owner, v: Owner, item: Global, ids: dict[int, int]) -> FaultProgram:
        """Arm synth and wasm2c: every owner has a copy at an address of its own."""
        s = self.s
        mine, theirs, one = (self._word(o, item) for o in (a, v, s.image.owners[0]))
        values = {leg: s.value(4) for leg in Leg}
        legs = {
            Leg.LEGAL: self._run(Leg.LEGAL, a.index, a.index, mine, mine, values[Leg.LEGAL]),
            Leg.DISARMED: self._run(Leg.DISARMED, ids[a.index], ids[v.index], one, one, values[Leg.DISARMED]),
            Leg.ARMED: replace(self._run(Leg.ARMED, a.index, v.index, mine, theirs, values[Leg.ARMED]), focus=theirs),
        }
        effects = {Leg.LEGAL: Effect.VALUE, Leg.DISARMED: Effect.VALUE, Leg.ARMED: Effect.LOADED}
        return self._made(a, v, item, legs, effects, values, theirs)

    def _windowed(self, a: Owner, v: Owner, item: Global, ids: dict[int, int]) -> FaultProgram:
        """synth on RV32: one window, whose contents the gate swaps. The victim must read its value from reset."""
        s = self.s
        at = s.plan.placement.all(Kind.WINDOW)[0].start + _offset(s, item)
        values = {leg: s.value(4) for leg in Leg}
        offset = _offset(s, item)
        own = int.from_bytes(table_bytes(s.image, v)[offset : offset + 4], "little")
        legs = {
            Leg.LEGAL: self._run(Leg.LEGAL, a.index, a.index, at, at, values[Leg.LEGAL]),
            Leg.DISARMED: self._run(Leg.DISARMED, ids[a.index], ids[v.index], at, at, values[Leg.DISARMED]),
            Leg.ARMED: self._run(Leg.ARMED, a.index, v.index, at, at, values[Leg.ARMED]),
        }
        legs = {leg: replace(wire, flags=NO_FLAG, watch=0, watch_len=0) for leg, wire in legs.items()}
        effects = dict.fromkeys(Leg, Effect.VALUE)
        made = self._made(a, v, item, legs, effects, {**values, Leg.ARMED: own}, at)
        return replace(made, fresh=True, fresh_start=True)

    def _run(self, leg: Leg, writer: int, reader: int, write_at: int, read_at: int, value: int) -> Program:
        s = self.s
        steps = (Step(writer, s.stub("store32"), (write_at, value)), Step(reader, s.stub("load32"), (read_at,)))
        return program(leg, *steps, disarm=Disarm.GATE if leg is Leg.DISARMED else Disarm.NOTHING, flag=Flag.RESTORE,
                       watch=window(s, write_at, 4))

    def _made(self, a: Owner, v: Owner, item: Global, legs: dict[Leg, Program], effects: dict[Leg, Effect],
              values: dict[Leg, int], at: int) -> FaultProgram:
        s, where = self.s, f"global:{item.index}"
        return FaultProgram(
            id=s.id("W-18", "poison", a.index, v.name, where), family="W-18", actor=a.index, victim=v.index,
            victim_name=v.name, target=where, address=at, width=4, legs=legs, effects=effects,
            armed=Expect(Stop.UNAFFECTED), values=values, readers=(v.index,), op="poison",
        )

    def _word(self, owner: Owner, item: Global) -> int:
        s, context = self.s, self.s.context(owner.index)
        if s.plan.lowering is Lowering.WASM2C:
            return context.instance + instance(s.image).globals[item.index]
        return context.r9 + _offset(s, item)


def _offset(s: Setting, item: Global) -> int:
    """Byte offset in synth's dense globals table."""
    return sum(width(g) for g in s.image.globals[: item.index])


def _pointer(s: Setting, owner: Owner) -> Global | None:
    """The owner's shadow-stack pointer, else any mutable global of 4 bytes."""
    mutable = [g for g in s.image.globals if g.mutable and width(g) == 4]
    ranked = sorted(mutable, key=lambda g: (g.index not in owner.stack_globals, not g.stack_pointer, g.index))
    return ranked[0] if ranked else None
