# SPDX-License-Identifier: Apache-2.0
"""Fault programs: a case family made concrete for one image, and what counts as its legs coming out right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rig.arch.types import Access, Syndrome
from rig.inject.model import Leg, Program


class Why(StrEnum):
    """Why a program is REFUSED. Only `INFRA` and `CONTROL` keep a run from ending with exit 0."""

    PLATFORM = "platform"  # a known or probed divergence of the emulator (EMU_UNFAITHFUL)
    NA = "N/A"  # not expressible on this part, model or image
    FIT = "does not fit"  # the plan was refused with arithmetic
    INPUT = "missing input"  # no components, no types, no synth
    UNSUPPORTED = "not yet"  # a row of the catalogue that this version does not build
    CONTROL = "control failed"
    INFRA = "infrastructure"
    SHARED = "not isolated"  # two owners of one context (F9, F14, seam inlined): no verdict, and the answer says so


class Effect(StrEnum):
    """How a leg that must succeed shows that it did."""

    LOADED = "loaded"  # RETURNED and the returned value is what lay at the address before (width, sign)
    STORED = "stored"  # RETURNED and the address now holds the stored value
    EXECUTED = "executed"  # RETURNED (the planted return instruction ran)
    RETURNED = "returned"  # RETURNED is enough (nothing observable is claimed)
    VALUE = "value"  # RETURNED and regs[0] == expected value
    COUNT = "count"  # SWEEP: the observed trap bitmap equals the predicted one
    NEEDLE = "needle"  # SCAN after the call finds one occurrence more than before
    ADDED = "added"  # RETURNED, the old value was returned and the address now holds old + value
    REACHED = "reached"  # trapped, as one of `FaultProgram.reached` says
    PASSED_GATE = "passed gate"  # the gate let the call through (any outcome but GATE_REFUSED / SVC_REJECTED)


class Stop(StrEnum):
    """How an armed leg must end. The manifest says *that* it must; this says by which mechanism."""

    TRAP = "trap"  # MPU/PMP or bus: syndrome from rig.arch on the registers as read back
    ILLEGAL = "illegal"  # RISC-V: illegal instruction; Arm: UNDEFINSTR
    GATE = "gate"  # GATE_REFUSED
    SVC = "svc"  # SVC_REJECTED
    NOP = "nop"  # silently ignored, value unchanged, and the catalogue lists it
    UNAFFECTED = "unaffected"  # runs on, and the victim's state is its own (W-18)
    ALLOWED = "allowed"  # the manifest grants it: must succeed (controls; semantic-escape when wasm would trap)
    SWEEP = "sweep"  # bitmap equals the prediction of rig.arch and of the manifest, byte for byte
    PROBE = "probe"  # ends as rig.arch says, whatever that is: the platform is judged, the manifest is not asked
    LANDS = "lands"  # static row: must be stopped by the manifest, and lands because one map is for all
    CONTROL = "control"  # no armed leg: PASS when the other legs came out


@dataclass(frozen=True, slots=True)
class Expect:
    stop: Stop
    access: Access | None = None  # the attacking access, for rig.arch (None: not a memory access)
    pcs: frozenset[int] = frozenset()  # admissible program counters of the fault; empty: `pc_free` says why unchecked
    pc_free: str = ""
    value: int | None = None
    gate_codes: frozenset[int] = frozenset()
    seam: int | None = None  # the seam number a refusal must name
    alternatives: tuple[str, ...] = ()  # listed alternatives, e.g. "strex-status-1"
    pieces: tuple[Access, ...] = ()  # what a compiler may have split `access` into; any denied one may be reported
    mask: int = 0xFFFF_FFFF  # bits of regs[0] that `value` is compared in
    state: tuple[int, int] | None = None  # Arm: (mask, value) of fault[7], the control state as the handler read it
    base: int | None = None  # regs[0] at the fault: a base register that must have been restored
    own_side: bool = False  # the watch holds bytes the actor may change: only the focus must stay as it was
    full_record: bool = False  # every field of the fault record is checked (C-08)


@dataclass(frozen=True, slots=True)
class FaultProgram:
    """One family, one actor, one victim, one address, one access. `legs` in order of execution."""

    id: str  # stable and readable: "D-01/load32/intruder>sensor/memory:0+0x8000"
    family: str
    actor: int  # owner index
    victim: int | None  # owner index; None: agent, peripheral, nobody
    victim_name: str
    target: str  # symbolic: "memory:1+0x8000", "stack:2-4", "ppb:0xE000ED94"
    address: int
    width: int
    legs: Mapping[Leg, Program]  # index fields are assigned by the campaign
    effects: Mapping[Leg, Effect]  # for the legs that must succeed
    armed: Expect
    disarmed_none: str = ""  # none(reason): there is no disarmed leg
    values: Mapping[Leg, int] = field(default_factory=dict)  # stored or expected value per leg, `width` bytes of it
    masks: Mapping[Leg, int] = field(default_factory=dict)  # Effect.VALUE: bits compared; all where absent
    reached: tuple[Syndrome, ...] = ()  # Effect.REACHED: how the leg may end
    after: Mapping[Leg, Program] = field(default_factory=dict)  # a SCAN right after that leg (K-02, K-11)
    fresh: bool = False  # a leg leaves state behind that no RESTORE covers: FRESH after each of its legs
    fresh_start: bool = False  # FRESH before each leg: the program needs values from reset
    signed: bool = False
    float_result: bool = False  # Arm hard float: the loaded value is in s0, s1
    readers: tuple[int, ...] = ()  # owners whose canaries are re-read after the group
    op: str = ""  # stub or wasm instruction that attacks: "load32", "i64.store", "call"
    form: str = ""  # "dual" (LDRD, STRD), "double" (a D register): forms an emulator may treat in a way of their own
    straddle: int | None = None  # first byte of the access that is not granted, where its first byte is
    semantic_escape: bool = False  # wasm would trap, the manifest grants: ALLOWED plus a finding
    caller: int | None = None  # where an adapter is the actor: who called it
    armed_context: int | None = None  # context that must be running at the end; None: the one of the last step
    sweep: tuple[int, int, int] | None = None  # first, count, stride
    control: bool = False  # failure voids the run
    reproduce: str = ""


@dataclass(frozen=True, slots=True)
class RefusedProgram:
    id: str
    family: str
    actor: int | None
    victim: int | None
    why: Why
    reason: str


class Verdict(StrEnum):
    PASS = "PASS"
    FAIL = "FAIL"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class Judgement:
    verdict: Verdict
    klass: str  # TRAP_EXACT, ESCAPE_WRITE, FALSE_TRAP, CONTROL_FAILED, … (fault-catalogue.md section 1)
    reason: str
    why: Why | None = None  # for REFUSED
    findings: tuple[str, ...] = ()
    leg: Leg | None = None  # the leg that decided
    needs_confirmation: bool = False  # a hang, seen once: run it again before it counts
