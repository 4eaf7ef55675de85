# SPDX-License-Identifier: Apache-2.0
"""`rig demo`: one image twice, first as it is, then with one seeded bug that turns red before your eyes."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from rig import pipeline
from rig.campaign.mutation import mutant_variation
from rig.commands.run import make_request, reproduce_words
from rig.errors import InfrastructureError
from rig.host.setup import ensure
from rig.image.model import Model
from rig.plan.model import Strategy
from rig.report import console
from rig.report.progress import Progress

BUG = "M06"
STORY = (
    "The same image again, with one bug seeded into the plan: a region of one component stays enabled\n"
    "in the context of its neighbour, as an off-by-one in a context switch would leave it.\n"
    "Nothing else changes: same ELF, same components, same programs."
)


def main(arguments: argparse.Namespace) -> int:
    """0: green without the bug and red with it; 3: not so (then the demonstration proves nothing)."""
    ensure()
    asked = make_request(arguments, ())
    request = replace(
        asked,
        boards=asked.boards[:1],
        models=(Model.PAGE,) if arguments.model is None else asked.models[:1],
        strategies=(Strategy.SWITCH,),
        families=asked.families or frozenset({"C-05", "D-01", "D-02", "G-02"}),
    )
    out = Console()
    codes = []
    with tempfile.TemporaryDirectory(prefix="rig-demo-") as folder:
        for name, variation in (("as it is", None), (f"with {BUG}", mutant_variation(BUG, request.seed))):
            out.print(f"\n[bold]{request.subject.name} on {request.boards[0].name}, {name}[/]")
            if variation is not None:
                out.print(STORY)
            progress = Progress()
            finished = pipeline.run(request, Path(folder) / name.replace(" ", "-"), progress, variation=variation)
            console.show(finished.summary, out, command=reproduce_words(request))
            codes.append(finished.exit)
    if codes != [0, 1]:
        raise InfrastructureError(f"the demonstration failed: exit codes {codes}, expected [0, 1]")
    out.print(f"\nGreen without the bug, red with it. `rig mutants` does this for every seeded bug ({BUG} is one).")
    return 0
