# SPDX-License-Identifier: Apache-2.0
"""Group T: what the context before leaves behind for the one after it."""

from __future__ import annotations

from collections.abc import Iterator

from rig.arch.types import Kind
from rig.faults.legs import LONG_US, Attack, build, program
from rig.faults.model import Effect, Expect, FaultProgram, Stop
from rig.faults.setting import Case, Setting
from rig.image.model import Owner
from rig.inject.model import Disarm, Leg, Step

_WORDS = 64  # of the legal sweep after A → B → A


def _enter(s: Setting, owner: Owner) -> Step:
    return Step(owner.index, s.stub("nop"))


def t01(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    """The victim runs, then the actor attacks each of the victim's places: nothing of its map may be left."""
    made = 0
    for what, address in s.targets(v):
        for op in s.ops("load32", "store32"):
            if not s.allows(a.index, op.access(address)):
                made += 1
                yield build(s, Attack("T-01", a, op, address, v, before=(_enter(s, v),), tag=what))
    if not made:
        yield s.refuse("T-01", "pair", "N/A(granted)", a, v)


def t02(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    """Actor → victim → actor attacks; victim → actor → victim uses its own bytes."""
    store = s.ops("store32")[0]
    target = next((at for _, at in s.targets(v) if not s.allows(a.index, store.access(at))), None)
    if target is None:
        yield s.refuse("T-02", "pair", "N/A(granted)", a, v)
    else:
        yield build(s, Attack("T-02", a, store, target, v, before=(_enter(s, a), _enter(s, v)), tag="there-and-back"))
    yield _legal_return(s, a, v)


def _legal_return(s: Setting, a: Owner, v: Owner) -> FaultProgram:
    own = s.main_target(v)
    end = next(e for b, e in s.granted(v.index, Kind.WRITE) if b <= own < e)
    words = min(_WORDS, (end - own) // 4)
    steps = (_enter(s, v), _enter(s, a), Step(v.index, s.stub("rw32"), (own, words)))
    where = s.symbolic(own)
    return FaultProgram(
        id=s.id("T-02", "rw32.return", a.index, v.name, where), family="T-02", actor=a.index, victim=v.index,
        victim_name=v.name, target=where, address=own, width=4,
        legs={Leg.DISARMED: program(Leg.DISARMED, *steps, disarm=Disarm.MAP, limit_us=LONG_US),
              Leg.ARMED: program(Leg.ARMED, *steps, limit_us=LONG_US)},
        effects={Leg.DISARMED: Effect.VALUE, Leg.ARMED: Effect.VALUE}, armed=Expect(Stop.ALLOWED),
        values={Leg.DISARMED: words, Leg.ARMED: words}, readers=(v.index,), op="rw32",
    )
