# SPDX-License-Identifier: Apache-2.0
"""C-03: every export, called through the lowered code and the gates, against the un-fused components in wasmtime.

The reference side depends on the subject alone and is computed once; the native side is sent per row. Vectors come in
sequences: both sides start fresh, state persists inside, a trap ends the sequence on both sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rig.boards.model import Arch, Board
from rig.build.subject import Call, HostImport
from rig.build.words import printable
from rig.errors import Refusal, UsageError
from rig.faults.model import Judgement, RefusedProgram, Verdict, Why
from rig.image.component import Component, WitFunction
from rig.image.model import FuncType, Image, Owner
from rig.inject.model import Leg, Observation, Outcome, Payload, Program, Step, Verb
from rig.oracle.abi import signature as wit_signature
from rig.oracle.lift import Fetch, LiftTrap, Lowered, TooLong, lift, lower, only
from rig.oracle.reference import OutOfFuel, Reference, Trapped
from rig.oracle.values import Value, parse, same
from rig.oracle.vectors import vectors
from rig.plan import abi
from rig.plan.extents import memory_extent
from rig.plan.model import Plan

VECTORS = 100
SEQUENCE = 20  # vectors between two fresh starts: the fused module's lists are never freed (post-return is not called)
CALL_US = 2_000_000  # virtual time of one call
MSTKERR = 0x10  # CFSR
NO_ROOM = (5, 6)  # refusals of the gate: arguments not on the caller's stack, no room on the callee's
PAYLOAD_BYTES = 6_000  # of the lists of one call: a frame to the agent has 8 KiB


@dataclass(frozen=True, slots=True)
class Vector:
    """One call of a sequence and what the un-fused components did."""

    args: tuple[Value, ...]
    expected: Value | Trapped | OutOfFuel
    starts: bool  # the first of a sequence


@dataclass(frozen=True, slots=True)
class Export:
    component: str
    function: WitFunction
    vectors: tuple[Vector, ...]
    refused: str = ""  # why it cannot be called or compared

    @property
    def id(self) -> str:
        return f"C-03/{self.component}.{self.function.core_name}"


@dataclass(slots=True)
class Comparison:
    """What became of one export's vectors."""

    compared: int = 0
    trapped: int = 0  # trapped on both sides
    counted: Counter[str] = field(default_factory=Counter)  # not compared, by cause
    exhausted: int = 0  # needed more native stack than an owner has
    wrong: list[str] = field(default_factory=list)

    def judgement(self) -> Judgement:
        if self.wrong:
            more = f" (and {len(self.wrong) - 1} more)" if len(self.wrong) > 1 else ""
            return Judgement(Verdict.FAIL, "WRONG_RESULT", self.wrong[0] + more, leg=Leg.ARMED)
        if self.exhausted:
            words = (
                f"{self.exhausted} of its calls need more native stack than there is, {self.compared} results equal: "
                'give every owner more, stack = "32 KiB" in the subject file'
            )
            return Judgement(Verdict.REFUSED, "NO_RECORD", words, Why.INPUT)
        if not self.compared:
            return Judgement(Verdict.REFUSED, "NO_RECORD", f"nothing to compare: {dict(self.counted)}", Why.NA)
        return Judgement(Verdict.PASS, "SAME_RESULT", f"{self.compared} results equal, {self.trapped} of them traps")


def reference_calls(
    components: Sequence[Component],
    imports: dict[str, HostImport],
    wanted: Sequence[Call],
    seed: int,
    count: int = VECTORS,
) -> tuple[Export, ...]:
    """Run the un-fused components. `wanted`: vectors of the user's own and counts, by export."""
    try:
        reference = Reference(components, imports)
    except Refusal as refusal:
        return tuple(
            Export(component.name, function, (), str(refusal))
            for component in components
            if not component.intruder
            for function in component.exports
        )
    return tuple(
        _export(reference, component, function, wanted, seed, count)
        for component in components
        if not component.intruder
        for function in component.exports
    )


def _export(
    reference: Reference,
    component: Component,
    function: WitFunction,
    wanted: Sequence[Call],
    seed: int,
    count: int,
) -> Export:
    why = reference.refused(function.core_name, component.name)
    if why is not None:
        return Export(component.name, function, (), why)
    try:
        wit_signature(function)
    except Refusal as refusal:
        return Export(component.name, function, (), str(refusal))
    mine = [c for c in wanted if c.export == function.core_name and c.component in (None, component.name)]
    count = next((c.count for c in mine if c.count is not None), count)
    own = [
        tuple(
            parse(arg, kind, f"calls {function.core_name}")
            for arg, (_, kind) in zip(c.args, function.params, strict=True)
        )
        for c in mine
        if c.args is not None
    ]
    if any(lower(function, args).bytes > PAYLOAD_BYTES for args in own):
        raise UsageError(
            f"calls {printable(function.core_name)}: its lists take more than {PAYLOAD_BYTES} bytes: give shorter ones"
        )
    generated = vectors(function, seed, count) if count else []
    made: list[Vector] = []
    reference.fresh()
    starts = True
    in_sequence = 0
    for args in [*own, *(args for args in generated if lower(function, args).bytes <= PAYLOAD_BYTES)]:
        if starts:
            reference.fresh()
            in_sequence = 0
        expected = reference.call(function.core_name, args, component.name)
        made.append(Vector(args, expected, starts))
        in_sequence += 1
        starts = reference.ended or in_sequence >= SEQUENCE
    return Export(component.name, function, tuple(made))


class NativeCalls:
    """The native side of one row."""

    def __init__(
        self,
        image: Image,
        board: Board,
        plan: Plan,
        symbols: Mapping[str, int],
        send: Callable[..., dict[int, Observation]],
        read: Callable[[int, int], bytes],
    ) -> None:
        """`send`: programs → results by index; `read`: RAM (address, bytes), past the agent, between two sends."""
        self._image = image
        self._board = board
        self._plan = plan
        self._symbols = symbols
        self._send = send
        self._read = read
        self._owners = {owner.name: owner for owner in image.owners}

    def compare(self, export: Export, take: Callable[[int], int]) -> Comparison | RefusedProgram:
        owner = self._owners.get(export.component)
        if export.refused or owner is None:
            reason = export.refused or "the component has no code in the fused module"
            return RefusedProgram(export.id, "C-03", None, None, Why.NA, reason)
        entry = dict(owner.entries).get(export.function.core_name)
        if entry is None or f"rig_fn_{entry}" not in self._symbols:
            return RefusedProgram(
                export.id, "C-03", owner.index, None, Why.NA, "the fused module does not export this function"
            )
        found = Comparison()
        for sequence in _sequences(export.vectors):
            self._sequence(export, owner, entry, sequence, take, found)
        return found

    def _sequence(
        self,
        export: Export,
        owner: Owner,
        entry: int,
        sequence: Sequence[Vector],
        take: Callable[[int], int],
        found: Comparison,
    ) -> None:
        sent: list[tuple[Program, Vector]] = []
        for vector in sequence:
            if isinstance(vector.expected, OutOfFuel):
                found.counted["out of fuel"] += 1
            elif isinstance(vector.expected, Trapped) and not vector.expected.native:
                found.counted[vector.expected.cause.value] += 1
            else:
                sent.append((self._program(take(1), export, owner, entry, vector), vector))
        if not sent:
            return
        start = Program(index=take(1), verb=Verb.FRESH, leg=Leg.LEGAL)
        results = self._one_by_one if wit_signature(export.function).deep else self._together
        try:
            self._compare(export, sent, results(start, owner, sent), found)
        except TooLong:  # more than the agent copies out: again, reading where it lies
            self._compare(export, sent, self._one_by_one(start, owner, sent), found)

    def _compare(
        self,
        export: Export,
        sent: Sequence[tuple[Program, Vector]],
        results: Iterator[tuple[Observation | None, Fetch]],
        found: Comparison,
    ) -> None:
        compared = trapped = 0
        for (_, vector), (seen, fetch) in zip(sent, results, strict=False):
            if seen is not None and self._exhausted(seen):
                found.exhausted += 1
                break
            words = self._differs(export, vector, seen, fetch)
            if words:
                found.wrong.append(f"{export.function.core_name}{_shown(vector.args)}: {words}")
                break  # what follows in the sequence has another state
            compared += 1
            trapped += isinstance(vector.expected, Trapped)
        found.compared += compared
        found.trapped += trapped

    def _together(
        self, start: Program, owner: Owner, sent: Sequence[tuple[Program, Vector]]
    ) -> Iterator[tuple[Observation | None, Fetch]]:
        """All calls in one go; the agent copies the return area and its one list out."""
        seen = self._send([start, *(program for program, _ in sent)])
        for program, _ in sent:
            result = seen.get(program.index)
            yield result, only(result.blob[program.ret_bytes :] if result else b"")

    def _one_by_one(
        self, start: Program, owner: Owner, sent: Sequence[tuple[Program, Vector]]
    ) -> Iterator[tuple[Observation | None, Fetch]]:
        """Each call alone; what its return area points to is read from the RAM before the next one changes it."""
        size = memory_extent(self._image, self._memory(owner))
        self._send([start])
        for program, _ in sent:
            base = program.data_base

            def fetch(pointer: int, length: int, base: int = base) -> bytes:
                if pointer + length > size:
                    raise LiftTrap(f"{length} bytes at {pointer:#x} do not lie in the memory")
                return self._read(base + pointer, length)

            yield self._send([program]).get(program.index), fetch

    @staticmethod
    def _memory(owner: Owner) -> int:
        return owner.slice.memory if owner.slice is not None else (owner.memories[0] if owner.memories else 0)

    def _program(self, index: int, export: Export, owner: Owner, entry: int, vector: Vector) -> Program:
        lowered = lower(export.function, vector.args)
        shape = wit_signature(export.function)
        context = self._plan.context(owner.index)
        args, fargs, slots = self._words(lowered, shape.result, context.instance)
        memory = self._memory(owner)
        needs_memory = bool(lowered.payloads) or shape.area > 0
        return Program(
            index=index,
            verb=Verb.CALL,
            leg=Leg.ARMED,
            steps=(Step(owner.index, self._symbols[f"rig_fn_{entry}"], args, fargs),),
            limit_us=CALL_US,
            payloads=tuple(
                Payload(p.slot if p.into else slots[p.slot], p.align, p.data, p.into) for p in lowered.payloads
            ),
            realloc=self._symbols.get(f"rig_fn_{owner.realloc}", 0) if lowered.payloads else 0,
            ret_bytes=shape.area,
            ret_list=shape.list_offset,
            ret_elem=shape.list_element,
            data_base=self._symbols.get(f"rig_mem_{memory}", 0) if needs_memory else 0,
        )

    def _words(
        self, lowered: Lowered, result: str | None, instance: int
    ) -> tuple[tuple[int, ...], tuple[int, ...], dict[int, int]]:
        """Core values to register and stack words; also core parameter → word number."""
        kind = FuncType(tuple(p.type for p in lowered.params), (result,) if result else ())
        shape = abi.signature(kind, abi.abi_of(self._board), instance_first=bool(instance))
        words: dict[int, int] = {0: instance} if instance else {}
        floats: dict[int, int] = {}
        slots: dict[int, int] = {}
        for number, (param, place) in enumerate(zip(lowered.params, shape.places, strict=True)):
            halves = [param.bits & 0xFFFFFFFF, param.bits >> 32 & 0xFFFFFFFF]
            if place.fp is not None:
                for i in range(2 if param.type.endswith("64") else 1):
                    floats[place.fp + i] = halves[i]
            else:
                slots[number] = place.words[0]
                for word, half in zip(place.words, halves, strict=False):
                    words[word] = half
        return _dense(words), _dense(floats), slots

    def _differs(self, export: Export, vector: Vector, seen: Observation | None, fetch: Fetch) -> str:
        """ "" where the native side did the same."""
        expected = vector.expected
        if seen is None:
            return "no result"
        if isinstance(expected, Trapped):
            if seen.outcome is Outcome.TRAPPED and self._is_wasm_trap(seen):
                return ""
            return f"wasm traps ({expected.cause.value}), native: {self._ended(seen)}"
        if seen.outcome is not Outcome.RETURNED:
            return f"expected {_shown(expected)}, native: {self._ended(seen)}"
        shape = wit_signature(export.function)
        vfp = abi.abi_of(self._board) is abi.Abi.AAPCS_VFP and shape.result in ("f32", "f64")
        low, high = (seen.regs[2], seen.regs[3]) if vfp else (seen.regs[0], seen.regs[1])
        try:
            value = lift(export.function, low | high << 32, seen.blob[: shape.area], fetch)
        except LiftTrap as trap:
            return f"expected {_shown(expected)}, native returned no value of the type: {trap}"
        return "" if same(value, expected) else f"expected {_shown(expected)}, native {_shown(value)}"

    def _is_wasm_trap(self, seen: Observation) -> bool:
        """UDF on Arm (UNDEFINSTR alone), ebreak on RISC-V: how the lowerings trap (toolchain facts, 4.3)."""
        if self._rv32:
            return seen.fault[0] in (2, 3)
        return seen.fault[0] == 0x0001_0000

    def _exhausted(self, seen: Observation) -> bool:
        """Whether the call ran off the native stack, which is the rig's choice and not the component's fault.

        Only where the hardware says so: the gate found no room, or the stack pointer had left the stack when it
        trapped (Arm: the exception frame found no room). A fault at an address below the stack is no proof: a wrong
        base register leads there as well (M23).
        """
        if seen.outcome is Outcome.GATE_REFUSED:
            return seen.detail & 0xFF in NO_ROOM
        if seen.outcome is not Outcome.TRAPPED:
            return False
        if not self._rv32:
            return bool(seen.fault[0] & MSTKERR)
        stacks = {c.id: c.stack_low for c in self._plan.contexts}
        return seen.context in stacks and seen.fault[4] < stacks[seen.context]

    @property
    def _rv32(self) -> bool:
        return self._board.arch is Arch.RV32

    def _ended(self, seen: Observation) -> str:
        if seen.outcome is Outcome.RETURNED:
            return f"returned {seen.regs[0]:#x}"
        if seen.outcome is not Outcome.TRAPPED:
            return f"{seen.outcome.name}, detail {seen.detail:#x}"
        if self._rv32:
            return f"trap {seen.fault[0]} at pc {seen.fault[2]:#x}, address {seen.fault[1]:#x}"
        return f"fault CFSR {seen.fault[0]:#x} at pc {seen.fault[4]:#x}, address {seen.fault[2]:#x}"


def _sequences(items: Sequence[Vector]) -> Iterator[list[Vector]]:
    run: list[Vector] = []
    for item in items:
        if item.starts and run:
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def _dense(words: dict[int, int]) -> tuple[int, ...]:
    return tuple(words.get(i, 0) for i in range(max(words, default=-1) + 1))


def _shown(args: Any) -> str:
    text = repr(args)
    return text if len(text) <= 120 else text[:119] + "…"
