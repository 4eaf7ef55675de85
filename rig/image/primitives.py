# SPDX-License-Identifier: Apache-2.0
"""Attack tools in an intruder's own code: exports whose body is one access where a parameter says, found by shape.

Straight-line bodies only: parameters, constants added to the address, conversions of the value, one load or store.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rig.image.model import FuncType, Primitive, PrimitiveKind
from rig.image.module import Body, Module
from rig.image.opcodes import LOADS, STORES, Instruction, access_shape

# What a compiler puts around a value on its way between a parameter and memory: sign, width and type changes.
CONVERSIONS = frozenset((
    "i32.extend8_s", "i32.extend16_s", "i64.extend8_s", "i64.extend16_s", "i64.extend32_s", "i32.wrap_i64",
    "i64.extend_i32_s", "i64.extend_i32_u", "i32.reinterpret_f32", "i64.reinterpret_f64", "f32.reinterpret_i32",
    "f64.reinterpret_i64", "f32.demote_f64", "f64.promote_f32",
))  # fmt: skip
MASKS = frozenset((0xFF, 0xFFFF, 0xFFFF_FFFF, -1))
MAX_BODY = 64  # instructions


class Symbol(NamedTuple):
    """A value on the stack: what it is made of."""

    kind: str  # param | const | loaded
    number: int = 0  # param: which · const: value
    bias: int = 0  # param: constant added
    converted: bool = False


def primitives(module: Module, exports: Iterable[tuple[str, int]]) -> tuple[Primitive, ...]:
    """Tools among these exports (name, function), in their order."""
    found = (_primitive(module, name, function) for name, function in exports)
    return tuple(p for p in found if p is not None)


def _primitive(module: Module, export: str, function: int) -> Primitive | None:
    body, type_ = module.body(function), module.type_of(function)
    if body is None or len(body.code) > MAX_BODY:
        return None
    run = _Straight(type_)
    if not all(run.step(ins) for ins in _plain(body)):
        return None
    return run.result(function, export)


def _plain(body: Body) -> list[Instruction]:
    """The body without its final `end`, and without a `return` before it."""
    code = [i for i in body.code[:-1] if i.op != "nop"]
    return code[:-1] if code and code[-1].op == "return" else code


class _Straight:
    """Follows one straight-line body; `step` says False at anything that makes it no primitive."""

    def __init__(self, type_: FuncType) -> None:
        self.type = type_
        self.stack: list[Symbol] = []
        self.locals = {i: Symbol("param", i) for i in range(len(type_.params))}
        self.access: Instruction | None = None
        self.address: Symbol | None = None
        self.value: Symbol | None = None

    def step(self, ins: Instruction) -> bool:
        op, stack = ins.op, self.stack
        if op == "local.get":
            stack.append(self.locals.get(ins.imm[0], Symbol("const", 0)))
        elif op.endswith(".const"):
            stack.append(Symbol("const", ins.imm[0]))
        elif not stack:
            return False
        elif op in ("local.set", "local.tee"):
            self.locals[ins.imm[0]] = stack[-1]
            if op == "local.set":
                stack.pop()
        elif op == "drop":
            stack.pop()
        elif op in CONVERSIONS:
            stack[-1] = stack[-1]._replace(converted=True)
        elif op in LOADS and self.access is None:
            self.access, self.address = ins, stack.pop()
            stack.append(Symbol("loaded"))
        elif len(stack) < 2:
            return False
        elif op in STORES and self.access is None:
            self.access, self.value, self.address = ins, stack.pop(), stack.pop()
        else:
            right, left = stack.pop(), stack.pop()
            combined = _combine(op, left, right)
            if combined is None:
                return False
            stack.append(combined)
        return True

    def result(self, function: int, export: str) -> Primitive | None:
        access, address, value = self.access, self.address, self.value
        if access is None or address is None or address.kind != "param" or address.converted:
            return None
        if self.type.params[address.number] != "i32":
            return None
        if access.op in STORES:
            if (
                value is None
                or value.kind == "loaded"
                or value.bias
                or (value.kind, value.number) == ("param", address.number)
            ):
                return None
            kind, value_param = PrimitiveKind.STORE, value.number if value.kind == "param" else None
            value_type = access_shape(access.op).type if value_param is None else self.type.params[value_param]
        else:
            if [s.kind for s in self.stack] not in ([], ["loaded"]):
                return None
            kind, value_param = PrimitiveKind.LOAD, None
            value_type = self.type.results[0] if self.type.results else access_shape(access.op).type
        return Primitive(
            function=function,
            export=export,
            kind=kind,
            op=access.op,
            width=access_shape(access.op).width,
            memory=access.imm[1],
            offset=access.imm[2],
            address_param=address.number,
            value_param=value_param,
            value_type=value_type,
            bias=address.bias & 0xFFFF_FFFF,
        )


def _combine(op: str, left: Symbol, right: Symbol) -> Symbol | None:
    """Address plus constant, or a value masked to its width."""
    if op == "i32.add" and "const" in (left.kind, right.kind):
        constant, other = (left, right) if left.kind == "const" else (right, left)
        return other._replace(bias=other.bias + constant.number) if other.kind == "param" else None
    if op == "i32.sub" and right.kind == "const" and left.kind == "param":
        return left._replace(bias=left.bias - right.number)
    if op in ("i32.and", "i64.and") and "const" in (left.kind, right.kind):
        constant, other = (left, right) if left.kind == "const" else (right, left)
        return other._replace(converted=True) if constant.number in MASKS else None
    return None
