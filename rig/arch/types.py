# SPDX-License-Identifier: Apache-2.0
"""The words all architectures share: one access, what is decided about it, how a denial shows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rig.arch.intervals import SPACE32, Intervals

__all__ = ["NO_FAULT", "SPACE32", "Access", "Decision", "Intervals", "Kind", "Syndrome", "Unpredictable"]

NO_FAULT = "NONE"  # Syndrome.cause: admissible outcome is no trap *and* no effect (a store-exclusive that fails)


class Kind(StrEnum):
    READ = "read"
    WRITE = "write"
    EXECUTE = "execute"


@dataclass(frozen=True, slots=True)
class Access:
    """One access as one instruction issues it. `address` is the first byte of the lowest beat.

    `privileged` is the privilege it is *checked* with: LDRT from a handler, or MPRV with MPP = U, is False.
    `words` beats of `size` bytes each, ascending: LDM/STM/PUSH/POP/LDRD/STRD (size 4).
    """

    kind: Kind
    address: int
    size: int
    privileged: bool
    exclusive: bool = False  # LDREX/STREX, LR/SC
    atomic: bool = False  # AMO: reads and writes, reported as a store (kind WRITE)
    words: int = 1
    stacking: bool = False  # through SP: the frame of the fault itself goes to the same stack (MSTKERR may be ORed in)
    frame: bool = False  # the access *is* the hardware's exception frame: write = stacking, read = unstacking
    hardfault: bool = False  # made at priority < 0 (HardFault, NMI, FAULTMASK): Arm checks HFNMIENA

    def __post_init__(self) -> None:
        if self.size < 1 or self.words < 1 or self.address < 0:
            raise ValueError(f"access: address {self.address:#x}, size {self.size}, words {self.words}: "
                             "the address must be >= 0, size and words >= 1")
        if self.atomic and self.kind is not Kind.WRITE:
            raise ValueError(f"access: atomic (AMO) is reported as a store, kind must be write, not {self.kind}")

    @property
    def end(self) -> int:
        """First address after the last byte."""
        return self.address + self.size * self.words


@dataclass(frozen=True, slots=True)
class Syndrome:
    """One admissible way the fault shows. Arm causes ORed in one status register are joined: "DACCVIOL|MSTKERR"."""

    cause: str  # "DACCVIOL", "IACCVIOL", "PRECISERR", "MSTKERR", "UNALIGNED" …; RISC-V: mcause as decimal; NO_FAULT
    first: int | None  # inclusive range of admissible fault addresses; None: not reported
    last: int | None
    zero_ok: bool = False  # RISC-V: mtval may be 0
    clause: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """`allow` None: the architecture does not say (UNPREDICTABLE or reserved), for the reasons in `unpredictable`."""

    allow: bool | None
    syndromes: tuple[Syndrome, ...]
    unpredictable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unpredictable:
    """A setting without a defined meaning: a value of its own, neither repaired nor raised."""

    what: str  # "region" | "entry" | "MPU_CTRL"
    number: int  # region or entry number; 0 for MPU_CTRL
    rule: str

    def __str__(self) -> str:
        return f"{self.what}: {self.rule}" if self.what == "MPU_CTRL" else f"{self.what} {self.number}: {self.rule}"
