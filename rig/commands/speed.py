# SPDX-License-Identifier: Apache-2.0
"""`rig speed`: legs per second on the demo image, and how many times faster that is than two simpler ways."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from rig.build.load_subject import load_subject
from rig.campaign.request import choose_boards
from rig.campaign.speed import Amount, Measurement, Speed
from rig.host.setup import ensure
from rig.report.progress import Progress

_COLUMNS = ("legs/s\nin batches", "one debugger\nexchange each", "one process\neach", "CPU µs/leg\nQEMU + host")


def main(arguments: argparse.Namespace) -> int:
    """0: measured. What cannot be measured is an error."""
    ensure()
    subject = load_subject(["scalar"])
    boards = choose_boards(arguments.board, subject)
    progress = Progress()

    def note(text: str) -> None:
        progress.note(0, text)

    try:
        speeds = [Measurement(subject, board, note).measure(Amount(), note) for board in boards]
    finally:
        progress.close()
    if arguments.json:
        print(json.dumps(as_json(speeds), indent=1))
    else:
        Console().print(_table(speeds))
    return 0


def as_json(speeds: Sequence[Speed]) -> dict[str, Any]:
    rows = [{k: round(v, 1) if isinstance(v, float) else v for k, v in asdict(speed).items()} for speed in speeds]
    return {"schema": 1, "boards": rows}


def _table(speeds: Sequence[Speed]) -> Table:
    table = Table(title="legs per second (how many times faster batches are)", title_justify="left")
    table.add_column("board")
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for s in speeds:
        table.add_row(
            f"{s.board}\n{s.lowering}",
            f"{s.legs_per_second:.0f}",
            f"{s.debugger_legs_per_second:.0f} (× {s.ratio_gdb:.1f})",
            f"{s.new_process_legs_per_second:.1f} (× {s.ratio_new_process:.0f})",
            f"{s.emulator_us_per_leg:.0f} + {s.host_us_per_leg:.0f}",
        )
    return table
