# SPDX-License-Identifier: Apache-2.0
"""Whose memory is it? (toolchain reference F1, F2, F11)

Evidence, strongest first; export names are never used:
1. code: a memory belongs to the component whose functions load and store there;
2. adapters: a memory that only an adapter touches belongs to the one of its two ends that has none yet; when neither
   has, to the callee what the adapter copies to before the call, to the caller what it copies from;
3. elimination: the only candidate left, where data and sizes of the un-fused components (when given) decide too;
4. order: memories are numbered in the order in which modules were merged, which the order of functions shows.
What remains open, or contradicts, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rig.errors import Refusal
from rig.image.accesses import Touched
from rig.image.attribute import REALLOC, Ownership
from rig.image.join import Party
from rig.image.model import Model
from rig.image.module import Module
from rig.image.reach import Graph


@dataclass(frozen=True, slots=True)
class Cell:
    """Components that share one memory: one in multi, the members of a domain, or all."""

    members: tuple[int, ...]  # party indexes, ascending
    memoryless: bool | None  # True, False when the components are known


@dataclass(frozen=True, slots=True)
class MemoryMap:
    of: tuple[int, ...]  # memory index → index in `cells`
    how: tuple[str, ...]  # memory index → "code" | "adapter" | "elimination" | "order"
    cells: tuple[Cell, ...]

    def members(self, memory: int) -> tuple[int, ...]:
        return self.cells[self.of[memory]].members

    def memory_of(self, party: int) -> int | None:
        for memory, cell in enumerate(self.of):
            if party in self.cells[cell].members:
                return memory
        return None


def map_memories(
    module: Module,
    calls: Graph,
    model: Model,
    inputs: Sequence[Party],
    owners: Ownership,
    uses: Mapping[int, Touched],
    domains: Sequence[Sequence[int]],
) -> MemoryMap:
    """Memory → the components whose data it holds. Error: Refusal with the reason."""
    groups = [tuple(d) for d in domains] if model is Model.DOMAINS else (
        [tuple(range(len(inputs)))] if model.shared else [(p.index,) for p in inputs]
    )  # fmt: skip
    cells = tuple(Cell(g, _memoryless([inputs[i] for i in g])) for g in groups)
    cell_of = {i: k for k, cell in enumerate(cells) for i in cell.members}
    state = _State(module, inputs, cells, {}, {})
    _by_code(state, cell_of, owners, uses)
    _by_adapters(state, cell_of, calls, owners, uses)
    _by_elimination(state, model)
    _by_order(state, model)
    count = len(module.memories)
    left = [m for m in range(count) if m not in state.of]
    if left:
        raise Refusal(
            "memory without owner",
            f"memory {left[0]} of {module.name} is touched by no component, and {_candidates(state, left[0], model)} "
            f"of {len(cells)} owners could hold it: give the un-fused components, or let each use its memory",
        )
    return MemoryMap(tuple(state.of[m] for m in range(count)), tuple(state.how[m] for m in range(count)), cells)


@dataclass(slots=True)
class _State:
    module: Module
    inputs: Sequence[Party]
    cells: tuple[Cell, ...]
    of: dict[int, int]  # memory → cell
    how: dict[int, str]

    def give(self, memory: int, cell: int, how: str) -> None:
        other = next((m for m, c in self.of.items() if c == cell), None)
        names = ", ".join(self.inputs[i].name for i in self.cells[cell].members)
        if other is not None and other != memory:
            raise Refusal("two memories for one owner", f"{names} uses memory {other} and memory {memory}")
        self.of[memory] = cell
        self.how[memory] = how

    def free_cells(self) -> list[int]:
        taken = set(self.of.values())
        return [k for k, cell in enumerate(self.cells) if k not in taken and cell.memoryless is not True]


def _memoryless(members: Sequence[Party]) -> bool | None:
    if any(p.component is None for p in members):
        return None
    return all(p.memory_module is None for p in members)


def _by_code(s: _State, cell_of: Mapping[int, int], owners: Ownership, uses: Mapping[int, Touched]) -> None:
    for memory in range(len(s.module.memories)):
        users = sorted(o for o, t in uses.items() if owners.is_component(o) and memory in t.all)
        cells = {cell_of[u] for u in users}
        if len(cells) > 1:
            names = " and ".join(s.inputs[u].name for u in users)
            raise Refusal(
                "memory with two owners", f"functions of {names} both touch memory {memory} of {s.module.name}"
            )
        if cells:
            s.give(memory, cells.pop(), "code")


def _by_adapters(
    s: _State, cell_of: Mapping[int, int], calls: Graph, owners: Ownership, uses: Mapping[int, Touched]
) -> None:
    progress = True
    while progress:
        progress = False
        for adapter in (o for o in uses if owners.is_adapter(o)):
            free = set(uses[adapter].all - s.of.keys())
            ends = _ends(cell_of, calls, owners, adapter)
            open_ends = [c for c in ends if c in s.free_cells()]
            if len(free) == 1 and len(open_ends) == 1:
                s.give(free.pop(), open_ends[0], "adapter")
                progress = True
            elif len(free) == 2 and len(open_ends) == 2:
                found = _copied(s.module, calls, cell_of, owners, adapter)
                if found and set(found) == free:
                    (to, callee), (source, caller) = found.items()
                    s.give(to, callee, "adapter")
                    s.give(source, caller, "adapter")
                    progress = True


def _ends(cell_of: Mapping[int, int], calls: Graph, owners: Ownership, adapter: int) -> list[int]:
    """Cells of the components that call the adapter and that it calls."""
    mine = set(owners.functions(adapter))
    found = [owners.of[g] for f in mine for g in calls.callees(f)]
    found += [owners.of[f] for f in sorted(owners.alive) if f not in mine and mine.intersection(calls.callees(f))]
    return sorted({cell_of[o] for o in found if o is not None and owners.is_component(o)})


def _copied(
    module: Module, calls: Graph, cell_of: Mapping[int, int], owners: Ownership, adapter: int
) -> dict[int, int] | None:
    """{memory copied to: callee's cell, memory copied from: caller's cell}, from the copies before the call itself."""
    function = owners.functions(adapter)[0]
    callers = {owners.of[f] for f in owners.alive if function in calls.callees(f)}
    body = module.body(function)
    copies: list[tuple[int, int]] = []
    for ins in body.code if body else ():
        if ins.op == "memory.copy" and ins.imm[0] != ins.imm[1]:
            copies.append((ins.imm[0], ins.imm[1]))
        elif ins.op == "call" and module.type_of(ins.imm[0]) != REALLOC:
            callee, caller = owners.of[ins.imm[0]], callers.pop() if len(callers) == 1 else None
            if callee is None or caller is None or len(set(copies)) != 1 or not {callee, caller} <= cell_of.keys():
                return None
            return {copies[0][0]: cell_of[callee], copies[0][1]: cell_of[caller]}
    return None


def _fits(s: _State, memory: int, cell: int, model: Model) -> bool:
    """Could this memory be that cell's, by size and data? Only multi keeps both as they were."""
    module = s.inputs[s.cells[cell].members[0]].memory_module
    if module is None or model is not Model.MULTI:
        return True
    if module.memories[-1].minimum != s.module.memories[memory].minimum:
        return False
    fused = [(g.offset, g.data) for g in s.module.segments if g.memory == memory]
    return fused == [(g.offset, g.data) for g in module.segments if g.memory is not None]


def _candidates(s: _State, memory: int, model: Model) -> int:
    return sum(_fits(s, memory, cell, model) for cell in s.free_cells())


def _by_elimination(s: _State, model: Model) -> None:
    progress = True
    while progress:
        progress = False
        left = [m for m in range(len(s.module.memories)) if m not in s.of]
        for memory in left:
            fitting = [c for c in s.free_cells() if _fits(s, memory, c, model)]
            if len(fitting) == 1 and (len(left) == 1 or _only_one(s, left, fitting[0], model)):
                s.give(memory, fitting[0], "elimination")
                progress = True
                break


def _only_one(s: _State, left: Sequence[int], cell: int, model: Model) -> bool:
    return sum(_fits(s, m, cell, model) for m in left) == 1


def _by_order(s: _State, model: Model) -> None:
    """Fill the rest in merge order, when that order agrees with everything known and leaves nothing over."""
    left = [m for m in range(len(s.module.memories)) if m not in s.of]
    free = s.free_cells()
    if not left or len(left) != len(free):
        return

    def place(cell: int) -> int:
        """Multi: position of the first function. Domains: number of the domain, as the fuser numbers them."""
        if model is not Model.MULTI:
            return cell
        functions = [f for i in s.cells[cell].members for f, _ in s.inputs[i].functions]
        return min(functions, default=-1)

    known = set(s.of.values())
    order = sorted(known | set(free), key=place)
    if any(place(c) < 0 for c in order) or any(s.of.get(m, c) != c for m, c in enumerate(order)):
        return
    if all(_fits(s, m, order[m], model) for m in left):
        for memory in left:
            s.give(memory, order[memory], "order")
