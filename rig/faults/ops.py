# SPDX-License-Identifier: Apache-2.0
"""The attack stubs of the agent as values: which access each makes and how it wants its arguments."""

from __future__ import annotations

from dataclasses import dataclass

from rig.arch.types import Access, Kind
from rig.boards.model import Arch
from rig.faults.model import Effect

WORD = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Op:
    """One stub `rig_stub_<name>`. `width` bytes at the address are read or written."""

    name: str
    kind: Kind
    size: int
    words: int = 1
    signed: bool = False
    exclusive: bool = False
    atomic: bool = False
    stacking: bool = False
    floating: bool = False
    form: str = ""
    bias: int = 0  # argument 0 is the address plus this (a push counts down)

    @property
    def width(self) -> int:
        return self.size * self.words

    @property
    def effect(self) -> Effect:
        if self.name == "amoadd":
            return Effect.ADDED
        return Effect.LOADED if self.kind is Kind.READ else Effect.STORED

    @property
    def unit(self) -> int:
        """What the address must be a multiple of; 1 for single accesses, which may be unaligned."""
        return self.size if self.words > 1 or self.exclusive or self.atomic or self.floating else 1

    def access(self, address: int) -> Access:
        return Access(self.kind, address, self.size, privileged=False, exclusive=self.exclusive, atomic=self.atomic,
                      words=self.words, stacking=self.stacking)

    def args(self, address: int, value: int, monitor: int) -> tuple[int, ...]:
        """Argument words. `value`: little-endian over `width` bytes; `monitor`: where a store-exclusive first loads."""
        if self.kind is Kind.READ:
            return (address + self.bias & WORD,)
        words = tuple(value >> 32 * i & WORD for i in range(max(1, self.width // 4)))
        return (address + self.bias & WORD, *words, *((monitor,) if self.name == "strex" else ()))


_R, _W = Kind.READ, Kind.WRITE
_COMMON = (
    Op("load8u", _R, 1), Op("load8s", _R, 1, signed=True), Op("load16u", _R, 2), Op("load16s", _R, 2, signed=True),
    Op("load32", _R, 4), Op("store8", _W, 1), Op("store16", _W, 2), Op("store32", _W, 4),
    Op("ldrex", _R, 4, exclusive=True), Op("strex", _W, 4, exclusive=True),
    Op("vload32", _R, 4, floating=True), Op("vstore32", _W, 4, floating=True),
)  # fmt: skip
_V7M = (
    Op("load64", _R, 4, 2, form="dual"), Op("store64", _W, 4, 2, form="dual"),
    Op("ldm", _R, 4, 4), Op("stm", _W, 4, 3),
    Op("push", _W, 4, 2, stacking=True, bias=8), Op("pop", _R, 4, 2, stacking=True),
    Op("vload64", _R, 4, 2, floating=True), Op("vstore64", _W, 4, 2, floating=True),
)  # fmt: skip
_RV32 = (
    Op("amoadd", _W, 4, atomic=True), Op("amoswap", _W, 4, atomic=True),
    Op("vload64", _R, 8, floating=True), Op("vstore64", _W, 8, floating=True),
)  # fmt: skip
OPS: dict[Arch, dict[str, Op]] = {
    Arch.V7M: {op.name: op for op in (*_COMMON, *_V7M)},
    Arch.RV32: {op.name: op for op in (*_COMMON, *_RV32)},
}
LOADS = ("load8u", "load8s", "load16u", "load16s", "load32", "load64")  # D-01: widths and signs
STORES = ("store8", "store16", "store32", "store64")
