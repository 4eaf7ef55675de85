# SPDX-License-Identifier: Apache-2.0
"""The Canonical ABI of types: flat core types, sizes and alignments in memory, the core signature of an export.

Source: component-model `CanonicalABI.md` (flattening, MAX_FLAT_PARAMS = 16, MAX_FLAT_RESULTS = 1, UTF-8 strings).
What the agent cannot carry (pointers inside lists, a list that is there only in some case) is a Refusal.
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
    list_offset: int  # in the area: a (pointer, length) pair; -1: none
    list_element: int  # bytes of one of its elements


def signature(function: WitFunction) -> Signature:
    """Core signature of an export as the fuser emits it. Raises Refusal for what the agent cannot carry."""
    flat = [core for _, type in function.params for core in flatten(type)]
    spilled = len(flat) > MAX_FLAT_PARAMS
    _check_params(function, flat)
    result, area, at, size = None, 0, -1, 1
    if function.result is not None:
        kinds = flatten(function.result)
        if len(kinds) > 1:
            result, area = "i32", size_of(function.result)
            found = _pairs(function, function.result, 0)
            if len(found) > 1:
                raise _refuse(function, "returns more than one list")
            if found:
                at, inner = found[0]
                size = 1 if inner is None else size_of(inner)
        elif kinds:
            result = kinds[0]
    return Signature(("i32",) if spilled else tuple(flat), result, spilled, area, at, size)


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


def _refuse(function: WitFunction, why: str) -> Refusal:
    return Refusal(UNSUPPORTED, f"{function.core_name} {why}")


def _check_params(function: WitFunction, flat: list[str]) -> None:
    at = 0
    for name, type in function.params:
        for slot in _pointers(function, type, at):
            if len(flat) > MAX_FLAT_PARAMS:
                raise _refuse(function, f"takes the list {name!r} among more than {MAX_FLAT_PARAMS} core parameters")
            if flat[slot] != "i32":
                raise _refuse(function, f"takes a list in the 64-bit slot of a variant in {name!r}")
        at += len(flatten(type))


def _pointers(function: WitFunction, type: WitType, at: int) -> list[int]:
    """Flat indexes of the list pointers of a parameter that begins at flat index `at`."""
    if type.kind in PAIR:
        if type.kind == "list" and element(type).carries_memory:
            raise _refuse(function, "takes a list of lists")
        return [at]
    if type.kind == "flags" and len(type.names) > 32:
        raise _refuse(function, "takes more than 32 flags")
    found: list[int] = []
    inside = type.kind in ("tuple", "record")
    at = at if inside else at + 1  # behind the discriminant; all cases begin there
    for arg in type.args:
        if arg is not None:
            found += _pointers(function, arg, at)
            at += len(flatten(arg)) if inside else 0
    return found


def _pairs(function: WitFunction, type: WitType, at: int) -> list[tuple[int, WitType | None]]:
    """Where in the return area (pointer, length) pairs lie, with their element types (None: a string)."""
    if type.kind in PAIR:
        inner = element(type) if type.kind == "list" else None
        if inner is not None and inner.carries_memory:
            raise _refuse(function, "returns a list of lists")
        return [(at, inner)]
    if type.kind in ("tuple", "record"):
        found: list[tuple[int, WitType | None]] = []
        for field in fields(type):
            at = up(at, align_of(field))
            found += _pairs(function, field, at)
            at += size_of(field)
        return found
    if type.carries_memory:
        raise _refuse(function, f"returns a list inside of {'an' if type.kind == 'option' else 'a'} {type.kind}")
    return []
