# SPDX-License-Identifier: Apache-2.0
"""Fault programs: a case family made concrete for one image, and what counts as its legs coming out right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rig.arch.types import Access
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


class Effect(StrEnum):
    """How a leg that must succeed shows that it did."""

    LOADED = "loaded"  # RETURNED and the returned value is what lay at the address before (width, sign)
    STORED = "stored"  # RETURNED and the address now holds the stored value
    EXECUTED = "executed"  # RETURNED (the planted return instruction ran)
    RETURNED = "returned"  # RETURNED is enough (nothing observable is claimed)
    VALUE = "value"  # RETURNED and regs[0] == expected value
    COUNT = "count"  # SWEEP: the observed trap bitmap equals the predicted one
    NEEDLE = "needle"  # SCAN after the call finds one occurrence more than before
    REACHED = "reached"  # trapped or returned in a stated other way: see Expect.how
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


@dataclass(frozen=True, slots=True)
class Expect:
    stop: Stop
    access: Access | None = None  # the attacking access, for rig.arch (None: not a memory access)
    pcs: frozenset[int] = frozenset()  # admissible program counters of the fault; empty: not checked (says why in `pc_free`)
    pc_free: str = ""
    value: int | None = None
    gate_codes: frozenset[int] = frozenset()
    alternatives: tuple[str, ...] = ()  # listed alternatives, e.g. "strex-status-1"


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
    values: Mapping[Leg, int] = field(default_factory=dict)  # stored or expected value per leg
    signed: bool = False
    readers: tuple[int, ...] = ()  # owners whose canaries are re-read after the group
    semantic_escape: bool = False  # wasm would trap, the manifest grants: ALLOWED plus a finding
    caller: int | None = None  # where an adapter is the actor: who called it
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
