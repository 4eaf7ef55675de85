# SPDX-License-Identifier: Apache-2.0
"""Loads and stores in machine code. The bytes come from an assembler; the lists were checked by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rig.arch.types import Kind
from rig.faults.decode import MemoryInstruction, rv32, thumb2

R, W = Kind.READ, Kind.WRITE


def listed(code: str, decode: object = thumb2, start: int = 0) -> list[tuple[int, Kind, int, int]]:
    return [(i.pc, i.kind, i.size, i.words) for i in decode(bytes.fromhex(code), start)]


def test_narrow_accesses_with_register_and_immediate_offsets() -> None:
    code = "8150 8152 8154 8156 8158 815a 815c 815e 4160 4168 0171 0179 8180 8188 06c8 0ec0".replace(" ", "")
    assert listed(code, start=0x1000) == [
        (0x1000, W, 4, 1), (0x1002, W, 2, 1), (0x1004, W, 1, 1), (0x1006, R, 1, 1), (0x1008, R, 4, 1),
        (0x100A, R, 2, 1), (0x100C, R, 1, 1), (0x100E, R, 2, 1), (0x1010, W, 4, 1), (0x1012, R, 4, 1),
        (0x1014, W, 1, 1), (0x1016, R, 1, 1), (0x1018, W, 2, 1), (0x101A, R, 2, 1), (0x101C, R, 4, 2),
        (0x101E, W, 4, 3)]


def test_stack_and_literal_accesses_are_not_those_of_a_linear_memory() -> None:
    assert listed("0198 02b4 0120 02a8 00e0 02bc") == []  # ldr [sp], push, movs, add sp, b, pop
    assert listed("dff80800") == []  # ldr.w r0, [pc, #8]
    assert listed("2ded028b") == []  # vpush {d8}


def test_wide_accesses() -> None:
    code = ("5bf80c10 cbf8fc1f 1bf9041c bbf92c11 1bf82210 2bf80210 8bf82c11 d2e90001 c2e90201 51e8000f 42e80010"
            "d1e84f0f 98e81e00 28e90e00")
    assert [x[1:] for x in listed(code)] == [
        (R, 4, 1), (W, 4, 1), (R, 1, 1), (R, 2, 1), (R, 1, 1), (W, 2, 1), (W, 1, 1), (R, 4, 2), (W, 4, 2), (R, 4, 1),
        (W, 4, 1), (R, 1, 1), (R, 4, 4), (W, 4, 3)]
    floats = listed("90ed000a 81ed000a 90ed000b 90ec020a")
    assert [x[1:] for x in floats] == [(R, 4, 1), (W, 4, 1), (R, 4, 2), (R, 4, 2)]


def test_wide_instructions_that_are_no_accesses() -> None:
    assert listed("d0e801f0 90f800f0 40f2050c 00f030f8 51ec100b 01fb02f0") == []  # tbb pld movw bl vmov mul


def test_forms_that_an_emulator_may_treat_in_a_way_of_their_own() -> None:
    forms = [i.form for i in thumb2(bytes.fromhex("d2e90001 90ed000b 90ed000a 98e81e00"), 0)]
    assert forms == ["dual", "double", "", ""]


def test_riscv_accesses() -> None:
    code = ("03850500 03c50500 03950500 03d50500 03a5057d 2380a500 2390a500 23a8a57c 8841 88c1 2fa50510 2f25b618"
            "2f25b600 8861 8821 27b8a57c")
    assert [x[1:] for x in listed(code, rv32)] == [
        (R, 1, 1), (R, 1, 1), (R, 2, 1), (R, 2, 1), (R, 4, 1), (W, 1, 1), (W, 2, 1), (W, 4, 1), (R, 4, 1), (W, 4, 1),
        (R, 4, 1), (W, 4, 1), (W, 4, 1), (R, 4, 1), (R, 8, 1), (W, 8, 1)]
    assert listed("1245 2ac2 0505 0f00f00f 732540f1", rv32) == []  # lw sp, sw sp, addi, fence, csrr


@given(st.binary(max_size=64))
def test_any_bytes_decode_to_places_inside_them(code: bytes) -> None:
    for decode in (thumb2, rv32):
        found: list[MemoryInstruction] = list(decode(code, 0x100))
        assert all(0x100 <= i.pc < 0x100 + len(code) and i.width >= 1 for i in found)
        assert [i.pc for i in found] == sorted({i.pc for i in found})
