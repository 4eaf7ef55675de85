# SPDX-License-Identifier: Apache-2.0
"""Which input is which: inputs of the attestation ↔ names in the provenance ↔ flattened indexes ↔ component files.

meld counts components in two ways (toolchain reference F3, F10): by input (command line order), in
`parameters.domains`, and flattened, in boundaries, placements and, with --reproducible, provenance names. An input
takes one flattened index for itself and one for each component nested in it; wit-component nests one per exported
interface.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from rig.errors import UsageError
from rig.image.component import Component
from rig.image.leb import Cursor
from rig.image.module import Module
from rig.image.records import REBUILD, STUB, Attestation, Records
from rig.image.wasm import parse_module

MAX_NESTING = 16
_FLATTENED = re.compile(r"component-[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Party:
    """One input of the fusion."""

    index: int  # command line order; equals the owner index
    name: str  # for people: printable, unique
    flat: int | None  # flattened index; None: not derivable
    functions: tuple[tuple[int, int], ...]  # (fused function, index in its core module), ascending
    component: Component | None = field(repr=False)
    modules: tuple[Module, ...] = field(default=(), repr=False)  # core modules of the component

    @property
    def memory_module(self) -> Module | None:
        """The core module that defines the linear memory (never more than one: checked when parties are made)."""
        return next((m for m in self.modules if defined_memories(m)), None)


def parties(module: Module, records: Records, components: Sequence[Component]) -> tuple[Party, ...]:
    """All inputs, command line order. Errors: UsageError for records or files that do not fit together."""
    attestation = records.attestation
    matched = _match(module.name, attestation, components)
    parts = [component_parts(c.data, c.name) if c else None for c in matched]
    cores = [_modules(c, p) if c and p else () for c, p in zip(matched, parts, strict=True)]
    for component, modules in zip(matched, cores, strict=True):
        if component and sum(defined_memories(m) for m in modules) > 1:
            raise UsageError(
                f"{component.path}: has {sum(defined_memories(m) for m in modules)} linear memories; the rig needs one "
                "memory per component: give the components it is composed of one by one"
            )
    nested = [p.nested if p else None for p in parts]
    mine = _by_name(module, records, nested)
    flats = _flat(module, records, nested, mine)
    names = _display_names(attestation, matched)
    return tuple(
        Party(i, names[i], flats[i], tuple(mine[i]), matched[i], cores[i]) for i in range(len(attestation.inputs))
    )


def _modules(component: Component, parts: ComponentParts) -> tuple[Module, ...]:
    return tuple(parse_module(core, f"{component.name} (core module {k})") for k, core in enumerate(parts.cores))


def defined_memories(module: Module) -> int:
    return len(module.memories) - sum(i.kind == "memory" for i in module.imports)


# -- component files ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ComponentParts:
    """Core modules inside a component file, in order (nested ones included), and how many components nest in it."""

    cores: tuple[bytes, ...] = field(repr=False)
    nested: int


def component_parts(data: bytes, name: str) -> ComponentParts:
    """Take a component file apart. Error: UsageError when it is none."""
    cores: list[bytes] = []
    nested = _walk(Cursor(data, name), cores, 0)
    return ComponentParts(tuple(cores), nested)


def _walk(c: Cursor, cores: list[bytes], depth: int) -> int:
    if c.take(8) != b"\0asm\x0d\0\x01\0":
        c.fail("not a WebAssembly component (a core module or another file)", c.pos - 8)
    if depth > MAX_NESTING:
        c.fail(f"components nested deeper than {MAX_NESTING}")
    nested = 0
    while c.left:
        kind = c.u8()
        section = c.sub(c.u32())
        if kind == 1:
            cores.append(section.take(section.left))
        elif kind == 4:
            nested += 1 + _walk(section, cores, depth + 1)
    return nested


# -- joining ------------------------------------------------------------------------------------------------------


def _match(name: str, attestation: Attestation, components: Sequence[Component]) -> list[Component | None]:
    """Components in the order of the inputs, by hash; None for all when none are given."""
    inputs = attestation.inputs
    if not components:
        return [None] * len(inputs)
    if len(components) != len(inputs):
        raise UsageError(
            f"{name}: was fused from {len(inputs)} components, {len(components)} are given: give exactly those"
        )
    left = list(components)
    matched: list[Component | None] = []
    for k, entry in enumerate(inputs):
        found = next((c for c in left if hashlib.sha256(c.data).hexdigest() == entry.artifact.hash), None)
        if found is None:
            given = ", ".join(printable(c.name) for c in left)
            raise UsageError(
                f"{name}: input {k} ('{printable(entry.artifact.name)}', sha256 {entry.artifact.hash[:16]}…) is none "
                f"of the given components ({given}): give the files that were fused"
            )
        left.remove(found)
        matched.append(found)
    return matched


def _by_name(module: Module, records: Records, nested: Sequence[int | None]) -> list[list[tuple[int, int]]]:
    """Functions of every input. SCPV names inputs as the attestation does, or by flattened index."""
    names = [i.artifact.name for i in records.attestation.inputs]
    flattened = records.attestation.metadata.parameters.reproducible
    if not flattened and len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise UsageError(
            f"{module.name}: two inputs are called '{printable(twice)}', so its functions cannot be told apart; "
            f"{REBUILD} from files with different paths"
        )
    if flattened:
        names = _flattened_names(module, records, nested)
    where = {n: k for k, n in enumerate(names)}
    mine: list[list[tuple[int, int]]] = [[] for _ in names]
    for origin in records.origins:
        if origin.component == STUB:
            continue
        if origin.component not in where:
            raise UsageError(
                f"{module.name}: provenance gives function {origin.function} to '{printable(origin.component)}', "
                f"which is no input of the attestation: the records lie; {REBUILD}"
            )
        mine[where[origin.component]].append((origin.function, origin.index))
    return mine


def _flattened_names(module: Module, records: Records, nested: Sequence[int | None]) -> list[str]:
    flats = _counted(nested)
    if flats is not None:
        return [f"component-{f}" for f in flats]
    seen = sorted({o.component for o in records.origins} - {STUB}, key=lambda n: (len(n), n))
    if len(seen) != len(nested) or not all(_FLATTENED.fullmatch(n) for n in seen):
        raise UsageError(
            f"{module.name}: fused with --reproducible, and the provenance names {len(seen)} components where "
            f"{len(nested)} were fused, so names and inputs cannot be joined: give the components as well"
        )
    return seen  # both countings are ascending, so the ranks agree


def _counted(nested: Sequence[int | None]) -> list[int] | None:
    flats, at = [], 0
    for n in nested:
        if n is None:
            return None
        flats.append(at)
        at += 1 + n
    return flats


def _flat(
    module: Module, records: Records, nested: Sequence[int | None], mine: list[list[tuple[int, int]]]
) -> Sequence[int | None]:
    """Flattened index of every input: counted, else told by names, else by exported interfaces; checked against use."""
    meta = records.attestation.metadata
    used = {p.component for p in meta.placements}
    used |= {k for b in meta.boundaries for k in (b.from_component, b.to_component)}
    flats = _counted(nested)
    if flats is None and meta.parameters.reproducible:
        flats = [int(n.removeprefix("component-")) for n in _flattened_names(module, records, nested)]
    if flats is None:
        flats = _counted([_exported_interfaces(module, {f for f, _ in functions}) for functions in mine])
    if flats is not None and used <= set(flats):
        return flats
    placed = sorted({p.component for p in meta.placements})
    if len(placed) == len(nested) and used <= set(placed):
        return placed
    if any(n is not None for n in nested):
        raise UsageError(
            f"{module.name}: the attestation names components {sorted(used)}, the files count as {flats}: "
            f"the records lie, or the fuser counts in a new way; {REBUILD} 0.65.1"
        )
    return [None] * len(nested)


def _exported_interfaces(module: Module, functions: set[int]) -> int:
    """Number of interfaces whose functions these are, from the names of exports: "a:b/c#f" → "a:b/c"."""
    names = [e.name for e in module.exports if e.kind == "func" and e.index in functions]
    return len({plain_name(n).rpartition("#")[0] for n in names if "#" in plain_name(n) and not n.startswith("cabi_")})


# -- names --------------------------------------------------------------------------------------------------------


def plain_name(core: str) -> str:
    """Core export or import name in the spelling of `WitFunction.core_name`, whatever the mangling."""
    if core.startswith("cm32p2|") and core.count("|") == 2:
        _, interface, name = core.split("|")
        return f"{interface}#{name}" if interface else name
    return core


def printable(text: str) -> str:
    """Hostile names stay on one line and visible."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[:200])


def _display_names(attestation: Attestation, components: Sequence[Component | None]) -> list[str]:
    if components and components[0] is not None:
        return [printable(c.name) for c in components if c]
    full = [i.artifact.name for i in attestation.inputs]
    stems = [PurePosixPath(name).name.removesuffix(".wasm").removesuffix(".comp") for name in full]
    return [printable(s if s and stems.count(s) == 1 else f) for s, f in zip(stems, full, strict=True)]
