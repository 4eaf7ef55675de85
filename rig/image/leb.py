# SPDX-License-Identifier: Apache-2.0
"""A cursor over bytes that never reads past its end and names file and offset when something is wrong."""

from __future__ import annotations

from typing import NoReturn

from rig.errors import UsageError


class Cursor:
    """Reads little-endian integers, LEB128 and names from `data[pos:end]`. Every failure is a UsageError."""

    __slots__ = ("data", "end", "pos", "what")

    def __init__(self, data: bytes, what: str, pos: int = 0, end: int | None = None) -> None:
        self.data, self.what, self.pos = data, what, pos
        self.end = len(data) if end is None else end

    def fail(self, why: str, at: int | None = None) -> NoReturn:
        offset = self.pos if at is None else at
        raise UsageError(f"{self.what}: {why} at byte {offset:#x}; the file is damaged: build it again")

    @property
    def left(self) -> int:
        return self.end - self.pos

    def sub(self, size: int) -> Cursor:
        """A cursor over the next `size` bytes; this one moves behind them."""
        if size > self.left:
            self.fail(f"needs {size} bytes where {self.left} are left")
        inner = Cursor(self.data, self.what, self.pos, self.pos + size)
        self.pos += size
        return inner

    def take(self, size: int) -> bytes:
        if size > self.left:
            self.fail(f"needs {size} bytes where {self.left} are left")
        self.pos += size
        return self.data[self.pos - size : self.pos]

    def u8(self) -> int:
        if self.pos >= self.end:
            self.fail("ends too early")
        self.pos += 1
        return self.data[self.pos - 1]

    def fixed(self, size: int) -> int:
        """Unsigned little-endian integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def u32(self) -> int:
        """Unsigned LEB128 of at most 32 bits."""
        start, result, shift = self.pos, 0, 0
        if start < self.end and self.data[start] < 0x80:  # nearly all of them
            self.pos = start + 1
            return self.data[start]
        while True:
            byte = self.u8()
            result |= (byte & 0x7F) << shift
            if not byte & 0x80:
                break
            shift += 7
            if shift > 28:
                byte = self.u8()
                result |= byte << shift
                break
        if result > 0xFFFF_FFFF:
            self.fail("integer does not fit 32 bits", start)
        return result

    def signed(self, bits: int) -> int:
        """Signed LEB128 of at most `bits` bits."""
        start, result, shift = self.pos, 0, 0
        while True:
            byte = self.u8()
            result |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
            if shift >= bits:
                self.fail(f"integer is longer than {bits} bits", start)
        if byte & 0x40:
            result -= 1 << shift
        if not -(1 << (bits - 1)) <= result < 1 << (bits - 1):
            self.fail(f"integer does not fit {bits} bits", start)
        return result

    def count(self, what: str) -> int:
        """Length of a vector; each element takes at least one byte, so a larger count is a lie."""
        start, n = self.pos, self.u32()
        if n > self.left:
            self.fail(f"{n} {what} announced in {self.left} bytes", start)
        return n

    def name(self) -> str:
        start = self.pos
        raw = self.take(self.u32())
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.fail("name is not UTF-8", start)

    def done(self, what: str) -> None:
        if self.pos != self.end:
            self.fail(f"{what} has {self.left} bytes too many")
