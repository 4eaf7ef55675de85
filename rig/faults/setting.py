# SPDX-License-Identifier: Apache-2.0
"""What an expansion stands on: image, board, plan, manifest and symbols, asked in the words that families use."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from rig.arch.intervals import Intervals
from rig.arch.types import Access, Kind
from rig.boards.model import Arch, Board
from rig.faults.ids import Ids, escape, program_id
from rig.faults.model import FaultProgram, RefusedProgram, Why
from rig.faults.ops import OPS, Op
from rig.image.model import Image, Owner
from rig.plan.extents import slice_span
from rig.plan.model import ContextPlan, Placed, Plan
from rig.plan.model import Kind as Placing

Case = FaultProgram | RefusedProgram
PPB = (0xE000_0000, 0xE010_0000)
_NONZERO = int.from_bytes(b"\1" * 16, "little")
MANY = 16  # owners; above, every pair gets one width of each kind: the number of pairs grows with the square
_LEAST, _ROOMY = 8, 128  # bytes that data must have to be a target, to be a place for legal accesses of any kind


class Rights(Protocol):
    """The manifest as this folder needs it: who may do what with which bytes. Never made from a plan."""

    def granted(self, owner: int, kind: Kind) -> Intervals:
        """Every byte the owner may read, write or execute."""
        ...

    def owner_of(self, address: int) -> int | None:
        """Whose byte this is; None: the agent's, a peripheral's, shared by several, or nobody's."""
        ...


class CodeFacts(Protocol):
    """The linked ELF as this folder needs it."""

    def span(self, function: int) -> tuple[int, int] | None:
        """[start, end) of a wasm function's machine code, without the Thumb bit; None: it was not emitted."""
        ...

    def read(self, address: int, size: int) -> bytes | None:
        """Bytes of the ELF's loaded contents; None where it has none."""
        ...


@dataclass(frozen=True, slots=True)
class Spot:
    """A native range and its symbolic name."""

    name: str
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


class Setting:
    """One expansion. Reading it has no effect but that random values and ids are drawn in order."""

    def __init__(self, image: Image, board: Board, plan: Plan, rights: Rights, symbols: Mapping[str, int],
                 code: CodeFacts, seed: int, quick: bool = False) -> None:
        self.image, self.board, self.plan, self.rights = image, board, plan, rights
        self.symbols, self.code, self.quick = symbols, code, quick or len(image.owners) > MANY
        self.random = random.Random(seed)
        self.arm = board.arch is Arch.V7M
        self.ids = Ids()
        self._targets: dict[int, tuple[tuple[str, int], ...]] = {}
        self._spots: dict[int, Spot | None] = {}
        self.pairs = [(a, b) for a in image.owners for b in image.owners if a.index != b.index]

    # Owners

    def name(self, owner: int | None, otherwise: str = "nobody") -> str:
        return otherwise if owner is None else self.image.owners[owner].name

    def context(self, owner: int) -> ContextPlan:
        return self.plan.context(owner)

    def apart(self, a: Owner, b: Owner) -> tuple[Why, str] | None:
        """None when the two must be isolated from each other, else why not."""
        for group in self.image.shared_context:
            if a.index in group and b.index in group:
                first, second = sorted((a, b), key=lambda o: o.index)
                return Why.SHARED, f"not isolated: {self._cause(group, a.index, b.index)} ({first.name}, {second.name})"
        if a.domain is not None and a.domain == b.domain:
            return Why.NA, "N/A(same domain)"
        return None

    def _cause(self, group: tuple[int, ...], a: int, b: int) -> str:
        """Which finding joined two owners: the one about this pair, else one about others of their group."""
        open_ = [(f.id, set(f.pair)) for f in self.image.findings if f.pair is not None and not f.cured]
        named = [id_ for id_, pair in open_ if pair == {a, b}] + [id_ for id_, pair in open_ if pair <= set(group)]
        return named[0] if named else "one context"

    # Symbols and stubs

    def ops(self, *names: str) -> list[Op]:
        """Those of the named stubs that this architecture, part and ELF have."""
        known = OPS[self.board.arch]
        return [known[n] for n in names if n in known and f"rig_stub_{n}" in self.symbols
                and (not known[n].floating or self.fpu)]

    @cached_property
    def fpu(self) -> bool:
        """Are there floating-point registers? QEMU's RISC-V cores have them whatever the board names."""
        if self.arm:
            return self.board.fpu is not None
        return self.board.qemu is not None or "f" in self.board.core.removeprefix("rv32").partition("_")[0]

    def stub(self, name: str) -> int:
        return self.symbols[f"rig_stub_{name}"]

    def pc(self, name: str) -> frozenset[int]:
        return frozenset({self.symbols[f"rig_pc_{name}"]})

    # Places

    @cached_property
    def places(self) -> tuple[Spot, ...]:
        """Everything with a name in RAM or code, smallest first: the innermost name of an address is the best one."""
        spots = [Spot(p.name, p.start, max(p.end, p.region_end)) for p in self.plan.placement.objects]
        spots += [Spot(f"sacrifice:{what}", at, at + 64) for what in ("ram", "text", "code")
                  if (at := self.symbols.get(f"rig_sacrifice_{what}")) is not None]
        spots.append(Spot("code", *self.plan.placement.code))
        return tuple(sorted(spots, key=lambda s: (s.size, s.start)))

    def place(self, address: int) -> Spot | None:
        if address not in self._spots:
            self._spots[address] = next((s for s in self.places if s.start <= address < s.end), None)
        return self._spots[address]

    def symbolic(self, address: int) -> str:
        """ "memory:1+0x8000", "ppb:0xE000ED94", "uart0+0x4": names that survive another link."""
        if (spot := self.place(address)) is not None:
            return f"{spot.name}+{address - spot.start:#x}"
        if self.arm and PPB[0] <= address < PPB[1]:
            return f"ppb:0x{address:08X}"
        bank = next((b for b in self.board.banks if b.start <= address < b.end), None)
        return f"{bank.name}+{address - bank.start:#x}" if bank else f"{address:#010x}"

    def in_ram(self, address: int, width: int = 1) -> bool:
        return self._ram.covers(address, address + width)

    @cached_property
    def _ram(self) -> Intervals:
        return Intervals((b.start, b.end) for b in self.board.banks if b.kind == "ram")

    def data(self, owner: Owner) -> Spot | None:
        """The owner's part of its linear memory, as placed; None where it has none."""
        if owner.slice is None:
            return None
        span = slice_span(owner)
        base = self._memory(owner.slice.memory)
        if base is None or span.size < _LEAST:
            return None
        return Spot(f"memory:{owner.slice.memory}", base.start + span.start, base.start + span.end)

    def _memory(self, index: int) -> Placed | None:
        return next((p for p in self.plan.placement.all(Placing.MEMORY) if p.index == index), None)

    def memory_base(self, index: int) -> int | None:
        """Native address of wasm offset 0 of a linear memory."""
        placed = self._memory(index)
        return placed.start if placed else None

    def stack(self, owner: Owner) -> Spot:
        placed = self.plan.placement.find(f"stack:{owner.index}")
        return Spot(placed.name, placed.start, placed.end)

    def reserve(self, owner: Owner) -> Spot | None:
        """Globals copy or instance of an owner, at the top of its stack; None where the lowering keeps none there."""
        context, stack = self.context(owner.index), self.stack(owner)
        start = context.instance or context.r9
        return Spot(stack.name, start, stack.end) if stack.start <= start < stack.end else None

    def targets(self, owner: Owner) -> tuple[tuple[str, int], ...]:
        """(what, aligned address) in the middle of everything of the owner's: data, stack, globals copy."""
        if owner.index not in self._targets:
            self._targets[owner.index] = tuple(self._find_targets(owner))
        return self._targets[owner.index]

    def _find_targets(self, owner: Owner) -> Iterator[tuple[str, int]]:
        if (data := self.data(owner)) is not None:
            yield "data", middle(data)
        stack = self.stack(owner)
        yield "stack", middle(Spot(stack.name, stack.start, self.context(owner.index).sp))
        if (reserve := self.reserve(owner)) is not None:
            yield "globals", reserve.start
        shadow = next((p for p in self.plan.placement.all(Placing.SLICE) if p.name == "slice:stack"), None)
        if shadow is not None and self.rights.owner_of(shadow.start) == owner.index:  # its only user's
            yield "shadow", middle(Spot(shadow.name, shadow.start, shadow.end))

    def main_target(self, owner: Owner) -> int:
        return self.targets(owner)[0][1]

    def scratch(self, owner: Owner) -> int:
        """A place in the owner's own bytes, 64-byte aligned, for accesses that must work: its data, else its stack."""
        data = self.data(owner)
        small = data is not None and data.size < _ROOMY
        return next(at for what, at in self.targets(owner) if not (small and what == "data"))

    # Rights

    def allows(self, owner: int, access: Access) -> bool:
        """Does the manifest grant every byte of the access? An AMO also reads."""
        first, end = access.address, access.end
        return (self._granted[owner, access.kind].covers(first, end)
                and (not access.atomic or self._granted[owner, Kind.READ].covers(first, end)))

    @cached_property
    def _granted(self) -> Mapping[tuple[int, Kind], Intervals]:
        return {(o.index, kind): self.rights.granted(o.index, kind) for o in self.image.owners for kind in Kind}

    def granted(self, owner: int, kind: Kind) -> Intervals:
        return self._granted[owner, kind]

    def ram_spans(self, owner: int, kind: Kind) -> list[tuple[int, int]]:
        """Maximal runs of RAM bytes the owner may access so."""
        banks = Intervals((b.start, b.end) for b in self.board.banks if b.kind in ("ram", "rom"))
        return list((self._granted[owner, kind] & banks).spans)

    # Draws

    def value(self, width: int) -> int:
        """A random value of `width` bytes, no byte of it 0."""
        return self.random.getrandbits(8 * width) | _NONZERO >> 8 * (16 - width)

    def id(self, family: str, op: str, actor: int | None, victim: str, target: str) -> str:
        return self.ids.unique(program_id(family, op, self.name(actor), victim, target))

    def refuse(self, family: str, what: str, reason: str, actor: Owner | None = None, victim: Owner | None = None,
               why: Why = Why.NA) -> RefusedProgram:
        names = "" if actor is None else f"/{escape(actor.name)}" + (f">{escape(victim.name)}" if victim else "")
        return RefusedProgram(self.ids.unique(f"{family}/{what}{names}"), family, actor.index if actor else None,
                              victim.index if victim else None, why, reason)


def middle(spot: Spot) -> int:
    """The middle of a range, 64-byte aligned where that stays inside."""
    half = spot.start + spot.size // 2
    aligned = half & ~63
    return aligned if aligned >= spot.start else half & ~7
