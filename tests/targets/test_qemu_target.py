# SPDX-License-Identifier: Apache-2.0
"""QEMU as a target: what it leaves behind (nothing), how it dies, and that it cannot be drowned."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rig.boards.load import load_board
from rig.boards.model import Arch, Board
from rig.build.cc import compile_c, target_flags
from rig.errors import InfrastructureError, UsageError
from rig.host import tools
from rig.targets.console import KEEP, Tail
from rig.targets.protocol import SharedTarget, TargetDied
from rig.targets.qemu import QemuTarget

pytestmark = pytest.mark.emulator

FLAGS = ("-O1", "-ffreestanding", "-fno-sanitize=undefined", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables")
# Counts in shared RAM, echoes the UART; a word of the host's choice makes it flood the UART or lock up.
SOURCE = """
typedef unsigned u32;
#define SHARED ((volatile u32 *)%#xu)
#if %d
#define UART ((volatile u32 *)%#xu)
static int get(void) { return UART[1] & 2 ? (int)(UART[0] & 255) : -1; }
static void put(int c) { while (UART[1] & 1); UART[0] = c; }
static void start(void) { UART[4] = 16; UART[2] = 3; (void)UART[0]; }
#else
#define UART ((volatile unsigned char *)%#xu)
static int get(void) { return UART[5] & 1 ? UART[0] : -1; }
static void put(int c) { while (!(UART[5] & 0x20)); UART[0] = c; }
static void start(void) {}
#endif
__attribute__((noreturn)) void image(void)
{
    start();
    put('!');
    for (;;) {
        SHARED[0]++;
        int c = get();
        if (c >= 0) put(c + 1);
        while (SHARED[1] == 1) put('x');
        if (SHARED[1] == 2) *(volatile u32 *)0xE000ED08 = 0x90000000, *(volatile u32 *)0x90000000 = 1;
    }
}
"""
HEAD = {
    Arch.V7M: '.section .head,"ax"\n.word 0x20004000\n.word image\n',
    Arch.RV32: '.section .head,"ax"\nla sp, 0x80080000\nj image\n',
}


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name in ("mps2-an386", "virt-rv32"):
        board = load_board(name)
        assert board.roles is not None and board.uart is not None
        folder = tmp_path_factory.mktemp(name)
        arm = board.arch is Arch.V7M
        source = SOURCE % (board.roles.shared_ram[0], arm, board.uart, board.uart)
        (folder / "image.c").write_text(source)
        (folder / "head.S").write_text(HEAD[board.arch])
        for part in ("image.c", "head.S"):
            compile_c(board, folder / part, folder / f"{part}.o", FLAGS)
        script = f"SECTIONS {{ . = {board.roles.agent_text[0]:#x}; .t : {{ KEEP(*(.head)) *(.text*) *(.rodata*) }} }}"
        (folder / "link.ld").write_text(script)
        elf = folder / "image.elf"
        words = ["cc", *target_flags(board), "-nostdlib", f"-Wl,-T,{folder / 'link.ld'}", "-Wl,-e,image", "-o", elf]
        done = tools.run(tools.find("zig"), [*words, folder / "head.S.o", folder / "image.c.o"], timeout=60)
        assert done.ok, done.err
        made[name] = elf
    return made


def target_on(board: Board) -> QemuTarget:
    assert board.qemu is not None
    return QemuTarget(board, tools.find(f"qemu-system-{board.qemu.system}"))


@pytest.fixture(params=["mps2-an386", "virt-rv32"])
def target(request: pytest.FixtureRequest, images: dict[str, Path]) -> Iterator[QemuTarget]:
    with target_on(load_board(request.param)) as target:
        target.load(images[request.param])
        target.reset()
        yield target


def counter(target: QemuTarget) -> int:
    return int.from_bytes(target.read(start(target), 4), "little")


def start(target: QemuTarget) -> int:
    assert target._board.roles is not None
    return target._board.roles.shared_ram[0]


def pid(target: QemuTarget) -> int:
    assert target._child is not None
    return target._child.pid


def until(what: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until `what()` is true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def hear(target: QemuTarget, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = target.console.receive(5.0)
        assert piece
        data += piece
    return data


# Memory and time


def test_the_hosts_view_is_the_guests_ram(target: QemuTarget) -> None:
    as_target: SharedTarget = target
    until(lambda: counter(target) > 100)
    target.write(start(target), (1 << 30).to_bytes(4, "little"))
    until(lambda: counter(target) > 1 << 30)
    at = start(target) - as_target.shared_start
    assert as_target.shared[at : at + 4].view("<u4")[0] >= 1 << 30


def test_memory_outside_is_refused(target: QemuTarget) -> None:
    end = target.shared_start + len(target.shared)
    for address, size in ((target.shared_start - 1, 1), (end, 1), (end - 3, 4), (0x4000_0000, 4), (start(target), -1)):
        with pytest.raises(UsageError, match="not in the RAM that QEMU shares"):
            target.read(address, size)
    with pytest.raises(UsageError, match="read it through the agent"):
        target.write(end - 1, b"ab")
    assert len(target.read(end - 4, 4)) == 4


def test_halt_and_run(target: QemuTarget) -> None:
    until(lambda: counter(target) > 0)
    target.halt()
    time.sleep(0.05)
    before = counter(target)
    time.sleep(0.1)
    assert counter(target) == before
    target.run()
    until(lambda: counter(target) != before)


def test_reset_is_a_new_machine(target: QemuTarget) -> None:
    until(lambda: counter(target) > 0)
    target.write(start(target) + 4096, b"dirty")
    first = pid(target)
    target.reset()
    assert target.read(start(target) + 4096, 5) == bytes(5)
    assert pid(target) != first and not alive(first)
    until(lambda: counter(target) > 0)


def test_time_counts_instructions(target: QemuTarget) -> None:
    arm = target._board.arch is Arch.V7M
    assert (target.time.unit, target.time.per_tick) == ("instructions", 40 if arm else 1)


# The console


def test_the_console_goes_both_ways(target: QemuTarget) -> None:
    assert hear(target, 1) == b"!"
    target.console.send(b"HAL", 5.0)
    assert hear(target, 3) == b"IBM"
    assert target.console.log == b"!IBM"
    assert target.console.receive(0.05) == b""


def test_a_flood_is_bounded_and_does_not_stop_the_guest(target: QemuTarget) -> None:
    hear(target, 1)
    target.write(start(target) + 4, (1).to_bytes(4, "little"))
    time.sleep(1.0)
    assert len(target.console._unread) <= 4 << 20
    assert len(target.console.log) < 3 * KEEP
    target.write(start(target) + 4, bytes(4))
    before = counter(target)
    until(lambda: counter(target) != before)


def test_a_tail_keeps_both_ends() -> None:
    tail = Tail()
    assert tail.bytes() == b""
    for i in range(3 * KEEP):
        tail.add(bytes([i % 251]))
    kept = tail.bytes()
    assert kept.startswith(bytes(i % 251 for i in range(KEEP)))
    assert kept.endswith(bytes(i % 251 for i in range(2 * KEEP, 3 * KEEP)))
    assert b"... 65536 bytes left out ..." in kept


# Death


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_close_leaves_no_process(target: QemuTarget) -> None:
    process = pid(target)
    target.halt()  # a stopped process must go, too
    target.close()
    target.close()
    assert not alive(process)
    with pytest.raises(UsageError, match="not running: call reset first"):
        target.check()


def test_a_killed_emulator_is_noticed(target: QemuTarget) -> None:
    target.check()
    os.kill(pid(target), signal.SIGKILL)
    with pytest.raises(TargetDied, match="QEMU was killed by SIGKILL") as caught:
        until(lambda: target.check() is not None)
    assert caught.value.returncode == -9 and not caught.value.lockup
    for use in (target.halt, target.run):
        with pytest.raises(TargetDied):
            use()


def test_a_lockup_is_recognised(images: dict[str, Path]) -> None:
    with target_on(load_board("mps2-an386")) as target:
        target.load(images["mps2-an386"])
        target.reset()
        until(lambda: counter(target) > 0)
        target.write(start(target) + 4, (2).to_bytes(4, "little"))
        with pytest.raises(TargetDied, match="the core locked up") as caught:
            until(lambda: target.check() is not None)
    assert caught.value.lockup and "Lockup" in caught.value.last_words and "R15=" in caught.value.last_words


def test_last_words_are_the_emulators_own(images: dict[str, Path]) -> None:
    board = load_board("virt-rv32")
    assert board.qemu is not None
    with target_on(replace(board, qemu=replace(board.qemu, machine="no-such-machine"))) as target:
        target.load(images["virt-rv32"])
        target.reset()
        with pytest.raises(TargetDied, match=r"QEMU ended with exit code 1: .*no-such-machine") as caught:
            until(lambda: target.check() is not None)
    assert caught.value.returncode == 1 and not caught.value.lockup


def test_an_image_that_is_none_locks_the_core_up(tmp_path: Path) -> None:
    broken = tmp_path / "broken.elf"
    broken.write_bytes(b"\x7fELF" + bytes(60))
    with target_on(load_board("mps2-an386")) as target:
        target.load(broken)
        target.reset()
        with pytest.raises(TargetDied, match="the core locked up: qemu: fatal: Lockup"):
            until(lambda: target.check() is not None)


CHILD = """
import sys, time
sys.path[:0] = {path!r}
from rig.boards.load import load_board
from rig.host.tool import Tool
from rig.targets.qemu import QemuTarget
from pathlib import Path
target = QemuTarget(load_board({board!r}), Tool("qemu", Path({qemu!r}), "", "", {env!r}))
target.load(Path({elf!r}))
target.reset()
print(target._child.pid, flush=True)
time.sleep(60)
"""


def test_no_orphan_when_this_process_is_killed(target: QemuTarget, images: dict[str, Path], tmp_path: Path) -> None:
    tool, name = target._tool, target._board.name
    script = tmp_path / "child.py"
    script.write_text(CHILD.format(path=sys.path, board=name, qemu=str(tool.path), env=dict(tool.env),
                                   elf=str(images[name])))  # fmt: skip
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        process = int(child.stdout.readline())
        assert alive(process)
        child.kill()
    until(lambda: not alive(process))


def test_nothing_is_left_on_disk(target: QemuTarget) -> None:
    """RAM and UART have no names: a running QEMU has no file of any folder open."""
    until(lambda: counter(target) > 0)
    links = [str(entry.readlink()) for entry in Path(f"/proc/{pid(target)}/fd").iterdir()]
    assert any("memfd:rig-ram" in link for link in links)
    assert [link for link in links if link.startswith("/") and not link.startswith(("/dev/null", "/memfd:"))] == []


# Wrong use


def test_wrong_use_is_told(images: dict[str, Path]) -> None:
    board = load_board("mps2-an386")
    with target_on(board) as target:
        with pytest.raises(UsageError, match="no image was loaded"):
            target.reset()
        with pytest.raises(UsageError, match=r"absent\.elf: no such image"):
            target.load(Path("absent.elf"))
        for use in (target.halt, target.check, lambda: target.console, lambda: target.shared):
            with pytest.raises(UsageError, match="call reset first"):
                use()
    with pytest.raises(UsageError, match=r"has no \[qemu\] table"):
        QemuTarget(replace(board, qemu=None), tools.find("qemu-system-arm"))
    assert board.qemu is not None
    with pytest.raises(UsageError, match="backend_size is above 0x40000000"):
        target_on(replace(board, qemu=replace(board.qemu, backend_size=1 << 31)))


def test_a_machine_without_room_says_so(target: QemuTarget) -> None:
    """The limit on file sizes stands for a lack of memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(InfrastructureError, match="MiB of memory for the emulated RAM cannot be had"):
            target.reset()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
