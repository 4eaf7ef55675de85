# SPDX-License-Identifier: Apache-2.0
"""A byte stream from a board, always drained by a thread: an emulator stops when nobody reads its UART."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time

from rig.errors import InfrastructureError

KEEP = 64 << 10  # bytes of the log's head and of its tail
QUEUE = 4 << 20  # unread bytes kept for a reader; more are dropped (and stay counted)
_CHUNK = 1 << 16


class Tail:
    """The first and last `KEEP` bytes of an endless stream."""

    def __init__(self) -> None:
        self.total = 0
        self._head = bytearray()
        self._tail = bytearray()

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = KEEP - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room < len(data) else b""
        if len(self._tail) > 2 * KEEP:
            del self._tail[:-KEEP]

    def bytes(self) -> bytes:
        """What was kept; a gap is named."""
        tail = self._tail[-KEEP:]
        gap = self.total - len(self._head) - len(tail)
        return bytes(self._head) + (b"\n... %d bytes left out ...\n" % gap if gap else b"") + bytes(tail)


class SocketConsole:
    """`rig.targets.protocol.Console` over a socket; `also` is a second stream (the emulator's stderr), only kept."""

    def __init__(self, sock: socket.socket, also: int | None = None) -> None:
        self._socket = sock
        self._also = also
        self._log = Tail()
        self._words = Tail()
        self._unread = bytearray()
        self._arrived = threading.Condition()
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._drain, name="console", daemon=True)
        self._thread.start()

    @property
    def log(self) -> bytes:
        with self._arrived:
            return self._log.bytes()

    @property
    def words(self) -> str:
        """What came on the second stream, as text."""
        with self._arrived:
            return self._words.bytes().decode("utf-8", "replace")

    def send(self, data: bytes, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        waiting = memoryview(data)
        while waiting:
            left = deadline - time.monotonic()
            if left <= 0:
                raise InfrastructureError(f"the board's UART takes no more bytes ({len(waiting)} of {len(data)} left)")
            self._socket.settimeout(left)
            try:
                waiting = waiting[self._socket.send(waiting[:_CHUNK]) :]
            except TimeoutError:
                continue
            except OSError as error:
                raise InfrastructureError(f"the board's UART is gone: {error.strerror or error}") from error

    def receive(self, timeout: float) -> bytes:
        with self._arrived:
            if not self._unread:
                self._arrived.wait(timeout)
            data = bytes(self._unread)
            self._unread.clear()
            return data

    def close(self) -> None:
        """End the thread; what was kept stays readable."""
        self._stop.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._socket.close()

    def drain(self, seconds: float) -> None:
        """Wait until both streams have ended (after the board's process did)."""
        self._thread.join(seconds)

    def _drain(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ, self._take)
            if self._also is not None:
                selector.register(self._also, selectors.EVENT_READ, self._keep)
            selector.register(self._stopped, selectors.EVENT_READ, None)
            while len(selector.get_map()) > 1:
                for key, _ in selector.select():
                    if key.data is None:
                        return
                    if not key.data():
                        selector.unregister(key.fileobj)
        # Both streams ended; wake a reader so that it looks whether the board is still there.
        with self._arrived:
            self._arrived.notify_all()

    def _take(self) -> bool:
        try:
            data = self._socket.recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        with self._arrived:
            self._log.add(data)
            self._unread += data[: max(0, QUEUE - len(self._unread))]
            self._arrived.notify_all()
        return bool(data)

    def _keep(self) -> bool:
        assert self._also is not None
        data = os.read(self._also, _CHUNK)
        with self._arrived:
            self._words.add(data)
        return bool(data)
