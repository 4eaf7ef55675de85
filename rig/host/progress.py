# SPDX-License-Identifier: Apache-2.0
"""Progress of set-up, always on stderr: stdout belongs to results. Standard library only."""

from __future__ import annotations

import sys
import time

_EVERY = 10.0  # seconds between lines where stderr is no terminal
_WIDTH = 110


def say(text: str) -> None:
    """One line to the user."""
    print(f"rig: {text}", file=sys.stderr, flush=True)


class Ticker:
    """What a long step is doing right now: a line that rewrites itself, or one line every 10 s in a log."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._start = self._last = time.monotonic()
        self._detail = "starting"
        self._live = sys.stderr.isatty()
        say(title)

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._start

    def update(self, detail: str) -> None:
        """Show `detail`, or what was shown last if it is ""; at most a few times a second on a terminal."""
        self._detail = detail or self._detail
        now = time.monotonic()
        if now - self._last < (0.2 if self._live else _EVERY):
            return
        self._last = now
        line = "".join(c for c in f"rig:   {self.elapsed:.0f} s: {self._detail}" if c.isprintable())[:_WIDTH]
        print(f"\r{line}\x1b[K" if self._live else line, end="" if self._live else "\n", file=sys.stderr, flush=True)

    def done(self, text: str) -> None:
        """End the step with a last line."""
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr)
        say(f"{text} ({self.elapsed:.0f} s)")
