# SPDX-License-Identifier: Apache-2.0
"""A cursor over the shared RAM: objects one after the other, pads where their edges are bare, and the bill."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from rig.errors import Refusal
from rig.plan.geometry import up
from rig.plan.model import Kind, Placed

PAD = 4096  # bytes between groups of objects, and at least so much at both ends


@dataclass
class Layout:
    """Places objects upwards from `start`. Nothing is checked against the end of the RAM before `finish`."""

    start: int
    objects: list[Placed] = field(default_factory=list)
    _at: int = 0
    _bill: Counter[tuple[str, int]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._at = self.start

    def add(
        self, kind: Kind, name: str, size: int, *, align: int = 4, region: int | None = None, apart: int = PAD,
        owner: int | None = None, index: int | None = None, word: str = "", whole: int | None = None,
    ) -> Placed:
        """Put `size` bytes at the next multiple of `align`, at least `apart` bytes above what came before.

        `region`: bytes that a region over it grants (default: size). `whole`: bytes to reserve (default: region).
        """
        start = up(self._at + (apart if self.objects else 0), align)
        region = size if region is None else region
        placed = Placed(kind, name, start, start + size, start + region, owner, index)
        self.objects.append(placed)
        self._at = start + (region if whole is None else whole)
        self._bill[word or kind.value, region if whole is None else whole] += 1
        return placed

    def nest(self, kind: Kind, name: str, start: int, end: int, region_end: int, owner: int | None, index: int) -> None:
        """An object inside one that is placed already."""
        self.objects.append(Placed(kind, name, start, end, region_end, owner, index))

    def finish(self, end: int, room: str) -> tuple[Placed, ...]:
        """Pads at every bare edge; the objects in order of address. Refusal with the bill when they need more RAM."""
        pads = self._pads()
        need = self._at + PAD - self.start
        if need > end - self.start:
            raise Refusal("does not fit", self._sum(pads, need) + f", but {room}")
        return tuple(sorted([*self.objects, *pads], key=lambda p: (p.start, -p.region_end)))

    def _pads(self) -> list[Placed]:
        """Agent-owned bytes around every object: all of a small gap, the first and last 4 KiB of a large one."""
        pads: list[Placed] = []

        def pad(start: int, end: int) -> None:
            pads.append(Placed(Kind.PAD, f"pad:{len(pads)}", start, end, end, None, len(pads)))

        outer = sorted((p for p in self.objects if p.kind is not Kind.SLICE and p.kind is not Kind.TABLE),
                       key=lambda p: p.start)
        for a, b in pairwise(outer):
            low, high = up(a.region_end, 4), b.start
            if high - low >= 2 * PAD:
                pad(low, low + PAD)
                pad(high - PAD, high)
            elif high > low:
                pad(low, high)
        pad(up(self._at, 4), up(self._at, 4) + PAD)
        return pads

    def _sum(self, pads: list[Placed], need: int) -> str:
        parts = [(f"{n} × {size} B {word}" if n > 1 else f"{size} B {word}", n * size)
                 for (word, size), n in sorted(self._bill.items(), key=lambda item: -item[0][1] * item[1]) if size]
        rest = need - sum(size for _, size in parts)
        return " + ".join([*(text for text, _ in parts), f"{rest} B pads and alignment"]) + f" = {need} B"
