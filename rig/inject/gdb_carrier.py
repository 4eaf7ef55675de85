# SPDX-License-Identifier: Apache-2.0
"""The ring in the mailbox once more, but every byte goes through a debugger, and the core stands while nobody waits.

This is the slow way that `rig speed` compares with: one exchange with the debugger for each frame to the agent. The
core is let go for a moment and halted again. A breakpoint where the agent waits would cost more: QEMU runs the whole
page that holds one instruction by instruction (measured: a third of the exchanges per second).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

from rig.errors import InfrastructureError
from rig.inject.carriers import MAGIC, RING_IN, RING_OUT
from rig.targets.rsp import Rsp, RspRefused

# offsets in the mailbox (docs/internals.md, "Mailbox")
_IN_HEAD, _IN_TAIL, _OUT_TAIL, _IN, _OUT = 16, 20, 28, 0x100, 0x8000
_AGENTS = struct.Struct("<2I")  # counters that the agent moves, side by side: tail of the ring in, head of the ring out
_MOMENT, _LONG_MOMENT = 100e-6, 5e-3  # seconds: one leg takes about 0.1 ms
_WORD = 1 << 32


class GdbCarrier:
    """`rig.inject.carriers.Carrier` over a gdbstub."""

    capacity = RING_IN

    def __init__(self, rsp: Rsp, mailbox: int, check: Callable[[], None]) -> None:
        """`rsp`: attached, the core halted; `mailbox`: native address of `rig_mailbox`; `check`: raises when the board
        is gone."""
        self.check = check
        self._rsp, self._mailbox = rsp, mailbox
        self._in_at = self._in_head = self._in_tail = 0
        self._out_at = self._out_head = self._out_tail = 0
        self._in_told = self._out_told = 0  # the counters as the agent knows them

    def open(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not (self._look() and self._rsp.read(self._mailbox, 4) == MAGIC.to_bytes(4, "little")):
            self.check()
            if time.monotonic() > deadline:
                raise InfrastructureError(f"the agent did not come up in {timeout:g} s: its mailbox holds no magic")
            self._run(_LONG_MOMENT)

    def send(self, data: bytes, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while data:
            room = RING_IN - (self._in_head - self._in_tail) % _WORD
            part = data[: min(room, RING_IN - self._in_at)]
            if not part or not self._write(_IN + self._in_at, part):
                self.check()
                if time.monotonic() > deadline:
                    raise InfrastructureError(f"the agent took no bytes from the ring for {timeout:g} s")
                self._tell()
                self._run(_MOMENT)
                self._look()
                continue
            self._in_at = (self._in_at + len(part)) % RING_IN
            self._in_head = (self._in_head + len(part)) % _WORD
            data = data[len(part) :]

    def receive(self, timeout: float) -> bytes:
        """Lets the core run for moments, each longer than the last, until there are bytes."""
        deadline = time.monotonic() + timeout
        moment = _MOMENT
        while True:
            self._tell()
            self._run(moment)
            if self._look() and (count := (self._out_head - self._out_tail) % _WORD):
                return self._take(count)
            if time.monotonic() > deadline:
                return b""
            moment = min(2 * moment, _LONG_MOMENT)

    def wake(self) -> None:
        """Nothing to do: the core stands between two exchanges."""

    def rest(self) -> None:
        """Nothing to do."""

    def running(self) -> int | None:
        return None

    def panic(self) -> tuple[int, int] | None:
        return None

    def _run(self, seconds: float) -> None:
        self._rsp.resume()
        time.sleep(seconds)
        self._rsp.halt()

    # The stub sees memory with the core's present rights: not the mailbox, while an owner runs.

    def _look(self) -> bool:
        """Bring in how far the agent is; False: not to be seen now."""
        try:
            words = self._rsp.read(self._mailbox + _IN_TAIL, _AGENTS.size)
        except RspRefused:
            return False
        self._in_tail, self._out_head = _AGENTS.unpack(words)
        return True

    def _tell(self) -> None:
        """What was written, and (seldom: it costs a packet) what was read."""
        if self._in_told != self._in_head and self._write(_IN_HEAD, self._in_head.to_bytes(4, "little")):
            self._in_told = self._in_head
        unknown = (self._out_tail - self._out_told) % _WORD
        if unknown > RING_OUT // 2 and self._write(_OUT_TAIL, self._out_tail.to_bytes(4, "little")):
            self._out_told = self._out_tail

    def _write(self, offset: int, data: bytes) -> bool:
        try:
            self._rsp.write(self._mailbox + offset, data)
        except RspRefused:
            return False
        return True

    def _take(self, count: int) -> bytes:
        if count > RING_OUT:
            raise InfrastructureError(
                f"the agent's ring claims {count} bytes, {RING_OUT} fit: the mailbox was overwritten"
            )
        first = min(count, RING_OUT - self._out_at)
        data = self._rsp.read(self._mailbox + _OUT + self._out_at, first)
        data += self._rsp.read(self._mailbox + _OUT, count - first)
        self._out_at = (self._out_at + count) % RING_OUT
        self._out_tail = (self._out_tail + count) % _WORD
        return data
