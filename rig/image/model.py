# SPDX-License-Identifier: Apache-2.0
"""What was built: the fused module as values. Made by `rig.image.reader.read`, used by every later layer.

Words as in docs/internals.md. Wasm addresses (offsets in a linear memory) and native addresses are both plain ints;
a name says which one it is: `offset` is wasm, `address` is native.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Model(StrEnum):
    """How the components were laid out (the names of the `--json` output)."""

    PAGE = "shared-page"
    PACKED = "shared-packed"
    STACK = "shared-stack"
    MULTI = "multi"
    DOMAINS = "domains"

    @property
    def shared(self) -> bool:
        """Model 1: one linear memory, carved."""
        return self in (Model.PAGE, Model.PACKED, Model.STACK)


class OwnerKind(StrEnum):
    COMPONENT = "component"
    ADAPTER = "adapter"  # made by the fuser; sees two memories at once
    HOST = "host"  # stands in for an import that nobody provides


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Half-open range [start, end)."""

    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start

    def __contains__(self, value: int) -> bool:
        return self.start <= value < self.end


@dataclass(frozen=True, slots=True)
class FuncType:
    params: tuple[str, ...]  # "i32" | "i64" | "f32" | "f64"
    results: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MemoryAccess:
    """One load or store instruction of a function body."""

    function: int
    at: int  # byte offset inside the code section (as in SCPV ranges)
    op: str  # "i32.load8_u", "i64.store", "memory.copy", ...
    memory: int
    offset: int  # static offset immediate


@dataclass(frozen=True, slots=True)
class Function:
    index: int  # fused index, imports counted
    name: str  # export name, else name section, else "func_N"
    type: FuncType
    owner: int | None  # imported: its host owner; None: made by the fuser and unreachable
    imported: bool
    calls: tuple[int, ...]  # callees in order of appearance (direct calls only)
    indirect: bool  # contains call_indirect


@dataclass(frozen=True, slots=True)
class Memory:
    index: int
    pages: int
    page_size: int
    owners: tuple[int, ...]  # components whose data it holds (one in multi, several in shared)

    @property
    def size(self) -> int:
        return self.pages * self.page_size


@dataclass(frozen=True, slots=True)
class Slice:
    """Where one component's data lives: a part of one linear memory (wasm offsets)."""

    memory: int
    span: Span
    displacement: int  # added by the fuser to the component's own addresses


@dataclass(frozen=True, slots=True)
class Segment:
    memory: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Global:
    index: int
    type: str
    mutable: bool
    init: int  # bit pattern
    owner: int | None  # component that uses it; None: shared or unknown
    stack_pointer: bool


@dataclass(frozen=True, slots=True)
class Element:
    table: int
    offset: int
    functions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Table:
    index: int
    size: int
    owners: tuple[int, ...]  # owners that call through it


class PrimitiveKind(StrEnum):
    LOAD = "load"
    STORE = "store"


@dataclass(frozen=True, slots=True)
class Primitive:
    """An export of an intruder whose body is one access at (parameter + offset): an attack tool found by shape."""

    function: int
    export: str
    kind: PrimitiveKind
    op: str  # the wasm instruction
    width: int  # bytes
    memory: int
    offset: int  # static offset immediate
    address_param: int  # index of the address parameter
    value_param: int | None  # stores: index of the value parameter
    value_type: str  # "i32" | "i64" | "f32" | "f64": of the value parameter, or of what a load returns
    bias: int = 0  # constant that the body adds to the parameter: wasm index = (parameter + bias) mod 2^32


@dataclass(frozen=True, slots=True)
class ListArg:
    """One (pointer, length) pair among the core parameters of a seam, and where it must point."""

    pointer: int  # index of the core parameter
    length: int  # index of the core parameter; -1: exactly one element (return area, spilled arguments)
    element_size: int
    align: int
    memory: int  # caller's memory
    nested: bool  # elements carry pointers of their own: reported as deputy: unchecked


@dataclass(frozen=True, slots=True)
class Seam:
    """A direct call whose two ends have different owners; one per (caller owner, callee function)."""

    index: int
    caller: int  # owner index
    callee: int  # owner index
    target: int  # function index
    type: FuncType
    lists: tuple[ListArg, ...] = ()
    returns_list: bool = False
    label: str = ""  # e.g. "demo:iso/provider#get"
    unattributed_types: bool = False  # WIT types unknown (fused wasm without manifest): K-02/K-11 REFUSED(no types)
    unchecked: tuple[str, ...] = ()  # pointers that exist only in some case of a variant: deputy: unchecked


@dataclass(frozen=True, slots=True)
class Owner:
    index: int
    name: str  # "sensor", "adapter:controller>sensor#read", "host:x:y/z#f"
    kind: OwnerKind
    domain: str | None  # model 3
    functions: tuple[int, ...]
    slice: Slice | None  # None: has no linear memory of its own (adapters, hosts, memoryless components)
    memories: tuple[int, ...]  # memories its code names in loads, stores, copies
    reads: tuple[int, ...] = ()  # memories it only reads (adapter: memory.copy source); subset of memories
    intruder: bool = False
    exports: tuple[str, ...] = ()
    backed: int | None = None  # subject's promise: uses at most so many bytes of its memory
    stack_globals: tuple[int, ...] = ()  # indexes of the __stack_pointer globals its code uses
    entries: tuple[tuple[str, int], ...] = ()  # its lifted exports: (core name as in WIT, function index)
    realloc: int | None = None  # function index of its cabi_realloc


@dataclass(frozen=True, slots=True)
class Boundary:
    """A record of the attestation, or an equal fact derived from the module."""

    caller: int | None  # owner
    callee: int | None
    function: str
    lowering: str  # direct | memory-copy | transcode | async-lift
    crosses_memory: bool
    carries_memory: bool  # its WIT type has lists, strings or the like


@dataclass(frozen=True, slots=True)
class Finding:
    """Wrong or notable without being a verdict. `id` as in the references (F1…F14, W-08, …)."""

    id: str
    what: str
    where: str
    cure: str = ""
    owners: tuple[int, ...] = ()  # owners it names
    pair: tuple[int, int] | None = None  # pair that is not isolated because of it
    cured: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """The fused module and everything known of it. `refusals`: family id → reason (missing input)."""

    name: str
    model: Model
    wasm: bytes = field(repr=False)
    sha256: str
    functions: tuple[Function, ...]
    memories: tuple[Memory, ...]
    globals: tuple[Global, ...]
    tables: tuple[Table, ...]
    elements: tuple[Element, ...]
    segments: tuple[Segment, ...]
    owners: tuple[Owner, ...]
    seams: tuple[Seam, ...]
    boundaries: tuple[Boundary, ...]
    accesses: tuple[MemoryAccess, ...] = field(repr=False)
    primitives: tuple[Primitive, ...]
    exports: Mapping[str, int]  # export name → function index (functions only)
    imports: tuple[tuple[str, str, int], ...]  # (module, field, function index)
    findings: tuple[Finding, ...]
    refusals: Mapping[str, str]
    shared_context: tuple[tuple[int, ...], ...] = ()  # groups of owners that cannot be separated (F14, seam inlined)
    attestation: Mapping[str, object] = field(default_factory=dict, repr=False)

    def owner_of(self, function: int) -> int | None:
        return self.functions[function].owner
