# SPDX-License-Identifier: Apache-2.0
"""The one place where a subject becomes a run: components → jobs (image × board) → campaign → journal → exit code.

Each job writes a part of the journal as it goes; the parts are joined in job order, so the number of parallel
emulators changes nothing. A killed run leaves its parts, and `resume` goes on from them.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig import __version__, answer
from rig.build.cache import digest
from rig.build.components import read_bounded
from rig.build.wit import invalid_module
from rig.build.words import printable, said
from rig.campaign.calls import Export, reference_calls
from rig.campaign.job import Job, RowDone, run_job
from rig.campaign.jobs import Done, run_jobs
from rig.campaign.journal import Journal, read
from rig.campaign.request import Request
from rig.campaign.row import NEW_PROCESS
from rig.campaign.strategy import Variation
from rig.errors import InfrastructureError, RigError, UsageError
from rig.host import tools
from rig.host.setup import MAIN_JOB
from rig.image.component import Component
from rig.report.progress import Progress
from rig.report.summary import Summary, summarise

JOURNAL, PARTS, IDENTITY = "journal.jsonl", "parts", "request.json"


@dataclass(frozen=True, slots=True)
class Finished:
    summary: Summary
    exit: int
    out: Path


def run(
    request: Request,
    out: Path,
    progress: Progress,
    *,
    resume: bool = False,
    variation: Variation | None = None,
    argv: Sequence[str] = (),
) -> Finished:
    """Carry the request out; evidence goes to `out`. Raises RigError for what concerns the whole run.

    A job that fails is recorded and the others go on; the exit code is then its error's.
    """
    began = time.time()
    components = request.subject.read_components()
    _check_module(request)
    identity = _identity(request, components)
    _claim(out, identity, resume)
    progress.note(0, f"{request.subject.name}: {len(components)} components, evidence in {out}")
    calls = _calls(request, components)
    jobs = _jobs(request, components, calls, out, variation)
    progress.expect(len(jobs))
    done: dict[int, Done] = {}
    for item in run_jobs(jobs, run_job, request.jobs):
        if isinstance(item, Done):
            done[item.job] = item
            if item.error is not None:
                progress.note(item.job, f"{jobs[item.job].name}: {item.error}")
        elif item.name == "note":
            progress.note(item.job, item.facts["text"])
        else:
            progress.advance(item.job, item.facts["row"], item.facts["done"], item.facts["total"], item.facts["legs"])
    progress.close()
    errors = [(jobs[number].name, item.error) for number, item in sorted(done.items()) if item.error is not None]
    rows = [row for _, item in sorted(done.items()) if item.result is not None for row in item.result]
    errors += [(name, error) for name, error in _unmet(rows, request) if not errors]
    code = _exit(rows, [error for _, error in errors], request)
    return _finish(request, out, jobs, errors, code, began, argv, identity)


def _check_module(request: Request) -> None:
    """meld can leave an invalid module and say nothing. Here, not in the jobs: wasmtime's threads survive no fork."""
    path = request.subject.fused
    if path is not None and (why := invalid_module(read_bounded(path))):
        where, words = printable(path), said(why)
        raise UsageError(f"{where} is not a valid module: fuse it with --validate. wasmtime says:\n{words}")


def _jobs(
    request: Request,
    components: tuple[Component, ...],
    calls: tuple[Export, ...] | None,
    out: Path,
    variation: Variation | None,
) -> list[Job]:
    """Boards alternate, so that parallel jobs do not all wait for the same build. One sampling job per board."""
    jobs = []
    for model in request.models:
        for board in request.boards:
            name = f"{board.name}-{model.value if model else 'fused'}"
            sample = model == request.models[-1]
            jobs.append(Job(request, components, calls, board, model, out / PARTS / f"{name}.jsonl", sample, variation))
    return jobs


def _calls(request: Request, components: tuple[Component, ...]) -> tuple[Export, ...] | None:
    """What the un-fused components do, computed once for all jobs; None without components or wasmtime."""
    if not components or (request.families and "C-03" not in request.families):
        return None
    subject = request.subject
    return reference_calls(components, dict(subject.imports), subject.calls, request.seed, 10 if request.quick else 100)


def _unmet(rows: Iterable[RowDone], request: Request) -> Iterator[tuple[str, RigError]]:
    """Programs that were asked for and exist nowhere: controls alone would look green."""
    seen = {entry.id for row in rows for entry in row.entries}
    for program in sorted(request.only):
        if program not in seen and program.removesuffix(NEW_PROCESS) not in seen:
            boards = ", ".join(board.name for board in request.boards)
            yield "--only", UsageError(f"--only {printable(program)}: no such program in this subject on {boards}")


def _exit(rows: Iterable[RowDone], errors: Sequence[RigError], request: Request) -> int:
    if errors:
        # A job without rows is not green, whatever it says of itself.
        return max(error.exit_code or InfrastructureError.exit_code for error in errors)
    chosen = [answer.Row(row.entries, row.control) for row in rows]
    if request.families or request.only or request.quick:
        return answer.exit_code(chosen, strict=request.strict, complete=False)
    return answer.exit_code(chosen, strict=request.strict)


def _finish(
    request: Request,
    out: Path,
    jobs: Sequence[Job],
    errors: Sequence[tuple[str, RigError]],
    code: int,
    began: float,
    argv: Sequence[str],
    identity: str,
) -> Finished:
    """Join the parts in job order. The joined journal appears whole or not at all."""
    fresh = out / (JOURNAL + ".new")
    fresh.unlink(missing_ok=True)
    with Journal(fresh) as journal:
        journal.write("run", _run_record(request, identity, argv, began, out))
        answered: set[str] = set()
        for job in jobs:
            if job.part.exists():
                for line in read(job.part):
                    kind = line.pop("k")
                    answered.update({line["row"]} if kind == "row" else ())
                    journal.write(kind, line)
        for name, error in errors:
            journal.write("error", {"job": name, "message": str(error), "kind": type(error).__name__})
        failed = {job.name: job for job in jobs}
        for job, error in ((failed[name], error) for name, error in errors if name in failed):
            for row, control in job.rows:
                if row not in answered:
                    journal.write("row", _no_answer(row, control, error))
        journal.write("end", {"exit": code, "wall": {"seconds": round(time.time() - began, 3)}})
    fresh.replace(out / JOURNAL)
    shutil.rmtree(out / PARTS, ignore_errors=True)
    return Finished(summarise(read(out / JOURNAL)), code, out)


def _no_answer(row: str, control: bool, error: RigError) -> dict[str, Any]:
    """The row of a job that came to no end: what was asked for is never left out of the answers."""
    words = printable(" ".join(str(error).split()), 400)
    return {
        "row": row, "lowering": "", "control": control, "answer": f"refused: {words}",
        "legs": 0, "why_not": [], "plan": "", "time": None, "wall": {"seconds": 0.0},
    }  # fmt: skip


def _run_record(request: Request, identity: str, argv: Sequence[str], began: float, out: Path) -> dict[str, Any]:
    return {
        "schema": 1,
        "rig": __version__,
        "subject": request.subject.name,
        "seed": request.seed,
        "identity": identity,
        "boards": [board.name for board in request.boards],
        "models": [model.value if model else "fused" for model in request.models],
        "strategies": [strategy.value for strategy in request.strategies],
        "tools": _tools(),
        "wall": {
            "run": out.name,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
            "host": platform.platform(),
            "argv": list(argv),
        },
    }


def _tools() -> dict[str, Any]:
    found = {}
    for name in MAIN_JOB:
        try:
            tool = tools.find(name)
        except InfrastructureError as error:
            found[name] = {"missing": str(error)}
        else:
            found[name] = {"version": tool.version, "origin": tool.origin, "sha256": tool.sha256}
    return found


def _identity(request: Request, components: Sequence[Component]) -> str:
    """What a resumed run must have in common with the killed one."""
    subject = request.subject
    given = [path.read_bytes() for path in (subject.fused, subject.object) if path is not None]
    return digest(
        __version__,
        *(part for component in components for part in (component.name, component.sha256)),
        *given,
        repr([board.name for board in request.boards]),
        repr([model.value if model else None for model in request.models]),
        repr([strategy.value for strategy in request.strategies]),
        repr((request.lowering, subject.stack)),
        repr((sorted(request.families), sorted(request.only), request.quick, request.seed)),
    )


def _claim(out: Path, identity: str, resume: bool) -> None:
    """Make the folder this run's, or see that it is the killed run's that is resumed."""
    note = out / IDENTITY
    if resume:
        if not note.exists():
            raise UsageError(f"--resume {out}: no run was begun there")
        if (out / JOURNAL).exists():
            raise UsageError(f"--resume {out}: that run came to its end; its journal is complete")
        if json.loads(note.read_text())["identity"] != identity:
            raise UsageError(f"--resume {out}: subject or options are not those of that run: start a new one")
        return
    if note.exists():
        raise UsageError(f"{out} holds a run that was not finished: --resume {out} goes on, another --out starts anew")
    try:
        (out / PARTS).mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"identity": identity}) + "\n")
    except OSError as error:
        raise InfrastructureError(f"cannot write evidence to {out}: {error.strerror or error}") from error
