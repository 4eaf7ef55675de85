# SPDX-License-Identifier: Apache-2.0
"""149 families, each with what its armed leg must show and what its disarmed leg turns off."""

from __future__ import annotations

from collections import Counter

import pytest

from rig.boards.model import Arch
from rig.errors import InfrastructureError
from rig.faults.catalogue import Off, Status, catalogue, family, parse

ROW = """["D-01"]
name = "n"
action = "a"
priority = 0
models = [1, 2]
v7m = "x"
v8m = "y"
rv32 = "z"
wrong = "w"
disarmed = "map"
status = "built"
required = true
"""
NOW = (
    "C-01 C-02 C-03 C-04 C-05 C-06 C-07 C-08 D-01 D-02 D-03 D-04 D-05 D-06 D-07 D-08 D-09 G-01 G-02 G-03 G-06 G-07 "
    "X-01 X-02 X-03 X-04 X-05 S-01 P-01 P-02 P-03 P-04 P-05 P-06 T-01 T-02 K-02 K-11 W-01 W-02 W-03 W-04 W-05 W-07 "
    "W-08 W-17 W-18"
)


def test_all_149_rows_are_there_with_the_priorities_of_the_reference() -> None:
    rows = catalogue()
    assert len(rows) == 149 and len({row.id for row in rows}) == 149
    assert Counter(row.priority for row in rows) == {0: 89, 1: 47, 2: 13}
    sizes = {"C": 8, "D": 13, "G": 13, "X": 10, "S": 10, "P": 12, "H": 7, "T": 12, "K": 11, "A": 12, "R": 17, "W": 18}
    assert Counter(row.group for row in rows) == sizes | {"F": 6}


def test_every_row_says_what_it_expects_and_what_is_turned_off() -> None:
    for row in catalogue():
        assert row.name and row.action and row.v7m and row.v8m and row.rv32 and row.wrong
        assert (row.disarmed is Off.NONE) == bool(row.no_disarmed)
    assert family("D-01").expectation(Arch.RV32) == "LA(A)" and family("D-01").expectation(Arch.V7M) == "MMD(A)"


def test_families_of_this_version_are_built_and_required() -> None:
    built = {row.id for row in catalogue() if row.status is Status.BUILT}
    assert set(NOW.split()) <= built
    assert {row.id for row in catalogue() if row.required} == set(NOW.split())
    assert {family(i).disarmed for i in ("K-02", "K-11", "W-17", "W-18")} == {Off.GATE}


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(KeyError, match="Z-99"):
        family("Z-99")


@pytest.mark.parametrize("damage", [
    ("priority = 0", "priority = 3"), ('disarmed = "map"', 'disarmed = "none"'), ('"map"', '"fuse"'),
    ("required = true", "required = 1"), ('status = "built"', 'status = "soon"'), ('name = "n"', ""), ("[1, 2]", "[4]"),
    ('wrong = "w"', 'wrong = "w"\nextra = 1'), ('["D-01"]', '["D-1"]'), ("priority = 0", "priority ="),
])
def test_a_damaged_data_file_is_an_error_that_names_it(damage: tuple[str, str]) -> None:
    assert parse(ROW)[0].id == "D-01"
    with pytest.raises(InfrastructureError, match=r"catalogue\.toml"):
        parse(ROW.replace(*damage))
