# SPDX-License-Identifier: Apache-2.0
"""The reference: un-fused components linked in wasmtime. State, traps by cause, fuel, imports of the host, cycles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from oracle_samples import component_of
from wasmtime import Engine, Func, Instance, Module, Store

from rig.build.fuse import fuse
from rig.build.load_subject import load_subject
from rig.build.subject import HostImport
from rig.errors import Refusal, UsageError
from rig.image.component import Component, WitFunction
from rig.image.model import Model
from rig.oracle import reference as module
from rig.oracle.reference import Cause, OutOfFuel, Reference, Trapped
from rig.oracle.values import Case
from rig.oracle.vectors import vectors


def demo(name: str) -> tuple[Component, ...]:
    return load_subject([name]).read_components()


@pytest.fixture(scope="module")
def scalar() -> Reference:
    return Reference(demo("scalar"))


def test_calls_cross_to_other_components_and_state_lasts_until_fresh(scalar: Reference) -> None:
    scalar.fresh()
    assert scalar.call("rig:scalar/sensor#samples", ()) == 0
    first = scalar.call("step", (100,))
    assert scalar.call("rig:scalar/sensor#samples", ()) == 1
    assert scalar.call("rig:scalar/sensor#read", ()) == (100 * 4 - 20) >> 1
    assert scalar.call("step", (100,)) != first
    scalar.fresh()
    assert scalar.call("rig:scalar/sensor#samples", ()) == 0 and scalar.call("step", (100,)) == first


def test_sixty_four_bits_and_six_arguments_cross(scalar: Reference) -> None:
    scalar.fresh()
    assert scalar.call("charge", (0x200,)) == 0xFFFFFF00 + 0x200 + 1
    assert scalar.call("sweep", (1, 500, 0, 250, 7, 0)) == 207 + 300


@pytest.mark.parametrize(
    ("export", "args", "cause"),
    [
        ("ratio", (1, 0), Cause.DIVISION),
        ("ratio", (-(1 << 31), -1), Cause.OVERFLOW),
        ("remainder", (5, 0), Cause.DIVISION),
        ("select", (0xFFFFFFFF,), Cause.UNREACHABLE),
    ],
)
def test_arithmetic_traps_are_told_apart_end_the_sequence_and_must_trap_natively(
    export: str, args: tuple[int, ...], cause: Cause, scalar: Reference
) -> None:
    scalar.fresh()
    outcome = scalar.call(export, args)
    assert isinstance(outcome, Trapped) and outcome.cause is cause and outcome.component == "controller"
    assert outcome.native and outcome.words and scalar.ended
    with pytest.raises(RuntimeError, match="fresh"):
        scalar.call(export, args)
    scalar.fresh()
    assert scalar.call("ratio", (-7, 2)) == -3


def test_the_remainder_of_int_min_by_minus_one_is_no_trap(scalar: Reference) -> None:
    scalar.fresh()
    assert scalar.call("remainder", (-(1 << 31), -1)) == 0


TWO = "package t:t;\ninterface p { f: func() -> u32; }\nworld w { WORLD }"
BROKEN = '(module (func (export "t:t/p#f") (result i32) unreachable))'
ASKING = '(module (import "t:t/p" "f" (func $f (result i32))) (func (export "run") (result i32) (call $f)))'


def test_a_trap_in_the_provider_is_the_providers(tmp_path: Path) -> None:
    giver = component_of(tmp_path, "giver", BROKEN, TWO.replace("WORLD", "export p;"))
    taker = component_of(tmp_path, "taker", ASKING, TWO.replace("WORLD", "import p; export run: func() -> u32;"))
    outcome = Reference([giver, taker]).call("run", ())
    assert isinstance(outcome, Trapped) and (outcome.component, outcome.cause) == ("giver", Cause.UNREACHABLE)


TRAPS = {
    "memory": "(drop (i32.load (i32.const 0x7fffffff)))",
    "memory_copy": "(memory.copy (i32.const 65530) (i32.const 0) (i32.const 100))",
    "table": "(call_indirect (type $v) (i32.const 9))",
    "null": "(call_indirect (type $v) (i32.const 1))",
    "signature": "(drop (call_indirect (type $r) (i32.const 0)))",
    "conversion": "(drop (i32.trunc_f64_s (f64.const nan)))",
    "too_large": "(drop (i32.trunc_f64_s (f64.const 1e99)))",
    "recursion": "(call $f) (call $f)",
    "rem64": "(drop (i64.rem_u (i64.const 1) (i64.const 0)))",
    "div64": "(drop (i64.div_s (i64.const 0x8000000000000000) (i64.const -1)))",
}
CAUSES = {
    "memory": Cause.MEMORY, "memory_copy": Cause.MEMORY, "table": Cause.TABLE, "null": Cause.TABLE,
    "signature": Cause.TABLE, "conversion": Cause.CONVERSION, "too_large": Cause.OVERFLOW, "recursion": Cause.STACK,
    "rem64": Cause.DIVISION, "div64": Cause.OVERFLOW,
}  # fmt: skip


def test_a_function_called_like_a_cause_is_not_taken_for_it(tmp_path: Path) -> None:
    wat = """(module (memory 1) (func $f (@name "all fuel consumed: integer divide by zero") (export "run")
      (drop (i32.load (i32.const 0x7fffffff)))))"""
    made = component_of(tmp_path, "trap", wat, "package t:t;\nworld w { export run: func(); }")
    outcome = Reference([made]).call("run", ())
    assert isinstance(outcome, Trapped) and outcome.cause is Cause.MEMORY


@pytest.mark.parametrize("name", TRAPS)
def test_every_cause_is_recognised_by_its_words(name: str, tmp_path: Path) -> None:
    wat = f"""(module (memory 1) (type $v (func)) (type $r (func (result i32))) (table 2 funcref)
      (elem (i32.const 0) $g) (func $g) (func $f (export "run") {TRAPS[name]}))"""
    made = component_of(tmp_path, "trap", wat, "package t:t;\nworld w { export run: func(); }")
    outcome = Reference([made]).call("run", ())
    assert isinstance(outcome, Trapped) and outcome.cause is CAUSES[name], outcome
    assert outcome.native is (outcome.cause not in (Cause.MEMORY, Cause.STACK))


def test_a_list_outside_of_the_memory_is_a_memory_trap() -> None:
    lists = Reference(demo("lists"))
    assert lists.call("send", (0, 3)) == lists.call("rig:lists/log#push", (b"",))
    outcome = lists.call("send", (0x80000000, 1))
    assert isinstance(outcome, Trapped) and outcome.cause is Cause.MEMORY and not outcome.native


def test_bytes_reach_the_callee(tmp_path: Path) -> None:
    lists = Reference(demo("lists"))
    sum = 0x10661066
    for byte in b"the":
        sum = (sum * 31 + byte) & 0xFFFFFFFF
    assert lists.call("send", (0, 3)) == sum and lists.call("rig:lists/log#total", ()) == 3


SPIN = '(module (func (export "run") (loop $l (br $l))) (func (export "ok") (result i32) (i32.const 5)))'


def test_an_endless_loop_spends_its_fuel_and_ends_the_sequence(tmp_path: Path) -> None:
    wit = "package t:t;\nworld w { export run: func(); export ok: func() -> u32; }"
    made = component_of(tmp_path, "spin", SPIN, wit)
    reference = Reference([made], fuel=100_000)
    assert reference.call("ok", ()) == 5
    assert reference.call("run", ()) == OutOfFuel("spin") and reference.ended
    reference.fresh()
    assert reference.call("ok", ()) == 5


LOOP = '(module (import "t:t/h" "f" (func $f)) (func (export "run") (loop $l (call $f) (br $l))))'
HOST = "package t:t;\ninterface h { f: func(); }\nworld w { import h; export run: func(); }"


def test_endless_calls_to_others_are_bounded_too(tmp_path: Path) -> None:
    made = component_of(tmp_path, "loop", LOOP, HOST)
    reference = Reference([made], {"t:t/h#f": HostImport("stub")}, crossings=50)
    assert reference.call("run", ()) == OutOfFuel("loop")


IMPORTS = """package t:t;
interface h { n: func(x: u32) -> u32; o: func() -> option<u8>; }
world w { import h; export run: func() -> u32; }"""
CALLS = """(module (import "t:t/h" "n" (func $n (param i32) (result i32))) (memory (export "memory") 1)
  (func (export "run") (result i32) (i32.add (call $n (i32.const 1)) (i32.const 40))))"""


@pytest.mark.parametrize(
    ("imports", "outcome"),
    [
        ({"t:t/h": HostImport("stub")}, 40),
        ({"t:t/h": HostImport("trap")}, Trapped(Cause.HOST, "calls", "t:t/h#n is the host's")),
        ({"t:t/h": HostImport("file", Path("x.c"))}, Trapped(Cause.HOST, "calls", "t:t/h#n is the host's")),
    ],
)
def test_imports_of_the_host(imports: Mapping[str, HostImport], outcome: object, tmp_path: Path) -> None:
    made = component_of(tmp_path, "calls", CALLS, IMPORTS)
    assert Reference([made], imports).call("run", ()) == outcome


HOST_TYPES = """package t:t;
interface h { mix: func(a: u64, b: f32, c: s8, d: option<u16>) -> f64; what: func(k: char) -> u8; }
world w { import h; export run: func(a: u64, b: f32, c: s8, d: u16) -> f64; export is: func() -> u8; }"""
HOST_USER = """(module (import "t:t/h" "mix" (func $m (param i64 f32 i32 i32 i32) (result f64)))
  (import "t:t/h" "what" (func $w (param i32) (result i32))) (memory (export "memory") 1)
  (func (export "is") (result i32) (call $w (i32.const 65)))
  (func (export "run") (param i64 f32 i32 i32) (result f64)
    (call $m (local.get 0) (local.get 1) (local.get 2) (i32.const 1) (local.get 3))))"""
HOST_C = """#include "factor.h"
double mix(uint64_t a, float b, uint32_t c, uint32_t some, uint32_t d) { return a * (double)b + (int)c + some * d; }
uint32_t what(uint32_t k) { return k + FACTOR; }
"""


def test_a_c_file_of_the_users_is_played(tmp_path: Path) -> None:
    made = component_of(tmp_path, "user", HOST_USER, HOST_TYPES)
    (tmp_path / "factor.h").write_text("#define FACTOR 3\n")
    (tmp_path / "mix.c").write_text(HOST_C)
    reference = Reference([made], {"t:t/h": HostImport("file", tmp_path / "mix.c")})
    assert reference.call("run", (3, 0.5, -7, 40)) == 34.5
    assert reference.call("is", ()) == 68


@pytest.mark.parametrize(
    "text",
    [
        "#include <stdint.h>\nuint32_t n(uint32_t x) { __asm__ volatile(\"wfi\"); return x; }",  # for one machine
        "#include <stdint.h>\nuint32_t n(uint32_t x) { return *(volatile uint32_t *)0x40000000; }",  # a device
        "#include <stdint.h>\nuint32_t n(uint32_t x) { for (;;) __asm__ volatile(\"\"); }",
        "#include <stdint.h>\nuint32_t n(uint32_t x) {",
    ],
)
def test_a_c_file_that_cannot_be_played_is_the_hosts_alone(text: str, tmp_path: Path) -> None:
    (tmp_path / "n.c").write_text(text)
    made = component_of(tmp_path, "calls", CALLS, IMPORTS)
    reference = Reference([made], {"t:t/h": HostImport("file", tmp_path / "n.c")})
    outcome = reference.call("run", ())
    assert isinstance(outcome, Trapped) and outcome.cause is Cause.HOST and not outcome.native


def test_an_import_that_nobody_provides_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='"t:t/h#n" = "trap"'):
        Reference([component_of(tmp_path, "calls", CALLS, IMPORTS)])


CYCLE = """package t:t;
interface a { get: func() -> u32; }
interface b { ping: func(x: u32) -> u32; pong: func() -> u32; }
world w { WORLD }"""
CYCLE_A = """(module (import "t:t/b" "ping" (func $ping (param i32) (result i32)))
  (import "t:t/b" "pong" (func $pong (result i32))) (func (export "t:t/a#get") (result i32) (i32.const 5))
  (func (export "run") (result i32) (call $pong)) (func (export "round") (result i32) (call $ping (i32.const 3))))"""
CYCLE_B = """(module (import "t:t/a" "get" (func $get (result i32)))
  (func (export "t:t/b#pong") (result i32) (i32.const 9))
  (func (export "t:t/b#ping") (param i32) (result i32) (i32.add (local.get 0) (call $get))))"""


def test_components_that_need_each_other_work_and_a_call_back_is_re_entrance(tmp_path: Path) -> None:
    a = component_of(tmp_path, "a", CYCLE_A, CYCLE.replace(
        "WORLD", "import b; export a; export run: func() -> u32; export round: func() -> u32;"))  # fmt: skip
    b = component_of(tmp_path, "b", CYCLE_B, CYCLE.replace("WORLD", "import a; export b;"))
    reference = Reference([a, b])
    assert reference.call("run", ()) == 9 and reference.call("t:t/b#ping", (1,)) == 6
    outcome = reference.call("round", ())
    assert isinstance(outcome, Trapped) and (outcome.cause, outcome.component) == (Cause.REENTRANCE, "a")
    assert not outcome.native


RESOURCE = """package t:t;
interface h { resource door; open: func(d: borrow<door>); n: func() -> u32; }
world w { import h; export run: func() -> u32; }"""
RESOURCE_USER = """(module (import "t:t/h" "n" (func $n (result i32))) (import "t:t/h" "open" (func $o (param i32)))
  (memory (export "memory") 1) (func (export "run") (result i32) (call $n)))"""


def test_what_cannot_be_played_traps_when_called_and_not_before(tmp_path: Path) -> None:
    made = component_of(tmp_path, "user", RESOURCE_USER, RESOURCE)
    assert Reference([made], {"t:t/h": HostImport("stub")}).call("run", ()) == 0


@pytest.mark.parametrize(
    ("type", "values"),
    [  # the Python package alone would take True for an int, and anything for an option
        ("result<u32, bool>", [(Case("ok", 3), 3), (Case("err", True), 1)]),
        ("result<option<u32>, u32>", [(Case("ok", Case("some", 7)), 7), (Case("err", 9), 0)]),
    ],
)
def test_cases_that_python_cannot_tell_apart_arrive_as_they_are(
    type: str, values: list[tuple[Case, int]], tmp_path: Path
) -> None:
    flat = "i32 i32" if type.endswith("bool>") else "i32 i32 i32"
    made = component_of(
        tmp_path, "odd",
        f'(module (memory (export "memory") 1) (func (export "run") (param {flat}) (result i32) '
        f'(local.get {flat.count("i32") - 1})))',
        f"package t:t;\nworld w {{ export run: func(a: {type}) -> u32; }}",
    )  # fmt: skip
    reference = Reference([made])
    for given, expected in values:
        assert reference.call("run", (given,)) == expected


def test_an_export_whose_types_cannot_pass_says_so(tmp_path: Path) -> None:
    made = component_of(
        tmp_path, "odd",
        '(module (memory (export "memory") 1) (func (export "t:t/i#f") (param i32)) (func (export "t:t/i#g")))',
        "package t:t;\ninterface i { resource r; f: func(a: r); g: func(); }\nworld w { export i; }",
    )  # fmt: skip
    reference = Reference([made])
    assert "type not supported" in (reference.refused("t:t/i#f") or "")
    assert reference.refused("t:t/i#g") is None


def test_an_unknown_and_an_ambiguous_export_are_usage_errors() -> None:
    sensor = demo("scalar")[0]
    two = Reference([sensor, replace(sensor, name="other")])
    with pytest.raises(UsageError, match="2 components have"):
        two.call("rig:scalar/sensor#samples", ())
    two.call("rig:scalar/sensor#sample", (1,), component="other")
    assert two.call("rig:scalar/sensor#samples", (), component="sensor") == 0
    assert two.call("rig:scalar/sensor#samples", (), component="other") == 1
    with pytest.raises(UsageError, match="no component has"):
        two.call("nothing", ())


GROW = """(module (memory (export "memory") 2)
  (func (export "run") (result i32) (memory.grow (i32.const 1))))"""


def test_memories_do_not_grow_as_on_the_microcontroller(tmp_path: Path) -> None:
    made = component_of(tmp_path, "grow", GROW, "package t:t;\nworld w { export run: func() -> s32; }")
    assert Reference([made]).call("run", ()) == -1


def test_a_memory_of_gigabytes_is_refused(tmp_path: Path) -> None:
    huge = GROW.replace('memory") 2', 'memory") 65536')
    made = component_of(tmp_path, "grow", huge, "package t:t;\nworld w { export run: func() -> s32; }")
    with pytest.raises(Refusal, match="4096 MiB"):
        Reference([made])


def test_a_component_that_cannot_start_is_a_usage_error(tmp_path: Path) -> None:
    wat = '(module (func $s unreachable) (start $s) (func (export "run")))'
    made = component_of(tmp_path, "bad", wat, "package t:t;\nworld w { export run: func(); }")
    with pytest.raises(UsageError, match="bad cannot start"):
        Reference([made])


def test_an_interrupt_in_a_call_between_components_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    scalar = Reference(demo("scalar"))
    original, entered = Reference._function, []

    def interrupt(self: Reference, index: int, function: WitFunction) -> object:
        entered.append(function.name)
        if len(entered) == 2:
            raise KeyboardInterrupt
        return original(self, index, function)

    monkeypatch.setattr(Reference, "_function", interrupt)
    with pytest.raises(KeyboardInterrupt):
        scalar.call("step", (1,))
    assert entered == ["step", "sample"]


def test_the_reference_is_right_where_the_fused_module_is_wrong(tmp_path: Path) -> None:
    """F12: in model 1 `go` of the fused module reads the first component's data. In model 2 both agree."""
    components = demo("lists")
    answer = Reference(components).call("go", (0, 1))
    assert answer == 0x22222222 + 2 + 5
    results = {}
    for model in (Model.PAGE, Model.MULTI):
        store = Store(Engine())
        instance = Instance(store, Module(store.engine, fuse(components, model, tmp_path / model).data), [])
        go = instance.exports(store)["go"]
        assert isinstance(go, Func)
        results[model] = go(store, 0, 1)
    assert results == {Model.PAGE: answer - 5, Model.MULTI: answer}


def test_all_demo_exports_have_vectors_that_mostly_return() -> None:
    for name in ("scalar", "lists", "wide"):
        reference = Reference(demo(name))
        for component in demo(name):
            for function in component.exports:
                if not component.intruder and function.name != "send":
                    returned = 0
                    for args in vectors(function, 1, 20):
                        if reference.ended:
                            reference.fresh()
                        returned += not isinstance(reference.call(function.core_name, args), Trapped | OutOfFuel)
                    assert returned >= 10, function


def test_variants_and_records_cross_from_component_to_component(tmp_path: Path) -> None:
    wit = """package t:t;
interface p { record point { x: s32, y: f32 } f: func(a: option<point>, s: string) -> result<u32, string>; }
world w { WORLD }"""
    giver = component_of(
        tmp_path, "giver",
        """(module (memory (export "memory") 1)
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 512))
      (func (export "t:t/p#f") (param i32 i32 f32 i32 i32) (result i32)
        (i32.store (i32.const 0) (i32.eqz (local.get 0)))
        (i32.store (i32.const 4) (if (result i32) (local.get 0) (then (local.get 1)) (else (local.get 3))))
        (i32.store (i32.const 8) (local.get 4)) (i32.const 0)))""",
        wit.replace("WORLD", "export p;"),
    )  # fmt: skip
    reference = Reference([giver])
    assert reference.call("t:t/p#f", (Case("some", (7, 0.5)), "abc")) == Case("ok", 7)
    assert reference.call("t:t/p#f", (Case("none"), "abc")) == Case("err", "abc")


def test_trap_words_are_short_and_on_one_line() -> None:
    assert module._short("error\nwasm backtrace\n\nCaused by:\n    wasm trap: x\n") == "wasm trap: x"
