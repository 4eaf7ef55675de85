# SPDX-License-Identifier: Apache-2.0
"""Known divergences refuse the programs they touch, on the versions that have them, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from faults_samples import shape

from rig.arch.types import Access, Kind
from rig.boards.model import Arch
from rig.faults.divergence import MEASURED, ROWS, Platform, refusal, version
from rig.faults.model import Expect, FaultProgram, Stop

NEW, OLD = Platform(Arch.V7M, "qemu", (10, 0, 2)), Platform(Arch.V7M, "qemu", (7, 2, 22))
RV_NEW, RV_OLD = Platform(Arch.RV32, "qemu", (10, 0, 2)), Platform(Arch.RV32, "qemu", (7, 2, 22))
BASE = shape("page").of("D-01")[0]
EDGE = 0x2000_0120


def program(access: Access, edge: int | None = None, form: str = "", op: str = "") -> FaultProgram:
    return replace(BASE, armed=Expect(Stop.TRAP, access), straddle=edge, form=form, op=op)


def across(kind: Kind, address: int, size: int, words: int = 1, edge: int = EDGE, form: str = "") -> FaultProgram:
    return program(Access(kind, address, size, False, words=words), edge, form)


def rows(found: str | None) -> set[str]:
    return {row.id for row in ROWS if found and f"{row.id} (" in found}


def test_straddles_inside_a_page_are_what_qemu_gets_wrong() -> None:
    load, store = across(Kind.READ, EDGE - 1, 2), across(Kind.WRITE, EDGE - 3, 4)
    assert rows(refusal(load, NEW)) == {"A1"} and rows(refusal(load, OLD)) == {"A1"}
    assert rows(refusal(store, NEW)) == {"A2"} and refusal(store, OLD) is None


def test_a_straddle_of_two_pages_is_right() -> None:
    for kind in (Kind.READ, Kind.WRITE):
        assert refusal(across(kind, 0x2000_03FF, 4, edge=0x2000_0400), NEW) is None


def test_an_access_on_one_side_of_the_edge_is_right() -> None:
    assert refusal(program(Access(Kind.READ, EDGE, 4, False)), NEW) is None
    assert refusal(across(Kind.READ, EDGE, 4), NEW) is None


def test_multi_word_accesses_diverge_by_their_form() -> None:
    assert rows(refusal(across(Kind.WRITE, EDGE - 4, 4, 2, form="dual"), NEW)) == {"A3"}
    assert refusal(across(Kind.WRITE, EDGE - 4, 4, 2, form="dual"), OLD) is None
    assert refusal(across(Kind.WRITE, EDGE - 4, 4, 2), NEW) is None  # STM, VSTM of S registers
    for platform in (NEW, OLD):
        assert rows(refusal(across(Kind.READ, EDGE - 4, 4, 2, form="double"), platform)) == {"A4"}


def test_fetches_and_atomics_of_the_old_version() -> None:
    fetch = across(Kind.EXECUTE, EDGE - 2, 4)
    assert rows(refusal(fetch, OLD)) == {"A6"} and refusal(fetch, NEW) is None
    assert rows(refusal(fetch, RV_OLD)) == {"R1"} and refusal(fetch, RV_NEW) is None
    amo = program(Access(Kind.WRITE, EDGE, 4, False, atomic=True))
    assert rows(refusal(amo, RV_OLD)) == {"R3"} and refusal(amo, RV_NEW) is None


def test_a_bound_that_stays_matters_where_contexts_change() -> None:
    s = shape("page", "rv")
    stale = replace(RV_OLD, tor_rewritten=True)
    assert rows(refusal(s.of("T-01")[0], stale)) == {"R2"} and refusal(s.of("T-01")[0], RV_OLD) is None
    assert refusal(s.of("D-01")[0], stale) is None


def test_wide_misaligned_accesses_and_mret_on_riscv() -> None:
    assert rows(refusal(program(Access(Kind.READ, 0x8000_0004, 8, False)), RV_NEW)) == {"R11"}
    assert refusal(program(Access(Kind.READ, 0x8000_0008, 8, False)), RV_NEW) is None
    assert rows(refusal(program(Access(Kind.READ, 0, 4, False), op="mret"), RV_NEW)) == {"R6"}


def test_a_row_does_not_reach_into_the_other_architecture_or_into_silicon() -> None:
    assert refusal(across(Kind.READ, EDGE - 1, 2), RV_NEW) is None
    assert refusal(across(Kind.READ, EDGE - 1, 2), Platform(Arch.V7M)) is None


def test_a_version_that_was_not_measured_is_untrusted_for_what_any_row_touches() -> None:
    for number in ((11, 0), (9, 2, 3), (10, 1), (7, 1), ()):
        unknown = Platform(Arch.V7M, "qemu", number)
        found = refusal(across(Kind.WRITE, EDGE - 3, 4), unknown)
        assert found is not None and "was not measured" in found and rows(found) == {"A2"}
        assert refusal(BASE, unknown) is None


def test_an_emulator_without_any_row_vouches_for_nothing() -> None:
    assert "renode" in (refusal(BASE, Platform(Arch.V7M, "renode", (1, 16, 1))) or "")


def test_pieces_of_a_split_access_are_asked_one_by_one() -> None:
    whole = across(Kind.READ, EDGE - 4, 8)
    assert rows(refusal(whole, NEW)) == {"A1"}
    halves = (Access(Kind.READ, EDGE - 4, 4, False), Access(Kind.READ, EDGE, 4, False))
    split = replace(whole, armed=replace(whole.armed, pieces=halves))
    assert refusal(split, NEW) is None


@pytest.mark.parametrize(("text", "number"), [
    ("10.0.2 (Debian 1:10.0.2+ds-2)", (10, 0, 2)), ("QEMU emulator version 7.2.22", (7, 2, 22)), ("", ()), ("git", ())])
def test_versions_are_read_from_what_a_tool_says(text: str, number: tuple[int, ...]) -> None:
    assert version(text) == number


def test_every_row_is_of_a_measured_series() -> None:
    assert all(series in MEASURED[row.emulator] for row in ROWS for series in row.series)
    assert len({row.id for row in ROWS}) == len(ROWS)
