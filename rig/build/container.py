# SPDX-License-Identifier: Apache-2.0
"""The binary container of wasm: preamble and sections, of components and core modules alike.

Only what is needed to tell files apart and to take the core modules out of a component; validation is the engine's.
Source: WebAssembly core specification 5.5 (modules), component-model `Binary.md` (components).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

MAGIC = b"\0asm"
_CORE = b"\x01\0\0\0"
_COMPONENT = b"\x0d\0\x01\0"
_CORE_MODULE, _NESTED_COMPONENT = 1, 4  # section ids of a component
_DEPTH = 16  # components within components; real ones have two


class Form(Enum):
    CORE = "core module"
    COMPONENT = "component"
    EMPTY = "empty"
    TEXT = "text"
    OTHER = "other"


class Malformed(ValueError):
    """The container is cut off or its lengths do not add up; the message says where."""


@dataclass(frozen=True, slots=True)
class Section:
    id: int
    start: int  # offset of the payload in the file
    payload: bytes


def form(data: bytes) -> Form:
    """What the first bytes say the file is."""
    if not data:
        return Form.EMPTY
    if data[:4] == MAGIC:
        return {_CORE: Form.CORE, _COMPONENT: Form.COMPONENT}.get(data[4:8], Form.OTHER)
    return Form.TEXT if data.lstrip()[:1] in (b"(", b";") else Form.OTHER


def sections(data: bytes) -> Iterator[Section]:
    """The sections after the preamble, in order. Raises Malformed."""
    at = 8
    while at < len(data):
        id, head = data[at], at
        size, at = leb(data, at + 1)
        if at + size > len(data):
            raise Malformed(f"the section at byte {head} needs {at + size - len(data)} bytes more than there are")
        yield Section(id, at, data[at : at + size])
        at += size


def leb(data: bytes, at: int) -> tuple[int, int]:
    """Unsigned LEB128 of at most 32 bits at `at` → (value, offset behind it). Raises Malformed."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            raise Malformed(f"ends at byte {at}, in the middle of a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    if byte >= 0x80 or value >= 1 << 32:
        raise Malformed(f"the number that ends at byte {at} is longer than 32 bits")
    return value, at


def name_at(data: bytes, at: int) -> tuple[str, int]:
    """A name (length, UTF-8) at `at` → (name, offset behind it). Raises Malformed."""
    size, at = leb(data, at)
    if at + size > len(data):
        raise Malformed(f"ends at byte {len(data)}, in the middle of a name")
    return data[at : at + size].decode("utf-8", "replace"), at + size


def core_modules(component: bytes, depth: int = 0) -> tuple[bytes, ...]:
    """The core modules of a component and of the components inside it, in order. Raises Malformed."""
    if depth > _DEPTH:
        raise Malformed(f"components are nested more than {_DEPTH} deep")
    found: list[bytes] = []
    for section in sections(component):
        if section.id == _CORE_MODULE:
            found.append(section.payload)
        elif section.id == _NESTED_COMPONENT:
            found.extend(core_modules(section.payload, depth + 1))
    return tuple(found)


def custom(module: bytes, name: str) -> bytes | None:
    """Content of the first custom section of that name. Raises Malformed."""
    for section in sections(module):
        if section.id == 0:
            found, at = name_at(section.payload, 0)
            if found == name:
                return section.payload[at:]
    return None
