# SPDX-License-Identifier: Apache-2.0
"""Payloads to and from the agent: struct layouts exactly as docs/internals.md, "Wire".

Encoders raise ValueError for values that have no place in their field; decoders for payloads that are none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from rig.inject.frames import PAYLOAD_MAX
from rig.inject.model import Hello, Leg, Observation, Outcome, Payload, Program, ReadBack, Step
from rig.plan.model import ContextPlan, SeamPlan

PROTOCOL = 1
ADDRESS_MAX = 0xFFFF_FFFF
SEED_MAX = PAYLOAD_MAX - 8  # bytes of one SEED or MEMORY payload

_CONTEXT = struct.Struct("<4B9I")
_SEAM = struct.Struct("<HBBI4BB3x")
_CHECK = struct.Struct("<BB2x3I")
_SPAN = struct.Struct("<B3x3I")
_SEED = struct.Struct("<IH2x")
_WINDOW = struct.Struct("<II")
_READ = struct.Struct("<IH2x")
_BATCH = struct.Struct("<H2x")
_PROGRAM = struct.Struct("<I4BIHH4Ii2IHhHH")
_STEP = struct.Struct("<BBBxI")
_PAYLOAD = struct.Struct("<HHHxxI")
_HELLO = struct.Struct("<HH20s5IQ")
_RESULT = struct.Struct("<I4BB3x8I4I3IHH16s16sI")
_READBACK = struct.Struct("<BBH")
_PAIR = struct.Struct("<II")
_ACK = struct.Struct("<BB2xI")

_OUTCOMES = {int(o): o for o in Outcome}
_LEGS = {int(leg): leg for leg in Leg}


def pack(layout: struct.Struct, what: str, *values: object) -> bytes:
    """`layout.pack` with a ValueError that names what did not fit."""
    try:
        return layout.pack(*values)
    except struct.error as error:
        raise ValueError(f"{what}: {error}") from error


# Host to agent


def hello(nonce: int) -> bytes:
    return pack(struct.Struct("<Q"), "nonce", nonce)


def context(plan: ContextPlan, stack_end: int) -> bytes:
    """CONTEXT. `stack_end`: end of the owner's stack object (its initial SP lies at or below it)."""
    slots = len(plan.arm) or len(plan.pmpaddr)
    head = pack(_CONTEXT, f"context {plan.id}", plan.id, plan.owner, slots, plan.control, plan.ctrl, plan.stack_low,
                plan.sp, plan.r9, plan.r10, plan.r11, plan.instance, plan.window_save, stack_end)  # fmt: skip
    if plan.arm:
        return head + b"".join(pack(_PAIR, f"context {plan.id}, map", *words) for words in plan.arm)
    cfg = bytes(plan.pmpcfg)
    return head + cfg + bytes(-len(cfg) % 4) + struct.pack(f"<{slots}I", *plan.pmpaddr)


def seam(plan: SeamPlan) -> bytes:
    what = f"seam {plan.index}"
    head = pack(_SEAM, what, plan.index, plan.caller, plan.callee, plan.target, plan.reg_words, plan.stack_words,
                plan.result_words, int(plan.instance_first), len(plan.checks))  # fmt: skip
    return head + b"".join(
        pack(_CHECK, what, c.pointer, c.length, c.element_size, c.low, c.high) for c in plan.checks
    )


def span(kind: int, address: int, length: int, seed: int) -> bytes:
    return pack(_SPAN, f"span at {address:#x}", kind, address, length, seed)


def seed(address: int, data: bytes) -> bytes:
    return pack(_SEED, f"seed at {address:#x}", address, len(data)) + data


def window(address: int, length: int) -> bytes:
    return pack(_WINDOW, "window", address, length)


def read(address: int, length: int) -> bytes:
    return pack(_READ, f"read at {address:#x}", address, length)


def program(p: Program) -> bytes:
    """One program as it stands in a BATCH (multiple of 4 bytes)."""
    head = pack(_PROGRAM, f"program {p.index}", p.index, p.verb, p.leg, p.disarm, p.flags, p.watch, p.watch_len,
                len(p.steps), p.focus, p.limit_us, p.first, p.count, p.stride, p.realloc, p.data_base, p.ret_bytes,
                p.ret_list, p.ret_elem, len(p.payloads))  # fmt: skip
    parts = [head]
    parts += (_step(p, step) for step in p.steps)
    parts += (_payload(p, payload) for payload in p.payloads)
    return b"".join(parts)


def _step(p: Program, step: Step) -> bytes:
    words = step.args + step.fargs
    head = pack(_STEP, f"program {p.index}, step", step.context, len(step.args), len(step.fargs), step.entry)
    return head + pack(struct.Struct(f"<{len(words)}I"), f"program {p.index}, arguments", *words)


def _payload(p: Program, payload: Payload) -> bytes:
    data = payload.data
    head = pack(_PAYLOAD, f"program {p.index}, payload", payload.pointer, payload.into, payload.align, len(data))
    return head + data + bytes(-len(data) % 4)


def batches(programs: Sequence[Program]) -> Iterator[tuple[bytes, int]]:
    """BATCH payloads, each as full as possible, with the number of programs in it."""
    parts: list[bytes] = []
    size = _BATCH.size
    for p in programs:
        data = program(p)
        if len(data) + _BATCH.size > PAYLOAD_MAX:
            most = PAYLOAD_MAX - _BATCH.size
            raise ValueError(f"program {p.index} takes {len(data)} bytes, at most {most} fit a frame")
        if size + len(data) > PAYLOAD_MAX:
            yield _BATCH.pack(len(parts)) + b"".join(parts), len(parts)
            parts, size = [], _BATCH.size
        parts.append(data)
        size += len(data)
    if parts:
        yield _BATCH.pack(len(parts)) + b"".join(parts), len(parts)


# Agent to host


def _unpack(layout: struct.Struct, payload: bytes, what: str) -> tuple[int, ...]:
    if len(payload) != layout.size:
        raise ValueError(f"{what} of {len(payload)} bytes, {layout.size} expected")
    return layout.unpack(payload)


def decode_hello(payload: bytes) -> Hello:
    if len(payload) != _HELLO.size:
        raise ValueError(f"HELLO of {len(payload)} bytes, {_HELLO.size} expected")
    protocol, arch, build_id, regions, grain, boots, mpu_type, features, nonce = _HELLO.unpack(payload)
    return Hello(protocol, build_id, arch, regions, grain, boots, nonce, mpu_type, features)


def decode_ack(payload: bytes) -> tuple[int, int, int]:
    """(type, status, detail)"""
    kind, status, detail = _unpack(_ACK, payload, "ACK")
    return kind, status, detail


def decode_pair(payload: bytes, what: str) -> tuple[int, int]:
    """BATCH_DONE: (programs, ticks); ERROR: (code, detail)."""
    first, second = _unpack(_PAIR, payload, what)
    return first, second


def decode_memory(payload: bytes) -> tuple[int, bytes]:
    if len(payload) < _SEED.size:
        raise ValueError("MEMORY is too short")
    address, length = _SEED.unpack_from(payload)
    data = payload[_SEED.size :]
    if len(data) != length:
        raise ValueError(f"MEMORY names {length} bytes and holds {len(data)}")
    return address, data


def decode_readback(payload: bytes) -> ReadBack:
    if len(payload) < _READBACK.size:
        raise ValueError("READBACK is too short")
    context, leg, count = _READBACK.unpack_from(payload)
    if len(payload) != _READBACK.size + 4 * count or leg not in _LEGS:
        raise ValueError(f"READBACK of {len(payload)} bytes for {count} words, leg {leg}")
    return ReadBack(context, _LEGS[leg], struct.unpack_from(f"<{count}I", payload, _READBACK.size))


def decode_results(payload: bytes) -> list[Observation]:
    """All results of a RESULTS frame, in the order the agent made them."""
    if len(payload) < _BATCH.size:
        raise ValueError("RESULTS is too short")
    (count,) = _BATCH.unpack_from(payload)
    if len(payload) == _BATCH.size + count * _RESULT.size:  # no blobs, the usual case
        return [_observation(f, b"") for f in _RESULT.iter_unpack(payload[_BATCH.size :])]
    found = []
    at = _BATCH.size
    for _ in range(count):
        if at + _RESULT.size > len(payload):
            raise ValueError("RESULTS ends inside a result")
        fields = _RESULT.unpack_from(payload, at)
        at += _RESULT.size
        blob = payload[at : at + fields[-1]]
        at += fields[-1] + -fields[-1] % 4
        if at > len(payload):
            raise ValueError("RESULTS ends inside a blob")
        found.append(_observation(fields, blob))
    if at != len(payload):
        raise ValueError(f"{len(payload) - at} bytes behind the last of {count} RESULTS")
    return found


def _observation(f: tuple[int, ...], blob: bytes) -> Observation:
    if f[-1] != len(blob):
        raise ValueError("RESULTS: a blob is missing")
    before, after = f[23], f[24]
    assert isinstance(before, bytes) and isinstance(after, bytes)
    try:
        return Observation(f[0], _OUTCOMES[f[1]], _LEGS[f[2]], f[3], f[6:14], f[14:18], f[4], f[5], f[18], f[19], f[20],
                           f[21], f[22], before, after, blob)  # fmt: skip
    except KeyError:
        raise ValueError(f"RESULTS: outcome {f[1]}, leg {f[2]} are unknown") from None
