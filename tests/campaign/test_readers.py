# SPDX-License-Identifier: Apache-2.0
"""Both canary readers see one flipped bit anywhere, and say who looked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rig.campaign.readers import Window, expected_hash, host_says, reader_programs, stream, victim_says
from rig.inject.model import Leg, Observation, Outcome

WINDOW = Window(owner=2, address=0x2100_0000, length=64, seed=0x1234_5678)


def _hash(data: bytes) -> int:
    """The reader of docs/internals.md, written again without numpy."""
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
    return sum(word * (2 * i + 1) for i, word in enumerate(words)) % 2**32


def _seen(value: int, outcome: Outcome = Outcome.RETURNED) -> Observation:
    return Observation(
        0, outcome, Leg.ARMED, 0, (0,) * 8, (value, 0, 0, 0), 2, 255, 0, 0, 0, 0, 0, bytes(16), bytes(16)
    )


def test_first_words_of_the_stream() -> None:
    assert stream(1, 8) == (0x42021).to_bytes(4, "little") + (0x4080601).to_bytes(4, "little")


@given(st.integers(1, 2**32 - 1), st.integers(1, 64))
def test_hash_equals_its_definition(seed: int, words: int) -> None:
    assert expected_hash(seed, 4 * words) == _hash(stream(seed, 4 * words))


@given(st.integers(0, 63), st.integers(0, 7))
def test_any_flipped_bit_is_seen_by_both(at: int, bit: int) -> None:
    data = bytearray(stream(WINDOW.seed, WINDOW.length))
    data[at] ^= 1 << bit
    assert "hash" in victim_says(WINDOW, _seen(_hash(bytes(data))))
    assert f"{WINDOW.address + at:#010x}" in host_says(WINDOW, lambda address, length: bytes(data))


def test_untouched_canaries_raise_no_word() -> None:
    data = stream(WINDOW.seed, WINDOW.length)
    assert victim_says(WINDOW, _seen(_hash(data))) == ""
    assert host_says(WINDOW, lambda address, length: data) == ""


def test_a_victim_that_cannot_read_its_own_canaries_is_no_pass() -> None:
    assert "could not read" in victim_says(WINDOW, _seen(expected_hash(WINDOW.seed, 64), Outcome.TRAPPED))


def test_one_program_per_window_of_the_asked_owners() -> None:
    pairs = reader_programs({2: [WINDOW], 3: [WINDOW]}, [2], entry=0x1001, first_index=7)
    assert [(w.owner, p.index, p.steps[0].args) for w, p in pairs] == [(2, 7, (WINDOW.address, 16))]
