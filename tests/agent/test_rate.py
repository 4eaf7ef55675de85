# SPDX-License-Identifier: Apache-2.0
"""Legs per second of the emulator's processor time, with all reporting: watched window, focus, restore, checksum."""

from __future__ import annotations

import pytest
from bringup import A, B, Rig

from rig.inject.model import Disarm, Flag, Leg, Program, Step, Verb

pytestmark = pytest.mark.emulator

ENOUGH = 500  # per second of processor time; 14 000 and more were measured, a noisy machine must not fail it


def three_legs(rig: Rig, count: int) -> list[Program]:
    own, other = (mem + 0x100 for mem in rig.where.mem)
    legs = (
        (Leg.LEGAL, Disarm.NOTHING, own),
        (Leg.DISARMED, Disarm.MAP, other),
        (Leg.ARMED, Disarm.NOTHING, other),
    )
    return [
        Program(3 * i + k, Verb.RUN, leg, (Step(A, rig.stub("load32"), (at,)),), disarm, Flag.RESTORE, at, 64, at)
        for i in range(count)
        for k, (leg, disarm, at) in enumerate(legs)
    ]


def with_readers(rig: Rig, count: int) -> list[Program]:
    """An armed attack, then the victim re-reads 256 bytes in its own context."""
    other = rig.where.mem[B] + 0x100
    attack = Step(A, rig.stub("store32"), (other, 5))
    reader = Step(B, rig.stub("sum"), (other, 64))
    return [
        Program(i, Verb.RUN, Leg.ARMED, (reader if i % 2 else attack,), flags=Flag.RESTORE, watch=other, watch_len=64)
        for i in range(2 * count)
    ]


@pytest.mark.parametrize("make", [three_legs, with_readers])
def test_legs_per_second(rig: Rig, make: object) -> None:
    assert callable(make)
    rig.session.run(make(rig, 200))  # translated by now
    before = rig.target.cpu_seconds
    programs = make(rig, 2000)
    rig.session.run(programs)
    assert len(programs) / (rig.target.cpu_seconds - before) > ENOUGH


def test_a_sweep_is_faster_still(rig: Rig) -> None:
    step = Step(A, rig.stub("load8u"), (0,))
    before = rig.target.cpu_seconds
    seen = rig.do(Program(1, Verb.SWEEP, Leg.ARMED, (step,), first=rig.where.mem[B], count=16384))
    assert seen.detail == 16384
    assert 16384 / (rig.target.cpu_seconds - before) > 2 * ENOUGH
