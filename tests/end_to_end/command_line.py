# SPDX-License-Identifier: Apache-2.0
"""Runs the command line as a user does: a process of its own, its output, its exit code, its evidence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str
    folder: Path

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    def answers(self, strategy: str = "switch") -> dict[tuple[str, str], dict[str, Any]]:
        return {(a["board"], a["model"]): a for a in self.json["answers"] if a["strategy"] == strategy}

    def journal(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "journal.jsonl").read_text().splitlines()]


def rig(*words: str | Path, cwd: Path | None = None, timeout: float = 280) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "rig", *map(str, words)],
        capture_output=True,
        text=True,
        env=ENV,
        cwd=cwd,
        timeout=timeout,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def without_wall(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in record.items() if key != "wall"} for record in records]
