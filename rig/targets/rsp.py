# SPDX-License-Identifier: Apache-2.0
"""GDB's remote serial protocol, the part that QEMU's gdbstub needs: memory, breakpoints, step, continue, stop.

One packet at a time, never pipelined: QEMU 10 loses packets that arrive early. The stream must be reliable (a socket):
no acknowledgement is sent, QEMU takes the next command for one. What QEMU does otherwise than one would think:

* the first byte that reaches a running core stops it and is lost, and an unsolicited stop packet may come before the
  first reply: attaching stops the core here, always;
* a core that stands on a breakpoint stops there again at once: `go` steps first;
* `read` and `write` obey the protection unit with the core's present privilege;
* `?` deletes all breakpoints: it is never sent.

Source: GDB manual, appendix "Remote Serial Protocol".
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from dataclasses import dataclass

from rig.errors import InfrastructureError

PACKET_MAX = 1 << 20  # bytes of a reply; more is no gdbstub
_INTERRUPT = b"\x03"
_STOP = re.compile(rb"[ST]([0-9a-fA-F]{2})")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2})*")


class RspError(InfrastructureError):
    """The stub refused, was silent, or answered what the protocol does not know."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Why the core stands. `signal`: GDB's number (5: breakpoint or step, 2: `halt`)."""

    signal: int
    packet: bytes


class Rsp:
    """One debugger at one stub. Not for several threads."""

    def __init__(self, stream: socket.socket, *, timeout: float = 5.0) -> None:
        """Attach and halt. `stream`: connected to the stub, closed with this object; `timeout`: seconds for a reply."""
        self._socket = stream
        self._timeout = timeout
        self._unread = bytearray()
        self._stands = False  # perhaps on a breakpoint
        self._kinds: dict[int, int] = {}  # of breakpoints, by address
        self._put(_INTERRUPT)
        reply = self._command(b"qSupported")
        found = re.search(rb"PacketSize=([0-9a-fA-F]+)", reply)
        if found is None:
            raise RspError(f"this is no gdbstub that the rig knows: asked what it supports, it answers {_shown(reply)}")
        size = int(found[1], 16)
        self._bytes_max = (min(size, PACKET_MAX) - 64) // 2

    def __enter__(self) -> Rsp:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def read(self, address: int, size: int) -> bytes:
        """Memory as the core sees it now. RspError where it may not."""
        data = b""
        while len(data) < size:
            part = min(size - len(data), self._bytes_max)
            at = address + len(data)
            reply = self._command(b"m%x,%x" % (at, part))
            if not _HEX.fullmatch(reply) or len(reply) != 2 * part:
                raise RspError(f"reading {part} bytes at {at:#x}: the stub answers {_shown(reply)}")
            data += bytes.fromhex(reply.decode())
        return data

    def write(self, address: int, data: bytes) -> None:
        """RspError where the core may not; what was written before stays."""
        for at in range(0, len(data), self._bytes_max):
            part = data[at : at + self._bytes_max]
            self._ok(b"M%x,%x:%s" % (address + at, len(part), part.hex().encode()), f"writing at {address + at:#x}")

    def insert_breakpoint(self, address: int, kind: int) -> None:
        """`kind`: bytes of the instruction there (2 or 4). `address` without a Thumb bit."""
        self._ok(b"Z0,%x,%x" % (address, kind), f"a breakpoint at {address:#x}")
        self._kinds[address] = kind

    def remove_breakpoint(self, address: int) -> None:
        self._ok(b"z0,%x,%x" % (address, self._kinds.pop(address)), f"removing the breakpoint at {address:#x}")

    def step(self) -> Stop:
        """One instruction."""
        self._stands = False
        self._send(b"s")
        return self._stopped(self._timeout, "a step")

    def go(self, timeout: float) -> Stop:
        """Run until a breakpoint. RspError after `timeout` seconds: then the core runs on."""
        self.resume()
        stop = self._stopped(timeout, "the core to reach a breakpoint")
        self._stands = True
        return stop

    def resume(self) -> None:
        """Run, and do not wait."""
        if self._stands:
            self.step()
        self._send(b"c")

    def halt(self) -> Stop:
        """Stop a running core where it is."""
        self._put(_INTERRUPT)
        self._stands = True
        return self._stopped(self._timeout, "the core to halt")

    def close(self) -> None:
        """Let go of the core (it runs on, without breakpoints) and of the stream. Safe to call again."""
        if self._socket.fileno() >= 0:
            with contextlib.suppress(RspError, OSError):
                self._command(b"D")
            self._socket.close()

    # Packets

    def _ok(self, command: bytes, what: str) -> None:
        if (reply := self._command(command)) != b"OK":
            raise RspError(f"{what}: the stub answers {_shown(reply)}")

    def _command(self, command: bytes) -> bytes:
        self._send(command)
        deadline = time.monotonic() + self._timeout
        while True:
            reply = self._receive(deadline, f"an answer to {_shown(command)}")
            if not _STOP.match(reply):  # of attaching, or of a halt that came too late
                return reply

    def _stopped(self, timeout: float, what: str) -> Stop:
        packet = self._receive(time.monotonic() + timeout, what)
        if found := _STOP.match(packet):
            return Stop(int(found[1], 16), packet)
        raise RspError(f"waiting for {what}: the stub answers {_shown(packet)}")

    def _send(self, command: bytes) -> None:
        self._put(b"$%s#%02x" % (command, sum(command) & 0xFF))

    def _put(self, data: bytes) -> None:
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(data)
        except OSError as error:
            raise RspError(f"the stub takes no bytes: {error.strerror or error}") from error

    def _receive(self, deadline: float, what: str) -> bytes:
        """The payload of the next packet."""
        while True:
            start = self._unread.find(b"$")  # before it: acknowledgements
            end = self._unread.find(b"#", start)
            if 0 <= start < end and len(self._unread) >= end + 3:
                packet, check = bytes(self._unread[start + 1 : end]), bytes(self._unread[end + 1 : end + 3])
                del self._unread[: end + 3]
                if check.lower() != b"%02x" % (sum(packet) & 0xFF):
                    raise RspError(f"a packet from the stub is damaged: {_shown(packet)}")
                return packet
            if len(self._unread) > PACKET_MAX:
                raise RspError(f"the stub sent {len(self._unread)} bytes without the end of a packet")
            self._unread += self._more(deadline, what)

    def _more(self, deadline: float, what: str) -> bytes:
        left = deadline - time.monotonic()
        try:
            self._socket.settimeout(max(left, 0.001))
            data = self._socket.recv(1 << 16)
        except TimeoutError as error:
            raise RspError(f"the stub is silent: waited for {what}") from error
        except OSError as error:
            raise RspError(f"the stub is gone: {error.strerror or error}") from error
        if not data:
            raise RspError(f"the stub is gone: waited for {what}")
        return data


def _shown(packet: bytes) -> str:
    text = packet[:80].decode("ascii", "backslashreplace")
    return repr(text + ("…" if len(packet) > 80 else ""))
