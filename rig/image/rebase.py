# SPDX-License-Identifier: Apache-2.0
"""Addresses that the fuser should have moved with their component and did not (F12, F13, W-08).

With the un-fused components this is exact: their relocations list every place that holds an address of their own.
Beside that, and without them, constants that code dereferences must lie in their owner's slice. Only memories that
several components share can show it; in a memory of its own a component is not moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rig.image.align import Linking
from rig.image.constants import AddressUse, Interpretation
from rig.image.join import Party
from rig.image.model import Finding, Slice
from rig.image.module import Module
from rig.image.sites import code_sites
from rig.image.slices import Known, Layout

M32 = 0xFFFF_FFFF
NEAR = 64  # a[i - 1] and the like: how far a base with an unknown index may lie outside
CURES = {
    "F12": "known fault of the fuser: it misreads the table number of a call through a pointer and loses the "
    "relocations behind it. Compile the component with -mcpu=mvp (which writes none), give it as the first (its "
    "addresses stay), or fuse with --memory multi",
    "F13": "known fault of the fuser: it does not move initial values of globals. Build without -fPIC, give the "
    "component as the first, or fuse with --memory multi",
    "W-08": "build the component with relocations (--emit-relocs) and without addresses written as numbers, or fuse "
    "with --memory multi",
}


@dataclass(frozen=True, slots=True)
class Miss:
    id: str
    owner: int
    function: int | None  # None: in a data segment
    at: int
    address: int
    what: str


def misplaced(
    module: Module,
    inputs: Sequence[Party],
    layout: Layout,
    known: Sequence[Known],
    stack_pointers: frozenset[int],
    names: Sequence[str],
    reallocs: frozenset[int],
) -> tuple[Finding, ...]:
    """One finding per id, function and victim. `reallocs`: allocators whose result the outside uses as an address."""
    misses: list[Miss] = []
    shared = {m for m in range(len(module.memories)) if sum(s.memory == m for s in layout.slices.values()) > 1}
    low = _lowest(module, layout)
    meaning = Interpretation(module, low) if shared else None
    for party in inputs:
        place = layout.slices.get(party.index)
        if place is None or place.memory not in shared or meaning is None:
            continue
        settled: set[int] = set()
        for miss, at in _relocated(module, party, place, known[party.index]):
            settled.add(at)
            misses += [miss] if miss else []
        uses = meaning.uses([f for f, _ in party.functions], reallocs)
        misses += [
            _miss(party.index, use, module)
            for use in uses
            if use.at not in settled and use.through_global not in stack_pointers and _outside(module, use, place, low)
        ]
    return _findings(misses, inputs, layout, names)


def _lowest(module: Module, layout: Layout) -> int:
    """Lowest address of data in any component's own counting; what lies below is stack or a distance."""
    lows = [
        (g.offset or 0) - s.displacement
        for s in layout.slices.values()
        for g in module.segments
        if g.memory == s.memory and g.offset is not None and g.offset in s.span
    ]
    return max(16, min(lows, default=1024))


def _relocated(module: Module, party: Party, place: Slice, known: Known) -> Iterator[tuple[Miss | None, int]]:
    """Every relocated address of the component: a miss or None, and where its instruction is."""
    for site in code_sites(known.twins, known.linking):
        id_ = "F12" if site.after_indirect else "W-08"
        if not site.address:
            what = f"{site.op}: {site.own}, which is no address, was changed to {site.fused}; it"
            yield Miss(id_, party.index, site.function, site.at, site.fused, what), site.at
        elif site.fused != (site.own + place.displacement) & M32:
            yield Miss(id_, party.index, site.function, site.at, site.fused, site.op), site.at
        else:
            yield None, site.at
    for at, own, fused in _data_words(module, party, place, known.linking):
        if fused != (own + place.displacement) & M32:
            yield Miss("W-08", party.index, None, at, fused, "a pointer in a data segment"), -1


def _data_words(module: Module, party: Party, place: Slice, linking: Linking) -> Iterator[tuple[int, int, int]]:
    """(fused offset of the word, own value, fused value) of every address in the component's data."""
    fused = {g.offset: g.data for g in module.segments if g.memory == place.memory and g.offset is not None}
    own = party.memory_module
    for segment in own.segments if own else ():
        if segment.offset is None:
            continue
        moved = fused.get(segment.offset + place.displacement, b"")
        for site in sorted(linking.data_sites):
            k = site - segment.at
            if 0 <= k <= len(segment.data) - 4 and k + 4 <= len(moved):
                yield (
                    segment.offset + place.displacement + k,
                    int.from_bytes(segment.data[k : k + 4], "little"),
                    int.from_bytes(moved[k : k + 4], "little"),
                )


def _outside(module: Module, use: AddressUse, place: Slice, low: int) -> bool:
    address, span = use.address, place.span
    if address in span:
        return False
    moved_would_fit = (address + place.displacement) & M32 in span
    if use.through_global is not None:
        init = module.globals[use.through_global].init or 0
        return init >= low and moved_would_fit
    if not use.exact:
        return moved_would_fit and not span.start - NEAR <= address < span.end + NEAR
    return True


def _miss(owner: int, use: AddressUse, module: Module) -> Miss:
    if use.through_global is not None:
        what = f"global {use.through_global}, initial value {module.globals[use.through_global].init}"
        return Miss("F13", owner, use.function, use.at, use.address, what)
    return Miss("F12" if use.after_indirect else "W-08", owner, use.function, use.at, use.address, use.op)


def _findings(
    misses: Sequence[Miss], inputs: Sequence[Party], layout: Layout, names: Sequence[str]
) -> tuple[Finding, ...]:
    grouped: dict[tuple[str, int, int | None, int | None], list[Miss]] = {}
    for miss in misses:
        grouped.setdefault((miss.id, miss.owner, miss.function, _victim(miss, layout)), []).append(miss)
    findings = []
    for (id_, owner, function, victim), group in grouped.items():
        hit = f"the bytes of {inputs[victim].name}" if victim is not None else _nobody(group[0], layout)
        places = ", ".join(dict.fromkeys(f"{m.at:#x}" for m in group[:8])) + (", …" if len(group) > 8 else "")
        addresses = ", ".join(dict.fromkeys(str(m.address) for m in group[:8]))
        where = f"function {function} '{names[function]}' at code offset {places}" if function is not None else (
            f"data of {inputs[owner].name} at offset {places}"
        )  # fmt: skip
        what = f"{inputs[owner].name}: {group[0].what} uses address {addresses}, outside its own place, in {hit}"
        owners = (owner,) if victim is None else (owner, victim)
        findings.append(Finding(id_, what, where, CURES[id_], owners))
    return tuple(findings)


def _victim(miss: Miss, layout: Layout) -> int | None:
    memory = layout.slices[miss.owner].memory
    for party, place in layout.slices.items():
        if place.memory == memory and miss.address in place.span:
            return party
    return None


def _nobody(miss: Miss, layout: Layout) -> str:
    if layout.stack is not None and miss.address in layout.stack:
        return "the stack that all components share"
    return "bytes that belong to nobody"
