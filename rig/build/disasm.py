# SPDX-License-Identifier: Apache-2.0
"""Machine code as instructions (capstone), for the checks that must not trust a symbol table."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rig.boards.model import Arch
from rig.errors import ToolMissing

_NUMBERED = {"sb": "r9", "sl": "r10", "fp": "r11", "ip": "r12"}  # as in every other disassembler
_NAMES = re.compile(r"\b(?:sb|sl|fp|ip)\b")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction; `mnemonic` is "" for bytes that are none (one halfword at a time)."""

    address: int
    data: bytes
    mnemonic: str
    operands: str

    @property
    def end(self) -> int:
        return self.address + len(self.data)


@lru_cache(maxsize=2)
def _engine(arch: Arch) -> Any:
    try:
        capstone: Any = importlib.import_module("capstone")
    except ImportError as error:
        raise ToolMissing("the Python package capstone is missing: start with ./rigw, or install it") from error
    if arch is Arch.V7M:
        return capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    return capstone.Cs(capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV32 | capstone.CS_MODE_RISCVC)


def decode(code: bytes, address: int, arch: Arch) -> Iterator[Instruction]:
    """All instructions of `code` in order; covers every byte."""
    engine, at = _engine(arch), 0
    while at < len(code):
        for where, size, mnemonic, operands in engine.disasm_lite(code[at:], address + at):
            at = where - address + size
            if arch is Arch.V7M:
                operands = _NAMES.sub(lambda match: _NUMBERED[match[0]], operands)
            yield Instruction(where, code[at - size : at], mnemonic, operands)
        if at < len(code):
            yield Instruction(address + at, code[at : at + 2], "", "")
            at += 2


def literal_address(instruction: Instruction) -> int | None:
    """Address of the word that a Thumb instruction loads relative to PC, as `ldr r0, [pc, #32]`; None for others."""
    if not instruction.mnemonic.startswith(("ldr", "vldr")) or "[pc" not in instruction.operands:
        return None
    inside = instruction.operands.partition("[pc")[2].partition("]")[0].strip(", #")
    return (instruction.address + 4 & ~3) + (int(inside, 0) if inside else 0)


def branch_target(instruction: Instruction, arch: Arch) -> int | None:
    """Where a direct branch or call goes; None for all other instructions."""
    name, words = instruction.mnemonic.removesuffix(".w").removesuffix(".n"), instruction.operands.split(",")
    last = words[-1].strip().lstrip("#")
    if not last.lstrip("-").startswith(("0x", *"0123456789")):
        return None
    if arch is Arch.V7M:  # absolute in capstone's text
        return int(last, 0) if name in _THUMB else None
    return instruction.address + int(last, 0) if name in _RISCV else None


_CONDITIONS = ["eq", "ne", "hs", "cs", "lo", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al"]
_COMPARISONS = [f"{c}{z}" for c in ("eq", "ne", "lt", "ge", "gt", "le", "ltu", "geu", "gtu", "leu") for z in ("", "z")]
_THUMB = frozenset(["b", "bl", "cbz", "cbnz", *(f"b{c}" for c in _CONDITIONS)])
_RISCV = frozenset(["j", "jal", "c.j", "c.jal", "c.beqz", "c.bnez", *(f"b{c}" for c in _COMPARISONS)])
