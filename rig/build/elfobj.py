# SPDX-License-Identifier: Apache-2.0
"""Relocatable objects (ELF32, little endian, Arm REL and RISC-V RELA) as editable values: `parse`, change, `emit`.

Symbols and sections are referred to by identity, so an edit never has to renumber anything; `emit` writes symbol,
string and relocation tables anew. Layout as in the System V ABI, chapter 4. Every length is checked: the object may
come from the user.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from rig.errors import UsageError

LIMIT = 64 << 20  # bytes
EM_ARM, EM_RISCV = 40, 243
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS, SHT_REL, SHT_GROUP = 1, 2, 3, 4, 8, 9, 17
SHT_LLVM_ADDRSIG = 0x6FFF4C03  # holds symbol numbers, which `emit` changes; only an optimiser's hint
SHF_WRITE, SHF_ALLOC, SHF_EXEC, SHF_LINK_ORDER = 1, 2, 4, 0x80
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE = 0, 1, 2, 3, 4
SHN_UNDEF, SHN_LORESERVE, SHN_ABS, SHN_COMMON = 0, 0xFF00, 0xFFF1, 0xFFF2

_EHDR = struct.Struct("<16sHHIIIIIHHHHHH")
_SHDR = struct.Struct("<10I")
_SYM = struct.Struct("<IIIBBH")
_REL = struct.Struct("<II")
_RELA = struct.Struct("<IIi")
_TABLES = (SHT_SYMTAB, SHT_STRTAB, SHT_REL, SHT_RELA, SHT_LLVM_ADDRSIG)


@dataclass(slots=True, eq=False)
class Section:
    """One section; `size` differs from len(data) only for SHT_NOBITS. `link`: section of a SHF_LINK_ORDER one."""

    name: str
    type: int
    flags: int
    data: bytes
    size: int
    align: int
    entsize: int = 0
    link: Section | None = None
    relocs: list[Reloc] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Symbol:
    """`section` is a Section, or one of the reserved numbers SHN_UNDEF, SHN_ABS, SHN_COMMON."""

    name: str
    value: int = 0
    size: int = 0
    bind: int = STB_GLOBAL
    type: int = STT_NOTYPE
    other: int = 0
    section: Section | int = SHN_UNDEF

    @property
    def undefined(self) -> bool:
        return self.section == SHN_UNDEF


@dataclass(slots=True, eq=False)
class Reloc:
    offset: int
    symbol: Symbol | None  # None: symbol number 0
    type: int
    addend: int | None  # None: REL, the addend is in the section's bytes


@dataclass(slots=True, eq=False)
class Object:
    """A relocatable object without its tables."""

    machine: int
    flags: int
    sections: list[Section]
    symbols: list[Symbol]

    def functions(self) -> Iterator[Symbol]:
        """Defined STT_FUNC symbols in table order."""
        return (s for s in self.symbols if s.type == STT_FUNC and isinstance(s.section, Section))

    def drop(self, section: Section) -> None:
        """Remove a section, its symbols, and what is only linked to it."""
        gone = {section, *(s for s in self.sections if s.link is section)}
        self.sections = [s for s in self.sections if s not in gone]
        self.symbols = [s for s in self.symbols if s.section not in gone]


def parse(data: bytes, what: str) -> Object:
    """Read a relocatable object. Raises UsageError, naming `what`, for anything that is not one."""
    return _Reader(data, what).object()


class _Reader:
    def __init__(self, data: bytes, what: str) -> None:
        self.data, self.what = data, what

    def fail(self, why: str) -> UsageError:
        return UsageError(f"{self.what}: {why}; lower the module again")

    def piece(self, start: int, size: int) -> bytes:
        if start + size > len(self.data):
            raise self.fail(f"truncated object: {size} bytes at {start:#x} of {len(self.data)}")
        return self.data[start : start + size]

    def object(self) -> Object:
        if len(self.data) > LIMIT:
            raise self.fail(f"object of more than {LIMIT >> 20} MiB")
        if self.data[:4] != b"\x7fELF":
            raise self.fail("not an ELF object")
        head = _EHDR.unpack(self.piece(0, _EHDR.size))
        ident, kind, machine, flags, shoff, shentsize, shnum, shstrndx = (
            head[0], head[1], head[2], head[7], head[6], head[11], head[12], head[13],
        )  # fmt: skip
        if ident[4:6] != b"\1\1" or machine not in (EM_ARM, EM_RISCV):
            raise self.fail("not a 32-bit little-endian object for Arm or RISC-V")
        if kind != 1:
            raise self.fail(f"ELF type {kind} where a relocatable object (1) was expected")
        if shentsize != _SHDR.size or not 0 < shnum < SHN_LORESERVE or shstrndx >= shnum:
            raise self.fail("damaged section header table")
        raw = [_SHDR.unpack(self.piece(shoff + i * shentsize, shentsize)) for i in range(shnum)]
        names = self.piece(raw[shstrndx][4], raw[shstrndx][5])
        sections: list[Section | None] = []
        for name, type_, sh_flags, _, offset, size, _, _, align, entsize in raw:
            if type_ in (0, *_TABLES):
                sections.append(None)
                continue
            if type_ == SHT_GROUP:
                raise self.fail("section groups (COMDAT) are not supported")
            content = b"" if type_ == SHT_NOBITS else self.piece(offset, size)
            sections.append(
                Section(self.text(names, name), type_, sh_flags, content, size, max(align, 1), entsize)
            )
        for section, header in zip(sections, raw, strict=True):
            if section is not None and section.flags & SHF_LINK_ORDER:
                section.link = self.pick(sections, header[6])
        symbols = self.symbols(raw, sections)
        for header in raw:
            if header[1] in (SHT_REL, SHT_RELA):
                target = self.pick(sections, header[7])
                target.relocs += self.relocs(header, target, symbols)
        kept = [s for s in sections if s is not None]
        return Object(machine, flags, kept, symbols[1:])

    def text(self, table: bytes, offset: int) -> str:
        end = table.find(b"\0", offset)
        if offset >= len(table) or end < 0:
            raise self.fail("damaged string table")
        return table[offset:end].decode("utf-8", "surrogateescape")

    def pick(self, sections: list[Section | None], index: int) -> Section:
        found = sections[index] if index < len(sections) else None
        if found is None:
            raise self.fail(f"a table refers to section {index}, which is none")
        return found

    def symbols(self, raw: list[tuple[int, ...]], sections: list[Section | None]) -> list[Symbol]:
        tables = [header for header in raw if header[1] == SHT_SYMTAB]
        if len(tables) != 1 or tables[0][6] >= len(raw):
            raise self.fail(f"{len(tables)} symbol tables where 1 was expected")
        strings_header = raw[tables[0][6]]
        strings, table = self.piece(strings_header[4], strings_header[5]), self.piece(tables[0][4], tables[0][5])
        if len(table) % _SYM.size:
            raise self.fail("damaged symbol table")
        found = []
        for name, value, size, info, other, index in _SYM.iter_unpack(table):
            section: Section | int = index
            if 0 < index < SHN_LORESERVE:
                target = sections[index] if index < len(sections) else None
                # A section symbol of a table: nothing can refer to it usefully.
                section = SHN_ABS if target is None else target
            text = self.text(strings, name)
            if isinstance(section, Section) and value > section.size:
                raise self.fail(f"symbol {text!r} lies outside its section")
            found.append(Symbol(text, value, size, info >> 4, info & 15, other, section))
        return found or [Symbol("")]

    def relocs(self, header: tuple[int, ...], target: Section, symbols: list[Symbol]) -> list[Reloc]:
        rela = header[1] == SHT_RELA
        entry = _RELA if rela else _REL
        table = self.piece(header[4], header[5])
        if len(table) % entry.size:
            raise self.fail("damaged relocation table")
        found = []
        for offset, info, *addend in entry.iter_unpack(table):
            number = info >> 8
            if number >= len(symbols) or offset >= max(target.size, 1):
                raise self.fail(f"relocation at {target.name}+{offset:#x} points nowhere")
            found.append(Reloc(offset, symbols[number] if number else None, info & 0xFF, addend[0] if rela else None))
        return found


def emit(obj: Object) -> bytes:
    """The object as a file: the sections in order, then their relocations, symbols and strings.

    Raises UsageError where something refers to a symbol that is not in the object any more.
    """
    sections = obj.sections
    number = {id(section): index for index, section in enumerate(sections, 1)}
    symbols = sorted(obj.symbols, key=lambda s: s.bind != STB_LOCAL)  # stable: locals come first
    place = {id(symbol): index for index, symbol in enumerate(symbols, 1)}
    strings, names = _Strings(), _Strings()
    table = bytearray(_SYM.size)
    for symbol in symbols:
        where = symbol.section if isinstance(symbol.section, int) else number[id(symbol.section)]
        info = symbol.bind << 4 | symbol.type
        table += _SYM.pack(strings.add(symbol.name), symbol.value, symbol.size, info, symbol.other, where)

    headers: list[list[int]] = [[0] * 10]
    contents: list[bytes] = [b""]

    def add(name: str, type_: int, flags: int, data: bytes, link: int, info: int, align: int, entry: int) -> None:
        headers.append([names.add(name), type_, flags, 0, 0, len(data), link, info, align, entry])
        contents.append(data)

    for section in sections:
        link = number[id(section.link)] if section.link is not None else 0
        add(section.name, section.type, section.flags, section.data, link, 0, section.align, section.entsize)
        headers[-1][5] = section.size
    with_relocs = [section for section in sections if section.relocs]
    symtab = len(sections) + len(with_relocs) + 1
    for section in with_relocs:
        rela = section.relocs[0].addend is not None
        packed = bytearray()
        for reloc in section.relocs:
            if reloc.symbol is not None and id(reloc.symbol) not in place:
                raise UsageError(f"{section.name}+{reloc.offset:#x} refers to {reloc.symbol.name!r}, which is gone")
            info = (place[id(reloc.symbol)] if reloc.symbol is not None else 0) << 8 | reloc.type
            packed += _RELA.pack(reloc.offset, info, reloc.addend or 0) if rela else _REL.pack(reloc.offset, info)
        kind, entry = (SHT_RELA, _RELA) if rela else (SHT_REL, _REL)
        title = f".rel{'a' if rela else ''}{section.name}"
        add(title, kind, 0x40, bytes(packed), symtab, number[id(section)], 4, entry.size)
    locals_ = sum(symbol.bind == STB_LOCAL for symbol in symbols) + 1
    add(".symtab", SHT_SYMTAB, 0, bytes(table), symtab + 1, locals_, 4, _SYM.size)
    add(".strtab", SHT_STRTAB, 0, bytes(strings.data), 0, 0, 1, 0)
    shstr = names.add(".shstrtab")
    headers.append([shstr, SHT_STRTAB, 0, 0, 0, len(names.data), 0, 0, 1, 0])
    contents.append(bytes(names.data))

    body = bytearray()
    for header, content in zip(headers[1:], contents[1:], strict=True):
        body += bytes(-(_EHDR.size + len(body)) % min(header[8], 16))
        header[4] = _EHDR.size + len(body)
        body += content
    body += bytes(-(_EHDR.size + len(body)) % 4)
    shoff = _EHDR.size + len(body)
    ident = b"\x7fELF\1\1\1" + bytes(9)
    head = _EHDR.pack(
        ident, 1, obj.machine, 1, 0, 0, shoff, obj.flags, _EHDR.size, 0, 0, _SHDR.size, len(headers), len(headers) - 1
    )
    return head + bytes(body) + b"".join(_SHDR.pack(*header) for header in headers)


class _Strings:
    """A string table under construction."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0")
        self._known: dict[str, int] = {"": 0}

    def add(self, text: str) -> int:
        if text not in self._known:
            self._known[text] = len(self.data)
            self.data += text.encode("utf-8", "surrogateescape") + b"\0"
        return self._known[text]
