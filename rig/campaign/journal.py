# SPDX-License-Identifier: Apache-2.0
"""The journal: one JSON object per line, appended as it happens. The one truth; everything shown is a rendering of it.

Record kinds (`k`): `run`, `image`, `readback`, `result`, `refused`, `finding`, `restart`, `row`, `error`, `end`.
Fields under `wall` (times of day, durations, host facts) differ between runs of the same seed; all else is equal.
A process killed in the middle of a line leaves a cut last line: readers drop it, `--resume` overwrites it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rig.errors import UsageError

SCHEMA = 1
MAX_LINE = 1 << 20  # a record longer than this is not ours


class Journal:
    """Append-only writer. `flush` after each group, so that a kill loses at most the group in flight."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        keep = _whole_lines(path)
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(keep)
        self._file.seek(keep)
        self.path = path

    def write(self, kind: str, record: Mapping[str, Any]) -> None:
        line = json.dumps({"k": kind, **record}, separators=(",", ":"), ensure_ascii=True)
        self._file.write(line.encode("ascii") + b"\n")

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _whole_lines(path: Path) -> int:
    """Length of the file up to and including its last newline (0 when there is none)."""
    if not path.exists():
        return 0
    data_end = path.stat().st_size
    with path.open("rb") as file:
        position = data_end
        while position > 0:
            start = max(0, position - 65536)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            position = start
    return 0


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole record in order. A cut last line is dropped; any other damage is an error that names the line."""
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), start=1):
            if not line.endswith(b"\n"):
                if len(line) > MAX_LINE:
                    raise UsageError(f"{path}:{number}: a line longer than {MAX_LINE} bytes is no journal record")
                return
            try:
                record = json.loads(line)
            except ValueError as error:
                raise UsageError(
                    f"{path}:{number}: not a JSON record ({error}); the journal is damaged: run again without --resume"
                ) from None
            if not isinstance(record, dict) or not isinstance(record.get("k"), str):
                raise UsageError(f"{path}:{number}: a record needs a kind `k`; this is no rig journal")
            yield record
