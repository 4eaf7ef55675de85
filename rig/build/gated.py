# SPDX-License-Identifier: Apache-2.0
"""What a lowered object really does at its seams, read back from its relocations. The judge of both interposers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rig.build import elfobj
from rig.build.seams import Calls
from rig.errors import Refusal
from rig.image.model import Finding, Image

NO_SITES: Mapping[int, tuple[tuple[int, int], ...]] = MappingProxyType({})
_FUNCTION = re.compile(r"rig_fn_(\d+)")
_GATE = re.compile(r"rig_gate_(\d+)")


@dataclass(frozen=True, slots=True)
class Gated:
    """The wasm functions an object has, and where each seam goes through its gate."""

    functions: tuple[int, ...]
    sites: Mapping[int, tuple[tuple[int, int], ...]]  # seam index → (function, byte offset in the function)
    findings: tuple[Finding, ...] = ()


def not_gated(function: int, offset: int, what: str) -> Refusal:
    """The error for a call that crosses owners beside the gates."""
    return Refusal("no switch point", f"function {function} at +{offset:#x} {what}")


def gate_target(symbol: elfobj.Symbol | None) -> int | None:
    """Index of the seam whose gate a relocation leads to."""
    match = _GATE.fullmatch(symbol.name) if symbol is not None and symbol.undefined else None
    return int(match[1]) if match else None


def check_gate(seam: int, function: int, offset: int, image: Image) -> None:
    """A gate may be called only by the owner of its seam, and only for a function that the wasm calls there."""
    if seam >= len(image.seams):
        raise not_gated(function, offset, f"calls gate {seam}, which is no seam")
    found = image.seams[seam]
    if found.caller != image.owner_of(function) or found.target not in image.functions[function].calls:
        raise not_gated(function, offset, f"calls gate {seam}, which is not for it")


def _check_helper(section: elfobj.Section, target: int) -> None:
    """The only code outside functions that may call one: what table entries point to."""
    if not section.name.startswith((".text.wrap_", ".text.wasm_tailcall_")):
        raise Refusal("no switch point", f"a helper ({section.name}) calls function {target}")


def check_compiled(obj: elfobj.Object, image: Image, calls: Calls) -> Gated:
    """Judge an object with one section per function (`rig_fn_<n>`), as the C compiler makes it.

    Raises Refusal("no switch point") for any reference from a function to one of another owner, and for a gate that
    is called from code nobody owns. Gates are external, so nothing can have been inlined across a seam.
    """
    sections: dict[int, tuple[elfobj.Section, int]] = {}
    for defined in obj.functions():
        match = _FUNCTION.fullmatch(defined.name)
        if match and isinstance(defined.section, elfobj.Section):
            sections[int(match[1])] = (defined.section, defined.size)
    function_of = {section: n for n, (section, _) in sections.items()}
    if len(function_of) != len(sections):
        raise Refusal("two functions share a section", "the compiler merged them")
    lowered = {f.index for f in image.functions if not f.imported}
    if lowered != set(sections):
        raise Refusal("functions are missing after compilation", f"{sorted(lowered - set(sections))[:8]}")

    sites: dict[int, list[tuple[int, int]]] = {}
    for section in obj.sections:
        function = function_of.get(section)
        for reloc in section.relocs:
            symbol = reloc.symbol
            seam = gate_target(symbol)
            target = function_of.get(symbol.section) if symbol and isinstance(symbol.section, elfobj.Section) else None
            if symbol is not None and symbol.undefined and (match := _FUNCTION.fullmatch(symbol.name)):
                target = int(match[1])  # a host function
            if seam is not None:
                if function is None:
                    raise Refusal("no switch point", f"a helper ({section.name}) calls gate {seam}")
                check_gate(seam, function, reloc.offset, image)
                sites.setdefault(seam, []).append((function, reloc.offset))
            elif target is not None and function is not None and calls.seam(function, target) is not None:
                raise not_gated(function, reloc.offset, f"refers to function {target} of another owner")
            elif target is not None and function is None and section.flags & elfobj.SHF_EXEC:
                _check_helper(section, target)
    return Gated(tuple(sorted(sections)), {seam: tuple(found) for seam, found in sorted(sites.items())})
