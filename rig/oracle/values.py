# SPDX-License-Identifier: Apache-2.0
"""WIT values in Python, one form per type, independent of any engine.

    bool → bool · integers → int · f32 f64 → float · char string enum → str · list<u8> → bytes
    other lists, tuples, records (fields in order) → tuple · variant option result → Case · flags → frozenset of names
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from rig.build.words import printable
from rig.errors import UsageError
from rig.image.component import WitType

INTEGERS: Mapping[str, tuple[int, int]] = {
    f"{sign}{bits}": (-(1 << bits - 1), (1 << bits - 1) - 1) if sign == "s" else (0, (1 << bits) - 1)
    for sign in "us"
    for bits in (8, 16, 32, 64)
}


@dataclass(frozen=True, slots=True)
class Case:
    """A value of a variant, option ("none", "some") or result ("ok", "err")."""

    name: str
    payload: Value = None


Value: TypeAlias = "bool | int | float | str | bytes | tuple[Value, ...] | frozenset[str] | Case | None"


def cases(type: WitType) -> tuple[tuple[str, WitType | None], ...]:
    """Cases of a variant, option, result or enum, in the order of their discriminants."""
    match type.kind:
        case "option":
            return (("none", None), ("some", type.args[0]))
        case "result":
            return (("ok", type.args[0]), ("err", type.args[1]))
        case "enum":
            return tuple((name, None) for name in type.names)
        case "variant":
            return tuple(zip(type.names, type.args, strict=True))
    raise ValueError(f"{type.kind} has no cases")


def element(type: WitType) -> WitType:
    """Element type of a list."""
    inner = type.args[0]
    assert inner is not None
    return inner


def fields(type: WitType) -> tuple[WitType, ...]:
    """Types of the members of a tuple or record."""
    return tuple(arg for arg in type.args if arg is not None)


def is_bytes(type: WitType) -> bool:
    return type.kind == "list" and element(type).kind == "u8"


def round_f32(value: float) -> float:
    """The nearest value that f32 has; out of range: an infinity."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def zero(type: WitType) -> Value:
    """What a stub returns: all bytes zero, which is the first case of a variant."""
    match type.kind:
        case "bool":
            return False
        case "f32" | "f64":
            return 0.0
        case "char":
            return "\0"
        case "string":
            return ""
        case "list":
            return b"" if is_bytes(type) else ()
        case "tuple" | "record":
            return tuple(zero(field) for field in fields(type))
        case "enum":
            return type.names[0]
        case "flags":
            return frozenset()
        case "variant" | "option" | "result":
            name, payload = cases(type)[0]
            return Case(name, None if payload is None else zero(payload))
    return 0


def same(a: object, b: object) -> bool:
    """Equality of two values or outcomes: all NaNs are one class, 0.0 and -0.0 differ, a bool is no int."""
    if isinstance(a, float) and isinstance(b, float):
        return (a != a and b != b) or struct.pack("<d", a) == struct.pack("<d", b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Case) and isinstance(b, Case):
        return a.name == b.name and same(a.payload, b.payload)
    return type(a) is type(b) and a == b


def parse(given: object, type: WitType, where: str) -> Value:
    """A value as the subject's TOML has it → a value of `type`. Raises UsageError that names `where`."""
    if type.kind in INTEGERS:
        low, high = INTEGERS[type.kind]
        if isinstance(given, int) and not isinstance(given, bool) and low <= given <= high:
            return given
        raise _unfit(given, f"an integer from {low} to {high}", where)
    match type.kind:
        case "bool":
            if isinstance(given, bool):
                return given
            raise _unfit(given, "true or false", where)
        case "f32" | "f64":
            if isinstance(given, int | float) and not isinstance(given, bool):
                return round_f32(given) if type.kind == "f32" else float(given)
            raise _unfit(given, "a number", where)
        case "char" | "string":
            if isinstance(given, str) and (type.kind == "string" or len(given) == 1):
                return given
            raise _unfit(given, "a string" if type.kind == "string" else "a string of one character", where)
        case "enum":
            if isinstance(given, str) and given in type.names:
                return given
            raise _unfit(given, f"one of {', '.join(type.names)}", where)
        case "flags":
            if isinstance(given, list) and all(isinstance(name, str) and name in type.names for name in given):
                return frozenset(given)
            raise _unfit(given, f"an array out of {', '.join(type.names)}", where)
        case "list":
            if isinstance(given, list):
                values = tuple(parse(item, element(type), f"{where}[{i}]") for i, item in enumerate(given))
                return bytes(value for value in values if isinstance(value, int)) if is_bytes(type) else values
            raise _unfit(given, "an array", where)
        case "tuple" | "record":
            types = fields(type)
            if isinstance(given, list) and len(given) == len(types):
                pairs = zip(given, types, strict=True)
                return tuple(parse(item, inner, f"{where}[{i}]") for i, (item, inner) in enumerate(pairs))
            raise _unfit(given, f"an array of {len(types)} values", where)
        case "variant" | "option" | "result":
            return _parse_case(given, type, where)
    raise UsageError(f"{where}: a value of the type {printable(_shown(type))} cannot be given")


def _parse_case(given: object, type: WitType, where: str) -> Value:
    known = dict(cases(type))
    if isinstance(given, dict) and len(given) == 1:
        ((name, payload),) = given.items()
        if name in known:
            inner = known[name]
            if inner is not None:
                return Case(name, parse(payload, inner, f"{where}.{name}"))
            if payload == {}:
                return Case(name)
    shapes = [f"{{ {name} = {'{}' if inner is None else '…'} }}" for name, inner in known.items()]
    raise _unfit(given, f"one of {', '.join(shapes)}", where)


def _unfit(given: object, wanted: str, where: str) -> UsageError:
    return UsageError(f"{where}: give {printable(wanted)}, not {printable(repr(given), 80)}")


def _shown(type: WitType) -> str:
    return type.names[0] if type.kind == "unsupported" and type.names else type.kind
