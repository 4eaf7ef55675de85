# SPDX-License-Identifier: Apache-2.0
"""Run jobs in child processes, a few at a time, and hand on their events.

A worker is forked, reports through a pipe and dies with its parent. A worker that ends without a result is an
infrastructure error that names the job.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from rig.errors import InfrastructureError, RigError
from rig.host.process import die_with_parent


class Report(Protocol):
    """What a worker calls to tell how far it is. Arguments must pickle."""

    def __call__(self, event: str, **facts: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Event:
    job: int
    name: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    job: int
    result: Any
    error: RigError | None


_fork = multiprocessing.get_context("fork")


def _child(send: Connection, work: Callable[[Any, Report], Any], job: Any, parent: int) -> None:
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends its children
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))  # emulators carry a death signal of their own

    def report(event: str, **facts: Any) -> None:
        send.send(("event", event, facts))

    try:
        send.send(("result", work(job, report), None))
    except RigError as error:
        send.send(("error", str(error), type(error)))
    except Exception as error:
        send.send(("error", f"internal error: {error!r}\n{traceback.format_exc()}", InfrastructureError))
    send.close()


def run_jobs(
    jobs: Sequence[Any], work: Callable[[Any, Report], Any], parallel: int
) -> Generator[Event | Done, None, None]:
    """Yield events as they come and one `Done` per job as it ends. Closing the iterator kills what still runs."""
    waiting = list(enumerate(jobs))
    running: dict[Connection, tuple[int, BaseProcess]] = {}
    process: BaseProcess
    try:
        while waiting or running:
            while waiting and len(running) < max(1, parallel):
                number, job = waiting.pop(0)
                receive, send = _fork.Pipe(duplex=False)
                process = _fork.Process(target=_child, args=(send, work, job, os.getpid()), daemon=True)
                process.start()
                send.close()
                running[receive] = (number, process)
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                number, process = running[ready]
                try:
                    kind, value, extra = ready.recv()
                except (EOFError, OSError):
                    process.join(5)
                    yield Done(number, None, InfrastructureError(f"the worker died (exit {process.exitcode})"))
                    _forget(running, ready)
                    continue
                if kind == "event":
                    yield Event(number, value, extra)
                    continue
                process.join(5)
                _forget(running, ready)
                if kind == "result":
                    yield Done(number, value, None)
                else:
                    yield Done(number, None, _rebuild(extra, value))
    finally:
        for _number, process in running.values():
            process.terminate()
        for _number, process in running.values():
            process.join(5)
            if process.is_alive():
                process.kill()


def _forget(running: dict[Connection, tuple[int, BaseProcess]], ready: Connection) -> None:
    with contextlib.suppress(OSError):
        ready.close()
    del running[ready]


def _rebuild(kind: type[RigError], message: str) -> RigError:
    return kind(message)
