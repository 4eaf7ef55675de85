# SPDX-License-Identifier: Apache-2.0
"""`rig doctor` tells what is there and what cannot be done, and changes nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rig.host import doctor, setup, tools
from rig.host.tool import Tool


def report(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    shown = capsys.readouterr()
    assert shown.err == ""
    parsed = json.loads(shown.out)
    assert isinstance(parsed, dict)
    return parsed


def test_with_all_tools_the_main_job_can_run(capsys: pytest.CaptureFixture[str]) -> None:
    setup.ensure()
    capsys.readouterr()
    assert doctor.doctor(json=True) == 0
    said = report(capsys)
    assert said["schema"] == 1 and said["ok"] is True
    rows = {row["name"]: row for row in said["tools"]}
    assert tuple(rows) == tools.NAMES
    for name in setup.MAIN_JOB:
        row = rows[name]
        assert row["status"] == "ok" and row["cure"] is None and row["version"] and row["origin"] and row["without"]
        assert re.fullmatch("[0-9a-f]{64}", row["sha256"]) and Path(row["path"]).is_file()


def test_without_qemu_it_cannot_and_nothing_is_installed(
    cache: Path, empty_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.doctor(json=True) == 3
    said = report(capsys)
    rows = {row["name"]: row for row in said["tools"]}
    assert said["ok"] is False
    assert rows["qemu-system-arm"]["status"] == rows["synth"]["status"] == "missing"
    assert rows["qemu-system-arm"]["required"] and not rows["synth"]["required"]
    assert "rig setup" in rows["qemu-system-arm"]["cure"] and rows["qemu-system-arm"]["sha256"] is None
    assert rows["meld"]["status"] == "ok"
    assert not cache.exists()


def test_for_people(cache: Path, empty_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.doctor(json=False) == 3
    text = capsys.readouterr().out
    assert re.search(r"^ok +meld +0\.65\.1  pypi meld-cli 0\.65\.1  sha256 [0-9a-f]{16}…$", text, re.M)
    assert re.search(
        r"^missing +qemu-system-arm +required\n +without it: Cortex-M images cannot run\n +.*rig setup", text, re.M
    )
    assert "without it: every image is lowered by wasm2c instead" in text
    assert text.rstrip().endswith("The main job cannot run: `rig setup` brings what is missing.")


def test_a_tool_that_does_not_work_is_broken(tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_bytes(b"x")

    def check(tool: Tool) -> None:
        raise tools.ToolTimeout("it hangs")

    entry = tools.Entry("tool", lambda: Tool("tool", program, "1", "system"), True, "nothing", check=check)
    finding = doctor.examine(entry)
    assert (finding.status, finding.cure) == ("broken", "it hangs")
    assert any("it hangs" in line for line in doctor.render([finding], ok=False))
