# SPDX-License-Identifier: Apache-2.0
"""Between our values and those of wasmtime's Python package.

That package gives a variant, option or result as the bare payload where the Python classes of the cases differ
("untagged"), else as `Variant(tag, payload)`. On the way in it takes the first case whose class fits, and Python's
classes overlap (a bool is an int): types where it would take the wrong case are refused here.
"""

from __future__ import annotations

from typing import Any

from rig.image.component import WitType
from rig.oracle.values import Case, Value, cases, element, fields, is_bytes

_CASED = ("variant", "option", "result")
_CLASSES: dict[str, type] = {
    "bool": bool, "f32": float, "f64": float, "char": str, "string": str, "enum": str, "tuple": tuple, "flags": set,
}


def convertible(kind: WitType) -> bool:
    """Whether every value of the type goes in and out unchanged."""
    if kind.kind == "unsupported":
        return False
    if kind.kind in _CASED and not _tagged(kind):
        seen: set[type] = set()
        for _, payload in cases(kind):
            classes = {object} if payload is None else _classes(payload)
            # A case without payload takes only None; one with a nested option takes anything.
            if any(issubclass(later, earlier) for later in classes for earlier in seen if later is not object):
                return False
            seen |= set() if payload is None else classes
        if sum(payload is None or object in _classes(payload) for _, payload in cases(kind)) > 1:
            return False
    return all(arg is None or convertible(arg) for arg in kind.args)


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
        return component.Variant(value.name, inner) if _tagged(kind) else inner
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
        if _tagged(kind):
            payload = dict(cases(kind))[value.tag]
            return Case(value.tag, None if payload is None else from_wasmtime(value.payload, payload))
        for name, payload in cases(kind):
            if payload is None:
                if value is None:
                    return Case(name)
            elif type(value) in _classes(payload) or (value is None and object in _classes(payload)):
                return Case(name, from_wasmtime(value, payload))
        raise ValueError(f"{value!r} is no value of {kind}")
    plain: Value = value
    return plain


def _tagged(kind: WitType) -> bool:
    """Whether two cases have a Python class in common (as `VariantLikeType._tagged`)."""
    seen: set[type] = set()
    for _, payload in cases(kind):
        classes = {object} if payload is None else _classes(payload)
        if classes & seen:
            return True
        seen |= classes
    return False


def _classes(kind: WitType) -> set[type]:
    """Python classes of a type's values (as `ValType.add_classes`)."""
    from wasmtime import component

    if kind.kind in _CASED:
        if _tagged(kind):
            return {component.Variant}
        return {c for _, payload in cases(kind) for c in ({object} if payload is None else _classes(payload))}
    if kind.kind == "list":
        return {bytes if is_bytes(kind) else list}
    if kind.kind == "record":
        return {component.Record}
    return {_CLASSES.get(kind.kind, int)}
