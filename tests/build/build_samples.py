# SPDX-License-Identifier: Apache-2.0
"""Small components made on the spot from WebAssembly text, and others' tools run directly."""

from __future__ import annotations

from pathlib import Path

from rig.build.components import read_component
from rig.host import tools
from rig.image.component import Component

PAIR_WIT = """
package demo:pair;
interface provider { get: func() -> u32; put: func(x: u32); }
interface back { ping: func(x: u32) -> u32; }
world giver { export provider; }
world taker { import provider; export run: func() -> u32; }
world middle { import provider; export provider; }
world cycle-a { import back; export provider; export run: func() -> u32; }
world cycle-b { import provider; export back; }
world alone { export run: func(a: s32, b: s32) -> s32; }
"""

GIVER = """(module (memory (export "memory") 1) (data (i32.const 1024) "{word}")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))
  (func (export "demo:pair/provider#get") (result i32) (i32.load (i32.const 1024)))
  (func (export "demo:pair/provider#put") (param i32) (i32.store (i32.const 1024) (local.get 0))))"""

TAKER = """(module (import "demo:pair/provider" "get" (func $get (result i32))) (memory (export "memory") 1)
  (func (export "run") (result i32) (i32.add (call $get) (i32.const 1))))"""


def wasm_tools(*args: str | Path) -> None:
    done = tools.run(tools.find("wasm-tools"), list(args), timeout=60)
    assert done.ok, done.err


def core(folder: Path, name: str, wat: str) -> Path:
    """A core module from text."""
    text, out = folder / f"{name}.wat", folder / f"{name}.core"
    text.write_text(wat)
    wasm_tools("parse", text, "-o", out)
    return out


def componentise(folder: Path, name: str, module: Path, wit: str, world: str) -> Path:
    """A component file `name`.wasm from a core module."""
    world_file, embedded, out = folder / f"{name}.wit", folder / f"{name}.embedded", folder / f"{name}.wasm"
    world_file.write_text(wit)
    wasm_tools("component", "embed", world_file, "--world", world, module, "-o", embedded)
    wasm_tools("component", "new", embedded, "-o", out)
    return out


def component(folder: Path, name: str, wat: str, world: str, wit: str = PAIR_WIT) -> Component:
    """A component read back through the rig's own reader."""
    path = componentise(folder, name, core(folder, name, wat), wit, world)
    return read_component(path, name=name)
