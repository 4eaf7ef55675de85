# SPDX-License-Identifier: Apache-2.0
"""Who looks whether a victim's canaries are still there: the victim itself, unprivileged, and the host past the agent.

A *window* is a word-aligned range filled from the canary stream at every FRESH (docs/internals.md). The victim's reader
returns a hash of a window, computed in its own context; the host compares the bytes of the same RAM with the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rig.inject.model import Leg, Observation, Outcome, Program, Step, Verb
from rig.plan import spans

NOTHING = range(0)
READ_US = 200_000  # time limit of one reader: 64 KiB take a few virtual milliseconds


@dataclass(frozen=True, slots=True)
class Window:
    owner: int
    address: int
    length: int  # multiple of 4
    seed: int  # of the canary stream


@lru_cache(maxsize=256)
def stream(seed: int, length: int) -> bytes:
    """The bytes that lie in an untouched window."""
    return spans.stream(seed, length // 4)


@lru_cache(maxsize=256)
def expected_hash(seed: int, length: int) -> int:
    """What `rig_stub_sum` returns over an untouched window."""
    words = np.frombuffer(stream(seed, length), dtype="<u4").astype(np.uint64)
    return int((words * (2 * np.arange(len(words), dtype=np.uint64) + 1)).sum() & np.uint64(0xFFFFFFFF))


def reader_programs(
    windows: Mapping[int, Iterable[Window]], owners: Iterable[int], entry: int, first_index: int
) -> list[tuple[Window, Program]]:
    """One program per window of each owner: the owner sums its window in its own context."""
    chosen = [window for owner in owners for window in windows.get(owner, ())]
    return [
        (
            window,
            Program(
                index=first_index + i,
                verb=Verb.RUN,
                leg=Leg.ARMED,
                steps=(Step(window.owner, entry, (window.address, window.length // 4)),),
                limit_us=READ_US,
            ),
        )
        for i, window in enumerate(chosen)
    ]


def victim_says(window: Window, observation: Observation) -> str:
    """ "" when the victim read its canaries as they were; else what is wrong."""
    if observation.outcome is not Outcome.RETURNED:
        return f"the victim could not read its own canaries at {window.address:#010x}: {observation.outcome.name}"
    expected = expected_hash(window.seed, window.length)
    if observation.regs[0] != expected:
        return (
            f"the victim's canaries at {window.address:#010x}+{window.length:#x} hash to {observation.regs[0]:#010x}, "
            f"not {expected:#010x}"
        )
    return ""


def host_says(window: Window, read: Callable[[int, int], bytes], spare: range = NOTHING) -> str:
    """The same through the host's own view of the RAM; names the first byte that differs, those in `spare` aside."""
    seen = read(window.address, window.length)
    expected = stream(window.seed, window.length)
    if seen == expected:
        return ""
    changed = (i for i, (a, b) in enumerate(zip(seen, expected, strict=True)) if a != b)
    at = next((i for i in changed if window.address + i not in spare), None)
    if at is None:
        return ""
    return f"canary byte at {window.address + at:#010x} is {seen[at]:#04x}, not {expected[at]:#04x} (read by the host)"
