# SPDX-License-Identifier: Apache-2.0
"""What must hold between the keys of a board file. Each rule sees only parts that are well-formed by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from rig.boards.schema import BankTable, ProtectionTable, QemuTable, RolesTable, UartTable


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a file that passed on their own; None: absent or broken (then its rules stay silent)."""

    arch: str | None
    fpu: str | None
    clint: int | None
    protection: ProtectionTable | None
    roles: RolesTable | None
    uart: UartTable | None
    qemu: QemuTable | None
    banks: tuple[BankTable, ...] | None
    absent: frozenset[str]  # keys of this list that the file does not have at all


def broken(parts: Parts) -> Iterator[str]:
    """One sentence per broken rule, each with its key path."""
    yield from _protection(parts)
    yield from _banks(parts.banks or ())
    if parts.roles:
        yield from _roles(parts.roles, parts.banks, parts.protection)
    yield from _devices(parts)
    if parts.qemu:
        yield from _qemu(parts.qemu, parts)


def _protection(parts: Parts) -> Iterator[str]:
    arch, unit = parts.arch, parts.protection
    if parts.fpu and arch == "rv32":
        yield "fpu: RV32 runs the components with integer registers only; remove the key"
    if unit is None:
        return
    if unit.region_min & unit.region_min - 1:
        yield f"protection.region_min: expected a power of two, got {unit.region_min}"
    wanted = {"v7m": "pmsav7", "rv32": "pmp"}.get(arch or "")
    if wanted and unit.kind != wanted:
        yield f"protection.kind: arch '{arch}' is protected by '{wanted}', got '{unit.kind}'"
    elif unit.kind == "pmsav7":
        if unit.region_min < 32:
            yield f"protection.region_min: PMSAv7 regions have at least 32 bytes, got {unit.region_min}"
        if not unit.srd:
            yield "protection.srd: every PMSAv7 MPU has subregions; write srd = true"
        if unit.grain:
            yield "protection.grain: only a PMP has a grain; remove the key"
    else:
        if unit.srd:
            yield "protection.srd: a PMP has no subregions; remove the key"
        if unit.region_min != 4 << unit.grain:
            yield (f"protection.region_min: a PMP with grain {unit.grain} has a smallest region of "
                   f"{4 << unit.grain} bytes, got {unit.region_min}")


def _banks(banks: tuple[BankTable, ...]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for i, bank in enumerate(banks):
        if bank.end > 1 << 32:
            yield f"banks[{i}].size: {bank.name} ends at {bank.end:#x}, beyond 2^32"
        if bank.name in seen:
            yield f"banks[{i}].name: '{bank.name}' is the name of banks[{seen[bank.name]}] already; rename one"
        seen.setdefault(bank.name, i)
    for (i, a), (j, b) in combinations(enumerate(banks), 2):
        if a.start < b.end and b.start < a.end:
            low, high = max(a.start, b.start), min(a.end, b.end)
            yield f"banks[{j}]: {b.name} overlaps banks[{i}] {a.name} in [{low:#x}, {high:#x})"


def _roles(roles: RolesTable, banks: tuple[BankTable, ...] | None, unit: ProtectionTable | None) -> Iterator[str]:
    whole: dict[str, tuple[int, int]] = {}
    for name, (start, end) in roles.model_dump().items():
        if start >= end:
            yield f"roles.{name}: ends at {end:#x}, at or below its start {start:#x}"
            continue
        whole[name] = (start, end)
        fits = ("rom", "ram") if name.endswith("_text") else ("ram",)
        if banks is not None and not any(b.kind in fits and b.start <= start and end <= b.end for b in banks):
            yield f"roles.{name}: [{start:#x}, {end:#x}) does not lie inside one bank of kind {' or '.join(fits)}"
    for (a, (a0, a1)), (b, (b0, b1)) in combinations(whole.items(), 2):
        if a0 < b1 and b0 < a1:
            yield f"roles.{b}: overlaps roles.{a} in [{max(a0, b0):#x}, {min(a1, b1):#x})"
    if unit and "unpriv_text" in whole:
        start, end = whole["unpriv_text"]
        size = end - start
        if size & size - 1 or start % size:
            yield (f"roles.unpriv_text: one region must cover it: {size:#x} bytes at {start:#x} are no power of two "
                   "aligned to itself")


def _devices(parts: Parts) -> Iterator[str]:
    devices = [("uart.base", parts.uart.base if parts.uart else None), ("clint", parts.clint)]
    for key, base in devices:
        if base is None or parts.banks is None:
            continue
        if not any(b.kind == "peripheral" and b.start <= base < b.end for b in parts.banks):
            yield f"{key}: {base:#x} lies in no bank of kind peripheral; add the bank or correct the address"
    if parts.arch == "v7m" and parts.clint is not None:
        yield "clint: an Arm board has none; remove the key"


def _qemu(qemu: QemuTable, parts: Parts) -> Iterator[str]:
    wanted = {"v7m": "arm", "rv32": "riscv32"}.get(parts.arch or "")
    if wanted and qemu.system != wanted:
        yield f"qemu.system: arch '{parts.arch}' runs on '{wanted}', got '{qemu.system}'"
    if "roles" in parts.absent:
        yield "roles: missing; an emulated board needs the table (agent_text, unpriv_text, agent_ram, shared_ram)"
    elif parts.roles is not None:
        start, end = parts.roles.shared_ram
        low, high = qemu.backend_start, qemu.backend_start + qemu.backend_size
        if not low <= start < end <= high:
            yield (f"qemu.backend_start: the backend [{low:#x}, {high:#x}) must hold roles.shared_ram "
                   f"[{start:#x}, {end:#x}): the host maps it")
    if "uart" in parts.absent:
        yield "uart: missing; an emulated board needs the table (base, kind)"
    if parts.arch == "rv32" and "clint" in parts.absent:
        yield "clint: missing; the runtime limits time with the RISC-V timer block at this address"
