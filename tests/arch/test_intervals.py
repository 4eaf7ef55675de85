# SPDX-License-Identifier: Apache-2.0
"""Intervals are sets: every operation equals the same one on Python sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig.arch.intervals import SPACE32, Intervals

TOP = 40
spans = st.lists(st.tuples(st.integers(0, TOP), st.integers(0, TOP)).map(lambda p: (min(p), max(p))), max_size=6)


def as_set(value: Intervals) -> set[int]:
    return {n for a, b in value for n in range(a, b)}


@given(spans, spans)
def test_algebra_equals_that_of_sets(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> None:
    x, y = Intervals(a), Intervals.of(*b)
    assert as_set(x | y) == as_set(x) | as_set(y)
    assert as_set(x & y) == as_set(x) & as_set(y)
    assert as_set(x - y) == as_set(x) - as_set(y)
    assert as_set(x.complement(0, TOP)) == set(range(TOP)) - as_set(x)
    assert (x == y) == (as_set(x) == as_set(y))
    assert x.size == len(as_set(x))
    if x == y:
        assert hash(x) == hash(y)


@given(spans, st.integers(1, 9), st.integers(0, TOP), st.integers(0, TOP))
def test_questions_equal_those_of_sets(a: list[tuple[int, int]], size: int, low: int, high: int) -> None:
    x, members = Intervals(a), as_set(Intervals(a))
    assert as_set(x.starts(size)) == {n for n in range(TOP) if set(range(n, n + size)) <= members}
    assert (low in x) == (low in members)
    assert x.overlaps(low, high) == bool(members & set(range(low, high)))
    assert x.covers(low, high) == (set(range(low, high)) <= members)


def test_touching_intervals_are_one() -> None:
    assert Intervals.of((4, 8), (0, 4), (6, 7), (9, 9)).spans == ((0, 8),)


def test_the_whole_space_is_32_bit_unless_said() -> None:
    assert Intervals().complement() == Intervals.of((0, SPACE32))


def test_an_interval_that_ends_before_it_starts_is_an_error() -> None:
    with pytest.raises(ValueError, match="ends before it starts"):
        Intervals.of((2, 1))
