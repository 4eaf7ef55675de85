# SPDX-License-Identifier: Apache-2.0
"""Which native address an access of lowered code really touches, for each lowering, and the way back.

Measured on the code of synth 0.89.0 (Arm `cortex-m4`, RV32) and wasm2c 1.0.42 with this rig's `wasm-rt.h`:

| lowering | address of the first byte |
|---|---|
| none, wasm2c | (base + index + offset) mod 2^32, no check |
| mask | e = (index + offset) mod 2^32, then e AND (size - 1), then min(e, size - width); base + e |
| software | trap unless index + offset + width ≤ size, exactly as wasm; base + index + offset |

A 64-bit access is two 32-bit ones on synth, the lower address first; the formula gives the lower.
"""

from __future__ import annotations

from enum import Enum

M32 = 0xFFFF_FFFF
NO_CHECK = frozenset(("synth", "synth-none", "wasm2c"))


class Trap(Enum):
    """The lowered code itself stops the access."""

    OUT_OF_BOUNDS = "out of bounds"


def native_address(lowering: str, base: int, memory_size: int, index: int, offset: int, width: int) -> int | Trap:
    """Native address of an access of `width` bytes at wasm index `index` with static offset `offset`.

    `lowering`: "synth" or "synth-none", "synth-mask", "synth-software", "wasm2c". ValueError for any other, and for
    mask with a memory that is no power of two (synth refuses those).
    """
    if lowering in NO_CHECK:
        return (base + index + offset) & M32
    if lowering == "synth-mask":
        _power_of_two(memory_size)
        masked = (index + offset) & (memory_size - 1)
        return (base + min(masked, memory_size - width)) & M32
    if lowering == "synth-software":
        if (index & M32) + offset + width > memory_size:
            return Trap.OUT_OF_BOUNDS
        return (base + index + offset) & M32
    raise ValueError(f"unknown lowering {lowering!r}")


def index_for(lowering: str, base: int, memory_size: int, target: int, offset: int, width: int) -> int | None:
    """A wasm index with which the access touches `target`; None when no index does under this lowering."""
    index = (target - base - offset) & M32
    return index if native_address(lowering, base, memory_size, index, offset, width) == target & M32 else None


def _power_of_two(size: int) -> None:
    if size <= 0 or size & (size - 1):
        raise ValueError(f"mask needs a memory of a power of two, not {size} bytes")
