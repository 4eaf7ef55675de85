# SPDX-License-Identifier: Apache-2.0
"""Addresses that a component's own code and data contain, beside what the fuser made of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rig.image.align import Linking, Twin
from rig.image.opcodes import LOADS, STORES, Instruction


@dataclass(frozen=True, slots=True)
class Site:
    """One address inside an instruction, in the component (`own`) and after fusion (`fused`)."""

    function: int  # fused index
    at: int  # offset of the instruction inside the fused code section
    op: str
    own: int
    fused: int
    after_indirect: bool  # a call_indirect stands before it in its function


def code_sites(twins: Mapping[int, Twin], linking: Linking) -> Iterator[Site]:
    """Every relocated address in the code of one component. The twins' module must be the one `linking` describes."""
    sites = sorted(linking.code_sites)
    for function, twin in sorted(twins.items()):
        mine = sites[bisect_left(sites, twin.body.start) : bisect_left(sites, twin.body.end)]
        indirect, k = False, 0
        for own, fused in zip(twin.body.code, twin.fused.code, strict=True):
            while k < len(mine) and mine[k] < own.end:
                if own.at < mine[k]:
                    yield Site(function, fused.at, fused.op, _address(own), _address(fused), indirect)
                k += 1
            indirect |= own.op == "call_indirect"


def _address(ins: Instruction) -> int:
    """The immediate of an instruction that can hold an address."""
    value = ins.imm[2] if ins.op in LOADS or ins.op in STORES else ins.imm[0] if ins.imm else 0
    return value & 0xFFFF_FFFF
