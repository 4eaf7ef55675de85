# SPDX-License-Identifier: Apache-2.0
"""The structural half of the evidence: what registers grant, over all 4 GiB, against the manifest, byte for byte."""

from __future__ import annotations

from typing import TypeAlias

from rig.arch import pmp, pmsav7
from rig.arch.types import Intervals, Kind
from rig.plan.manifest import Manifest

Registers: TypeAlias = pmsav7.Context | pmp.Context
_SHOWN = 4  # ranges per difference


def granted(registers: Registers, kind: Kind) -> Intervals:
    """Every byte that unprivileged code may access so."""
    if isinstance(registers, pmsav7.Context):
        return pmsav7.grants(registers, False, kind)
    return pmp.grants(registers, False, kind)


def unknown(registers: Registers, kind: Kind) -> Intervals:
    """Every byte about which the architecture says nothing under these registers."""
    if isinstance(registers, pmsav7.Context):
        return pmsav7.unknown(registers, False, kind)
    return pmp.unknown(registers, False, kind)


def compare(registers: Registers, manifest: Manifest, owner: int) -> tuple[str, ...]:
    """The differences for one owner; () means equal. Registers as read back while the owner's context is in."""
    found: list[str] = []
    for kind in Kind:
        real, wanted, open_ = granted(registers, kind), manifest.granted(owner, kind), unknown(registers, kind)
        if open_:
            found.append(f"{kind.value}: the registers have no defined meaning for {_spell(open_, manifest)}")
        more, less = real - wanted, wanted - real - open_
        if more:
            found.append(f"{kind.value}: granted by the registers, not by the manifest: {_spell(more, manifest)}")
        if less:
            found.append(f"{kind.value}: granted by the manifest, not by the registers: {_spell(less, manifest)}")
    return tuple(found)


def _spell(intervals: Intervals, manifest: Manifest) -> str:
    parts = [f"[{a:#x}, {b:#x}) {manifest.name_of(a) or 'nobody'}" for a, b in intervals.spans[:_SHOWN]]
    more = len(intervals) - _SHOWN
    return ", ".join(parts) + (f" and {more} more" if more > 0 else "")
