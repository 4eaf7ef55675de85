# SPDX-License-Identifier: Apache-2.0
"""Words of others in our messages: file names and what tools said, on one screen and without tricks."""

from __future__ import annotations

import re
from pathlib import Path

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def printable(text: str | Path, limit: int = 200) -> str:
    """`text` on one line: control characters as escapes, cut at `limit` characters."""
    line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def said(output: str, lines: int = 12) -> str:
    """The part of a tool's output that says why: no colours, no stack backtrace, at most `lines` lines, indented."""
    kept: list[str] = []
    for raw in _ANSI.sub("", output).splitlines():
        line = raw.rstrip()
        if line.strip().lower() in ("stack backtrace:", "backtrace:") or re.match(r"\s+0: ", line):
            break
        if line.strip():
            kept.append("  " + printable(line, 400))
    if len(kept) > lines:
        kept = [*kept[: lines - 1], f"  … {len(kept) - lines + 1} lines more"]
    return "\n".join(kept)
