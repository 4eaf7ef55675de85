# SPDX-License-Identifier: Apache-2.0
"""Exact sets of addresses as sorted, disjoint, half-open intervals of integers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

SPACE32 = 1 << 32  # bytes in a 32-bit address space


class Intervals:
    """An immutable set of integers, kept as the shortest list of half-open intervals `[start, end)`.

    Equal sets have equal representations, so `==` compares sets. Endpoints are bytes and may lie anywhere.
    """

    __slots__ = ("_spans",)
    _spans: tuple[tuple[int, int], ...]

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        """Any order, overlaps and empty spans welcome; `start > end` is a ValueError."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted(spans):
            if start > end:
                raise ValueError(f"interval [{start:#x}, {end:#x}) ends before it starts")
            if start == end:
                continue
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        self._spans = tuple(merged)

    @classmethod
    def of(cls, *spans: tuple[int, int]) -> Intervals:
        """`Intervals.of((a, b), (c, d))`: the union of the given half-open spans."""
        return cls(spans)

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        return self._spans

    @property
    def size(self) -> int:
        """Number of integers in the set."""
        return sum(end - start for start, end in self._spans)

    def union(self, other: Intervals) -> Intervals:
        return Intervals(self._spans + other._spans)

    def intersection(self, other: Intervals) -> Intervals:
        found: list[tuple[int, int]] = []
        mine, theirs, i, j = self._spans, other._spans, 0, 0
        while i < len(mine) and j < len(theirs):
            start, end = max(mine[i][0], theirs[j][0]), min(mine[i][1], theirs[j][1])
            if start < end:
                found.append((start, end))
            if mine[i][1] <= theirs[j][1]:
                i += 1
            else:
                j += 1
        return Intervals(found)

    def difference(self, other: Intervals) -> Intervals:
        if not self._spans:
            return self
        first, last = self._spans[0][0], self._spans[-1][1]
        return self.intersection(other.complement(first, last))

    def complement(self, start: int = 0, end: int = SPACE32) -> Intervals:
        """What `[start, end)` (default: a 32-bit address space) holds beside this set."""
        gaps: list[tuple[int, int]] = []
        at = start
        for a, b in self._spans:
            if a >= end:
                break
            if a > at:
                gaps.append((at, a))
            at = max(at, b)
        if at < end:
            gaps.append((at, end))
        return Intervals(gaps)

    def starts(self, size: int) -> Intervals:
        """The first bytes of all `size`-byte blocks that lie wholly inside the set."""
        return Intervals((a, b - size + 1) for a, b in self._spans if b - a >= size)

    def contains(self, value: int) -> bool:
        at = bisect_right(self._spans, value, key=lambda span: span[0])
        return at > 0 and value < self._spans[at - 1][1]

    def covers(self, start: int, end: int) -> bool:
        """Is every integer of `[start, end)` in the set?"""
        return start >= end or any(a <= start and end <= b for a, b in self._spans)

    def overlaps(self, start: int, end: int) -> bool:
        """Is any integer of `[start, end)` in the set?"""
        return any(a < end and start < b for a, b in self._spans) if start < end else False

    __or__ = union
    __and__ = intersection
    __sub__ = difference

    def __contains__(self, value: int) -> bool:
        return self.contains(value)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._spans)

    def __len__(self) -> int:
        """Number of intervals (not of integers, see `size`)."""
        return len(self._spans)

    def __eq__(self, other: object) -> bool:
        return self._spans == other._spans if isinstance(other, Intervals) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._spans)

    def __repr__(self) -> str:
        return "Intervals(" + " ".join(f"[{a:#x},{b:#x})" for a, b in self._spans) + ")"
