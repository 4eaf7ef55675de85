# SPDX-License-Identifier: Apache-2.0
"""A running image with its plan loaded: an emulator, the agent in it, and a way to start both anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rig.boards.model import Board, Protection
from rig.errors import InfrastructureError
from rig.host.tool import Tool
from rig.inject.carriers import RingCarrier
from rig.inject.model import Hello, Observation, Program, ReadBack
from rig.inject.session import Session
from rig.targets.protocol import Timebase
from rig.targets.qemu import QemuTarget


class QemuBench:
    """One QEMU process at a time. `setup` loads the plan into a fresh session."""

    def __init__(self, board: Board, elf: Path, build_id: bytes, mailbox: int, qemu: Tool, nonce: int) -> None:
        self._target = QemuTarget(board, qemu)
        self._target.load(elf)
        self._board = board
        self._build_id = build_id
        self._mailbox = mailbox
        self._nonce = nonce
        self._session: Session | None = None
        self._setup: Callable[[Session], None] | None = None
        self.seconds = 0.0
        self.hello: Hello | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._session = None
        self._target.close()

    def start(self) -> None:
        """A new process; the agent must be the one that was linked, on the protection unit the board file describes."""
        self._target.reset()
        session = Session(RingCarrier(self._target, self._mailbox))
        hello = session.hello(self._nonce)
        if hello.build_id != self._build_id:
            raise InfrastructureError(f"{self._board.name}: the agent says build {hello.build_id.hex()}, not ours")
        grain = self._board.region_min if self._board.protection is Protection.PMSAV7 else self._board.grain
        if hello.regions != self._board.regions or hello.grain != grain:
            raise InfrastructureError(
                f"{self._board.name}: probed {hello.regions} regions, grain {hello.grain}; the board file says "
                f"{self._board.regions} and {grain}: one of them is wrong"
            )
        self.hello = hello
        self._session = session

    def load(self, setup: Callable[[Session], None]) -> None:
        """Load a plan, now and after every restart."""
        self._setup = setup
        setup(self._live())

    def restart(self) -> None:
        self.start()
        if self._setup is not None:
            self._setup(self._live())

    def run(self, programs: Sequence[Program]) -> list[Observation]:
        began = time.monotonic()
        try:
            return self._live().run(programs)
        finally:
            self.seconds += time.monotonic() - began

    def take_read_backs(self) -> list[ReadBack]:
        """What the programs since the last call read back."""
        session = self._live()
        found = list(session.read_backs)
        session.read_backs.clear()
        return found

    @property
    def timebase(self) -> Timebase:
        """What ticks count: instructions on an emulator."""
        return self._target.time

    def read(self, address: int, length: int) -> bytes:
        return self._target.read(address, length)

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the running emulator."""
        return self._target.cpu_seconds

    def _live(self) -> Session:
        if self._session is None:
            raise InfrastructureError("the emulator was not started")
        return self._session
