# SPDX-License-Identifier: Apache-2.0
"""Bring what is missing: `ensure` before a job, `setup` on request. Progress goes to stderr."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rig.errors import InfrastructureError, ToolMissing
from rig.host import cache, tools
from rig.host.progress import say
from rig.host.tools import Entry, Tool

_RETRY_AFTER = 600.0  # seconds in which a failed installation of an optional tool is not tried again by itself
MAIN_JOB: tuple[str, ...] = (*(entry.name for entry in tools.ENTRIES if entry.required), "wasmtime", "synth")


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What a job can use: tools by name, and for the optional ones that could not be had, why."""

    tools: dict[str, Tool]
    missing: dict[str, str]


def ensure(names: Iterable[str] = MAIN_JOB, *, again: bool = False) -> Toolbox:
    """Find the tools `names`, installing into the cache what is missing and can be had.

    `again`: also try what failed a moment ago. Raises InfrastructureError naming every required tool that could not be
    had; optional ones go to `missing`, with one line on stderr each.
    """
    found: dict[str, Tool] = {}
    missing: dict[str, str] = {}
    fatal: list[str] = []
    for name in names:
        entry = tools.entry(name)
        try:
            found[name] = _provide(entry, again)
        except InfrastructureError as error:
            if entry.required:
                fatal.append(str(error))
            else:
                missing[name] = str(error)
                say(f"going on without {name}, so {entry.without}: {error}")
    if fatal:
        raise ToolMissing("\n".join(dict.fromkeys(fatal)))
    return Toolbox(found, missing)


def setup() -> int:
    """`rig setup`: everything, also what failed before. Exit code 0, or 3 (by exception) without a required tool."""
    box = ensure(again=True)
    say(f"set up: {', '.join(f'{tool.name} {tool.version}' for tool in box.tools.values())}")
    return 0


def _provide(entry: Entry, again: bool) -> Tool:
    try:
        tool = tools.find(entry.name)
        if entry.install is not None and entry.check is not None:
            entry.check(tool)  # what lies in a cache may have lost the libraries it needs
        return tool
    except InfrastructureError:
        if entry.install is None:
            raise
    failed = cache.root() / "failed" / entry.name
    if not again and not entry.required:
        _raise_recent(failed)
    try:
        entry.install()
    except InfrastructureError as error:
        _remember(failed, str(error))
        raise
    failed.unlink(missing_ok=True)
    return tools.find(entry.name)


def _raise_recent(failed: Path) -> None:
    """Do not make every start wait for the same failure."""
    try:
        age = time.time() - failed.stat().st_mtime
        words = failed.read_text(encoding="utf-8", errors="replace")[:1000]
    except OSError:
        return  # no failure on record
    if 0 <= age < _RETRY_AFTER:
        raise ToolMissing(f"{words} (tried {age / 60:.0f} min ago; `rig setup` tries again now)")


def _remember(failed: Path, words: str) -> None:
    try:
        failed.parent.mkdir(parents=True, exist_ok=True)
        failed.write_text(words, encoding="utf-8")
    except OSError as error:
        say(f"cannot note the failure: {cache.explain(error)}")
