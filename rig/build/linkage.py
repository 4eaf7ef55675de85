# SPDX-License-Identifier: Apache-2.0
"""What a linked ELF says of itself (pyelftools)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from rig.errors import InfrastructureError

_ALLOC, _WRITE, _EXEC = 2, 1, 4


@dataclass(frozen=True, slots=True)
class Placed:
    """An allocated section with content or size."""

    name: str
    start: int
    end: int
    writable: bool
    executable: bool
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Linkage:
    sections: tuple[Placed, ...]
    symbols: Mapping[str, int]  # defined global symbols
    functions: Mapping[int, str]  # start of every function, without Thumb bit → name
    marks: Mapping[int, str]  # mapping symbols of Arm: address → "$t" or "$d"
    writable_code: tuple[int, ...]  # numbers of segments that are both
    type_ids: bytes


def inspect(elf: bytes) -> Linkage:
    """Read a linked ELF. Raises InfrastructureError where it cannot be read."""
    try:
        file = ELFFile(io.BytesIO(elf))
        sections = tuple(
            Placed(
                s.name, s["sh_addr"], s["sh_addr"] + s["sh_size"], bool(s["sh_flags"] & _WRITE),
                bool(s["sh_flags"] & _EXEC), b"" if s["sh_type"] == "SHT_NOBITS" else s.data(),
            )
            for s in file.iter_sections() if s["sh_flags"] & _ALLOC and s["sh_size"]
        )  # fmt: skip
        symbols: dict[str, int] = {}
        functions: dict[int, str] = {}
        marks: dict[int, str] = {}
        table = file.get_section_by_name(".symtab")
        for symbol in table.iter_symbols() if isinstance(table, SymbolTableSection) else ():
            if symbol["st_shndx"] == "SHN_UNDEF":
                continue
            if symbol["st_info"]["bind"] != "STB_LOCAL":
                symbols[symbol.name] = symbol["st_value"]
            if symbol["st_info"]["type"] == "STT_FUNC":
                functions.setdefault(symbol["st_value"] & ~1, symbol.name)
            if symbol.name[:2] in ("$t", "$d", "$a") and symbol["st_info"]["type"] == "STT_NOTYPE":
                marks[symbol["st_value"]] = symbol.name[:2]
        both = tuple(i for i, segment in enumerate(file.iter_segments()) if segment["p_type"] == "PT_LOAD"
                     and segment["p_flags"] & 3 == 3)  # fmt: skip
    except (ELFError, KeyError, ValueError) as error:
        raise InfrastructureError(f"the linker left an ELF that cannot be read: {error}") from error
    start, end = symbols.get("rig_type_ids"), symbols.get("rig_type_ids_end")
    type_ids = b"" if start is None or end is None else _bytes(sections, start, end)
    return Linkage(sections, symbols, functions, marks, both, type_ids)


def _bytes(sections: tuple[Placed, ...], start: int, end: int) -> bytes:
    for section in sections:
        if section.start <= start <= end <= section.end:
            return section.data[start - section.start : end - section.start]
    raise InfrastructureError(f"[{start:#x}, {end:#x}) lies in no section of the ELF")
