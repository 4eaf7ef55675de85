# SPDX-License-Identifier: Apache-2.0
"""`rig mutants`: the rig's own test of sensitivity. Every seeded bug must turn something red."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rig.campaign.mutation import Fate, run_mutants
from rig.commands.run import make_request
from rig.errors import UsageError
from rig.host.setup import ensure
from rig.plan.mutants import MUTANTS
from rig.report.progress import Progress


def main(arguments: argparse.Namespace) -> int:
    """0: all killed; 1: one survived; 3: one could not be run."""
    known = [mutant.id for mutant in MUTANTS]
    for word in arguments.ids:
        if word not in known:
            raise UsageError(f"there is no mutant {word}: there are {', '.join(known)}")
    ensure()
    request = make_request(arguments, ())
    progress = Progress()
    with tempfile.TemporaryDirectory(prefix="rig-mutants-") as folder:
        fates = list(
            run_mutants(
                request,
                request.subject.read_components(),
                arguments.ids,
                Path(arguments.out) if arguments.out else Path(folder),
                lambda text: progress.note(0, text),
            )
        )
    progress.close()
    counts = Counter(fate.state for fate in fates)
    if arguments.json:
        print(json.dumps(as_json(fates, counts)))
    else:
        _show(fates, counts)
    return 1 if counts["survived"] else 3 if counts["refused"] else 0


def as_json(fates: list[Fate], counts: Counter[str]) -> dict[str, object]:
    return {
        "schema": 1,
        "killed": counts["killed"],
        "survived": counts["survived"],
        "refused": counts["refused"],
        "total": len(fates),
        "mutants": [
            {
                "id": fate.id,
                "title": fate.title,
                "kind": fate.kind,
                "state": fate.state,
                "killers": list(fate.killers),
                "reason": fate.reason,
                "board": fate.board,
                "model": fate.model,
            }
            for fate in fates
        ],
    }


def _show(fates: list[Fate], counts: Counter[str]) -> None:
    table = Table(title=f"{counts['killed']} of {len(fates)} seeded bugs caught", title_justify="left")
    for column in ("mutant", "seeded bug", "in", "board", "state", "caught by"):
        table.add_column(column)
    colours = {"killed": "green", "survived": "bold red", "refused": "yellow"}
    for fate in fates:
        state = f"[{colours[fate.state]}]{fate.state}[/]"
        table.add_row(
            fate.id, fate.title, fate.kind, fate.board, state, ", ".join(fate.killers) + (" " + fate.reason).rstrip()
        )
    Console().print(table)
