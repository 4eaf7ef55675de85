# SPDX-License-Identifier: Apache-2.0
"""Which constants count as addresses: those that are dereferenced, and no other number."""

from __future__ import annotations

import pytest
from image_samples import Lab

from rig.image.constants import Interpretation, arity
from rig.image.model import Model
from rig.image.module import Module
from rig.image.opcodes import OPCODES, PREFIXED
from rig.image.wasm import parse_module

LOW = 1024


def uses(lab: Lab, body: str, more: str = "") -> list[tuple[int, bool]]:
    """(address, exact) of function 0 of a module with this body; parameters $p $q, locals $a $b."""
    text = f"""(module (memory 1) (table 1 funcref) (type $v (func)) {more}
      (func $f (param $p i32) (param $q i32) (result i32) (local $a i32) (local $b i32) {body}))"""
    (lab.folder / "constants.wat").write_text(text)
    lab.run("wasm-tools", "parse", "constants.wat", "-o", "constants.out")
    module = parse_module((lab.folder / "constants.out").read_bytes(), "x")
    last = len(module.functions) - 1
    return [(u.address, u.exact) for u in Interpretation(module, LOW).uses([last])]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("(i32.load (i32.const 1028))", [(1028, True)]),
        ("(i32.load offset=1028 (i32.const 0))", [(1028, True)]),
        ("(i32.load offset=4 (i32.add (i32.const 1020) (i32.const 8)))", [(1032, True)]),
        ("(i32.load (i32.or (i32.const 1024) (i32.const 4)))", [(1028, True)]),
        ("(i32.store8 (i32.const 2000) (i32.const 3000)) (i32.const 4000)", [(2000, True)]),
        ("(local.set $a (i32.const 1040)) (i32.load offset=4 (local.get $a))", [(1044, True)]),
        (
            "(memory.copy (i32.const 1100) (i32.const 1200) (i32.const 1300)) (i32.const 0)",
            [(1100, True), (1200, True)],
        ),
        ("(memory.fill (i32.const 1100) (i32.const 1200) (i32.const 1300)) (i32.const 0)", [(1100, True)]),
        ("(i32.load offset=2048 (i32.shl (local.get $p) (i32.const 2)))", [(2048, False)]),
        ("(i32.load (i32.add (i32.shl (local.get $p) (i32.const 2)) (i32.const 2048)))", [(2048, False)]),
    ],
)
def test_addresses_are_found(lab: Lab, body: str, expected: list[tuple[int, bool]]) -> None:
    assert uses(lab, body) == expected


@pytest.mark.parametrize(
    "body",
    [
        "(i32.const 1028)",
        "(i32.add (local.get $p) (i32.const 66560))",
        "(i32.load offset=1028 (local.get $p))",  # a field of what the caller points to
        "(i32.load offset=2000 (i32.load (local.get $p)))",  # a field behind a pointer
        "(i32.load (i32.add (local.get $p) (i32.const 28)))",
        "(i32.load offset=68 (i32.shl (local.get $p) (i32.const 2)))",  # below all data: no array
        "(i32.load (i32.add (i32.load (local.get $p)) (i32.const -8)))",
        "(if (result i32) (i32.eq (local.get $p) (i32.const 2000)) (then (i32.const 4096)) (else (i32.const 8192)))",
    ],
)
def test_numbers_that_are_no_addresses_are_left_alone(lab: Lab, body: str) -> None:
    assert uses(lab, body) == []


def test_a_pointer_that_walks_is_found_where_it_starts(lab: Lab) -> None:
    body = """(local.set $a (i32.const 2048))
      (loop $l (local.set $b (i32.load (local.get $a))) (local.set $a (i32.add (local.get $a) (i32.const 4)))
        (br_if $l (i32.lt_u (local.get $a) (local.get $p)))) (local.get $b)"""
    assert (2048, False) in uses(lab, body)


def test_two_values_in_one_local_are_no_address(lab: Lab) -> None:
    body = """(if (local.get $p) (then (local.set $a (i32.const 2048))) (else (local.set $a (local.get $q))))
      (i32.load (local.get $a))"""
    assert uses(lab, body) == []


CALLEES = """(func $reads (param i32) (result i32) (i32.load offset=4 (local.get 0)))
  (func $passes (param i32 i32) (result i32) (call $reads (local.get 1)))
  (func $counts (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func $gives (result i32) (i32.const 3000))"""


def test_arguments_count_when_the_callee_dereferences_them(lab: Lab) -> None:
    assert uses(lab, "(call $reads (i32.const 2000))", CALLEES) == [(2000, False)]
    assert uses(lab, "(call $passes (i32.const 1999) (i32.const 2000))", CALLEES) == [(2000, False)]
    assert uses(lab, "(call $counts (i32.const 2000))", CALLEES) == []


def test_a_constant_that_a_function_returns_counts_when_its_caller_dereferences_it(lab: Lab) -> None:
    text = f"(module (memory 1) {CALLEES} (func (result i32) (i32.load (call $gives))))"
    (lab.folder / "returns.wat").write_text(text)
    lab.run("wasm-tools", "parse", "returns.wat", "-o", "returns.out")
    module = parse_module((lab.folder / "returns.out").read_bytes(), "x")
    assert [(u.function, u.op, u.address) for u in Interpretation(module, LOW).uses([3])] == [(3, "return", 3000)]
    text = f"(module (memory 1) {CALLEES} (func (result i32) (i32.add (call $gives) (i32.const 1))))"
    (lab.folder / "returns.wat").write_text(text)
    lab.run("wasm-tools", "parse", "returns.wat", "-o", "returns.out")
    module = parse_module((lab.folder / "returns.out").read_bytes(), "x")
    assert Interpretation(module, LOW).uses([3]) == ()
    assert [u.address for u in Interpretation(module, LOW).uses([3], frozenset({3}))] == [3000]


def test_globals_count_with_their_initial_value(lab: Lab) -> None:
    more = "(global $g (mut i32) (i32.const 2000)) (global $zero i32 (i32.const 0))"
    assert uses(lab, "(i32.load offset=4 (global.get $g))", more) == [(2004, True)]
    assert uses(lab, "(i32.add (global.get $g) (i32.const 4))", more) == []
    assert uses(lab, "(i32.load (i32.add (global.get $zero) (i32.const 2048)))", more) == [(2048, True)]


def test_what_stands_after_a_call_through_a_pointer_is_marked(lab: Lab) -> None:
    text = """(module (memory 1) (table 1 funcref) (type $v (func))
      (func (result i32) (i32.load (i32.const 2000)) (call_indirect (type $v) (i32.const 0))
        (i32.add (i32.load (i32.const 3000)))))"""
    (lab.folder / "after.wat").write_text(text)
    lab.run("wasm-tools", "parse", "after.wat", "-o", "after.out")
    module = parse_module((lab.folder / "after.out").read_bytes(), "x")
    assert [(u.address, u.after_indirect) for u in Interpretation(module, LOW).uses([0])] == [
        (2000, False),
        (3000, True),
    ]


def test_unreachable_code_does_not_derail_it(lab: Lab) -> None:
    assert uses(lab, "(block (br 0) (drop (i32.add)) ) (i32.load (i32.const 2000))") == [(2000, True)]


def test_every_operator_has_an_arity() -> None:
    assert all(takes in (0, 1, 2, 3) and gives in (0, 1) for takes, gives in (
        arity(n) for n, _ in (*OPCODES.values(), *PREFIXED.values())
    ))  # fmt: skip
    assert arity("i64.extend_i32_u") == (1, 1) and arity("f64.copysign") == (2, 1) and arity("table.fill") == (3, 0)


def test_pointer_parameters_of_real_code(lab: Lab) -> None:
    module: Module = parse_module(lab.fuse(Model.PAGE, "capp", "csink", "ctick"), "x")
    push = next(e.index for e in module.exports if e.name == "demo:iso/sink#push")
    assert Interpretation(module, LOW).pointer_parameters(push) == {0}
