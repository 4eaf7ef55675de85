# SPDX-License-Identifier: Apache-2.0
"""Detectors for what the fuser is known to get wrong (toolchain reference 2.4), each over this one artifact.

They report what is there and nothing else. Addresses that were not moved (F12, F13, W-08): `rig.image.rebase`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rig.image.attribute import Ownership
from rig.image.join import Party, plain_name, printable
from rig.image.memories import MemoryMap
from rig.image.model import Boundary, Finding, Model, Slice
from rig.image.module import Module
from rig.image.reach import Graph, graph
from rig.image.records import STUB, Records
from rig.image.seams import Link, carries
from rig.image.slices import Layout
from rig.image.stack import Globals

MULTI_CURE = "no region plan can help; fuse with --memory multi, or put the two into different domains"


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the detectors look at."""

    module: Module
    records: Records
    model: Model
    inputs: Sequence[Party]
    owners: Ownership
    calls: Graph
    memories: MemoryMap
    layout: Layout
    globals: Globals
    links: Sequence[Link]
    boundaries: Sequence[Boundary]
    names: Sequence[str]  # of owners
    pointers: frozenset[int]  # functions that take a (pointer, number) and read or write there

    def name(self, owner: int) -> str:
        return self.names[owner]


def detect(facts: Facts) -> tuple[Finding, ...]:
    """All findings but misplaced addresses, in the order of their numbers."""
    detectors = (_f1, _f2, _f4, _f5, _f9, _f10, _f11, _f14, _no_switch_point, _indirect)
    return tuple(finding for detector in detectors for finding in detector(facts))


def _f1(f: Facts) -> list[Finding]:
    """Published rule: component k of the command line owns `memory` (k = 0) or `memory$k`."""
    if f.model is not Model.MULTI:
        return []
    exported = {e.name: e.index for e in f.module.exports if e.kind == "memory"}
    found = []
    for party in f.inputs:
        memory = exported.get("memory" if party.index == 0 else f"memory${party.index}")
        if memory is not None and party.index not in f.memories.members(memory):
            actual = f.memories.members(memory)[0]
            what = (
                f"by the published rule (C2) memory {memory} belongs to {party.name}; it belongs to {f.name(actual)}. "
                "Whoever follows the rule grants one component's memory to the other"
            )
            cure = "follow the provenance, as the rig does, never names of exports"
            found.append(Finding("F1", what, f"memory {memory}", cure, (party.index, actual)))
    return found


def _f2(f: Facts) -> list[Finding]:
    if f.model is not Model.MULTI or len(f.module.memories) < 2 or f.records.attestation.metadata.placements:
        return []
    what = f"no record says which of the {len(f.module.memories)} memories belongs to which component"
    return [Finding("F2", what, "attestation, placements", "derived here from code and provenance")]


def _f4(f: Facts) -> list[Finding]:
    if f.model is not Model.DOMAINS:
        return []
    found = []
    for memory in range(len(f.module.memories)):
        bare = [i for i in f.memories.members(memory) if i in f.layout.slices and i not in f.layout.recorded]
        if bare:
            what = f"the attestation does not place {', '.join(map(f.name, bare))} in memory {memory}"
            cure = "derived here from data and addresses of the un-fused components"
            found.append(Finding("F4", what, f"memory {memory}", cure, tuple(bare)))
    return found


def _f5(f: Facts) -> list[Finding]:
    packed = f.model in (Model.PACKED, Model.STACK) or f.records.attestation.metadata.parameters.pack_rebase
    crooked = [i for i, s in f.layout.slices.items() if not _power_of_two(s)]
    if not packed or not crooked or f.model is Model.MULTI:
        return []
    places = ", ".join(f"{f.name(i)} [{f.layout.slices[i].span.start}, {f.layout.slices[i].span.end})" for i in crooked)
    cure = "use page-granular or multi on PMSAv7; PMP can express it as TOR"
    what = f"slices that no single power-of-two region covers exactly: {places}"
    return [Finding("F5", what, "attestation, placements", cure, tuple(crooked))]


def _power_of_two(place: Slice) -> bool:
    size = place.span.size
    return size >= 32 and size & (size - 1) == 0 and place.span.start % size == 0


def _f9(f: Facts) -> list[Finding]:
    """One shadow-stack pointer for several components, or one that was not moved with its component."""
    if f.model is Model.MULTI:
        return []
    found = []
    for pointer in sorted(f.globals.stack_pointers):
        users = [o for o in f.globals.users.get(pointer, ()) if f.owners.is_component(o)]
        moved = [o for o in users if o in f.layout.slices and f.layout.slices[o].displacement]
        if not moved and len(users) < 2:
            continue
        who = ", ".join(map(f.name, users))
        where = f"global {pointer}, initial value {f.globals.all[pointer].init}"
        if f.model is Model.STACK:
            what = f"{who} have one shadow stack in common: each can change what the others keep there"
            pairs = [(a, b) for k, a in enumerate(users) for b in users[k + 1 :]]
            cure = "use page-granular, packed or multi"
            found += [Finding("F9", what, where, cure, tuple(users), pair) for pair in pairs]
        else:
            what = (
                f"code of {who} uses a shadow-stack pointer that was not moved with it: it points into another's slice"
            )
            cure = "cured here: every owner gets its own copy, initial value + slice base"
            found.append(Finding("F9", what, where, cure, tuple(users), cured=True))
    return found


def _f10(f: Facts) -> list[Finding]:
    inputs = {i.artifact.name for i in f.records.attestation.inputs}
    used = {o.component for o in f.records.origins} - {STUB}
    if used <= inputs:
        return []
    what = (
        f"the attestation calls the inputs {', '.join(sorted(map(printable, inputs)))}, the provenance "
        f"{', '.join(sorted(map(printable, used)))}: two countings"
    )
    return [Finding("F10", what, "attestation and provenance", "joined here by counting nested components")]


def _f11(f: Facts) -> list[Finding]:
    found = []
    for memory, how in enumerate(f.memories.how):
        if how != "code":
            who = ", ".join(map(f.name, f.memories.members(memory)))
            what = f"no component function touches memory {memory}; given to {who} by {how}"
            found.append(Finding("F11", what, f"memory {memory}", owners=f.memories.members(memory)))
    return found


def _f14(f: Facts) -> list[Finding]:
    found: dict[tuple[int, int], list[str]] = {}
    for link in f.links:
        ours, theirs = f.layout.slices.get(link.caller), f.layout.slices.get(link.callee)
        seen = link.types is None and link.target in f.pointers  # no types: what the callee does with its arguments
        if ours and theirs and ours.memory == theirs.memory and (carries(link) or seen):
            found.setdefault((link.caller, link.callee), []).append(link.name)
    findings = []
    for pair, names in found.items():
        shown = ", ".join(names)
        what = (
            f"{f.name(pair[0])} hands {f.name(pair[1])} pointers into its own slice ({shown}): the calls work only "
            "while the callee can read its caller's bytes"
        )
        findings.append(Finding("F14", what, f"boundary {shown}", MULTI_CURE, pair, pair))
    return findings


def _no_switch_point(f: Facts) -> list[Finding]:
    """A boundary of the attestation without a call in the module, although its caller's own code has one."""
    found = []
    linked = {(link.caller, link.callee, link.name) for link in f.links}
    for b in f.boundaries:
        if b.caller is None or b.callee is None or (b.caller, b.callee, plain_name(b.function)) in linked:
            continue
        if not _calls_it(f.inputs[b.caller], b.function) or _calls_it_unreached(f, b.caller, b.callee):
            continue
        what = f"no call leads from {f.name(b.caller)} to {f.name(b.callee)} for {b.function}: inlined after fusion"
        cure = "leave out the optimiser between fuser and lowering, or forbid it to inline"
        pair = (b.caller, b.callee)
        found.append(Finding("no-switch-point", what, f"boundary {b.function}", cure, pair, pair))
    return found


def _calls_it_unreached(f: Facts, caller: int, callee: int) -> bool:
    """Whether the call is there, through an adapter that nothing reaches any more (the caller's export was lost)."""
    for function in (g for g, owner in enumerate(f.owners.of) if owner == caller and g not in f.owners.alive):
        unowned = [g for g in f.calls.calls[function].direct if f.owners.of[g] is None]
        if callee in {f.owners.of[h] for g in unowned for h in f.calls.callees(g)}:
            return True
    return False


def lost_exports(
    module: Module, entries: Mapping[int, tuple[str, object]], owners: Ownership, names: Sequence[str]
) -> list[Finding]:
    """Exports that are gone because another component's function took the name."""
    exported = {e.index for e in module.exports if e.kind == "func"}
    kept = {entries[f][0]: f for f in sorted(exported & entries.keys())}
    found = []
    for function, (name, _) in sorted(entries.items()):
        owner, winner = owners.of[function], kept.get(name)
        if owner is None or function in exported or winner is None or owners.of[winner] in (owner, None):
            continue
        other, lost = names[owners.of[winner] or 0], f"'{printable(name)}' of {names[owner]}"
        what = f"the export {lost} is gone: the fuser kept the one of that name of {other}"
        cure = "give the exports names of their own, or fuse with --memory multi"
        found.append(Finding("lost-export", what, f"function {function}", cure, (owner,)))
    return found


def _calls_it(party: Party, name: str) -> bool:
    """Whether the un-fused code, as far as anything reaches it, uses the import at all; unknown counts as yes."""
    if party.component is None:
        return True
    for module in party.modules:
        calls = graph(module)
        alive = calls.reachable(calls.roots())
        for entry in module.imports:
            if entry.kind == "func" and f"{entry.module}#{entry.field}" in (name, f"$root#{name}"):
                listed = any(entry.index in e.functions for e in module.elements)
                if listed or entry.index in alive:
                    return True
    return False


def _indirect(f: Facts) -> list[Finding]:
    """A call through a table that can reach another owner's function: no relocation to put a gate on."""
    found: dict[tuple[int, int], Finding] = {}
    for function in sorted(f.owners.alive):
        caller = f.owners.of[function]
        calls = f.calls.calls[function]
        through = set(calls.all) - set(calls.direct) if calls.indirect else set()
        for target in sorted(through):
            callee = f.owners.of[target]
            if caller is None or callee is None or caller == callee or f.owners.is_host(caller):
                continue
            what = f"{f.name(caller)} can call {f.name(callee)}'s function {target} through a table, past any gate"
            where = f"function {function}"
            pair = (caller, callee)
            found.setdefault(pair, Finding("no-switch-point", what, where, "call it by name", pair, pair))
    return list(found.values())


def shared_contexts(findings: Sequence[Finding]) -> tuple[tuple[int, ...], ...]:
    """Groups of owners that cannot be separated: everything that findings with a pair connect."""
    group: dict[int, set[int]] = {}
    for finding in findings:
        if finding.pair and not finding.cured:
            a, b = finding.pair
            union = group.get(a, {a}) | group.get(b, {b})
            for owner in union:
                group[owner] = union
    return tuple(sorted({tuple(sorted(g)) for g in group.values()}))


def boundaries(
    records: Records, inputs: Sequence[Party], links: Sequence[Link], types: Mapping[tuple[int, str], bool]
) -> tuple[Boundary, ...]:
    """Records of the attestation with owners; `types`: (callee, function) → does its type carry memory.

    Where the fuser's counting cannot be joined, a boundary belongs to the only link of its name, if there is one.
    """
    by_flat = {p.flat: p.index for p in inputs if p.flat is not None}
    found = []
    for b in records.attestation.metadata.boundaries:
        name = plain_name(b.function)
        caller, callee = by_flat.get(b.from_component), by_flat.get(b.to_component)
        alike = [link for link in links if link.name == name]
        if not by_flat and len(alike) == 1:
            caller, callee = alike[0].caller, alike[0].callee
        carried = callee is not None and types.get((callee, name), False)
        found.append(Boundary(caller, callee, b.function, b.lowering, b.crosses_memory, carried))
    return tuple(found)
