# SPDX-License-Identifier: Apache-2.0
"""What the compiled agent is made of: promises to whoever links it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from rig.boards.model import Arch, Board
from rig.build.agent import compile_agent, sources
from rig.errors import UsageError

FROM_THE_LINKER = {"__agent_ram_start", "__agent_ram_end", "rig_mailbox"}
FROM_THE_IMAGE = {"rig_build_id", "rig_image_instances", "rig_image_owners", "rig_image_reset"}
SHARED_OPS = """
load8u load8s load16u load16s load32 store8 store16 store32 ldrex strex vload32 vstore32 vload64 vstore64
call recurse rw8 rw16 rw32 sum
"""
OPS = {
    Arch.V7M: "load64 store64 ldm stm push pop control getcontrol primask basepri faultmask cpsid",
    Arch.RV32: """amoadd amoswap ecall csrr_mhartid csrr_mstatus csrr_mtvec csrr_mie csrr_mepc csrr_mcause
        csrr_mscratch csrr_pmpcfg0 csrr_pmpaddr0 csrw_mstatus csrw_mtvec csrw_mie csrw_mepc csrw_mcause csrw_mscratch
        csrw_pmpcfg0 csrw_pmpaddr0""",
}


@pytest.fixture
def objects(board: Board, tmp_path: Path) -> list[Path]:
    return compile_agent(board, tmp_path)


def elves(objects: list[Path]) -> Iterator[ELFFile]:
    for path in objects:
        with path.open("rb") as handle:
            yield ELFFile(handle)


def test_one_object_per_source(board: Board, objects: list[Path]) -> None:
    assert len({o.name for o in objects}) == len(objects) == len(sources(board.arch)) > 12


def test_sections(objects: list[Path]) -> None:
    """Everything that occupies memory is the agent's or unprivileged code, and there is no initialised data."""
    sizes: Counter[str] = Counter()
    for elf in elves(objects):
        for section in elf.iter_sections():
            if section["sh_flags"] & 2 and section["sh_size"] and not section.name.startswith((".ARM.ex", ".eh_frame")):
                sizes[section.name] += section["sh_size"]
                writable = section["sh_flags"] & 1
                assert not writable or section["sh_type"] == "SHT_NOBITS", section.name
    assert all(name.startswith((".agent.", ".unpriv.text")) for name in sizes), sizes
    text = sum(size for name, size in sizes.items() if name.startswith((".agent.text", ".agent.rodata", ".agent.vec")))
    ram = sum(size for name, size in sizes.items() if name.startswith(".agent.bss"))
    assert text < 32 << 10 and ram < 200 << 10


def test_undefined_symbols(board: Board, objects: list[Path]) -> None:
    """No libc, no runtime library: nothing from outside but what the contract names."""
    undefined: set[str] = set()
    defined: set[str] = set()
    for elf in elves(objects):
        for symbol in elf.get_section_by_name(".symtab").iter_symbols():
            if symbol["st_info"]["bind"] != "STB_LOCAL":
                (undefined if symbol["st_shndx"] == "SHN_UNDEF" else defined).add(symbol.name)
    text_start = {"__agent_text_start"} if board.arch is Arch.V7M else set()
    assert undefined - defined == FROM_THE_LINKER | FROM_THE_IMAGE | text_start


def test_every_stub_of_the_contract_is_there(board: Board, objects: list[Path]) -> None:
    names = {s.name for elf in elves(objects) for s in elf.get_section_by_name(".symtab").iter_symbols()}
    for op in (SHARED_OPS + OPS[board.arch]).split():
        assert {f"rig_stub_{op}", f"rig_pc_{op}"} <= names, op
    assert {"rig_stub_nop", "rig_return", "rig_sacrifice_ram", "rig_sacrifice_text", "rig_sacrifice_code"} <= names


def test_the_agent_itself_touches_no_floating_point_register(board: Board, objects: list[Path]) -> None:
    """Only the two places that save and restore the actor's: VSTMIA and VLDMIA of s16-s31."""
    if board.arch is Arch.V7M:
        found: Counter[int] = Counter()
        for elf in elves(objects):
            for section in elf.iter_sections():
                if section.name.startswith(".agent.text"):
                    data = section.data()
                    halves = [int.from_bytes(data[i : i + 2], "little") for i in range(0, len(data) - 1, 2)]
                    found.update(h for h, next_ in pairwise(halves)
                                 if h >> 9 in (0b1110110, 0b1110111) and next_ >> 8 & 0xE == 0xA)  # fmt: skip
        assert sum(found.values()) == 2, {hex(k): v for k, v in found.items()}


def test_a_board_for_planning_only_has_no_agent(board: Board, tmp_path: Path) -> None:
    for missing in ({"roles": None}, {"uart": None}, {"uart_kind": "pl011"}):
        with pytest.raises(UsageError, match="planning only"):
            compile_agent(replace(board, **missing), tmp_path)
