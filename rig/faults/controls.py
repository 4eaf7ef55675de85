# SPDX-License-Identifier: Apache-2.0
"""Group C: what must hold before anything else counts. C-03 is run by the campaign against un-fused components."""

from __future__ import annotations

from collections.abc import Iterator

from rig.arch.intervals import Intervals
from rig.arch.types import Kind
from rig.faults.geometry import own_spans
from rig.faults.legs import LONG_US, Attack, build, program, window
from rig.faults.model import Effect, Expect, FaultProgram, Stop
from rig.faults.ops import Op
from rig.faults.privilege import CPUID, csr
from rig.faults.setting import Case, Setting
from rig.image.model import Owner
from rig.inject.model import Disarm, Flag, Leg, Step

STRUCTURE = "C-05"  # judged by `rig.judge.judge_structure` on what `rig.plan.structure` finds
_PROBE = "a probe of the platform, not an attack"


def c01(s: Setting, a: Owner) -> Iterator[Case]:
    """The actor is unprivileged: CONTROL.nPRIV reads 1; a machine CSR is illegal."""
    if not s.arm:
        yield csr(s, "C-01", a, "csrr_mhartid", None)
        return
    step = Step(a.index, s.stub("getcontrol"))
    yield FaultProgram(
        id=s.id("C-01", "getcontrol", a.index, "core", "control"), family="C-01", actor=a.index, victim=None,
        victim_name="core", target="control", address=0, width=4,
        legs={Leg.LEGAL: program(Leg.LEGAL, Step(a.index, s.stub("nop"))),
              Leg.DISARMED: program(Leg.DISARMED, step, disarm=Disarm.PRIVILEGE), Leg.ARMED: program(Leg.ARMED, step)},
        effects={Leg.LEGAL: Effect.RETURNED, Leg.DISARMED: Effect.VALUE},
        armed=Expect(Stop.NOP, value=1, mask=1, state=(1, 1)), values={Leg.DISARMED: 0}, masks={Leg.DISARMED: 1},
        op="getcontrol",
    )


def c02(s: Setting, a: Owner) -> Iterator[Case]:
    """Every byte the owner may write is read, written back and read again in all widths; read-only runs are summed."""
    writable = s.ram_spans(a.index, Kind.WRITE)
    for start, end in writable:
        for name, width in (("rw8", 1), ("rw16", 2), ("rw32", 4)):
            low, high = -(-start // width) * width, end // width * width
            yield _sweep_own(s, a, name, low, (high - low) // width, counted=True)
    readable = Intervals(s.ram_spans(a.index, Kind.READ)) - s.granted(a.index, Kind.WRITE)
    for start, end in readable:
        low, high = -(-start // 4) * 4, end & ~3
        if high > low:
            yield _sweep_own(s, a, "sum", low, (high - low) // 4, counted=False)


def _sweep_own(s: Setting, a: Owner, stub: str, start: int, count: int, *, counted: bool) -> FaultProgram:
    step = Step(a.index, s.stub(stub), (start, count))
    effect = Effect.VALUE if counted else Effect.RETURNED
    limit = min(2 * LONG_US, max(LONG_US, 4 * count))
    where = f"{s.symbolic(start)}..{count}"
    return FaultProgram(
        id=s.id("C-02", stub, a.index, "itself", where), family="C-02", actor=a.index, victim=None,
        victim_name="itself", target=where, address=start, width=4,
        legs={Leg.DISARMED: program(Leg.DISARMED, step, disarm=Disarm.MAP, limit_us=limit),
              Leg.ARMED: program(Leg.ARMED, step, limit_us=limit)},
        effects={Leg.DISARMED: effect, Leg.ARMED: effect}, armed=Expect(Stop.ALLOWED),
        values={Leg.DISARMED: count, Leg.ARMED: count}, op=stub,
    )


def c04(s: Setting, a: Owner) -> Iterator[Case]:
    """The attack itself lands when nothing protects: on the next owner that must be apart."""
    store = s.ops("store32")[0]
    for step in range(1, len(s.image.owners)):
        v = s.image.owners[(a.index + step) % len(s.image.owners)]
        if s.apart(a, v) is None:
            at = s.main_target(v)
            yield build(s, Attack("C-04", a, store, at, v, stop=Stop.CONTROL, control=True, readers=False))
            return
    yield s.refuse("C-04", "own", "N/A(no other owner)", a)


def c05(s: Setting, a: Owner) -> Iterator[Case]:
    """The registers as active inside the owner: one record, compared with the manifest by `rig.plan.structure`."""
    legs = {Leg.ARMED: program(Leg.ARMED, Step(a.index, s.stub("nop")), flag=Flag.READBACK)}
    yield FaultProgram(
        id=s.id("C-05", "readback", a.index, "itself", f"context:{a.index}"), family="C-05", actor=a.index, victim=None,
        victim_name="itself", target=f"context:{a.index}", address=0, width=4, legs=legs,
        effects={Leg.ARMED: Effect.RETURNED}, armed=Expect(Stop.ALLOWED), op="readback",
        disarmed_none="registers are compared, nothing is attacked",
    )


def c06(s: Setting, a: Owner) -> Iterator[Case]:
    """After the switch the agent still reads what the owner wrote: the focus is read by the agent."""
    own, value = s.scratch(a), s.value(4)
    op = s.ops("store32")[0]
    leg = program(Leg.ARMED, Step(a.index, s.stub(op.name), (own, value)), flag=Flag.RESTORE, watch=window(s, own, 4),
                  focus=own)
    where = s.symbolic(own)
    yield FaultProgram(
        id=s.id("C-06", op.name, a.index, "itself", where), family="C-06", actor=a.index, victim=None,
        victim_name="itself", target=where, address=own, width=4, legs={Leg.ARMED: leg},
        effects={Leg.ARMED: Effect.STORED}, armed=Expect(Stop.ALLOWED, op.access(own), s.pc(op.name)),
        values={Leg.ARMED: value}, op=op.name, disarmed_none="the agent reads, nothing is attacked",
    )


def c07(s: Setting, a: Owner) -> Iterator[Case]:
    """What must hold on any platform, answered by rig.arch alone: a wrong plan does not make the platform wrong."""
    if s.arm:
        yield _probe(s, a, s.ops("load32")[0], CPUID, "ppb")
    else:
        yield csr(s, "C-07", a, "csrr_mcause", None, control=True)
    for start, end in own_spans(s, a)[:1]:
        for op in s.ops("load8u", "store8"):
            yield _probe(s, a, op, end - 1, "last")
            yield _probe(s, a, op, end, "first")
            yield _probe(s, a, op, start - 1, "below")
        if s.arm and end % 1024 == 0:
            yield _probe(s, a, s.ops("load32")[0], end - 2, "page")
        if not s.arm:
            yield _probe(s, a, s.ops("load32")[0], end - 2, "misaligned")


def c08(s: Setting, a: Owner) -> Iterator[Case]:
    """A known fault; every field of its record is checked."""
    if s.arm:
        yield build(s, Attack("C-08", a, s.ops("load32")[0], CPUID, victim_name="ppb", disarm=Disarm.PRIVILEGE,
                              control=True, full_record=True))
        yield _probe(s, a, s.ops("ldm")[0], s.scratch(a) + 2, "unaligned", family="C-08")
    else:
        yield csr(s, "C-08", a, "csrr_mhartid", None, control=True, full_record=True)
    yield _probe(s, a, s.ops("load32")[0], s.symbols["rig_sacrifice_ram"] + 32, "agent", family="C-08")


def _probe(s: Setting, a: Owner, op: Op, address: int, tag: str, family: str = "C-07") -> FaultProgram:
    return build(s, Attack(family, a, op, address, victim_name="platform", no_disarmed=_PROBE, stop=Stop.PROBE,
                           control=True, tag=tag, full_record=family == "C-08"))


