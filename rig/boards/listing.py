# SPDX-License-Identifier: Apache-2.0
"""What `rig boards list|show|check` answers, as plain data (every value JSON-ready)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rig.boards.load import list_boards, load_board
from rig.boards.model import Board
from rig.errors import UsageError
from rig.resources import data_dir


def listing() -> list[dict[str, Any]]:
    """One row per shipped board: name, title, arch, core, protection, regions, emulator (None: planning only)."""
    return [
        {"name": b.name, "title": b.title, "arch": b.arch.value, "core": b.core, "protection": b.protection.value,
         "regions": b.regions, "emulator": f"qemu-system-{b.qemu.system} -M {b.qemu.machine}" if b.qemu else None}
        for b in map(load_board, list_boards())
    ]


def show(name_or_path: str | Path) -> dict[str, Any]:
    """Every fact of one board, with its sources. UsageError as `load_board`."""
    return as_data(load_board(name_or_path))


def check(names: Sequence[str | Path] = ()) -> list[dict[str, Any]]:
    """Validate boards (none named: all shipped): rows of board, ok, errors. Never stops at the first broken one."""
    rows: list[dict[str, Any]] = []
    for name in names or [data_dir("boards") / f"{known}.toml" for known in list_boards()]:
        label = Path(name).stem if isinstance(name, Path) else name
        try:
            load_board(name)
        except UsageError as error:
            rows.append({"board": label, "ok": False, "errors": [line.strip() for line in str(error).splitlines()]})
        else:
            rows.append({"board": label, "ok": True, "errors": []})
    return rows


def as_data(board: Board) -> dict[str, Any]:
    """The board as nested dictionaries; enums become their words."""
    data = asdict(board)
    data["arch"], data["protection"] = board.arch.value, board.protection.value
    return data
