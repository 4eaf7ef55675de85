# SPDX-License-Identifier: Apache-2.0
"""What a run is asked to do, resolved: subject, boards, models, strategies, and how much of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from rig.boards.load import load_board
from rig.boards.model import Board
from rig.build.subject import Subject
from rig.build.words import printable
from rig.errors import UsageError
from rig.faults.catalogue import Status, catalogue
from rig.image.model import Model
from rig.plan.model import Strategy

DEFAULT_BOARDS = ("mps2-an386", "virt-rv32")
_ID = re.compile(r"[A-Z]-\d\d")


@dataclass(frozen=True, slots=True)
class Request:
    subject: Subject
    subject_words: tuple[str, ...]  # as on the command line, for reproduce commands
    boards: tuple[Board, ...]
    models: tuple[Model | None, ...]  # None: a fused module, as its attestation says
    strategies: tuple[Strategy, ...]
    lowering: str | None = None
    families: frozenset[str] = frozenset()  # empty: all
    only: frozenset[str] = frozenset()  # program ids; empty: all
    quick: bool = False
    seed: int = 1
    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)
    strict: bool = False


def choose_boards(text: str | None, subject: Subject) -> tuple[Board, ...]:
    """`--board A,qemu:B`, else the subject's, else the demo boards. One for planning only may be named."""
    names = _words(text) or subject.boards or DEFAULT_BOARDS
    found = []
    for name in names:
        kind, _, plain = name.rpartition(":")
        if kind not in ("", "qemu"):
            raise UsageError(f"--board {printable(name)}: there is no target {printable(kind)!r} yet: use qemu:{plain}")
        found.append(load_board(plain))
    return tuple(dict.fromkeys(found))


def choose_models(text: str | None, subject: Subject) -> tuple[Model | None, ...]:
    known = {model.value: model for model in Model}
    chosen: tuple[Model | None, ...] = tuple(
        known[word] if word in known else _unknown("--model", word, known) for word in _words(text)
    )
    chosen = tuple(dict.fromkeys(chosen)) or subject.models or (None,)
    if Model.DOMAINS in chosen and not subject.domains:
        raise UsageError(
            f"model domains: {subject.name} names no domains; give them in a TOML file, "
            '[domains] NAME = ["component", …], every component once'
        )
    return chosen


def choose_strategies(text: str | None) -> tuple[Strategy, ...]:
    """`static` is the control row and comes first."""
    known = {strategy.value: strategy for strategy in Strategy}
    chosen = {known[word] if word in known else _unknown("--strategy", word, known) for word in _words(text)}
    wanted = chosen or {Strategy.STATIC, Strategy.SWITCH}
    return tuple(strategy for strategy in (Strategy.STATIC, Strategy.SWITCH) if strategy in wanted)


def choose_families(text: str | None) -> frozenset[str]:
    """Families that are built; one that is not would leave nothing but controls, which is no answer."""
    known = {family.id: family for family in catalogue()}
    for word in _words(text):
        if word not in known:
            _unknown("--family", word, known)
        if known[word].status is not Status.BUILT:
            raise UsageError(f"--family {word}: {known[word].name} is not built yet (`rig catalogue` lists what is)")
    return frozenset(_words(text))


def choose_only(ids: Sequence[str] | None) -> frozenset[str]:
    for program in ids or ():
        if not _ID.match(program):
            raise UsageError(f"--only {printable(program)}: a program id begins with its family, as in D-01/load32/…")
    return frozenset(ids or ())


def choose_jobs(jobs: int | None) -> int:
    if jobs is not None and not 1 <= jobs <= 64:
        raise UsageError(f"-j {jobs}: give a number from 1 to 64")
    return jobs or os.cpu_count() or 1


def new_out(out: str | None, name: str, seed: int) -> Path:
    """The folder of this run's evidence; must not hold another run's journal."""
    if out is not None:
        folder = Path(out)
        if (folder / "journal.jsonl").exists():
            raise UsageError(f"--out {printable(out)}: a journal is there already: take another folder or --resume it")
        return folder
    number = 1
    while (folder := Path("out") / f"{name}-{seed}-{number:03d}").exists():
        number += 1
    return folder


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _unknown(option: str, word: str, known: Iterable[str]) -> NoReturn:
    raise UsageError(f"{option} {printable(word)}: there are {', '.join(known)}")
