# SPDX-License-Identifier: Apache-2.0
"""Whose function is it? Component, adapter of the fuser, or host.

Components own what the provenance gives them. Reachable functions without an entry are the fuser's own adapters; each
is a party of its own, together with helpers that only it calls. Imports belong to a host owner, one per import.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rig.errors import UsageError
from rig.image.join import Party, printable
from rig.image.model import FuncType
from rig.image.module import Module
from rig.image.reach import Graph, forwarded
from rig.image.records import STUB, Records

_COPY = re.compile(r"\$\d+$")
REALLOC = FuncType(("i32",) * 4, ("i32",))


@dataclass(frozen=True, slots=True)
class Ownership:
    """Owner index of every function. Owners: components (command line order), adapters, hosts."""

    of: tuple[int | None, ...]
    components: int
    adapters: tuple[tuple[int, ...], ...]  # functions of each adapter, the one that is called first
    hosts: tuple[tuple[str, tuple[int, ...]], ...]  # ("module#field", its functions: imports, then forwarders)
    alive: frozenset[int]  # functions that something can reach

    def functions(self, owner: int) -> tuple[int, ...]:
        if self.is_adapter(owner):
            return self.adapters[owner - self.components]
        return tuple(f for f, o in enumerate(self.of) if o == owner)

    def is_adapter(self, owner: int | None) -> bool:
        return owner is not None and self.components <= owner < self.components + len(self.adapters)

    def is_component(self, owner: int | None) -> bool:
        return owner is not None and owner < self.components

    def is_host(self, owner: int | None) -> bool:
        return owner is not None and owner >= self.components + len(self.adapters)


def attribute(
    module: Module, calls: Graph, records: Records, inputs: Sequence[Party], host_imports: Collection[str]
) -> Ownership:
    """Owners of all functions. `host_imports`: "x:y/z#f", "f" of the world itself, or "x:y/z" for a whole interface.

    Error: UsageError for an import that nobody provides.
    """
    of: list[int | None] = [None] * len(module.functions)
    for party in inputs:
        for function, _ in party.functions:
            of[function] = party.index
    stubs = _stubs(module, records)
    leftover = {f for f in calls.roots() if forwarded(module, f) in stubs}  # exported, but nothing calls them any more
    roots = [f for f in calls.roots() if f not in leftover]
    alive = calls.reachable(roots)
    adapters = _adapters(module, calls, roots, [f for f in sorted(alive - stubs) if of[f] is None], alive)
    hosts = _hosts(module, host_imports)
    for k, functions in enumerate(adapters):
        for function in functions:
            of[function] = len(inputs) + k
    for k, (_, functions) in enumerate(hosts):
        for function in functions:
            of[function] = len(inputs) + len(adapters) + k
    return Ownership(tuple(of), len(inputs), tuple(adapters), tuple(hosts), alive)


def _stubs(module: Module, records: Records) -> frozenset[int]:
    """Stand-ins for imports that the fuser bound itself: they only trap, and belong to nobody."""
    named = (module.body(o.function) for o in records.origins if o.component == STUB)
    return frozenset(b.function for b in named if b and [i.op for i in b.code] == ["unreachable", "end"])


def _adapters(
    module: Module, calls: Graph, roots: Sequence[int], unowned: Sequence[int], alive: frozenset[int]
) -> list[tuple[int, ...]]:
    """Reachable functions that nobody owns, grouped: a helper goes with its only adapter."""
    orphans = [f for f in unowned if f >= module.imported_functions]
    private = set(orphans)
    outside: set[int] = {f for f in roots if f in private}
    for caller in alive - private:
        outside.update(private.intersection(calls.callees(caller)))
    # Spread each head's number along private calls; a helper that two heads reach stands alone (-1).
    head: dict[int, int] = {f: f for f in outside}
    work = sorted(outside)
    while work:
        function = work.pop()
        for callee in calls.callees(function):
            if callee in private and callee not in outside:
                spread = head[function] if head.get(callee, head[function]) == head[function] else -1
                if head.get(callee) not in (spread, -1):
                    head[callee] = spread
                    work.append(callee)
    groups: dict[int, list[int]] = {}
    for function in orphans:
        groups.setdefault(function if head[function] < 0 else head[function], []).append(function)
    return [(first, *(f for f in group if f != first)) for first, group in sorted(groups.items())]


def import_key(module: str, field: str, provided: Collection[str]) -> str:
    """How the user names an import. The fuser numbers the copies that several components import: "get", "get$1"."""
    if not field:  # a bare function of the world: meld 0.65 writes its name as the module
        return module
    prefix = "" if module in ("", "$root") else f"{module}#"
    plain = _COPY.sub("", field)
    return prefix + (field if prefix + field in provided else plain)


def _hosts(module: Module, host_imports: Collection[str]) -> list[tuple[str, tuple[int, ...]]]:
    hosts: dict[str, list[int]] = {}
    missing: list[str] = []
    for entry in module.imports:
        key = import_key(entry.module, entry.field, host_imports)
        if entry.kind != "func":
            raise UsageError(
                f"{module.name}: imports the {entry.kind} '{printable(key)}'; only functions can be provided: "
                "fuse components that bring their own"
            )
        if entry.field.startswith(("[resource-", "[dtor]")):
            raise UsageError(
                f"{module.name}: needs the runtime of a resource ('{printable(key)}'), which no image here has: let "
                "the components pass plain values instead of handles"
            )
        if key not in host_imports and entry.module not in host_imports:
            missing.append(key)
        hosts.setdefault(key, []).append(entry.index)
    if missing:
        names = sorted({printable(key) for key in missing})
        lines = ", ".join(f'"{name}" = "stub"' for name in names)
        raise UsageError(
            f"{module.name}: nobody provides {', '.join(repr(n) for n in names)}: add a component that exports it, or "
            f"let the host stand in: imports = {{{lines}}} (stub, trap or a C file)"
        )
    by_import = {index: key for key, indexes in hosts.items() for index in indexes}
    for body in module.bodies:
        target = forwarded(module, body.function)
        if target in by_import:
            hosts[by_import[target]].append(body.function)
    return [(key, tuple(indexes)) for key, indexes in hosts.items()]
