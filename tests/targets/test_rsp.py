# SPDX-License-Identifier: Apache-2.0
"""The remote serial protocol against QEMU's own stub, and against stubs that do what none should."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from rig.boards.load import load_board
from rig.boards.model import Arch, Board
from rig.build.cc import compile_c, target_flags, zig
from rig.errors import UsageError
from rig.host import tools
from rig.targets.qemu import QemuTarget
from rig.targets.rsp import Rsp, RspError, RspRefused, RspSilent

COUNTER = {  # counts in the first word of the shared RAM, for ever
    Arch.V7M: """
    .syntax unified
    .thumb
    .section .text
    .word {top}, _start
    .thumb_func
    .global _start
_start:
    ldr r1, ={shared}
1:  adds r0, #1
    str r0, [r1]
    b 1b
""",
    Arch.RV32: """
    .section .text
    .global _start
_start:
    li t1, {shared}
1:  addi t0, t0, 1
    sw t0, (t1)
    j 1b
""",
}


@pytest.fixture(scope="module", params=["mps2-an386", "virt-rv32"])
def counting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Board, Path]:
    """A board and an image for it that counts."""
    board = load_board(request.param)
    assert board.roles is not None
    shared = board.roles.shared_ram[0]
    folder = tmp_path_factory.mktemp(board.name)
    (folder / "count.S").write_text(COUNTER[board.arch].format(shared=hex(shared), top=hex(shared + 0x1000)))
    compile_c(board, folder / "count.S", folder / "count.o", ())
    (folder / "link.ld").write_text(f"SECTIONS {{ . = {board.roles.agent_text[0]:#x}; .text : {{ *(.text) }} }}")
    words = ["-nostdlib", "-Wl,-T,link.ld", "-Wl,-e,_start", "-Wl,--no-gc-sections", "count.o", "-o", "count.elf"]
    zig(["cc", *target_flags(board), *words], folder)
    return board, folder / "count.elf"


@pytest.fixture
def target(counting: tuple[Board, Path]) -> Iterator[QemuTarget]:
    board, elf = counting
    assert board.qemu is not None
    with QemuTarget(board, tools.find(f"qemu-system-{board.qemu.system}"), gdb=True) as target:
        target.load(elf)
        target.reset()
        yield target


@pytest.fixture
def counter(counting: tuple[Board, Path]) -> int:
    """Where it counts."""
    assert counting[0].roles is not None
    return counting[0].roles.shared_ram[0]


def moving(target: QemuTarget, counter: int) -> bool:
    """Does the counter move soon? Seen past the stub."""
    first = target.read(counter, 4)
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        if target.read(counter, 4) != first:
            return True
    return False


@pytest.mark.emulator
class TestQemu:
    def test_attaching_stops_the_core_and_letting_go_does_not_end_it(self, target: QemuTarget, counter: int) -> None:
        assert moving(target, counter)
        with Rsp(target.debugger):
            assert not moving(target, counter)
        assert moving(target, counter)

    def test_a_core_runs_and_halts_as_told(self, target: QemuTarget, counter: int) -> None:
        with Rsp(target.debugger) as rsp:
            for _ in range(20):
                rsp.resume()
                assert moving(target, counter)
                assert rsp.halt() == 2
                seen = rsp.read(counter, 4)
                assert rsp.read(counter, 4) == seen == target.read(counter, 4)

    def test_memory_is_read_and_written_in_pieces_that_the_stub_can_take(
        self, target: QemuTarget, counter: int
    ) -> None:
        data = bytes(i * 7 & 0xFF for i in range(10_001))
        at = counter + 0x101
        with Rsp(target.debugger) as rsp:
            rsp.write(at, data)
            assert target.read(at, len(data)) == data
            assert rsp.read(at, len(data)) == data
            assert rsp.read(at, 0) == b""

    def test_memory_that_is_not_there_is_refused(
        self, target: QemuTarget, counter: int, counting: tuple[Board, Path]
    ) -> None:
        hole = next(bank.start for bank in counting[0].banks if bank.kind == "hole")
        with Rsp(target.debugger) as rsp:
            with pytest.raises(RspRefused, match=f"reading 4 bytes at {hole:#x}.*E"):
                rsp.read(hole, 4)
            with pytest.raises(RspRefused, match=f"writing 2 bytes at {hole:#x}.*E"):
                rsp.write(hole, b"ab")
            assert rsp.read(counter, 4)  # it goes on

    def test_an_emulator_that_ends_is_said(self, target: QemuTarget, counter: int) -> None:
        rsp = Rsp(target.debugger)
        target.close()
        with pytest.raises(RspError):
            rsp.read(counter, 4)


@pytest.mark.emulator
def test_without_being_asked_for_there_is_no_door(counting: tuple[Board, Path]) -> None:
    board, elf = counting
    assert board.qemu is not None
    with QemuTarget(board, tools.find(f"qemu-system-{board.qemu.system}")) as target:
        target.load(elf)
        target.reset()
        with pytest.raises(UsageError, match="gdb=True"):
            _ = target.debugger


class Stub:
    """Answers packet after packet with what it was told, then is silent (or gone)."""

    def __init__(self, *replies: bytes, gone: bool = False) -> None:
        self.ours, self._theirs = socket.socketpair()
        self._replies, self._gone = replies, gone
        self.heard = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for reply in (b"T02thread:01;", b"PacketSize=1000", *self._replies):
            if reply.startswith(b"T02"):
                self._theirs.sendall(packet(reply))
                continue
            while self.heard.count(b"#") == self.heard.count(b"!"):
                data = self._theirs.recv(4096)
                if not data:
                    return
                self.heard += data
            self.heard += b"!"  # answered
            self._theirs.sendall(b"+" + (reply if reply.startswith(b"$") else packet(reply)))
        if self._gone:
            self._theirs.close()


def packet(payload: bytes) -> bytes:
    return b"$%s#%02x" % (payload, sum(payload) & 0xFF)


def attached(stub: Stub) -> Rsp:
    return Rsp(stub.ours, timeout=0.3)


def test_a_stop_that_nobody_asked_for_is_no_answer() -> None:
    stub = Stub(b"T02thread:01;", b"00ff")
    assert attached(stub).read(0x100, 2) == b"\x00\xff"
    assert stub.heard.startswith(b"\x03$qSupported#")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"$00ff#00", "damaged"),
        (b"00", "reading 2 bytes at 0x100: the stub answers '00'"),  # too few
        (b"0xff", "the stub answers '0xff'"),
        (b"", "the stub answers ''"),
    ],
)
def test_a_wrong_answer_is_not_taken_for_memory(reply: bytes, words: str) -> None:
    with pytest.raises(RspError, match=words):
        attached(Stub(reply)).read(0x100, 2)


def test_a_write_that_is_not_acknowledged_is_an_error() -> None:
    with pytest.raises(RspError, match="writing 1 bytes at 0x100: the stub answers 'KO'"):
        attached(Stub(b"KO")).write(0x100, b"x")


def test_silence_has_an_end() -> None:
    stub = Stub()
    rsp = attached(stub)
    with pytest.raises(RspSilent, match="waited for an answer to 'm100,2'"):
        rsp.read(0x100, 2)
    with pytest.raises(RspSilent, match="waited for the core to halt"):
        rsp.halt()


def test_a_stub_that_goes_away_is_said() -> None:
    with pytest.raises(RspError, match="the stub is gone"):
        attached(Stub(gone=True)).read(0x100, 2)


def test_something_else_than_a_stub_is_not_attached_to() -> None:
    ours, theirs = socket.socketpair()
    with closing(theirs):
        theirs.sendall(packet(b"HTTP/1.1 400"))
        with pytest.raises(RspError, match="no gdbstub"):
            Rsp(ours, timeout=0.3)


def test_a_flood_without_an_end_is_cut_off() -> None:
    ours, theirs = socket.socketpair()

    def pour() -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the reader had enough
            theirs.sendall(b"$" + bytes(8 << 20))

    with closing(theirs):
        flood = threading.Thread(target=pour, daemon=True)
        flood.start()
        with pytest.raises(RspError, match="without the end of a packet"):
            Rsp(ours, timeout=5.0)
        ours.close()
        flood.join(5)
