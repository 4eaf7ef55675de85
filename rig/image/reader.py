# SPDX-License-Identifier: Apache-2.0
"""A fused module → `Image`: every fact that later layers need, or one sentence why it cannot be had."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

from rig.errors import Refusal, UsageError
from rig.image.accesses import Touched, accesses, touched
from rig.image.align import Twin, align, function_names, linking
from rig.image.attribute import Ownership, attribute
from rig.image.component import Component
from rig.image.constants import Interpretation
from rig.image.detect import Facts, boundaries, detect, lost_exports, shared_contexts
from rig.image.join import Party, parties, printable
from rig.image.memories import map_memories
from rig.image.model import (
    Element,
    Finding,
    Function,
    Image,
    Memory,
    Model,
    Owner,
    OwnerKind,
    Segment,
    Table,
)
from rig.image.module import Module
from rig.image.primitives import primitives
from rig.image.reach import Graph, graph
from rig.image.rebase import misplaced
from rig.image.records import Records, read_records
from rig.image.seams import Interfaces, Link, adapter_target, interfaces, links, seams
from rig.image.slices import Known, Layout, lay_out, model_of
from rig.image.stack import Globals, read_globals, stack_top
from rig.image.wasm import parse_module
from rig.image.wit import carries_memory, needs_realloc


def read(
    data: bytes,
    *,
    name: str,
    model: Model | None = None,
    components: Sequence[Component] = (),
    domains: Mapping[str, tuple[str, ...]] | None = None,
    host_imports: Collection[str] = (),
) -> Image:
    """Read a module that meld fused.

    `name`: what messages call it. `model`: the one that was asked for (None: as the attestation says). `components`:
    the files it was fused from, in any order. `domains`: name → component names (model 3; the module keeps no names,
    F4). `host_imports`: imports the host provides, "x:y/z#f", "f" or a whole interface "x:y/z".

    Errors: UsageError for what is damaged, lies or is missing; Refusal for what cannot be derived.
    """
    module = parse_module(data, name)
    records = read_records(module)
    if any(e.init is None for e in module.globals) or any(
        s.memory is not None and s.offset is None for s in module.segments
    ):
        raise UsageError(f"{name}: a global or data segment depends on an imported global: fuse other components")
    if module.start is not None:
        raise Refusal(
            "start function",
            f"{name} runs function {module.start} before any gate exists: build the components without constructors "
            "(no _initialize)",
        )
    inputs = parties(module, records, components)
    found = model_of(module, records, model)
    twins = [align(module, p) for p in inputs]
    known = [_known(p, t) for p, t in zip(inputs, twins, strict=True)]
    calls = graph(module)
    owners = attribute(module, calls, records, inputs, host_imports)
    uses = touched(module, owners)
    groups, named = _domains(records, inputs, found, domains or {})
    memories = map_memories(module, calls, found, inputs, owners, uses, groups)
    layout = lay_out(module, records, found, inputs, memories, known, stack_top(module, inputs, known, found))
    globals_ = read_globals(module, owners, known)
    faces = interfaces(calls, records, inputs, twins, owners)
    ways = links(calls, owners, faces)
    titles = _owner_names(inputs, owners, calls, faces, ways)
    functions = _functions(module, owners, calls)
    carried = {(owners.of[f] or 0, n): carries_memory(t) for f, (n, t) in faces.entries.items() if t is not None}
    bounds = boundaries(records, inputs, ways, carried)
    facts = Facts(
        module, records, found, inputs, owners, calls, memories, layout, globals_, ways, bounds, titles,
        _takes_pointers(module, ways),
    )  # fmt: skip
    misses = misplaced(
        module, inputs, layout, known, globals_.stack_pointers, [f.name for f in functions], _outside_reallocs(faces)
    )
    findings: tuple[Finding, ...] = (*detect(facts), *lost_exports(module, faces.entries, owners, titles), *misses)
    people = _owners(module, inputs, owners, layout, uses, globals_, faces, titles, named)
    intruders = [(n, f) for p in people if p.intruder for n, f in p.entries]
    return Image(
        name=name,
        model=found,
        wasm=data,
        sha256=hashlib.sha256(data).hexdigest(),
        functions=functions,
        memories=tuple(
            Memory(k, m.minimum, m.page_size, tuple(i for i in memories.members(k) if i in layout.slices))
            for k, m in enumerate(module.memories)
        ),
        globals=globals_.all,
        tables=_tables(module, owners, calls),
        elements=_elements(module),
        segments=tuple(Segment(s.memory, s.offset or 0, s.data) for s in module.segments if s.memory is not None),
        owners=people,
        seams=seams(module, calls, owners, faces, layout.slices),
        boundaries=bounds,
        accesses=accesses(module),
        primitives=primitives(module, intruders),
        exports={e.name: e.index for e in module.exports if e.kind == "func"},
        imports=tuple((i.module, i.field, i.index) for i in module.imports),
        findings=findings,
        refusals=_refusals(components, faces),
        shared_context=shared_contexts(findings),
        attestation=records.raw,
    )


def _known(party: Party, twins: Mapping[int, Twin]) -> Known:
    own = party.memory_module
    return Known({f: t for f, t in twins.items() if t.module is own}, linking(own)) if own else Known()


def _domains(
    records: Records, inputs: Sequence[Party], model: Model, domains: Mapping[str, tuple[str, ...]]
) -> tuple[list[tuple[int, ...]], dict[int, str]]:
    """Groups of inputs, and party → domain name."""
    if model is not Model.DOMAINS:
        return [], {}
    groups = [tuple(g) for g in records.attestation.metadata.parameters.domains or ()]
    members = sorted(i for g in groups for i in g)
    if members != list(range(len(inputs))):
        raise UsageError(f"the attestation's domains {groups} do not name each of {len(inputs)} inputs once: it lies")
    named = {i: f"domain {k}" for k, group in enumerate(groups) for i in group}
    wanted = {frozenset(names): title for title, names in domains.items()}
    for group in groups:
        title = wanted.pop(frozenset(inputs[i].name for i in group), None)
        if domains and title is None:
            shown = ", ".join(inputs[i].name for i in group)
            raise UsageError(f"[domains]: the module was fused with {shown} in one domain; the table says otherwise")
        named.update({i: printable(title) for i in group} if title is not None else {})
    return groups, named


def _owner_names(
    inputs: Sequence[Party], owners: Ownership, calls: Graph, faces: Interfaces, ways: Sequence[Link]
) -> list[str]:
    names = [p.name for p in inputs]
    for k in range(len(owners.adapters)):
        adapter = owners.components + k
        callers = sorted({w.caller for w in ways if w.adapter == adapter})
        target = adapter_target(calls, owners, faces, adapter)
        callee = owners.of[target] if target is not None else None
        label = faces.entries.get(target, (f"func_{target}", None))[0] if target is not None else "?"
        who = "+".join(inputs[c].name for c in callers) or "outside"
        names.append(f"adapter:{who}>{inputs[callee].name if callee is not None else '?'}#{label.rpartition('#')[2]}")
    names += [f"host:{printable(key)}" for key, _ in owners.hosts]
    for k, title in enumerate(names):
        if names.index(title) != k:  # two adapters for one function, or a component that is called like one
            names[k] = f"{title}~{k}"
    return names


def _functions(module: Module, owners: Ownership, calls: Graph) -> tuple[Function, ...]:
    exported: dict[int, str] = {}
    for export in module.exports:
        if export.kind == "func":
            exported.setdefault(export.index, export.name)
    named = function_names(module)
    return tuple(
        Function(
            index=f,
            name=exported.get(f) or named.get(f) or f"func_{f}",
            type=module.type_of(f),
            owner=owners.of[f],
            imported=f < module.imported_functions,
            calls=calls.calls[f].direct,
            indirect=bool(calls.calls[f].indirect),
        )
        for f in range(len(module.functions))
    )


def _takes_pointers(module: Module, ways: Sequence[Link]) -> frozenset[int]:
    """Only asked where types are unknown: does the callee use a (pointer, number) it is given?"""
    if all(w.types is not None for w in ways):
        return frozenset()
    meaning = Interpretation(module, 1024)
    return frozenset(
        w.target
        for w in ways
        for p in meaning.pointer_parameters(w.target)
        if module.type_of(w.target).params[p : p + 2] == ("i32", "i32")
    )


def _outside_reallocs(faces: Interfaces) -> frozenset[int]:
    """Allocators that whoever calls an export from outside must use."""
    return frozenset(
        function
        for owner, function in faces.reallocs.items()
        if any(t is not None and needs_realloc(t) for t in faces.exported(owner))
    )


def _owners(
    module: Module,
    inputs: Sequence[Party],
    owners: Ownership,
    layout: Layout,
    uses: Mapping[int, Touched],
    globals_: Globals,
    faces: Interfaces,
    titles: Sequence[str],
    domains: Mapping[int, str],
) -> tuple[Owner, ...]:
    exported: dict[int, list[str]] = {}
    for export in module.exports:
        owner = owners.of[export.index] if export.kind == "func" else None
        if owner is not None and export.index in faces.entries:
            exported.setdefault(owner, []).append(export.name)
    people = []
    for index, title in enumerate(titles):
        used = uses.get(index, Touched())
        component = inputs[index].component if index < len(inputs) else None
        kind = (
            OwnerKind.COMPONENT if owners.is_component(index)
            else OwnerKind.ADAPTER if owners.is_adapter(index) else OwnerKind.HOST
        )  # fmt: skip
        people.append(
            Owner(
                index=index,
                name=title,
                kind=kind,
                domain=domains.get(index),
                functions=_own_functions(owners, index),
                slice=layout.slices.get(index),
                memories=tuple(sorted(used.all)),
                reads=tuple(sorted(used.all - used.written)),
                intruder=component.intruder if component else False,
                exports=tuple(exported.get(index, ())),
                backed=component.backed if component else None,
                stack_globals=globals_.stacks_of(index),
                entries=tuple((n, f) for f, (n, _) in sorted(faces.entries.items()) if owners.of[f] == index),
                realloc=faces.reallocs.get(index),
            )
        )
    return tuple(people)


def _own_functions(owners: Ownership, index: int) -> tuple[int, ...]:
    if owners.is_host(index):
        return owners.hosts[index - owners.components - len(owners.adapters)][1]
    return owners.functions(index)


def _tables(module: Module, owners: Ownership, calls: Graph) -> tuple[Table, ...]:
    users: dict[int, set[int]] = {}
    for function, entry in enumerate(calls.calls):
        owner = owners.of[function]
        if owner is not None and function in owners.alive:
            for _, table in entry.indirect:
                users.setdefault(table, set()).add(owner)
    return tuple(Table(k, t.minimum, tuple(sorted(users.get(k, ())))) for k, t in enumerate(module.tables))


def _elements(module: Module) -> tuple[Element, ...]:
    found = []
    for segment in module.elements:
        if segment.table is None or (segment.offset is not None and None not in segment.functions):
            functions = tuple(f for f in segment.functions if f is not None)
            found += [Element(segment.table, segment.offset or 0, functions)] if segment.table is not None else []
        else:
            raise UsageError(f"{module.name}: an element segment has holes or no fixed place: the rig cannot fill it")
    return tuple(found)


def _refusals(components: Sequence[Component], faces: Interfaces) -> dict[str, str]:
    refusals = {} if components else {"C-03": "no components"}
    if not components and not faces.typed:
        refusals |= {"K-02": "no types", "K-11": "no types"}
    return refusals
