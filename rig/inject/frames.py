# SPDX-License-Identifier: Apache-2.0
"""Frames: `COBS(type | flags | seq | payload | crc32) 00` (docs/internals.md, "Wire")."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from cobs import cobs

PAYLOAD_MAX = 8192  # bytes
_HEADER = struct.Struct("<BBH")
_CRC = struct.Struct("<I")
_RAW_MAX = PAYLOAD_MAX + _HEADER.size + _CRC.size + 64  # one frame as it travels, COBS overhead included
EVIDENCE_MAX = 64 << 10  # bytes kept of what is no frame


class Type(IntEnum):
    HELLO = 0x01
    PLAN_CLEAR = 0x02
    CONTEXT = 0x03
    SEAM = 0x04
    SPAN = 0x05
    SEED = 0x06
    WINDOW = 0x07
    BATCH = 0x10
    READ = 0x11
    ACK = 0x80
    HELLO_REPLY = 0x81
    RESULTS = 0x90
    READBACK = 0x91
    BATCH_DONE = 0x92
    MEMORY = 0x93
    ERROR = 0x9F


@dataclass(frozen=True, slots=True)
class Frame:
    type: int
    seq: int
    payload: bytes


def encode(type: int, seq: int, payload: bytes) -> bytes:
    """One frame, ready to send. ValueError above `PAYLOAD_MAX`."""
    if len(payload) > PAYLOAD_MAX:
        raise ValueError(f"payload of {len(payload)} bytes, at most {PAYLOAD_MAX} fit a frame")
    body = _HEADER.pack(type, 0, seq & 0xFFFF) + payload
    return bytes(cobs.encode(body + _CRC.pack(zlib.crc32(body)))) + b"\0"


def decode(raw: bytes) -> Frame | None:
    """The frame in the bytes before a zero; None when they are none."""
    try:
        body = cobs.decode(raw)
    except cobs.DecodeError:
        return None
    if len(body) < _HEADER.size + _CRC.size:
        return None
    if zlib.crc32(body[: -_CRC.size]) != _CRC.unpack(body[-_CRC.size :])[0]:
        return None
    kind, _, seq = _HEADER.unpack_from(body)
    return Frame(kind, seq, body[_HEADER.size : -_CRC.size])


class Reader:
    """Cuts a byte stream into frames. What is no frame is kept as evidence, never parsed."""

    def __init__(self) -> None:
        self.evidence = bytearray()
        self.broken = 0  # pieces between zeros that were no frame
        self._part = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes."""
        if not data:
            return []
        *pieces, rest = (bytes(self._part) + data).split(b"\0")
        frames = []
        for piece in pieces:
            frame = decode(piece) if piece else None
            if frame is not None:
                frames.append(frame)
            elif piece:
                self._keep(piece)
        if len(rest) > _RAW_MAX:  # no frame is that long: keep a sample, wait for the next zero
            self._keep(rest)
            rest = rest[:_RAW_MAX]
        self._part = bytearray(rest)
        return frames

    def _keep(self, piece: bytes) -> None:
        self.broken += 1
        self.evidence += piece[: EVIDENCE_MAX - len(self.evidence)]
