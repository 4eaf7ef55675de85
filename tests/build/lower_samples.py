# SPDX-License-Identifier: Apache-2.0
"""Images for the lowering's tests: core modules from text with an owner per function, built without the reader."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from build_samples import core

from rig.boards.model import Arch
from rig.host import tools
from rig.image.model import (
    Element,
    Function,
    FuncType,
    Global,
    Image,
    Memory,
    MemoryAccess,
    Model,
    Owner,
    OwnerKind,
    Seam,
    Segment,
    Slice,
    Span,
    Table,
)  # fmt: skip
from rig.image.module import Module
from rig.image.wasm import parse_module

# Two components and an adapter between them, each with a memory (model 2 in small). Functions:
# 0 get (ca, memory 0) · 1 put (ca) · 2 run (cb, memory 1: calls 3 twice, and 5) · 3 adapter → 0 · 4 adapter → 1
# 5 add (cb's own) · 6 sum7 (ca, more than four arguments) · 7 far (cb → 6)
TWO = """(module
  (memory (export "memory") 1) (memory (export "memory$1") 1)
  (global (mut i32) (i32.const 1024)) (global (mut i32) (i32.const 1024))
  (func (export "x:y/z#get") (result i32) (i32.load (i32.const 1024)))
  (func (export "x:y/z#put") (param i32) (i32.store (i32.const 1028) (local.get 0)))
  (func (export "run") (param i32) (result i32)
    (call 4 (local.get 0)) (i32.add (call 3) (call 5 (call 3) (i32.load 1 (i32.const 1024)))))
  (func (result i32) (call 0))
  (func (param i32) (call 1 (local.get 0)))
  (func (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "sum7") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
    (i32.add (local.get 0) (i32.add (local.get 5) (local.get 6))))
  (func (export "far") (result i32)
    (call 6 (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4) (i32.const 5) (i32.const 6) (i32.const 7)))
  (data (memory 0) (i32.const 1024) "AAAA") (data (memory 1) (i32.const 1024) "BBBB"))"""
TWO_OWNERS = {0: "ca", 1: "ca", 2: "cb", 3: "adapter:get", 4: "adapter:put", 5: "cb", 6: "ca", 7: "cb"}


def image_of(
    folder: Path, wat: str, owners: Mapping[int, str] | str, *, model: Model = Model.MULTI, seams: bool = True
) -> Image:
    """An image of core wasm text. `owners`: defined function → owner, or one for all; imports belong to hosts."""
    module = parse_module(core(folder, "module", wat).read_bytes(), "module")
    if isinstance(owners, str):
        owners = {body.function: owners for body in module.bodies}
    return image_from(module, owners, model, seams)


def image_from(module: Module, given: Mapping[int, str], model: Model, seams: bool = True) -> Image:
    functions = [i for i in module.imports if i.kind == "func"]
    owner_of = dict(given) | {i.index: f"host:{i.module}#{i.field}" for i in functions}
    names = list(dict.fromkeys(owner_of[n] for n in sorted(owner_of)))
    number = {n: names.index(name) for n, name in owner_of.items()}
    exported = {e.name: e.index for e in module.exports if e.kind == "func"}
    bodies = {body.function: body for body in module.bodies}
    made, accesses = [], []
    for n in range(len(module.functions)):
        body = bodies.get(n)
        calls = tuple(i.imm[0] for i in body.code if i.op == "call") if body else ()
        indirect = any(i.op == "call_indirect" for i in body.code) if body else False
        name = next((name for name, index in exported.items() if index == n), f"func_{n}")
        made.append(Function(n, name, module.type_of(n), number.get(n), body is None, calls, indirect))
        for i in body.code if body else ():
            if ".load" in i.op or ".store" in i.op:
                accesses.append(MemoryAccess(n, i.at, i.op, i.imm[1], i.imm[2]))
            elif i.op in ("memory.copy", "memory.fill"):
                accesses.append(MemoryAccess(n, i.at, i.op, i.imm[0], 0))
    memories = tuple(
        Memory(k, m.minimum, m.page_size, tuple(sorted({number[a.function] for a in accesses if a.memory == k})))
        for k, m in enumerate(module.memories)
    )
    crossing = dict.fromkeys(
        (number[f.index], callee)
        for f in made for callee in f.calls if f.index in number and number[f.index] != number[callee]
    )  # fmt: skip
    return Image(
        name="sample", model=model, wasm=module.data, sha256=hashlib.sha256(module.data).hexdigest(),
        functions=tuple(made), memories=memories,
        globals=tuple(Global(k, g.type, g.mutable, g.init or 0, None, False) for k, g in enumerate(module.globals)),
        tables=tuple(Table(k, t.minimum, ()) for k, t in enumerate(module.tables)),
        elements=tuple(
            Element(e.table or 0, e.offset or 0, tuple(f for f in e.functions if f is not None))
            for e in module.elements
        ),
        segments=tuple(Segment(s.memory or 0, s.offset or 0, s.data) for s in module.segments),
        owners=tuple(_owner(k, name, number, memories) for k, name in enumerate(names)),
        seams=tuple(_seams(crossing, made, number)) if seams else (),
        boundaries=(), accesses=tuple(accesses), primitives=(), exports=exported,
        imports=tuple((i.module, i.field, i.index) for i in functions), findings=(), refusals={},
    )  # fmt: skip


def _owner(k: int, name: str, number: Mapping[int, int], memories: Sequence[Memory]) -> Owner:
    kind = OwnerKind.ADAPTER if name.startswith("adapter") else OwnerKind.HOST if name.startswith("host:") else None
    mine = tuple(m.index for m in memories if k in m.owners)
    own = Slice(mine[0], Span(0, memories[mine[0]].size), 0) if len(mine) == 1 and kind is None else None
    members = tuple(n for n, owner in number.items() if owner == k)
    return Owner(k, name, kind or OwnerKind.COMPONENT, None, members, own, mine)


def _seams(crossing: Sequence[tuple[int, int]], made: Sequence[Function], number: Mapping[int, int]) -> list[Seam]:
    return [
        Seam(i, caller, number[target], target, made[target].type, label=made[target].name)
        for i, (caller, target) in enumerate(crossing)
    ]


def type_of(*params: str, results: Sequence[str] = ()) -> FuncType:
    return FuncType(params, tuple(results))


def synth_object(folder: Path, image: Image, arch: Arch, *more: str) -> bytes:
    """What synth makes of the image, with the flags of the toolchain reference."""
    (folder / "in.wasm").write_bytes(image.wasm)
    target = ("-t", "cortex-m4") if arch is Arch.V7M else ("-b", "riscv", "-t", "rv32imac", "--safety-bounds", "mask")
    flags = ("--relocatable", "--embedder-data-init", "--embedder-global-init", "--all-exports", *more)
    done = tools.run(
        tools.find("synth"), ["compile", "in.wasm", "-o", "out.o", *target, *flags], cwd=folder, timeout=30
    )
    assert done.ok, done.err
    return (folder / "out.o").read_bytes()
