# SPDX-License-Identifier: Apache-2.0
"""The tiny image of tests/fixtures/agent, linked for a board, its plan, and a live session with it.

Owners: A (context 0) and B (context 1), one 64 KiB memory and one 8 KiB stack each. Seams 0-8 as in image.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from rig.arch import pmp, pmsav7
from rig.boards.model import Arch, Board
from rig.build.agent import compile_agent
from rig.build.cc import compile_c, target_flags
from rig.host import tools
from rig.inject.carriers import Carrier, RingCarrier, StreamCarrier
from rig.inject.model import NO_FLAGS, Disarm, Flag, Leg, Observation, Program, Step, Verb
from rig.inject.session import Session
from rig.plan.model import ContextPlan, Kind, ListCheck, Lowering, Placed, Placement, Plan, SeamPlan, Strategy
from rig.targets.qemu import QemuTarget

FIXTURES = Path(__file__).parent.parent / "fixtures" / "agent"
BOARDS = ("mps2-an386", "virt-rv32")
A, B = 0, 1
MEMORY, STACK, CODE, RESERVE = 0x10000, 0x2000, 0x8000, 64  # bytes
FLAGS = ("-O2", "-ffreestanding", "-fno-sanitize=undefined", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables")

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


def build(board: Board, folder: Path, defines: Sequence[str] = ()) -> Path:
    """Compile the agent and the image, link them."""
    assert board.roles is not None
    objects = compile_agent(board, folder, defines=defines)
    for source in (FIXTURES / "image.c", FIXTURES / f"{board.arch.value}.S"):
        compile_c(board, source, folder / f"{source.stem}.o", FLAGS)
        objects.append(folder / f"{source.stem}.o")
    roles = board.roles
    addresses = {
        "text": roles.agent_text[0], "text_end": roles.agent_text[1],
        "unpriv": roles.unpriv_text[0], "unpriv_end": roles.unpriv_text[0] + CODE,
        "ram": roles.agent_ram[0], "ram_end": roles.agent_ram[1], "shared": roles.shared_ram[0],
    }  # fmt: skip
    script = folder / "link.ld"
    script.write_text(SCRIPT.format(**addresses))
    elf = folder / f"{board.name}.elf"
    entry = "rig_reset" if board.arch is Arch.RV32 else "agent_main"
    words = ["cc", *target_flags(board), "-nostdlib", f"-Wl,-T,{script}", f"-Wl,-e,{entry}", "-Wl,--no-gc-sections"]
    done = tools.run(tools.find("zig"), [*words, "-o", elf, *objects], timeout=120)
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
    arm: tuple[tuple[int, int], ...] = ()
    cfg: tuple[int, ...] = ()
    addr: tuple[int, ...] = ()
    v7m = board.arch is Arch.V7M
    if v7m:
        arm = (
            pmsav7.encode(pmsav7.Region(0, code, CODE, ap=0b110, xn=False)),
            pmsav7.encode(pmsav7.Region(1, stack, STACK)),
            pmsav7.encode(pmsav7.Region(2, mem, MEMORY)),
            *(pmsav7.disabled(i) for i in range(3, board.regions)),
        )
    else:
        off = (0,) * (board.regions - 3)
        cfg = (0x1D, 0x1B, 0x1B, *off)
        addr = (pmp.napot(code, CODE), pmp.napot(stack, STACK), pmp.napot(mem, MEMORY), *off)
    return ContextPlan(
        id=id, owner=owner, regions=(), arm=arm, pmpcfg=cfg, pmpaddr=addr, ctrl=5 if v7m else 0,
        control=1 if v7m else 0, stack_low=stack, sp=stack + STACK - RESERVE, r9=0xA900 + owner if v7m else 0,
        r10=MEMORY if v7m else 0, r11=mem, instance=0, window_save=0)  # fmt: skip


def seams(board: Board, symbol: dict[str, int]) -> tuple[SeamPlan, ...]:
    """Words of arguments in floating-point registers do not count."""
    hard = board.fpu is not None
    registers = 4 if board.arch is Arch.V7M else 8

    def seam(index: int, caller: int, callee: int, name: str, words: int, results: int, *checks: ListCheck) -> SeamPlan:
        in_registers = min(words, registers)
        return SeamPlan(
            index, caller, callee, symbol[name], in_registers, words - in_registers, results, checks, False
        )

    return (
        seam(0, A, B, "b_ten", 10, 1),
        seam(1, A, B, "b_mul", 4, 2),
        seam(2, A, B, "b_fp", 0 if hard else 4, 0 if hard else 2),
        seam(3, A, B, "b_down", 1, 1),
        seam(4, B, A, "a_down", 1, 1),
        seam(5, A, B, "b_list", 2, 1, ListCheck(0, 1, 4, 0x100, MEMORY)),
        seam(6, A, B, "b_touch", 1, 1),
        seam(7, A, B, "b_void", 1, 0),
        seam(8, A, B, "b_bases", 1, 2),
    )


def plan(board: Board, symbol: dict[str, int]) -> Plan:
    assert board.roles is not None
    where = Map(board.roles.shared_ram[0])
    stacks = tuple(
        Placed(Kind.STACK, f"stack:{i}", at, at + STACK, at + STACK, i, i) for i, at in enumerate(where.stack)
    )
    placement = Placement(
        board.name, "multi", Lowering.SYNTH, stacks, board.roles.unpriv_text, RESERVE, STACK, ()
    )
    contexts = context(board, A, A, where), context(board, B, B, where)
    return Plan(board.name, "multi", Strategy.SWITCH, Lowering.SYNTH, placement, contexts, seams(board, symbol), (), 3,
                board.regions)  # fmt: skip


@dataclass(slots=True)
class Rig:
    """A live board with the image, and short names for what tests need."""

    board: Board
    target: QemuTarget
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

    def run(
        self, *steps: Step, leg: Leg = Leg.ARMED, disarm: Disarm = Disarm.NOTHING, flags: Flag = NO_FLAGS,
        watch: int = 0, watch_len: int = 0, focus: int = 0, limit_us: int = 20_000,
    ) -> Observation:  # fmt: skip
        return self.do(Program(7, Verb.RUN, leg, steps, disarm, flags, watch, watch_len, focus, limit_us))

    def do(self, program: Program) -> Observation:
        return self.session.run([program])[0]

    def attack(self, op: str, *args: int, context: int = A, **options: Any) -> Observation:
        return self.run(Step(context, self.stub(op), args), **options)

    def call(self, name: str, *args: int, fargs: tuple[int, ...] = (), **options: Any) -> Observation:
        """Enter one of A's functions."""
        return self.run(Step(A, self.symbol[name], args, fargs), **options)

    def word(self, address: int) -> int:
        return int.from_bytes(self.target.read(address, 4), "little")

    def poke(self, address: int, *words: int) -> None:
        self.target.write(address, b"".join(word.to_bytes(4, "little") for word in words))


def start(
    board: Board, elf: Path, stack: ExitStack, *, uart: bool = False, patience: float = 10.0, greet: bool = True
) -> Rig:
    """A new emulator; with `greet`, HELLO is exchanged and the plan is loaded."""
    assert board.roles is not None and board.qemu is not None
    target = stack.enter_context(QemuTarget(board, tools.find(f"qemu-system-{board.qemu.system}")))
    target.load(elf)
    target.reset()
    symbol = symbols(elf)
    carrier: Carrier = (
        StreamCarrier(target.console, target.check) if uart else RingCarrier(target, symbol["rig_mailbox"])
    )
    session = Session(carrier, patience=patience)
    made = plan(board, symbol)
    if greet:
        session.hello(0x1122_3344_5566_7788)
        session.load_plan(made)
    return Rig(board, target, session, symbol, made, Map(board.roles.shared_ram[0]))
