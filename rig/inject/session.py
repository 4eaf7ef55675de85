# SPDX-License-Identifier: Apache-2.0
"""A conversation with an agent: HELLO, the plan, batches of programs. Every wait has an end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol, TypeVar

from rig.errors import InfrastructureError
from rig.inject import wire
from rig.inject.carriers import Carrier
from rig.inject.frames import Frame, Reader, Type, encode
from rig.inject.model import Hello, Observation, Program, ReadBack
from rig.plan.model import ContextPlan, Kind, Plan
from rig.targets.protocol import TargetDied

_STATUS = {1: "wrong length", 2: "no such index", 3: "refused value", 4: "no room left", 5: "unknown frame type"}
_ERRORS = {1: "a frame arrived damaged", 2: "a frame was too long", 3: "a batch could not be read to its end"}
_PANICS = {1: "a fault of its own at {detail:#x}", 2: "unexpected exception {detail}", 3: "it cannot start"}
_PANIC = 0x100  # ERROR codes above it
_HELLO_EVERY = 0.5  # seconds between attempts
_BATCHES_AHEAD = 3  # BATCH frames in flight
_STALE = 1000  # answers to an exchange that was given up, at most

_T = TypeVar("_T")


class AgentError(InfrastructureError):
    """The agent, or the way to it, failed. `program`: index of the program that was running, if known."""

    def __init__(self, message: str, program: int | None = None) -> None:
        running = "" if program is None else f" (program {program} was running)"
        super().__init__(message + running)
        self.program = program


class AgentHang(AgentError):
    """No answer in time: the program that was running stopped the board."""


class AgentPanic(AgentError):
    """The agent itself faulted: its own protection did not hold, or it has a bug."""


class Fill(Protocol):
    """A span that the agent zeroes (kind 0) or fills from a canary stream (kind 1) at FRESH."""

    @property
    def kind(self) -> int: ...
    @property
    def address(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def seed(self) -> int: ...


class Session:
    """One agent, from its start to its end. Not for several threads."""

    def __init__(self, carrier: Carrier, *, patience: float = 10.0) -> None:
        """`patience`: seconds of the host's clock without any sign of life; programs with long limits get more."""
        self._carrier = carrier
        self._patience = patience
        self._reader = Reader()
        self._frames: deque[Frame] = deque()
        self._seq = 0
        self.read_backs: list[ReadBack] = []  # collected by `run`, in order of arrival; the caller may clear it
        self.ticks = 0  # unprivileged time of all batches, in ticks of the platform

    @property
    def evidence(self) -> bytes:
        """Bytes that were no frame (before HELLO, or broken), bounded."""
        return bytes(self._reader.evidence)

    def hello(self, nonce: int, *, timeout: float = 10.0) -> Hello:
        """Who is there? Raises AgentError when nobody answers this nonce in `timeout` seconds."""
        with self._awake():
            return self._greet(nonce, timeout)

    def _greet(self, nonce: int, timeout: float) -> Hello:
        deadline = time.monotonic() + timeout
        self._carrier.open(timeout)
        while (left := deadline - time.monotonic()) > 0:
            self._send(Type.HELLO, wire.hello(nonce))
            for frame in self._arriving(min(left, _HELLO_EVERY)):
                if frame.type != Type.HELLO_REPLY:
                    continue
                answer = self._decoded(wire.decode_hello, frame)
                if answer.nonce == nonce:
                    return self._known(answer)
        raise AgentError(f"no agent answered HELLO in {timeout:g} s")

    def load_plan(
        self,
        plan: Plan,
        *,
        spans: Iterable[Fill] = (),
        seeds: Iterable[tuple[int, bytes]] = (),
        extra: Iterable[ContextPlan] = (),
    ) -> None:
        """Replace the agent's plan. `extra`: contexts beside the plan's own (variants of W-17, W-18).

        Raises AgentError naming the frame that the agent refused.
        """
        ends = {placed.index: placed.end for placed in plan.placement.all(Kind.STACK)}
        frames: list[tuple[Type, bytes, str]] = [(Type.PLAN_CLEAR, b"", "clearing the plan")]
        for placed in plan.placement.all(Kind.WINDOW):
            frames.append((Type.WINDOW, wire.window(placed.start, placed.size), "the window"))
        for c in (*plan.contexts, *extra):
            frames.append((Type.CONTEXT, wire.context(c, ends.get(c.owner, c.sp)), f"context {c.id}"))
        frames += ((Type.SEAM, wire.seam(s), f"seam {s.index}") for s in plan.seams)
        frames += ((Type.SPAN, wire.span(s.kind, s.address, s.length, s.seed), f"span {s.address:#x}") for s in spans)
        for address, data in seeds:
            for at in range(0, len(data), wire.SEED_MAX):
                part = data[at : at + wire.SEED_MAX]
                frames.append((Type.SEED, wire.seed(address + at, part), f"seed {address + at:#x}"))
        with self._awake():
            self._exchange(frames)

    def run(self, programs: Sequence[Program]) -> list[Observation]:
        """Carry out programs; observations in the same order. READBACKs go to `read_backs`.

        Raises AgentHang (naming the program), AgentPanic, TargetDied from the carrier, or AgentError.
        """
        with self._awake():
            return self._carry_out(programs)

    def _carry_out(self, programs: Sequence[Program]) -> list[Observation]:
        observations: list[Observation] = []
        waiting = wire.batches(programs)
        in_flight: deque[tuple[int, int]] = deque()  # (seq, programs) of each batch on its way
        finished = 0
        following: tuple[bytes, int] | None = next(waiting, None)
        patience = self._patience + max((_seconds(p) for p in programs), default=0.0)
        while following is not None or in_flight:
            while following is not None and len(in_flight) < _BATCHES_AHEAD:
                in_flight.append((self._send(Type.BATCH, following[0]), following[1]))
                following = next(waiting, None)
            seq, programs_in_it = in_flight[0]
            frame = self._next(seq, patience)
            if frame.type == Type.RESULTS:
                observations += self._decoded(wire.decode_results, frame)
            elif frame.type == Type.READBACK:
                self.read_backs.append(self._decoded(wire.decode_readback, frame))
            elif frame.type == Type.BATCH_DONE:
                done, ticks = self._pair(frame)
                in_flight.popleft()
                finished += programs_in_it
                self.ticks += ticks
                if done != programs_in_it or len(observations) != finished:
                    reported = f"{len(observations)} of {finished} programs are reported"
                    raise AgentError(f"the agent did {done} programs of {programs_in_it}, {reported}")
            else:
                raise self._unexpected(frame)
        for p, o in zip(programs, observations, strict=True):
            if p.index != o.index:
                raise AgentError(f"the agent reported program {o.index} where {p.index} was due")
        return observations

    def read_memory(self, address: int, length: int) -> bytes:
        """Memory through the agent (peripherals and private registers too). Raises AgentError where it faults."""
        with self._awake():
            return self._fetch(address, length)

    def _fetch(self, address: int, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = min(length - len(data), wire.SEED_MAX)
            frame = self._next(self._send(Type.READ, wire.read(address + len(data), part)), self._patience)
            if frame.type != Type.MEMORY:
                raise self._unexpected(frame)
            at, piece = self._decoded(wire.decode_memory, frame)
            if at != address + len(data) or len(piece) != part:
                asked = f"{part} at {address + len(data):#x}"
                raise AgentError(f"the agent answered {len(piece)} bytes at {at:#x} where {asked} were asked")
            data += piece
        return data

    # Frames

    @contextmanager
    def _awake(self) -> Iterator[None]:
        self._carrier.wake()
        try:
            yield
        finally:
            with suppress(InfrastructureError):  # gone: whoever uses it next is told
                self._carrier.rest()

    def _send(self, kind: Type, payload: bytes) -> int:
        """Returns the sequence number that all answers will carry."""
        self._seq = (self._seq + 1) & 0xFFFF
        self._carrier.send(encode(kind, self._seq, payload), self._patience)
        return self._seq

    def _exchange(self, frames: Sequence[tuple[Type, bytes, str]]) -> None:
        """Send frames and collect an ACK for each, with as many on their way as fit."""
        unanswered: deque[tuple[int, int, str]] = deque()  # (seq, bytes on their way, what)
        room = self._carrier.capacity // 2
        for kind, payload, what in frames:
            while unanswered and sum(size for _, size, _ in unanswered) + len(payload) > room:
                seq, _, sent = unanswered.popleft()
                self._acknowledged(seq, sent)
            unanswered.append((self._send(kind, payload), len(payload) + 64, what))
        for seq, _, sent in unanswered:
            self._acknowledged(seq, sent)

    def _acknowledged(self, seq: int, what: str) -> None:
        frame = self._next(seq, self._patience)
        if frame.type != Type.ACK:
            raise self._unexpected(frame)
        _, status, detail = self._decoded(wire.decode_ack, frame)
        if status:
            raise AgentError(f"the agent refused {what}: {_status(status, detail)}")

    def _arriving(self, seconds: float) -> Iterator[Frame]:
        """Frames until one wait of `seconds` brings nothing."""
        while True:
            while self._frames:
                yield self._frames.popleft()
            data = self._carrier.receive(seconds)
            if not data:
                self._look()
                return
            self._frames += self._reader.feed(data)

    def _next(self, seq: int, patience: float) -> Frame:
        """The next frame that answers `seq`, or an ERROR; what is left of an exchange that was given up is dropped."""
        for _ in range(_STALE):
            frame = self._any(patience)
            if frame.seq == seq or frame.type == Type.ERROR:
                return frame
        raise AgentError(f"{_STALE} frames arrived that nobody asked for", self._carrier.running())

    def _any(self, patience: float) -> Frame:
        """The next frame. AgentHang after `patience` seconds in which none came and no other program started."""
        deadline = time.monotonic() + patience
        running = self._carrier.running()
        while True:
            if self._frames:
                return self._frames.popleft()
            data = self._carrier.receive(0.2)
            self._frames += self._reader.feed(data)
            now = time.monotonic()
            if not data:
                self._look()
            if (latest := self._carrier.running()) != running:
                running, deadline = latest, now + patience
            elif now > deadline and not self._frames:
                raise AgentHang(f"no sign of life for {patience:.0f} s", running)

    def _look(self) -> None:
        """Is everybody alive?"""
        running = self._carrier.running()
        try:
            self._carrier.check()
        except TargetDied as error:
            error.program = running
            if running is not None:
                error.add_note(f"program {running} was running")
            raise
        if (panic := self._carrier.panic()) is not None:
            raise _panicked(*panic, running)

    def _known(self, answer: Hello) -> Hello:
        if answer.protocol != wire.PROTOCOL:
            raise AgentError(f"the agent speaks protocol {answer.protocol}, this rig {wire.PROTOCOL}: build it again")
        return answer

    def _pair(self, frame: Frame) -> tuple[int, int]:
        try:
            return wire.decode_pair(frame.payload, "frame")
        except ValueError as error:
            raise AgentError(f"the agent sent nonsense: {error}") from error

    def _decoded(self, decoder: Callable[[bytes], _T], frame: Frame) -> _T:
        try:
            return decoder(frame.payload)
        except ValueError as error:
            raise AgentError(f"the agent sent nonsense: {error}") from error

    def _unexpected(self, frame: Frame) -> AgentError:
        running = self._carrier.running()
        if frame.type == Type.ERROR:
            code, detail = self._pair(frame)
            if code > _PANIC:
                return _panicked(code - _PANIC, detail, running)
            return AgentError(f"the agent reports: {_ERRORS.get(code, f'error {code}')} (detail {detail:#x})", running)
        if frame.type == Type.ACK:
            _, status, detail = self._decoded(wire.decode_ack, frame)
            return AgentError(f"the agent refused: {_status(status, detail)}", running)
        return AgentError(f"a frame of type {frame.type:#x} arrived out of turn", running)


def _panicked(code: int, detail: int, running: int | None) -> AgentPanic:
    why = _PANICS.get(code, "panic {code}, detail {detail:#x}").format(code=code, detail=detail)
    return AgentPanic(f"the agent stopped: {why}", running)


def _status(status: int, detail: int) -> str:
    return f"{_STATUS.get(status, f'status {status}')} (detail {detail:#x})"


def _seconds(p: Program) -> float:
    """Host seconds that a program may need: 100 times its virtual time (an emulator that jumps in small circles on a
    busy host runs 10 million instructions per second)."""
    return 100e-6 * p.limit_us
