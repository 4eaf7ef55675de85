# SPDX-License-Identifier: Apache-2.0
"""RISC-V PMP (privileged spec, "Physical Memory Protection") with Smepmp 1.0 as pure functions.

Addresses and sizes are bytes; `pmpaddr` values are words of 4 bytes as the CSRs hold them. XLEN is 32 or 64, the
grain G means 2^(G+2) bytes. `decide` walks the entries in priority order; `grants` is interval arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class Mode(IntEnum):
    """pmpcfg.A"""

    OFF = 0
    TOR = 1
    NA4 = 2
    NAPOT = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One PMP entry: pmpcfg byte taken apart and its pmpaddr word (address >> 2)."""

    mode: Mode
    addr: int
    r: bool = False
    w: bool = False
    x: bool = False
    locked: bool = False


def encode(entry: Entry) -> tuple[int, int]:
    """(pmpcfg byte, pmpaddr word)."""
    cfg = int(entry.r) | int(entry.w) << 1 | int(entry.x) << 2 | entry.mode << 3 | int(entry.locked) << 7
    return cfg, entry.addr


def decode(cfg: int, addr: int) -> Entry:
    """The entry these values describe. Bits 5 and 6 of cfg are reserved and ignored."""
    return Entry(Mode(cfg >> 3 & 3), addr, bool(cfg & 1), bool(cfg & 2), bool(cfg & 4), bool(cfg & 0x80))


def granule(grain: int) -> int:
    """Bytes of the smallest range: 2^(G+2)."""
    return 4 << grain


def napot(base: int, size: int) -> int:
    """pmpaddr of a naturally aligned power-of-two range of at least 8 bytes. Anything else is a ValueError."""
    if size < 8 or size & (size - 1) or base % size:
        raise ValueError(f"NAPOT [{base:#x}, {base + size:#x}): size {size:#x} must be a power of two >= 8 "
                         f"and base a multiple of it (base % size = {base % size if size else base:#x})")
    return base >> 2 | (size // 2 - 1) >> 2


def tor(start: int, end: int) -> tuple[int, int]:
    """(pmpaddr[i-1], pmpaddr[i]) of a TOR range over [start, end)."""
    if start % 4 or end % 4 or not 0 <= start < end:
        raise ValueError(f"TOR [{start:#x}, {end:#x}): both bounds must be multiples of 4 and start < end")
    return start >> 2, end >> 2


def pack_cfg(cfgs: Sequence[int], xlen: int = 32) -> tuple[int, ...]:
    """pmpcfg bytes -> CSR words, lowest entry in the lowest byte: 4 per word on RV32, 8 on RV64 (even pmpcfg only)."""
    step = xlen // 8
    return tuple(int.from_bytes(bytes(cfgs[i : i + step]), "little") for i in range(0, len(cfgs), step))


def unpack_cfg(words: Sequence[int], count: int, xlen: int = 32) -> tuple[int, ...]:
    """CSR words -> the first `count` pmpcfg bytes."""
    data = b"".join(word.to_bytes(xlen // 8, "little") for word in words)
    if len(data) < count:
        raise ValueError(f"pmpcfg: {len(words)} words hold {len(data)} entries, {count} wanted")
    return tuple(data[:count])


def read_back(cfg: int, addr: int, grain: int) -> int:
    """What pmpaddr reads after `addr` was written under `cfg`: low bits depend on the mode when G >= 1."""
    if cfg & 0x10:  # NA4, NAPOT
        return addr | ((1 << grain - 1) - 1 if grain >= 2 else 0)
    return addr & ~((1 << grain) - 1)
