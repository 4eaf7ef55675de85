# SPDX-License-Identifier: Apache-2.0
"""Attack tools are found by the shape of a body, with what a compiler puts around a value, and nothing else is."""

from __future__ import annotations

import pytest
from image_samples import Lab

from rig.image.model import Model, Primitive, PrimitiveKind
from rig.image.primitives import primitives
from rig.image.wasm import parse_module


def tool(lab: Lab, signature: str, body: str) -> Primitive | None:
    text = (
        f'(module (memory 1) (memory $k 1) (global $g (mut i32) (i32.const 0)) (func (export "f") {signature} {body}))'
    )
    (lab.folder / "tool.wat").write_text(text)
    lab.run("wasm-tools", "parse", "tool.wat", "-o", "tool.out")
    module = parse_module((lab.folder / "tool.out").read_bytes(), "x")
    found = primitives(module, [("f", 0)])
    return found[0] if found else None


I32 = "(param i32) (result i32)"
PUT = "(param i32 i32)"
MINUS_4, MINUS_16 = 0xFFFF_FFFC, 0xFFFF_FFF0


@pytest.mark.parametrize(
    ("signature", "body", "op", "width", "offset", "address", "value", "type_", "bias"),
    [
        (I32, "(i32.load (local.get 0))", "i32.load", 4, 0, 0, None, "i32", 0),
        (I32, "(i32.load8_s offset=9 (local.get 0))", "i32.load8_s", 1, 9, 0, None, "i32", 0),
        (I32, "(return (i32.load16_u (local.get 0)))", "i32.load16_u", 2, 0, 0, None, "i32", 0),
        (I32, "(i32.and (i32.const 255) (i32.load (local.get 0)))", "i32.load", 4, 0, 0, None, "i32", 0),
        (I32, "(i32.extend8_s (i32.load8_u (local.get 0)))", "i32.load8_u", 1, 0, 0, None, "i32", 0),
        (I32, "(i32.load (i32.add (local.get 0) (i32.const -4)))", "i32.load", 4, 0, 0, None, "i32", MINUS_4),
        (I32, "(i32.load (i32.sub (local.get 0) (i32.const 16)))", "i32.load", 4, 0, 0, None, "i32", MINUS_16),
        (I32 + " (local i32)", "(local.set 1 (local.get 0)) nop (i32.load (local.get 1))", "i32.load", 4, 0, 0, None,
         "i32", 0),
        ("(param i32) (result i64)", "(i64.extend_i32_u (i32.load (local.get 0)))", "i32.load", 4, 0, 0, None, "i64",
         0),
        ("(param i32) (result f64)", "(f64.load (local.get 0))", "f64.load", 8, 0, 0, None, "f64", 0),
        ("(param i32)", "(drop (i32.load (local.get 0)))", "i32.load", 4, 0, 0, None, "i32", 0),
        (PUT, "(i32.store8 offset=3 (local.get 0) (local.get 1))", "i32.store8", 1, 3, 0, 1, "i32", 0),
        (PUT, "(i32.store16 (local.get 0) (i32.and (local.get 1) (i32.const 65535)))", "i32.store16", 2, 0, 0, 1,
         "i32", 0),
        (PUT + " (result i32)", "(i32.store (local.get 0) (local.get 1)) (i32.const 0)", "i32.store", 4, 0, 0, 1,
         "i32", 0),
        ("(param i64 i32)", "(i64.store (local.get 1) (local.get 0))", "i64.store", 8, 0, 1, 0, "i64", 0),
        ("(param i32 i64)", "(i32.store (local.get 0) (i32.wrap_i64 (local.get 1)))", "i32.store", 4, 0, 0, 1, "i64",
         0),
        ("(param i32 f32)", "(f32.store (local.get 0) (local.get 1))", "f32.store", 4, 0, 0, 1, "f32", 0),
        ("(param i32)", "(i32.store (local.get 0) (i32.const 7))", "i32.store", 4, 0, 0, None, "i32", 0),
    ],
)  # fmt: skip
def test_tools(
    lab: Lab, signature: str, body: str, op: str, width: int, offset: int, address: int, value: int | None, type_: str,
    bias: int,
) -> None:  # fmt: skip
    found = tool(lab, signature, body)
    assert found is not None
    kind = PrimitiveKind.STORE if ".store" in op else PrimitiveKind.LOAD
    assert (found.kind, found.op, found.width, found.offset) == (kind, op, width, offset)
    assert (found.address_param, found.value_param, found.value_type, found.bias) == (address, value, type_, bias)


def test_the_memory_is_told(lab: Lab) -> None:
    found = tool(lab, "(param i32) (result i32)", "(i32.load $k (local.get 0))")
    assert found is not None and found.memory == 1


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        ("(result i32)", "(i32.load (i32.const 16))"),
        ("(param i32 i32) (result i32)", "(i32.load (i32.add (local.get 0) (local.get 1)))"),
        ("(param i32) (result i32)", "(i32.add (i32.load (local.get 0)) (i32.load (local.get 0)))"),
        ("(param i32) (result i32)", "(i32.add (i32.load (local.get 0)) (i32.const 1))"),
        ("(param i32) (result i32)", "(if (local.get 0) (then)) (i32.load (local.get 0))"),
        ("(param i32) (result i32)", "(drop (i32.load (local.get 0))) (i32.const 5)"),
        ("(param i32)", "(i32.store (local.get 0) (local.get 0))"),
        ("(param i32 i32)", "(i32.store (local.get 0) (i32.load (local.get 1)))"),
        ("(param i32 i32)", "(i32.store (local.get 0) (i32.add (local.get 1) (i32.const 1)))"),
        ("(param i32) (result i32)", "(global.set $g (local.get 0)) (i32.load (local.get 0))"),
        ("(param i64) (result i32)", "(i32.load (i32.wrap_i64 (local.get 0)))"),
        ("(param i32) (result i32)", "(i32.load (i32.load (local.get 0)))"),
        ("(param i32) (result i32)", "(local.get 0)"),
        ("(param i32) (result i32)", "(i32.load (i32.extend8_s (local.get 0)))"),
        ("(param i32) (result i32)", "(i32.load (i32.shl (local.get 0) (i32.const 2)))"),
    ],
)
def test_what_is_no_tool(lab: Lab, signature: str, body: str) -> None:
    assert tool(lab, signature, body) is None


def test_only_intruders_give_tools(lab: Lab) -> None:
    image = lab.image(Model.MULTI, "ca", "bi", "cc")
    assert [(p.export, p.kind.value, p.memory) for p in image.primitives] == [("poke", "store", 2), ("peek", "load", 2)]
    assert lab.image(Model.MULTI, "ca", "cc").primitives == ()
    assert lab.image(Model.MULTI, "ca", "bi", "cc", alone=True).primitives == ()
