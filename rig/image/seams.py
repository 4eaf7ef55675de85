# SPDX-License-Identifier: Apache-2.0
"""Where control passes from one owner to another, and what the WIT types say of the arguments.

Every direct call whose ends have different owners is a seam; adapters and hosts are owners like any other. A *link* is
a whole way from component to component, directly or through an adapter: what the fuser's boundary records describe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rig.errors import UsageError
from rig.image.align import Twin
from rig.image.attribute import REALLOC, Ownership
from rig.image.component import WitFunction
from rig.image.join import Party, plain_name
from rig.image.model import Seam, Slice
from rig.image.module import Module
from rig.image.reach import Graph
from rig.image.records import Records
from rig.image.wit import carries_memory, lifted, lowered, parse_type

REALLOC_NAMES = ("cabi_realloc", "cm32p2_realloc")
POST_PREFIX = "cabi_post_"


@dataclass(frozen=True, slots=True)
class Interfaces:
    """WIT side of functions: what they are exported as, and which of them only serve the canonical ABI."""

    entries: Mapping[int, tuple[str, WitFunction | None]]  # lifted function → (core name, types; None: unknown)
    imports: Mapping[tuple[int, str], WitFunction]  # (component, core name) → types of what it imports
    reallocs: Mapping[int, int]  # owner → its allocator
    helpers: frozenset[int]  # allocators and post-return functions

    owner_of: Mapping[int, int]  # lifted function → its component

    @property
    def typed(self) -> bool:
        return any(types is not None for _, types in self.entries.values())

    def exported(self, owner: int) -> list[WitFunction | None]:
        """Types of what a component exports."""
        return [types for f, (_, types) in self.entries.items() if self.owner_of[f] == owner]


@dataclass(frozen=True, slots=True)
class Link:
    caller: int  # component
    callee: int  # component
    target: int  # lifted function
    name: str  # its core name
    types: WitFunction | None
    adapter: int | None  # owner in between


def interfaces(
    calls: Graph, records: Records, inputs: Sequence[Party], twins: Sequence[Mapping[int, Twin]], owners: Ownership
) -> Interfaces:
    """From the components where they are given, else from the signature manifest, else names only."""
    module = calls.module
    entries: dict[int, tuple[str, WitFunction | None]] = {}
    imports: dict[tuple[int, str], WitFunction] = {}
    reallocs: dict[int, int] = {}
    helpers: set[int] = set()
    for party in inputs:
        if party.component is None:
            continue
        exported = {f.core_name: f for f in party.component.exports}
        for name, function in _own_exports(party, twins[party.index]):
            if name in exported:
                entries[function] = (name, exported[name])
            elif name in REALLOC_NAMES:
                reallocs[party.index] = function
                helpers.add(function)
            elif name.startswith(POST_PREFIX) or name.endswith("_post"):
                helpers.add(function)
        imports.update({(party.index, f.core_name): f for f in party.component.imports})
    if any(party.component is None for party in inputs):
        _from_module(module, records, owners, entries, reallocs, helpers)
        _called_allocators(calls, owners, entries, reallocs, helpers)
    owner_of = {f: owner for f in entries if (owner := owners.of[f]) is not None}
    return Interfaces(entries, imports, reallocs, frozenset(helpers), owner_of)


def _own_exports(party: Party, twins: Mapping[int, Twin]) -> list[tuple[str, int]]:
    """(plain name, fused function) of every function export of the component's core modules."""
    fused: dict[tuple[int, int], int] = {(id(t.module), t.body.function): f for f, t in twins.items()}
    by_index: dict[int, list[int]] = {}
    for function, index in party.functions:
        by_index.setdefault(index, []).append(function)
    found = []
    for module in party.modules:
        for export in module.exports:
            if export.kind == "func":
                alone = by_index.get(export.index, [])
                twin = fused.get((id(module), export.index), alone[0] if len(alone) == 1 else None)
                if twin is not None:
                    found.append((plain_name(export.name), twin))
    return found


def _from_module(
    module: Module,
    records: Records,
    owners: Ownership,
    entries: dict[int, tuple[str, WitFunction | None]],
    reallocs: dict[int, int],
    helpers: set[int],
) -> None:
    """Without components: export names and the manifest. The fuser adds "$n" to a name that is taken."""
    functions = {e.name: e.index for e in module.exports if e.kind == "func"}
    for name, function in functions.items():
        owner, plain = owners.of[function], plain_name(name.partition("$")[0])
        if owner is None or not owners.is_component(owner):
            continue
        if plain in REALLOC_NAMES or name.startswith("meld:realloc/"):
            reallocs.setdefault(owner, function)
            helpers.add(function)
        elif plain.startswith(POST_PREFIX) or plain.endswith("_post"):
            helpers.add(function)
        elif not plain.isdecimal() and plain not in ("_initialize", "cm32p2_initialize"):
            entries.setdefault(function, (plain, None))
    for name, signature in (records.signatures or {}).items():
        if name not in functions:
            raise UsageError(f"{module.name}: the signature manifest describes '{name}', which is not exported")
        where = f"{module.name}: signature manifest, export '{name}'"
        plain = plain_name(name.partition("$")[0])
        interface, _, bare = plain.rpartition("#")
        types = WitFunction(
            interface or None,
            bare,
            tuple((p, parse_type(t, where)) for p, t in signature.params),
            parse_type(signature.result, where) if signature.result else None,
        )
        if lifted(types, 0).type != signature.core or signature.core != module.type_of(functions[name]):
            raise UsageError(f"{where}: its WIT types and its core type do not agree; the manifest lies")
        entries[functions[name]] = (plain, types)
        owner = owners.of[functions[name]]
        if signature.realloc in functions and owner is not None:
            reallocs[owner] = functions[signature.realloc]
            helpers.add(functions[signature.realloc])


def _called_allocators(
    calls: Graph,
    owners: Ownership,
    entries: Mapping[int, object],
    reallocs: dict[int, int],
    helpers: set[int],
) -> None:
    """An allocator that is not exported shows by its type and by the adapter that calls it."""
    for functions in owners.adapters:
        for target in (g for f in functions for g in calls.callees(f)):
            owner, allocates = owners.of[target], calls.module.type_of(target) == REALLOC
            if owner is not None and owners.is_component(owner) and allocates and target not in entries:
                reallocs.setdefault(owner, target)
                helpers.add(target)


def links(calls: Graph, owners: Ownership, faces: Interfaces) -> tuple[Link, ...]:
    """Every way from a component to another one's function."""
    found: dict[tuple[int, int, int | None], Link] = {}

    def add(caller: int, target: int, adapter: int | None) -> None:
        callee = owners.of[target]
        if callee is not None and owners.is_component(callee) and callee != caller:
            name, types = faces.entries.get(target, (f"func_{target}", None))
            found.setdefault((caller, target, adapter), Link(caller, callee, target, name, types, adapter))

    for function, caller in enumerate(owners.of):
        if caller is None or not owners.is_component(caller):
            continue
        for callee in calls.calls[function].direct:
            adapter = owners.of[callee]
            if adapter is not None and owners.is_adapter(adapter):
                target = adapter_target(calls, owners, faces, adapter)
                if target is not None:
                    add(caller, target, adapter)
            else:
                add(caller, callee, None)
    return tuple(found.values())


def adapter_target(calls: Graph, owners: Ownership, faces: Interfaces, adapter: int) -> int | None:
    """The function an adapter stands for: the one component function it calls that is no helper of the ABI."""
    called = [g for f in owners.functions(adapter) for g in calls.callees(f) if owners.is_component(owners.of[g])]
    likely = [g for g in called if g in faces.entries]
    rest = [g for g in called if g not in faces.helpers and calls.module.type_of(g) != REALLOC]
    return next(iter(likely or rest or called), None)


def seams(
    module: Module,
    calls: Graph,
    owners: Ownership,
    faces: Interfaces,
    slices: Mapping[int, Slice],
) -> tuple[Seam, ...]:
    """One seam per (caller owner, callee function), in order of first appearance."""
    found: dict[tuple[int, int], Seam] = {}
    for function, caller in enumerate(owners.of):
        for target in calls.calls[function].direct if caller is not None else ():
            callee = owners.of[target]
            if caller is None or callee is None or callee == caller or (caller, target) in found:
                continue
            found[caller, target] = _seam(module, calls, owners, faces, slices, len(found), caller, callee, target)
    return tuple(found.values())


def _seam(
    module: Module,
    calls: Graph,
    owners: Ownership,
    faces: Interfaces,
    slices: Mapping[int, Slice],
    index: int,
    caller: int,
    callee: int,
    target: int,
) -> Seam:
    shape = module.type_of(target)
    if target in faces.helpers:
        return Seam(index, caller, callee, target, shape, label=_helper_label(owners, faces, callee, target))
    label, types = _described(calls, owners, faces, caller, callee, target)
    if types is None:
        return Seam(index, caller, callee, target, shape, label=label, unattributed_types=True)
    memory = slices[caller].memory if caller in slices else 0
    sides = (lowered(types, memory), lifted(types, memory))
    abi = next((side for side in sides if side.type == shape), None)
    if abi is None:  # a wiring this rig does not know: nothing can be said of its arguments
        return Seam(index, caller, callee, target, shape, label=label, unattributed_types=True)
    if not owners.is_component(caller):  # an adapter passes what it allocated itself; no memory of its own
        return Seam(index, caller, callee, target, shape, (), abi.returns_list, label)
    return Seam(index, caller, callee, target, shape, abi.lists, abi.returns_list, label, False, abi.unchecked)


def _helper_label(owners: Ownership, faces: Interfaces, callee: int, target: int) -> str:
    return "cabi_realloc" if faces.reallocs.get(callee) == target else "post-return"


def _described(
    calls: Graph, owners: Ownership, faces: Interfaces, caller: int, callee: int, target: int
) -> tuple[str, WitFunction | None]:
    """(label, types) of what is called."""
    if owners.is_host(callee):
        name = owners.hosts[callee - owners.components - len(owners.adapters)][0]
        return name, faces.imports.get((caller, name))
    stands_for = adapter_target(calls, owners, faces, callee) if owners.is_adapter(callee) else target
    if stands_for is None:
        return f"func_{target}", None
    return faces.entries.get(stands_for, (f"func_{stands_for}", None))


def carries(link: Link) -> bool:
    """Whether a pointer into the caller's memory crosses; False when the types are unknown."""
    return link.types is not None and carries_memory(link.types)
