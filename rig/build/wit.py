# SPDX-License-Identifier: Apache-2.0
"""WIT types of a component's functions, as the engine that is the reference sees them (wasmtime's component types)."""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from rig.host import tools
from rig.image.component import WitFunction, WitType

if TYPE_CHECKING:
    from wasmtime import Engine, component

_NODES = 2000  # a larger type (counted with everything inside) is `unsupported`; types may nest exponentially


@dataclass(frozen=True, slots=True)
class Interface:
    """What a component takes and gives. `others`: imports that are not functions (core modules, whole components)."""

    exports: tuple[WitFunction, ...]
    imports: tuple[WitFunction, ...]
    others: tuple[str, ...]


class _Extern(Protocol):
    """wasmtime's `ComponentExtern`, which its package does not export."""

    @property
    def ty(self) -> object: ...


class Invalid(Exception):
    """The engine does not take the component; its own words."""


class _TooLarge(Exception):
    pass


@lru_cache(maxsize=1)
def _engine() -> Engine:
    try:
        import wasmtime  # here: 0.1 s that most commands do not need
    except ImportError:
        tools.find("wasmtime")  # says what is missing and how to get it
        raise
    config = wasmtime.Config()
    config.cranelift_opt_level = "none"  # compiled only to be validated
    config.wasm_custom_page_sizes = True  # meld says what it thinks of them (F7)
    atexit.register(_engine.cache_clear)  # wasmtime's own clean-up fails once the interpreter has gone
    return wasmtime.Engine(config)


def invalid_module(data: bytes) -> str:
    """"" for a valid core module, else the engine's own words. Raises ToolMissing without wasmtime."""
    engine = _engine()
    from wasmtime import Module, WasmtimeError

    try:
        Module.validate(engine, data)
    except WasmtimeError as error:
        return str(error)
    return ""


def interface(data: bytes) -> Interface:
    """Exports and imports of a component, sorted as in the file. Raises Invalid, ToolMissing without wasmtime."""
    engine = _engine()
    from wasmtime import WasmtimeError, component

    try:
        type = component.Component(engine, data).type
    except WasmtimeError as error:
        raise Invalid(str(error)) from error
    others: list[str] = []
    exports = _functions(type.exports(engine), engine, [])
    imports = _functions(type.imports(engine), engine, others)
    return Interface(exports, imports, tuple(others))


def _functions(items: Mapping[str, _Extern], engine: Engine, others: list[str]) -> tuple[WitFunction, ...]:
    from wasmtime import component

    found: list[WitFunction] = []
    for name, item in items.items():
        type = _item(item)
        if isinstance(type, component.FuncType):
            found.append(_function(None, name, type))
        elif isinstance(type, component.ComponentInstanceType):
            for inner, extern in type.exports(engine).items():
                function = _item(extern)
                if isinstance(function, component.FuncType):
                    found.append(_function(name, inner, function))
        elif isinstance(type, component.ModuleType | component.ComponentType):
            others.append(name)
    return tuple(found)


def _item(item: _Extern) -> object:
    try:
        return item.ty
    except TypeError:  # a kind of type that the Python package does not know: no function, so of no interest here
        return None


def _function(interface: str | None, name: str, type: component.FuncType) -> WitFunction:
    budget = [_NODES]
    try:
        params = tuple((label, _value(value, budget)) for label, value in type.params)
        result = None if type.result is None else _value(type.result, budget)
    except (TypeError, _TooLarge) as error:
        reason = "a type too large to be listed" if isinstance(error, _TooLarge) else str(error)
        return WitFunction(interface, name, (("?", _unsupported(reason)),), None)
    return WitFunction(interface, name, params, result)


def _unsupported(reason: str) -> WitType:
    return WitType("unsupported", names=(reason,))


def _value(type: component.ValType, budget: list[int]) -> WitType:
    from wasmtime import component as c

    budget[0] -= 1
    if budget[0] < 0:
        raise _TooLarge

    def inner(type: c.ValType | None) -> WitType | None:
        return None if type is None else _value(type, budget)

    match type:
        case c.ListType():
            return WitType("list", (inner(type.element),))
        case c.OptionType():
            return WitType("option", (inner(type.payload),))
        case c.ResultType():
            return WitType("result", (inner(type.ok), inner(type.err)))
        case c.TupleType():
            return WitType("tuple", tuple(inner(element) for element in type.elements))
        case c.RecordType():
            fields = type.fields
            return WitType("record", tuple(inner(t) for _, t in fields), tuple(n for n, _ in fields))
        case c.VariantType():
            cases = type.cases
            return WitType("variant", tuple(inner(t) for _, t in cases), tuple(n for n, _ in cases))
        case c.EnumType():
            return WitType("enum", names=tuple(type.names))
        case c.FlagsType():
            return WitType("flags", names=tuple(type.names))
    kind = _primitives().get(type.__class__)
    if kind is not None:
        return WitType(kind)
    words = {c.OwnType: "own<resource>", c.BorrowType: "borrow<resource>"}
    return _unsupported(words.get(type.__class__, type.__class__.__name__.removesuffix("Type").lower()))


@lru_cache(maxsize=1)
def _primitives() -> dict[type, str]:
    """wasmtime's classes of the primitive types → WIT's names."""
    from wasmtime import component as c

    return {
        c.Bool: "bool", c.Char: "char", c.String: "string", c.F32: "f32", c.F64: "f64",
        c.U8: "u8", c.U16: "u16", c.U32: "u32", c.U64: "u64",
        c.S8: "s8", c.S16: "s16", c.S32: "s32", c.S64: "s64",
    }
