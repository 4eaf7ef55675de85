# SPDX-License-Identifier: Apache-2.0
"""A core wasm module as values: what `rig.image.wasm.parse_module` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from rig.errors import UsageError
from rig.image.model import FuncType
from rig.image.opcodes import Instruction


@dataclass(frozen=True, slots=True)
class Import:
    module: str
    field: str
    kind: str  # "func" | "table" | "memory" | "global"
    index: int  # in the index space of its kind


class TableType(NamedTuple):
    type: str
    minimum: int
    maximum: int | None


class MemoryType(NamedTuple):
    minimum: int  # pages
    maximum: int | None
    page_size: int  # bytes


class GlobalType(NamedTuple):
    type: str
    mutable: bool
    init: int | None  # bit pattern; None: imported, or computed from an imported global


@dataclass(frozen=True, slots=True)
class Export:
    name: str
    kind: str
    index: int


class ElementSegment(NamedTuple):
    table: int | None  # None: passive or declarative
    offset: int | None  # None: passive, or computed from an imported global
    functions: tuple[int | None, ...]  # None: a null reference


class DataSegment(NamedTuple):
    memory: int | None  # None: passive
    offset: int | None  # None: passive, or computed from an imported global
    data: bytes
    at: int  # where `data` starts inside the payload of the data section


class Body(NamedTuple):
    function: int
    start: int  # offsets inside the payload of the code section, size field excluded (as SCPV counts)
    end: int
    locals: tuple[str, ...]  # types of the declared locals, parameters not included
    code: tuple[Instruction, ...]  # the final `end` included


class Custom(NamedTuple):
    name: str
    payload: bytes
    start: int  # of the whole section in the file, id byte included
    end: int


@dataclass(frozen=True, slots=True)
class Module:
    """One core module. Function, table, memory and global lists count imports first, as the indexes do."""

    name: str
    data: bytes = field(repr=False)
    types: tuple[FuncType, ...] = ()
    imports: tuple[Import, ...] = ()
    functions: tuple[int, ...] = ()  # type index of every function
    tables: tuple[TableType, ...] = ()
    memories: tuple[MemoryType, ...] = ()
    globals: tuple[GlobalType, ...] = ()
    exports: tuple[Export, ...] = ()
    start: int | None = None
    elements: tuple[ElementSegment, ...] = ()
    bodies: tuple[Body, ...] = field(default=(), repr=False)
    segments: tuple[DataSegment, ...] = field(default=(), repr=False)
    customs: tuple[Custom, ...] = field(default=(), repr=False)
    section_order: tuple[int, ...] = ()  # ids as they stand, customs included (relocation sections refer to them)

    @property
    def imported_functions(self) -> int:
        return len(self.functions) - len(self.bodies)

    def type_of(self, function: int) -> FuncType:
        return self.types[self.functions[function]]

    def body(self, function: int) -> Body | None:
        """Body of a function; None for an imported one."""
        local = function - self.imported_functions
        return self.bodies[local] if local >= 0 else None

    def custom(self, name: str) -> Custom | None:
        """The one custom section of that name, None without; two of them are an error."""
        found = [c for c in self.customs if c.name == name]
        if len(found) > 1:
            raise UsageError(f"{self.name}: has {len(found)} sections '{name}' where one is allowed; build it again")
        return found[0] if found else None

    def without(self, names: tuple[str, ...]) -> bytes:
        """The module's bytes without the custom sections of these names."""
        out, pos = [], 0
        for custom in self.customs:
            if custom.name in names:
                out.append(self.data[pos : custom.start])
                pos = custom.end
        out.append(self.data[pos:])
        return b"".join(out)
