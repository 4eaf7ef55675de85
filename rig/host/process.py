# SPDX-License-Identifier: Apache-2.0
"""Child processes: list arguments, a group of their own, bounded time and output, no orphans.

* `execute` runs a command to its end; `start` gives a long-running child.
* A child is killed with its whole group on time-out, on an exception and on Ctrl-C, and the kernel kills it when this
  process dies in any other way (PR_SET_PDEATHSIG). Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import IO

from rig.errors import InfrastructureError

OUTPUT_LIMIT = 8 << 20  # bytes kept of each stream; the rest is read and dropped
_CHUNK = 1 << 16
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)

Argument = str | Path
Descriptor = int | IO[bytes] | None


class ToolTimeout(InfrastructureError):
    """A command did not end in time and was killed with its group."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended. `returncode` is negative for a signal; streams are cut at the limit (`truncated`)."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes
    seconds: float
    truncated: bool

    @property
    def ok(self) -> bool:
        return self.returncode == 0

    @property
    def out(self) -> str:
        """Standard output as text (bytes that are not UTF-8 replaced)."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def err(self) -> str:
        """Standard error as text."""
        return self.stderr.decode("utf-8", "replace")

    @property
    def command(self) -> str:
        """The command as one would type it."""
        return shlex.join(self.argv)


class Child(subprocess.Popen[bytes]):
    """A long-running child in a group of its own; leaving the `with` block kills the group."""

    def kill_group(self) -> None:
        """Kill the child and everything it started, and reap it. Safe to call again."""
        if self.returncode is None:  # not reaped yet, so the group id is still ours
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait()

    def __exit__(self, *exception: object) -> None:
        self.kill_group()
        super().__exit__(None, None, None)  # closes the pipes


def start(
    argv: Sequence[Argument],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: Descriptor = subprocess.DEVNULL,
    stdout: Descriptor = subprocess.DEVNULL,
    stderr: Descriptor = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> Child:
    """Start a long-running child; `env` is added to this process's environment.

    Raises InfrastructureError where the program cannot be started.
    """
    words = [str(word) for word in argv]
    parent = os.getpid()

    def spawn() -> Child:
        return Child(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, parent),
        )

    try:
        return _spawner(parent).submit(spawn).result()
    except FileNotFoundError as error:
        missing = f"folder {cwd}" if cwd is not None and not cwd.is_dir() else words[0]
        raise InfrastructureError(f"cannot start {words[0]}: {missing} does not exist") from error
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise InfrastructureError(f"cannot start {words[0]}: {error}") from error


def die_with_parent(parent: int) -> None:
    """In a child that `parent` just forked: be killed by the kernel when the thread that forked it ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before prctl
        os._exit(127)


@lru_cache(maxsize=1)
def _spawner(_pid: int) -> ThreadPoolExecutor:
    # The kernel's "parent" is the *thread* that forked: a child of a short-lived thread would die with that thread.
    # So all children are forked by one thread that lives as long as this process (the key: a fork has no threads).
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


def execute(
    argv: Sequence[Argument],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    input: bytes | None = None,
    limit: int = OUTPUT_LIMIT,
    watch: Callable[[str], None] | None = None,
) -> Completed:
    """Run a command to its end and return what it said; a non-zero exit is not an error here.

    `timeout` in seconds; `env` is added to this process's environment. `watch` gets every line of both streams as it
    comes, and "" once a second while there is none. Raises ToolTimeout; InfrastructureError where it cannot start.
    """
    began = time.monotonic()
    words = tuple(str(word) for word in argv)
    pipe = subprocess.PIPE
    stdin = subprocess.DEVNULL if input is None else pipe
    with start(words, env=env, cwd=cwd, stdin=stdin, stdout=pipe, stderr=pipe) as child:
        assert child.stdout is not None and child.stderr is not None
        out, err = _Stream(child.stdout, limit, watch), _Stream(child.stderr, limit, watch)
        try:
            _pump(child, (out, err), input, began + timeout, watch)
        except TimeoutError as error:
            message = f"{words[0]} did not end in {timeout:g} s and was killed: {shlex.join(words)}"
            raise ToolTimeout(message[:2000]) from error
        child.kill_group()  # whatever it left behind
    return Completed(
        argv=words,
        returncode=child.returncode,
        stdout=bytes(out.kept),
        stderr=bytes(err.kept),
        seconds=time.monotonic() - began,
        truncated=out.dropped or err.dropped,
    )


class _Stream:
    """One output pipe of a child: keeps up to `limit` bytes, hands complete lines to `watch`."""

    def __init__(self, pipe: IO[bytes], limit: int, watch: Callable[[str], None] | None) -> None:
        self.pipe = pipe
        self.kept = bytearray()
        self.dropped = False
        self._limit = limit
        self._watch = watch
        self._line = b""

    def take(self, data: bytes) -> None:
        room = self._limit - len(self.kept)
        self.kept += data[:room]
        self.dropped |= len(data) > room
        if self._watch is not None:
            *lines, rest = (self._line + data).replace(b"\r", b"\n").split(b"\n")
            self._line = rest[-_CHUNK:]
            for line in lines:
                if line.strip():
                    self._watch(line.decode("utf-8", "replace"))


def _pump(
    child: Child,
    streams: tuple[_Stream, _Stream],
    input: bytes | None,
    deadline: float,
    watch: Callable[[str], None] | None,
) -> None:
    """Feed `input` and read both streams until the child has ended and its pipes are drained, or TimeoutError."""
    ended = os.pidfd_open(child.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(ended, selectors.EVENT_READ)
            for stream in streams:
                selector.register(stream.pipe, selectors.EVENT_READ, stream)
            if child.stdin is not None:
                os.set_blocking(child.stdin.fileno(), False)
                selector.register(child.stdin, selectors.EVENT_WRITE)
            waiting = memoryview(input or b"")
            while selector.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                events = selector.select(min(left, 1.0))
                if not events and watch is not None:
                    watch("")
                for key, _ in events:
                    if key.fd == ended:
                        selector.unregister(ended)
                        # Not reaped yet, so the group id is still ours: end what else holds the pipes open.
                        os.killpg(child.pid, signal.SIGKILL)
                    elif isinstance(key.data, _Stream):
                        if data := os.read(key.fd, _CHUNK):
                            key.data.take(data)
                        else:
                            selector.unregister(key.fileobj)
                    elif child.stdin is not None:
                        waiting = waiting[_write(key.fd, waiting) :]
                        if not waiting:
                            selector.unregister(child.stdin)
                            child.stdin.close()
    finally:
        os.close(ended)


def _write(fd: int, data: memoryview) -> int:
    """Write what the pipe takes; a reader that is gone takes all (its exit code tells the rest)."""
    try:
        return os.write(fd, data[:_CHUNK])
    except BrokenPipeError:
        return len(data)
