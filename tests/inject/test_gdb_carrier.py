# SPDX-License-Identifier: Apache-2.0
"""The ring through a debugger, with a pretended agent: bytes arrive whole and in order, whatever the stub may see."""

from __future__ import annotations

import struct
import time

import pytest

from rig.errors import InfrastructureError
from rig.inject.carriers import MAGIC, RING_IN, RING_OUT
from rig.inject.gdb_carrier import GdbCarrier
from rig.targets.rsp import Rsp, RspRefused

MAILBOX = 0x2100_0000
IN, OUT = 0x100, 0x8000


class Echo(Rsp):
    """A stub before an agent that sends back what it gets, some bytes each time it may run."""

    def __init__(self, *, at_once: int = 3000, hidden: int = 0) -> None:
        """`hidden`: so many of four looks find the core in an owner's code, which may not see the mailbox."""
        self.ram = bytearray(0x10000)
        self.ram[0:4] = MAGIC.to_bytes(4, "little")
        self.at_once, self.hidden, self.runs, self.looks = at_once, hidden, 0, 0
        self.in_at = self.out_at = 0

    def word(self, offset: int, value: int | None = None) -> int:
        if value is not None:
            struct.pack_into("<I", self.ram, offset, value % (1 << 32))
        return int(struct.unpack_from("<I", self.ram, offset)[0])

    def _may(self) -> None:
        self.looks += 1
        if self.looks % 4 < self.hidden:
            raise RspRefused("E14")

    def read(self, address: int, size: int) -> bytes:
        if size == 8:  # the counters; what follows at the same halt can be seen, too
            self._may()
        return bytes(self.ram[address - MAILBOX : address - MAILBOX + size])

    def write(self, address: int, data: bytes) -> None:
        self._may()
        self.ram[address - MAILBOX : address - MAILBOX + len(data)] = data

    def resume(self) -> None:
        self.runs += 1

    def halt(self) -> int:
        for _ in range(self.at_once):
            full = (self.word(24) - self.word(28)) % (1 << 32) >= RING_OUT
            if self.word(16) == self.word(20) or full:
                break
            self.ram[OUT + self.out_at] = self.ram[IN + self.in_at]
            self.in_at, self.out_at = (self.in_at + 1) % RING_IN, (self.out_at + 1) % RING_OUT
            self.word(20, self.word(20) + 1)
            self.word(24, self.word(24) + 1)
        return 2


def carrier(echo: Echo) -> GdbCarrier:
    made = GdbCarrier(echo, MAILBOX, lambda: None)
    made.open(0.1)
    return made


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_what_is_sent_comes_back_around_both_rings(hidden: int) -> None:
    echo = Echo(hidden=hidden)
    ring = carrier(echo)
    back = b""
    sent = b""
    for i in range(60):
        piece = bytes((i * 31 + k) & 0xFF for k in range(2000 + i))
        sent += piece
        ring.send(piece, 1.0)
        while len(back) < len(sent):
            got = ring.receive(0.5)
            assert got, f"{len(back)} of {len(sent)} bytes came back"
            back += got
    assert len(sent) > 3 * RING_OUT
    assert back == sent


def test_more_than_the_ring_holds_is_sent_while_the_agent_takes_it() -> None:
    echo = Echo(at_once=500)
    ring = carrier(echo)
    data = bytes(i & 0xFF for i in range(RING_IN + 5000))
    ring.send(data, 5.0)
    back = b""
    while got := ring.receive(0.05):
        back += got
    assert back == data


def test_an_agent_that_takes_nothing_is_an_error() -> None:
    ring = carrier(Echo(at_once=0))
    with pytest.raises(InfrastructureError, match="took no bytes"):
        ring.send(bytes(RING_IN + 1), 0.05)


def test_nothing_to_receive_takes_as_long_as_it_may() -> None:
    echo = Echo()
    ring = carrier(echo)
    began = time.monotonic()
    assert ring.receive(0.05) == b""
    assert time.monotonic() - began >= 0.05
    assert echo.runs >= 2


def test_an_agent_that_never_comes_up_is_an_error() -> None:
    echo = Echo()
    echo.word(0, 0)
    with pytest.raises(InfrastructureError, match="holds no magic"):
        carrier(echo)


def test_counters_that_make_no_sense_are_an_error() -> None:
    echo = Echo(at_once=0)
    ring = carrier(echo)
    echo.word(24, RING_OUT + 1)
    with pytest.raises(InfrastructureError, match="overwritten"):
        ring.receive(0.05)


def test_a_board_that_is_gone_is_said() -> None:
    def gone() -> None:
        raise InfrastructureError("gone")

    echo = Echo(at_once=0)
    echo.word(0, 0)
    with pytest.raises(InfrastructureError, match="gone"):
        GdbCarrier(echo, MAILBOX, gone).open(1.0)
