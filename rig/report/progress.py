# SPDX-License-Identifier: Apache-2.0
"""What a person sees while work goes on: on standard error, a live line on a terminal, sparse plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from rig.report.console import safe


class Progress:
    """Counts programs over all jobs and shows rate and ETA. Never writes to standard output."""

    def __init__(self, stream: Any = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._tty = bool(getattr(self._stream, "isatty", lambda: False)())
        self._started = time.monotonic()
        self._last = 0.0
        self._jobs = 1
        self._done: dict[tuple[int, str], tuple[int, int]] = {}
        self._legs = 0
        self._line = False

    def expect(self, jobs: int) -> None:
        """How many jobs there are; the estimate counts those not begun like the average."""
        self._jobs = max(1, jobs)

    def note(self, job: int, text: str) -> None:
        """A job says what it is doing now (building, starting an emulator, …)."""
        first = text.splitlines()[0] if text else ""
        self._say(f"[{self._clock()}] {safe(first)}", final=True)

    def advance(self, job: int, row: str, done: int, total: int, legs: int) -> None:
        """A row finished `done` of `total` programs in all, and `legs` legs since it last said so."""
        self._done[job, row] = (done, total)
        self._legs += legs
        now = time.monotonic()
        if now - self._last < (0.2 if self._tty else 5.0):
            return
        self._last = now
        spent = now - self._started
        finished, known = (sum(values) for values in zip(*self._done.values(), strict=True))
        eta = ""
        if finished and known > finished:
            guess = known * self._jobs / len({job for job, _ in self._done})
            eta = f", about {max(1, round(spent * (guess - finished) / finished))} s left"
        self._say(
            f"[{self._clock()}] {finished}/{known} programs, {self._legs / max(spent, 1e-3):.0f} legs/s{eta}",
            final=not self._tty,
        )

    def close(self) -> None:
        if self._line:
            self._stream.write("\n")
            self._line = False

    def _clock(self) -> str:
        return f"{time.monotonic() - self._started:6.1f} s"

    def _say(self, text: str, *, final: bool) -> None:
        if self._tty:
            self._stream.write("\r\x1b[K" + text + ("\n" if final else ""))
            self._line = not final
        else:
            self._stream.write(text + "\n")
        self._stream.flush()
