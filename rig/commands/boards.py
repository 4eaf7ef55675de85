# SPDX-License-Identifier: Apache-2.0
"""`rig boards list|show|check`: what the rig knows of board types."""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.table import Table

from rig.boards import listing
from rig.errors import UsageError


def main(arguments: argparse.Namespace) -> int:
    """`check` ends with 2 when a board file is wrong, and shows all of its errors."""
    names: list[str] = arguments.names
    if arguments.action == "list":
        rows = listing.listing()
        if arguments.json:
            print(json.dumps({"schema": 1, "boards": rows}, indent=1))
        else:
            table = Table()
            columns = ("name", "title", "core", "protection", "regions", "emulator")
            for column in columns:
                table.add_column(column)
            for row in rows:
                table.add_row(*(str(row[column] if row[column] is not None else "planning only") for column in columns))
            Console().print(table)
        return 0
    if arguments.action == "show":
        if not names:
            raise UsageError("rig boards show needs a board: `rig boards list` names them")
        shown = [listing.show(name) for name in names]
        print(json.dumps({"schema": 1, "boards": shown}, indent=1))
        return 0
    checked = listing.check(names)
    if arguments.json:
        print(json.dumps({"schema": 1, "boards": checked}, indent=1))
    else:
        for row in checked:
            print(f"{row['board']}: {'ok' if row['ok'] else 'wrong'}")
            for line in row["errors"]:
                print(f"  {line}")
    return 0 if all(row["ok"] for row in checked) else UsageError.exit_code
