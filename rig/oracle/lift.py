# SPDX-License-Identifier: Apache-2.0
"""Between WIT values and what the agent carries: core values, bytes of lists, a return area.

Source: component-model `CanonicalABI.md` (lift_flat, lower_flat, load, store).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from rig.image.component import WitFunction, WitType
from rig.oracle.abi import (
    CORE,
    align_of,
    discriminant_size,
    flatten,
    payload_offset,
    signature,
    size_of,
    up,
)
from rig.oracle.values import INTEGERS, Case, Value, cases, element, fields, is_bytes

LIST_LIMIT = 1024  # bytes of a returned list that the agent copies out
Fetch: TypeAlias = Callable[[int, int], bytes]  # (wasm address, bytes) → as many of them as can be had
_NAN32, _NAN64 = 0x7FC00000, 0x7FF8000000000000


class LiftTrap(Exception):
    """The returned bits are no value of the type: where the Canonical ABI says that lifting traps."""


class TooLong(Exception):
    """More bytes than came back: what they hold is not known."""


@dataclass(frozen=True, slots=True)
class CoreValue:
    type: str  # "i32" | "i64" | "f32" | "f64"
    bits: int  # unsigned


@dataclass(frozen=True, slots=True)
class ListPayload:
    """Bytes to place with the callee's realloc.

    The pointer goes to core parameter `slot`, or, with `into` n, to byte `slot` of the n-th payload behind this one.
    """

    slot: int
    align: int
    data: bytes
    into: int = 0


@dataclass(frozen=True, slots=True)
class Lowered:
    params: tuple[CoreValue, ...]  # a payload's slot holds 0
    payloads: tuple[ListPayload, ...]

    @property
    def bytes(self) -> int:
        """How much of a frame the payloads take, headers included."""
        return sum(12 + up(len(p.data), 4) for p in self.payloads)


def lower(function: WitFunction, args: Sequence[Value]) -> Lowered:
    """Arguments → core parameters and payloads. Raises Refusal as `signature`."""
    shape = signature(function)
    types = [type for _, type in function.params]
    if shape.spilled:
        whole = WitType("tuple", tuple(types))
        placed = _place((tuple(args),), whole)
        return Lowered((CoreValue("i32", 0),), (*placed[:-1], replace(placed[-1], slot=0)))
    params: list[CoreValue] = []
    payloads: list[ListPayload] = []
    for value, type in zip(args, types, strict=True):
        _lower_flat(value, type, params, payloads)
    return Lowered(tuple(params), tuple(payloads))


def only(data: bytes) -> Fetch:
    """The bytes of the one list that came back with the return area."""

    def fetch(pointer: int, size: int) -> bytes:
        return data[:size]

    return fetch


def lift(function: WitFunction, bits: int, area: bytes, fetch: Fetch) -> Value:
    """The result: `bits` of the core result, or `area` (as many bytes as the signature says) and what it points to.

    Raises LiftTrap, and TooLong where `fetch` brings less than a list has.
    """
    if function.result is None:
        return None
    shape = signature(function)
    if shape.area:
        return _Reader(area, fetch).load(function.result, 0)
    kinds = flatten(function.result)
    core = [CoreValue(kinds[0], bits & (1 << 64 if kinds[0][1:] == "64" else 1 << 32) - 1)] if kinds else []
    return _lift_flat(function.result, core)


# Lowering.


def _bits(value: Value, kind: str) -> int:
    """A scalar as unsigned bits of its core type: smaller integers are sign- or zero-extended."""
    if kind == "f32":
        assert isinstance(value, float)
        return _NAN32 if math.isnan(value) else int.from_bytes(struct.pack("<f", value), "little")
    if kind == "f64":
        assert isinstance(value, float)
        return _NAN64 if math.isnan(value) else int.from_bytes(struct.pack("<d", value), "little")
    if kind == "char":
        assert isinstance(value, str)
        return ord(value)
    assert isinstance(value, int)
    return value & (1 << 64 if kind in ("u64", "s64") else 1 << 32) - 1


def _flags(value: Value, type: WitType) -> int:
    assert isinstance(value, frozenset)
    return sum(1 << index for index, name in enumerate(type.names) if name in value)


def _case(value: Value, type: WitType) -> tuple[int, Value, WitType | None]:
    """Discriminant, payload and its type. An enum's value is its name."""
    name, payload = (value.name, value.payload) if isinstance(value, Case) else (value, None)
    for index, (case, inner) in enumerate(cases(type)):
        if case == name:
            return index, payload, inner
    raise ValueError(f"{name!r} is no case of {type}")


def _lower_flat(value: Value, type: WitType, params: list[CoreValue], payloads: list[ListPayload]) -> None:
    match type.kind:
        case "string" | "list":
            *inner, last = _list(value, type)
            payloads += [*inner, replace(last, slot=len(params))]
            params += [CoreValue("i32", 0), CoreValue("i32", _length(value))]
        case "tuple" | "record":
            assert isinstance(value, tuple)
            for item, field in zip(value, fields(type), strict=True):
                _lower_flat(item, field, params, payloads)
        case "flags":
            params += [CoreValue("i32", _flags(value, type))] if type.names else []
        case "variant" | "option" | "result" | "enum":
            index, payload, kind = _case(value, type)
            params.append(CoreValue("i32", index))
            first = len(params)
            if kind is not None:
                _lower_flat(payload, kind, params, payloads)
            # What the case does not fill is zero; what it fills has the joined type: its bits, zero-extended.
            for slot, core in enumerate(flatten(type)[1:], first):
                if slot < len(params):
                    params[slot] = CoreValue(core, params[slot].bits)
                else:
                    params.append(CoreValue(core, 0))
        case scalar:
            params.append(CoreValue(CORE.get(scalar, "i32"), _bits(value, scalar)))


def _length(value: Value) -> int:
    """The length of a string or list as it is passed."""
    assert isinstance(value, str | bytes | tuple)
    return len(value.encode() if isinstance(value, str) else value)


def _list(value: Value, type: WitType) -> list[ListPayload]:
    """A string or list: what its elements point to, then its own bytes (whose slot is still to be set)."""
    if isinstance(value, str):
        return [ListPayload(0, 1, value.encode())]
    if isinstance(value, bytes):
        return [ListPayload(0, 1, value)]
    assert isinstance(value, tuple)
    return _place(value, element(type))


def _place(values: Sequence[Value], type: WitType) -> list[ListPayload]:
    """Values of one type side by side in memory: the payloads they point to, then the bytes themselves."""
    inner: list[tuple[int, list[ListPayload]]] = []  # (byte of ours that gets the address, payloads of that list)
    data = b"".join(_store(value, type, inner, index * size_of(type)) for index, value in enumerate(values))
    payloads: list[ListPayload] = []
    behind = sum(len(found) for _, found in inner)
    for at, found in inner:
        behind -= len(found)
        payloads += [*found[:-1], replace(found[-1], slot=at, into=behind + 1)]
    return [*payloads, ListPayload(0, align_of(type), data)]


def _store(value: Value, type: WitType, inner: list[tuple[int, list[ListPayload]]], at: int) -> bytes:
    """A value as it lies in memory at byte `at` of its payload; pointers are 0 and their lists go to `inner`."""
    match type.kind:
        case "string" | "list":
            inner.append((at, _list(value, type)))
            return bytes(4) + _length(value).to_bytes(4, "little")
        case "tuple" | "record":
            assert isinstance(value, tuple)
            data = b""
            for item, field in zip(value, fields(type), strict=True):
                data = data.ljust(up(len(data), align_of(field)), b"\0")
                data += _store(item, field, inner, at + len(data))
        case "flags":
            return _flags(value, type).to_bytes(size_of(type), "little")
        case "variant" | "option" | "result" | "enum":
            index, payload, kind = _case(value, type)
            data = index.to_bytes(discriminant_size(type), "little")
            if kind is not None:
                data = data.ljust(payload_offset(type), b"\0")
                data += _store(payload, kind, inner, at + len(data))
        case scalar:
            return (_bits(value, scalar) & (1 << 8 * size_of(type)) - 1).to_bytes(size_of(type), "little")
    return data.ljust(size_of(type), b"\0")


# Lifting.


def _scalar(bits: int, kind: str) -> Value:
    """A scalar from its bits; smaller integers are cut to their width, as the Canonical ABI does."""
    if kind in INTEGERS:
        width = int(kind[1:])
        value = bits & (1 << width) - 1
        return value - (1 << width) if kind[0] == "s" and value >> width - 1 else value
    match kind:
        case "bool":
            return bits != 0
        case "f32":
            return float(struct.unpack("<f", struct.pack("<I", bits & 0xFFFFFFFF))[0])
        case "f64":
            return float(struct.unpack("<d", struct.pack("<Q", bits))[0])
        case "char":
            if bits >= 0x110000 or 0xD800 <= bits < 0xE000:
                raise LiftTrap(f"{bits:#x} is no character")
            return chr(bits)
    raise ValueError(f"{kind} is no scalar")


def _lift_case(index: int, type: WitType, payload: Callable[[WitType], Value]) -> Value:
    known = cases(type)
    if index >= len(known):
        raise LiftTrap(f"{index} is no case of a {type.kind} of {len(known)} cases")
    name, inner = known[index]
    if type.kind == "enum":
        return name
    return Case(name, None if inner is None else payload(inner))


def _lift_flags(bits: int, type: WitType) -> Value:
    return frozenset(name for index, name in enumerate(type.names) if bits >> index & 1)


def _lift_flat(type: WitType, core: list[CoreValue]) -> Value:
    """A value that flattens to at most one core value."""
    match type.kind:
        case "tuple" | "record":
            return tuple(_lift_flat(field, core) for field in fields(type))
        case "flags":
            return _lift_flags(core.pop(0).bits if core else 0, type)
        case "variant" | "option" | "result" | "enum":
            return _lift_case(core.pop(0).bits, type, lambda inner: _lift_flat(inner, core))
    return _scalar(core.pop(0).bits, type.kind)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Values in the callee's memory: `area` is a part of it, `fetch` brings what that points to."""

    area: bytes
    fetch: Fetch

    def load(self, type: WitType, at: int) -> Value:
        match type.kind:
            case "tuple" | "record":
                values: list[Value] = []
                for field in fields(type):
                    at = up(at, align_of(field))
                    values.append(self.load(field, at))
                    at += size_of(field)
                return tuple(values)
            case "flags":
                return _lift_flags(self.number(at, size_of(type)), type)
            case "variant" | "option" | "result" | "enum":
                index = self.number(at, discriminant_size(type))
                return _lift_case(index, type, lambda inner: self.load(inner, at + payload_offset(type)))
            case "string" | "list":
                return self.items(type, self.number(at, 4), self.number(at + 4, 4))
        return _scalar(self.number(at, size_of(type)), type.kind)

    def number(self, at: int, size: int) -> int:
        return int.from_bytes(self.area[at : at + size], "little")

    def items(self, type: WitType, pointer: int, length: int) -> Value:
        size = size_of(element(type)) if type.kind == "list" else 1
        data = self.fetch(pointer, length * size) if length * size else b""
        if length * size > len(data):
            raise TooLong(f"a returned {type.kind} has {length * size} bytes, {len(data)} came back")
        if type.kind == "string":
            try:
                return data[:length].decode()
            except UnicodeDecodeError as error:
                raise LiftTrap(f"the string is not UTF-8: {error.reason} at byte {error.start}") from error
        if is_bytes(type):
            return data[:length]
        inside = _Reader(data, self.fetch)
        return tuple(inside.load(element(type), index * size) for index in range(length))
