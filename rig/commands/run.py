# SPDX-License-Identifier: Apache-2.0
"""`rig run`: the main job."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rig import pipeline
from rig.build.load_subject import load_subject
from rig.campaign import request as asked
from rig.campaign.request import Request
from rig.errors import UsageError
from rig.host.setup import ensure
from rig.report import console
from rig.report.progress import Progress
from rig.report.summary import as_json


def main(arguments: argparse.Namespace) -> int:
    ensure()
    request = make_request(arguments, arguments.subject)
    if arguments.resume is not None:
        out = Path(arguments.resume) if arguments.resume else _newest()
    else:
        out = asked.new_out(arguments.out, request.subject.name, request.seed)
    progress = Progress()
    try:
        finished = pipeline.run(request, out, progress, resume=arguments.resume is not None, argv=sys.argv[1:])
    finally:
        progress.close()
    if arguments.json:
        print(json.dumps(as_json(finished.summary, str(finished.out))))
    else:
        console.show(finished.summary, Console(), command=reproduce_words(request))
        print(f"evidence: {finished.out}")
    return finished.exit


def make_request(arguments: argparse.Namespace, subject_words: Sequence[str]) -> Request:
    """Arguments and subject resolved, or one clear error."""
    subject = load_subject(subject_words)
    boards = asked.choose_boards(arguments.board, subject)
    models = asked.choose_models(arguments.model, subject)
    if arguments.quick:
        boards = boards[:1]
        models = models[-1:] if arguments.model is None else models[:1]
    return Request(
        subject=subject,
        subject_words=tuple(subject_words),
        boards=boards,
        models=models,
        strategies=asked.choose_strategies(arguments.strategy),
        lowering=arguments.lowering or subject.lowering,
        families=asked.choose_families(arguments.family),
        only=asked.choose_only(arguments.only),
        quick=arguments.quick,
        seed=arguments.seed,
        jobs=asked.choose_jobs(arguments.jobs),
        strict=getattr(arguments, "strict", False),
    )


def reproduce_words(request: Request) -> list[str]:
    words = [os.environ.get("RIG_COMMAND", "rig"), "run", *request.subject_words, "--seed", str(request.seed)]
    if request.lowering:
        words += ["--lowering", request.lowering]
    return words


def _newest() -> Path:
    """The newest run in `out/` that has no journal yet."""
    open_runs = [path.parent for path in Path("out").glob(f"*/{pipeline.IDENTITY}")]
    unfinished = [run for run in open_runs if not (run / pipeline.JOURNAL).exists()]
    if not unfinished:
        raise UsageError("--resume: there is no unfinished run in ./out; name its folder: --resume DIR")
    return max(unfinished, key=lambda run: (run / pipeline.IDENTITY).stat().st_mtime)
