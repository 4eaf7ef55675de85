# SPDX-License-Identifier: Apache-2.0
"""What every way to reach a board can do. Small on purpose: the agent in the board does the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rig.errors import InfrastructureError


class TargetDied(InfrastructureError):
    """The platform ended by itself. `lockup`: it says that the core locked up, which is a fact about the image.

    `program`: index of the program that was running, set by the session if known.
    """

    def __init__(self, message: str, *, returncode: int, lockup: bool = False, last_words: str = "") -> None:
        super().__init__(message)
        self.returncode = returncode
        self.lockup = lockup
        self.last_words = last_words
        self.program: int | None = None


@dataclass(frozen=True, slots=True)
class Timebase:
    """What `Observation.ticks` counts: `per_tick` of `unit` each. Emulators count instructions, silicon cycles."""

    unit: str  # "instructions" | "cycles"
    per_tick: int


class Console(Protocol):
    """The board's UART as a byte stream."""

    def send(self, data: bytes, timeout: float) -> None:
        """Write everything. Raises InfrastructureError when the board does not take it in `timeout` seconds."""

    def receive(self, timeout: float) -> bytes:
        """Bytes that arrived since the last call, at least one; b"" when none came in `timeout` seconds."""

    @property
    def log(self) -> bytes:
        """The first and the last bytes the board ever sent, cut in the middle to a bounded size."""


class Target(Protocol):
    """One live board. All methods raise InfrastructureError (TargetDied when the platform is gone)."""

    def load(self, elf: Path) -> None:
        """Choose the image; takes effect at `reset`."""

    def reset(self) -> None:
        """Start the image from the state after power-on."""

    def run(self) -> None:
        """Go on after `halt`."""

    def halt(self) -> None:
        """Stop the core where it is."""

    def read(self, address: int, size: int) -> bytes:
        """Memory as the bus sees it, past the agent and its protection."""

    def write(self, address: int, data: bytes) -> None: ...

    def check(self) -> None:
        """Raises TargetDied when the platform has ended."""

    def close(self) -> None:
        """Leave nothing behind; safe to call again."""

    @property
    def console(self) -> Console: ...

    @property
    def time(self) -> Timebase: ...


class SharedTarget(Target, Protocol):
    """A target whose RAM this process maps: reads and writes need no stop and no agent."""

    @property
    def shared(self) -> npt.NDArray[np.uint8]:
        """The RAM as it is right now."""

    @property
    def shared_start(self) -> int:
        """Native address of its first byte."""
