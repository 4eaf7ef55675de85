# SPDX-License-Identifier: Apache-2.0
"""The address formulas against the machine code that synth really emits, and their inverse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_samples import Lab
from riscv_steps import Trapped, touched

from rig.image.elf import ElfFacts, read_elf
from rig.image.formula import Trap, index_for, native_address

LOWERINGS = ("synth-none", "synth-mask", "synth-software", "wasm2c")
BASE, SIZE = 0x8010_0000, 1 << 16
CASES = [  # (export, op, offset, width)
    ("b", "i32.load8_u", 0, 1),
    ("h", "i32.load16_u", 6, 2),
    ("w", "i32.load", 1000, 4),
    ("s", "i32.store", 100, 4),
    ("d", "i64.load", 8, 8),
]
INDEXES = [0, 1, 4, 0xFFFF, 0x1_0000, 0xFFF0, 0xFC18, 0xFFFC, 0xFFFF_FFFC, 0xFFFF_FFFF, 0x8000_0000, 0x1234_5678]


def build(lab: Lab, bounds: str) -> ElfFacts:
    functions = []
    for name, op, offset, _ in CASES:
        result = "(result i64)" if op.startswith("i64") else "" if "store" in op else "(result i32)"
        value = "(local.get 1)" if "store" in op else ""
        functions.append(
            f'(func (export "{name}") (param i32 i32) {result} ({op} offset={offset} (local.get 0) {value}))'
        )
    (lab.folder / "formula.wat").write_text(f"(module (memory 1) {' '.join(functions)})")
    lab.run("wasm-tools", "parse", "formula.wat", "-o", "formula.wasm")
    lab.run("synth", "compile", "formula.wasm", "-o", f"{bounds}.o", "-b", "riscv", "--safety-bounds", bounds)
    return read_elf(lab.folder / f"{bounds}.o")


@pytest.mark.parametrize("bounds", ["none", "mask", "software"])
def test_formula_is_what_the_code_does(lab: Lab, bounds: str) -> None:
    elf = build(lab, bounds)
    text = elf.contents[".text"]
    for name, _, offset, width in CASES:
        for index in INDEXES:
            expected = native_address(f"synth-{bounds}", BASE, SIZE, index, offset, width)
            try:
                assert touched(text, elf.address(name), index, BASE) == expected, (name, hex(index))
            except Trapped:
                assert expected is Trap.OUT_OF_BOUNDS, (name, hex(index))


def test_wasm2c_adds_in_64_bits_and_the_pointer_wraps(lab: Lab) -> None:
    """The generated code adds without wrapping; 32-bit pointers then take it modulo 2^32."""
    (lab.folder / "far.wat").write_text(
        '(module (memory 1) (func (export "f") (param i32) (result i32) (i32.load offset=2147483632 (local.get 0))))'
    )
    lab.run("wasm-tools", "parse", "far.wat", "-o", "far.out")
    lab.run("wasm2c", "far.out", "-n", "far", "-o", "far_out.c")
    text = (lab.folder / "far_out.c").read_text()
    assert "(u64)(var_i0) + 2147483632u)" in text
    assert (
        native_address("wasm2c", BASE, SIZE, 0xFFFF_FFFF, 2147483632, 4)
        == (BASE + 0xFFFF_FFFF + 2147483632) & 0xFFFF_FFFF
    )


@pytest.mark.parametrize(
    ("index", "offset", "width", "expected"),
    [
        (0xFFFC, 0, 4, BASE + 0xFFFC),
        (0xFFFD, 0, 4, Trap.OUT_OF_BOUNDS),
        (0xFFFC, 1, 4, Trap.OUT_OF_BOUNDS),
        (0xFFFF_FFFF, 4, 1, Trap.OUT_OF_BOUNDS),  # 33-bit effective address: no wrap
        (0, 0xFFFF_FFFC, 4, Trap.OUT_OF_BOUNDS),
    ],
)
def test_software_bounds_are_those_of_wasm(index: int, offset: int, width: int, expected: object) -> None:
    assert native_address("synth-software", BASE, SIZE, index, offset, width) == expected


def test_mask_wraps_and_then_clamps_to_the_last_whole_word() -> None:
    assert native_address("synth-mask", BASE, SIZE, 0x1_0004, 0, 4) == BASE + 4
    assert native_address("synth-mask", BASE, SIZE, 0xFFFF, 0, 4) == BASE + 0xFFFC
    assert native_address("synth-mask", BASE, SIZE, 0xFFFF, 0, 1) == BASE + 0xFFFF
    assert native_address("synth-mask", BASE, SIZE, 0xFFFF_FFFF, 1, 4) == BASE
    with pytest.raises(ValueError, match="power of two"):
        native_address("synth-mask", BASE, 3 << 16, 0, 0, 4)


def test_only_unchecked_lowerings_reach_outside() -> None:
    below = BASE - 4
    assert index_for("synth-none", BASE, SIZE, below, 0, 4) == 0xFFFF_FFFC
    assert index_for("wasm2c", BASE, SIZE, below, 16, 4) == 0xFFFF_FFEC
    assert index_for("synth-mask", BASE, SIZE, below, 0, 4) is None
    assert index_for("synth-software", BASE, SIZE, below, 0, 4) is None
    assert index_for("synth-software", BASE, SIZE, BASE + 4, 16, 4) is None  # an offset cannot be taken back
    assert index_for("synth", BASE, SIZE, 0xE000_ED94, 0, 4) == (0xE000_ED94 - BASE) & 0xFFFF_FFFF


def test_an_unknown_lowering_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="unknown lowering"):
        native_address("llvm", 0, 0, 0, 0, 1)


@given(
    lowering=st.sampled_from(LOWERINGS),
    base=st.integers(0, 0xFFFF_0000),
    target=st.integers(0, 0xFFFF_FFFF),
    offset=st.one_of(st.integers(0, 4096), st.integers(0, 0xFFFF_FFFF)),
    width=st.sampled_from((1, 2, 4, 8)),
)
def test_the_inverse_hits_its_target(lowering: str, base: int, target: int, offset: int, width: int) -> None:
    index = index_for(lowering, base, SIZE, target, offset, width)
    if index is not None:
        assert 0 <= index <= 0xFFFF_FFFF
        assert native_address(lowering, base, SIZE, index, offset, width) == target
    elif lowering in ("synth-none", "wasm2c"):
        raise AssertionError("every address has an index where nothing is checked")


@given(
    lowering=st.sampled_from(LOWERINGS),
    index=st.integers(0, 0xFFFF_FFFF),
    offset=st.integers(0, 0xFFFF_FFFF),
    width=st.sampled_from((1, 2, 4, 8)),
)
def test_what_an_index_reaches_has_an_index(lowering: str, index: int, offset: int, width: int) -> None:
    reached = native_address(lowering, BASE, SIZE, index, offset, width)
    if not isinstance(reached, Trap):
        assert index_for(lowering, BASE, SIZE, reached, offset, width) is not None
