# SPDX-License-Identifier: Apache-2.0
"""What is sent to the agent and what comes back, as values. Bytes on the wire: docs/internals.md, `rig.inject.wire`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

MAX_WORDS = 40  # integer argument words of a step or a seam (firmware/agent/agent.h: MAX_ARGS, MAX_WORDS)


class Verb(IntEnum):
    RUN = 0  # enter steps one after the other until one does not return
    SWEEP = 1  # the one step, entered `count` times with argument 0 = first + i·stride
    FRESH = 2  # re-initialise everything (args: flags bit 0 = fill canaries)
    CALL = 3  # RUN of one step with list payloads lowered into the callee's memory first
    SCAN = 4  # privileged: count occurrences of a needle (payload) in [first, first+count)


class Leg(IntEnum):
    LEGAL = 0
    DISARMED = 1
    ARMED = 2


class Disarm(IntEnum):
    NOTHING = 0
    MAP = 1  # Arm: MPU off; PMP: one NAPOT RWX entry over everything at index 0
    PRIVILEGE = 2  # enter privileged
    GATE = 3  # gate argument checks off


class Flag(IntFlag):
    PLANT = 1  # write a return instruction at the watched address first, restore it afterwards
    RESTORE = 2  # put the watched bytes back afterwards
    READBACK = 4  # send READBACK after the map of the last step is in, before entry
    FP = 8  # RISC-V: mstatus.FS on for this program


NO_FLAGS = Flag(0)


class Outcome(IntEnum):
    RETURNED = 0
    TRAPPED = 1
    TIMEOUT = 2
    GATE_REFUSED = 3
    SVC_REJECTED = 4
    BAD_PROGRAM = 5


@dataclass(frozen=True, slots=True)
class Step:
    context: int
    entry: int  # native address of unprivileged code (Thumb bit set on Arm)
    args: tuple[int, ...] = ()  # integer argument words, AAPCS / ILP32 order, padding words included, ≤ MAX_WORDS
    fargs: tuple[int, ...] = ()  # Arm hard-float: s0…, ≤ 16


@dataclass(frozen=True, slots=True)
class Payload:
    """CALL: bytes to place with the callee's realloc, in their order.

    The address goes to args[pointer]; with `into` n to byte `pointer` of the n-th payload behind this one instead.
    """

    pointer: int
    align: int
    data: bytes
    into: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    index: int
    verb: Verb
    leg: Leg
    steps: tuple[Step, ...] = ()
    disarm: Disarm = Disarm.NOTHING
    flags: Flag = NO_FLAGS
    watch: int = 0  # first byte of the watched window; 0: none
    watch_len: int = 0  # ≤ 64
    focus: int = 0  # address whose 16 bytes are reported before and after
    limit_us: int = 20_000  # virtual microseconds of unprivileged time
    first: int = 0  # SWEEP, SCAN
    count: int = 0
    stride: int = 1
    payloads: tuple[Payload, ...] = ()  # CALL; SCAN: payloads[0].data is the needle
    realloc: int = 0  # CALL: entry of cabi_realloc
    ret_bytes: int = 0  # CALL: copy so many bytes from the returned pointer
    ret_list: int = -1  # CALL: offset in the return area of a (ptr, len) whose bytes are copied too (≤ 1024)
    ret_elem: int = 1  # CALL: element size of that list
    data_base: int = 0  # CALL: native address of wasm offset 0 of the callee's memory


@dataclass(frozen=True, slots=True)
class Observation:
    index: int
    outcome: Outcome
    leg: Leg
    step: int
    fault: tuple[int, ...]  # 8 words. RISC-V: mcause mtval mepc mstatus sp 0 0 0
    # Arm: cfsr hfsr mmfar bfar pc psr exc_return control|primask<<8|faultmask<<9|basepri<<16
    regs: tuple[int, ...]  # 4 words. returned: r0 r1 s0 s1 (a0 a1 0 0); trapped: r0–r3 (a0–a3) at the fault
    context: int  # context that ran at the end
    caller: int  # context that called it through the gate; 0xFF: none
    detail: int  # GATE_REFUSED: code | seam<<8; SVC_REJECTED: number; SCAN: occurrences; SWEEP: traps
    live: int  # checksum of the protection registers at the last entry
    ticks: int
    changed: int  # bytes of the watched window that differ afterwards (before any restore)
    changed_at: int  # offset of the first
    before: bytes  # 16 bytes at focus
    after: bytes
    blob: bytes = b""  # SWEEP: trap bitmap then change bitmap, ceil(count/8) bytes each; CALL: return bytes


@dataclass(frozen=True, slots=True)
class ReadBack:
    context: int
    leg: Leg
    words: tuple[int, ...]  # Arm: MPU_TYPE MPU_CTRL (RBAR RASR)*; RISC-V: mseccfg, n, cfg bytes packed in words, addr*


@dataclass(frozen=True, slots=True)
class Hello:
    protocol: int
    build_id: bytes  # 20 bytes
    arch: int  # 1 v7-M, 2 RV32
    regions: int  # probed
    grain: int  # probed
    boots: int
    nonce: int  # echoed
    mpu_type: int
    features: int  # bit 0 FPU
