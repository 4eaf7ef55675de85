# SPDX-License-Identifier: Apache-2.0
"""`rig catalogue`: the case families, and what this version does with each."""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.table import Table

from rig.faults.catalogue import Family, catalogue


def main(arguments: argparse.Namespace) -> int:
    families = catalogue()
    if arguments.json:
        print(json.dumps({"schema": 1, "families": [as_json(family) for family in families]}, indent=1))
        return 0
    table = Table(title=f"{len(families)} case families", title_justify="left")
    for column in ("family", "name", "priority", "status", "disarmed turns off", "Cortex-M", "RISC-V"):
        table.add_column(column)
    for family in families:
        off = family.disarmed.value if not family.no_disarmed else f"none({family.no_disarmed})"
        table.add_row(family.id, family.name, f"P{family.priority}", family.status.value, off, family.v7m, family.rv32)
    Console().print(table)
    return 0


def as_json(family: Family) -> dict[str, object]:
    return {
        "id": family.id,
        "status": family.status.value,
        "name": family.name,
        "priority": family.priority,
        "models": list(family.models),
        "required": family.required,
        "disarmed": family.disarmed.value if not family.no_disarmed else f"none({family.no_disarmed})",
        "expect": {"v7m": family.v7m, "v8m": family.v8m, "rv32": family.rv32},
    }
