# SPDX-License-Identifier: Apache-2.0
"""Function bodies and constant expressions: bytes → instructions, with every index checked against its space."""

from __future__ import annotations

from typing import NamedTuple

from rig.image import opcodes as ops
from rig.image.leb import Cursor
from rig.image.model import FuncType
from rig.image.opcodes import Instruction

_CONST = frozenset(
    f"{t}.{o}" for t in ("i32", "i64") for o in ("add", "sub", "mul")
) | {"i32.const", "i64.const", "f32.const", "f64.const", "global.get", "ref.null", "ref.func"}  # fmt: skip
_VALUE_TYPE_BYTES = frozenset((0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x70, 0x6F))


class Limits(NamedTuple):
    """Sizes of the index spaces."""

    types: int
    functions: int
    tables: int
    memories: int
    globals: int
    elements: int
    data: int


def decode_body(
    c: Cursor, base: int, limits: Limits, locals_: int, types: tuple[FuncType, ...]
) -> tuple[Instruction, ...]:
    """All instructions up to the end of the body; offsets are relative to `base` (payload of the code section)."""
    out: list[Instruction] = []
    nesting = ["function"]
    while nesting:
        at = c.pos
        op, imm = _one(c, limits, locals_, types, len(nesting))
        if op in ("block", "loop", "if"):
            nesting.append(op)
        elif op == "else":
            if nesting[-1] != "if":
                c.fail("else without if", at)
            nesting[-1] = "else"
        elif op == "end":
            nesting.pop()
        out.append(Instruction(at - base, c.pos - base, op, imm))
    c.done("function body")
    return tuple(out)


def decode_const(c: Cursor, globals_: int, functions: int) -> tuple[Instruction, ...]:
    """A constant expression without its `end` (extended constants included)."""
    out: list[Instruction] = []
    limits = Limits(0, functions, 0, 0, globals_, 0, 0)
    while True:
        at = c.pos
        op, imm = _one(c, limits, 0, (), 1)
        if op == "end":
            return tuple(out)
        if op not in _CONST:
            c.fail(f"{op} in a constant expression", at)
        out.append(Instruction(at, c.pos, op, imm))


def _one(
    c: Cursor, limits: Limits, locals_: int, types: tuple[FuncType, ...], depth: int
) -> tuple[str, tuple[int, ...]]:
    at, code = c.pos, c.u8()
    if code == 0xFC:
        sub = c.u32()
        name, shape = ops.PREFIXED.get(sub, ("", -1))
    else:
        name, shape = ops.OPCODES.get(code, ("", -1))
    if shape < 0:
        c.fail(f"instruction {c.data[at : c.pos].hex()} (SIMD, threads, exceptions and the like are not supported)", at)
    if shape == ops.NONE:
        return name, ()
    if shape == ops.LOCAL:
        local = c.u32()
        if local >= locals_:
            c.fail(f"{name} names local {local} of {locals_}", at)
        return name, (local,)

    def index(space: int, what: str) -> int:
        i = c.u32()
        if i >= space:
            c.fail(f"{name} names {what} {i} of {space}", at)
        return i

    match shape:
        case ops.I32:
            return name, (c.signed(32),)
        case ops.MEMARG:
            return name, _memarg(c, limits, at)
        case ops.GLOBAL:
            return name, (index(limits.globals, "global"),)
        case ops.FUNC:
            return name, (index(limits.functions, "function"),)
        case ops.LABEL:
            return name, (index(depth, "label"),)
        case ops.BLOCK:
            return name, _block_type(c, types, at)
        case ops.LABELS:
            return name, tuple([index(depth, "label") for _ in range(c.count("labels") + 1)])
        case ops.CALL_INDIRECT:
            return name, (index(limits.types, "type"), index(limits.tables, "table"))
        case ops.I64:
            return name, (c.signed(64),)
        case ops.F32:
            return name, (c.fixed(4),)
        case ops.F64:
            return name, (c.fixed(8),)
        case ops.TABLE:
            return name, (index(limits.tables, "table"),)
        case ops.MEMORY:
            return name, (index(limits.memories, "memory"),)
        case ops.MEM_COPY:
            return name, (index(limits.memories, "memory"), index(limits.memories, "memory"))
        case ops.MEM_INIT:
            return name, (index(limits.data, "data segment"), index(limits.memories, "memory"))
        case ops.DATA:
            return name, (index(limits.data, "data segment"),)
        case ops.ELEM:
            return name, (index(limits.elements, "element segment"),)
        case ops.TABLE_INIT:
            return name, (index(limits.elements, "element segment"), index(limits.tables, "table"))
        case ops.TABLE_COPY:
            return name, (index(limits.tables, "table"), index(limits.tables, "table"))
        case ops.REFTYPE:
            return name, (_value_type(c),)
        case _:  # ops.TYPES: typed select
            return name, tuple([_value_type(c) for _ in range(c.count("types"))])


def _memarg(c: Cursor, limits: Limits, at: int) -> tuple[int, int, int]:
    flags = c.u32()
    memory = c.u32() if flags & 0x40 else 0  # multi-memory: bit 6 of the alignment says that an index follows
    if memory >= limits.memories:
        c.fail(f"access to memory {memory} of {limits.memories}", at)
    if flags & ~0x40 > 4:
        c.fail(f"alignment 2^{flags & ~0x40}", at)
    return flags & ~0x40, memory, c.u32()


def _block_type(c: Cursor, types: tuple[FuncType, ...], at: int) -> tuple[int, int]:
    code = c.signed(33)
    if code == -64:
        return 0, 0
    if code < 0:
        if code + 0x80 not in _VALUE_TYPE_BYTES:
            c.fail("unknown block type", at)
        return 0, 1
    if code >= len(types):
        c.fail(f"block of type {code} of {len(types)}", at)
    return len(types[code].params), len(types[code].results)


def _value_type(c: Cursor) -> int:
    code = c.u8()
    if code not in _VALUE_TYPE_BYTES:
        c.fail(f"unknown value type {code:#x}", c.pos - 1)
    return code
