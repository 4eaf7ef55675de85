# SPDX-License-Identifier: Apache-2.0
"""Group K: lists whose pointer and length a caller chose. Only the gate can stop them; disarmed, its checks are off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rig.faults.legs import NO_FLAG, program
from rig.faults.model import Effect, Expect, FaultProgram, Stop
from rig.faults.setting import Case, Setting
from rig.image.model import ListArg, Owner, OwnerKind, Seam
from rig.inject.model import MAX_WORDS, Disarm, Leg, Payload, Program, Step, Verb
from rig.plan.extents import memory_extent, slice_span
from rig.plan.model import ListCheck, Lowering, SeamPlan

POINTER, EXTENT = 3, 4  # refusal codes of the gate
NEEDLE = 16  # bytes of the victim's that must not be found elsewhere afterwards
_REFUSED = frozenset({POINTER, EXTENT})
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # valid in any list<u8> or string


@dataclass(frozen=True, slots=True)
class Door:
    """One list argument of one seam, as its caller sees it. `low`, `high`: wasm offsets the list may lie in."""

    seam: Seam
    plan: SeamPlan
    number: int
    item: ListArg
    check: ListCheck
    low: int
    high: int

    @property
    def elements(self) -> int:
        """Elements of a list of about NEEDLE bytes; one where the pointer leads to exactly one element."""
        return 1 if self.item.length < 0 else -(-NEEDLE // max(1, self.item.element_size))

    @property
    def bytes(self) -> int:
        return self.elements * max(1, self.item.element_size)


def doors(s: Setting, a: Owner) -> list[Door]:
    """Every list argument the owner hands over a seam, where the gate stub and the plan have it."""
    found = []
    by_index = {p.index: p for p in s.plan.seams}
    for seam in s.image.seams:
        plan = by_index.get(seam.index)
        if seam.caller != a.index or plan is None or f"rig_gate_{seam.index}" not in s.symbols:
            continue
        for number, (item, check) in enumerate(zip(seam.lists, plan.checks, strict=True)):
            low, high = _span(s, seam, item)
            if high - low >= NEEDLE * 2:
                found.append(Door(seam, plan, number, item, check, low, high))
    return found


def _span(s: Setting, seam: Seam, item: ListArg) -> tuple[int, int]:
    """Where the caller's own data lies: its slice in model 1 (with all that share its context), else its memory."""
    if not s.image.model.shared:
        return 0, memory_extent(s.image, item.memory)
    group = next((g for g in s.image.shared_context if seam.caller in g), (seam.caller,))
    spans = [slice_span(o) for o in (s.image.owners[i] for i in group) if o.slice is not None]
    return min((x.start for x in spans), default=0), max((x.end for x in spans), default=0)


def k02(s: Setting, a: Owner) -> Iterator[Case]:
    """(a) sums that wrap, (c) one byte too far; the legal leg is (b), a list that ends exactly at the end."""
    found = doors(s, a)
    if not found:
        yield s.refuse("K-02", "own", "N/A(no list seam)", a)
    for door in found:
        if door.plan.reg_words + door.plan.stack_words > MAX_WORDS:
            yield s.refuse("K-02", f"seam:{door.seam.index}", "N/A(more argument words than a step carries)", a)
            continue
        end = door.high - door.bytes
        attacks = [("beyond", end + 1, door.elements), ("high-pointer", 0xFFFF_FFF0, door.elements)]
        if door.item.length >= 0:
            size = max(1, door.item.element_size)
            wraps = (0x1_0000_0000 - end + NEEDLE + size - 1) // size  # end + wraps * size is small in 32 bits
            attacks += [("all", door.low, 0xFFFF_FFFF), ("wraps", end, wraps)]
        for tag, pointer, length in attacks:
            yield _attack(s, a, door, "K-02", tag, pointer, length, (end, door.elements))


def k11(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    """The pointer leads into the victim's memory, which the adapter holds as well: its bytes must not come out."""
    found = [d for d in doors(s, a) if _holds(s, d, v) and d.plan.reg_words + d.plan.stack_words <= MAX_WORDS]
    if not found:
        yield s.refuse("K-11", "pair", "N/A(no list seam)", a, v)
    for door in found:
        assert v.slice is not None
        base, there = s.memory_base(door.item.memory), s.memory_base(v.slice.memory)
        if base is None or there is None:
            yield s.refuse("K-11", "pair", "N/A(memory not placed)", a, v)
            continue
        secret = s.main_target(v)
        needle = bytes(s.random.choice(_LETTERS) for _ in range(NEEDLE))
        words = [int.from_bytes(needle[at : at + 4], "little") for at in range(0, NEEDLE, 4)]
        write = tuple(Step(v.index, s.stub("store32"), (secret + 4 * i, word)) for i, word in enumerate(words))
        made = _attack(s, a, door, "K-11", "", secret - base & 0xFFFF_FFFF, door.elements,
                       (door.high - door.bytes, door.elements), v, write)
        size = memory_extent(s.image, v.slice.memory)
        scans = {leg: Program(0, Verb.SCAN, leg, first=there, count=size, payloads=(Payload(0, 1, needle),))
                 for leg in (Leg.DISARMED, Leg.ARMED)}
        leaks = s.plan.lowering is not Lowering.WASM2C and door.item.length >= 0 and door.bytes >= NEEDLE
        yield replace(
            made, after=scans, values={Leg.DISARMED: 1, Leg.ARMED: 1},  # the needle itself is found once
            effects={**made.effects, Leg.DISARMED: Effect.NEEDLE if leaks else Effect.PASSED_GATE},
        )


def _holds(s: Setting, door: Door, v: Owner) -> bool:
    """Does the callee of the seam see the victim's memory beside the caller's?"""
    callee = s.image.owners[door.seam.callee]
    if v.slice is None or v.slice.memory == door.item.memory or s.data(v) is None:
        return False
    return callee.kind is OwnerKind.ADAPTER and v.slice.memory in callee.memories


def _attack(s: Setting, a: Owner, door: Door, family: str, tag: str, pointer: int, length: int, legal: tuple[int, int],
            v: Owner | None = None, before: tuple[Step, ...] = ()) -> FaultProgram:
    good = _call(s, a, door, *legal)
    bad = _call(s, a, door, pointer, length)
    callee = s.image.owners[door.seam.callee]
    name = v.name if v else callee.name
    target = f"seam:{door.seam.index}.{door.number}"
    return FaultProgram(
        id=s.id(family, f"list.{tag}" if tag else "list", a.index, name, target), family=family, actor=a.index,
        victim=v.index if v else None, victim_name=name, target=target, address=pointer, width=4,
        legs={Leg.LEGAL: program(Leg.LEGAL, *before, good), Leg.DISARMED: program(Leg.DISARMED, *before, bad,
              disarm=Disarm.GATE), Leg.ARMED: program(Leg.ARMED, *before, bad, flag=NO_FLAG)},
        effects={Leg.LEGAL: Effect.PASSED_GATE, Leg.DISARMED: Effect.PASSED_GATE},
        armed=Expect(Stop.GATE, gate_codes=_REFUSED, seam=door.seam.index),
        readers=(v.index,) if v else (), op="list", fresh=True,
    )


def _call(s: Setting, a: Owner, door: Door, pointer: int, length: int) -> Step:
    """A call through the gate: this list as wanted, all others empty at a place of the caller's own, scalars 0."""
    words = [0] * (door.plan.reg_words + door.plan.stack_words)
    if door.plan.instance_first:
        words[0] = s.context(a.index).instance
    for check in door.plan.checks:
        words[check.pointer] = door.low
    words[door.check.pointer] = pointer
    if door.item.length >= 0:
        words[door.check.length] = length & 0xFFFF_FFFF
    return Step(a.index, s.symbols[f"rig_gate_{door.seam.index}"], tuple(words))
