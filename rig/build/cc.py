# SPDX-License-Identifier: Apache-2.0
"""The C compiler and the linker (zig's clang and lld) for a board's core. What they say is shown, not swallowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rig.boards.model import Arch, Board
from rig.build.cache import cached, digest
from rig.build.words import printable, said
from rig.errors import InfrastructureError, UsageError
from rig.host import tools

_SECONDS = 180.0  # the first use for a core builds the runtime library: 4 to 9 s, more when others build too

# Plain `cortex_m4` with the hard-float ABI would emit soft float under a hard-float tag: the unit is always named.
_FPU: Mapping[str, str] = {"fpv4-sp-d16": "vfp4d16sp", "fpv5-sp-d16": "fp_armv8d16sp", "fpv5-d16": "fp_armv8d16"}


def target_flags(board: Board) -> tuple[str, ...]:
    """`-target` and `-mcpu` for a board: the ABI that agent, components and synth's objects share.

    Arm: hard-float calling convention where the board names an FPU. RV32: always the soft-float one, which is what
    synth emits. Raises UsageError for a core or FPU nobody knows.
    """
    if board.arch is Arch.RV32:
        letters = board.core.removeprefix("rv32i")
        if letters == board.core or not set(letters) <= set("macfd"):
            raise UsageError(f"board {board.name}: core {board.core!r} is unknown: name it like rv32imac")
        parts = "".join(f"+{letter}" for letter in letters if letter in "mac")
        return "-target", "riscv32-freestanding-none", f"-mcpu=generic_rv32{parts}+zicsr+zifencei+unaligned_scalar_mem"
    if not board.core.startswith("cortex-m"):
        raise UsageError(f"board {board.name}: core {board.core!r} is unknown: name it like cortex-m4")
    cpu = board.core.replace("-", "_")
    if board.fpu is None:
        return "-target", "thumb-freestanding-eabi", f"-mcpu={cpu}"
    if board.fpu not in _FPU:
        raise UsageError(f"board {board.name}: fpu {board.fpu!r} is unknown: one of {', '.join(_FPU)}")
    return "-target", "thumb-freestanding-eabihf", f"-mcpu={cpu}+{_FPU[board.fpu]}"


def compile_c(board: Board, source: Path, out: Path, flags: Sequence[str | Path]) -> None:
    """One C or assembly file → object. Raises InfrastructureError with the compiler's words."""
    zig(["cc", *target_flags(board), "-c", source.name, "-o", out, *flags], cwd=source.parent)


def zig(args: Sequence[str | Path], cwd: Path) -> None:
    """Run zig to its end. Raises InfrastructureError with its words."""
    done = tools.run(tools.find("zig"), args, cwd=cwd, timeout=_SECONDS)
    if not done.ok:
        raise InfrastructureError(f"zig failed ({done.returncode}): {printable(done.command, 300)}\n{said(done.err)}")


def runtime_library(board: Board) -> Path:
    """The compiler's runtime library for a board's core (soft float, 64-bit division, rounding), built once."""
    flags = target_flags(board)

    def make(folder: Path) -> None:
        (folder / "empty.c").write_text("typedef int nothing;\n")
        zig(["build-lib", *flags, "-O", "ReleaseSmall", "-fcompiler-rt", "empty.c", "-femit-bin=runtime.a"], folder)
        if not (folder / "runtime.a").is_file():
            raise InfrastructureError("zig ended well and left no runtime library: remove its cache and start again")

    return cached("runtime", digest(tools.find("zig").version, *flags), make) / "runtime.a"
