# SPDX-License-Identifier: Apache-2.0
"""The agent on the other boards: no FPU, 16 regions, another core."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bringup import A, Rig

from rig.inject.model import Disarm, Flag, Outcome

pytestmark = pytest.mark.emulator


@pytest.mark.parametrize("name", ["mps2-an385", "mps2-an386-16r", "mps2-an500"])
def test_the_essentials(name: str, live: Callable[[str], Rig]) -> None:
    rig = live(name)
    hello = rig.session.hello(1)
    fpu = rig.board.fpu is not None
    assert (hello.regions, hello.features) == (rig.board.regions, int(fpu))
    own, other = (mem + 0x100 for mem in rig.where.mem)
    for op, arguments in (("load32", ()), ("store32", (5,)), ("ldm", ()), ("stm", (1, 2, 3))):
        assert rig.attack(op, own, *arguments).outcome is Outcome.RETURNED, op
        assert rig.attack(op, other, *arguments, disarm=Disarm.MAP).outcome is Outcome.RETURNED, op
        armed = rig.attack(op, other, *arguments, flags=Flag.READBACK)
        assert armed.outcome is Outcome.TRAPPED
        assert armed.fault[:5] == (0x82, 0, other, 0, rig.pc(op))
        assert armed.fault[6] == (0xFFFF_FFED if fpu else 0xFFFF_FFFD)
    assert len(rig.session.read_backs[0].words) == 2 + 2 * rig.board.regions
    assert rig.call("a_down", 9).outcome is Outcome.RETURNED
    assert rig.call("a_ten", *range(10)).regs[0] == sum((i + 1) * i for i in range(10)) + 1
    assert rig.attack("recurse", 0x4000, 1).fault[4] == 0xFFFF_FFFF
    floats = rig.attack("vload32", own)
    if fpu:
        assert (floats.outcome, floats.regs[0]) == (Outcome.RETURNED, rig.word(own))
    else:
        assert (floats.outcome, floats.fault[0], floats.context) == (Outcome.TRAPPED, 0x0008_0000, A)  # NOCP
