# SPDX-License-Identifier: Apache-2.0
"""Where the arguments of a core wasm function travel: AAPCS32 (IHI 0042, 6.1 and 6.5) and RISC-V ILP32 (psABI).

*Word i* of a call is register i for i < `registers(abi)`, above that word i - registers of the caller's stack. Padding
words count. This is the numbering of `SeamPlan`, `ListCheck`, `Step.args` and the gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rig.boards.model import Arch, Board
from rig.errors import Refusal
from rig.image.model import FuncType


class Abi(StrEnum):
    AAPCS = "aapcs"  # soft float: floats travel as integers
    AAPCS_VFP = "aapcs-vfp"  # floats in s0–s15 with back-filling
    ILP32 = "ilp32"  # soft float; 64-bit values may be split between a7 and the stack


@dataclass(frozen=True, slots=True)
class Place:
    """One parameter: its word numbers (low word first), or the number of its first s register."""

    words: tuple[int, ...] = ()
    fp: int | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """How a call of one type looks. `places`: of the wasm parameters, without the instance."""

    places: tuple[Place, ...]
    reg_words: int
    stack_words: int
    result_words: int  # r0, r1 / a0, a1; floats of AAPCS_VFP come back in s0, s1 and count none


def abi_of(board: Board) -> Abi:
    if board.arch is Arch.RV32:
        return Abi.ILP32
    return Abi.AAPCS if board.fpu is None else Abi.AAPCS_VFP


def registers(abi: Abi) -> int:
    return 8 if abi is Abi.ILP32 else 4


def signature(kind: FuncType, abi: Abi, instance_first: bool = False) -> Signature:
    """`instance_first`: an instance pointer goes before the parameters (wasm2c). Refusal for several results."""
    if len(kind.results) > 1:
        raise Refusal("no gate", f"a function returns {len(kind.results)} values: no gate can pass them")
    types = ["i32", *kind.params] if instance_first else list(kind.params)
    places, used, stack = (_ilp32 if abi is Abi.ILP32 else _aapcs)(types, abi)
    limit = registers(abi)
    result = sum(_words(t) for t in kind.results if not _in_fp(t, abi))
    return Signature(tuple(places[1:] if instance_first else places), limit if stack else used, stack, result)


def _words(kind: str) -> int:
    return 2 if kind in ("i64", "f64") else 1


def _in_fp(kind: str, abi: Abi) -> bool:
    return abi is Abi.AAPCS_VFP and kind in ("f32", "f64")


def _aapcs(types: Sequence[str], abi: Abi) -> tuple[list[Place], int, int]:
    """NCRN and NSAA of AAPCS32 stage C; doublewords start at an even register and at a multiple of 8 on the stack."""
    places: list[Place] = []
    core, stack = 0, 0
    free = set(range(16))  # s registers
    for kind in types:
        size = _words(kind)
        if _in_fp(kind, abi):
            at = next((s for s in range(0, 16, size) if all(s + i in free for i in range(size))), None)
            if at is not None:
                free -= set(range(at, at + size))
                places.append(Place(fp=at))
                continue
            free.clear()  # C.2.vfp: once one went to the stack, none goes to a register
        else:
            core += core % 2 if size == 2 and core < 4 else 0
            if core + size <= 4:
                places.append(Place(tuple(range(core, core + size))))
                core += size
                continue  # else all four are taken by now: nothing is split between registers and stack
        stack += stack % 2 if size == 2 else 0
        places.append(Place(tuple(range(4 + stack, 4 + stack + size))))
        stack += size
    return places, core, stack


def _ilp32(types: Sequence[str], abi: Abi) -> tuple[list[Place], int, int]:
    """Integer calling convention: no even pairs for named arguments, a doubleword may be half in a7."""
    places: list[Place] = []
    core, stack = 0, 0
    for kind in types:
        size = _words(kind)
        words: list[int] = []
        if core >= 8 and size == 2:
            stack += stack % 2  # a whole doubleword on the stack is 8-byte aligned
        for _ in range(size):
            if core < 8:
                words.append(core)
                core += 1
            else:
                words.append(8 + stack)
                stack += 1
        places.append(Place(tuple(words)))
    return places, core, stack
