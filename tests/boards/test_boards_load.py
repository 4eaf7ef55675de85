# SPDX-License-Identifier: Apache-2.0
"""A board file is believed only whole: every error is named at once, with key path, expectation and cure."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from rig.boards.listing import check, listing, show
from rig.boards.load import list_boards, load_board, parse_board, read_board
from rig.boards.model import Arch, Board, Protection
from rig.errors import UsageError
from rig.resources import data_dir

AN386 = (data_dir("boards") / "mps2-an386.toml").read_text()
VIRT = (data_dir("boards") / "virt-rv32.toml").read_text()


def errors(text: str, stem: str | None = None) -> list[str]:
    with pytest.raises(UsageError) as caught:
        parse_board(text.encode(), "b.toml", stem)
    assert caught.value.exit_code == 2
    head, *lines = str(caught.value).splitlines()
    assert head.startswith("b.toml: ")
    return [line.strip() for line in lines] or [head]


def changed(old: str, new: str, text: str = AN386) -> str:
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize("name", list_boards())
def test_every_shipped_board_is_valid_and_states_its_sources(name: str) -> None:
    board = load_board(name)
    assert board.name == name
    assert board.sources
    assert (board.protection is Protection.PMP) == (board.arch is Arch.RV32)
    assert board.holes or board.qemu is None


def test_the_maps_of_the_two_main_boards() -> None:
    arm, rv = load_board("mps2-an386"), load_board("virt-rv32")
    assert arm.roles is not None and rv.roles is not None and arm.qemu is not None and rv.qemu is not None
    assert arm.roles.shared_ram == (0x2100_0000, 0x2200_0000)
    assert rv.roles.unpriv_text == (0x8010_0000, 0x8020_0000)
    assert (arm.regions, arm.region_min, arm.srd, arm.uart_kind) == (8, 32, True, "cmsdk")
    assert (rv.regions, rv.grain, rv.clint, rv.uart_kind) == (16, 0, 0x0200_0000, "16550")
    assert load_board("mps2-an386-16r").regions == 16
    assert load_board("stm32g474").roles is None


def test_a_name_a_target_word_and_a_path_lead_to_the_same_board() -> None:
    path = data_dir("boards") / "virt-rv32.toml"
    assert load_board("virt-rv32") == load_board("qemu:virt-rv32") == load_board(path) == load_board(str(path))


def test_an_unknown_board_names_near_ones() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'mps2-an386'\?.*virt-rv32"):
        load_board("mps2-an368")
    with pytest.raises(UsageError, match="'zzzz' is unknown; There are:"):
        load_board("zzzz")


def test_all_errors_come_in_one_pass() -> None:
    text = changed('kind = "pmsav7"', 'kind = "pmsav8"')
    text = changed("regions = 8", 'regionz = "8"', text)
    text = changed('core = "cortex-m4"', "core = 4", text)
    text = changed("agent_ram = [0x2000_0000, 0x2004_0000]", "agent_ram = [0x2000_0000]", text)
    text = changed("size = 0x0080_0000\n", "", text)
    found = errors(text)
    assert [line.split(":")[0] for line in found] == [
        "core",
        "protection.kind",
        "protection.regions",
        "protection.regionz",
        "roles.agent_ram[1]",
        "banks[0].size",
    ]
    assert "expected 'pmsav7' or 'pmp', got 'pmsav8'" in found[1]
    assert "did you mean 'regions'?" in found[3]


def test_rules_between_keys_are_checked_beside_broken_keys() -> None:
    text = changed("title = ", "titel = ")
    text = changed("start = 0x0100_0000", "start = 0x0000_1000", text)  # blockram into ssram1
    found = errors(text)
    assert any(line.startswith("title: missing") for line in found)
    assert any("blockram overlaps banks[0] ssram1 in [0x1000, 0x11000)" in line for line in found)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("schema = 1", "schema = 2", "schema: expected schema = 1"),
        ("schema = 1", "", "schema: missing; add schema = 1"),
        ('name = "mps2-an386"', 'name = "other"', "name: the file is called mps2-an386.toml"),
        ('kind = "pmsav7"', 'kind = "pmp"', "protection.kind: arch 'v7m' is protected by 'pmsav7'"),
        ("srd = true", "srd = false", "protection.srd: every PMSAv7 MPU has subregions"),
        ("region_min = 32", "region_min = 16", "protection.region_min: PMSAv7 regions have at least 32 bytes"),
        ("region_min = 32", "region_min = 48", "protection.region_min: expected a power of two, got 48"),
        ("srd = true", "srd = true\ngrain = 1", "protection.grain: only a PMP has a grain"),
        ("unpriv_text = [0x0010_0000, 0x0020_0000]", "unpriv_text = [0x0010_0000, 0x0018_1000]", "one region must"),
        ("agent_ram = [0x2000_0000, 0x2004_0000]", "agent_ram = [0x3000_0000, 0x3004_0000]", "does not lie inside one"),
        ("agent_ram = [0x2000_0000, 0x2004_0000]", "agent_ram = [0x2004_0000, 0x2000_0000]", "at or below its start"),
        ("unpriv_text = [0x0010_0000, 0x0020_0000]", "unpriv_text = [0x0000_0000, 0x0004_0000]", "overlaps roles"),
        ("base = 0x4000_4000", "base = 0x5000_4000", "uart.base: 0x50004000 lies in no bank of kind peripheral"),
        ("backend_size = 0x0100_0000", "backend_size = 0x0080_0000", "the host maps it"),
        ('system = "arm"', 'system = "riscv32"', "qemu.system: arch 'v7m' runs on 'arm'"),
        ("[uart]\nbase = 0x4000_4000\nkind = \"cmsdk\"", "", "uart: missing; an emulated board needs"),
        ('name = "timer1"', 'name = "timer0"', "is the name of banks["),
        ("size = 0x4000_0000", "size = 0xF000_0000", "beyond 2^32"),
        ("fpu = ", "clint = 0x4000_0000\nfpu = ", "clint: an Arm board has none"),
    ],
)  # fmt: skip
def test_each_rule_has_its_sentence(old: str, new: str, sentence: str) -> None:
    assert any(sentence in line for line in errors(changed(old, new), "mps2-an386"))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("region_min = 4", "region_min = 8", "a PMP with grain 0 has a smallest region of 4 bytes, got 8"),
        ("grain = 0", "grain = 0\nsrd = true", "protection.srd: a PMP has no subregions"),
        ("clint = 0x0200_0000", "", "clint: missing"),
        ("clint = 0x0200_0000", 'clint = 0x0200_0000\nfpu = "fpv5-d16"', "fpu: RV32 runs the components with integer"),
    ],
)
def test_the_rules_of_a_pmp_board(old: str, new: str, sentence: str) -> None:
    assert any(sentence in line for line in errors(changed(old, new, VIRT)))


def test_an_emulated_board_without_roles_is_refused() -> None:
    text = re.sub(r"\[roles\]\n(.+\n)+", "", AN386)
    assert errors(text) == [
        "roles: missing; an emulated board needs the table (agent_text, unpriv_text, agent_ram, shared_ram)"
    ]


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xff\xfe", b"schema = ", b"schema = 1\nschema = 1", b"banks = 1", b"[[banks]]\n[[banks]]", b"a" * 1000,
     b"x = " + b"[" * 5000],
)  # fmt: skip
def test_hostile_bytes_give_one_clear_error(raw: bytes) -> None:
    with pytest.raises(UsageError, match=r"^b\.toml: "):
        parse_board(raw, "b.toml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml: cannot be read \(No such file"):
        load_board(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="cannot be read"):
        read_board(tmp_path)
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (300 << 10))
    with pytest.raises(UsageError, match="no board file"):
        load_board(large)


def test_the_listing_has_every_board_and_show_every_fact() -> None:
    assert [row["name"] for row in listing()] == list(list_boards())
    shown = show("virt-rv32")
    assert shown["protection"] == "pmp" and shown["arch"] == "rv32"
    source = tomllib.loads(VIRT)
    assert shown["sources"] == tuple(source["sources"])
    assert set(shown) == set(Board.__dataclass_fields__)


def test_check_reports_each_broken_board_and_goes_on(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("schema = 1\n")
    rows = check(["virt-rv32", bad, "nope"])
    assert [row["ok"] for row in rows] == [True, False, False]
    assert len(rows[1]["errors"]) > 5
    assert all(row["ok"] for row in check())
