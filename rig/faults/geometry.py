# SPDX-License-Identifier: Apache-2.0
"""Group G: edges. An edge is an end of a run of bytes that the *manifest* grants, never an end of a region."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rig.arch.intervals import Intervals
from rig.arch.types import Access, Kind
from rig.faults.legs import LONG_US, Attack, build, program, sweep
from rig.faults.model import Effect, Expect, FaultProgram, Stop
from rig.faults.ops import OPS, Op
from rig.faults.setting import Case, Setting
from rig.image.model import Owner
from rig.inject.model import Disarm, Leg, Program, Step

FRAME = 128  # bytes below a moved stack pointer where the frame of the fault itself may go
AROUND, NEAR = 64, 16  # bytes swept on both sides of an edge: of one's own, of a stranger's


def own_spans(s: Setting, a: Owner) -> list[tuple[int, int]]:
    """Runs of RAM the owner may write, the one with its data (or stack) first; then runs it may only read."""
    main, code = s.main_target(a), Intervals.of(s.plan.placement.code)
    writable = sorted(s.ram_spans(a.index, Kind.WRITE), key=lambda span: not span[0] <= main < span[1])
    readable = Intervals(s.ram_spans(a.index, Kind.READ)) - Intervals(writable) - code
    return [*writable, *readable]


def foreign_span(s: Setting, a: Owner, v: Owner) -> tuple[int, int] | None:
    """A run of the victim's writable bytes that the actor may not even read: its data, else its stack."""
    theirs = s.granted(v.index, Kind.WRITE) - s.granted(a.index, Kind.READ)
    for _, address in s.targets(v):
        for span in theirs:
            if span[0] <= address < span[1]:
                return span
    return None


def _beside(s: Setting, address: int) -> Owner | None:
    owner = s.rights.owner_of(address)
    return None if owner is None else s.image.owners[owner]


def _fits(op: Op, address: int) -> bool:
    return address % op.unit == 0


def _edge_attack(s: Setting, family: str, a: Owner, op: Op, address: int, nearest: int, tag: str) -> FaultProgram:
    """An access beyond an own edge; the victim is whoever owns the byte next to the edge."""
    v = _beside(s, nearest)
    v = None if v is not None and v.index == a.index else v
    spot = s.place(nearest)
    return build(s, Attack(family, a, op, address, v, victim_name=spot.name.split(":")[0] if spot else "", tag=tag))


def g01_own(s: Setting, a: Owner) -> Iterator[Case]:
    """Right past the own end with every width; right below the own start with two."""
    for start, end in own_spans(s, a):
        for op in s.ops("load8u", "load16u", "load32", "load64", "store8", "store16", "store32", "store64"):
            if _fits(op, end):
                yield _edge_attack(s, "G-01", a, op, end, end, "end")
        for op in s.ops("load8u", "load32", "store8", "store32"):
            yield _edge_attack(s, "G-01", a, op, start - op.width, start - 1, "start")


def g01(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    """The victim's first and last bytes."""
    span = foreign_span(s, a, v)
    if span is None:
        yield s.refuse("G-01", "pair", "N/A(granted)", a, v)
        return
    for name, address in (("load32", span[0]), ("store32", span[0]), ("load8u", span[1] - 1), ("store8", span[1] - 1)):
        yield build(s, Attack("G-01", a, OPS[s.board.arch][name], address, v))


def g02_own(s: Setting, a: Owner) -> Iterator[Case]:
    """Every byte around the edges of the own data, loads and stores of 1, 2 and 4; words around other own edges.

    Positions across an edge are G-06. On PMP only aligned words and halfwords: an unaligned one over two entries of the
    actor's own is denied (G-11), and where those meet no manifest says.
    """
    for number, span in enumerate(own_spans(s, a)):
        for edge in span:
            if number == 0 and s.data(a) is not None and not s.quick:
                for op in s.ops("load8u", "load16u", "load32", "store8", "store16", "store32"):
                    stride = 1 if s.arm else op.width
                    for first, count in (_clear if s.arm else _aligned)(s, a, op, edge, AROUND):
                        yield sweep(s, "G-02", a, op, first, count, stride, _victim_at(s, a, edge, span))
            else:
                for op in s.ops("load32", "store32"):
                    for first, count in _aligned(s, a, op, edge, AROUND):
                        yield sweep(s, "G-02", a, op, first, count, op.width, _victim_at(s, a, edge, span))


def g02(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    span = foreign_span(s, a, v)
    if span is None:
        yield s.refuse("G-02", "pair", "N/A(granted)", a, v)
        return
    for edge in span:
        for op in s.ops("load32", "store32"):
            for first, count in _aligned(s, a, op, edge, NEAR):
                yield sweep(s, "G-02", a, op, first, count, op.width, v)


def _victim_at(s: Setting, a: Owner, edge: int, span: tuple[int, int]) -> Owner | None:
    v = _beside(s, edge if edge == span[1] else edge - 1)
    return None if v is None or v.index == a.index else v


def _clear(s: Setting, a: Owner, op: Op, edge: int, around: int) -> Iterator[tuple[int, int]]:
    """(first, count) of the positions around an edge whose bytes lie on one side of it, all granted or all not."""
    positions = Intervals()
    for low, high in ((edge - around, edge), (edge, edge + around)):
        granted = s.granted(a.index, op.kind) & Intervals.of((low, high))
        positions |= granted.starts(op.width) | granted.complement(low, high).starts(op.width)
    yield from ((start, end - start) for start, end in positions)


def _aligned(s: Setting, a: Owner, op: Op, edge: int, around: int) -> Iterator[tuple[int, int]]:
    """The same for aligned positions only."""
    for first, count in _clear(s, a, op, edge, around):
        start = -(-first // op.width) * op.width
        items = (first + count - 1 - start) // op.width + 1 if start < first + count else 0
        if items > 0:
            yield start, items


def g03_own(s: Setting, a: Owner) -> Iterator[Case]:
    """Granted bytes beyond the logical object: allowed where the manifest says so, and then a semantic escape."""
    mine = [x for x in s.plan.slack if x.owner == a.index and x.end > x.start]
    if not mine:
        yield s.refuse("G-03", "own", "N/A(no slack)", a)
    for slack in mine:
        for op in s.ops("load8u", "load32", "store8", "store32"):
            for at in dict.fromkeys((slack.start, slack.end - op.width)):
                if at >= slack.start:
                    made = _edge_attack(s, "G-03", a, op, at, at, "slack")
                    yield replace(made, semantic_escape=made.armed.stop is Stop.ALLOWED)


def g03(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    theirs = [x for x in s.plan.slack if x.owner == v.index and x.end - x.start >= 4]
    granted = s.granted(a.index, Kind.READ)
    open_ = [x for x in theirs if not granted.overlaps(x.start, x.end)]
    if not open_:
        yield s.refuse("G-03", "pair", "N/A(no slack)" if not theirs else "N/A(granted)", a, v)
    for slack in open_:
        for op in s.ops("load32", "store32"):
            yield build(s, Attack("G-03", a, op, slack.start, v))


def g06_own(s: Setting, a: Owner) -> Iterator[Case]:
    """Unaligned accesses across the own end, and from below across the own start."""
    for start, end in own_spans(s, a):
        attacks = [(op, end - back, end, f"end-{back}") for op in s.ops("load16u", "load32", "store16", "store32")
                   for back in range(1, op.width)]
        attacks += [(op, start - 2, start - 1, "start-2") for op in s.ops("load32", "store32")]
        for op, address, nearest, tag in attacks:
            if s.allows(a.index, op.access(address)):
                yield s.refuse("G-06", f"{op.name}.{tag}", "N/A(both sides are granted, see G-11)", a)
            else:
                yield _edge_attack(s, "G-06", a, op, address, nearest, tag)


def g06(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    """Unaligned accesses across the victim's edges, none of whose bytes is the actor's."""
    span = foreign_span(s, a, v)
    made = 0
    for edge in span or ():
        for op in s.ops("load32", "store32"):
            access = op.access(edge - 2)
            if not s.granted(a.index, Kind.READ).overlaps(access.address, access.end):
                made += 1
                yield build(s, Attack("G-06", a, op, edge - 2, v))
    if not made:
        yield s.refuse("G-06", "pair", "N/A(granted)" if span is None else "N/A(adjacent: see the own edges)", a, v)


def g07_own(s: Setting, a: Owner) -> Iterator[Case]:
    """Several words from the own side across the end; a push across the start; a copy loop across the end."""
    for start, end in own_spans(s, a):
        if end % 4 == 0:
            for op, back in ((op, 8 if op.name == "ldm" else 4) for op in s.ops("ldm", "stm", "load64", "store64")):
                if not s.allows(a.index, op.access(end - back)):
                    yield _edge_attack(s, "G-07", a, op, end - back, end, f"end-{back}")
            beyond = not s.granted(a.index, Kind.READ).overlaps(end, end + 4)
            if beyond and s.granted(a.index, Kind.WRITE).covers(end - 8, end):
                yield loop(s, a, end - 8, 4, end, _victim_at(s, a, end, (start, end)))
        if start % 4 == 0 and not s.granted(a.index, Kind.WRITE).overlaps(start - FRAME, start):
            for op in s.ops("push"):
                yield _edge_attack(s, "G-07", a, op, start - 4, start - 1, "start-4")


def g07(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    """Several words from below the victim's start into it, and a copy loop over its first words."""
    span = foreign_span(s, a, v)
    if span is None or span[0] % 4:
        yield s.refuse("G-07", "pair", "N/A(granted)" if span is None else "N/A(edge not word-aligned)", a, v)
        return
    yield loop(s, a, span[0], 2, span[0], v)
    if not s.granted(a.index, Kind.READ).contains(span[0] - 4):
        for op in s.ops("ldm", "stm"):
            yield build(s, Attack("G-07", a, op, span[0] - 4, v))


def loop(s: Setting, a: Owner, start: int, count: int, fault_at: int, v: Owner | None) -> FaultProgram:
    """Load and store back `count` words from `start`, as a copy loop does; the load at `fault_at` must trap."""
    entry, own = s.stub("rw32"), s.scratch(a)
    inside = (fault_at - start) // 4

    def run(leg: Leg, at: int, disarm: Disarm = Disarm.NOTHING) -> Program:
        seen = leg is Leg.ARMED and s.in_ram(fault_at, 16)
        return program(leg, Step(a.index, entry, (at, count)), disarm=disarm, focus=fault_at if seen else 0,
                       limit_us=LONG_US)

    name, where = v.name if v else "nobody", s.symbolic(start)
    legs = {Leg.LEGAL: run(Leg.LEGAL, own), Leg.DISARMED: run(Leg.DISARMED, start, Disarm.MAP),
            Leg.ARMED: run(Leg.ARMED, start)}
    return FaultProgram(
        id=s.id("G-07", f"loop{inside}", a.index, name, where), family="G-07", actor=a.index,
        victim=v.index if v else None, victim_name=name, target=where, address=fault_at, width=4, legs=legs,
        effects={Leg.LEGAL: Effect.VALUE, Leg.DISARMED: Effect.VALUE},
        armed=Expect(Stop.TRAP, Access(Kind.READ, fault_at, 4, privileged=False), s.pc("rw32")),
        values={Leg.LEGAL: count, Leg.DISARMED: count}, readers=(v.index,) if v else (), op="loop",
    )
