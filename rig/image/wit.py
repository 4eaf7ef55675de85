# SPDX-License-Identifier: Apache-2.0
"""WIT types: text → `WitType`, and what the canonical ABI makes of them (component-model, CanonicalABI.md).

A function has two core signatures: *lowered*, as its caller sees it, and *lifted*, as its callee implements it. They
differ where a result does not fit one core value: the caller passes a pointer to a return area, the callee returns one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest
from typing import NoReturn

from rig.errors import UsageError
from rig.image.component import WitFunction, WitType
from rig.image.model import FuncType, ListArg

MAX_FLAT_PARAMS = 16
MAX_DEPTH = 64
_SIZES = {
    "bool": 1, "u8": 1, "s8": 1, "u16": 2, "s16": 2, "u32": 4, "s32": 4, "char": 4, "f32": 4,
    "u64": 8, "s64": 8, "f64": 8,
}  # fmt: skip
_FLAT = {"u64": "i64", "s64": "i64", "f32": "f32", "f64": "f64"}
_TOKEN = re.compile(r"\s*([A-Za-z0-9_%][A-Za-z0-9_%./@#-]*|[<>{}(),:])")


@dataclass(frozen=True, slots=True)
class Abi:
    """One side of a function. `lists`: what the gate can check; `unchecked`: pointers it cannot, in words."""

    type: FuncType
    lists: tuple[ListArg, ...]  # `length` -1: exactly one element (return area, spilled arguments)
    unchecked: tuple[str, ...]
    returns_list: bool


def lowered(function: WitFunction, memory: int) -> Abi:
    """The signature a caller uses; pointers refer to the caller's `memory`."""
    return _abi(function, memory, lower=True)


def lifted(function: WitFunction, memory: int) -> Abi:
    """The signature the callee implements; pointers refer to `memory`."""
    return _abi(function, memory, lower=False)


def spills(function: WitFunction) -> bool:
    """More flattened parameters than fit: they travel through a record in memory."""
    return sum(len(flatten(t)) for _, t in function.params) > MAX_FLAT_PARAMS


def carries_memory(function: WitFunction) -> bool:
    """A call hands a pointer into the caller's memory to the callee, or the other way round (F14)."""
    types = [t for _, t in function.params] + ([function.result] if function.result else [])
    return any(t.carries_memory for t in types) or spills(function)


def needs_realloc(function: WitFunction) -> bool:
    """Whether whoever calls the export must allocate in its memory first."""
    return any(t.carries_memory for _, t in function.params) or spills(function)


def _abi(function: WitFunction, memory: int, lower: bool) -> Abi:
    flat: list[str] = []
    lists: list[ListArg] = []
    unchecked: list[str] = []
    if spills(function):
        size, align = _record([t for _, t in function.params])
        nested = any(t.carries_memory for _, t in function.params)
        lists.append(ListArg(0, -1, size, align, memory, nested))
        flat.append("i32")
    else:
        for name, type_ in function.params:
            _walk(type_, name, flat, lists, unchecked, memory)
    results: tuple[str, ...] = flatten(function.result) if function.result else ()
    if len(results) > 1 and function.result:
        if lower:
            size, align = size_align(function.result)
            lists.append(ListArg(len(flat), -1, size, align, memory, False))
            flat.append("i32")
            results = ()
        else:
            results = ("i32",)
    returns = function.result is not None and function.result.carries_memory
    return Abi(FuncType(tuple(flat), results), tuple(lists), tuple(unchecked), returns)


def _walk(t: WitType, name: str, flat: list[str], lists: list[ListArg], unchecked: list[str], memory: int) -> None:
    """Append the flattening of `t`; note every (pointer, length) that is always there."""
    if t.kind in ("string", "list"):
        element = t.args[0] if t.kind == "list" and t.args[0] else WitType("u8")
        size, align = size_align(element)
        lists.append(ListArg(len(flat), len(flat) + 1, size, align, memory, element.carries_memory))
        flat += ["i32", "i32"]
    elif t.kind in ("record", "tuple"):
        for k, field in enumerate(t.args):
            if field is not None:
                _walk(field, f"{name}.{t.names[k] if k < len(t.names) else k}", flat, lists, unchecked, memory)
    else:
        if t.carries_memory:  # the pointer is one only in some case: a fixed check would refuse legal calls
            unchecked.append(f"{name}: {t.kind} with a pointer in one of its cases")
        flat += flatten(t)


def cases(t: WitType) -> tuple[WitType | None, ...]:
    """Payloads of a variant-like type, in discriminant order; () for any other."""
    if t.kind == "option":
        return (None, t.args[0])
    if t.kind == "result":
        return (*t.args, None, None)[:2]
    if t.kind in ("variant", "enum"):
        return t.args or (None,) * len(t.names)
    return ()


def flatten(t: WitType) -> tuple[str, ...]:
    """Core value types of one WIT type."""
    if t.kind in ("string", "list"):
        return ("i32", "i32")
    if t.kind in ("record", "tuple"):
        return tuple(core for field in t.args if field for core in flatten(field))
    if t.kind == "flags":
        return ("i32",) * ((len(t.names) + 31) // 32)
    variants = cases(t)
    if variants:
        joined: list[str] = []
        for payload in variants:
            mine = flatten(payload) if payload else ()
            pairs = zip_longest(joined, mine)
            joined = [a or b if not (a and b) or a == b else _join(a, b) for a, b in pairs]
        return ("i32", *joined)
    return (_FLAT.get(t.kind, "i32"),)


def _join(a: str, b: str) -> str:
    return "i32" if {a, b} == {"i32", "f32"} else "i64"


def size_align(t: WitType) -> tuple[int, int]:
    """(bytes, alignment) of a value in linear memory."""
    if t.kind in ("string", "list"):
        return 8, 4
    if t.kind in ("record", "tuple"):
        return _record([field for field in t.args if field])
    if t.kind == "flags":
        n = len(t.names)
        return (1, 1) if n <= 8 else (2, 2) if n <= 16 else (4 * ((n + 31) // 32), 4)
    variants = cases(t)
    if variants:
        tag = 1 if len(variants) <= 256 else 2 if len(variants) <= 65536 else 4
        inner = [size_align(p) for p in variants if p]
        align = max([tag, *(a for _, a in inner)])
        payload = max([0, *(s for s, _ in inner)])
        return _up(_up(tag, max([1, *(a for _, a in inner)])) + payload, align), align
    size = _SIZES.get(t.kind, 4)  # handles and the like are i32
    return size, size


def _record(fields: list[WitType]) -> tuple[int, int]:
    at, widest = 0, 1
    for field in fields:
        size, align = size_align(field)
        at, widest = _up(at, align) + size, max(widest, align)
    return _up(at, widest), widest


def _up(value: int, align: int) -> int:
    return -(-value // align) * align


# -- text -------------------------------------------------------------------------------------------------------------


def parse_type(text: str, where: str) -> WitType:
    """`list<u8>`, `record { x: s32 }`, … as the signature manifest writes them. Error: UsageError with `where`."""
    parser = _TypeText(text, where)
    result = parser.type(0)
    if parser.peek():
        parser.fail()
    return result


class _TypeText:
    def __init__(self, text: str, where: str) -> None:
        self.text, self.where, self.pos = text, where, 0

    def fail(self) -> NoReturn:
        raise UsageError(f"{self.where}: WIT type {self.text[:80]!r} is wrong at column {self.pos + 1}")

    def peek(self) -> str:
        match = _TOKEN.match(self.text, self.pos)
        if match:
            return match[1]
        if self.text[self.pos :].strip():
            self.fail()
        return ""

    def next(self) -> str:
        match = _TOKEN.match(self.text, self.pos)
        if not match:
            self.fail()
        self.pos = match.end()
        return match[1]

    def eat(self, token: str) -> bool:
        if self.peek() != token:
            return False
        self.next()
        return True

    def need(self, token: str) -> None:
        if not self.eat(token):
            self.fail()

    def type(self, depth: int) -> WitType:
        if depth > MAX_DEPTH:
            raise UsageError(f"{self.where}: WIT type nested deeper than {MAX_DEPTH}")
        kind = self.next()
        if kind in ("record", "variant", "flags", "enum"):
            return self.named(kind, depth)
        args: list[WitType | None] = []
        if self.eat("<"):
            while not self.eat(">"):
                args.append(None if self.eat("_") else self.type(depth + 1))
                if self.peek() != ">":
                    self.need(",")
        if kind in _SIZES or kind == "string":
            return WitType(kind)
        if kind in ("list", "option") and len(args) == 1 and args[0]:
            return WitType(kind, tuple(args))
        if kind == "tuple" and args and None not in args:
            return WitType(kind, tuple(args))
        if kind == "result" and len(args) <= 2:
            return WitType(kind, (*args, None, None)[:2])
        return WitType("unsupported", (), (kind,))

    def named(self, kind: str, depth: int) -> WitType:
        names: list[str] = []
        args: list[WitType | None] = []
        self.need("{")
        while not self.eat("}"):
            names.append(self.next())
            payload = None
            if kind == "record":
                self.need(":")
                payload = self.type(depth + 1)
            elif self.eat("("):
                payload = self.type(depth + 1)
                self.need(")")
            args.append(payload)
            if self.peek() != "}":
                self.need(",")
        return WitType(kind, () if kind in ("flags", "enum") else tuple(args), tuple(names))
