# SPDX-License-Identifier: Apache-2.0
"""The instructions of core WebAssembly, as a table: opcode → (name, shape of its immediates).

Covers the MVP, sign extension, saturating conversions, bulk memory, reference types, multi-value, tail calls and
multi-memory (WebAssembly core specification 2.0, section 5.4; multi-memory proposal for the memory index).
SIMD, threads and exceptions are left out: neither lowering of this rig takes them.
"""

from __future__ import annotations

from typing import NamedTuple

# Shapes of immediates.
NONE, BLOCK, LABEL, LABELS, FUNC, CALL_INDIRECT, LOCAL, GLOBAL, TABLE, MEMARG, MEMORY = range(11)
I32, I64, F32, F64, REFTYPE, TYPES, DATA, MEM_INIT, MEM_COPY, ELEM, TABLE_INIT, TABLE_COPY = range(11, 23)

_PLAIN = """
45 i32.eqz i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u
50 i64.eqz i64.eq i64.ne i64.lt_s i64.lt_u i64.gt_s i64.gt_u i64.le_s i64.le_u i64.ge_s i64.ge_u
5b f32.eq f32.ne f32.lt f32.gt f32.le f32.ge f64.eq f64.ne f64.lt f64.gt f64.le f64.ge
67 i32.clz i32.ctz i32.popcnt i32.add i32.sub i32.mul i32.div_s i32.div_u i32.rem_s i32.rem_u i32.and i32.or i32.xor
74 i32.shl i32.shr_s i32.shr_u i32.rotl i32.rotr
79 i64.clz i64.ctz i64.popcnt i64.add i64.sub i64.mul i64.div_s i64.div_u i64.rem_s i64.rem_u i64.and i64.or i64.xor
86 i64.shl i64.shr_s i64.shr_u i64.rotl i64.rotr
8b f32.abs f32.neg f32.ceil f32.floor f32.trunc f32.nearest f32.sqrt f32.add f32.sub f32.mul f32.div f32.min f32.max
98 f32.copysign
99 f64.abs f64.neg f64.ceil f64.floor f64.trunc f64.nearest f64.sqrt f64.add f64.sub f64.mul f64.div f64.min f64.max
a6 f64.copysign
a7 i32.wrap_i64 i32.trunc_f32_s i32.trunc_f32_u i32.trunc_f64_s i32.trunc_f64_u i64.extend_i32_s i64.extend_i32_u
ae i64.trunc_f32_s i64.trunc_f32_u i64.trunc_f64_s i64.trunc_f64_u
b2 f32.convert_i32_s f32.convert_i32_u f32.convert_i64_s f32.convert_i64_u f32.demote_f64
b7 f64.convert_i32_s f64.convert_i32_u f64.convert_i64_s f64.convert_i64_u f64.promote_f32
bc i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64
c0 i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s
"""
_ACCESS = """
28 i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u
30 i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u
36 i32.store i64.store f32.store f64.store i32.store8 i32.store16 i64.store8 i64.store16 i64.store32
"""


def _rows(text: str, shape: int) -> dict[int, tuple[str, int]]:
    table: dict[int, tuple[str, int]] = {}
    for line in text.split("\n"):
        words = line.split()
        for k, name in enumerate(words[1:]):
            table[int(words[0], 16) + k] = (name, shape)
    return table


OPCODES: dict[int, tuple[str, int]] = {
    0x00: ("unreachable", NONE), 0x01: ("nop", NONE), 0x02: ("block", BLOCK), 0x03: ("loop", BLOCK),
    0x04: ("if", BLOCK), 0x05: ("else", NONE), 0x0B: ("end", NONE), 0x0C: ("br", LABEL), 0x0D: ("br_if", LABEL),
    0x0E: ("br_table", LABELS), 0x0F: ("return", NONE), 0x10: ("call", FUNC), 0x11: ("call_indirect", CALL_INDIRECT),
    0x12: ("return_call", FUNC), 0x13: ("return_call_indirect", CALL_INDIRECT), 0x1A: ("drop", NONE),
    0x1B: ("select", NONE), 0x1C: ("select", TYPES), 0x20: ("local.get", LOCAL), 0x21: ("local.set", LOCAL),
    0x22: ("local.tee", LOCAL), 0x23: ("global.get", GLOBAL), 0x24: ("global.set", GLOBAL), 0x25: ("table.get", TABLE),
    0x26: ("table.set", TABLE), 0x3F: ("memory.size", MEMORY), 0x40: ("memory.grow", MEMORY), 0x41: ("i32.const", I32),
    0x42: ("i64.const", I64), 0x43: ("f32.const", F32), 0x44: ("f64.const", F64), 0xD0: ("ref.null", REFTYPE),
    0xD1: ("ref.is_null", NONE), 0xD2: ("ref.func", FUNC),
    **_rows(_PLAIN, NONE), **_rows(_ACCESS, MEMARG),
}  # fmt: skip

# After the prefix byte 0xFC.
PREFIXED: dict[int, tuple[str, int]] = {
    **{k: (f"{t}.trunc_sat_{f}_{s}", NONE) for k, (t, f, s) in enumerate(
        (t, f, s) for t in ("i32", "i64") for f in ("f32", "f64") for s in ("s", "u"))},
    8: ("memory.init", MEM_INIT), 9: ("data.drop", DATA), 10: ("memory.copy", MEM_COPY), 11: ("memory.fill", MEMORY),
    12: ("table.init", TABLE_INIT), 13: ("elem.drop", ELEM), 14: ("table.copy", TABLE_COPY), 15: ("table.grow", TABLE),
    16: ("table.size", TABLE), 17: ("table.fill", TABLE),
}  # fmt: skip

LOADS = frozenset(name for name, shape in OPCODES.values() if shape == MEMARG and ".load" in name)
STORES = frozenset(name for name, shape in OPCODES.values() if shape == MEMARG and ".store" in name)


class Shape(NamedTuple):
    """What a load or store moves: value type on the wasm stack and width in memory (bytes)."""

    type: str
    width: int


def access_shape(op: str) -> Shape:
    """Type and width of a load or store, from its name: "i64.load32_u" → ("i64", 4)."""
    type_, rest = op.split(".")
    digits = "".join(c for c in rest.split("_")[0] if c.isdigit())
    return Shape(type_, int(digits) // 8 if digits else 8 if type_.endswith("64") else 4)


class Instruction(NamedTuple):
    """One decoded instruction. `at`, `end`: byte offsets inside the payload of the code section, half open.

    `imm` by operator: constants: (value,), integers signed, floats as bit pattern · loads and stores: (align, memory,
    offset) · memory.copy: (destination, source) · call_indirect: (type, table) · block, loop, if: (parameters, results)
    as counts · br_table: all labels, default last · everything else: its indexes as written.
    """

    at: int
    end: int
    op: str
    imm: tuple[int, ...] = ()
