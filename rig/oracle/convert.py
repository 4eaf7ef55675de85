# SPDX-License-Identifier: Apache-2.0
"""Between our values and those of wasmtime's Python package.

That package tags the values of a variant, option or result only where the Python classes of the cases overlap, and its
test for that is too weak: on the way in it takes a bool for an int, and anything at all for a nested option. `tag_all`
turns its one switch to "always tagged", so that every value goes in and out unchanged.
"""

from __future__ import annotations

from typing import Any

from rig.errors import InfrastructureError
from rig.image.component import WitType
from rig.oracle.values import Case, Value, cases, element, fields, is_bytes

_CASED = ("variant", "option", "result")


def tag_all() -> None:
    """Let wasmtime's package give and take every variant, option and result as `Variant(tag, payload)`."""
    from wasmtime.component import _types as types

    if not hasattr(types.VariantLikeType, "_tagged"):
        raise InfrastructureError("this version of wasmtime's Python package is not known: install the locked one")
    type.__setattr__(types.VariantLikeType, "_tagged", lambda self: True)


def convertible(kind: WitType) -> bool:
    """Whether values of the type can be passed at all."""
    return kind.kind != "unsupported" and all(arg is None or convertible(arg) for arg in kind.args)


def to_wasmtime(value: Value, kind: WitType) -> Any:
    """Our value of a convertible type as wasmtime takes it."""
    from wasmtime import component

    if kind.kind in ("tuple", "record"):
        assert isinstance(value, tuple)
        items = [to_wasmtime(item, field) for item, field in zip(value, fields(kind), strict=True)]
        if kind.kind == "tuple":
            return tuple(items)
        record = component.Record()
        for name, item in zip(kind.names, items, strict=True):
            setattr(record, name, item)
        return record
    if kind.kind == "list" and not is_bytes(kind):
        assert isinstance(value, tuple)
        return [to_wasmtime(item, element(kind)) for item in value]
    if kind.kind == "flags":
        assert isinstance(value, frozenset)
        return set(value)
    if kind.kind in _CASED:
        assert isinstance(value, Case)
        payload = dict(cases(kind))[value.name]
        inner = None if payload is None else to_wasmtime(value.payload, payload)
        return component.Variant(value.name, inner)
    return value


def from_wasmtime(value: Any, kind: WitType) -> Value:
    """wasmtime's value of a type as ours."""
    if kind.kind == "tuple":
        return tuple(from_wasmtime(item, field) for item, field in zip(value, fields(kind), strict=True))
    if kind.kind == "record":
        named = zip(kind.names, fields(kind), strict=True)
        return tuple(from_wasmtime(getattr(value, name), field) for name, field in named)
    if kind.kind == "list" and not is_bytes(kind):
        return tuple(from_wasmtime(item, element(kind)) for item in value)
    if kind.kind == "flags":
        return frozenset(value)
    if kind.kind in _CASED:
        payload = dict(cases(kind))[value.tag]
        return Case(value.tag, None if payload is None else from_wasmtime(value.payload, payload))
    plain: Value = value
    return plain

