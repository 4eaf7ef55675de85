# SPDX-License-Identifier: Apache-2.0
"""GDB's remote serial protocol, as much as reading and writing memory of a core that runs and halts takes.

One packet at a time, never pipelined: QEMU 10 loses packets that arrive early. The stream must be reliable (a socket):
no acknowledgement is sent, QEMU takes the next command for one. What QEMU does otherwise than one would think:

* the first byte that reaches a running core stops it and is lost, and an unsolicited stop packet may come before the
  first reply: attaching stops the core here, always;
* `read` and `write` obey the protection unit with the core's present privilege.

Source: GDB manual, appendix "Remote Serial Protocol".
"""

from __future__ import annotations

import contextlib
import re
import socket
import time

from rig.errors import InfrastructureError

PACKET_MAX = 1 << 20  # bytes of a reply; more is no gdbstub
_INTERRUPT = b"\x03"
_STOP = re.compile(rb"[ST]([0-9a-fA-F]{2})")
_REFUSAL = re.compile(rb"E[0-9a-fA-F]{2}")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2})*")


class RspError(InfrastructureError):
    """The stub refused, is gone, or answered what the protocol does not know."""


class RspRefused(RspError):
    """The stub says it cannot, with an error number: there is no such memory, or the core may not see it now."""


class RspSilent(RspError):
    """No reply in time; a core that was told to run runs on."""


class Rsp:
    """One debugger at one stub. Not for several threads."""

    def __init__(self, stream: socket.socket, *, timeout: float = 5.0) -> None:
        """Attach and halt. `stream`: connected to the stub, closed with this object; `timeout`: seconds for a reply."""
        self._socket = stream
        self._timeout = timeout
        self._unread = bytearray()
        self._put(_INTERRUPT)
        reply = self._command(b"qSupported")
        found = re.search(rb"PacketSize=([0-9a-fA-F]+)", reply)
        if found is None:
            raise RspError(f"this is no gdbstub that the rig knows: asked what it supports, it answers {_shown(reply)}")
        self._bytes_max = (min(int(found[1], 16), PACKET_MAX) - 64) // 2

    def __enter__(self) -> Rsp:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def read(self, address: int, size: int) -> bytes:
        """Memory as the core sees it now. RspRefused where it may not."""
        data = b""
        while len(data) < size:
            part = min(size - len(data), self._bytes_max)
            at = address + len(data)
            reply = self._memory(b"m%x,%x" % (at, part), f"reading {part} bytes at {at:#x}")
            if not _HEX.fullmatch(reply) or len(reply) != 2 * part:
                raise RspError(f"reading {part} bytes at {at:#x}: the stub answers {_shown(reply)}")
            data += bytes.fromhex(reply.decode())
        return data

    def write(self, address: int, data: bytes) -> None:
        """RspRefused where the core may not; what was written before stays."""
        for at in range(0, len(data), self._bytes_max):
            part = data[at : at + self._bytes_max]
            what = f"writing {len(part)} bytes at {address + at:#x}"
            reply = self._memory(b"M%x,%x:%s" % (address + at, len(part), part.hex().encode()), what)
            if reply != b"OK":
                raise RspError(f"{what}: the stub answers {_shown(reply)}")

    def resume(self) -> None:
        """Let the core run."""
        self._send(b"c")

    def halt(self) -> int:
        """Stop the running core where it is; GDB's signal number (2). RspSilent when it does not run."""
        self._put(_INTERRUPT)
        reply = self._receive(time.monotonic() + self._timeout, "the core to halt")
        if found := _STOP.match(reply):
            return int(found[1], 16)
        raise RspError(f"halting the core: the stub answers {_shown(reply)}")

    def close(self) -> None:
        """Let go of the core (it runs on) and of the stream. Safe to call again."""
        if self._socket.fileno() >= 0:
            with contextlib.suppress(RspError, OSError):
                self._command(b"D")
            self._socket.close()

    # Packets

    def _memory(self, command: bytes, what: str) -> bytes:
        reply = self._command(command)
        if _REFUSAL.fullmatch(reply):
            raise RspRefused(f"{what}: the stub answers {_shown(reply)}")
        return reply

    def _command(self, command: bytes) -> bytes:
        self._send(command)
        deadline = time.monotonic() + self._timeout
        while True:
            reply = self._receive(deadline, f"an answer to {_shown(command)}")
            if not _STOP.match(reply):  # of attaching, or of a halt that came too late
                return reply

    def _send(self, command: bytes) -> None:
        self._put(b"$%s#%02x" % (command, sum(command) & 0xFF))

    def _put(self, data: bytes) -> None:
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(data)
        except TimeoutError as error:
            raise RspSilent("the stub takes no bytes") from error
        except OSError as error:
            raise RspError(f"the stub is gone: {error.strerror or error}") from error

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
            raise RspSilent(f"the stub is silent: waited for {what}") from error
        except OSError as error:
            raise RspError(f"the stub is gone: {error.strerror or error}") from error
        if not data:
            raise RspError(f"the stub is gone: waited for {what}")
        return data


def _shown(packet: bytes) -> str:
    text = packet[:80].decode("ascii", "backslashreplace")
    return repr(text + ("…" if len(packet) > 80 else ""))
