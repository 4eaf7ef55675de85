# SPDX-License-Identifier: Apache-2.0
"""The summary counts what the journal says, keeps control rows outside the totals, and hides nothing refused."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from rig.report import console
from rig.report.summary import as_json, summarise

HOSTILE = "<script>\x1b[31m[bold]\n../x"


def _result(row: str, case: str, verdict: str, **more: Any) -> dict[str, Any]:
    return {"k": "result", "row": row, "id": f"{case}/x", "case": case, "actor": HOSTILE, "victim": "b",
            "address": 0x2100_0000, "verdict": verdict, "class": "ESCAPE_WRITE", "reason": "", **more}  # fmt: skip


def _row(row: str, answer: str, *, control: bool = False, legs: int = 30, seconds: float = 0.01) -> dict[str, Any]:
    return {"k": "row", "row": row, "lowering": "synth", "control": control, "answer": answer, "legs": legs,
            "why_not": [], "wall": {"seconds": seconds}}  # fmt: skip


RECORDS: list[dict[str, Any]] = [
    {"k": "run", "schema": 1, "seed": 1},
    _result("b1/multi/switch", "D-01", "PASS"),
    _result("b1/multi/switch", "D-01", "FAIL"),
    {"k": "refused", "row": "b1/multi/switch", "id": "W-05/all", "case": "W-05", "actor": "-", "victim": "-",
     "why": "N/A", "reason": "no 64-bit access"},
    _result("b1/multi/static", "D-01", "PASS"),
    {"k": "finding", "image": "b1/multi", "id": "F1", "what": HOSTILE, "where": "memory 0", "cure": ""},
    {"k": "finding", "image": "b2/multi", "id": "F1", "what": HOSTILE, "where": "memory 0", "cure": ""},
    _row("b1/multi/switch", "not isolated: 1 programs failed"),
    _row("b1/multi/static", "control: 1 landed", control=True),
    _row("b2/multi/switch", "isolated", legs=5, seconds=0.01),
    {"k": "end", "exit": 1},
]  # fmt: skip


def test_totals_leave_the_control_row_out() -> None:
    found = as_json(summarise(RECORDS), "out/x")
    assert found["totals"] == {"PASS": 1, "FAIL": 1, "REFUSED": 1}
    assert [(a["strategy"], a["control"]) for a in found["answers"]] == [
        ("switch", False), ("static", True), ("switch", False)]  # fmt: skip
    assert found["exit"] == 1 and found["schema"] == 1 and found["out"] == "out/x"


def test_the_rate_is_the_slowest_boards() -> None:
    assert summarise(RECORDS).legs_per_second == 500.0  # b2: 5 legs in 0.01 s; b1 makes 3000


def test_a_finding_of_two_boards_is_told_once() -> None:
    assert len(summarise(RECORDS).findings) == 1


def _shown() -> str:
    out = io.StringIO()
    console.show(summarise(RECORDS), Console(file=out, width=100), command=["rig", "run", "my subject.toml"])
    return out.getvalue()


def test_the_console_names_actor_cause_and_a_command_that_can_be_pasted() -> None:
    shown = _shown()
    assert "ESCAPE_WRITE" in shown and "0x21000000" in shown
    line = next(line for line in shown.splitlines() if "reproduce:" in line)
    assert line.strip() == (
        "reproduce: rig run 'my subject.toml' --board b1 --model multi --strategy switch --only D-01/x"
    )
    assert "1 N/A" in shown and "every one with its reason" in shown


def test_hostile_names_cannot_speak_to_the_terminal() -> None:
    shown = _shown()
    assert "\x1b" not in shown and "\\x1b[31m[bold]\\x0a../x" in shown
