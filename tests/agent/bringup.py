# SPDX-License-Identifier: Apache-2.0
"""The tiny image of tests/fixtures/agent, linked for a board, its plan, and a live session with it.

Owners: A (context 0) and B (context 1), one 64 KiB memory and one 8 KiB stack each. Seams 0-8 as in image.c.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from elftools.elf.elffile import ELFFile

from rig.arch import pmp, pmsav7
from rig.boards.load import load_board
from rig.boards.model import Arch, Board
from rig.build.agent import compile_agent
from rig.build.cc import compile_c, target_flags
from rig.host import tools
from rig.inject.carriers import MAILBOX_SIZE, Carrier, RingCarrier, StreamCarrier
from rig.inject.model import Disarm, Flag, Leg, Observation, Program, Step, Verb
from rig.inject.session import Session
from rig.plan.model import ContextPlan, Kind, ListCheck, Lowering, Placed, Placement, Plan, SeamPlan, Strategy
from rig.targets.qemu import QemuTarget

FIXTURES = Path(__file__).parent.parent / "fixtures" / "agent"
BOARDS = ("mps2-an386", "virt-rv32")
A, B = 0, 1

SCRIPT = """
SECTIONS {{
  . = {text:#x}; __agent_text_start = .;
  .agent.text : {{ KEEP(*(.agent.vectors)) *(.agent.text .agent.text.*) *(.agent.rodata .agent.rodata.*) }}
  __agent_text_end = .;
  ASSERT(. <= {text_end:#x}, "agent text")
  . = {unpriv:#x}; __unpriv_start = .;
  .unpriv : {{ KEEP(*(.unpriv.text .unpriv.text.*)) }}
  . = {unpriv_end:#x}; __unpriv_end = .;
  . = {ram:#x}; __agent_ram_start = .;
  .agent.data : {{ *(.agent.data .agent.data.*) }}
  .agent.bss (NOLOAD) : {{ *(.agent.bss .agent.bss.*) }}
  . = ALIGN(16); __agent_ram_end = .;
  ASSERT(. <= {ram_end:#x}, "agent RAM")
  rig_mailbox = {shared:#x};
  mem_a = {shared:#x} + 0x10000;
  mem_b = {shared:#x} + 0x20000;
  /DISCARD/ : {{ *(.ARM.exidx* .ARM.extab* .eh_frame* .comment .note*) }}
}}
"""


@dataclass(frozen=True, slots=True)
class Map:
    """Native addresses, all relative to the start of the shared RAM."""

    shared: int

    @property
    def mem(self) -> tuple[int, int]:
        return self.shared + 0x10000, self.shared + 0x20000

    @property
    def stack(self) -> tuple[int, int]:
        return self.shared + 0x30000, self.shared + 0x32000

    @property
    def save(self) -> tuple[int, int]:
        return self.shared + 0x34000, self.shared + 0x34100

    @property
    def window(self) -> int:
        return self.shared + 0x35000

    @property
    def pad(self) -> int:
        return self.shared + 0x36000


MEMORY, STACK, CODE = 0x10000, 0x2000, 0x8000


def build(board: Board, folder: Path, defines: Sequence[str] = ()) -> Path:
    assert board.roles is not None
    objects = compile_agent(board, folder, defines=defines)
    flags = ["-O2", "-ffreestanding", "-fno-sanitize=undefined", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"]
    for source in (FIXTURES / "image.c", FIXTURES / f"{board.arch.value}.S"):
        compile_c(board, source, folder / f"{source.stem}.o", flags)
        objects.append(folder / f"{source.stem}.o")
    roles = board.roles
    script = folder / "link.ld"
    script.write_text(SCRIPT.format(
        text=roles.agent_text[0], text_end=roles.agent_text[1], unpriv=roles.unpriv_text[0],
        unpriv_end=roles.unpriv_text[0] + CODE, ram=roles.agent_ram[0], ram_end=roles.agent_ram[1],
        shared=roles.shared_ram[0]))  # fmt: skip
    elf = folder / f"{board.name}.elf"
    entry = "rig_reset" if board.arch is Arch.RV32 else "agent_main"
    done = tools.run(tools.find("zig"), ["cc", *target_flags(board), "-nostdlib", f"-Wl,-T,{script}", f"-Wl,-e,{entry}",
                     "-Wl,--no-gc-sections", "-o", elf, *objects], timeout=120)  # fmt: skip
    assert done.ok, done.err
    return elf


def symbols(elf: Path) -> dict[str, int]:
    with elf.open("rb") as handle:
        table = ELFFile(handle).get_section_by_name(".symtab")
        return {s.name: s["st_value"] for s in table.iter_symbols() if s.name}


def context(board: Board, id: int, owner: int, where: Map) -> ContextPlan:
    """Code rx, own stack rw, own memory rw; the rest is off."""
    assert board.roles is not None
    code, stack, mem = board.roles.unpriv_text[0], where.stack[owner], where.mem[owner]
    arm: list[tuple[int, int]] = []
    cfg: list[int] = []
    addr: list[int] = []
    if board.arch is Arch.V7M:
        arm = [
            pmsav7.encode(pmsav7.Region(0, code, CODE, ap=0b110, xn=False)),
            pmsav7.encode(pmsav7.Region(1, stack, STACK)),
            pmsav7.encode(pmsav7.Region(2, mem, MEMORY)),
            *(pmsav7.disabled(i) for i in range(3, 8)),
        ]
    else:
        cfg = [0x1D, 0x1B, 0x1B, *[0] * 13]
        addr = [pmp.napot(code, CODE), pmp.napot(stack, STACK), pmp.napot(mem, MEMORY), *[0] * 13]
    v7m = board.arch is Arch.V7M
    return ContextPlan(
        id=id, owner=owner, regions=(), arm=tuple(arm), pmpcfg=tuple(cfg), pmpaddr=tuple(addr), ctrl=5 if v7m else 0,
        control=1 if v7m else 0, stack_low=stack, sp=stack + STACK - 64, r9=0xA900 + owner if v7m else 0,
        r10=MEMORY if v7m else 0, r11=mem, instance=0, window_save=0)  # fmt: skip


def seams(board: Board, symbol: dict[str, int], where: Map) -> tuple[SeamPlan, ...]:
    """The words of hard-float arguments do not count."""
    hard = board.fpu is not None
    registers = 4 if board.arch is Arch.V7M else 8

    def seam(index: int, caller: int, callee: int, name: str, words: int, results: int, checks: tuple[ListCheck, ...] = (),
             first: bool = False) -> SeamPlan:  # fmt: skip
        return SeamPlan(index, caller, callee, symbol[name], min(words, registers), max(0, words - registers), results,
                        checks, first)  # fmt: skip

    return (
        seam(0, A, B, "b_ten", 10, 1),
        seam(1, A, B, "b_mul", 4, 2),
        seam(2, A, B, "b_fp", 0 if hard else 4, 0 if hard else 2),
        seam(3, A, B, "b_down", 1, 1),
        seam(4, B, A, "a_down", 1, 1),
        seam(5, A, B, "b_list", 2, 1, (ListCheck(0, 1, 4, 0x100, MEMORY),)),
        seam(6, A, B, "b_touch", 1, 1),
        seam(7, A, B, "b_void", 1, 0),
        seam(8, A, B, "b_bases", 1, 2),
    )


def plan(board: Board, symbol: dict[str, int]) -> Plan:
    assert board.roles is not None
    where = Map(board.roles.shared_ram[0])
    objects = tuple(Placed(Kind.STACK, f"stack:{i}", at, at + STACK, at + STACK, i, i) for i, at in enumerate(where.stack))
    placement = Placement(board.name, "multi", Lowering.SYNTH, objects, board.roles.unpriv_text, 64, STACK, ())
    return Plan(board.name, "multi", Strategy.SWITCH, Lowering.SYNTH, placement,
                (context(board, A, A, where), context(board, B, B, where)), seams(board, symbol, where), (), 3, board.regions)  # fmt: skip


@dataclass(slots=True)
class Rig:
    """A live board with the image, and short names for what tests need."""

    board: Board
    target: QemuTarget
    carrier: Carrier
    session: Session
    symbol: dict[str, int]
    plan: Plan
    where: Map

    @property
    def arm(self) -> bool:
        return self.board.arch is Arch.V7M

    def stub(self, op: str) -> int:
        return self.symbol[f"rig_stub_{op}"]

    def pc(self, op: str) -> int:
        return self.symbol[f"rig_pc_{op}"]

    def load(self, plan: Plan | None = None, **extras: object) -> None:
        self.session.load_plan(plan or self.plan, **extras)  # type: ignore[arg-type]

    def run(self, *steps: Step, leg: Leg = Leg.ARMED, disarm: Disarm = Disarm.NOTHING, flags: Flag = Flag(0),
            watch: int = 0, watch_len: int = 0, focus: int = 0, limit_us: int = 20_000) -> Observation:  # fmt: skip
        program = Program(7, Verb.RUN, leg, steps, disarm, flags, watch, watch_len, focus, limit_us)
        return self.session.run([program])[0]

    def attack(self, op: str, *args: int, context: int = A, **options: object) -> Observation:
        return self.run(Step(context, self.stub(op), args), **options)  # type: ignore[arg-type]

    def call(self, name: str, *args: int, fargs: tuple[int, ...] = (), context: int = A, **options: object) -> Observation:
        return self.run(Step(context, self.symbol[name], args, fargs), **options)  # type: ignore[arg-type]

    def word(self, address: int) -> int:
        return int.from_bytes(self.target.read(address, 4), "little")

    def poke(self, address: int, value: int) -> None:
        self.target.write(address, value.to_bytes(4, "little"))


def start(board: Board, elf: Path, stack: ExitStack, *, uart: bool = False, icount: bool = True, patience: float = 10.0) -> Rig:
    assert board.roles is not None and board.qemu is not None
    target = stack.enter_context(QemuTarget(board, tools.find(f"qemu-system-{board.qemu.system}"), icount=icount))
    target.load(elf)
    target.reset()
    symbol = symbols(elf)
    carrier: Carrier
    if uart:
        carrier = StreamCarrier(target.console, target.check)
    else:
        at = symbol["rig_mailbox"] - target.shared_start
        carrier = RingCarrier(target.shared[at : at + MAILBOX_SIZE], target.check)
    session = Session(carrier, patience=patience)
    session.hello(0x1122334455667788)
    rig = Rig(board, target, carrier, session, symbol, plan(board, symbol), Map(board.roles.shared_ram[0]))
    rig.load()
    return rig


__all__ = ["A", "B", "BOARDS", "Rig", "build", "load_board", "replace", "start", "subprocess", "symbols"]
