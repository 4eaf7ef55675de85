# SPDX-License-Identifier: Apache-2.0
"""Loads and stores in a piece of machine code: where the program counter may be when a lowered wasm access faults.

Thumb-2 of Armv7-M (DDI0403E chapter A5) and RV32 IMAFDC (unprivileged specification, chapter 24 and the C extension).
Accesses relative to SP or PC are left out: no lowering addresses a linear memory through them. Literal pools are
decoded like code, so the answer may hold a few places that never execute, never too few.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rig.arch.types import Kind

_SP, _PC = 13, 15
_RV_SP = 2


class MemoryInstruction(NamedTuple):
    pc: int
    kind: Kind
    size: int  # bytes of one beat
    words: int = 1  # beats
    form: str = ""  # "dual": LDRD, STRD; "double": a D register through memory

    @property
    def width(self) -> int:
        return self.size * self.words


def thumb2(code: bytes, start: int) -> Iterator[MemoryInstruction]:
    """The loads and stores of `code`, which lies at `start` (even). A cut last instruction is ignored."""
    at = 0
    while at + 2 <= len(code):
        first = int.from_bytes(code[at : at + 2], "little")
        if first >> 11 not in (0b11101, 0b11110, 0b11111):
            found, length = _narrow(first), 2
        elif at + 4 > len(code):
            return
        else:
            found, length = _wide(first, int.from_bytes(code[at + 2 : at + 4], "little")), 4
        if found:
            yield MemoryInstruction(start + at, *found)
        at += length


_Found = tuple[Kind, int, int] | tuple[Kind, int, int, str] | None
_REGISTER = ((Kind.WRITE, 4), (Kind.WRITE, 2), (Kind.WRITE, 1), (Kind.READ, 1),
             (Kind.READ, 4), (Kind.READ, 2), (Kind.READ, 1), (Kind.READ, 2))  # fmt: skip


def _narrow(op: int) -> _Found:
    if op >> 12 == 0b0101:  # register offset
        kind, size = _REGISTER[op >> 9 & 7]
        return kind, size, 1
    if op >> 13 == 0b011 or op >> 12 == 0b1000:  # immediate offset: word, byte, halfword
        size = {0b0110: 4, 0b0111: 1, 0b1000: 2}[op >> 12]
        return (Kind.READ if op >> 11 & 1 else Kind.WRITE), size, 1
    if op >> 12 == 0b1100 and op & 0xFF:  # LDM, STM
        return (Kind.READ if op >> 11 & 1 else Kind.WRITE), 4, (op & 0xFF).bit_count()
    return None


def _wide(op: int, second: int) -> _Found:
    base, load = op & 15, bool(op & 0x10)
    kind = Kind.READ if load else Kind.WRITE
    if base in (_SP, _PC):
        return None
    if op >> 9 == 0b1111100:  # one register
        size = op >> 5 & 3
        if size == 3 or (not load and op & 0x100) or (load and size < 2 and second >> 12 == 15):  # undefined, hints
            return None
        return kind, 1 << size, 1
    if op >> 9 == 0b1110100:
        if not op & 0x40:  # LDM, STM
            return (kind, 4, second.bit_count()) if second and op >> 7 & 3 in (1, 2) else None
        if op & 0x120:  # P or W: LDRD, STRD
            return kind, 4, 2, "dual"
        if not op & 0x80:  # LDREX, STREX
            return kind, 4, 1
        size = second >> 4 & 15
        return (kind, {4: 1, 5: 2}[size], 1) if size in (4, 5) else None  # LDREXB/H, STREXB/H; else table branch
    if op >> 9 == 0b1110110 and second >> 9 & 7 == 0b101 and op & 0x1A0:  # floating point; P = U = W = 0 is VMOV
        double = "double" if second & 0x100 else ""
        if op & 0x100 and not op & 0x20:  # VLDR, VSTR
            return kind, 4, 2 if double else 1, double
        return kind, 4, max(1, second & 0xFF), double
    return None


def rv32(code: bytes, start: int) -> Iterator[MemoryInstruction]:
    """The loads and stores of RV32 code at `start`."""
    at = 0
    while at + 2 <= len(code):
        first = int.from_bytes(code[at : at + 2], "little")
        if first & 3 != 3:
            found, length = _compressed(first), 2
        elif at + 4 > len(code):
            return
        else:
            found, length = _full(int.from_bytes(code[at : at + 4], "little")), 4
        if found:
            yield MemoryInstruction(start + at, *found)
        at += length


_QUADRANT0 = {0b001: (Kind.READ, 8), 0b010: (Kind.READ, 4), 0b011: (Kind.READ, 4),
              0b101: (Kind.WRITE, 8), 0b110: (Kind.WRITE, 4), 0b111: (Kind.WRITE, 4)}  # fmt: skip
_LOADS = {0: 1, 1: 2, 2: 4, 4: 1, 5: 2}
_STORES = {0: 1, 1: 2, 2: 4}
_FLOATS = {2: 4, 3: 8}


def _compressed(op: int) -> tuple[Kind, int] | None:
    return _QUADRANT0.get(op >> 13) if op & 3 == 0 and op else None


def _full(op: int) -> tuple[Kind, int] | None:
    opcode, funct3 = op & 0x7F, op >> 12 & 7
    if op >> 15 & 31 == _RV_SP:
        return None
    if opcode in (0x03, 0x07):
        size = (_LOADS if opcode == 0x03 else _FLOATS).get(funct3)
        return (Kind.READ, size) if size else None
    if opcode in (0x23, 0x27):
        size = (_STORES if opcode == 0x23 else _FLOATS).get(funct3)
        return (Kind.WRITE, size) if size else None
    if opcode == 0x2F and funct3 == 2:
        return (Kind.READ if op >> 27 == 0b00010 else Kind.WRITE), 4
    return None
