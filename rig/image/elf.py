# SPDX-License-Identifier: Apache-2.0
"""Facts of linked ELF files and of synth's objects, read with pyelftools.

Everything pyelftools raises on a damaged file becomes one UsageError that names the file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

from elftools.common.exceptions import ELFError
from elftools.construct.core import ConstructError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection, SymbolTableSection

from rig.errors import UsageError
from rig.image.model import Finding, Image

MAX_BYTES = 64 << 20
MAX_SYMBOLS = 1 << 18
DAMAGE = (
    ELFError, ConstructError, ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError, struct.error,
    ZeroDivisionError, UnicodeError, EOFError,
)  # fmt: skip
MACHINES = {"EM_ARM": "arm", "EM_RISCV": "riscv"}
SYNTH_MIN_REGION = 32
_ALIAS = re.compile(r"rig_fn_([0-9]{1,6})")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ElfSymbol:
    name: str
    address: int  # as stored: Thumb bit included
    size: int
    type: str  # "func" | "object" | "notype" | "section" | "file" | …
    bind: str  # "local" | "global" | "weak"
    section: str | None  # name of the section; None: undefined or absolute
    defined: bool


@dataclass(frozen=True, slots=True)
class ElfSection:
    name: str
    address: int
    size: int
    align: int
    type: str  # "progbits" | "nobits" | …
    flags: str  # subset of "awx"


@dataclass(frozen=True, slots=True)
class ElfSegment:
    """A PT_LOAD segment."""

    address: int
    physical: int
    memory_size: int
    data: bytes = field(repr=False)
    flags: str  # subset of "rwx"


@dataclass(frozen=True, slots=True)
class ElfFacts:
    path: str
    machine: str  # "arm" | "riscv" | pyelftools' name
    relocatable: bool
    entry: int
    symbols: Mapping[str, ElfSymbol] = field(repr=False)  # defined ones win over undefined, globals over locals
    sections: tuple[ElfSection, ...] = field(repr=False)
    segments: tuple[ElfSegment, ...] = field(repr=False)
    build_id: bytes | None
    contents: Mapping[str, bytes] = field(repr=False)  # bytes of PROGBITS sections by name

    def address(self, name: str) -> int:
        """Address of a symbol. Error: UsageError that names file and symbol."""
        symbol = self.symbols.get(name)
        if symbol is None or not symbol.defined:
            raise UsageError(f"{self.path}: has no symbol '{name}': build the image again")
        return symbol.address

    def bytes_at(self, address: int, size: int) -> bytes | None:
        """Loaded bytes at a native address; zero-filled parts included. None when not all are in one segment."""
        for segment in self.segments:
            start = address - segment.address
            if start >= 0 and start + size <= segment.memory_size:
                return segment.data[start : start + size].ljust(size, b"\0")
        return None


@dataclass(frozen=True, slots=True)
class RegionTable:
    """synth's `__synth_mem_*` symbols; present only with more than one memory (toolchain reference 4.1)."""

    count: int
    sizes: Mapping[int, int]
    regions: Mapping[int, int]
    bases: Mapping[int, ElfSymbol]  # k ≥ 1


@dataclass(frozen=True, slots=True)
class SynthObject:
    elf: ElfFacts
    functions: Mapping[int, tuple[int, int]]  # wasm function → (offset in .text without Thumb bit, size)
    table: RegionTable | None


def read_elf(path: str | Path) -> ElfFacts:
    """Read an ELF file, linked or not. Error: UsageError that names the file."""
    where = str(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{where}: cannot be read ({error.strerror or error})") from None
    return parse_elf(data, where)


def parse_elf(data: bytes, where: str) -> ElfFacts:
    if len(data) > MAX_BYTES:
        raise UsageError(f"{where}: more than {MAX_BYTES} bytes")
    if data[:4] != b"\x7fELF":
        raise UsageError(f"{where}: not an ELF file: give the object or the linked image")
    return _guarded(where, lambda: _facts(data, where))


def _guarded(where: str, work: Callable[[], T]) -> T:
    try:
        return work()
    except DAMAGE as error:
        raise UsageError(f"{where}: damaged ELF file ({type(error).__name__}: {error}); build it again") from None


def _facts(data: bytes, where: str) -> ElfFacts:
    elf = ELFFile(BytesIO(data))
    if elf.elfclass != 32 or not elf.little_endian:
        raise UsageError(f"{where}: a {elf.elfclass}-bit or big-endian ELF; the rig's targets are 32-bit little-endian")
    sections = list(elf.iter_sections())
    symbols: dict[str, ElfSymbol] = {}
    build_id: bytes | None = None
    for section in sections:
        if isinstance(section, SymbolTableSection):
            if section.num_symbols() > MAX_SYMBOLS:
                raise UsageError(f"{where}: {section.num_symbols()} symbols; the limit is {MAX_SYMBOLS}")
            for entry in _symbols(section, sections):
                known = symbols.get(entry.name)
                if entry.name and (known is None or _rank(entry) > _rank(known)):
                    symbols[entry.name] = entry
        elif isinstance(section, NoteSection):
            for note in section.iter_notes():
                if note["n_type"] == "NT_GNU_BUILD_ID":
                    build_id = bytes.fromhex(note["n_desc"])
    segments = tuple(
        ElfSegment(s["p_vaddr"], s["p_paddr"], s["p_memsz"], s.data(), _rights(s["p_flags"]))
        for s in elf.iter_segments()
        if s["p_type"] == "PT_LOAD"
    )
    facts = ElfFacts(
        path=where,
        machine=MACHINES.get(elf["e_machine"], str(elf["e_machine"])),
        relocatable=elf["e_type"] == "ET_REL",
        entry=elf["e_entry"],
        symbols=symbols,
        sections=tuple(_section(s) for s in sections),
        segments=segments,
        build_id=build_id,
        contents={s.name: s.data() for s in sections if s["sh_type"] == "SHT_PROGBITS"},
    )
    own = symbols.get("rig_build_id")
    if build_id is None and own is not None and own.defined:
        return ElfFacts(**{**_fields(facts), "build_id": facts.bytes_at(own.address, own.size or 20)})
    return facts


def _fields(facts: ElfFacts) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in facts.__slots__}


def _symbols(section: Any, sections: list[Any]) -> Iterator[ElfSymbol]:
    for symbol in section.iter_symbols():
        where = symbol["st_shndx"]
        index = where if isinstance(where, int) else None
        yield ElfSymbol(
            name=symbol.name,
            address=symbol["st_value"],
            size=symbol["st_size"],
            type=str(symbol["st_info"]["type"]).removeprefix("STT_").lower(),
            bind=str(symbol["st_info"]["bind"]).removeprefix("STB_").lower(),
            section=sections[index].name if index is not None and index < len(sections) else None,
            defined=where != "SHN_UNDEF",
        )


def _rank(symbol: ElfSymbol) -> tuple[bool, bool]:
    return symbol.defined, symbol.bind != "local"


def _section(section: Any) -> ElfSection:
    bits = section["sh_flags"]
    return ElfSection(
        name=section.name,
        address=section["sh_addr"],
        size=section["sh_size"],
        align=section["sh_addralign"],
        type=str(section["sh_type"]).removeprefix("SHT_").lower(),
        flags="".join(letter for bit, letter in ((2, "a"), (1, "w"), (4, "x")) if bits & bit),
    )


def _rights(flags: int) -> str:
    return "".join(letter for bit, letter in ((4, "r"), (2, "w"), (1, "x")) if flags & bit)


@dataclass(frozen=True, slots=True)
class Code:
    """A linked image as machine code: where each wasm function lies, and bytes."""

    elf: ElfFacts
    functions: Mapping[int, tuple[int, int]]  # wasm function → [start, end) without Thumb bit

    def span(self, function: int) -> tuple[int, int] | None:
        """[start, end) of a wasm function's machine code, without the Thumb bit; None: it was not emitted."""
        return self.functions.get(function)

    def read(self, address: int, size: int) -> bytes | None:
        """Bytes that the file holds for these addresses; None where it holds none."""
        for segment in self.elf.segments:
            start = address - segment.address
            if start >= 0 and start + size <= len(segment.data):
                return segment.data[start : start + size]
        return None


def read_code(path: str | Path) -> Code:
    """A linked image, its functions found by their aliases `rig_fn_<n>`. Error: UsageError that names the file."""
    elf = read_elf(path)
    mask = ~1 if elf.machine == "arm" else ~0
    functions = {}
    for name, symbol in elf.symbols.items():
        match = _ALIAS.fullmatch(name)
        if match and symbol.defined and symbol.size:
            start = symbol.address & mask
            functions[int(match[1])] = (start, start + symbol.size)
    return Code(elf, functions)


# -- objects made by synth ----------------------------------------------------------------------------------------


def read_object(path: str | Path, image: Image) -> SynthObject:
    """A relocatable object of synth, with its functions found by wasm index. Error: UsageError."""
    return synth_object(read_elf(path), image)


def synth_object(elf: ElfFacts, image: Image) -> SynthObject:
    if not elf.relocatable:
        raise UsageError(f"{elf.path}: not a relocatable object: compile with `synth compile --relocatable`")
    functions: dict[int, tuple[int, int]] = {}
    mask = ~1 if elf.machine == "arm" else ~0
    exported = {function: name for name, function in reversed(tuple(image.exports.items()))}  # the first name of each
    for wasm in image.functions:
        # Arm: a local func_N for every function; RV32: exports by name only
        names = (f"func_{wasm.index}", exported.get(wasm.index, ""))
        found = next((elf.symbols[n] for n in names if n in elf.symbols and elf.symbols[n].type == "func"), None)
        if found is not None and found.defined:
            functions[wasm.index] = (found.address & mask, found.size)
    return SynthObject(elf, functions, _region_table(elf))


def _region_table(elf: ElfFacts) -> RegionTable | None:
    if "__synth_mem_count" not in elf.symbols:
        return None

    def numbered(stem: str) -> dict[int, ElfSymbol]:
        pattern = re.compile(rf"__synth_mem_{stem}_([0-9]{{1,4}})")
        matches = ((pattern.fullmatch(n), s) for n, s in elf.symbols.items())
        return {int(m[1]): s for m, s in matches if m}

    return RegionTable(
        count=elf.symbols["__synth_mem_count"].address,
        sizes={k: s.address for k, s in numbered("size").items()},
        regions={k: s.address for k, s in numbered("region").items()},
        bases=numbered("base"),
    )


def check_region_table(object_: SynthObject, image: Image) -> tuple[Finding, ...]:
    """Whether the object's region table says what the wasm says; () when all is well. One finding per contradiction."""
    table = object_.table
    if table is None:
        if len(image.memories) > 1 and object_.elf.machine == "arm":
            return (_wrong(object_, "there is none, although the module has several memories"),)
        return ()
    found = []
    if table.count != len(image.memories):
        found.append(_wrong(object_, f"counts {table.count} memories, the module has {len(image.memories)}"))
    sections = {s.name: s for s in object_.elf.sections}
    for memory in image.memories:
        k, region = memory.index, region_size(memory.size)
        if table.sizes.get(k) != memory.size:
            found.append(_wrong(object_, f"memory {k} has {memory.size} bytes, the table says {table.sizes.get(k)}"))
        if table.regions.get(k) != region:
            found.append(
                _wrong(object_, f"memory {k} needs a region of {region}, the table says {table.regions.get(k)}")
            )
        if k == 0:
            continue
        base, data = table.bases.get(k), object_.elf.symbols.get(f"__synth_wasm_data_{k}")
        section = sections.get(f".synth.wasm_mem_{k}")
        if base is None or data is None or section is None or base.section != section.name:
            found.append(_wrong(object_, f"memory {k} has no base, no data symbol or no section of its own"))
            continue
        if (base.address, base.size) != (data.address, memory.size) or data.section != base.section:
            found.append(_wrong(object_, f"base and data of memory {k} differ, or its base covers {base.size} bytes"))
        if section.size < memory.size or section.align % region:
            found.append(_wrong(object_, f"section of memory {k}: {section.size} bytes aligned to {section.align}"))
    return tuple(found)


def region_size(size: int) -> int:
    """Smallest power of two of at least 32 bytes that covers a memory, as synth computes it."""
    return max(SYNTH_MIN_REGION, 1 << (size - 1).bit_length() if size else 0)


def _wrong(object_: SynthObject, what: str) -> Finding:
    return Finding(
        "region-table",
        f"the region table of the object contradicts the module: {what}",
        object_.elf.path,
        "compile the module again with the pinned synth",
    )
