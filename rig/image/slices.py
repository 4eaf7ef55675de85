# SPDX-License-Identifier: Apache-2.0
"""Where each component's data lies: from placements where the fuser wrote them, from data where it did not (F4).

A placement's `base` is the displacement added to the component's own addresses. For page-granular and packed it is the
start of the slice too; with a shared stack the slices follow the stack, one after the other (toolchain reference 2.3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rig.errors import Refusal, UsageError
from rig.image.align import Linking, Twin
from rig.image.join import Party
from rig.image.memories import MemoryMap
from rig.image.model import Model, Slice, Span
from rig.image.module import DataSegment, Module
from rig.image.records import REBUILD, PlacementRecord, Records
from rig.image.sites import code_sites

PAGE = 1 << 16
GUARD = 7  # bytes meld keeps free behind a packed component (meld#479), before it rounds up to 16


@dataclass(frozen=True, slots=True)
class Layout:
    model: Model
    slices: Mapping[int, Slice]  # party index → slice; memoryless components have none
    recorded: frozenset[int]  # parties whose slice the attestation describes
    stack: Span | None  # shared-stack: the one stack region all share (memory 0)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a party beside the fused module; empty without components."""

    twins: Mapping[int, Twin] = field(default_factory=dict)
    linking: Linking = field(default_factory=Linking)  # of its memory module


def model_of(module: Module, records: Records, wanted: Model | None) -> Model:
    """The model this module was fused as. Error: UsageError when it cannot be carved or is not the one asked for."""
    parameters = records.attestation.metadata.parameters
    strategies = {p.strategy for p in records.attestation.metadata.placements}
    if parameters.domains is not None:
        found = Model.DOMAINS
    elif parameters.memory_strategy == "multi":
        found = Model.MULTI
    elif any(s.startswith("shared-stack") for s in strategies):
        found = Model.STACK
    elif "packed" in strategies:
        found = Model.PACKED
    elif strategies == {"page-granular"} or (not strategies and not module.memories):
        found = Model.PAGE
    else:
        raise UsageError(
            f"{module.name}: fused with --memory {parameters.memory_strategy} and without placements "
            f"({sorted(strategies)}), so nothing says where a component's data lies: {REBUILD} --memory shared "
            "--address-rebase (or --pack-rebase, --share-stack), or --memory multi"
        )
    if wanted is not None and wanted is not found:
        packing = "; packing needs an exported immutable __heap_base in every component: -Wl,--export=__heap_base"
        raise UsageError(
            f"{module.name}: asked for model {wanted}, but the fuser made {found}"
            f"{packing if wanted in (Model.PACKED, Model.STACK) else ''}: ask for that model, or {REBUILD} anew"
        )
    return found


def lay_out(
    module: Module,
    records: Records,
    model: Model,
    inputs: Sequence[Party],
    memories: MemoryMap,
    known: Sequence[Known],
    stack_top: int,
) -> Layout:
    """Slices of all components. `stack_top`: highest initial stack pointer (bytes), where shared-stack data begins.

    Errors: Refusal where a slice cannot be derived, UsageError where records and module contradict each other.
    """
    slices: dict[int, Slice] = {}
    recorded: set[int] = set()
    placements = _placements(module, records, inputs)
    for memory in range(len(module.memories)):
        members = [i for i in memories.members(memory) if _has_memory(inputs[i], i, placements, model, memory)]
        if model is Model.MULTI and members:
            slices[members[0]] = Slice(memory, Span(0, _size(module, memory)), 0)
        elif all(i in placements for i in members) and members:
            recorded.update(members)
            slices.update(_placed(model, memory, members, placements, stack_top))
        elif len(members) == 1:
            slices[members[0]] = Slice(memory, Span(0, _size(module, memory)), 0)
        else:
            slices.update(_derived(module, memory, [inputs[i] for i in members], known, records))
    _check(module, inputs, slices, known, stack_top if model is Model.STACK else 0)
    stack = Span(0, stack_top) if model is Model.STACK else None
    return Layout(model, slices, frozenset(recorded), stack)


def _size(module: Module, memory: int) -> int:
    return module.memories[memory].minimum * module.memories[memory].page_size


def _placements(module: Module, records: Records, inputs: Sequence[Party]) -> dict[int, PlacementRecord]:
    """Placement of each party."""
    by_flat = {p.flat: p.index for p in inputs if p.flat is not None}
    found: dict[int, PlacementRecord] = {}
    for placement in records.attestation.metadata.placements:
        party = by_flat.get(placement.component)
        if party is None:
            raise Refusal(
                "placement without component",
                f"{module.name}: the attestation places component {placement.component} in the fuser's own counting, "
                "which cannot be joined with its inputs: give the un-fused components",
            )
        if party in found:
            raise Refusal("two placements for one component", f"{inputs[party].name} has two core modules with data")
        found[party] = placement
    return found


def _has_memory(party: Party, index: int, placements: Mapping[int, PlacementRecord], model: Model, memory: int) -> bool:
    if party.component is not None:
        return party.memory_module is not None
    # Without the component: placed, or in a memory that has no placements at all (multi; domains after the first).
    return index in placements or model is Model.MULTI or (model is Model.DOMAINS and memory > 0)


def _placed(
    model: Model, memory: int, members: Sequence[int], placements: Mapping[int, PlacementRecord], stack_top: int
) -> dict[int, Slice]:
    slices: dict[int, Slice] = {}
    at = stack_top
    for index in sorted(members, key=lambda i: placements[i].component):
        placement = placements[index]
        start = at if model is Model.STACK else placement.base
        slices[index] = Slice(memory, Span(start, start + placement.reserved), placement.base)
        at += placement.reserved
    return slices


# -- domains after the first: no record (F4) ----------------------------------------------------------------------


def _derived(
    module: Module, memory: int, members: Sequence[Party], known: Sequence[Known], records: Records
) -> dict[int, Slice]:
    """Displacement of each member from its data and its addresses, in the fuser's order (command line)."""
    if any(p.memory_module is None for p in members):
        raise Refusal(
            "slices not described",
            f"memory {memory} of {module.name} holds {', '.join(p.name for p in members)}, and the attestation places "
            "only the first domain (F4): give the un-fused components, so that their data can be found",
        )
    packed = records.attestation.metadata.parameters.pack_rebase and all(_heap_base(p) for p in members)
    slices: dict[int, Slice] = {}
    at = 0
    for party in members:
        reserved = _packed_size(party) if packed else _pages(party)
        seen = _displacement(module, memory, party, known[party.index])
        if seen is not None and seen != at:
            raise Refusal(
                "slices not derivable",
                f"data of {party.name} lies {seen} bytes from its own addresses in memory {memory} of {module.name}, "
                f"{at} was expected from the sizes of the components before it (F4)",
            )
        slices[party.index] = Slice(memory, Span(at, at + reserved), at)
        at += reserved
    return slices


def _pages(party: Party) -> int:
    module = party.memory_module
    return module.memories[-1].minimum * PAGE if module else 0


def _heap_base(party: Party) -> int:
    module = party.memory_module
    for export in module.exports if module else ():
        if module and export.name == "__heap_base" and export.kind == "global":
            return module.globals[export.index].init or 0
    return 0


def _packed_size(party: Party) -> int:
    return -(-(_heap_base(party) + GUARD) // 16) * 16


def _displacement(module: Module, memory: int, party: Party, known: Known) -> int | None:
    """How far the fuser moved a component, as most of its data segments and addresses say; None when nothing does."""
    votes: Counter[int] = Counter()
    own = party.memory_module
    for segment in own.segments if own else ():
        if segment.offset is None or not any(segment.data):
            continue
        matches = [
            g.offset - segment.offset
            for g in module.segments
            if g.memory == memory and g.offset is not None and _same(segment, g.data, known.linking)
        ]
        if len(matches) == 1:
            votes[matches[0]] += 1
    for site in code_sites(known.twins, known.linking):
        if site.address and not site.after_indirect:
            votes[(site.fused - site.own) & 0xFFFF_FFFF] += 1
    return votes.most_common(1)[0][0] if votes else None


def _same(segment: DataSegment, data: bytes, linking: Linking) -> bool:
    return len(data) == len(segment.data) and _masked(segment, data, linking) == _masked(segment, segment.data, linking)


def _masked(segment: DataSegment, data: bytes, linking: Linking) -> bytes:
    """Data with the words that hold addresses set to zero: those move with the component."""
    out = bytearray(data)
    for site in linking.data_sites:
        k = site - segment.at
        if 0 <= k < len(out):
            out[k : k + 4] = bytes(len(out[k : k + 4]))
    return bytes(out)


# -- cross-check --------------------------------------------------------------------------------------------------


def _check(
    module: Module, inputs: Sequence[Party], slices: Mapping[int, Slice], known: Sequence[Known], stack_top: int
) -> None:
    """Slices lie apart and inside; every data segment lies in one; every component's data is where its slice says."""
    for memory in range(len(module.memories)):
        spans = sorted((s.span, i) for i, s in slices.items() if s.memory == memory)
        size = _size(module, memory)
        for k, (span, i) in enumerate(spans):
            if span.end > size or span.start < stack_top or (k and span.start < spans[k - 1][0].end):
                raise UsageError(
                    f"{module.name}: the place of '{inputs[i].name}', [{span.start}, {span.end}) of memory {memory} "
                    f"({size} bytes), overlaps another or lies outside: the records lie; {REBUILD}"
                )
        for segment in (g for g in module.segments if g.memory == memory and g.offset is not None and g.data):
            start = segment.offset or 0
            if not any(s.start <= start and start + len(segment.data) <= s.end for s, _ in spans):
                raise UsageError(
                    f"{module.name}: data at [{start}, {start + len(segment.data)}) of memory {memory} lies in no "
                    f"component's place: the records lie, or the fuser places in a new way; {REBUILD} 0.65.1"
                )
    for party in inputs:
        own, place = party.memory_module, slices.get(party.index)
        for segment in own.segments if own and place else ():
            if (
                place
                and segment.offset is not None
                and segment.data
                and not _found(module, segment, place, known[party.index])
            ):
                raise UsageError(
                    f"{module.name}: data that '{party.name}' has at {segment.offset} is not at "
                    f"{segment.offset + place.displacement} of memory {place.memory}: the records lie; {REBUILD}"
                )


def _found(module: Module, segment: DataSegment, place: Slice, known: Known) -> bool:
    wanted = (segment.offset or 0) + place.displacement
    return any(
        g.memory == place.memory and g.offset == wanted and _same(segment, g.data, known.linking)
        for g in module.segments
    )
