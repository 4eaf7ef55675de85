# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import zlib

import pytest
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

from rig.inject import frames
from rig.inject.frames import EVIDENCE_MAX, PAYLOAD_MAX, Frame, Reader, encode

payloads = st.one_of(st.binary(max_size=600), st.integers(0, PAYLOAD_MAX).map(bytes),
                     st.integers(0, PAYLOAD_MAX).map(lambda n: b"\x01" * n))  # fmt: skip


def test_a_frame_as_written_in_the_contract() -> None:
    body = b"\x06\x00\x34\x12\xaa\x00\xbb"
    assert encode(0x06, 0x1234, b"\xaa\x00\xbb") == cobs.encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\0"


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 0xFFFF), payloads), max_size=4), st.integers(1, 977))
def test_frames_arrive_whatever_the_pieces(sent: list[tuple[int, int, bytes]], piece: int) -> None:
    stream = b"".join(encode(*frame) for frame in sent)
    reader = Reader()
    found = [f for i in range(0, len(stream), piece) for f in reader.feed(stream[i : i + piece])]
    assert found == [Frame(*frame) for frame in sent]
    assert reader.evidence == b"" and reader.broken == 0


@given(payloads, st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_frame_is_never_taken_for_another(payload: bytes, at: int, flip: int) -> None:
    data = bytearray(encode(0x90, 7, payload))
    data[at % (len(data) - 1)] ^= flip
    reader = Reader()
    assert reader.feed(bytes(data)) == []
    assert reader.broken > 0
    assert reader.feed(encode(0x80, 8, b"next")) == [Frame(0x80, 8, b"next")]


@given(st.binary(max_size=3000))
def test_noise_is_kept_as_evidence_and_hides_nothing(noise: bytes) -> None:
    reader = Reader()
    reader.feed(noise + b"\0")
    assert reader.feed(encode(1, 2, b"x"))[-1:] == [Frame(1, 2, b"x")]
    if reader.broken:
        assert bytes(reader.evidence) in (noise, noise.replace(b"\0", b"")) or len(reader.evidence) < len(noise)


def test_a_flood_without_zeros_is_bounded() -> None:
    reader = Reader()
    for _ in range(300):
        assert reader.feed(b"\x55" * 10_000) == []
    assert len(reader.evidence) <= EVIDENCE_MAX
    assert len(reader._part) < 10_000
    assert reader.feed(b"\0" + encode(1, 2, b"x")) == [Frame(1, 2, b"x")]


def test_a_flood_of_broken_frames_is_bounded() -> None:
    reader = Reader()
    reader.feed(b"\x55\xaa\0" * 100_000)
    assert reader.broken == 100_000 and len(reader.evidence) == EVIDENCE_MAX


def test_too_much_for_a_frame() -> None:
    with pytest.raises(ValueError, match="payload of 8193 bytes, at most 8192"):
        encode(1, 1, bytes(PAYLOAD_MAX + 1))


def test_too_short_for_a_frame() -> None:
    for length in range(8):
        body = bytes(range(1, length + 1))
        assert frames.decode(cobs.encode(body + zlib.crc32(body).to_bytes(4, "little"))[: length + 1]) is None
