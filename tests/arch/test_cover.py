# SPDX-License-Identifier: Apache-2.0
"""Covers grant exactly the range, with as few regions as brute force finds, or say with numbers why not."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig.arch import pmp, pmsav7
from rig.arch.cover import Cover, cover_end, cover_pmp, cover_pmsav7
from rig.arch.types import Access, Intervals, Kind

BASE = 0x2000_0000


def granted(covers: tuple[Cover, ...]) -> Intervals:
    """What the regions grant when they are programmed: through encode and decode, not through the cover."""
    regions = tuple(pmsav7.encode(pmsav7.Region(i, c.base, c.size, srd=c.srd)) for i, c in enumerate(covers))
    return pmsav7.grants(pmsav7.Context(0x800, 1, regions), privileged=False, kind=Kind.WRITE)


def reachable(window: int, sizes: tuple[int, ...]) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """By brute force: the ranges in [0, window) that one region grants, and those that two grant together."""
    one = set()
    for size in sizes:
        step = size // 8 if size >= 256 else size
        for base in range(0, window, size):
            cuts = range(base, min(base + size, window) + 1, step)
            one |= {(a, b) for a, b in product(cuts, cuts) if a < b}
    starts: dict[int, set[int]] = {}
    for a, b in one:
        starts.setdefault(a, set()).add(b)
    two = {(a, d) for a, b in one for c, tops in starts.items() if a <= c <= b for d in tops if d > a}
    return one, two


def test_exact_and_minimal_for_every_range_of_a_window() -> None:
    window = 1536  # bytes from a 2 KiB boundary: regions of 32 B to 4 KiB take part
    one, two = reachable(window, (32, 64, 128, 256, 512, 1024, 2048, 4096))
    for start, end in product(range(0, window, 32), range(32, window + 1, 32)):
        if start >= end:
            continue
        if (start, end) not in two:
            with pytest.raises(ValueError, match="stay uncovered"):
                cover_pmsav7(BASE + start, BASE + end)
            continue
        covers = cover_pmsav7(BASE + start, BASE + end)
        assert len(covers) == (1 if (start, end) in one else 2)
        assert granted(covers) == Intervals.of((BASE + start, BASE + end))


@given(st.integers(5, 16), st.integers(0, 63), st.integers(1, 64), st.integers(0, 31))
def test_with_slack_one_region_starts_exactly_and_grants_least_beyond(unit: int, at: int, n: int, cut: int) -> None:
    start = BASE + (at << unit)
    end = start + (n << unit) - cut
    try:
        (cover,) = cover_pmsav7(start, end, slack_up=True)
    except ValueError as error:
        assert "short of the end" in str(error)
        return
    top = cover_end((cover,))
    assert granted((cover,)) == Intervals.of((start, top))
    assert top >= end
    # nothing smaller: no shorter range from `start` that holds `end` is a single region
    for shorter in range(-(-end // 32) * 32, top, max(32, (top - end) // 50 // 32 * 32)):
        try:
            assert len(cover_pmsav7(start, shorter)) != 1
        except ValueError:
            continue


def test_candidates_can_be_refused() -> None:
    """Armv6-M: regions below 256 B do not exist; two of 32 B become subregions of one of 256 B."""
    assert cover_pmsav7(BASE, BASE + 64, align_ok=lambda base, size: size >= 256) == (Cover(BASE, 256, 0b1111_1100),)
    assert cover_pmsav7(BASE, BASE + 64) == (Cover(BASE, 64, 0),)


def test_the_whole_space_and_its_end() -> None:
    assert cover_pmsav7(0, 1 << 32) == (Cover(0, 1 << 32, 0),)
    assert cover_pmsav7(0xFFFF_FFE0, 1 << 32) == (Cover(0xFFFF_FFE0, 32, 0),)


@pytest.mark.parametrize(("start", "end", "says"), [
    (BASE + 4, BASE + 64, "granule of 32 B, start lies 4 B above"),
    (BASE, BASE + 40, "granule of 32 B, end lies 8 B above"),
    (BASE + 64, BASE, "not a range of the 32-bit address space"),
    (BASE, (1 << 32) + 32, "not a range of the 32-bit address space"),
    (0x2000_1300, 0x2000_2400, "0x800 bytes between them stay uncovered"),
])  # fmt: skip
def test_what_cannot_be_covered_is_refused_with_arithmetic(start: int, end: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        cover_pmsav7(start, end)


@given(st.integers(0, 3), st.integers(0, 80), st.integers(1, 80))
def test_pmp_entries_match_exactly_the_range(grain: int, at: int, n: int) -> None:
    start = 0x8000_0000 + at * pmp.granule(grain)
    end = start + n * pmp.granule(grain)
    entries = cover_pmp(start, end, grain)
    power_of_two = (end - start) & (end - start - 1) == 0 and start % (end - start) == 0
    assert len(entries) == (1 if power_of_two else 2)
    cfg, addr = zip(*((c | 1, a) for c, a in map(pmp.encode, entries)), strict=True)
    context = pmp.Context(32, grain, cfg, addr)
    assert pmp.grants(context, False, Kind.READ) == Intervals.of((start, end))


def test_pmp_covers_the_smallest_and_the_largest() -> None:
    assert cover_pmp(0x1000, 0x1004) == (pmp.Entry(pmp.Mode.NA4, 0x400),)
    assert cover_pmp(0, 1 << 32) == (pmp.Entry(pmp.Mode.NAPOT, 0x1FFF_FFFF),)
    low, high = cover_pmp(0x8000_0000, (1 << 32) - 4)
    assert (low.mode, high.mode) == (pmp.Mode.OFF, pmp.Mode.TOR)


def test_pmp_refuses_what_lies_off_the_grain() -> None:
    with pytest.raises(ValueError, match="PMP with grain 3 has a granule of 32 B, end lies 4 B above"):
        cover_pmp(0x8000_0000, 0x8000_0024, 3)


def test_a_cover_that_is_one_granule_too_long_is_seen() -> None:
    """The comparison above can fail: the doubled region of a wrong SIZE field is not the range."""
    (cover,) = cover_pmsav7(BASE, BASE + 1024)
    assert granted((cover._replace(size=2048),)) != Intervals.of((BASE, BASE + 1024))
    context = pmsav7.Context(0x800, 1, (pmsav7.encode(pmsav7.Region(0, BASE, 2048)),))
    assert pmsav7.decide(context, Access(Kind.READ, BASE + 1024, 4, False)).allow
