# SPDX-License-Identifier: Apache-2.0
"""The Canonical ABI of types: flat core types, sizes and alignments in memory, the core signature of an export.

Source: component-model `CanonicalABI.md` (flattening, MAX_FLAT_PARAMS = 16, MAX_FLAT_RESULTS = 1, UTF-8 strings).
"""

from __future__ import annotations

from dataclasses import dataclass

from rig.errors import Refusal
from rig.image.component import WitFunction, WitType
from rig.oracle.values import cases, element, fields

MAX_FLAT_PARAMS = 16
UNSUPPORTED = "type not supported by the agent"
CORE = {"u64": "i64", "s64": "i64", "f32": "f32", "f64": "f64"}  # all other scalars are i32
PAIR = ("string", "list")  # (pointer, length)
_SIZE = {"bool": 1, "f32": 4, "f64": 8, "char": 4, "string": 8, "list": 8}


@dataclass(frozen=True, slots=True)
class Signature:
    """Core form of an exported function. `area`: bytes behind the returned pointer (0: the result is a core value)."""

    params: tuple[str, ...]
    result: str | None
    spilled: bool  # more than 16 flat parameters: one pointer to them
    area: int
    list_offset: int  # in the area: the only (pointer, length) pair, of a list without pointers; -1: none, or `deep`
    list_element: int  # bytes of one of its elements
    deep: bool = False  # more lists than that one, or lists that are there only in some case


def signature(function: WitFunction) -> Signature:
    """Core signature of an export as the fuser emits it. Raises Refusal for types that have no such form here."""
    for _, type in function.params:
        _check(function, type)
    flat = [core for _, type in function.params for core in flatten(type)]
    spilled = len(flat) > MAX_FLAT_PARAMS
    result, area, at, size, deep = None, 0, -1, 1, False
    if function.result is not None:
        _check(function, function.result)
        kinds = flatten(function.result)
        if len(kinds) > 1:
            result, area = "i32", size_of(function.result)
            found = _pairs(function.result, 0)
            if found is None or len(found) > 1:
                deep = True
            elif found:
                at, inner = found[0]
                size = 1 if inner is None else size_of(inner)
        elif kinds:
            result = kinds[0]
    return Signature(("i32",) if spilled else tuple(flat), result, spilled, area, at, size, deep)


def flatten(type: WitType) -> tuple[str, ...]:
    """Core types of a value passed flat."""
    match type.kind:
        case "string" | "list":
            return ("i32", "i32")
        case "tuple" | "record":
            return tuple(core for field in fields(type) for core in flatten(field))
        case "flags":
            return ("i32",) if type.names else ()
        case "variant" | "option" | "result" | "enum":
            joined: list[str] = []
            for _, payload in cases(type):
                for index, core in enumerate(() if payload is None else flatten(payload)):
                    if index < len(joined):
                        joined[index] = _join(joined[index], core)
                    else:
                        joined.append(core)
            return ("i32", *joined)
        case "unsupported":
            raise Refusal(UNSUPPORTED, type.names[0] if type.names else "")
    return (CORE.get(type.kind, "i32"),)


def align_of(type: WitType) -> int:
    """Alignment in memory."""
    match type.kind:
        case "tuple" | "record":
            return max((align_of(field) for field in fields(type)), default=1)
        case "variant" | "option" | "result" | "enum":
            inner = (align_of(payload) for _, payload in cases(type) if payload is not None)
            return max(discriminant_size(type), *inner, 1)
        case "string" | "list":
            return 4
    return max(size_of(type), 1)


def size_of(type: WitType) -> int:
    """Bytes in memory, padding included."""
    match type.kind:
        case "tuple" | "record":
            end = 0
            for field in fields(type):
                end = up(end, align_of(field)) + size_of(field)
            return up(end, align_of(type))
        case "variant" | "option" | "result" | "enum":
            inner = max((size_of(payload) for _, payload in cases(type) if payload is not None), default=0)
            return up(payload_offset(type) + inner, align_of(type))
        case "flags":
            count = len(type.names)
            return 0 if count == 0 else 1 if count <= 8 else 2 if count <= 16 else 4
    return _SIZE[type.kind] if type.kind in _SIZE else int(type.kind[1:]) // 8


def up(value: int, align: int) -> int:
    """The next multiple of `align`."""
    return (value + align - 1) // align * align


def discriminant_size(type: WitType) -> int:
    """Bytes of the discriminant of a variant, option, result or enum."""
    count = len(cases(type))
    return 1 if count <= 1 << 8 else 2 if count <= 1 << 16 else 4


def payload_offset(type: WitType) -> int:
    """Where the payload of a variant, option or result begins, whatever its case."""
    inner = (align_of(payload) for _, payload in cases(type) if payload is not None)
    return up(discriminant_size(type), max(1, *inner, 1))


def _join(a: str, b: str) -> str:
    return a if a == b else "i32" if {a, b} == {"i32", "f32"} else "i64"


def _check(function: WitFunction, type: WitType) -> None:
    if type.kind == "flags" and len(type.names) > 32:
        raise Refusal(UNSUPPORTED, f"{function.core_name} has more than 32 flags")
    for arg in type.args:
        if arg is not None:
            _check(function, arg)


def _pairs(type: WitType, at: int) -> list[tuple[int, WitType | None]] | None:
    """Where in the return area (pointer, length) pairs lie, with their element types (None: a string).

    None: the lists hold pointers themselves, or are there only in some case.
    """
    if type.kind in PAIR:
        inner = element(type) if type.kind == "list" else None
        return None if inner is not None and inner.carries_memory else [(at, inner)]
    if type.kind in ("tuple", "record"):
        found: list[tuple[int, WitType | None]] = []
        for field in fields(type):
            at = up(at, align_of(field))
            inside = _pairs(field, at)
            if inside is None:
                return None
            found += inside
            at += size_of(field)
        return found
    return None if type.carries_memory else []
