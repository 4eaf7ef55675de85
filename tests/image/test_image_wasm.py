# SPDX-License-Identifier: Apache-2.0
"""The core wasm reader: what it sees, and that nothing but a clear error comes out of a damaged file."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_samples import Lab, leb

from rig.errors import UsageError
from rig.image.leb import Cursor
from rig.image.module import Module
from rig.image.opcodes import LOADS, OPCODES, PREFIXED, STORES, access_shape
from rig.image.wasm import parse_module

EVERYTHING = """(module
  (type $t (func (param i32 i64) (result f32 f64)))
  (import "m" "f" (func $f (param i32)))
  (table $a 2 3 funcref) (table $b 1 externref)
  (memory $m0 1) (memory $m1 2 5)
  (global $g i32 (i32.const 7)) (global $h (mut i64) (i64.const -1))
  (global $e i32 (i32.add (i32.const 50) (i32.sub (i32.const 9) (i32.const 4))))
  (global $d f64 (f64.const 1)) (global $n i32 (global.get $g))
  (export "go" (func $go)) (export "mem" (memory $m1))
  (elem (table $a) (i32.const 0) func $f $go) (elem declare func $go) (elem $passive func $f)
  (data $d0 (memory $m1) (i32.const 16) "abc") (data $d1 "passive")
  (func $go (param i32 i32) (result i32) (local i64 i64) (local f32)
    (block $out (result i32)
      (loop $again (br_if $again (local.get 0)))
      (br_table $out $out (i32.const 1) (local.get 1)))
    (if (param i32) (result i32) (then (i32.load8_s $m1 offset=70000 align=1)) (else (i32.load $m0 offset=4)))
    (memory.copy $m0 $m1 (i32.const 1) (i32.const 2) (i32.const 3))
    (memory.fill $m1 (i32.const 1) (i32.const 2) (i32.const 3))
    (memory.init $m1 $d1 (i32.const 1) (i32.const 2) (i32.const 3)) (data.drop $d1)
    (drop (memory.size $m1)) (drop (memory.grow $m0 (i32.const 0)))
    (drop (call_indirect $a (param i32) (result i32) (i32.const 1) (i32.const 0)))
    (table.set $a (i32.const 0) (ref.func $go)) (drop (ref.is_null (table.get $b (i32.const 0))))
    (drop (table.grow $b (ref.null extern) (i32.const 1))) (drop (table.size $a))
    (table.fill $b (i32.const 0) (ref.null extern) (i32.const 0)) (elem.drop $passive)
    (table.copy $a $a (i32.const 0) (i32.const 0) (i32.const 0))
    (table.init $a $passive (i32.const 0) (i32.const 0) (i32.const 0))
    (local.set 2 (i64.extend8_s (i64.trunc_sat_f64_u (f64.const -1.5))))
    (drop (select (result i64) (local.get 2) (i64.const -9000000000) (i32.const -2147483648)))
    (global.set $h (local.get 3)) (call $f (local.tee 0 (i32.const -64)))
    (f32.store $m1 offset=4294967295 (i32.const 0) (f32.const 1)) nop
    (return)))"""


def wat(lab: Lab, text: str, name: str = "text") -> Module:
    (lab.folder / f"{name}.wat").write_text(text)
    lab.run("wasm-tools", "parse", f"{name}.wat", "-o", f"{name}.out")
    return parse_module((lab.folder / f"{name}.out").read_bytes(), name)


@pytest.fixture(scope="module")
def everything(lab: Lab) -> Module:
    return wat(lab, EVERYTHING)


def test_index_spaces_count_imports_first(everything: Module) -> None:
    m = everything
    assert (m.imported_functions, len(m.functions), len(m.tables), len(m.memories)) == (1, 2, 2, 2)
    assert m.body(0) is None
    body = m.body(1)
    assert body is not None and body.locals == ("i64", "i64", "f32")
    assert [(g.type, g.mutable, g.init) for g in m.globals] == [
        ("i32", False, 7),
        ("i64", True, 0xFFFF_FFFF_FFFF_FFFF),
        ("i32", False, 55),
        ("f64", False, 0x3FF0_0000_0000_0000),
        ("i32", False, 7),
    ]
    assert [(e.table, e.offset, e.functions) for e in m.elements] == [
        (0, 0, (0, 1)),
        (None, None, (1,)),
        (None, None, (0,)),
    ]
    assert [(s.memory, s.offset, s.data) for s in m.segments] == [(1, 16, b"abc"), (None, None, b"passive")]
    assert m.memories[1].minimum == 2 and m.memories[1].maximum == 5 and m.memories[1].page_size == 65536


def test_memory_indexes_and_offsets_of_multi_memory_are_read(everything: Module) -> None:
    imm = {i.op: i.imm for b in everything.bodies for i in b.code}
    assert imm["i32.load8_s"] == (0, 1, 70000)
    assert imm["i32.load"] == (2, 0, 4)
    assert imm["f32.store"] == (2, 1, 0xFFFF_FFFF)
    assert (imm["memory.copy"], imm["memory.fill"], imm["memory.init"]) == ((0, 1), (1,), (1, 1))
    assert imm["i64.const"] == (-9_000_000_000,) and imm["f64.const"] == (0xBFF8_0000_0000_0000,)
    assert imm["if"] == (1, 1) and imm["block"] == (0, 1) and imm["br_table"] == (0, 0)


def test_instructions_tile_the_body_without_gaps(everything: Module) -> None:
    body = everything.bodies[0]
    assert body.code[-1].op == "end" and body.code[-1].end == body.end
    assert all(a.end == b.at for a, b in zip(body.code, body.code[1:], strict=False))


def test_custom_page_size(lab: Lab) -> None:
    module = wat(lab, "(module (memory 2048 2048 (pagesize 1)))", "pages")
    assert (module.memories[0].minimum, module.memories[0].page_size) == (2048, 1)


def test_every_operator_has_a_name_of_its_own_and_accesses_a_width() -> None:
    named = [n for n, _ in (*OPCODES.values(), *PREFIXED.values())]
    assert len(named) - len(set(named)) == 1  # select has two opcodes
    assert len(LOADS) == 14 and len(STORES) == 9
    assert access_shape("i64.load32_u") == ("i64", 4) and access_shape("f64.store") == ("f64", 8)
    assert access_shape("i32.load8_s").width == 1 and access_shape("i32.load16_u").width == 2


@pytest.mark.parametrize(
    ("bytes_", "words"),
    [
        (b"", "not a WebAssembly file"),
        (b"\x7fELF....", "not a WebAssembly file"),
        (b"\0asm\x0d\0\x01\0", "a component where a core module was expected"),
        (b"\0asm\2\0\0\0", "version 02000000"),
        (b"\0asm\1\0\0\0\x0e\0", "unknown section 14"),
        (b"\0asm\1\0\0\0\x03\x01\0\x01\x01\0", "out of order"),
        (b"\0asm\1\0\0\0\x01\x01\0\x01\x01\0", "twice"),
        (b"\0asm\1\0\0\0\x01\x02\0\0", "1 bytes too many"),
        (b"\0asm\1\0\0\0\x01\x05\xff\xff\xff\xff\x0f", "announced in"),
        (b"\0asm\1\0\0\0\x01\x05\xff\xff\xff\xff\x1f", "does not fit 32 bits"),
        (b"\0asm\1\0\0\0\x05\x03\x01\x02\x01", "not supported"),
        (b"\0asm\1\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\x05", "type 5 of 1"),
        (b"\0asm\1\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0", "number of functions and of bodies differ"),
        (b"\0asm\1\0\0\0\0\x05\x04ab", "needs"),
    ],
)
def test_damage_is_named_with_file_and_place(bytes_: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        parse_module(bytes_, "dir/x.wasm")
    assert str(error.value).startswith("dir/x.wasm: ")


def code(body: bytes, prelude: bytes = b"") -> bytes:
    """A module with one function () → () of this body."""
    content = leb(len(body)) + body
    sections = [(1, b"\1\x60\0\0"), (3, b"\1\0"), (10, b"\1" + content)]
    return b"\0asm\1\0\0\0" + b"".join(bytes([i]) + leb(len(p)) + p for i, p in sections)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\0\xfd\0\x0b", "SIMD"),
        (b"\0\x06\x40\x0b\x0b", "not supported"),
        (b"\0\x20\0\x0b", "local 0 of 0"),
        (b"\0\x10\5\x0b", "function 5 of 1"),
        (b"\0\x28\2\0\x0b", "memory 0 of 0"),
        (b"\0\x0c\1\x0b", "label 1 of 1"),
        (b"\0\x05\x0b", "else without if"),
        (b"\0\x0b\x0b", "too many"),
        (b"\0\x01", "ends too early"),
        (b"\0\x02\x33\x0b\x0b", "block"),
        (b"\1\xff\xff\xff\x0f\x7f\x0b", "more than 50000 locals"),
        (b"\0\x41\xff\xff\xff\xff\x0f\x1a\x0b", "does not fit 32 bits"),
        (b"\0\x41\x80\x80\x80\x80\x80\x00\x1a\x0b", "longer than 32 bits"),
    ],
)
def test_damage_inside_a_body_is_named(body: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_module(code(body), "x.wasm")


def test_a_body_that_is_sound_is_read() -> None:
    assert [i.op for i in parse_module(code(b"\0\x41\x7f\x1a\x0b"), "x").bodies[0].code] == ["i32.const", "drop", "end"]


def test_signed_numbers_follow_the_specification() -> None:
    assert Cursor(b"\x7f", "x").signed(32) == -1
    assert Cursor(b"\x80\x80\x80\x80\x78", "x").signed(32) == -(1 << 31)
    assert Cursor(b"\xff\xff\xff\xff\x07", "x").signed(32) == (1 << 31) - 1


def test_cut_anywhere_it_says_so(everything: Module) -> None:
    data = everything.data
    whole = parse_module(data, "x")
    ends = {8, len(data)}
    for at in range(len(data)):
        try:
            cut = parse_module(data[:at], "x.wasm")
        except UsageError:
            continue
        assert at in ends or len(cut.section_order) < len(whole.section_order)  # a cut between two sections


def test_a_module_that_is_too_big_is_refused_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(UsageError, match="the limit for a module"):
        parse_module(b"\0asm\1\0\0\0" + bytes(17 << 20), "big.wasm")
    assert time.monotonic() - started < 1


@settings(max_examples=300, deadline=2000)
@given(data=st.data())
def test_flipped_bits_give_usage_errors_only(lab: Lab, everything: Module, data: st.DataObject) -> None:
    original = lab.core("user").read_bytes() if data.draw(st.booleans()) else everything.data
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        bit = data.draw(st.integers(0, len(damaged) * 8 - 1))
        damaged[bit // 8] ^= 1 << bit % 8
    try:
        parse_module(bytes(damaged), "x.wasm")
    except UsageError as error:
        assert str(error).startswith("x.wasm: ")
