# SPDX-License-Identifier: Apache-2.0
"""The reference runtime (`firmware/agent/`) compiled for a board: objects that the image is linked with.

Sections: `.agent.vectors` (must lie at the start of the agent's text), `.agent.text*`, `.agent.rodata*`, `.agent.bss*`
(no initialised data), `.unpriv.text.stubs`. Undefined: `rig_mailbox`, `rig_build_id`, `__agent_text_start`,
`__agent_ram_start`, `__agent_ram_end` (multiples of 4), and `image.c`'s symbols (docs/internals.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rig.boards.model import Arch, Board
from rig.build.cc import compile_c, target_flags
from rig.errors import UsageError
from rig.resources import data_dir

FLAGS = (
    "-std=c11", "-O2", "-g", "-ffreestanding", "-fno-builtin", "-fno-sanitize=undefined", "-fno-jump-tables",
    "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fno-stack-protector", "-fno-common",
    "-Wall", "-Wextra", "-Werror",
)  # fmt: skip
MUTANTS = frozenset({"RIG_MUTANT_M21", "RIG_MUTANT_M23", "RIG_MUTANT_M34"})
_TICK_HZ = {Arch.V7M: 25_000_000, Arch.RV32: 10_000_000}  # SysTick on mps2, mtime on virt
_UART = {"cmsdk": "RIG_UART_CMSDK", "16550": "RIG_UART_16550"}


def sources(arch: Arch) -> tuple[Path, ...]:
    """All files that become objects, in a fixed order."""
    return tuple(path for path in inputs(arch) if path.suffix in (".c", ".S"))


def inputs(arch: Arch) -> tuple[Path, ...]:
    """All files the objects depend on, headers included (for cache keys)."""
    root = data_dir("firmware") / "agent"
    return tuple(sorted(p for folder in (root, root / arch.value) for p in folder.iterdir() if p.is_file()))


def flags(board: Board, defines: Sequence[str] = ()) -> tuple[str, ...]:
    """Compiler flags: the board's ABI, and its facts as macros. `defines`: seeded bugs, of `MUTANTS`."""
    unknown = set(defines) - MUTANTS
    if unknown:
        known = ", ".join(sorted(MUTANTS))
        raise UsageError(f"the agent knows no seeded bug {', '.join(sorted(unknown))}: one of {known}")
    if board.roles is None or board.uart is None or board.uart_kind not in _UART:
        raise UsageError(f"board {board.name} is described for planning only: the runtime needs [roles] and [uart]")
    start, end = board.roles.shared_ram
    facts = [
        f"RIG_SHARED_START={start:#x}u", f"RIG_SHARED_END={end:#x}u", _UART[board.uart_kind],
        f"RIG_UART_BASE={board.uart:#x}u", f"RIG_TICK_HZ={board.timer_hz or _TICK_HZ[board.arch]}u",
    ]  # fmt: skip
    if board.arch is Arch.RV32:
        if board.clint is None:
            raise UsageError(f"board {board.name}: the reference runtime needs a timer: set clint")
        facts.append(f"RIG_CLINT={board.clint:#x}u")
    if board.fpu is not None:
        facts.append("RIG_FPU=1")
    root = data_dir("firmware") / "agent"
    return (*FLAGS, *_core(board), f"-I{root}", f"-I{root / board.arch.value}",
            *(f"-D{fact}" for fact in (*facts, *defines)))


def compile_agent(board: Board, out_dir: Path, *, defines: Sequence[str] = ()) -> list[Path]:
    """Compile every source into `out_dir` (exists). Raises UsageError, or InfrastructureError with zig's words."""
    chosen = flags(board, defines)
    objects = []
    for source in sources(board.arch):
        out = out_dir / f"agent_{source.parent.name}_{source.stem}_{source.suffix[1]}.o"
        compile_c(board, source, out, chosen)
        objects.append(out)
    return objects


def _core(board: Board) -> tuple[str, ...]:
    """Overrides the board's own `-mcpu`: the agent keeps its hands off floating point (the calling convention, and
    with it the linker's tag, stays) and off misaligned accesses."""
    cpu = next(flag for flag in target_flags(board) if flag.startswith("-mcpu="))
    return (cpu.split("+")[0] if board.arch is Arch.V7M else cpu.replace("+unaligned_scalar_mem", ""),)
