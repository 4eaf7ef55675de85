# SPDX-License-Identifier: Apache-2.0
"""Argument vectors for an export, from its WIT types: edges first, then a mixture. The same seed, the same vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from random import Random

from rig.image.component import WitFunction, WitType
from rig.oracle.values import INTEGERS, Case, Value, cases, element, fields, is_bytes, round_f32

_EDGES = 16  # of one type, however it is composed
_LIST = 48  # elements of a list at most (bytes: four times as many); a frame to the agent has 8 KiB
_CHARS = "a0 ~é\u07ffह日\ud7ff\ue000\uffff😀🦀"

_F32_MAX, _F32_TINY, _F32_LEAST = 3.4028234663852886e38, 1.1754943508222875e-38, 1.401298464324817e-45
_F64_MAX, _F64_TINY, _F64_LEAST = 1.7976931348623157e308, 2.2250738585072014e-308, 5e-324
_FLOATS = (0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 0.1, 2147483648.0, -2147483649.0, 1.8446744073709552e19)
_STRINGS = ("", "a", "\0", "é", "日本語", "🦀😀", "\r\n\t", "<script>", "x" * 96, "\U0010ffff\ud7ff\ue000")


def vectors(function: WitFunction, seed: int, n: int = 100) -> list[tuple[Value, ...]]:
    """`n` argument tuples for the function. Types marked `unsupported` must not occur.

    Up to half are edge combinations: all of them where they are few enough, so that INT_MIN / -1 and x / 0 occur.
    """
    types = [type for _, type in function.params]
    random = Random(f"{seed}/{function.core_name}")  # a str seeds by its SHA-512, on every Python
    edge = [edges(type) for type in types]
    made: list[tuple[Value, ...]] = []
    if math.prod(map(len, edge)) <= n // 2:
        made = list(product(*edge))
    else:
        longest = max(map(len, edge))
        for turn in range(min(longest, n // 2)):
            made.append(tuple(values[turn % len(values)] for values in edge))
        while len(made) < n // 2:
            made.append(tuple(_pick(random, values) for values in edge))
    _shuffle(random, made)
    while len(made) < n:
        made.append(tuple(some(random, type) for type in types))
    return made[:n]


def edges(type: WitType) -> tuple[Value, ...]:
    """Values at the borders of a type; at least one."""
    if type.kind in INTEGERS:
        low, high = INTEGERS[type.kind]
        middle = (-1, low + 1) if low else (high >> 1, (high >> 1) + 1)
        return (0, 1, *middle, high - 1, high, *((low,) if low else ()))
    match type.kind:
        case "bool":
            return (False, True)
        case "f32":
            extra = (_F32_MAX, -_F32_MAX, _F32_TINY, _F32_LEAST, -_F32_LEAST)
            return tuple(round_f32(value) for value in (*_FLOATS, *extra))
        case "f64":
            return (*_FLOATS, _F64_MAX, -_F64_MAX, _F64_TINY, _F64_LEAST, -_F64_LEAST)
        case "char":
            return ("\0", "a", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U0010ffff")
        case "string":
            return _STRINGS
        case "enum":
            return (*type.names[: _EDGES - 1], type.names[-1])
        case "flags":
            return (frozenset(), frozenset(type.names), *(frozenset({name}) for name in type.names[: _EDGES - 2]))
        case "list":
            return _list_edges(type)
        case "tuple" | "record":
            return _zip_edges(fields(type), tuple)
        case "variant" | "option" | "result":
            return _case_edges(type)
    raise ValueError(f"no values for the type {type.kind}")


def _list_edges(type: WitType) -> tuple[Value, ...]:
    if is_bytes(type):
        return (b"", b"\0", b"\xff", b"\x80\x7f", bytes(range(4 * _LIST)), b"\0" * 64, b"hello")
    inner = edges(element(type))
    if element(type).carries_memory:  # a list of lists: few, or it would not fit a frame
        return ((), (inner[0],), (inner[-1],), inner[:2], inner[-3:])
    long = (inner * _LIST)[:_LIST]
    return ((), (inner[0],), (inner[-1],), inner[:2], inner, inner[::-1], long)


def _zip_edges(types: Sequence[WitType], join: Callable[[list[Value]], Value]) -> tuple[Value, ...]:
    inner = [edges(type) for type in types]
    count = min(max(map(len, inner), default=1), _EDGES)
    return tuple(join([values[turn % len(values)] for values in inner]) for turn in range(count))


def _case_edges(type: WitType) -> tuple[Value, ...]:
    found: list[Value] = []
    each = max(1, _EDGES // len(cases(type)))
    for name, payload in cases(type):
        found += [Case(name)] if payload is None else [Case(name, value) for value in edges(payload)[:each]]
    return tuple(found[:_EDGES])


def some(random: Random, type: WitType) -> Value:
    """A value of the type: an edge, a small one or any."""
    if _below(random, 4) == 0:
        return _pick(random, edges(type))
    if type.kind in INTEGERS:
        low, high = INTEGERS[type.kind]
        if _below(random, 3) == 0:
            return _below(random, 33) - (16 if low else 0)
        return low + _below(random, high - low + 1)
    match type.kind:
        case "bool":
            return _below(random, 2) == 1
        case "f32" | "f64":
            value = math.ldexp(_below(random, 1 << 24) - (1 << 23), _below(random, 40) - 30)
            return round_f32(value) if type.kind == "f32" else value
        case "char":
            return _CHARS[_below(random, len(_CHARS))]
        case "string":
            return "".join(_CHARS[_below(random, len(_CHARS))] for _ in range(_below(random, _LIST)))
        case "flags":
            return frozenset(name for name in type.names if _below(random, 2))
        case "list" if is_bytes(type):
            return bytes(_below(random, 256) for _ in range(_below(random, 4 * _LIST)))
        case "list":
            most = 4 if element(type).carries_memory else 12
            return tuple(some(random, element(type)) for _ in range(_below(random, most)))
        case "tuple" | "record":
            return tuple(some(random, field) for field in fields(type))
        case "variant" | "option" | "result":
            name, payload = cases(type)[_below(random, len(cases(type)))]
            return Case(name, None if payload is None else some(random, payload))
    return _pick(random, edges(type))


# Only `getrandbits` is used: its stream is the one thing that Python promises to keep.


def _below(random: Random, limit: int) -> int:
    """A number in [0, limit), limit ≥ 1; slightly uneven, which does not matter here."""
    return random.getrandbits(limit.bit_length() + 16) % limit


def _pick(random: Random, values: Sequence[Value]) -> Value:
    return values[_below(random, len(values))]


def _shuffle(random: Random, items: list[tuple[Value, ...]]) -> None:
    for last in range(len(items) - 1, 0, -1):
        other = _below(random, last + 1)
        items[last], items[other] = items[other], items[last]
