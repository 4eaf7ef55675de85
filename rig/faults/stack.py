# SPDX-License-Identifier: Apache-2.0
"""Group S: the native stack runs out."""

from __future__ import annotations

from collections.abc import Iterator

from rig.arch.types import Access, Kind
from rig.faults.legs import LONG_US, WATCH, program
from rig.faults.model import Effect, Expect, FaultProgram, Stop
from rig.faults.setting import Case, Setting
from rig.image.model import Owner
from rig.inject.model import Disarm, Flag, Leg, Step

_DEEPER = 8  # words pushed below the last granted one: what the disarmed leg overwrites and restores


def s01(s: Setting, a: Owner) -> Iterator[Case]:
    """Pushes words until the first one below everything granted there."""
    context = s.context(a.index)
    granted = s.granted(a.index, Kind.WRITE)
    low = next((start for start, end in granted if start < context.sp <= end), None)
    if low is None:
        yield s.refuse("S-01", "own", "N/A(the stack is not granted)", a)
        return
    address = low - 4
    below = s.rights.owner_of(address)
    v = None if below is None else s.image.owners[below]
    value = s.value(4)
    words = (context.sp - low) // 4 + _DEEPER
    watch = (low - WATCH, WATCH)

    def step(count: int) -> Step:
        return Step(a.index, s.stub("recurse"), (count, value))

    legs = {
        Leg.LEGAL: program(Leg.LEGAL, step(16)),
        Leg.DISARMED: program(Leg.DISARMED, step(words), disarm=Disarm.MAP, flag=Flag.RESTORE, watch=watch,
                              focus=address, limit_us=LONG_US),
        Leg.ARMED: program(Leg.ARMED, step(words), flag=Flag.RESTORE, watch=watch, focus=low - 16,
                           limit_us=LONG_US),
    }
    access = Access(Kind.WRITE, address, 4, privileged=False, stacking=s.arm)
    name, where = v.name if v else "nobody", s.symbolic(address)
    yield FaultProgram(
        id=s.id("S-01", "recurse", a.index, name, where), family="S-01", actor=a.index, victim=v.index if v else None,
        victim_name=name, target=where, address=address, width=4, legs=legs,
        effects={Leg.LEGAL: Effect.RETURNED, Leg.DISARMED: Effect.STORED},
        armed=Expect(Stop.TRAP, access, s.pc("recurse")), values={Leg.LEGAL: value, Leg.DISARMED: value},
        readers=(v.index,) if v else (), op="recurse", fresh=True,  # its own stack canaries are gone
    )
