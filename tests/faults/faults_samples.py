# SPDX-License-Identifier: Apache-2.0
"""One expansion of a hand-made image, with an ELF that exists only as symbols and a few bytes of machine code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from plan_images import Build, Part, registers, symbols

from rig.arch import pmp, pmsav7
from rig.arch.types import Access, Decision
from rig.boards.load import load_board
from rig.boards.model import Arch, Board
from rig.faults.expand import expand
from rig.faults.model import FaultProgram, RefusedProgram
from rig.faults.ops import OPS
from rig.image.model import (
    Finding,
    Function,
    FuncType,
    Image,
    ListArg,
    Model,
    OwnerKind,
    Primitive,
    PrimitiveKind,
    Seam,
)
from rig.inject.model import Leg
from rig.judging.case import SweepPrediction, combined
from rig.plan.bind import bind
from rig.plan.manifest import Manifest, manifest
from rig.plan.model import Lowering, Placement, Plan, Strategy
from rig.plan.place import place

ARM, RV = load_board("mps2-an386"), load_board("virt-rv32")
_CSRS = ("mhartid", "mstatus", "mtvec", "mie", "mepc", "mcause", "mscratch", "pmpcfg0", "pmpaddr0")
_NOT_STUBS = ("nop", "call", "recurse", "rw8", "rw16", "rw32", "sum")
STUBS = {
    Arch.V7M: (*OPS[Arch.V7M], *_NOT_STUBS, "control", "getcontrol", "primask", "basepri", "faultmask", "cpsid"),
    Arch.RV32: (*OPS[Arch.RV32], *_NOT_STUBS, "ecall", *(f"csr{way}_{name}" for way in "rw" for name in _CSRS)),
}
THUMB = {("load", 1): "815c", ("load", 2): "815a", ("load", 4): "8158", ("load", 8): "81588158",
         ("store", 1): "8154", ("store", 2): "8152", ("store", 4): "8150", ("store", 8): "81508150"}  # fmt: skip
RISCV = {("load", 1): "03c50500", ("load", 2): "03d50500", ("load", 4): "8841", ("load", 8): "88418841",
         ("store", 1): "2380a500", ("store", 2): "2390a500", ("store", 4): "88c1", ("store", 8): "88c188c1"}
TOOLS = (("i32.load8_u", 0), ("i32.load", 0), ("i32.load", 0x7FFF_FFF0), ("i32.store8", 0), ("i32.store", 0),
         ("i64.load", 0), ("i64.store", 0), ("f64.store", 0))  # fmt: skip
WIDTH = {"i32.load8_u": 1, "i32.load": 4, "i32.store8": 1, "i32.store": 4, "i64.load": 8, "i64.store": 8,
         "f64.store": 8}


@dataclass(frozen=True)
class Elf:
    """Machine code of the intruder's functions; address 0 holds one known word."""

    spans: Mapping[int, tuple[int, int]]
    code: Mapping[int, bytes]

    def span(self, function: int) -> tuple[int, int] | None:
        return self.spans.get(function)

    def read(self, address: int, size: int) -> bytes | None:
        if address == 0:
            return bytes.fromhex("00000420")[:size]
        return self.code.get(address)


@dataclass(frozen=True, eq=False)
class Sample:
    image: Image
    board: Board
    plan: Plan
    truth: Manifest
    symbols: Mapping[str, int]
    elf: Elf

    def expand(self, seed: int = 1, quick: bool = False) -> tuple[list[FaultProgram], list[RefusedProgram]]:
        return expand(self.image, self.board, self.plan, self.truth, self.symbols, self.elf, seed, quick=quick)

    @cached_property
    def cases(self) -> tuple[list[FaultProgram], list[RefusedProgram]]:
        return self.expand()

    @cached_property
    def programs(self) -> list[FaultProgram]:
        return self.cases[0]

    @cached_property
    def refused(self) -> list[RefusedProgram]:
        return self.cases[1]

    def of(self, family: str) -> list[FaultProgram]:
        return [p for p in self.programs if p.family == family]

    def decide(self, context: int, access: Access) -> Decision:
        there = registers(self.plan.contexts[context], self.board)
        return pmsav7.decide(there, access) if isinstance(there, pmsav7.Context) else pmp.decide(there, access)

    def decision(self, program: FaultProgram) -> Decision | None:
        """As the campaign predicts, on registers that were programmed as planned."""
        access = program.armed.access
        if access is None or Leg.ARMED not in program.legs:
            return None
        context = program.legs[Leg.ARMED].steps[-1].context
        return combined([self.decide(context, piece) for piece in program.armed.pieces or (access,)])

    def must_stop(self, program: FaultProgram) -> bool:
        access = program.armed.access
        if access is None:
            return True
        return not self.truth.granted(program.actor, access.kind).covers(access.address, access.end)

    def sweep(self, program: FaultProgram) -> SweepPrediction | None:
        access = program.armed.access
        if program.sweep is None or access is None:
            return None
        first, count, stride = program.sweep
        must = denied = 0
        for i in range(count):
            one = replace(access, address=first + i * stride)
            must |= (not self.truth.granted(program.actor, one.kind).covers(one.address, one.end)) << i
            denied |= (not self.decide(program.actor, one).allow) << i
        return SweepPrediction(count, must, denied)


def with_tools(image: Image, owner: int) -> Image:
    """The image with attack primitives in the owner's code."""
    functions, found = list(image.functions), []
    for op, offset in TOOLS:
        store = ".store" in op
        value = op.partition(".")[0]
        kind = FuncType(("i32", value), ()) if store else FuncType(("i32",), (value,))
        number = len(functions)
        functions.append(Function(number, f"tool{number}", kind, owner, False, (), False))
        memory = image.owners[owner].memories[0]
        found.append(Primitive(number, f"{op}+{offset:x}", PrimitiveKind.STORE if store else PrimitiveKind.LOAD, op,
                               WIDTH[op], memory, offset, 0, 1 if store else None, value))
    return replace(image, functions=tuple(functions), primitives=tuple(found))


def with_lists(image: Image) -> Image:
    """Lists are handed over by components to copying adapters, out of the component's own memory."""
    def fixed(seam: Seam) -> Seam:
        caller, callee = image.owners[seam.caller], image.owners[seam.callee]
        if caller.slice is None or not callee.memories or callee.kind is not OwnerKind.ADAPTER:
            return replace(seam, lists=())
        return replace(seam, lists=tuple(replace(item, memory=caller.slice.memory) for item in seam.lists))

    return replace(image, seams=tuple(map(fixed, image.seams)))


def elf_symbols(image: Image, placement: Placement, board: Board) -> dict[str, int]:
    assert board.roles is not None
    found = symbols(image, placement, board, code=0x8000)
    thumb = 1 if board.arch is Arch.V7M else 0
    start = found["__unpriv_start"] + 0x4000
    for i, name in enumerate(STUBS[board.arch]):
        found |= {f"rig_stub_{name}": start + 32 * i + thumb, f"rig_pc_{name}": start + 32 * i + 4}
    found |= {f"rig_gate_{seam.index}": start + 0x2000 + 16 * seam.index + thumb for seam in image.seams}
    text, ram = board.roles.agent_text[0], board.roles.agent_ram[0]
    return found | {"rig_stub_svc": start + 0x3000 + thumb, "rig_sacrifice_code": start + 0x3800,
                    "rig_sacrifice_text": text + 0x1000, "rig_sacrifice_ram": ram + 0x400,
                    "__agent_text_start": text, "rig_return": start + thumb}  # fmt: skip


def sample(image: Image, board: Board, lowering: Lowering, strategy: Strategy = Strategy.SWITCH) -> Sample:
    placement = place(image, board, lowering)
    names = elf_symbols(image, placement, board)
    plan = bind(image, board, placement, strategy, names)
    table = THUMB if board.arch is Arch.V7M else RISCV
    spans, code = {}, {}
    for p in image.primitives:
        start = names[f"rig_fn_{p.function}"] & ~1
        data = bytes.fromhex(table[p.kind.value, p.width])
        spans[p.function], code[start] = (start, start + len(data)), data
    return Sample(image, board, plan, manifest(image, plan.placement, board), names, Elf(spans, code))


SHAPES: Mapping[str, Build] = {
    "page": Build(Model.PAGE, [Part("a"), Part("b"), Part("x", intruder=True)]),
    "multi": Build(Model.MULTI, [Part("a", 2), Part("b"), Part("x", intruder=True)],
                   adapters=[(0, 1, False), (0, 1, True), (2, 1, True)], hosts=1,
                   seam_type=FuncType(("i32", "i32"), ("i32",)), lists=(ListArg(0, 1, 1, 1, 0, False),)),
    "backed": Build(Model.MULTI, [Part("a", backed=5000), Part("x", backed=40 << 10, intruder=True)]),
    "domains": Build(Model.DOMAINS, [Part("a", domain="p"), Part("b", domain="p"),
                                     Part("x", domain="g", intruder=True)]),
    "tables": Build(Model.PAGE, [Part("a", indirect=True), Part("b", indirect=True), Part("x", intruder=True)],
                    tables=[6]),
    "memoryless": Build(Model.MULTI, [Part("a"), Part("stub", memory=False), Part("x", intruder=True)]),
}  # fmt: skip


@lru_cache(maxsize=64)
def shape(name: str, board: str = "arm", lowering: str | None = None, strategy: Strategy = Strategy.SWITCH) -> Sample:
    """A sample by name; one expansion serves many tests."""
    image = with_lists(SHAPES[name].image())
    tool = next((o.index for o in image.owners if o.intruder), None)
    if tool is not None:
        image = with_tools(image, tool)
    where = ARM if board == "arm" else RV
    chosen = Lowering(lowering) if lowering else Lowering.SYNTH if board == "arm" else Lowering.WASM2C
    return sample(image, where, chosen, strategy)


def finding(id_: str, pair: Sequence[int]) -> Finding:
    return Finding(id_, "what", "where", pair=(pair[0], pair[1]), owners=tuple(pair))
