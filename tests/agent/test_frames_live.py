# SPDX-License-Identifier: Apache-2.0
"""Frames to a live agent: damaged, too long, out of turn, over the UART, and random ones."""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from bringup import A, Rig

from rig.inject import frames, wire
from rig.inject.frames import Frame, Type
from rig.inject.model import Leg, Outcome, Program, Step, Verb
from rig.inject.session import AgentError

pytestmark = pytest.mark.emulator

Fresh = Callable[..., Rig]
CRC, OVERSIZE, BATCH = 1, 2, 3


def nops(rig: Rig, count: int) -> list[Program]:
    return [Program(i, Verb.RUN, Leg.LEGAL, (Step(A, rig.stub("nop")),)) for i in range(count)]


def send(rig: Rig, data: bytes, want: int = 1) -> list[Frame]:
    """Raw bytes; the frames that come back (at least `want`)."""
    carrier = rig.session._carrier
    carrier.wake()
    carrier.send(data, 5.0)
    found: list[Frame] = []
    reader = frames.Reader()
    while len(found) < want:
        data = carrier.receive(2.0)
        assert data, f"{len(found)} of {want} frames came"
        found += reader.feed(data)
    carrier.rest()
    return found


def error(frame: Frame) -> int:
    assert frame.type == Type.ERROR
    return struct.unpack("<II", frame.payload)[0]


def test_a_damaged_frame_is_answered_and_forgotten(rig: Rig) -> None:
    good = frames.encode(Type.PLAN_CLEAR, 5, b"")
    for i in range(len(good) - 1):
        for bit in (0x01, 0x80):
            bad = bytearray(good)
            bad[i] ^= bit
            answers = send(rig, bytes(bad) + good, 2)
            assert all(error(frame) == CRC for frame in answers[:-1])  # a zero in the middle makes two of it
            assert (answers[-1].type, answers[-1].seq) == (Type.ACK, 5)


def test_a_frame_that_is_too_long_is_refused_at_once(rig: Rig) -> None:
    for length in (8240, 9000, 40_000, 200_000):
        bad, good = send(rig, b"\x55" * length + b"\0" + frames.encode(Type.PLAN_CLEAR, 6, b""), 2)
        assert error(bad) == OVERSIZE
        assert (good.type, good.seq) == (Type.ACK, 6)


def test_zeros_between_frames_mean_nothing(rig: Rig) -> None:
    (answer,) = send(rig, b"\0" * 1000 + frames.encode(Type.PLAN_CLEAR, 7, b"") + b"\0" * 5)
    assert answer.seq == 7


def test_the_largest_frame_fits(rig: Rig) -> None:
    data = bytes(range(1, 256)) * 33  # no zeros: the longest COBS blocks
    seed = struct.pack("<IH2x", rig.where.mem[A], 8184) + data[:8184]
    (answer,) = send(rig, frames.encode(Type.SEED, 8, seed))
    assert answer.payload == struct.pack("<BB2xI", Type.SEED, 0, 0)
    rig.session.run([Program(0, Verb.FRESH, Leg.LEGAL)])
    assert rig.target.read(rig.where.mem[A], 8184) == data[:8184]


def test_unknown_types_are_refused(rig: Rig) -> None:
    for kind in (0x00, 0x08, 0x7F, 0x80, 0x90, 0xFF):
        (answer,) = send(rig, frames.encode(kind, 9, b"\x01\x02\x03\x04"))
        assert answer.payload == struct.pack("<BB2xI", kind, 5, kind)


def test_wrong_lengths_are_refused(rig: Rig) -> None:
    for kind in (Type.HELLO, Type.CONTEXT, Type.SEAM, Type.SPAN, Type.SEED, Type.WINDOW, Type.READ):
        for length in (0, 1, 3, 7, 9, 41, 8192):
            (answer,) = send(rig, frames.encode(kind, 9, bytes(length)))
            assert answer.type == Type.ACK and answer.payload[1] == 1, (kind, length)


def test_a_batch_that_ends_early_reports_what_it_did(rig: Rig) -> None:
    ((payload, count),) = wire.batches(nops(rig, 10))
    for wrong, done in ((payload[:-1], 9), (payload[:100], 1), (payload[:4], 0), (payload + b"\0\0\0\0", 10), (b"", 0)):
        answers = send(rig, frames.encode(Type.BATCH, 3, wrong), 3 if done else 2)
        kinds = [frame.type for frame in answers]
        assert kinds == ([Type.RESULTS] if done else []) + [Type.ERROR, Type.BATCH_DONE]
        assert error(answers[-2]) == BATCH
        assert struct.unpack("<II", answers[-1].payload)[0] == done
    assert len(rig.session.run(nops(rig, 10))) == count


def random_program(rig: Rig, chance: random.Random, index: int) -> bytes:
    """Random fields, mostly in range so that they get far. Never without protection: that may hurt, and should."""

    def pick(good: Sequence[int], bad: Sequence[int]) -> int:
        return chance.choice(bad if chance.random() < 0.04 else good)

    entries = [rig.stub("nop"), rig.stub("load32"), rig.stub("store32"), rig.symbol["a_down"], rig.symbol["a_spin"]]
    verb = pick((0, 0, 0, 1, 3, 4), (5, 255))
    steps, payloads = [], []
    for _ in range(0 if verb == 4 else 1 if verb in (1, 3) else pick((1, 2, 3), (0,))):
        nargs, nfargs = pick((1, 4, 16), (0, 17)), pick((0,), (1, 16, 17))
        head = struct.pack("<BBBBI", pick((0, 1), (2, 255)), nargs, nfargs, 0, pick(entries, [chance.getrandbits(32)]))
        steps.append(head + chance.randbytes(4 * (nargs + nfargs)))
    for _ in range({3: chance.choice((0, 1, 2)), 4: 1}.get(verb, pick((0,), (1,)))):
        length = pick((3, 64), (0, 65, 300))
        payloads.append(struct.pack("<BBHI", pick((0,), (1, 20)), 0, 4, length) + bytes(length + -length % 4))
    inside = chance.random() < 0.9
    address = chance.choice((rig.where.mem[0], rig.where.mem[1] - 4))
    if not inside:
        address = chance.choice((0, 0xFFFF_FFFF, rig.board.holes[-1].start, rig.where.shared - 8))
    head = struct.pack(
        "<I4BIHH4Ii2IHhHH", index, verb, chance.randrange(3), pick((0, 3), (4,)),
        chance.randrange(16) if inside else 4, address, pick((0, 16, 64), (1, 65)), len(steps), address,
        pick((1, 50, 500), (0,)), address, pick((1, 40), (0, 70_000)), pick((1, -4), (0,)), rig.symbol["b_realloc"],
        address, pick((0, 8), (1025,)), pick((-1, -1, 0), (9,)), pick((1,), (0,)), len(payloads),
    )  # fmt: skip
    return head + b"".join(steps) + b"".join(payloads)


def test_random_batches_never_hurt_the_agent(rig: Rig) -> None:
    chance = random.Random(20261125)
    outcomes: Counter[int] = Counter()
    for batch in range(100):
        parts = [random_program(rig, chance, i) for i in range(chance.randrange(1, 12))]
        data = struct.pack("<H2x", len(parts)) + b"".join(parts)
        if chance.random() < 0.3:
            data = data[: chance.randrange(len(data))]
        answers = send(rig, frames.encode(Type.BATCH, batch, data))
        while answers[-1].type != Type.BATCH_DONE:
            answers += send(rig, b"")
        for frame in answers:
            assert frame.type in (Type.RESULTS, Type.READBACK, Type.ERROR, Type.BATCH_DONE)
            if frame.type == Type.RESULTS:
                outcomes.update(o.outcome for o in wire.decode_results(frame.payload))
    assert set(outcomes) >= {Outcome.RETURNED, Outcome.TRAPPED, Outcome.TIMEOUT, Outcome.BAD_PROGRAM}, outcomes
    rig.session.load_plan(rig.plan)
    assert rig.call("a_down", 6).regs[0] == 115
    assert rig.attack("load32", rig.where.mem[1]).outcome is Outcome.TRAPPED


def test_random_plan_frames_never_hurt_the_agent(rig: Rig) -> None:
    chance = random.Random(7)
    lengths = {Type.CONTEXT: 40 + 64, Type.SEAM: 16 + 32, Type.SPAN: 16, Type.SEED: 24, Type.WINDOW: 8, Type.READ: 8}
    for i in range(600):
        kind = chance.choice(list(lengths))
        payload = bytearray(chance.randbytes(lengths[kind]))
        if chance.random() < 0.7:
            payload[0] = chance.randrange(4)
            payload[2] = 8
            payload[4:8] = chance.choice((rig.where.mem[0], rig.where.shared, 5)).to_bytes(4, "little")
        (answer,) = send(rig, frames.encode(kind, i, bytes(payload)))
        assert answer.type in (Type.ACK, Type.MEMORY)
    rig.session.load_plan(rig.plan)
    assert rig.call("a_down", 6).regs[0] == 115


# HELLO and carriers


def test_nothing_but_hello_opens_a_conversation(fresh: Fresh) -> None:
    mine = fresh(greet=False)
    carrier = mine.session._carrier
    carrier.open(5.0)
    noise = b"boot banner\r\n\0" + frames.encode(Type.PLAN_CLEAR, 1, b"") + frames.encode(Type.BATCH, 2, bytes(4))
    carrier.send(noise + b"half a frame", 5.0)
    assert carrier.receive(0.3) == b""
    carrier.send(b"\0", 1.0)
    hello = mine.session.hello(0xDEAD_BEEF_0BAD_CAFE)
    assert hello.nonce == 0xDEAD_BEEF_0BAD_CAFE and hello.boots == 1
    assert hello.build_id == b"bring-up image v0001"
    assert (hello.arch, hello.regions) == ((1, 8) if mine.arm else (2, 16))
    assert hello.features == (1 if mine.arm else 0)
    assert hello.grain == (32 if mine.arm else 0)


def test_the_uart_carries_the_same_conversation(fresh: Fresh) -> None:
    mine = fresh(uart=True)
    assert mine.call("a_down", 6).regs[0] == 115
    programs = nops(mine, 300)
    assert [o.index for o in mine.session.run(programs)] == list(range(300))
    assert mine.session.read_memory(mine.where.mem[0], 10_000) == mine.target.read(mine.where.mem[0], 10_000)


def test_the_first_carrier_that_says_hello_has_the_agent(fresh: Fresh) -> None:
    mine = fresh(uart=True)
    assert mine.target.read(mine.symbol["rig_mailbox"], 4) == b"RIGM"  # the ring would be ready, too
    assert mine.target.read(mine.symbol["rig_mailbox"] + 24, 4) == bytes(4)  # and nothing was written to it


def test_memory_through_the_agent(rig: Rig) -> None:
    rig.poke(rig.where.mem[0], *range(4000))
    assert rig.session.read_memory(rig.where.mem[0], 16000) == rig.target.read(rig.where.mem[0], 16000)
    if rig.arm:
        assert rig.session.read_memory(0xE000_ED00, 4) == (0x410F_C240).to_bytes(4, "little")
    with pytest.raises(AgentError, match="refused value"):
        rig.session.read_memory(rig.board.holes[-1].start, 4)


def test_bytes_that_come_too_early_do_not_deafen_the_uart(fresh: Fresh) -> None:
    """They arrive before the agent has set its UART up; QEMU then delivers nothing until somebody reads."""
    for _ in range(3):
        mine = fresh(uart=True, greet=False)
        mine.target.console.send(b"\x55" * 64 + b"\0", 5.0)
        assert mine.session.hello(7, timeout=5.0).nonce == 7
