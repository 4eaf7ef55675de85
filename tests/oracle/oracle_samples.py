# SPDX-License-Identifier: Apache-2.0
"""Components made for one WIT function each, which show what wasmtime passes and returns in core terms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wasmtime import Config, Engine, Store, WasmtimeError, component

from rig.build.components import read_component
from rig.host import tools
from rig.image.component import Component, WitFunction, WitType
from rig.oracle.abi import flatten
from rig.oracle.convert import from_wasmtime, tag_all, to_wasmtime
from rig.oracle.values import Value

NAMED = """
  record point { x: s32, y: f64 }
  record pixel { r: u8, depth: u32, a: u16 }
  record mixed { name: string, ok: bool, at: point }
  variant shape { none, dot(point), size(f32), word(u64), edge(s8) }
  variant note { silent, text(string), level(f32) }
  variant wide { number(s64), text(string) }
  enum colour { red, green, blue }
  flags rights { read, write, run }
  flags many { a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, c0, c1 }
"""
NAMES = ("point", "pixel", "mixed", "shape", "note", "wide", "colour", "rights", "many")


def component_of(folder: Path, name: str, wat: str, wit: str) -> Component:
    """A component of world `w` from WebAssembly text and WIT."""
    (folder / f"{name}.wat").write_text(wat)
    (folder / f"{name}.wit").write_text(wit)
    for args in (
        ["parse", f"{name}.wat", "-o", f"{name}.core"],
        ["component", "embed", f"{name}.wit", "--world", "w", f"{name}.core", "-o", f"{name}.embedded"],
        ["component", "new", f"{name}.embedded", "-o", f"{name}.wasm"],
    ):
        done = tools.run(tools.find("wasm-tools"), args, cwd=folder, timeout=60)
        assert done.ok, done.err
    return read_component(folder / f"{name}.wasm", name=name)


def world(signature: str) -> str:
    return (
        f"package t:t;\ninterface types {{{NAMED}}}\n"
        f"interface i {{ use types.{{{', '.join(NAMES)}}};\n  f: func{signature}; }}\nworld w {{ export i; }}"
    )


HEAP, SEEN, PAIR = 4096, 256, 16
REALLOC = f"""(global $heap (mut i32) (i32.const {HEAP}))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $heap (i32.and (i32.add (global.get $heap) (i32.sub (local.get 2) (i32.const 1)))
                               (i32.sub (i32.const 0) (local.get 2))))
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 3))))"""


@dataclass
class Probe:
    """One function `f` of a component, called by wasmtime."""

    component: Component
    function: WitFunction

    @classmethod
    def of(cls, made: Component) -> Probe:
        return cls(made, next(function for function in made.exports if function.name == "f"))

    def call(self, args: tuple[Value, ...], result: WitType) -> Value:
        tag_all()
        config = Config()
        config.cranelift_opt_level = "none"
        engine = Engine(config)
        store = Store(engine)
        instance = component.Linker(engine).instantiate(store, component.Component(engine, self.component.data))
        outer = instance.get_export_index(store, "t:t/i")
        index = instance.get_export_index(store, "f", outer)
        assert index is not None
        function = instance.get_func(store, index)
        assert function is not None
        types = [type for _, type in self.function.params]
        given = [to_wasmtime(value, type) for value, type in zip(args, types, strict=True)]
        return from_wasmtime(function(store, *given), result)


def dump_of(folder: Path, params: str, types: list[WitType]) -> Probe:
    """`f` takes `params` and returns, as bytes, its core parameters (8 each) and then what lies on its heap."""
    flat = [core for type in types for core in flatten(type)]
    if len(flat) > 16:
        flat = ["i32"]
    stores = "\n".join(
        f"({core}.store (i32.const {SEEN + 8 * index}) (local.get {index}))" for index, core in enumerate(flat)
    )
    wat = f"""(module (memory (export "memory") 1) {REALLOC}
      (func (export "t:t/i#f") (param {' '.join(flat)}) (result i32)
        {stores}
        (memory.copy (i32.const {SEEN + 8 * len(flat)}) (i32.const {HEAP}) (i32.const 2048))
        (i32.store (i32.const {PAIR}) (i32.const {SEEN}))
        (i32.store (i32.const {PAIR + 4}) (i32.const {8 * len(flat) + 2048}))
        (i32.const {PAIR})))"""
    return Probe.of(component_of(folder, "dump", wat, world(f"({params}) -> list<u8>")))


def make_of(folder: Path, result: str, type: WitType) -> Probe:
    """`f` takes bytes and returns them as its result: the core value itself, or the return area."""
    flat = flatten(type)
    body = "(local.get 0)" if len(flat) > 1 else f"({flat[0]}.load (local.get 0))"
    core = "i32" if len(flat) > 1 else flat[0]
    wat = f"""(module (memory (export "memory") 1) {REALLOC}
      (func (export "t:t/i#f") (param i32 i32) (result {core}) {body}))"""
    return Probe.of(component_of(folder, "make", wat, world(f"(raw: list<u8>) -> {result}")))


__all__ = ["HEAP", "Probe", "WasmtimeError", "component_of", "dump_of", "make_of", "world"]
