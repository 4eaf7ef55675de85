# SPDX-License-Identifier: Apache-2.0
"""Group X: jumps into data, into others' code, into the agent, into devices."""

from __future__ import annotations

from collections.abc import Iterator

from rig.faults.legs import execute
from rig.faults.setting import Case, Setting
from rig.image.model import Owner

_FETCHES = "execute-never without the MPU too, and a device holds no return instruction"


def x01(s: Setting, a: Owner) -> Iterator[Case]:
    data = s.data(a)
    if data is None:
        yield s.refuse("X-01", "own", "N/A(no linear memory)", a)
    else:
        yield execute(s, "X-01", a, s.main_target(a), None, "itself")


def x02(s: Setting, a: Owner) -> Iterator[Case]:
    """Own native stack, and the globals copy or instance on top of it."""
    for what, address in s.targets(a):
        if what != "data":
            yield execute(s, "X-02", a, address, None, "itself", tag=what)


def x03(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    """Nobody's data is executable for anybody, granted to read or not."""
    for what, address in s.targets(v):
        yield execute(s, "X-03", a, address, v, tag="" if what == "data" else what)


def x04(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    yield s.refuse("X-04", "pair", "N/A(shared .text)", a, v)


def x05(s: Setting, a: Owner) -> Iterator[Case]:
    """The middle of the agent's text: a block of its own there, with a return instruction planted."""
    block = s.symbols["rig_sacrifice_text"]
    planted = s.in_ram(block)
    yield execute(s, "X-05", a, block, None, "agent", plant=planted,
                  no_disarmed="" if planted else "read-only memory: no return instruction can be planted")


def x06(s: Setting, a: Owner) -> Iterator[Case]:
    """A device; on Arm the system control space too. A RISC-V timer block begins with zeroes: no instruction."""
    banks = sorted(s.board.peripherals, key=lambda b: b.start != s.board.clint)
    if not banks:
        yield s.refuse("X-06", "device", "N/A(no peripheral in the memory map)", a)
    for bank in banks[:1]:
        yield execute(s, "X-06", a, bank.start, None, bank.name, plant=False, no_disarmed=_FETCHES)
    if s.arm:
        yield execute(s, "X-06", a, 0xE000_E000, None, "ppb", plant=False, no_disarmed=_FETCHES)
