# SPDX-License-Identifier: Apache-2.0
"""What the agent fills at FRESH: zeroes everywhere, then (when a program asks) canaries where nothing else lives.

A canary stream: xorshift32 from the span's seed, one little-endian word per step (docs/internals.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from rig.errors import Refusal
from rig.image.model import Image, Owner
from rig.plan.extents import data_end, slice_span, stack_pointer
from rig.plan.geometry import up
from rig.plan.model import Kind, Placed, Placement
from rig.plan.place import TAIL
from rig.plan.tables import table_bytes_bound

ZERO, CANARY = 0, 1
MOST = 256  # spans the agent keeps
_ZEROED = (Kind.MEMORY, Kind.STACK, Kind.WINDOW, Kind.AGENT, Kind.SHARED, Kind.PAD)
_MARGIN = 4096  # bytes left above data in roomy memories, for what is zero-initialised there (.bss)


@dataclass(frozen=True, slots=True)
class Fill:
    """`address` and `length` are multiples of 4; `seed` is 0 for zeroes. `owner` None: the agent's bytes."""

    kind: int
    address: int
    length: int
    seed: int
    name: str  # "memory:1", "stack:3", "pad:0", "globals:4", "zero"
    owner: int | None = None

    @property
    def end(self) -> int:
        return self.address + self.length


def spans(image: Image, placement: Placement, nonce: int) -> tuple[Fill, ...]:
    """Zero spans, then canary spans; seeds derive from the nonce (never 0). Refusal when the agent has no room."""
    fills = [Fill(ZERO, start, end - start, 0, "zero") for start, end in _zeroed(placement)]
    for i, (name, owner, start, end) in enumerate(_canaries(image, placement)):
        fills.append(Fill(CANARY, start, end - start, _seed(nonce, i), name, owner))
    if len(fills) > MOST:
        raise Refusal("does not fit", f"{len(fills)} spans to initialise, the reference runtime has room for {MOST}")
    return tuple(fills)


def stream(seed: int, words: int) -> bytes:
    """The bytes a canary span holds."""
    out = bytearray()
    for _ in range(words):
        seed ^= seed << 13 & 0xFFFF_FFFF
        seed ^= seed >> 17
        seed ^= seed << 5 & 0xFFFF_FFFF
        out += seed.to_bytes(4, "little")
    return bytes(out)


def _seed(nonce: int, index: int) -> int:
    """32 bits that nobody guesses: from SHA-256 of nonce and span number; odd, so never 0."""
    digest = hashlib.sha256(f"canary {nonce} {index}".encode()).digest()
    return int.from_bytes(digest[:4], "little") | 1


def _zeroed(placement: Placement) -> list[tuple[int, int]]:
    """Everything placed in RAM but the mailbox, neighbours joined."""
    joined: list[tuple[int, int]] = []
    for placed in sorted((p for p in placement.objects if p.kind in _ZEROED), key=lambda p: p.start):
        start, end = placed.start, up(placed.region_end, 4)
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif start < end:
            joined.append((start, end))
    return joined


def _canaries(image: Image, placement: Placement) -> Iterator[tuple[str, int | None, int, int]]:
    for pad in placement.all(Kind.PAD):
        yield from ((pad.name, None, start, end) for start, end in _words(pad.start, pad.end))
    for owner in image.owners:
        stack = placement.find(f"stack:{owner.index}")
        yield stack.name, owner.index, stack.start, stack.start + placement.stack_size // 2
        yield f"globals:{owner.index}", owner.index, stack.end - TAIL, stack.end
        for memory in placement.all(Kind.MEMORY):
            if owner.slice is not None and owner.slice.memory == memory.index:
                for start, end in _unused(image, placement, owner, memory):
                    yield f"memory:{memory.index}", owner.index, start, end


def _unused(image: Image, placement: Placement, owner: Owner, memory: Placed) -> Iterator[tuple[int, int]]:
    """Bytes of the owner's slice that nothing initialises: below its first data (its idle shadow stack), and above
    data and stack. Function tables at memory 0's start are left alone. Native addresses, multiples of 4."""
    span = slice_span(owner)
    segments = [s.offset for s in image.segments if s.memory == memory.index and s.data and s.offset in span]
    top = stack_pointer(image, owner)
    inside = top is not None and span.start < top <= span.end
    first = min(segments, default=span.end)
    low = span.start
    if memory.index == 0 and span.start == 0 and image.tables:
        low += up(table_bytes_bound(image), 32)
    table = next((p for p in placement.all(Kind.TABLE)), None)
    if table is not None and span.start == 0:
        low = max(low, table.end - memory.start)
    high = max(data_end(image, owner), top if inside and top is not None else 0)
    start = up(high, _MARGIN) if span.end - high > 2 * _MARGIN else high
    below = min(first, top) if inside and top is not None else first
    if segments or inside:
        yield from _words(memory.start + low, memory.start + min(below, span.end))
        yield from _words(memory.start + start, memory.start + span.end)
    else:
        yield from _words(memory.start + low, memory.start + span.end)


def _words(start: int, end: int) -> Iterator[tuple[int, int]]:
    start, end = up(start, 4), end & ~3
    if end - start >= TAIL:
        yield start, end
