# SPDX-License-Identifier: Apache-2.0
"""Constant addresses that code dereferences, found without its source: a small abstract interpretation of bodies.

Followed: constants, values of globals, sums with something unknown, locals, arguments that the callee dereferences and
constants that a callee returns. An integer that is never used as an address is never reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rig.image import opcodes
from rig.image.module import Body, Module
from rig.image.opcodes import LOADS, STORES, Instruction

M32 = 0xFFFF_FFFF
MAX_VALUES = 8  # different things in one local: more is as good as unknown
MAX_ROUNDS = 8  # of the interprocedural summary; each round follows pointers through one more call


class Value(NamedTuple):
    """What is known of an i32 on the stack."""

    kind: (
        str  # const | global (its value + add) | param (a pointer derived from it) | call (its result) | index | other
    )
    value: int = 0  # const: the value · global, param, call: index of the global, parameter, function
    add: int = 0
    at: int = -1  # instruction that brought the constant in
    exact: bool = True  # False: something unknown was added


OTHER = Value("other")
INDEX = Value("index")  # small or scaled: an array index, no pointer


@dataclass(frozen=True, slots=True)
class AddressUse:
    """One address that a function forms from a constant and dereferences."""

    function: int
    at: int  # instruction that holds the constant (or the access, when it is its static offset)
    op: str  # how it is used: an access, memory.copy, …, "call N" (as a pointer argument), "return" (to who uses it)
    address: int
    exact: bool
    after_indirect: bool
    through_global: int | None = None


@dataclass(slots=True)
class _Summary:
    """What callers must know of a function."""

    pointers: set[int] = field(default_factory=set)  # parameters it dereferences
    returned: set[Value] = field(default_factory=set)  # constants it returns


class Interpretation:
    """Every function of a module interpreted, until none learns anything new about those it calls.

    `low`: offsets below it are fields of records and distances, not addresses.
    """

    def __init__(self, module: Module, low: int) -> None:
        self._summaries: dict[int, _Summary] = {b.function: _Summary() for b in module.bodies}
        self._runs = {b.function: _Run(module, b, self._summaries, low) for b in module.bodies}
        pending = set(self._runs)
        for _ in range(MAX_ROUNDS):
            changed = {f for f in pending if self._learns(f)}
            if not changed:
                break
            pending = {f for f, run in self._runs.items() if run.callees & changed}

    def _learns(self, function: int) -> bool:
        summary = self._summaries[function]
        before = len(summary.pointers), len(summary.returned)
        self._runs[function].run()
        return (len(summary.pointers), len(summary.returned)) != before

    def uses(self, functions: Sequence[int], returned: frozenset[int] = frozenset()) -> tuple[AddressUse, ...]:
        """All constant addresses in these functions. `returned`: functions whose result the outside uses as an address
        (cabi_realloc)."""
        dereferenced = set(returned).union(*(run.results_used for run in self._runs.values()))
        found: list[AddressUse] = []
        for function in functions:
            if function in self._runs:
                found += self._runs[function].uses.values()
                if function in dereferenced:
                    found += self._runs[function].returns(self._summaries[function].returned)
        return tuple(sorted(set(found), key=lambda u: (u.at, u.address)))

    def pointer_parameters(self, function: int) -> frozenset[int]:
        """Parameters that a function, or what it passes them to, uses as addresses."""
        return frozenset(self._summaries[function].pointers) if function in self._summaries else frozenset()


class _Run:
    """One function body."""

    def __init__(self, module: Module, body: Body, summaries: Mapping[int, _Summary], low: int) -> None:
        self.module, self.body, self.summaries, self.low = module, body, summaries, low
        self.params = len(module.type_of(body.function).params)
        self.callees = {i.imm[0] for i in body.code if i.op == "call"}
        self.passes = 2 if any(i.op == "loop" for i in body.code) else 1  # a loop uses what is set further down
        self.assigned = _assigned(body)
        self.uses: dict[tuple[int, int], AddressUse] = {}
        self.results_used: set[int] = set()
        self.stack: list[Value] = []
        self.locals: dict[int, set[Value]] = {}
        self.indirect_before = False
        self.at = 0

    def run(self) -> None:
        self.uses, self.results_used, self.locals = {}, set(), {}
        for _ in range(self.passes):
            self.stack, self.indirect_before = [], False
            heights: list[tuple[int, int]] = []
            for ins in self.body.code:
                self.at = ins.at
                self.step(ins, heights)

    # -- stack ------------------------------------------------------------------------------------------------

    def pop(self) -> Value:
        return self.stack.pop() if self.stack else OTHER

    def drop(self, n: int) -> None:
        if n:
            del self.stack[-n:]

    def step(self, ins: Instruction, heights: list[tuple[int, int]]) -> None:
        op = ins.op
        if op in ("block", "loop", "if"):
            if op == "if":
                self.pop()
            heights.append((max(0, len(self.stack) - ins.imm[0]), ins.imm[1]))
            self.drop(ins.imm[0])
            self.stack += [OTHER] * ins.imm[0]
        elif op == "else":
            del self.stack[heights[-1][0] if heights else 0 :]
        elif op == "end":
            if heights:
                height, results = heights.pop()
                del self.stack[height:]
                self.stack += [OTHER] * results
            else:
                self.leave()
        elif op == "return":
            self.leave()
        elif op == "i32.const":
            self.stack.append(Value("const", ins.imm[0] & M32, 0, ins.at))
        elif op == "global.get":
            source = self.module.globals[ins.imm[0]]
            fixed = not source.mutable and source.init is not None and source.init < self.low
            # __memory_base and its like: a constant distance, no address
            self.stack.append(Value("const", source.init or 0) if fixed else Value("global", ins.imm[0], 0, ins.at))
        elif op == "local.get":
            self.stack.append(self.local(ins.imm[0]))
        elif op in ("local.set", "local.tee"):
            value = self.pop()
            known = self.locals.setdefault(ins.imm[0], set())
            known.add(value)
            if len(known) > MAX_VALUES:
                known.add(OTHER)
                known.intersection_update((OTHER,))
            if op == "local.tee":
                self.stack.append(self.local(ins.imm[0]))
        elif op in LOADS:
            self.dereference(self.pop(), ins.imm[2], op)
            self.stack.append(INDEX if op.startswith("i32.load8") else OTHER)
        elif op in STORES:
            self.pop()
            self.dereference(self.pop(), ins.imm[2], op)
        elif op in ("memory.copy", "memory.fill", "memory.init"):
            self.pop()
            second, first = self.pop(), self.pop()
            self.dereference(first, 0, op)
            if op == "memory.copy":
                self.dereference(second, 0, op)
        elif op in ("call", "return_call"):
            self.call(ins.imm[0])
        elif op in ("call_indirect", "return_call_indirect"):
            self.indirect_before = True
            shape = self.module.types[ins.imm[0]]
            self.drop(len(shape.params) + 1)
            self.stack += [OTHER] * len(shape.results)
        elif op == "select":
            self.drop(3)
            self.stack.append(OTHER)
        else:
            self.arithmetic(op)

    def arithmetic(self, op: str) -> None:
        if op in ("i32.add", "i32.sub", "i32.or"):
            right, left = self.pop(), self.pop()
            self.stack.append(self.combine(op, left, right))
        elif op in ("i32.shl", "i32.mul", "i32.shr_u", "i32.rem_u"):
            self.drop(2)
            self.stack.append(INDEX)
        elif op == "i32.and":
            right, left = self.pop(), self.pop()
            mask, value = (left, right) if left.kind == "const" else (right, left)
            aligns = mask.kind == "const" and mask.value >> 31  # p & -4 is still the pointer, i & 255 an index
            self.stack.append(value._replace(exact=False) if aligns else INDEX if mask.kind == "const" else OTHER)
        else:
            takes, gives = arity(op)
            self.drop(takes)
            self.stack += [OTHER] * gives

    def combine(self, op: str, left: Value, right: Value) -> Value:
        """Sum, difference, or the `or` of an aligned address and a small field."""
        sign = -1 if op == "i32.sub" else 1
        if left.kind == right.kind == "const":
            total = left.value | right.value if op == "i32.or" else left.value + sign * right.value
            bigger = left if left.value >= right.value else right
            return Value("const", total & M32, 0, bigger.at, left.exact and right.exact)
        if op != "i32.sub" and right.kind in ("const", "global", "param", "call") and _rank(right) > _rank(left):
            left, right = right, left  # the pointer to the left, the distance to the right
        if left.kind == "const":
            far = self.low <= left.value < 1 << 31
            return left._replace(exact=False) if far else INDEX if right.kind == "index" else OTHER
        if left.kind == "global" and right.kind == "const":
            return left._replace(add=left.add + sign * right.value, exact=left.exact and right.exact)
        if left.kind in ("global", "call"):
            return left._replace(exact=False)
        if left.kind == "param":
            return left
        return INDEX if left.kind == right.kind == "index" else OTHER

    # -- meaning ----------------------------------------------------------------------------------------------

    def local(self, index: int) -> Value:
        """Value of a local: the parameter, its only constant, its constant with steps added, or unknown."""
        if index < self.params and index not in self.assigned:
            return Value("param", index)
        values = self.locals.get(index, set())
        if values and all(v.kind == "index" for v in values):
            return INDEX
        known = {v for v in values if v.kind in ("const", "global", "call")}
        # p = CONST; loop { …; p = p + 4 }: the steps come out as inexact values of the same origin
        origins = {(v.kind, v.value if v.kind != "const" else v.at) for v in known}
        if len(origins) == 1 and known == values:
            first = min(known, key=lambda v: (not v.exact, v.at))
            sure = self.assigned.get(index) == 1 and index >= self.params
            return first if sure else first._replace(exact=False)
        return OTHER

    def call(self, callee: int) -> None:
        shape = self.module.type_of(callee)
        arguments = [self.pop() for _ in shape.params][::-1]
        summary = self.summaries.get(callee)
        for k, argument in enumerate(arguments):
            if summary and k in summary.pointers:
                inexact = argument._replace(exact=False) if argument.kind == "const" else argument
                self.dereference(inexact, 0, f"call {callee}")
        self.stack += [Value("call", callee)] if len(shape.results) == 1 else [OTHER] * len(shape.results)

    def leave(self) -> None:
        if len(self.module.type_of(self.body.function).results) == 1 and self.stack and self.stack[-1].kind == "const":
            self.summaries[self.body.function].returned.add(self.stack[-1])

    def returns(self, values: set[Value]) -> list[AddressUse]:
        return [
            AddressUse(self.body.function, v.at, "return", v.value, v.exact, _indirect_before(self.body, v.at))
            for v in values
        ]

    def dereference(self, base: Value, offset: int, op: str) -> None:
        if base.kind == "param":
            self.summaries[self.body.function].pointers.add(base.value)
        elif base.kind == "call":
            self.results_used.add(base.value)
        elif base.kind == "const":
            # The constant that has to move is the larger part; the other is a distance.
            at = self.at if offset >= base.value or base.at < 0 else base.at
            self.note(at, op, base.value + offset, base.exact, None)
        elif base.kind == "global":
            init = self.module.globals[base.value].init
            if init is not None:
                self.note(self.at, op, init + base.add + offset, base.exact, base.value)
        elif base.kind == "index" and offset >= self.low:
            self.note(self.at, op, offset, False, None)

    def note(self, at: int, op: str, address: int, exact: bool, through: int | None) -> None:
        use = AddressUse(self.body.function, at, op, address & M32, exact, self.indirect_before, through)
        self.uses.setdefault((at, use.address), use)


def _rank(value: Value) -> int:
    """Which of two summands is the pointer: the one of higher rank."""
    return ("index", "other", "const", "param", "call", "global").index(value.kind)


def _assigned(body: Body) -> dict[int, int]:
    """How often each local is set."""
    counts: dict[int, int] = {}
    for ins in body.code:
        if ins.op in ("local.set", "local.tee"):
            counts[ins.imm[0]] = counts.get(ins.imm[0], 0) + 1
    return counts


def _indirect_before(body: Body, at: int) -> bool:
    return any(i.op == "call_indirect" and i.at < at for i in body.code)


_TESTS = ("eqz", "clz", "ctz", "popcnt")


def arity(op: str) -> tuple[int, int]:
    """(operands, results) of the operators that this interpretation does not follow."""
    fixed = {
        "drop": (1, 0), "br_if": (1, 0), "br_table": (1, 0), "global.set": (1, 0), "memory.size": (0, 1),
        "memory.grow": (1, 1), "ref.null": (0, 1), "ref.func": (0, 1), "ref.is_null": (1, 1), "table.get": (1, 1),
        "table.set": (2, 0), "table.grow": (2, 1), "table.size": (0, 1), "table.fill": (3, 0), "table.copy": (3, 0),
        "table.init": (3, 0), "nop": (0, 0), "br": (0, 0), "unreachable": (0, 0), "data.drop": (0, 0),
        "elem.drop": (0, 0),
    }  # fmt: skip
    if op in fixed:
        return fixed[op]
    name = op.partition(".")[2]
    if name == "const":
        return 0, 1
    unary = name in _TESTS or name in ("abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt") or ("_" in name and (
        name.startswith(("extend", "wrap", "trunc", "convert", "demote", "promote", "reinterpret"))
    ))  # fmt: skip
    return (1 if unary else 2), 1


assert all(arity(n) for n, _ in (*opcodes.OPCODES.values(), *opcodes.PREFIXED.values()))
