# SPDX-License-Identifier: Apache-2.0
"""A board type as a value. Read from `boards/*.toml` by `rig.boards.load`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Arch(StrEnum):
    V7M = "v7m"
    RV32 = "rv32"


class Protection(StrEnum):
    PMSAV7 = "pmsav7"
    PMP = "pmp"


@dataclass(frozen=True, slots=True)
class Bank:
    """One range of the memory map. `kind`: rom | ram | peripheral | hole (nothing answers there)."""

    name: str
    start: int
    size: int
    kind: str

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Roles:
    """Which bank (or part of one: start, end) the reference runtime uses for what."""

    agent_text: tuple[int, int]  # vectors or reset entry at its start; privileged code and constants
    unpriv_text: tuple[int, int]  # attack stubs, gate stubs, component code: the one executable region of components
    agent_ram: tuple[int, int]  # privileged data and stacks
    shared_ram: tuple[int, int]  # mailbox first, then everything components own; on emulators the host maps it


@dataclass(frozen=True, slots=True)
class Qemu:
    system: str  # "arm" | "riscv32"
    machine: str
    cpu: str | None
    args: tuple[str, ...]
    backend: str  # memory-backend id the machine takes
    backend_start: int  # native address of the backend's first byte
    backend_size: int


@dataclass(frozen=True, slots=True)
class Board:
    name: str
    title: str
    arch: Arch
    core: str  # "cortex-m4", "rv32imac"
    fpu: str | None  # "fpv4-sp-d16" | None
    protection: Protection
    regions: int  # MPU regions or PMP entries (a prior: confirmed by probe in HELLO)
    grain: int  # PMP G; 0 on Arm
    region_min: int  # smallest region in bytes
    srd: bool
    banks: tuple[Bank, ...]
    roles: Roles | None  # None: described for planning only, no runtime map
    uart: int | None  # base address
    uart_kind: str | None  # "cmsdk" | "16550"
    clint: int | None  # RISC-V timer block
    qemu: Qemu | None
    mtval_sets: bool = True
    sources: tuple[str, ...] = ()  # where each fact comes from
    timer_hz: int | None = None  # SysTick (processor clock) or mtime; None: the emulators' 25 MHz and 10 MHz

    @property
    def holes(self) -> tuple[Bank, ...]:
        return tuple(b for b in self.banks if b.kind == "hole")

    @property
    def peripherals(self) -> tuple[Bank, ...]:
        return tuple(b for b in self.banks if b.kind == "peripheral")
