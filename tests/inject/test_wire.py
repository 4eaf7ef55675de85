# SPDX-License-Identifier: Apache-2.0
"""Payload layouts: sizes and offsets as in docs/internals.md, limits, and what is refused."""

from __future__ import annotations

import random
import struct
import time
from dataclasses import fields, replace
from typing import Any

import pytest

from rig.inject import frames, wire
from rig.inject.model import Disarm, Flag, Leg, Observation, Outcome, Payload, Program, ReadBack, Step, Verb
from rig.plan.model import ContextPlan, ListCheck, SeamPlan

FULL = Program(
    index=0x11223344, verb=Verb.CALL, leg=Leg.ARMED, steps=(Step(3, 0x100041, (1, 2), (7,)),), disarm=Disarm.GATE,
    flags=Flag.RESTORE | Flag.FP, watch=0xA0, watch_len=64, focus=0xB0, limit_us=0xC0, first=0xD0, count=0xE0,
    stride=-4, payloads=(Payload(1, 8, b"abcde"),), realloc=0xF0, ret_bytes=8, ret_list=-1, ret_elem=4, data_base=0x100,
)  # fmt: skip
CONTEXT = ContextPlan(
    id=5, owner=4, regions=(), arm=((0x10, 0x20), (0x11, 0x21)), pmpcfg=(), pmpaddr=(), ctrl=5, control=1,
    stack_low=0x1000, sp=0x2000, r9=9, r10=10, r11=11, instance=12, window_save=13,
)  # fmt: skip


def words(data: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def test_a_program_field_by_field() -> None:
    data = wire.program(FULL)
    assert words(data[:52]) == [
        0x11223344, 3 | 2 << 8 | 3 << 16 | 10 << 24, 0xA0, 64 | 1 << 16, 0xB0, 0xC0, 0xD0, 0xE0, 0xFFFF_FFFC, 0xF0,
        0x100, 8 | 0xFFFF << 16, 4 | 1 << 16,
    ]  # fmt: skip
    assert words(data[52:72]) == [3 | 2 << 8 | 1 << 16, 0x100041, 1, 2, 7]
    assert data[72:] == struct.pack("<HHHxxI", 1, 0, 8, 5) + b"abcde\0\0\0"


def test_a_context_field_by_field() -> None:
    assert words(wire.context(CONTEXT, 0x2040)) == [
        5 | 4 << 8 | 2 << 16 | 1 << 24, 5, 0x1000, 0x2000, 9, 10, 11, 12, 13, 0x2040, 0x10, 0x20, 0x11, 0x21,
    ]  # fmt: skip
    riscv = replace(CONTEXT, arm=(), pmpcfg=(0x1D, 0x1B, 0, 0, 0xF), pmpaddr=(1, 2, 3, 4, 5), ctrl=0, control=0)
    data = wire.context(riscv, 0)
    assert data[2] == 5 and words(data[40:]) == [0x1B1D, 0xF, 1, 2, 3, 4, 5]


def test_a_seam_field_by_field() -> None:
    seam = SeamPlan(0x0102, 3, 4, 0x55, 2, 6, 1, (ListCheck(0, 1, 4, 16, 32),), True)
    head = [0x0102 | 3 << 16 | 4 << 24, 0x55, 2 | 6 << 8 | 1 << 16 | 1 << 24, 1]
    assert words(wire.seam(seam)) == [*head, 0 | 1 << 8, 4, 16, 32]


def test_small_frames() -> None:
    assert words(wire.span(1, 2, 4, 3)) == [1, 2, 4, 3]
    assert wire.seed(8, b"xyz") == struct.pack("<IHH", 8, 3, 0) + b"xyz"
    assert words(wire.window(1, 2)) == [1, 2]
    assert words(wire.read(9, 4)) == [9, 4]
    assert wire.hello(1 << 63) == bytes(7) + b"\x80"


@pytest.mark.parametrize(
    "wrong",
    [
        {"index": -1}, {"index": 1 << 32}, {"watch": 1 << 32}, {"watch_len": 1 << 16}, {"stride": 1 << 31},
        {"ret_list": 1 << 15}, {"steps": (Step(256, 0),)}, {"steps": (Step(0, 0, (1 << 32,)),)},
        {"steps": (Step(0, 0, (-1,)),)}, {"payloads": (Payload(0, 1 << 16, b""),)}, {"limit_us": -5},
    ],
)  # fmt: skip
def test_values_without_a_place_are_named(wrong: dict[str, Any]) -> None:
    index = wrong.get("index", FULL.index)
    with pytest.raises(ValueError, match=f"program {index}"):
        wire.program(replace(FULL, **wrong))


def test_batches_are_full_and_complete() -> None:
    programs = [replace(FULL, index=i) for i in range(500)]
    size = len(wire.program(FULL))
    made = list(wire.batches(programs))
    assert sum(count for _, count in made) == 500
    for payload, count in made:
        assert struct.unpack_from("<H", payload) == (count,) and len(payload) == 4 + count * size <= frames.PAYLOAD_MAX
    assert all(len(payload) + size > frames.PAYLOAD_MAX for payload, _ in made[:-1])
    assert list(wire.batches([])) == []
    with pytest.raises(ValueError, match=r"program 9 takes 9\d\d\d bytes, at most 8188 fit a frame"):
        list(wire.batches([replace(FULL, index=9, payloads=(Payload(0, 1, bytes(9000)),))]))


def result(index: int = 1, outcome: int = 1, leg: int = 2, blob: bytes = b"") -> bytes:
    head = struct.pack("<I4BB3x8I4I3IHH16s16sI", index, outcome, leg, 3, 4, 5, *range(6, 18), 18, 19, 20, 21, 22,
                       b"b" * 16, b"a" * 16, len(blob))  # fmt: skip
    return head + blob + bytes(-len(blob) % 4)


def results(*parts: bytes) -> bytes:
    return struct.pack("<HH", len(parts), 0) + b"".join(parts)


def test_results_field_by_field() -> None:
    expected = Observation(
        index=1, outcome=Outcome.TRAPPED, leg=Leg.ARMED, step=3, context=4, caller=5, fault=tuple(range(6, 14)),
        regs=tuple(range(14, 18)), detail=18, live=19, ticks=20, changed=21, changed_at=22, before=b"b" * 16,
        after=b"a" * 16, blob=b"",
    )  # fmt: skip
    assert wire.decode_results(results(result())) == [expected]
    assert len(fields(Observation)) == 16
    mixed = wire.decode_results(results(result(1), result(2, blob=b"xyz"), result(3)))
    assert [o.index for o in mixed] == [1, 2, 3] and mixed[1].blob == b"xyz"
    assert wire.decode_results(results()) == []


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\x01", results(result())[:-1], results(result()) + b"\0", results(result(blob=b"xyz"))[:-4],
        results(result(), result())[:-112], struct.pack("<HH", 2, 0) + result(), results(result(outcome=6)),
        results(result(leg=3)), results(result()[:-4] + b"\x04\0\0\0"), results(result()[:-4] + b"\xff\xff\xff\xff"),
    ],
)  # fmt: skip
def test_nonsense_is_no_result(payload: bytes) -> None:
    with pytest.raises(ValueError, match="RESULTS"):
        wire.decode_results(payload)


def test_random_bytes_are_a_value_error_or_a_value() -> None:
    chance = random.Random(1)
    decoders = (wire.decode_results, wire.decode_readback, wire.decode_memory, wire.decode_hello, wire.decode_ack)
    refused = 0
    for _ in range(3000):
        data = bytearray(chance.randbytes(chance.choice((0, 3, 4, 8, 52, 116, 228))))
        if data and chance.random() < 0.5:
            data[: min(4, len(data))] = struct.pack("<HH", chance.randrange(3), chance.randrange(3))[: len(data)]
        for decoder in decoders:
            try:
                decoder(bytes(data))
            except ValueError:
                refused += 1
    assert 10_000 < refused < 15_000


def test_other_answers() -> None:
    hello = struct.pack("<HH20s5IQ", 1, 2, bytes(20), 16, 0, 3, 4, 5, 6)
    decoded = wire.decode_hello(hello)
    assert (decoded.protocol, decoded.arch, decoded.regions, decoded.grain, decoded.boots) == (1, 2, 16, 0, 3)
    assert (decoded.mpu_type, decoded.features, decoded.nonce) == (4, 5, 6)
    assert wire.decode_ack(struct.pack("<BBHI", 3, 2, 0, 9)) == (3, 2, 9)
    assert wire.decode_memory(struct.pack("<IHH", 16, 2, 0) + b"ab") == (16, b"ab")
    assert wire.decode_readback(struct.pack("<BBHII", 1, 2, 2, 3, 4)) == ReadBack(1, Leg.ARMED, (3, 4))
    for decoder, data in (
        (wire.decode_hello, hello[:-1]),
        (wire.decode_ack, bytes(7)),
        (wire.decode_memory, bytes(7)),
        (wire.decode_memory, struct.pack("<IHH", 0, 3, 0) + b"ab"),
        (wire.decode_readback, struct.pack("<BBHI", 1, 2, 2, 3)),
        (wire.decode_readback, b""),
    ):
        with pytest.raises(ValueError, match=r"\d|short"):
            decoder(data)


def test_decoding_keeps_up_with_several_emulators() -> None:
    """At least 15 000 observations per second of processor time, frames included (measured: 200 000)."""
    stream = frames.encode(0x90, 1, results(*(result(i) for i in range(70)))) * 200
    reader = frames.Reader()
    began = time.process_time()
    count = sum(len(wire.decode_results(frame.payload)) for frame in reader.feed(stream))
    assert count == 14_000
    assert count / (time.process_time() - began) > 15_000
