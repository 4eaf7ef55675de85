# SPDX-License-Identifier: Apache-2.0
"""From a byte range to the fewest regions or entries whose union is exactly that range, or the arithmetic why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from rig.arch.pmp import Entry, Mode, granule, napot, tor
from rig.arch.pmsav7 import MIN_SIZE, MIN_SRD_SIZE
from rig.arch.types import SPACE32


class Cover(NamedTuple):
    """One PMSAv7 region: base and size in bytes, SRD bit i = 1 disables subregion i."""

    base: int
    size: int
    srd: int


class _Candidate(NamedTuple):
    """A region that grants [start, end) and nothing else."""

    start: int
    end: int
    cover: Cover


AlignOk = Callable[[int, int], bool]


def cover_pmsav7(
    start: int, end: int, *, align_ok: AlignOk | None = None, slack_up: bool = False
) -> tuple[Cover, ...]:
    """One or two PMSAv7 regions whose enabled subregions together are exactly [start, end).

    `slack_up`: instead one region that starts exactly at `start`, ends at or above `end` and grants least beyond it
    (see `cover_end`). `align_ok(base, size)` may reject candidates, e.g. below a part's minimum size.
    Of equal counts the smallest regions win. ValueError with the arithmetic when impossible.
    """
    _check(start, end, MIN_SIZE, "PMSAv7", start_only=slack_up)
    usable = align_ok or (lambda base, size: True)
    if slack_up:
        upward = [c for c in _candidates(start, start, end, usable, up=True) if c.start == start]
        fits = [c for c in upward if c.end >= end]
        if not fits:
            reach = max((c.end for c in upward), default=start)
            raise ValueError(_why(start, end, "the start is", _power(start),
                                  f"it reaches {reach:#x}, {end - reach:#x} bytes short of the end"))
        return (min(fits, key=lambda c: (c.end, c.cover.size)).cover,)
    low = [c for c in _candidates(start, start, end, usable) if c.start == start]
    whole = [c for c in low if c.end == end]
    if whole:
        return (min(whole, key=lambda c: c.cover.size).cover,)
    high = [c for c in _candidates(end - 1, start, end, usable) if c.end == end]
    pairs = [(a, b) for a in low for b in high if a.end >= b.start]
    if not pairs:
        reach, back = max((c.end for c in low), default=start), min((c.start for c in high), default=end)
        raise ValueError(_why(start, end, "the edges are", _power(start | end),
                              f"from the bottom one region reaches {reach:#x}, from the top one reaches down to "
                              f"{back:#x}: {back - reach:#x} bytes between them stay uncovered"))
    first, second = min(pairs, key=lambda p: (p[0].cover.size + p[1].cover.size, p[0].cover.size))
    return first.cover, second.cover


def cover_end(covers: tuple[Cover, ...]) -> int:
    """First address above everything the regions grant."""
    return max(c.base + (8 - _leading(c.srd)) * c.size // 8 for c in covers)


def cover_pmp(start: int, end: int, grain: int = 0) -> tuple[Entry, ...]:
    """The entries (without rights) that match exactly [start, end): one NAPOT or NA4, else OFF + TOR in that order.

    A TOR pair whose start is 0 may drop its OFF entry when it comes first. ValueError when off the grain 2^(G+2).
    """
    _check(start, end, granule(grain), f"PMP with grain {grain}")
    size = end - start
    if size & (size - 1) == 0 and start % size == 0:
        return (Entry(Mode.NA4, start >> 2) if size == 4 else Entry(Mode.NAPOT, napot(start, size)),)
    low, high = tor(start, end)
    return Entry(Mode.OFF, low), Entry(Mode.TOR, high)


def _candidates(inside: int, start: int, end: int, usable: AlignOk, up: bool = False) -> Iterator[_Candidate]:
    """Per region size the one aligned region that holds byte `inside`, with every subregion within [start, end) on.

    `up`: the topmost subregion may stick out above `end`.
    """
    for log2 in range(5, 33):
        size = 1 << log2
        base = inside & -size
        if not usable(base, size):
            continue
        step = size // 8 if size >= MIN_SRD_SIZE else size
        first = max(base, -(-start // step) * step)
        last = min(base + size, -(-end // step) * step if up else end // step * step)
        if first < last:
            srd = 0xFF & ~sum(1 << i for i in range(8) if first <= base + i * step < last) if step < size else 0
            yield _Candidate(first, last, Cover(base, size, srd))


def _power(edge: int) -> int:
    """The largest power of two that divides an edge."""
    return edge & -edge or SPACE32


def _leading(srd: int) -> int:
    """Disabled subregions at the top."""
    return 8 - (~srd & 0xFF).bit_length()


def _check(start: int, end: int, unit: int, what: str, start_only: bool = False) -> None:
    if not 0 <= start < end <= SPACE32:
        raise ValueError(f"[{start:#x}, {end:#x}): not a range of the 32-bit address space")
    for name, edge in (("start", start),) if start_only else (("start", start), ("end", end)):
        if edge % unit:
            raise ValueError(f"[{start:#x}, {end:#x}): {what} has a granule of {unit} B, "
                             f"{name} lies {edge % unit} B above a multiple of it")


def _why(start: int, end: int, edges: str, step: int, reason: str) -> str:
    return (f"[{start:#x}, {end:#x}) = {end - start:#x} bytes does not fit PMSAv7: {edges} no multiple of more than "
            f"{step:#x}, so a region with that edge has subregions of at most {step:#x} and 8 of them; {reason}")
