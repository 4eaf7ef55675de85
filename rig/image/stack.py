# SPDX-License-Identifier: Apache-2.0
"""The globals of a fused module: who uses which, and which are shadow-stack pointers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rig.image.attribute import Ownership
from rig.image.join import Party
from rig.image.model import Global, Model
from rig.image.module import Body, Module
from rig.image.slices import Known


@dataclass(frozen=True, slots=True)
class Globals:
    all: tuple[Global, ...]
    users: Mapping[int, tuple[int, ...]]  # global → owners whose code reads or writes it
    stack_pointers: frozenset[int]

    def stacks_of(self, owner: int) -> tuple[int, ...]:
        return tuple(sorted(g for g in self.stack_pointers if owner in self.users.get(g, ())))


def read_globals(module: Module, owners: Ownership, known: Sequence[Known]) -> Globals:
    """Stack pointers by their name in the un-fused component, else by how functions begin."""
    users: dict[int, set[int]] = {}
    for body in module.bodies:
        owner = owners.of[body.function]
        for ins in body.code if owner is not None else ():
            if ins.op in ("global.get", "global.set") and owner is not None:
                users.setdefault(ins.imm[0], set()).add(owner)
    pointers = {g for k in known for g in _named(k)}
    for body in module.bodies:
        owner = owners.of[body.function]
        if owner is None or owner >= len(known) or not known[owner].linking.present:
            pointers |= _framed(module, body)
    listed = []
    for index, entry in enumerate(module.globals):
        mine = users.get(index, set())
        only = next(iter(mine)) if len(mine) == 1 else None
        listed.append(Global(index, entry.type, entry.mutable, entry.init or 0, only, index in pointers))
    return Globals(tuple(listed), {g: tuple(sorted(o)) for g, o in users.items()}, frozenset(pointers))


def _named(known: Known) -> set[int]:
    """Fused indexes of the component's `__stack_pointer`, seen in the instructions that use it."""
    return {
        fused.imm[0]
        for twin in known.twins.values()
        for own, fused in zip(twin.body.code, twin.fused.code, strict=True)
        if own.op in ("global.get", "global.set") and own.imm[0] == known.linking.stack_pointer
    }


def _framed(module: Module, body: Body) -> set[int]:
    """Mutable i32 globals from which a function takes a frame: get, constant, subtract, and later set."""
    taken = set()
    for first, second, third in zip(body.code, body.code[1:], body.code[2:], strict=False):
        if first.op == "global.get" and second.op == "i32.const" and third.op == "i32.sub" and second.imm[0] > 0:
            taken.add(first.imm[0])
    written = {i.imm[0] for i in body.code if i.op == "global.set"}
    return {g for g in taken & written if module.globals[g].mutable and module.globals[g].type == "i32"}


def stack_top(module: Module, inputs: Sequence[Party], known: Sequence[Known], model: Model) -> int:
    """Shared stack: where it ends and the slices begin; 0 in other models.

    The largest stack of all components when they are known, else the largest initial value of a stack pointer, else
    where data begins.
    """
    if model is not Model.STACK:
        return 0
    tops = []
    for party, facts in zip(inputs, known, strict=True):
        pointer, own = facts.linking.stack_pointer, party.memory_module
        if own and pointer is not None and pointer < len(own.globals):
            tops.append(own.globals[pointer].init or 0)
    if not tops:
        framed = {g for b in module.bodies for g in _framed(module, b)}
        tops = [module.globals[g].init or 0 for g in framed]
    if not tops:
        tops = [min((s.offset for s in module.segments if s.offset is not None), default=0)]
    return max(tops)
