# SPDX-License-Identifier: Apache-2.0
"""Hand-made images: what `rig.image` would read, without building a component. Names tell the shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rig.arch import pmp, pmsav7
from rig.boards.model import Arch, Board, Protection
from rig.image.model import (
    Element,
    Function,
    FuncType,
    Global,
    Image,
    ListArg,
    Memory,
    Model,
    Owner,
    OwnerKind,
    Seam,
    Segment,
    Slice,
    Span,
    Table,
)
from rig.plan.model import ContextPlan, Placement

PAGE = 65536
VOID = FuncType((), ())
UNARY = FuncType(("i32",), ("i32",))


@dataclass
class Part:
    """One component to be: pages (multi, page, domains) or bytes (packed, stack) of its own."""

    name: str
    size: int = 1
    indirect: bool = False
    backed: int | None = None
    intruder: bool = False
    domain: str | None = None
    data: int = 64  # bytes of its data segment, right above the shadow stack
    memory: bool = True


@dataclass
class Build:
    model: Model
    parts: Sequence[Part]
    adapters: Sequence[tuple[int, int, bool]] = ()  # caller, callee, copies a list
    hosts: int = 0
    tables: Sequence[int] = ()
    globals: int = 0  # besides the stack pointers
    stack: int = 1024
    shared_context: tuple[tuple[int, ...], ...] = ()
    seam_type: FuncType = UNARY
    lists: tuple[ListArg, ...] = ()
    page_size: int = PAGE
    _functions: list[Function] = field(default_factory=list)

    def image(self) -> Image:
        """Function 2·o and 2·o+1 belong to owner o (the second calls indirectly where the part says so)."""
        slices, memories = self._memories()
        owners = [self._component(i, part, slices[i]) for i, part in enumerate(self.parts)]
        for caller, callee, copies in self.adapters:
            owners.append(self._adapter(len(owners), owners[caller], owners[callee], copies))
        for host in range(self.hosts):
            index = len(owners)
            owners.append(Owner(index, f"host:x:y/z#f{host}", OwnerKind.HOST, None, self._two(index, False), None, ()))
        found = Image(
            name="hand-made", model=self.model, wasm=b"", sha256="", functions=tuple(self._functions),
            memories=memories, globals=self._globals(), tables=self._tables(owners), elements=self._elements(),
            segments=self._segments(slices), owners=tuple(owners), seams=self._seams(owners), boundaries=(),
            accesses=(), primitives=(), exports={}, imports=(), findings=(), refusals={},
            shared_context=self.shared_context,
        )
        return found

    def _two(self, owner: int, indirect: bool) -> tuple[int, int]:
        at = len(self._functions)
        for i in (0, 1):
            self._functions.append(Function(at + i, f"f{at + i}", UNARY, owner, False, (), indirect and i == 1))
        return at, at + 1

    def _component(self, index: int, part: Part, where: Slice | None) -> Owner:
        named = (where.memory,) if where is not None else ()
        sp = (index,) if self.model is Model.MULTI and where is not None else (0,) if where is not None else ()
        return Owner(index, part.name, OwnerKind.COMPONENT, part.domain, self._two(index, part.indirect), where, named,
                     intruder=part.intruder, backed=part.backed, stack_globals=sp)

    def _adapter(self, index: int, caller: Owner, callee: Owner, copies: bool) -> Owner:
        memories, reads = (), ()
        if copies:
            assert caller.slice is not None and callee.slice is not None
            memories, reads = (caller.slice.memory, callee.slice.memory), (caller.slice.memory,)
        return Owner(index, f"adapter:{caller.name}>{callee.name}", OwnerKind.ADAPTER, None, self._two(index, False),
                     None, memories, reads)

    def _memories(self) -> tuple[list[Slice | None], tuple[Memory, ...]]:
        with_memory = [i for i, p in enumerate(self.parts) if p.memory]
        slices: list[Slice | None] = [None] * len(self.parts)
        if self.model is Model.MULTI:
            for k, i in enumerate(with_memory):
                slices[i] = Slice(k, Span(0, self.parts[i].size * self.page_size), 0)
            return slices, tuple(Memory(k, self.parts[i].size, self.page_size, (i,)) for k, i in enumerate(with_memory))
        groups: dict[str | None, list[int]] = {}
        for i in with_memory:
            groups.setdefault(self.parts[i].domain if self.model is Model.DOMAINS else None, []).append(i)
        memories = []
        for k, members in enumerate(groups.values()):
            at = self.stack if self.model is Model.STACK else 0
            displacement = 0
            for i in members:
                size = self.parts[i].size * (1 if self.model in (Model.PACKED, Model.STACK) else self.page_size)
                slices[i] = Slice(k, Span(at, at + size), displacement if self.model is Model.STACK else at)
                at, displacement = at + size, displacement + size
            memories.append(Memory(k, -(-at // self.page_size), self.page_size, tuple(members)))
        return slices, tuple(memories)

    def _globals(self) -> tuple[Global, ...]:
        pointers = sum(p.memory for p in self.parts) if self.model is Model.MULTI else 1
        found = [Global(i, "i32", True, self.stack, i if self.model is Model.MULTI else None, True)
                 for i in range(pointers)]
        for i in range(self.globals):
            found.append(Global(pointers + i, "i64" if i % 2 else "i32", True, 7 + i, None, False))
        return tuple(found)

    def _tables(self, owners: Sequence[Owner]) -> tuple[Table, ...]:
        using = tuple(o.index for o in owners if any(self._functions[f].indirect for f in o.functions))
        return tuple(Table(t, size, using) for t, size in enumerate(self.tables))

    def _elements(self) -> tuple[Element, ...]:
        return tuple(Element(t, 1, tuple(range(min(size - 1, len(self._functions))))) for t, size in
                     enumerate(self.tables))

    def _segments(self, slices: Sequence[Slice | None]) -> tuple[Segment, ...]:
        found = []
        for part, where in zip(self.parts, slices, strict=True):
            if where is not None and part.data:
                above = 0 if self.model is Model.STACK else self.stack
                found.append(Segment(where.memory, where.span.start + above, bytes([65]) * part.data))
        return tuple(found)

    def _seams(self, owners: Sequence[Owner]) -> tuple[Seam, ...]:
        pairs = [(a, b) for k, (caller, callee, _) in enumerate(self.adapters)
                 for a, b in ((caller, len(self.parts) + k), (len(self.parts) + k, callee))]
        if not pairs and len(self.parts) > 1:
            pairs = [(0, 1)]
        pairs += [(0, o.index) for o in owners if o.kind is OwnerKind.HOST]
        return tuple(
            Seam(i, a, b, owners[b].functions[0], self.seam_type, self.lists) for i, (a, b) in enumerate(pairs)
        )


def parts(*sizes: int) -> list[Part]:
    return [Part(f"c{i}", size) for i, size in enumerate(sizes)]


def symbols(image: Image, placement: Placement, board: Board, code: int = 0x4000) -> dict[str, int]:
    """What the linked ELF would say: code of `code` bytes at the start of its range, functions in it."""
    start = placement.code[0]
    thumb = 1 if board.arch is Arch.V7M else 0
    found = {"__unpriv_start": start, "__unpriv_end": start + code}
    found |= {f"rig_fn_{f.index}": start + 0x100 + 16 * f.index + thumb for f in image.functions}
    return found | dict(placement.symbols)


def rebacked(image: Image, backed: dict[int, int]) -> Image:
    owners = tuple(replace(o, backed=backed.get(o.index, o.backed)) for o in image.owners)
    return replace(image, owners=owners)


def registers(context: ContextPlan, board: Board) -> pmsav7.Context | pmp.Context:
    """The registers after this context was written."""
    if board.protection is Protection.PMSAV7:
        read = tuple(pmsav7.read_back(i, *pair) for i, pair in enumerate(context.arm))
        return pmsav7.Context(board.regions << 8, context.ctrl, read)
    return pmp.Context(32, board.grain, context.pmpcfg, context.pmpaddr, context.ctrl)
