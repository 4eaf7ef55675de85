# SPDX-License-Identifier: Apache-2.0
"""What a board file may say: the shape of `boards/*.toml`. Nothing here reads a file; `rig.boards.load` does.

Addresses and sizes are bytes. Each field's description is what an error message says was expected.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1
MAX_REGIONS = 64  # PMP has 0, 16 or 64 entries; an MPU has at most 255 regions but none beyond 32 was ever built

_Address = Annotated[int, Field(strict=True, ge=0, lt=1 << 32, description="an address below 2^32, e.g. 0x2000_0000")]
_Limit = Annotated[int, Field(strict=True, gt=0, le=1 << 32, description="an end address up to 2^32")]
_Size = Annotated[int, Field(strict=True, gt=0, le=1 << 32, description="a size in bytes from 1 to 2^32")]
_Name = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,47}$", description="a name of a-z, 0-9, '-', '_', '.', at most 48 long")
]
_Text = Annotated[str, Field(min_length=1, max_length=400, description="text of 1 to 400 characters")]
_Argument = Annotated[str, Field(min_length=1, max_length=200, description="one argument of at most 200 characters")]
Range = Annotated[tuple[_Address, _Limit], Field(description="[start, end) as two addresses")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProtectionTable(_Table):
    kind: Literal["pmsav7", "pmp"] = Field(description="'pmsav7' or 'pmp'")
    regions: Annotated[int, Field(strict=True, ge=1, le=MAX_REGIONS)] = Field(
        description=f"the number of MPU regions or PMP entries, 1 to {MAX_REGIONS}"
    )
    region_min: Annotated[int, Field(strict=True, ge=4, le=4096)] = Field(
        description="the smallest region in bytes: a power of two, 4 to 4096"
    )
    grain: Annotated[int, Field(strict=True, ge=0, le=10)] = Field(0, description="the PMP grain G, 0 to 10")
    srd: bool = Field(False, strict=True, description="true or false (has subregions)")


class RolesTable(_Table):
    agent_text: Range
    unpriv_text: Range
    agent_ram: Range
    shared_ram: Range


class UartTable(_Table):
    base: _Address
    kind: Literal["cmsdk", "16550"] = Field(description="'cmsdk' or '16550'")


class QemuTable(_Table):
    system: Literal["arm", "riscv32"] = Field(description="'arm' or 'riscv32'")
    machine: _Name
    cpu: _Argument | None = None
    args: Annotated[list[_Argument], Field(max_length=32)] = Field(
        default_factory=list, description="a list of arguments"
    )
    backend: _Name
    backend_start: _Address
    backend_size: _Size


class BankTable(_Table):
    name: _Name
    start: _Address
    size: _Size
    kind: Literal["rom", "ram", "peripheral", "hole"] = Field(description="'rom', 'ram', 'peripheral' or 'hole'")

    @property
    def end(self) -> int:
        return self.start + self.size


class BoardTable(_Table):
    schema_: Literal[1] = Field(alias="schema", description=f"schema = {SCHEMA}, the version this rig reads")
    name: _Name
    title: _Text
    arch: Literal["v7m", "rv32"] = Field(description="'v7m' or 'rv32'")
    core: _Name
    fpu: Literal["fpv4-sp-d16", "fpv5-sp-d16", "fpv5-d16"] | None = Field(
        None, description="'fpv4-sp-d16', 'fpv5-sp-d16', 'fpv5-d16', or no such key"
    )
    clint: _Address | None = None
    timer_hz: Annotated[int, Field(strict=True, ge=1, lt=1 << 32)] | None = Field(
        None, description="the rate of SysTick or mtime in hertz, 1 to 2^32 - 1"
    )
    mtval_sets: bool = Field(True, strict=True, description="true or false (mtval holds the fault address)")
    sources: Annotated[list[_Text], Field(min_length=1, max_length=64)] = Field(
        description="a list that says where the facts come from"
    )
    protection: ProtectionTable
    roles: RolesTable | None = None
    uart: UartTable | None = None
    qemu: QemuTable | None = None
    banks: Annotated[list[BankTable], Field(min_length=1, max_length=256)] = Field(
        description="one [[banks]] table per range of the memory map"
    )
