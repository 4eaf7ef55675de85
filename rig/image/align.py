# SPDX-License-Identifier: Apache-2.0
"""Fused functions beside the functions they were made from, and the relocations that the un-fused modules kept.

`wasm-ld --emit-relocs` leaves, in every core module, the list of places that hold an address of its own data
(tool-conventions, Linking.md). It is exact, so it settles what a fuser had to move and did not (F12).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rig.errors import UsageError
from rig.image.join import Party
from rig.image.leb import Cursor
from rig.image.module import Body, Module
from rig.image.records import REBUILD

# Relocation types (Linking.md): does an addend follow; is it an address in linear memory.
_WITH_ADDEND = frozenset((3, 4, 5, 8, 9, 11, 14, 15, 16, 17, 21, 22, 23, 25))
_ADDRESSES = frozenset((3, 4, 5, 11))  # MEMORY_ADDR_LEB, _SLEB, _I32, _REL_SLEB: the 32-bit ones
_UNDEFINED, _EXPLICIT_NAME = 0x10, 0x40


@dataclass(frozen=True, slots=True)
class Linking:
    """What `linking` and `reloc.*` say of one core module."""

    code_sites: frozenset[int] = frozenset()  # offsets in the code section's payload that hold a data address
    other_sites: frozenset[int] = frozenset()  # the same for everything else that a linker fills in: indexes, …
    data_sites: frozenset[int] = frozenset()  # offsets in the data section's payload that hold a data address
    present: bool = False
    stack_pointer: int | None = None  # global index


@dataclass(frozen=True, slots=True)
class Twin:
    """A fused function and its original: same instructions, other immediates."""

    module: Module = field(repr=False)  # of the component
    body: Body = field(repr=False)  # of the component
    fused: Body = field(repr=False)


def align(fused: Module, party: Party) -> Mapping[int, Twin]:
    """Originals of a party's functions. A function that the fuser changed beyond immediates has none.

    Error: UsageError when the provenance names a function that its component does not have.
    """
    twins: dict[int, Twin] = {}
    current = 0  # modules are merged one after the other, so the search never goes back before one that matched
    for function, index in party.functions:
        body = fused.body(function)
        shape = fused.type_of(function)
        candidates = [
            k for k, m in enumerate(party.modules)
            if m.imported_functions <= index < len(m.functions) and m.type_of(index) == shape
        ]  # fmt: skip
        if party.modules and not candidates:
            raise UsageError(
                f"{fused.name}: provenance says function {function} is function {index} of '{party.name}', which has "
                f"no such function of that type: the records lie; {REBUILD}"
            )
        same = [k for k in candidates if body and _ops(party.modules[k].body(index)) == _ops(body)]
        if same and body:
            current = next((k for k in same if k >= current), same[0])
            original = party.modules[current].body(index)
            if original:
                twins[function] = Twin(party.modules[current], original, body)
    return twins


def _ops(body: Body | None) -> list[str]:
    return [i.op for i in body.code] if body else []


def linking(module: Module) -> Linking:
    """Relocation sites of a core module; `present` is False without relocations. Error: UsageError when malformed."""
    table = module.custom("linking")
    if table is None:
        return Linking()
    symbols = _symbols(Cursor(table.payload, f"{module.name}: section 'linking'"))
    code: set[int] = set()
    other: set[int] = set()
    data: set[int] = set()
    present = False
    for custom in module.customs:
        if not custom.name.startswith("reloc."):
            continue
        c = Cursor(custom.payload, f"{module.name}: section '{custom.name}'")
        section = c.u32()
        kind = module.section_order[section] if section < len(module.section_order) else -1
        sites = code if kind == 10 else data if kind == 11 else None
        present |= kind == 10
        for _ in range(c.count("relocations")):
            type_, offset, symbol = c.u8(), c.u32(), c.u32()
            if type_ in _WITH_ADDEND:
                c.signed(64 if type_ in (14, 15, 16, 17, 22, 25) else 32)
            defined = symbol < len(symbols) and not symbols[symbol].undefined
            if type_ in _ADDRESSES and sites is not None and defined:  # a weak undefined symbol is 0 and stays 0
                sites.add(offset)
            elif kind == 10:
                other.add(offset)
        c.done("relocations")
    pointer = next((s.index for s in symbols if s.kind == 2 and s.name == "__stack_pointer"), None)
    return Linking(frozenset(code), frozenset(other), frozenset(data), present, pointer)


@dataclass(frozen=True, slots=True)
class _Symbol:
    kind: int  # 0 function, 1 data, 2 global, 3 section, 4 event, 5 table
    name: str
    index: int
    undefined: bool


def _symbols(c: Cursor) -> list[_Symbol]:
    version = c.u32()
    if version != 2:
        c.fail(f"is version {version}, the rig reads 2")
    symbols: list[_Symbol] = []
    while c.left:
        kind, sub = c.u8(), c.sub(c.u32())
        if kind == 8:
            symbols = [_symbol(sub) for _ in range(sub.count("symbols"))]
            sub.done("symbol table")
    return symbols


def _symbol(c: Cursor) -> _Symbol:
    kind, flags = c.u8(), c.u32()
    undefined = bool(flags & _UNDEFINED)
    if kind in (0, 2, 4, 5):
        index = c.u32()
        return _Symbol(kind, c.name() if not undefined or flags & _EXPLICIT_NAME else "", index, undefined)
    if kind == 1:
        name = c.name()
        if not undefined:
            c.u32(), c.u32(), c.u32()
        return _Symbol(kind, name, -1, undefined)
    if kind == 3:
        return _Symbol(kind, "", c.u32(), undefined)
    c.fail(f"symbol of kind {kind}", c.pos - 1)


def global_names(module: Module) -> Mapping[int, str]:
    """Names of globals from the `name` section. A malformed one counts as absent (core specification 7.4.1)."""
    return _names(module, 7)


def function_names(module: Module) -> Mapping[int, str]:
    """Names of functions from the `name` section; absent when malformed, as above."""
    return _names(module, 1)


def _names(module: Module, subsection: int) -> Mapping[int, str]:
    found: dict[int, str] = {}
    for custom in module.customs:
        if custom.name != "name":
            continue
        try:
            found.update(_name_map(Cursor(custom.payload, "name"), subsection))
        except UsageError:
            return {}
    return found


def _name_map(c: Cursor, wanted: int) -> Iterable[tuple[int, str]]:
    pairs: list[tuple[int, str]] = []
    while c.left:
        kind, sub = c.u8(), c.sub(c.u32())
        if kind == wanted:
            pairs += [(sub.u32(), sub.name()) for _ in range(sub.count("names"))]
    return pairs
