# SPDX-License-Identifier: Apache-2.0
"""Byte streams to an agent: the ring in memory that the host maps, and the UART."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from rig.errors import InfrastructureError
from rig.targets.protocol import Console, SharedTarget

NOTHING_RUNS = 0xFFFF_FFFF

MAGIC = 0x4D47_4952
RING_IN, RING_OUT = 0x7F00, 0x8000  # bytes
MAILBOX_SIZE = 0x10000
_IN, _OUT = 0x100, 0x8000
# word numbers in the mailbox
_MAGIC, _RUNNING, _BOOTS = 0, 2, 3
_IN_HEAD, _IN_TAIL, _OUT_HEAD, _OUT_TAIL = 4, 5, 6, 7
_STATE, _PANIC_CODE, _PANIC_DETAIL = 8, 9, 10
_PANIC = 3

_SPINS = 20  # looks at the ring before sleeping
_NAP, _LONG_NAP = 50e-6, 1e-3  # seconds


class Carrier(Protocol):
    """What a session needs of a byte stream."""

    capacity: int  # bytes that may be in flight to the agent

    def open(self, timeout: float) -> None:
        """Wait until the agent can listen. Raises InfrastructureError."""

    def send(self, data: bytes, timeout: float) -> None: ...

    def receive(self, timeout: float) -> bytes:
        """At least one byte, or b"" when none came in `timeout` seconds."""

    def check(self) -> None:
        """Raises InfrastructureError when the board is gone."""

    def wake(self) -> None:
        """The agent is about to be asked."""

    def rest(self) -> None:
        """Nobody waits for the agent until `wake`."""

    def running(self) -> int | None:
        """Index of the program that runs, None when none does or nobody can tell."""

    def panic(self) -> tuple[int, int] | None:
        """(code, detail) when the agent has given up."""


class RingCarrier:
    """The ring in the mailbox. The guest runs on while we look: every counter is one aligned 32-bit access."""

    capacity = RING_IN

    def __init__(self, target: SharedTarget, address: int) -> None:
        """`address`: native address of `rig_mailbox`. An idle agent looks at its ring all the time: while it rests, the
        target is halted."""
        at = address - target.shared_start
        if at < 0 or at % 4 or at + MAILBOX_SIZE > len(target.shared):
            raise InfrastructureError(f"rig_mailbox at {address:#x} does not lie in the RAM that the host maps")
        mailbox = target.shared[at : at + MAILBOX_SIZE]
        self.check, self.wake, self.rest = target.check, target.run, target.halt
        self._words = mailbox[:_IN].view("<u4")
        self._in = mailbox[_IN : _IN + RING_IN]
        self._out = mailbox[_OUT : _OUT + RING_OUT]
        self._in_at = self._out_at = 0
        self._in_count = self._out_count = 0

    def open(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while int(self._words[_MAGIC]) != MAGIC:
            self.check()
            if self.panic() is not None:
                return  # whoever uses the carrier sees it
            if time.monotonic() > deadline:
                raise InfrastructureError(f"the agent did not come up in {timeout:g} s: its mailbox holds no magic")
            time.sleep(_LONG_NAP)

    def send(self, data: bytes, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        waiting = np.frombuffer(data, dtype=np.uint8)
        while len(waiting):
            room = RING_IN - (self._in_count - int(self._words[_IN_TAIL])) % (1 << 32)
            part = waiting[: min(room, RING_IN - self._in_at)]
            if len(part) == 0:
                self.check()
                if time.monotonic() > deadline:
                    raise InfrastructureError(f"the agent took no bytes from the ring for {timeout:g} s")
                time.sleep(_NAP)
                continue
            self._in[self._in_at : self._in_at + len(part)] = part
            self._in_at = (self._in_at + len(part)) % RING_IN
            self._in_count = (self._in_count + len(part)) % (1 << 32)
            self._words[_IN_HEAD] = self._in_count  # after the bytes: the agent may read them now
            waiting = waiting[len(part) :]

    def receive(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        spins, nap = 0, _NAP
        while not (count := (int(self._words[_OUT_HEAD]) - self._out_count) % (1 << 32)):
            spins += 1
            if spins < _SPINS:
                continue
            if time.monotonic() > deadline:
                return b""
            time.sleep(nap)
            nap = min(2 * nap, _LONG_NAP)  # a frame of results takes milliseconds: many short naps cost too much
        if count > RING_OUT:
            raise InfrastructureError(f"the agent's ring claims {count} bytes, {RING_OUT} fit: it was overwritten")
        first = self._out[self._out_at : self._out_at + count].tobytes()
        data = first + self._out[: count - len(first)].tobytes()
        self._out_at = (self._out_at + count) % RING_OUT
        self._out_count = (self._out_count + count) % (1 << 32)
        self._words[_OUT_TAIL] = self._out_count  # after the copy: the agent may write there again
        return data

    def running(self) -> int | None:
        index = int(self._words[_RUNNING])
        return None if index == NOTHING_RUNS else index

    def panic(self) -> tuple[int, int] | None:
        if int(self._words[_STATE]) != _PANIC:
            return None
        return int(self._words[_PANIC_CODE]), int(self._words[_PANIC_DETAIL])


class StreamCarrier:
    """A UART. It cannot tell what runs, and a frame that is lost is lost."""

    capacity = 1 << 14

    def __init__(self, console: Console, check: Callable[[], None]) -> None:
        self._console = console
        self.check = check

    def open(self, timeout: float) -> None:
        """Nothing to wait for: bytes sent too early are lost, and HELLO is sent again."""

    def send(self, data: bytes, timeout: float) -> None:
        self._console.send(data, timeout)

    def receive(self, timeout: float) -> bytes:
        return self._console.receive(timeout)

    def wake(self) -> None: ...

    def rest(self) -> None: ...

    def running(self) -> int | None:
        return None

    def panic(self) -> tuple[int, int] | None:
        return None
