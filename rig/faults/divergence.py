# SPDX-License-Identifier: Apache-2.0
"""Known divergences of emulators, as predicates on programs: what a platform may not vouch for is REFUSED, by name.

Measured rows only (QEMU 7.2.22 and 10.0.2). Rows that change no verdict of a program built here (timing, snapshots,
register read-back) are left out. The armed leg decides: legal and disarmed legs have no edge to get wrong.

A version that was not measured is untrusted for every kind of program that any row of that emulator touches; the rest
runs. An emulator without any row was never measured: all its programs are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from rig.arch.types import Access, Kind
from rig.boards.model import Arch
from rig.faults.model import FaultProgram

PAGE = 1 << 10  # QEMU resolves Arm MPU rights once per 1 KiB page of an access
Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Platform:
    """What executes the programs. `emulator` None: silicon, which is not questioned here."""

    arch: Arch
    emulator: str | None = None
    version: Version = ()
    tor_rewritten: bool = False  # the runtime rewrites a TOR bound under an active entry

    @property
    def name(self) -> str:
        return f"{self.emulator} {'.'.join(map(str, self.version))}" if self.emulator else "silicon"


@dataclass(frozen=True, slots=True)
class Row:
    id: str  # as in the platform's reference
    emulator: str
    arch: Arch
    series: tuple[Version, ...]  # measured version series that diverge: (10, 0) is every 10.0.x
    what: str
    touches: Callable[[FaultProgram, Access, Platform], bool]


MEASURED: dict[str, tuple[Version, ...]] = {"qemu": ((7, 2), (10, 0))}


def version(text: str) -> Version:
    """(10, 0, 2) from "10.0.2 (Debian 1:10.0.2+ds-2)"; () when there is no number."""
    found = re.search(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")[:4]) if found else ()


def refusal(program: FaultProgram, platform: Platform) -> str | None:
    """None when the platform may vouch for the program, else the rows that forbid it: "A2 (…)"."""
    if platform.emulator is None:
        return None
    measured = MEASURED.get(platform.emulator)
    if measured is None:
        return f"no divergences of {platform.emulator} were ever measured"
    known = any(platform.version[: len(series)] == series for series in measured)
    found = [row for row in ROWS
             if row.emulator == platform.emulator and row.arch is platform.arch
             and (not known or any(platform.version[: len(s)] == s for s in row.series))
             and any(row.touches(program, access, platform) for access in _accesses(program))]
    if not found:
        return None
    names = "; ".join(f"{row.id} ({row.what})" for row in found)
    return names if known else f"{names}: {platform.name} was not measured"


def _accesses(program: FaultProgram) -> tuple[Access, ...]:
    access = program.armed.access
    return program.armed.pieces or ((access,) if access else (_NONE,))


_NONE = Access(Kind.READ, 0, 1, privileged=False)  # stands in where a program is no memory access


def _in_page(program: FaultProgram, access: Access) -> bool:
    """The access runs from a granted byte into one that is not, within one page."""
    edge = program.straddle
    return edge is not None and access.address < edge < access.end and (edge - 1) // PAGE == edge // PAGE


def _single(kind: Kind) -> Callable[[FaultProgram, Access, Platform], bool]:
    def touches(program: FaultProgram, access: Access, _: Platform) -> bool:
        return access.kind is kind and access.words == 1 and access.size > 1 and _in_page(program, access)

    return touches


def _dual(program: FaultProgram, access: Access, _: Platform) -> bool:
    return access.words == 2 and program.form == "dual" and _in_page(program, access)


def _double(program: FaultProgram, access: Access, _: Platform) -> bool:
    return program.form == "double" and _in_page(program, access)


def _fetch(program: FaultProgram, access: Access, _: Platform) -> bool:
    return access.kind is Kind.EXECUTE and program.straddle is not None


def _tor(program: FaultProgram, _: Access, platform: Platform) -> bool:
    return platform.tor_rewritten and any(len({s.context for s in leg.steps}) > 1 for leg in program.legs.values())


def _amo(program: FaultProgram, access: Access, _: Platform) -> bool:
    return access.atomic


def _mret(program: FaultProgram, _: Access, __: Platform) -> bool:
    return program.op == "mret"


def _small_inside(program: FaultProgram, access: Access, _: Platform) -> bool:
    return access.size == 8 and access.address % 8 != 0


_OLD, _NEW = (7, 2), (10, 0)
ROWS: tuple[Row, ...] = (
    Row("A1", "qemu", Arch.V7M, (_OLD, _NEW), "unaligned load into a denied region of the same 1 KiB page: no fault",
        _single(Kind.READ)),
    Row("A2", "qemu", Arch.V7M, (_NEW,), "unaligned store into a denied region of the same 1 KiB page: done, no fault",
        _single(Kind.WRITE)),
    Row("A3", "qemu", Arch.V7M, (_NEW,), "LDRD, STRD across a region end in one 1 KiB page: no fault", _dual),
    Row("A4", "qemu", Arch.V7M, (_OLD, _NEW), "D registers across a region end in one 1 KiB page: no fault", _double),
    Row("A6", "qemu", Arch.V7M, (_OLD,), "fetch past the end of an executable region below 1 KiB: no fault", _fetch),
    Row("R1", "qemu", Arch.RV32, (_OLD,), "fetch past the end of an executable region in one 4 KiB page: no fault",
        _fetch),
    Row("R2", "qemu", Arch.RV32, (_OLD,), "a TOR bound rewritten under an active entry keeps its old value", _tor),
    Row("R3", "qemu", Arch.RV32, (_OLD,), "an AMO without any right reports cause 5, not 7", _amo),
    Row("R6", "qemu", Arch.RV32, (_NEW,), "mret in U-mode reports a stale opcode in mtval", _mret),
    Row("R11", "qemu", Arch.RV32, (_OLD, _NEW), "misaligned 8-byte access: an entry strictly inside is missed "
        "(not run on 7.2)", _small_inside),
)
