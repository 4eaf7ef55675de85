# SPDX-License-Identifier: Apache-2.0
"""Gates on the seams of a synth object: relocations of the calls that cross owners are pointed at `rig_gate_<i>`.

`interpose` rewrites, `check` reads the result back and judges it from scratch. No instruction changes. What else the
rewriting does (toolchain reference 4.1, 4.2, 10.1):

* names: every function gets the one global alias `rig_fn_<n>`; names of the user's become local or go;
* memory k ≥ 1 and RV32's globals become symbols of the plan (`rig_mem_<k>`, `rig_window`), their sections go: they
  would cost their full size in flash, and the agent fills them from the module's data segments;
* Arm: mapping symbols, without which disassemblers and `synth verify-embedder` take the code for data.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from rig.boards.model import Arch
from rig.build import disasm, elfobj
from rig.build.gated import Gated, check_gate, gate_target, not_gated
from rig.build.seams import Calls
from rig.build.words import printable
from rig.errors import Refusal, UsageError
from rig.image.model import Finding, Image

R_ARM_ABS32, R_ARM_THM_CALL, R_ARM_THM_JUMP24 = 2, 10, 30
R_RISCV_CALL, R_RISCV_CALL_PLT, R_RISCV_JAL = 18, 19, 17
CALLS: Mapping[Arch, tuple[int, ...]] = {
    Arch.V7M: (R_ARM_THM_CALL, R_ARM_THM_JUMP24),
    Arch.RV32: (R_RISCV_CALL, R_RISCV_CALL_PLT, R_RISCV_JAL),
}
MACHINES: Mapping[Arch, int] = {Arch.V7M: elfobj.EM_ARM, Arch.RV32: elfobj.EM_RISCV}
TEXT = ".unpriv.text.image"
TYPE_IDS = ".unpriv.rodata.type_ids"
GLOBALS = "__synth_globals"
_MEMORY = re.compile(r"__synth_wasm_data_(\d+)")
_LOCAL = re.compile(r"func_(\d+)")


@dataclass(frozen=True, slots=True)
class Extent:
    """A function's bytes in `.text`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Site:
    """One call instruction with a relocation."""

    reloc: elfobj.Reloc
    function: int  # whose code it is in
    callee: int  # wasm function it calls


def interpose(data: bytes, image: Image, arch: Arch, what: str = "object") -> bytes:
    """The object with every seam gated. Raises Refusal, or UsageError (naming `what`) where it is not the image's."""
    obj = read(data, arch, what)
    text = text_section(obj, what)
    functions = extents(obj, text, image, arch, what)
    calls = Calls(image)
    gates: dict[int, elfobj.Symbol] = {}
    aliases = {
        n: elfobj.Symbol(
            f"rig_fn_{n}", e.start | (arch is Arch.V7M), e.end - e.start, type=elfobj.STT_FUNC, section=text
        )
        for n, e in functions.items()
    }
    for site in call_sites(obj, text, functions, image, arch, what):
        seam = calls.seam(site.function, site.callee)
        if seam is not None:
            site.reloc.symbol = gates.setdefault(seam, elfobj.Symbol(f"rig_gate_{seam}"))
        elif site.callee in aliases:
            site.reloc.symbol = aliases[site.callee]
        else:
            site.reloc.symbol = aliases[site.callee] = elfobj.Symbol(f"rig_fn_{site.callee}")
    _addresses(text, functions, aliases, arch, what)
    _place(obj, text, image, arch, what)
    # Helpers of the runtime library stay as they are called; what nothing refers to any more goes.
    used = {reloc.symbol for section in obj.sections for reloc in section.relocs}
    old = [s for s in obj.symbols if s in used and s.undefined and s not in gates.values()]
    obj.symbols = [*_mapping(text, functions, arch), *old, *aliases.values(), *gates.values(), *_type_ids(obj)]
    text.name = TEXT
    return elfobj.emit(obj)


def read(data: bytes, arch: Arch, what: str) -> elfobj.Object:
    """Parse an object and see that it is for `arch`."""
    obj = elfobj.parse(data, what)
    if obj.machine != MACHINES[arch]:
        raise UsageError(f"{what}: made for another processor (ELF machine {obj.machine}); lower the module for {arch}")
    return obj


def text_section(obj: elfobj.Object, what: str, name: str = ".text") -> elfobj.Section:
    """The one executable section."""
    found = [s for s in obj.sections if s.flags & elfobj.SHF_EXEC]
    if len(found) != 1 or found[0].name != name or found[0].type != elfobj.SHT_PROGBITS:
        raise UsageError(f"{what}: executable sections {[s.name for s in found]} where one, {name}, was expected")
    return found[0]


def extents(
    obj: elfobj.Object, text: elfobj.Section, image: Image, arch: Arch, what: str
) -> dict[int, Extent]:
    """Wasm function → its bytes. Arm: local `func_N`. RV32: exports by name, the others `func_N`, all global.

    Raises UsageError where names are ambiguous, or functions overlap or lie out of their wasm order.
    """
    found: dict[int, Extent] = {}
    for symbol in obj.functions():
        if symbol.section is not text or (arch is Arch.V7M and symbol.bind != elfobj.STB_LOCAL):
            continue
        match = _LOCAL.fullmatch(symbol.name)
        number = int(match[1]) if match else None
        if arch is Arch.RV32:
            exported = image.exports.get(symbol.name)
            if exported is not None and number not in (None, exported) and number not in image.exports.values():
                raise UsageError(f"{what}: {symbol.name} may be function {exported} or {number}: rename that export")
            number = number if exported is None else exported
        if number is None or number >= len(image.functions) or image.functions[number].imported:
            raise UsageError(f"{what}: {printable(symbol.name)!r} is no function of the module; lower it again")
        start = symbol.value & ~1 if arch is Arch.V7M else symbol.value
        if number in found and found[number] != Extent(start, start + symbol.size):
            raise UsageError(f"{what}: two functions are called {printable(symbol.name)!r}: rename that export")
        found[number] = Extent(start, start + symbol.size)
    order = [found[n] for n in sorted(found)]
    if any(a.end > b.start for a, b in pairwise(order)) or (order and order[-1].end > text.size):
        raise UsageError(f"{what}: its functions overlap or are not in the module's order; lower the module again")
    if not found:
        raise UsageError(f"{what}: holds no function of the module; lower the module again")
    return {n: found[n] for n in sorted(found)}


def call_sites(
    obj: elfobj.Object, text: elfobj.Section, functions: Mapping[int, Extent], image: Image, arch: Arch, what: str
) -> Iterator[Site]:
    """Every relocated call of a wasm function, with its callee.

    An import is named by its field only, so equal fields of two modules are one symbol: where a function has as many
    calls as in the wasm, their order tells which is which. (An import named like an export is even bound to the export
    by synth 0.89: the order shows that too.) Raises UsageError where object and wasm disagree.
    """
    imports: dict[str, set[int]] = {}
    for _, title, function in image.imports:
        imports.setdefault(title, set()).add(function)
    by_start = {extent.start: n for n, extent in functions.items()}

    def candidates(symbol: elfobj.Symbol | None, where: str) -> set[int]:
        if symbol is None:
            raise UsageError(f"{what}: {where} calls nothing; lower the module again")
        if symbol.undefined:
            return imports.get(symbol.name, set())  # none: a helper of the runtime library
        start = symbol.value & ~1 if arch is Arch.V7M else symbol.value
        if symbol.section is not text or start not in by_start:
            raise UsageError(f"{what}: {where} calls the middle of {printable(symbol.name)!r}; lower the module again")
        return {by_start[start]}

    for n, extent in functions.items():
        inside = sorted(
            (r for r in text.relocs if extent.start <= r.offset < extent.end and r.type in CALLS[arch]),
            key=lambda r: r.offset,
        )
        named = [(r, c) for r in inside if (c := candidates(r.symbol, f"function {n} at {r.offset:#x}"))]
        wasm = image.functions[n].calls
        rest = iter(wasm)
        for reloc, options in named:
            if len(options) > 1 and len(named) != len(wasm):
                raise Refusal("an import cannot be told from another of the same name", f"in function {n}")
            callee = next((callee for callee in rest if callee in options), None)  # unreachable calls may be gone
            if callee is None:
                raise UsageError(
                    f"{what}: function {n} calls function {min(options)} at {reloc.offset:#x}, which it does not in "
                    f"the module (there it calls {list(wasm)[:12]}); lower the module again"
                )
            yield Site(reloc, n, callee)


def _addresses(
    text: elfobj.Section, functions: Mapping[int, Extent], aliases: Mapping[int, elfobj.Symbol], arch: Arch, what: str
) -> None:
    """What else refers to code (a function's address) goes to the aliases too."""
    by_start = {extent.start: n for n, extent in functions.items()}
    known = set(aliases.values())
    for reloc in text.relocs:
        symbol = reloc.symbol
        if symbol is None or symbol.section is not text or symbol in known:
            continue
        start = symbol.value & ~1 if arch is Arch.V7M else symbol.value
        if start not in by_start:
            raise UsageError(f"{what}: refers to the middle of {printable(symbol.name)!r}; lower the module again")
        reloc.symbol = aliases[by_start[start]]


def _place(obj: elfobj.Object, text: elfobj.Section, image: Image, arch: Arch, what: str) -> None:
    """Memories and globals become symbols of the plan; sections that carried them go."""
    for reloc in text.relocs:
        symbol = reloc.symbol
        if symbol is None or symbol.undefined or symbol.section is text:
            continue
        match = _MEMORY.fullmatch(symbol.name)
        if match and int(match[1]) < len(image.memories):
            symbol.name = f"rig_mem_{int(match[1])}"
        elif arch is Arch.RV32 and symbol.name == GLOBALS:
            symbol.name = "rig_window"
        else:
            raise UsageError(
                f"{what}: refers to {printable(symbol.name)!r}, which the rig cannot place: lower with "
                "--relocatable and without --native-pointer-abi"
            )
        symbol.section, symbol.value, symbol.size = elfobj.SHN_UNDEF, 0, 0
        symbol.type, symbol.bind = elfobj.STT_NOTYPE, elfobj.STB_GLOBAL
    for section in list(obj.sections):
        if section.name == ".synth.table_type_ids":
            section.name, section.flags = TYPE_IDS, elfobj.SHF_ALLOC
        elif section is not text and section.name != ".ARM.attributes":
            obj.drop(section)


def _type_ids(obj: elfobj.Object) -> list[elfobj.Symbol]:
    """Start and end of the type ids, which the host writes behind the function table."""
    for section in obj.sections:
        if section.name == TYPE_IDS:
            end = elfobj.Symbol("rig_type_ids_end", section.size, section=section)
            return [elfobj.Symbol("rig_type_ids", section=section), end]
    return []


def _mapping(text: elfobj.Section, functions: Mapping[int, Extent], arch: Arch) -> list[elfobj.Symbol]:
    """`$t` at code and `$d` at literals, local."""
    if arch is not Arch.V7M:
        return []
    words = literals(text, functions)
    marks: list[tuple[int, str]] = []
    for extent in functions.values():
        marks.append((extent.start, "$t"))
        for word in sorted(w for w in words if extent.start <= w < extent.end):
            marks += [(word, "$d"), (word + 4, "$t")]
    end = max((e.end for e in functions.values()), default=0)
    kept: list[tuple[int, str]] = []
    for where, kind in sorted(set(marks), key=lambda m: (m[0], m[1])):
        if where >= end or (kind == "$t" and where in words):
            continue
        if not kept or kept[-1][1] != kind:
            kept.append((where, kind))
    return [elfobj.Symbol(kind, where, bind=elfobj.STB_LOCAL, section=text) for where, kind in kept]


def literals(text: elfobj.Section, functions: Mapping[int, Extent]) -> set[int]:
    """Offsets of the words among the code that are data: relocated ones, and those that a load names."""
    words = {r.offset for r in text.relocs if r.type == R_ARM_ABS32}
    for extent in functions.values():
        first = min((w for w in words if extent.start <= w < extent.end), default=extent.end)
        for instruction in disasm.decode(text.data[extent.start : first], extent.start, Arch.V7M):
            target = disasm.literal_address(instruction)
            if target is not None and extent.start <= target < extent.end:
                words.add(target)
    return words


def check(data: bytes, image: Image, arch: Arch, what: str = "object") -> Gated:
    """Judge an interposed object: every call that crosses owners goes through the gate of its seam.

    Reads the object anew and decodes its code, so that a call without a relocation is seen as well. Raises
    Refusal("no switch point", …). A seam whose call is in the wasm and not in the object is a finding: the lowering
    inlined it, and the two owners share a context.
    """
    obj = read(data, arch, what)
    text = text_section(obj, what, TEXT)
    calls = Calls(image)
    owned = {}
    for defined in obj.functions():
        match = re.fullmatch(r"rig_fn_(\d+)", defined.name)
        if match and defined.section is text:
            start = defined.value & ~1 if arch is Arch.V7M else defined.value
            owned[int(match[1])] = Extent(start, start + defined.size)
    by_start = {extent.start: n for n, extent in owned.items()}
    sites: dict[int, list[tuple[int, int]]] = {}
    relocated: set[int] = set()
    for n, extent in owned.items():
        for reloc in (r for r in text.relocs if extent.start <= r.offset < extent.end):
            relocated.add(reloc.offset)
            where, symbol = reloc.offset - extent.start, reloc.symbol
            seam, target = gate_target(symbol), None
            if seam is not None:
                check_gate(seam, n, where, image)
                sites.setdefault(seam, []).append((n, where))
            elif symbol is not None and symbol.section is text:
                target = by_start.get(symbol.value & ~1 if arch is Arch.V7M else symbol.value)
                if target is None:
                    raise not_gated(n, where, "refers to the middle of another function")
            elif symbol is not None and (match := re.fullmatch(r"rig_fn_(\d+)", symbol.name)):
                target = int(match[1])
            elif reloc.type in CALLS[arch] and any(symbol and symbol.name == title for _, title, _ in image.imports):
                raise not_gated(n, where, f"calls {printable(symbol.name if symbol else '')!r} of the host")
            if target is not None and calls.seam(n, target) is not None:
                raise not_gated(n, where, f"refers to function {target} of another owner")
        _direct(text, n, extent, relocated, arch)
    if any(reloc.offset not in relocated for reloc in text.relocs):
        raise UsageError(f"{what}: has relocations outside its functions; lower the module again")
    return Gated(
        tuple(sorted(owned)),
        {seam: tuple(found) for seam, found in sorted(sites.items())},
        tuple(_inlined(image, owned, sites)),
    )


def _direct(text: elfobj.Section, n: int, extent: Extent, relocated: set[int], arch: Arch) -> None:
    """No branch without a relocation may leave its function."""
    words = literals(text, {n: extent}) if arch is Arch.V7M else set()
    code = text.data[extent.start : min((w for w in words if extent.start <= w < extent.end), default=extent.end)]
    for instruction in disasm.decode(code, extent.start, arch):
        if instruction.mnemonic == "auipc" and instruction.address not in relocated:
            raise not_gated(n, instruction.address - extent.start, "computes a code address without a relocation")
        target = disasm.branch_target(instruction, arch)
        if target is None or relocated & {instruction.address, instruction.address - 4}:
            continue  # RISC-V: the relocation is at the auipc before the jalr
        if not extent.start <= target < extent.end:
            raise not_gated(n, instruction.address - extent.start, f"branches to {target:#x} without a relocation")


def _inlined(
    image: Image, owned: Mapping[int, Extent], sites: Mapping[int, list[tuple[int, int]]]
) -> Iterator[Finding]:
    """Seams that have fewer calls in the object than in the wasm."""
    wanted = Counter[int]()
    by_key = {(seam.caller, seam.target): seam for seam in image.seams}
    for n in owned:
        for callee in image.functions[n].calls:
            owner = image.owner_of(n)
            if owner is not None and (seam := by_key.get((owner, callee))) is not None:
                wanted[seam.index] += 1
    for index, count in sorted(wanted.items()):
        seam, there = image.seams[index], len(sites.get(index, ()))
        if there < count:
            pair = (seam.caller, seam.callee)
            names = " and ".join(image.owners[owner].name for owner in pair)
            yield Finding(
                "no-switch-point", f"{count - there} of {count} calls of {seam.label} are gone from the object: "
                f"{names} share a context", seam.label, "lower the module without an inlining pass", pair, pair,
            )  # fmt: skip
