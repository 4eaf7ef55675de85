# SPDX-License-Identifier: Apache-2.0
"""QEMU as a board. The guest's RAM is a memory file that this process maps too: the fast way in and out.

Nothing is left behind, however this process ends: RAM is an anonymous memory file, the UART a socket pair, no monitor
and no network exist, and the kernel ends QEMU together with this process.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rig.boards.model import Arch, Board, Qemu
from rig.errors import InfrastructureError, UsageError
from rig.host.process import Child
from rig.host.tool import Tool, spawn
from rig.targets.console import SocketConsole
from rig.targets.protocol import TargetDied, Timebase

_LOCKUP = "Lockup"  # "qemu: fatal: Lockup: can't escalate 3 to HardFault (current priority -1)"
_SYSTICK_HZ = 25_000_000  # of the mps2 machines
_CPUCLOCK_SCHED = 2  # of a whole process: clock_getcpuclockid(3)
_RAM_MAX = 1 << 30  # bytes
_NS = 1_000_000_000  # -icount shift=0: one instruction is one virtual nanosecond


class QemuTarget:
    """`rig.targets.protocol.Target` on QEMU. `load`, then `reset` starts a new process on zeroed RAM."""

    def __init__(self, board: Board, qemu: Tool, *, icount: bool = True, gdb: bool = False) -> None:
        """`icount`: virtual time counts instructions, so that time limits and ticks repeat exactly. `gdb`: `reset`
        also opens a debugger's door, `debugger`."""
        if board.qemu is None:
            raise UsageError(f"board {board.name} has no [qemu] table: it cannot be emulated")
        if board.qemu.backend_size > _RAM_MAX:
            raise UsageError(f"board {board.name}: qemu.backend_size is above {_RAM_MAX:#x}: all of it is really used")
        self._board, self._machine, self._tool, self._icount = board, board.qemu, qemu, icount
        self._gdb = gdb
        self._elf: Path | None = None
        self._debugger: socket.socket | None = None
        self._live = ExitStack()
        self._child: Child | None = None
        self._console: SocketConsole | None = None
        self._ram: npt.NDArray[np.uint8] | None = None

    def __enter__(self) -> QemuTarget:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def load(self, elf: Path) -> None:
        if not elf.is_file():
            raise UsageError(f"{elf}: no such image")
        self._elf = elf

    def reset(self) -> None:
        self.close()
        if self._elf is None:
            raise UsageError("no image was loaded: call load first")
        with ExitStack() as stack:
            memory = _memory(self._machine.backend_size, stack)
            ours, theirs = socket.socketpair()
            stack.callback(ours.close)
            with ExitStack() as inherited:
                inherited.enter_context(theirs)
                argv = command(self._machine, self._elf, memory, theirs.fileno(), self._icount)
                passed = [memory, theirs.fileno()]
                if self._gdb:
                    self._debugger, stub = socket.socketpair()
                    stack.callback(self._debugger.close)
                    inherited.enter_context(stub)
                    argv += debugger(stub.fileno())
                    passed.append(stub.fileno())
                child = stack.enter_context(spawn(self._tool, argv, stderr=subprocess.PIPE, pass_fds=passed))
            assert child.stderr is not None
            self._console = SocketConsole(ours, child.stderr.fileno())
            stack.callback(self._console.close)
            mapped = mmap.mmap(memory, self._machine.backend_size)
            self._ram = np.frombuffer(mapped, dtype=np.uint8)
            self._child = child
            self._live = stack.pop_all()

    def close(self) -> None:
        """Ends the process; the mapped RAM stays valid for whoever still holds `shared`."""
        self._live.close()
        self._live = ExitStack()
        self._child = None

    def run(self) -> None:
        self._signal(signal.SIGCONT)

    def halt(self) -> None:
        self._signal(signal.SIGSTOP)

    def read(self, address: int, size: int) -> bytes:
        at = self._offset(address, size)
        return self.shared[at : at + size].tobytes()

    def write(self, address: int, data: bytes) -> None:
        at = self._offset(address, len(data))
        self.shared[at : at + len(data)] = np.frombuffer(data, dtype=np.uint8)

    def check(self) -> None:
        code = self._started().poll()
        if code is None:
            return
        console = self.console
        console.drain(2.0)
        words = console.words.strip()[-2000:]
        if -code == signal.SIGABRT and _LOCKUP in words:
            why = next(line for line in words.splitlines() if _LOCKUP in line)
            raise TargetDied(f"the core locked up: {why}", returncode=code, lockup=True, last_words=words)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        why = "; ".join(words.splitlines()[-3:])[:500] if words else "without a word"
        raise TargetDied(f"QEMU {how}: {why}", returncode=code, last_words=words)

    @property
    def console(self) -> SocketConsole:
        if self._console is None:
            raise UsageError("the target was never started: call reset first")
        return self._console

    @property
    def debugger(self) -> socket.socket:
        """A stream to the gdbstub (`rig.targets.rsp`); the core runs until it is told to halt."""
        if self._debugger is None:
            raise UsageError("the target has no debugger's door: make it with gdb=True and call reset")
        return self._debugger

    @property
    def time(self) -> Timebase:
        if not self._icount:
            raise UsageError("without icount the emulator's time is the host's and says nothing")
        if self._board.arch is Arch.V7M:
            return Timebase("instructions", _NS // (self._board.timer_hz or _SYSTICK_HZ))
        return Timebase("instructions", 1)  # mcycle

    @property
    def cpu_seconds(self) -> float:
        """Processor time the emulator has taken since its start; other load on the host does not count."""
        return time.clock_gettime(~self._started().pid << 3 | _CPUCLOCK_SCHED)

    @property
    def shared(self) -> npt.NDArray[np.uint8]:
        """The guest's RAM as it is right now; byte 0 is the address `shared_start`."""
        if self._ram is None:
            raise UsageError("the target was never started: call reset first")
        return self._ram

    @property
    def shared_start(self) -> int:
        return self._machine.backend_start

    def _started(self) -> Child:
        if self._child is None:
            raise UsageError("the target is not running: call reset first")
        return self._child

    def _signal(self, number: signal.Signals) -> None:
        child = self._started()
        self.check()
        os.kill(child.pid, number)

    def _offset(self, address: int, size: int) -> int:
        at = address - self.shared_start
        if size < 0 or at < 0 or at + size > len(self.shared):
            end = self.shared_start + len(self.shared)
            raise UsageError(f"[{address:#x}, +{size:#x}) is not in the RAM that QEMU shares with the host, "
                             f"[{self.shared_start:#x}, {end:#x}): read it through the agent")
        return at


def command(machine: Qemu, elf: Path, memory: int, uart: int, icount: bool) -> list[str | Path]:
    """QEMU's arguments; `memory` and `uart` are descriptors that it inherits."""
    words: list[str | Path] = [
        "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot",
        "-semihosting-config", "enable=off",
        "-object", f"memory-backend-file,id={machine.backend},size={machine.backend_size},share=on,"
                   f"mem-path=/proc/self/fd/{memory}",
        "-machine", f"{machine.machine},memory-backend={machine.backend}",
        "-chardev", f"socket,id=uart,fd={uart}", "-serial", "chardev:uart",
        *machine.args, "-kernel", elf,
    ]  # fmt: skip
    if machine.cpu is not None:
        words += ["-cpu", machine.cpu]
    if icount:
        words += ["-icount", "shift=0,sleep=off"]
    return words


def debugger(stub: int) -> list[str | Path]:
    """More arguments: a gdbstub behind the inherited socket `stub`."""
    return ["-chardev", f"socket,id=gdb,fd={stub}", "-gdb", "chardev:gdb"]


def _memory(size: int, stack: ExitStack) -> int:
    """An anonymous file of zeroes, fully backed, so that a machine without room says so now and not by SIGBUS."""
    try:
        fd = os.memfd_create("rig-ram", os.MFD_CLOEXEC)
        stack.callback(os.close, fd)
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        raise InfrastructureError(f"{size >> 20} MiB of memory for the emulated RAM cannot be had: "
                                  f"{error.strerror or error}; run fewer emulators (-j)") from error
    return fd
