# SPDX-License-Identifier: Apache-2.0
"""A small strict reader of core wasm modules (core specification 2.0, section 5; multi-memory; custom page sizes).

Checks everything this rig relies on: lengths, order of sections, index spaces, nesting. It does not type-check the
operand stack. Whatever is wrong is a `UsageError` that names file and byte offset; time and memory are linear in the
file. There is no maintained Python reader that knows multi-memory and instruction offsets, hence this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rig.errors import UsageError
from rig.image.decode import Limits, decode_body, decode_const
from rig.image.leb import Cursor
from rig.image.model import FuncType
from rig.image.module import (
    Body,
    Custom,
    DataSegment,
    ElementSegment,
    Export,
    GlobalType,
    Import,
    MemoryType,
    Module,
    TableType,
)

MAX_BYTES = 16 << 20  # far above any image for a microcontroller; keeps a hostile file from costing minutes
MAX_LOCALS = 50_000  # as in the engines
VALUE_TYPES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128", 0x70: "funcref", 0x6F: "externref"}
KINDS = ("func", "table", "memory", "global")
SECTION_ORDER = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11)

T = TypeVar("T")


def parse_module(data: bytes, name: str) -> Module:
    """Read one core module. Errors: UsageError, with `name` and the byte offset."""
    if len(data) > MAX_BYTES:
        raise UsageError(f"{name}: {len(data)} bytes; the limit for a module is {MAX_BYTES}")
    if data[:4] != b"\0asm":
        raise UsageError(f"{name}: not a WebAssembly file (it does not begin with \\0asm)")
    if data[4:8] == b"\x0d\0\x01\0":
        raise UsageError(f"{name}: a component where a core module was expected; fuse it first (meld fuse)")
    if data[4:8] != b"\1\0\0\0":
        raise UsageError(f"{name}: WebAssembly version {data[4:8].hex()} where 01000000 was expected")
    return _Parser(data, name).run()


class _Parser:
    """State while a module is read; sections in file order."""

    def __init__(self, data: bytes, name: str) -> None:
        self.cursor = Cursor(data, name, 8)
        self.name, self.data = name, data
        self.types: tuple[FuncType, ...] = ()
        self.imports: list[Import] = []
        self.functions: list[int] = []
        self.tables: list[TableType] = []
        self.memories: list[MemoryType] = []
        self.globals: list[GlobalType] = []
        self.exports: tuple[Export, ...] = ()
        self.start: int | None = None
        self.elements: tuple[ElementSegment, ...] = ()
        self.bodies: tuple[Body, ...] = ()
        self.segments: tuple[DataSegment, ...] = ()
        self.customs: list[Custom] = []
        self.section_order: list[int] = []
        self.data_count: int | None = None

    def run(self) -> Module:
        reached = -1
        readers: dict[int, Callable[[Cursor], None]] = {
            1: self.read_types, 2: self.read_imports, 3: self.read_functions, 4: self.read_tables,
            5: self.read_memories, 6: self.read_globals, 7: self.read_exports, 8: self.read_start,
            9: self.read_elements, 10: self.read_code, 11: self.read_data, 12: self.read_data_count,
        }  # fmt: skip
        while self.cursor.left:
            start = self.cursor.pos
            kind = self.cursor.u8()
            section = self.cursor.sub(self.cursor.u32())
            self.section_order.append(kind)
            if kind == 0:
                title = section.name()
                self.customs.append(Custom(title, section.take(section.left), start, section.end))
                continue
            if kind not in readers:
                self.cursor.fail(f"unknown section {kind}", start)
            place = SECTION_ORDER.index(kind)
            if place <= reached:
                self.cursor.fail(f"section {kind} is twice there or out of order", start)
            reached = place
            readers[kind](section)
            section.done(f"section {kind}")
        if len(self.functions) - sum(i.kind == "func" for i in self.imports) != len(self.bodies):
            self.cursor.fail("number of functions and of bodies differ")
        if self.data_count is not None and self.data_count != len(self.segments):
            self.cursor.fail("announced and real number of data segments differ")
        return Module(
            self.name, self.data, self.types, tuple(self.imports), tuple(self.functions), tuple(self.tables),
            tuple(self.memories), tuple(self.globals), self.exports, self.start, self.elements, self.bodies,
            self.segments, tuple(self.customs), tuple(self.section_order),
        )  # fmt: skip

    # -- pieces -------------------------------------------------------------------------------------------------

    @staticmethod
    def vector(c: Cursor, what: str, read: Callable[[], T]) -> tuple[T, ...]:
        return tuple([read() for _ in range(c.count(what))])

    def value_type(self, c: Cursor) -> str:
        at, code = c.pos, c.u8()
        if code not in VALUE_TYPES:
            c.fail(f"unknown value type {code:#x}", at)
        return VALUE_TYPES[code]

    def index(self, c: Cursor, space: int, what: str) -> int:
        at, i = c.pos, c.u32()
        if i >= space:
            c.fail(f"{what} {i} of {space}", at)
        return i

    def limits(self, c: Cursor, page_sizes: bool) -> MemoryType:
        at, flags = c.pos, c.u8()
        if flags & ~(0x09 if page_sizes else 0x01):
            c.fail(f"limits {flags:#x} (shared or 64-bit) are not supported", at)
        minimum = c.u32()
        maximum = c.u32() if flags & 1 else None
        page = 1 << 16
        if flags & 8:
            at, exponent = c.pos, c.u32()
            if exponent not in (0, 16):
                c.fail(f"page size 2^{exponent}", at)
            page = 1 << exponent
        if minimum * page > 1 << 32 or (maximum is not None and maximum < minimum):
            c.fail("impossible limits", at)
        return MemoryType(minimum, maximum, page)

    def table_type(self, c: Cursor) -> TableType:
        type_ = self.value_type(c)
        if type_ not in ("funcref", "externref"):
            c.fail(f"table of {type_}")
        limits = self.limits(c, page_sizes=False)
        return TableType(type_, limits.minimum, limits.maximum)

    def global_type(self, c: Cursor) -> tuple[str, bool]:
        type_ = self.value_type(c)
        at, flag = c.pos, c.u8()
        if flag > 1:
            c.fail("mutability is neither 0 nor 1", at)
        return type_, bool(flag)

    def const(self, c: Cursor) -> int | None:
        """Value of a constant expression as an unsigned bit pattern; None when it needs an imported global."""
        at, stack, wide = c.pos, list[int | None](), False
        for ins in decode_const(c, len(self.globals), len(self.functions)):
            wide |= ins.op[:3] in ("i64", "f64")
            if ins.op.endswith(".const"):
                stack.append(ins.imm[0])
            elif ins.op == "global.get":
                source = self.globals[ins.imm[0]]
                wide |= source.type in ("i64", "f64")
                stack.append(source.init)
            elif ins.op.startswith("ref."):
                stack.append(0)
            elif len(stack) < 2:
                c.fail("constant expression takes from an empty stack", at)
            else:
                right, left = stack.pop(), stack.pop()
                stack.append(None if right is None or left is None else _fold(ins.op[4:], left, right))
        if len(stack) != 1:
            c.fail("constant expression without one value", at)
        return None if stack[0] is None else stack[0] & (0xFFFF_FFFF_FFFF_FFFF if wide else 0xFFFF_FFFF)

    # -- sections -----------------------------------------------------------------------------------------------

    def read_types(self, c: Cursor) -> None:
        def one() -> FuncType:
            if c.u8() != 0x60:
                c.fail("only function types are supported", c.pos - 1)
            params = self.vector(c, "parameters", lambda: self.value_type(c))
            return FuncType(params, self.vector(c, "results", lambda: self.value_type(c)))

        self.types = self.vector(c, "types", one)

    def read_imports(self, c: Cursor) -> None:
        for _ in range(c.count("imports")):
            module, title, at, kind = c.name(), c.name(), c.pos, c.u8()
            if kind > 3:
                c.fail(f"import of kind {kind}", at)
            spaces = (len(self.functions), len(self.tables), len(self.memories), len(self.globals))
            self.imports.append(Import(module, title, KINDS[kind], spaces[kind]))
            if kind == 0:
                self.functions.append(self.index(c, len(self.types), "type"))
            elif kind == 1:
                self.tables.append(self.table_type(c))
            elif kind == 2:
                self.memories.append(self.limits(c, page_sizes=True))
            else:
                self.globals.append(GlobalType(*self.global_type(c), None))

    def read_functions(self, c: Cursor) -> None:
        self.functions += self.vector(c, "functions", lambda: self.index(c, len(self.types), "type"))

    def read_tables(self, c: Cursor) -> None:
        self.tables += self.vector(c, "tables", lambda: self.table_type(c))

    def read_memories(self, c: Cursor) -> None:
        self.memories += self.vector(c, "memories", lambda: self.limits(c, page_sizes=True))

    def read_globals(self, c: Cursor) -> None:
        for _ in range(c.count("globals")):
            self.globals.append(GlobalType(*self.global_type(c), self.const(c)))

    def read_exports(self, c: Cursor) -> None:
        spaces = (self.functions, self.tables, self.memories, self.globals)

        def one() -> Export:
            title, at, kind = c.name(), c.pos, c.u8()
            if kind > 3:
                c.fail(f"export of kind {kind}", at)
            return Export(title, KINDS[kind], self.index(c, len(spaces[kind]), KINDS[kind]))

        self.exports = self.vector(c, "exports", one)
        if len({e.name for e in self.exports}) != len(self.exports):
            c.fail("two exports have one name")

    def read_start(self, c: Cursor) -> None:
        self.start = self.index(c, len(self.functions), "function")

    def read_elements(self, c: Cursor) -> None:
        def function() -> int:
            return self.index(c, len(self.functions), "function")

        def expression() -> int | None:
            code = decode_const(c, len(self.globals), len(self.functions))
            if len(code) != 1 or code[0].op not in ("ref.func", "ref.null"):
                c.fail("element is no function reference")
            return code[0].imm[0] if code[0].op == "ref.func" else None

        def one() -> ElementSegment:
            at, flags = c.pos, c.u32()
            if flags > 7:
                c.fail(f"element segment of kind {flags}", at)
            active, explicit, expressions = not flags & 1, flags & 2, flags & 4
            table = self.index(c, len(self.tables), "table") if active and explicit else 0 if active else None
            if table is not None and table >= len(self.tables):
                c.fail("element segment without a table", at)
            offset = self.const(c) if active else None
            if flags & 3:  # a type or kind byte stands there
                c.u8()
            functions = self.vector(c, "elements", expression if expressions else function)
            return ElementSegment(table, offset, functions)

        self.elements = self.vector(c, "element segments", one)

    def read_data_count(self, c: Cursor) -> None:
        self.data_count = c.u32()

    def read_code(self, c: Cursor) -> None:
        base, first = c.pos, sum(i.kind == "func" for i in self.imports)
        limits = Limits(
            len(self.types), len(self.functions), len(self.tables), len(self.memories), len(self.globals),
            len(self.elements), self.data_count or 0,
        )  # fmt: skip
        bodies = []
        for k in range(c.count("bodies")):
            function = first + k
            if function >= len(self.functions):
                c.fail("more bodies than functions")
            body = c.sub(c.u32())
            start, total, declared = body.pos - base, 0, list[str]()
            for _ in range(body.count("local runs")):
                at, run = body.pos, body.u32()
                total += run
                if total > MAX_LOCALS:
                    body.fail(f"more than {MAX_LOCALS} locals", at)
                declared += [self.value_type(body)] * run
            params = len(self.types[self.functions[function]].params)
            code = decode_body(body, base, limits, params + total, self.types)
            bodies.append(Body(function, start, body.end - base, tuple(declared), code))
        self.bodies = tuple(bodies)

    def read_data(self, c: Cursor) -> None:
        base = c.pos

        def one() -> DataSegment:
            at, flags = c.pos, c.u32()
            if flags > 2:
                c.fail(f"data segment of kind {flags}", at)
            memory = None if flags == 1 else self.index(c, len(self.memories), "memory") if flags == 2 else 0
            if memory is not None and memory >= len(self.memories):
                c.fail("data segment without a memory", at)
            offset = self.const(c) if memory is not None else None
            size = c.u32()
            where = c.pos - base
            return DataSegment(memory, offset, c.take(size), where)

        self.segments = self.vector(c, "data segments", one)


def _fold(op: str, left: int, right: int) -> int:
    value = left + right if op == "add" else left - right if op == "sub" else left * right
    return value & 0xFFFF_FFFF_FFFF_FFFF  # keeps a hostile chain of products small
