# SPDX-License-Identifier: Apache-2.0
"""What calls what inside one module."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rig.errors import UsageError
from rig.image.model import FuncType
from rig.image.module import Module

MAX_EDGES = 1 << 21  # far above any real image; keeps a hostile table from costing minutes


@dataclass(frozen=True, slots=True)
class Calls:
    """Edges out of one function."""

    direct: tuple[int, ...]  # callees in order of appearance
    indirect: tuple[tuple[int, int], ...]  # (type, table) of every call_indirect
    all: tuple[int, ...]  # everything it can call, through a table or by a reference it takes included


@dataclass(frozen=True, slots=True)
class Graph:
    """Calls of every function (index = function index; imports have none)."""

    module: Module = field(repr=False)
    calls: tuple[Calls, ...]

    def callees(self, function: int) -> tuple[int, ...]:
        """Everything a function can call, directly or through a table."""
        return self.calls[function].all

    def reachable(self, roots: Iterable[int]) -> frozenset[int]:
        seen: set[int] = set()
        work = list(roots)
        while work:
            function = work.pop()
            if function not in seen:
                seen.add(function)
                work += self.callees(function)
        return frozenset(seen)

    def roots(self) -> tuple[int, ...]:
        """Functions that the outside can start: exports and the start function."""
        exported = [e.index for e in self.module.exports if e.kind == "func"]
        return (*exported, self.module.start) if self.module.start is not None else tuple(exported)


def graph(module: Module) -> Graph:
    """Error: UsageError when there are more than MAX_EDGES ways to call."""
    listed: dict[tuple[int | None, FuncType], list[int]] = {}
    for segment in module.elements:
        for f in segment.functions:
            if f is not None:
                listed.setdefault((segment.table, module.type_of(f)), []).append(f)
    calls = [Calls((), (), ())] * module.imported_functions
    edges = 0
    for body in module.bodies:
        direct, indirect, referenced = list[int](), dict[tuple[int, int], None](), list[int]()
        for ins in body.code:
            if ins.op in ("call", "return_call"):
                direct.append(ins.imm[0])
            elif ins.op in ("call_indirect", "return_call_indirect"):
                indirect[ins.imm[0], ins.imm[1]] = None
            elif ins.op == "ref.func":
                referenced.append(ins.imm[0])
        through = list[int]()
        for type_, table in indirect:
            for source in (table, None):  # a passive segment may be copied into any table
                through += listed.get((source, module.types[type_]), ())
        edges += len(direct) + len(through)
        if edges > MAX_EDGES:
            raise UsageError(f"{module.name}: more than {MAX_EDGES} ways to call a function; no image is like that")
        calls.append(Calls(tuple(direct), tuple(indirect), tuple(dict.fromkeys((*direct, *through, *referenced)))))
    return Graph(module, tuple(calls))


def forwarded(module: Module, function: int) -> int | None:
    """The function that this one does nothing but call, through a table slot filled at instantiation; else None.

    wit-component puts such a function before every import whose lowering needs the memory: all parameters in order, the
    slot number, call_indirect. The slot holds the import, or what the fuser put there when it bound the import itself.
    """
    body = module.body(function)
    if body is None:
        return None
    params = len(module.type_of(function).params)
    ops = [(i.op, i.imm) for i in body.code[: params + 4]]
    if len(ops) != params + 3 or any(ops[k] != ("local.get", (k,)) for k in range(params)):
        return None
    (slot_op, slot), (call, where), _ = ops[params:]
    if slot_op != "i32.const" or call != "call_indirect":
        return None
    for segment in module.elements:
        at = slot[0] - segment.offset if segment.table == where[1] and segment.offset is not None else -1
        if 0 <= at < len(segment.functions):
            return segment.functions[at]
    return None
