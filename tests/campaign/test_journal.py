# SPDX-License-Identifier: Apache-2.0
"""The journal is append-only, survives a kill, and is never silently misread."""

from __future__ import annotations

from pathlib import Path

import pytest

from rig.campaign.journal import MAX_LINE, Journal, read
from rig.errors import UsageError


def test_records_come_back_in_order(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.jsonl") as journal:
        journal.write("run", {"seed": 1})
        journal.write("result", {"id": "D-01/<script>\n../x"})
    assert [r["k"] for r in read(tmp_path / "j.jsonl")] == ["run", "result"]
    assert list(read(tmp_path / "j.jsonl"))[1]["id"] == "D-01/<script>\n../x"


def test_a_cut_last_line_is_dropped_and_overwritten_on_resume(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.write("run", {"seed": 1})
        journal.write("result", {"id": "a"})
    path.write_bytes(path.read_bytes()[:-5])  # killed in the middle of a write
    assert [r["k"] for r in read(path)] == ["run"]
    with Journal(path) as journal:
        journal.write("result", {"id": "b"})
    assert [r.get("id") for r in read(path)] == [None, "b"]


def test_a_file_without_any_newline_starts_over(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"k":"ru')
    with Journal(path) as journal:
        journal.write("run", {})
    assert [r["k"] for r in read(path)] == ["run"]


@pytest.mark.parametrize("line", [b"not json\n", b"[1]\n", b'{"no":"kind"}\n', b'{"k":7}\n'])
def test_damage_names_file_and_line(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"k":"run"}\n' + line + b'{"k":"end"}\n')
    with pytest.raises(UsageError, match=r"j\.jsonl:2: "):
        list(read(path))


def test_an_endless_line_is_refused_not_read(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"k":"' + b"x" * (MAX_LINE + 10))
    with pytest.raises(UsageError, match="longer than"):
        list(read(path))
