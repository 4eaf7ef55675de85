# SPDX-License-Identifier: Apache-2.0
"""RISC-V PMP (privileged spec, "Physical Memory Protection") with Smepmp 1.0 as pure functions.

Addresses and sizes are bytes; `pmpaddr` values are words of 4 bytes as the CSRs hold them. XLEN is 32 or 64, the
grain G means 2^(G+2) bytes. `decide` walks the entries in priority order; `grants` is interval arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

from rig.arch.types import NO_FAULT, Access, Decision, Intervals, Kind, Syndrome, Unpredictable

MML, MMWP, RLB = 1, 2, 4  # mseccfg


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


def span(entries: Sequence[tuple[int, int]], index: int, grain: int) -> tuple[int, int]:
    """[first, end) in bytes that entry `index` of (cfg, pmpaddr) pairs matches; (0, 0) when it matches nothing.

    TOR takes its lower bound from the entry below whatever that entry's own mode; low bits below the grain are
    ignored in both bounds. NAPOT reads them as ones.
    """
    cfg, addr = entries[index]
    mode = Mode(cfg >> 3 & 3)
    if mode is Mode.TOR:
        keep = ~((1 << grain) - 1)
        low = (entries[index - 1][1] & keep) << 2 if index else 0
        high = (addr & keep) << 2
        return (low, high) if low < high else (0, 0)
    if mode is Mode.NA4:
        return addr << 2, (addr << 2) + 4
    if mode is Mode.NAPOT:
        addr = read_back(cfg, addr, grain)
        ones = (addr ^ addr + 1).bit_length() - 1  # trailing ones
        base = addr >> ones << ones << 2
        return base, base + (8 << ones)
    return 0, 0


Misaligned = Literal["whole", "split", "trap"]


@dataclass(frozen=True)
class Context:
    """The PMP as read back: one cfg byte and one pmpaddr word per implemented entry; none: no PMP, all is allowed.

    `misaligned`: "whole" one check per access; "split" checks naturally aligned pieces of at most 4 bytes (a 32-bit
    bus: an aligned doubleword is two pieces); "trap" raises cause 0/4/6 before the PMP. Bad values: ValueError.
    """

    xlen: int
    grain: int
    cfg: tuple[int, ...]
    addr: tuple[int, ...]
    mseccfg: int = 0
    misaligned: Misaligned = "whole"

    def __post_init__(self) -> None:
        if self.xlen not in (32, 64):
            raise ValueError(f"xlen: {self.xlen} is neither 32 nor 64")
        if not 0 <= self.grain < self.width:
            raise ValueError(f"grain: {self.grain} is not in 0..{self.width - 1}")
        if len(self.cfg) != len(self.addr) or len(self.cfg) > 64:
            raise ValueError(f"cfg, addr: {len(self.cfg)} cfg bytes, {len(self.addr)} addresses; one each, at most 64")
        if self.misaligned not in ("whole", "split", "trap"):
            raise ValueError(f"misaligned: {self.misaligned!r} is none of whole, split, trap")
        for name, values, bits in (("cfg", self.cfg, 8), ("addr", self.addr, self.width)):
            for i, value in enumerate(values):
                if not 0 <= value < 1 << bits:
                    raise ValueError(f"{name}[{i}]: {value:#x} does not fit {bits} bits")

    @property
    def width(self) -> int:
        """Bits of a pmpaddr CSR: address[33:2] on RV32, address[55:2] on RV64."""
        return 32 if self.xlen == 32 else 54

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(decode(cfg, addr) for cfg, addr in zip(self.cfg, self.addr, strict=True))

    @cached_property
    def _rules(self) -> tuple[_Rule, ...]:
        return _rules(self.grain, self.cfg, self.addr, self.mseccfg & MML)

    def default(self, privileged: bool, kind: Kind) -> bool:
        """Is an access that no entry matches allowed? Step 5, and mseccfg MMWP and MML for M-mode."""
        if not self.cfg:
            return True
        if not privileged or self.mseccfg & MMWP:
            return False
        return not (self.mseccfg & MML and kind is Kind.EXECUTE)


class _Rule(NamedTuple):
    low: int
    high: int
    rights: tuple[frozenset[Kind], frozenset[Kind]]  # (S and U, M)
    reserved: Unpredictable | None


_KINDS = {"R": Kind.READ, "W": Kind.WRITE, "X": Kind.EXECUTE}
# Smepmp 1.0, MML = 1. Index: L R W X as a 4-bit number -> rights of (S and U, M)
MML_TABLE: tuple[tuple[str, str], ...] = (
    ("", ""), ("X", ""), ("R", "RW"), ("RW", "RW"), ("R", ""), ("RX", ""), ("RW", ""), ("RWX", ""),
    ("", ""), ("", "X"), ("X", "X"), ("X", "RX"), ("", "R"), ("", "RX"), ("", "RW"), ("R", "R"),
)  # fmt: skip


def _rights(cfg: int, mseccfg: int) -> tuple[frozenset[Kind], frozenset[Kind]]:
    """What (S and U, M) may do where this entry matches all bytes."""
    r, w, x, locked = cfg & 1, cfg >> 1 & 1, cfg >> 2 & 1, cfg >> 7
    if mseccfg & MML:
        lower, machine = MML_TABLE[locked << 3 | r << 2 | w << 1 | x]
    else:
        lower = "R" * r + "W" * w + "X" * x
        machine = lower if locked else "RWX"
    return frozenset(_KINDS[c] for c in lower), frozenset(_KINDS[c] for c in machine)


def _reserved(index: int, cfg: int, grain: int, mml: int) -> Unpredictable | None:
    if cfg & 0x18 == Mode.NA4 << 3 and grain:
        return Unpredictable("entry", index, f"NA4 is not selectable with grain {grain}")
    if cfg & 3 == 2 and not mml:
        return Unpredictable("entry", index, "R = 0, W = 1 is reserved while MML = 0")
    return None


@lru_cache(maxsize=4096)
def _rules(grain: int, cfgs: tuple[int, ...], addrs: tuple[int, ...], mml: int) -> tuple[_Rule, ...]:
    """The entries that match something, lowest first: the order in which they decide."""
    pairs = tuple(zip(cfgs, addrs, strict=True))
    spans = (span(pairs, i, grain) for i in range(len(pairs)))
    return tuple(_Rule(low, high, _rights(cfgs[i], mml), _reserved(i, cfgs[i], grain, mml))
                 for i, (low, high) in enumerate(spans) if low < high)


def _check(context: Context, start: int, end: int, access: Access) -> str | Unpredictable:
    """One check of [start, end): "" when allowed, else the clause that denies it, or what makes it unknown."""
    for rule in context._rules:
        if rule.low < end and start < rule.high:
            if rule.reserved:
                return rule.reserved
            if not (rule.low <= start and end <= rule.high):
                return "the deciding entry matches only some of the bytes"
            rights = rule.rights[access.privileged]
            if access.kind in rights and (not access.atomic or Kind.READ in rights):
                return ""
            return "the deciding entry does not permit it"
    return "" if context.default(access.privileged, access.kind) else "no entry matches"


_ALLOW = Decision(True, ())
_ACCESS_FAULT = {Kind.EXECUTE: "1", Kind.READ: "5", Kind.WRITE: "7"}
_FAILED_SC = ("Zalrsc, text of 20191213: a failed SC may be treated like a store, or not: nonzero rd, nothing written "
              "(later texts require the permission check)")
_MISALIGNED = {Kind.EXECUTE: "0", Kind.READ: "4", Kind.WRITE: "6"}


def decide(context: Context, access: Access) -> Decision:
    """Is this access allowed, and if not, in which ways may the trap show? `privileged` means checked as M-mode.

    An access that crosses 2^xlen is a ValueError.
    """
    if access.end > 1 << context.xlen:
        raise ValueError(f"access [{access.address:#x}, {access.end:#x}) crosses 2^{context.xlen}")
    for beat in range(access.address, access.end, access.size):
        misaligned = beat % access.size != 0
        if misaligned and context.misaligned == "trap":
            return Decision(False, (_syndrome(_MISALIGNED, access, beat, beat, "misaligned accesses trap first"),))
        if misaligned and (access.atomic or access.exclusive):
            clause = "atomics need natural alignment: either exception (A extension)"
            return Decision(False, tuple(_syndrome(causes, access, beat, beat, clause)
                                         for causes in (_MISALIGNED, _ACCESS_FAULT)))
        divisible = context.misaligned != "split" and (misaligned or access.size * 8 > context.xlen)
        denied: list[Syndrome] = []
        for start, end in _pieces(beat, beat + access.size, context.misaligned):
            answer = _check(context, start, end, access)
            if isinstance(answer, Unpredictable):
                return Decision(None, (), (str(answer),))
            if answer:
                last = _last_portion(context, start, end, access) if divisible else start
                denied.append(_syndrome(_ACCESS_FAULT, access, start, last, answer))
        if denied:
            if access.exclusive and access.kind is Kind.WRITE:
                denied.append(Syndrome(NO_FAULT, None, None, clause=_FAILED_SC))
            return Decision(False, tuple(denied))
    return _ALLOW


def _pieces(start: int, end: int, misaligned: Misaligned) -> tuple[tuple[int, int], ...]:
    """The checks one beat is made of."""
    if misaligned != "split":
        return ((start, end),)
    found: list[tuple[int, int]] = []
    while start < end:
        step = min(start & -start or 4, 4)
        while step > end - start:
            step //= 2
        found.append((start, start + step))
        start += step
    return tuple(found)


def _last_portion(context: Context, start: int, end: int, access: Access) -> int:
    """The highest address mtval may hold: "the address of the portion of the access that caused the fault".

    The portions are the implementation's, so any start counts from which the rest is still denied.
    """
    return max(at for at in range(start, end) if _check(context, at, end, access) != "")


def _syndrome(causes: dict[Kind, str], access: Access, first: int, last: int, clause: str) -> Syndrome:
    return Syndrome(causes[access.kind], first, last, zero_ok=True, clause=f"PMP: {clause}")


def grants(context: Context, privileged: bool, kind: Kind, size: int = 1) -> Intervals:
    """All addresses below 2^xlen at which an access of `size` bytes is allowed (not: unknown, see `unknown`).

    With misaligned = "trap" only the naturally aligned members count: the others trap before the PMP is asked.
    """
    allowed, _ = _map(context, privileged, kind, size)
    return allowed


def unknown(context: Context, privileged: bool, kind: Kind, size: int = 1) -> Intervals:
    """All addresses at which a reserved setting decides about an access of `size` bytes."""
    _, open_ = _map(context, privileged, kind, size)
    return open_


def _map(context: Context, privileged: bool, kind: Kind, size: int) -> tuple[Intervals, Intervals]:
    """Start addresses that are allowed and that are unknown, entry by entry in priority order."""
    space = 1 << context.xlen
    if context.misaligned == "split" and size > 1:
        allowed, open_ = _map(context, privileged, kind, 1)  # no boundary lies inside an aligned piece of <= 4 bytes
        reach = Intervals((max(0, a - size + 1), min(b, space - size + 1)) for a, b in open_)
        return allowed.starts(size), reach
    allowed, open_, free = Intervals(), Intervals(), Intervals.of((0, max(0, space - size + 1)))
    for low, high, rights, reserved in context._rules:
        touching = Intervals.of((max(0, low - size + 1), high)) & free
        if reserved:
            open_ |= touching
        elif kind in rights[privileged] and high - low >= size:
            allowed |= Intervals.of((low, high - size + 1)) & free
        free -= touching
    return (allowed | free if context.default(privileged, kind) else allowed), open_
