# SPDX-License-Identifier: Apache-2.0
"""Addresses and other constants in a component's own code, beside what the fuser made of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rig.image.align import Linking, Twin
from rig.image.opcodes import LOADS, STORES, Instruction


@dataclass(frozen=True, slots=True)
class Site:
    """One constant inside an instruction, in the component (`own`) and after fusion (`fused`)."""

    function: int  # fused index
    at: int  # offset of the instruction inside the fused code section
    op: str
    own: int
    fused: int
    address: bool  # a relocation says that it is an address of the component's own data
    after_indirect: bool  # a call_indirect stands before it in its function


def code_sites(twins: Mapping[int, Twin], linking: Linking) -> Iterator[Site]:
    """Every address in the code of one component, and every other constant that the fuser changed.

    The twins' module must be the one that `linking` describes; without relocations there is nothing to say.
    """
    if not linking.present:
        return
    addresses, others = sorted(linking.code_sites), sorted(linking.other_sites)
    for function, twin in sorted(twins.items()):
        indirect = False
        for own, fused in zip(twin.body.code, twin.fused.code, strict=True):
            before, after = _constant(own), _constant(fused)
            if before is not None and after is not None:
                address = _within(addresses, own)
                if address or (before != after and not _within(others, own)):
                    yield Site(function, fused.at, fused.op, before, after, address, indirect)
            indirect |= own.op == "call_indirect"


def _within(sites: list[int], ins: Instruction) -> bool:
    """Is there a site among the immediates of the instruction?"""
    k = bisect_left(sites, ins.at + 1)
    return k < len(sites) and sites[k] < ins.end


def _constant(ins: Instruction) -> int | None:
    """The immediate that can be an address: a static offset, or a constant."""
    if ins.op in LOADS or ins.op in STORES:
        return ins.imm[2]
    return ins.imm[0] & 0xFFFF_FFFF if ins.op == "i32.const" else None
