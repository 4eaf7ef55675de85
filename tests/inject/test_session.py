# SPDX-License-Identifier: Apache-2.0
"""The session against agents that misbehave in every way a byte stream allows."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from rig.errors import InfrastructureError
from rig.inject import frames
from rig.inject.frames import Frame, Type, encode
from rig.inject.model import Leg, Program, Step, Verb
from rig.inject.session import AgentError, AgentHang, AgentPanic, Session
from rig.plan.model import Lowering, Placement, Plan, Strategy
from rig.targets.protocol import TargetDied

NOP = Program(0, Verb.RUN, Leg.ARMED, (Step(0, 0),))
PLAN = Plan("b", "multi", Strategy.SWITCH, Lowering.SYNTH,
            Placement("b", "multi", Lowering.SYNTH, (), (0, 0), 0, 0, ()), (), (), (), 0, 8)  # fmt: skip

Answer = Callable[[Frame], bytes]


class Script:
    """A carrier whose agent is a function from a frame to bytes."""

    capacity = 1 << 15

    def __init__(self, answer: Answer, *, first: bytes = b"", running: int | None = None) -> None:
        self.answer = answer
        self.waiting = bytearray(first)
        self.reader = frames.Reader()
        self.died: InfrastructureError | None = None
        self.program = running
        self.panicked: tuple[int, int] | None = None
        self.awake = 0

    def open(self, timeout: float) -> None: ...

    def wake(self) -> None:
        self.awake += 1

    def rest(self) -> None:
        self.awake -= 1

    def send(self, data: bytes, timeout: float) -> None:
        assert self.awake == 1
        for frame in self.reader.feed(data):
            self.waiting += self.answer(frame)

    def receive(self, timeout: float) -> bytes:
        data = bytes(self.waiting)
        self.waiting.clear()
        if not data:
            time.sleep(min(timeout, 0.01))
        return data

    def check(self) -> None:
        if self.died is not None:
            raise self.died

    def running(self) -> int | None:
        return self.program

    def panic(self) -> tuple[int, int] | None:
        return self.panicked


def result(index: int, outcome: int = 0) -> bytes:
    return struct.pack("<I4BB3x8I4I3IHH16s16sI", index, outcome, 2, 0, 0, 255, *[0] * 17, b"", b"", 0)


def results(*indexes: int) -> bytes:
    return struct.pack("<HH", len(indexes), 0) + b"".join(map(result, indexes))


def hello(frame: Frame, nonce: bytes | None = None, protocol: int = 1) -> bytes:
    payload = struct.pack("<HH20s5I", protocol, 1, bytes(20), 8, 32, 1, 0x800, 1) + (nonce or frame.payload)
    return encode(Type.HELLO_REPLY, frame.seq, payload)


def done(frame: Frame, programs: int) -> bytes:
    return encode(Type.BATCH_DONE, frame.seq, struct.pack("<II", programs, 5 * programs))


def batch(frame: Frame) -> bytes:
    """A good agent's answer to batches of NOPs."""
    (count,) = struct.unpack_from("<H", frame.payload)
    indexes = [struct.unpack_from("<I", frame.payload, 4 + 60 * i)[0] for i in range(count)]
    half = count // 2
    parts = [results(*indexes[:half]), results(*indexes[half:])] if half else [results(*indexes)]
    return b"".join(encode(Type.RESULTS, frame.seq, part) for part in parts) + done(frame, count)


def session(answer: Answer, **options: Any) -> tuple[Session, Script]:
    script = Script(answer, **options)
    return Session(script, patience=0.3), script


# HELLO


def test_noise_before_hello_is_evidence() -> None:
    talk, _ = session(hello, first=b"U-Boot 2026\r\n\0\x01\x02\0")
    assert talk.hello(7).nonce == 7
    assert talk.evidence == b"U-Boot 2026\r\n\x01\x02"


def test_an_answer_to_another_nonce_is_not_ours() -> None:
    old = hello(Frame(Type.HELLO, 1, struct.pack("<Q", 6)))
    talk, _ = session(hello, first=old)
    assert talk.hello(7).nonce == 7
    deaf, _ = session(lambda frame: hello(frame, struct.pack("<Q", 6)))
    with pytest.raises(AgentError, match=r"no agent answered HELLO in 0\.2 s"):
        deaf.hello(7, timeout=0.2)


def test_hello_is_repeated_until_somebody_hears_it() -> None:
    heard: list[int] = []

    def late(frame: Frame) -> bytes:
        heard.append(frame.seq)
        return hello(frame) if len(heard) == 3 else b""

    talk, _ = session(late)
    assert talk.hello(7, timeout=5).nonce == 7 and len(heard) == 3


def test_another_protocol_is_refused() -> None:
    talk, _ = session(lambda frame: hello(frame, protocol=2))
    with pytest.raises(AgentError, match="speaks protocol 2, this rig 1: build it again"):
        talk.hello(7)


# Batches


def test_observations_come_back_in_order() -> None:
    talk, _ = session(batch)
    programs = [Program(i, Verb.RUN, Leg.ARMED, (Step(0, 0),)) for i in range(1000)]
    assert [o.index for o in talk.run(programs)] == list(range(1000))
    assert talk.ticks == 5000
    assert talk.run([]) == []


def test_several_batches_are_on_their_way_at_once() -> None:
    held: list[Frame] = []

    def slow(frame: Frame) -> bytes:
        held.append(frame)
        return b"" if len(held) < 3 else b"".join(batch(held.pop(0)) for _ in range(len(held)))

    talk, _ = session(slow)
    programs = [Program(i, Verb.RUN, Leg.ARMED, (Step(0, 0),)) for i in range(3 * 136)]
    assert len(talk.run(programs)) == len(programs)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda f: done(f, 1), "0 of 1 programs are reported"),
        (lambda f: encode(Type.RESULTS, f.seq, results(1)) + done(f, 1), "reported program 1 where 0 was due"),
        (lambda f: encode(Type.RESULTS, f.seq, results(0, 0)) + done(f, 2), "did 2 programs of 1"),
        (lambda f: encode(Type.RESULTS, f.seq, b"\x01\x00\x00\x00"), "nonsense: RESULTS ends inside a result"),
        (lambda f: encode(Type.BATCH_DONE, f.seq, b"\x01"), "nonsense: frame of 1 bytes"),
        (lambda f: encode(Type.READBACK, f.seq, b""), "nonsense: READBACK is too short"),
        (lambda f: encode(Type.ERROR, 0, struct.pack("<II", 1, 9)), r"damaged \(detail 0x9\)"),
        (lambda f: encode(Type.ERROR, f.seq, struct.pack("<II", 77, 9)), "reports: error 77"),
        (lambda f: encode(Type.ACK, f.seq, struct.pack("<BBHI", 0x10, 5, 0, 0x10)), "refused: unknown frame type"),
        (lambda f: encode(0x55, f.seq, b""), "type 0x55 arrived out of turn"),
        (lambda f: encode(Type.RESULTS, f.seq - 1, results(0)) * 1001, "1000 frames arrived that nobody asked for"),
    ],
)  # fmt: skip
def test_wrong_answers_are_told_apart(answer: Answer, words: str) -> None:
    talk, script = session(answer)
    with pytest.raises(AgentError, match=words):
        talk.run([NOP])
    assert script.awake == 0


def test_answers_to_what_was_given_up_are_dropped() -> None:
    talk, script = session(batch)
    script.waiting += encode(Type.RESULTS, 0x7777, results(5, 6)) + encode(Type.BATCH_DONE, 0x7777, bytes(8))
    assert [o.index for o in talk.run([NOP])] == [0]


def test_silence_is_a_hang_that_names_the_program() -> None:
    talk, _ = session(lambda frame: b"", running=42)
    with pytest.raises(AgentHang, match=r"no sign of life for .* \(program 42 was running\)") as caught:
        talk.run([NOP])
    assert caught.value.program == 42


def test_noise_is_no_sign_of_life() -> None:
    talk, script = session(lambda frame: b"")
    script.receive = lambda timeout: b"\x55" * 100
    with pytest.raises(AgentHang, match="no sign of life"):
        talk.run([NOP])


def test_a_slow_batch_is_alive_as_long_as_programs_start() -> None:
    talk, script = session(lambda frame: b"", running=0)
    began = time.monotonic()

    def receive(timeout: float) -> bytes:
        time.sleep(0.05)
        script.program = int((time.monotonic() - began) * 10)
        return batch(Frame(Type.BATCH, 1, struct.pack("<HHI", 1, 0, 0))) if script.program > 15 else b""

    script.receive = receive
    assert len(talk.run([NOP])) == 1
    assert time.monotonic() - began > 1.5


def test_long_limits_get_more_patience() -> None:
    talk, _ = session(lambda frame: b"")
    began = time.monotonic()
    with pytest.raises(AgentHang):
        talk.run([Program(0, Verb.RUN, Leg.ARMED, (Step(0, 0),), limit_us=10_000)])
    assert 1.2 < time.monotonic() - began < 3


def test_a_dead_board_and_a_panic_are_passed_on() -> None:
    talk, script = session(lambda frame: b"", running=3)
    script.died = TargetDied("QEMU was killed by SIGKILL: without a word", returncode=-9)
    with pytest.raises(TargetDied, match="SIGKILL") as caught:
        talk.run([NOP])
    assert caught.value.program == 3 and caught.value.__notes__ == ["program 3 was running"]
    script.died, script.panicked = None, (1, 0x1234)
    with pytest.raises(AgentPanic, match="the agent stopped: a fault of its own at 0x1234 \\(program 3 was running\\)"):
        talk.run([NOP])
    told, _ = session(lambda f: encode(Type.ERROR, f.seq, struct.pack("<II", 0x102, 5)))
    with pytest.raises(AgentPanic, match="unexpected exception 5"):
        told.run([NOP])


# Plans


def test_a_refused_frame_is_named_and_the_rest_is_forgotten() -> None:
    def refusing(frame: Frame) -> bytes:
        status = 3 if frame.type == Type.SEED else 0
        return encode(Type.ACK, frame.seq, struct.pack("<BBHI", frame.type, status, 0, 0x20))

    talk, _ = session(refusing)
    with pytest.raises(AgentError, match="refused seed 0x40: refused value \\(detail 0x20\\)"):
        talk.load_plan(PLAN, seeds=((0x40, b"x"), (0x50, b"y")))
    talk.load_plan(PLAN)


def test_memory_that_is_not_what_was_asked() -> None:
    talk, _ = session(lambda f: encode(Type.MEMORY, f.seq, struct.pack("<IHH", 4, 2, 0) + b"ab"))
    with pytest.raises(AgentError, match="answered 2 bytes at 0x4 where 2 at 0x0 were asked"):
        talk.read_memory(0, 2)
