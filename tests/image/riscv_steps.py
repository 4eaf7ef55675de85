# SPDX-License-Identifier: Apache-2.0
"""Just enough RV32I to follow what synth makes of one load or store: which address it touches, or that it traps."""

from __future__ import annotations

M32 = 0xFFFF_FFFF


class Trapped(Exception):
    """ebreak."""


def signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def touched(code: bytes, start: int, a0: int, s11: int) -> int:
    """Address of the first load or store of the function at `start`, called with a0, memory base in s11."""
    x = [0] * 32
    x[10], x[27] = a0 & M32, s11 & M32
    pc = start
    for _ in range(64):
        w = int.from_bytes(code[pc : pc + 4], "little")
        op, rd, f3, rs1, rs2 = w & 0x7F, w >> 7 & 31, w >> 12 & 7, w >> 15 & 31, w >> 20 & 31
        imm_i = signed(w >> 20, 12)
        following = pc + 4
        value = None
        if op == 0x03:
            return (x[rs1] + imm_i) & M32
        if op == 0x23:
            return (x[rs1] + signed(w >> 25 << 5 | w >> 7 & 31, 12)) & M32
        if op == 0x37:
            value = w & 0xFFFF_F000
        elif op == 0x13 and f3 == 0:
            value = x[rs1] + imm_i
        elif op == 0x13 and f3 == 7:
            value = x[rs1] & imm_i
        elif op == 0x33 and f3 == 0:
            value = x[rs1] - x[rs2] if w >> 30 else x[rs1] + x[rs2]
        elif op == 0x33 and f3 == 7:
            value = x[rs1] & x[rs2]
        elif op == 0x63 and f3 in (6, 7):
            less = x[rs1] < x[rs2]
            offset = signed((w >> 31) << 12 | (w >> 7 & 1) << 11 | (w >> 25 & 0x3F) << 5 | (w >> 8 & 0xF) << 1, 13)
            following = pc + offset if less == (f3 == 6) else following
        elif op == 0x6F:
            offset = (w >> 31) << 20 | (w >> 12 & 0xFF) << 12 | (w >> 20 & 1) << 11 | (w >> 21 & 0x3FF) << 1
            value, following = pc + 4, pc + signed(offset, 21)
        elif w == 0x0010_0073:
            raise Trapped
        else:
            raise AssertionError(f"instruction {w:08x} at {pc:#x} is not known to this helper")
        if value is not None and rd:
            x[rd] = value & M32
        pc = following
    raise AssertionError("no access within 64 steps")
