# SPDX-License-Identifier: Apache-2.0
"""Every instruction that touches linear memory, and which memories each owner reads and writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rig.image.attribute import Ownership
from rig.image.model import MemoryAccess
from rig.image.module import Module
from rig.image.opcodes import LOADS, STORES, Instruction


@dataclass(frozen=True, slots=True)
class Touched:
    read: frozenset[int] = frozenset()
    written: frozenset[int] = frozenset()

    @property
    def all(self) -> frozenset[int]:
        return self.read | self.written


def touches(ins: Instruction) -> Iterable[tuple[int, bool]]:
    """(memory, is it written) for one instruction; memory.copy touches two."""
    if ins.op in LOADS:
        yield ins.imm[1], False
    elif ins.op in STORES:
        yield ins.imm[1], True
    elif ins.op == "memory.copy":
        yield ins.imm[0], True
        yield ins.imm[1], False
    elif ins.op == "memory.fill":
        yield ins.imm[0], True
    elif ins.op == "memory.init":
        yield ins.imm[1], True


def accesses(module: Module) -> tuple[MemoryAccess, ...]:
    """All accesses, in code order. memory.copy appears twice: destination, then source."""
    found = []
    for body in module.bodies:
        for ins in body.code:
            offset = ins.imm[2] if ins.op in LOADS or ins.op in STORES else 0
            found += [MemoryAccess(body.function, ins.at, ins.op, m, offset) for m, _ in touches(ins)]
    return tuple(found)


def touched(module: Module, owners: Ownership) -> dict[int, Touched]:
    """Owner → memories its code reads and writes."""
    sets: dict[int, tuple[set[int], set[int]]] = {}
    for body in module.bodies:
        owner = owners.of[body.function]
        if owner is None:
            continue
        both = sets.setdefault(owner, (set(), set()))
        for ins in body.code:
            for memory, write in touches(ins):
                both[write].add(memory)
    return {owner: Touched(frozenset(r), frozenset(w)) for owner, (r, w) in sets.items()}
