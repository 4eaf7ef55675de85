# SPDX-License-Identifier: Apache-2.0
"""wasm2c images compute what wasmtime computes, on both boards, and trap where wasm traps (memory traps excepted)."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from lower_samples import image_of
from native_samples import Call, run_native, run_wasmtime

from rig.image.model import Image

pytestmark = pytest.mark.emulator

I32 = (0, 1, 7, 0xFFFF_FFFF, 0x8000_0000, 0x7FFF_FFFF, 123456789)
I64 = (0, 1, 0xFFFF_FFFF_FFFF_FFFF, 1 << 63, 0x1234_5678_9ABC_DEF0)
F32 = tuple(int.from_bytes(struct.pack("<f", v), "little") for v in (0.0, -0.0, 1.5, -2.5, 1e9, -3e10, 0.1))
F64 = tuple(int.from_bytes(struct.pack("<d", v), "little") for v in (0.0, -0.0, 1.5, -2.5, 2.5, 1e15, -3e30, 0.1))
INF32, INF64 = 0x7F80_0000, 0x7FF0_0000_0000_0000

BINARY = {
    "i32": "add sub mul div_s div_u rem_s rem_u shl shr_s rotl lt_s ge_u",
    "i64": "add sub mul div_s div_u rem_s rem_u shl shr_u rotr lt_u",
    "f32": "add sub mul div min max copysign lt",
    "f64": "add sub mul div min max copysign ge",
}
UNARY = {
    "i32": "clz ctz popcnt eqz extend8_s",
    "i64": "clz ctz popcnt extend32_s",
    "f32": "abs neg ceil floor trunc nearest sqrt",
    "f64": "abs neg ceil floor trunc nearest sqrt",
}
CONVERT = [
    "i32.trunc_f32_s", "i32.trunc_f64_u", "i64.trunc_f64_s", "i64.trunc_f32_u", "i32.trunc_sat_f64_s",
    "i64.trunc_sat_f32_u", "f32.convert_i32_s", "f32.convert_i64_u", "f64.convert_i64_s", "f64.convert_i32_u",
    "f32.demote_f64", "f64.promote_f32", "i32.wrap_i64", "i64.extend_i32_s", "i64.extend_i32_u",
]  # fmt: skip
COMPARES = ("lt_s", "ge_u", "lt_u", "lt", "ge", "eqz")

MEMORY = """
  (memory (export "memory") 1 1) (memory 1) (global $g (mut i64) (i64.const -5)) (global (mut f32) (f32.const 2.5))
  (data (memory 0) (i32.const 100) "hello wasm") (data (memory 1) (i32.const 65530) "\\01\\02\\03\\04\\05\\06")
  (type $one (func (param i32) (result i32))) (type $two (func (result i64)))
  (table 4 funcref) (elem (i32.const 1) $inc $dec $wide)
  (func $inc (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func $dec (param i32) (result i32) (i32.sub (local.get 0) (i32.const 1)))
  (func $wide (result i64) (i64.const 77))
  (func (export "indirect") (param i32 i32) (result i32) (call_indirect (type $one) (local.get 1) (local.get 0)))
  (func (export "load8s") (param i32) (result i64) (i64.load8_s (local.get 0)))
  (func (export "load16") (param i32) (result i32) (i32.load16_u 1 (local.get 0)))
  (func (export "load64") (param i32) (result i64) (i64.load offset=3 (local.get 0)))
  (func (export "storef") (param i32 f64) (result i64)
    (f64.store 1 (local.get 0) (local.get 1)) (i64.load 1 (local.get 0)))
  (func (export "store32") (param i32 i64) (result i64)
    (i64.store32 (local.get 0) (local.get 1)) (i64.load (local.get 0)))
  (func (export "copy") (param i32 i32 i32) (result i64)
    (memory.copy (local.get 0) (local.get 1) (local.get 2)) (i64.load (local.get 0)))
  (func (export "cross") (param i32 i32 i32) (result i64)
    (memory.copy 1 0 (local.get 0) (local.get 1) (local.get 2)) (i64.load 1 (local.get 0)))
  (func (export "fill") (param i32 i32 i32) (result i64)
    (memory.fill (local.get 0) (local.get 1) (local.get 2)) (i64.load (local.get 0)))
  (func (export "global") (param i64) (result i64)
    (global.set $g (i64.add (global.get $g) (local.get 0))) (global.get $g))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "size") (result i32) (memory.size 1))
  (func (export "unreachable") (param i32) (result i32) (if (local.get 0) (then unreachable)) (i32.const 3))
  (func (export "many") (param i32 i64 f32 f64 i64 i32 f64 i64) (result f64)
    (f64.add (f64.promote_f32 (local.get 2)) (f64.add (local.get 3) (f64.add (local.get 6)
      (f64.convert_i64_s (i64.add (local.get 1) (i64.add (local.get 4) (i64.add (local.get 7)
        (i64.extend_i32_u (i32.add (local.get 0) (local.get 5)))))))))))
"""


def module() -> tuple[str, list[Call]]:
    """A module with one export per operator, and vectors for all of them."""
    values = {"i32": I32, "i64": I64, "f32": F32, "f64": F64}
    functions, calls = [], []
    for kind, operators in BINARY.items():
        for operator in operators.split():
            name = f"{kind}.{operator}"
            result = "i32" if operator in COMPARES else kind
            functions.append(f'(func (export "{name}") (param {kind} {kind}) (result {result}) '
                             f"({name} (local.get 0) (local.get 1)))")  # fmt: skip
            calls += [(name, (a, b)) for a in values[kind] for b in values[kind]]
    for kind, operators in UNARY.items():
        for operator in operators.split():
            name = f"{kind}.{operator}"
            result = "i32" if operator in COMPARES else kind
            functions.append(f'(func (export "{name}") (param {kind}) (result {result}) ({name} (local.get 0)))')
            calls += [(name, (a,)) for a in values[kind]]
    for name in CONVERT:
        source = name.split("_")[-1 if name.split("_")[-1] in values else -2]
        functions.append(f'(func (export "{name}") (param {source}) (result {name[:3]}) ({name} (local.get 0)))')
        extra = {"f32": (INF32,), "f64": (INF64,)}.get(source, ())
        calls += [(name, (a,)) for a in (*values[source], *extra)]
    calls += [
        ("indirect", (1, 5)), ("indirect", (2, 5)), ("indirect", (3, 5)), ("indirect", (0, 5)), ("indirect", (9, 5)),
        ("load8s", (104,)), ("load16", (65530,)), ("load64", (97,)), ("storef", (40, F64[7])), ("storef", (43, F64[3])),
        ("store32", (200, I64[4])), ("copy", (101, 100, 8)), ("copy", (99, 101, 7)), ("copy", (300, 100, 10)),
        ("cross", (10, 100, 9)), ("cross", (64, 100, 8)), ("fill", (500, 0x1AB, 5)), ("global", (7,)),
        ("global", (I64[4],)), ("size", ()), ("grow", (0,)), ("grow", (1,)),
        ("unreachable", (0,)), ("unreachable", (1,)),
        ("many", (1, I64[4], F32[2], F64[2], 3, 4, F64[4], 5)),
    ]  # fmt: skip
    return f"(module {MEMORY} {' '.join(functions)})", calls


def image(folder: Path) -> tuple[Image, list[Call]]:
    text, calls = module()
    return image_of(folder, text, "c"), calls


@pytest.mark.parametrize("board", ["mps2-an386", "mps2-an385", "virt-rv32"])
def test_every_operator_gives_what_wasmtime_gives(tmp_path: Path, board: str) -> None:
    sample, calls = image(tmp_path)
    expected, found = run_wasmtime(sample, calls), run_native(tmp_path, sample, board, calls)
    assert "trap" in expected and len(calls) > 500
    pairs = zip(calls, expected, found, strict=True)
    assert [(c, e, f) for c, e, f in pairs if e != f and not _both_nan(c, e, f, sample)] == []


def _both_nan(call: Call, one: int | str, other: int | str, sample: Image) -> bool:
    """wasm leaves the payload of a computed NaN open."""
    result = sample.functions[sample.exports[call[0]]].type.results[:1]
    infinity = {("f32",): INF32, ("f64",): INF64}.get(result)
    positive = {("f32",): 0x7FFF_FFFF, ("f64",): (1 << 63) - 1}.get(result, 0)
    return infinity is not None and all(isinstance(v, int) and v & positive > infinity for v in (one, other))
