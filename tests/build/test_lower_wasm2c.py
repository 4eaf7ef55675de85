# SPDX-License-Identifier: Apache-2.0
"""wasm2c's C with gates in it: no call across owners remains, on either architecture, whatever the names are."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from lower_samples import TWO, TWO_OWNERS, image_of

from rig.boards.load import load_board
from rig.boards.model import Board
from rig.build import elfobj, wasm2c, wasm2c_rewrite
from rig.build.cc import compile_c
from rig.build.gated import check_compiled
from rig.build.lower import lower
from rig.build.seams import Calls
from rig.build.subject import HostImport
from rig.errors import Refusal, UsageError
from rig.image.model import Image
from rig.image.wasm import parse_module
from rig.resources import data_dir

BOARDS = [load_board(name) for name in ("mps2-an386", "virt-rv32")]
WIDE = """(module (import "clock:api/x" "get-time" (func (param i64) (result i64)))
  (import "q" "sample" (func (result f64))) (import "q" "log" (func (param f32)))
  (memory 1) (memory 1) (global (mut i64) (i64.const 5)) (global (mut f32) (f32.const 1)) (table 2 funcref)
  (elem (i32.const 0) 3 3)
  (func (export "a*/\\n\\"b") (param i32) (result f64) (f64.store 1 (local.get 0) (call 1)) (f64.load 1 (local.get 0)))
  (func (export "rig_gate_0") (param i64 f32) (result i64)
    (call 2 (local.get 1)) (i64.div_s (call 0 (local.get 0)) (local.get 0)))
  (func (export "memcpy") (param f64 i64) (result i64) (i64.add (local.get 1) (call 4 (local.get 1) (f32.const 2)))))"""
WIDE_OWNERS = {3: "a", 4: "b", 5: "a"}


@pytest.fixture(params=BOARDS, ids=lambda board: board.name)
def board(request: pytest.FixtureRequest) -> Board:
    found: Board = request.param
    return found


def compiled(image: Image, board: Board, folder: Path, edit: tuple[str, str] | None = None) -> elfobj.Object:
    """The object before it is closed; `edit`: a piece of the rewritten C and what stands there instead."""
    source = wasm2c.translate(image, Calls(image), folder)
    if edit is not None:
        text = source.read_text()
        assert edit[0] in text
        source.write_text(text.replace(*edit))
    include = data_dir("firmware") / "wasm2c"
    compile_c(board, source, folder / "out.o", [*wasm2c.CFLAGS, "-I", include, "-I", include / "include"])
    return elfobj.parse((folder / "out.o").read_bytes(), "out.o")


def test_every_seam_is_gated_and_every_function_is_there(tmp_path: Path, board: Board) -> None:
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    gated = check_compiled(compiled(image, board, tmp_path), image, Calls(image))
    assert set(gated.sites) == {seam.index for seam in image.seams} and gated.functions == tuple(range(8))
    for seam, sites in gated.sites.items():
        assert {image.owner_of(function) for function, _ in sites} == {image.seams[seam].caller}


def test_a_call_beside_the_gate_is_seen(tmp_path: Path, board: Board) -> None:
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    obj = compiled(image, board, tmp_path, ("= rig_gate_4(", "= rig_fn_6("))
    with pytest.raises(Refusal, match="refers to function 6 of another owner"):
        check_compiled(obj, image, Calls(image))


def test_the_gate_of_another_seam_is_seen(tmp_path: Path, board: Board) -> None:
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    obj = compiled(image, board, tmp_path, ("= rig_gate_2(instance", "= rig_gate_1(instance"))
    with pytest.raises(Refusal, match="calls gate 1, which is not for it"):
        check_compiled(obj, image, Calls(image))


def test_an_inlined_function_is_missed(tmp_path: Path, board: Board) -> None:
    """Without the attribute the compiler inlines the adapter's callee and could drop it."""
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    obj = compiled(image, board, tmp_path, ("RIG_FUNCTION u32 w2c_mod_f5", "static inline u32 w2c_mod_f5"))
    with pytest.raises(Refusal, match=r"functions are missing after compilation: \[5\]"):
        check_compiled(obj, image, Calls(image))


def test_64_bit_and_float_code_becomes_one_closed_unprivileged_object(tmp_path: Path, board: Board) -> None:
    image = image_of(tmp_path, WIDE, WIDE_OWNERS)
    stubs = {"clock:api/x": HostImport("stub"), "q#sample": HostImport("stub"), "q": HostImport("trap")}
    made = lower(image, board, imports=stubs, wanted="wasm2c")
    assert set(made.gated.sites) == {seam.index for seam in image.seams}
    for file in (made.object, made.object.with_name("hosts.o")):
        obj = elfobj.parse(file.read_bytes(), file.name)
        for section in obj.sections:
            assert not section.flags & elfobj.SHF_WRITE
            assert section.name.startswith(".unpriv.") == bool(section.flags & elfobj.SHF_ALLOC)
        outside = {s.name for s in obj.symbols if s.undefined}
        assert all(re.fullmatch(r"rig_(gate|mem|fn)_\d+", name) for name in outside)
        exported = {s.name for s in obj.symbols if not s.undefined and s.bind != elfobj.STB_LOCAL}
        assert all(re.fullmatch(r"rig_(fn|host)_\d+|rig_instance_init", name) for name in exported)
    text = elfobj.parse(made.object.read_bytes(), "o")
    helpers = [s.name for s in text.sections if "compiler_rt" in s.name]
    assert helpers and all(name.startswith(".unpriv.text") for name in helpers)  # i64 division, f64 on a M4F


def test_no_name_of_the_user_reaches_the_c_text(tmp_path: Path) -> None:
    image = image_of(tmp_path, WIDE, WIDE_OWNERS)
    text = wasm2c.translate(image, Calls(image), tmp_path).read_text()
    assert not re.search(r"clock|get.time|memcpy0x|a0x2A|sample", text)
    module = parse_module(wasm2c_rewrite.sanitise(image.wasm), "sane")
    original = parse_module(image.wasm, "given")
    assert module.exports == () and module.customs == ()
    assert [(i.module, i.field) for i in module.imports] == [("rig", "h0"), ("rig", "h1"), ("rig", "h2")]
    assert module.bodies == original.bodies and module.types == original.types and module.segments == original.segments


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(module (memory 1) (func (result i32 i32) (i32.const 1) (i32.const 2)) (func (drop (drop (call 0)))))",
         "returns 2 values"),
        ('(module (memory 1) (data "abc") (func (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 3)))'
         " (func (call 0)))", "an instance would hold"),
    ],
)  # fmt: skip
def test_what_no_gate_or_instance_can_hold_is_refused(tmp_path: Path, text: str, words: str) -> None:
    image = image_of(tmp_path, text, {0: "a", 1: "b"})
    with pytest.raises(Refusal, match=words):
        wasm2c.translate(image, Calls(image), tmp_path)


def test_text_that_wasm2c_would_not_write_is_refused(tmp_path: Path) -> None:
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    wasm2c.translate(image, Calls(image), tmp_path)
    text, header = (tmp_path / "wasm2c.c").read_text(), (tmp_path / "wasm2c.h").read_text()
    calls = Calls(image)
    good = wasm2c_rewrite.rewrite(text, header, image, calls)
    assert "rig_gate_0(instance" in good
    spoilt = [
        text.replace("static u32 w2c_mod_f5(w2c_mod*, u32, u32);", "", 1),
        text.replace("w2c_mod_f4(instance, var_i0)", "w2c_mod_f1(instance, var_i0)"),
        text.replace("wasm_rt_allocate_memory(&instance->w2c_M1", "allocate(&instance->w2c_M1"),
        text.replace('#include "wasm2c.h"', ""),
    ]
    for bad in spoilt:
        assert bad != text
        with pytest.raises(Refusal):
            wasm2c_rewrite.rewrite(bad, header, image, calls)
    with pytest.raises(Refusal, match="keeps 2 globals, the module has 1"):
        wasm2c_rewrite.rewrite(text, header, replace(image, globals=image.globals[:1]), calls)


def test_a_users_host_file_is_compiled_into_its_own_context(tmp_path: Path, board: Board) -> None:
    image = image_of(tmp_path, WIDE, WIDE_OWNERS)
    (tmp_path / "deep.h").write_text("#define BASE 40\n")
    file = tmp_path / "my clock.c"
    file.write_text(
        '#include <stdint.h>\n#include "deep.h"\nstatic uint64_t third(uint64_t t) { return t / 3; }\n'
        "uint64_t get_time(uint64_t t) { return third(t) + BASE; }\n"
    )
    imports = {"clock:api/x#get-time": HostImport("file", file), "q": HostImport("trap")}
    made = lower(image, board, imports=imports)
    hosts = elfobj.parse(made.object.with_name("hosts.o").read_bytes(), "hosts.o")
    assert {s.name for s in hosts.symbols if s.name.startswith("rig_")} == {
        f"rig_{word}_{n}" for n in range(3) for word in ("fn", "host")
    }
    names = [s.name for s in hosts.sections if s.flags & elfobj.SHF_ALLOC]
    assert all(name.startswith((".unpriv.host", ".unpriv.rodata")) for name in names)
    trap = next(s for s in hosts.sections if s.name == ".unpriv.host.rig_fn_2")
    assert (b"\x00\xde" if board.arch.value == "v7m" else b"\x02\x90") in trap.data  # udf #0, c.ebreak


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{ return t + }", "does not compile"),
        ("{ static uint64_t n; return n += t; }", "data of its own"),
        ("{ extern uint64_t rig_fn_4(); return rig_fn_4(t); }", "rig_fn_4"),
        ('{ extern int puts(const char *); return puts(""); }', "puts"),
        ("", "does not compile"),
    ],
)  # fmt: skip
def test_a_host_file_that_does_not_fit_is_named(tmp_path: Path, body: str, words: str) -> None:
    image, file = image_of(tmp_path, WIDE, WIDE_OWNERS), tmp_path / "clock.c"
    file.write_text(f"#include <stdint.h>\nuint64_t get_time(uint64_t t) {body}\n" if body else "int other;\n")
    imports = {"clock:api/x#get-time": HostImport("file", file), "q": HostImport("stub")}
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        lower(image, BOARDS[0], imports=imports)
    assert "clock.c" in str(caught.value)


def test_an_import_that_nobody_provides_is_named_with_the_line_to_add(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='"clock:api/x#get-time" = "trap"'):
        lower(image_of(tmp_path, WIDE, WIDE_OWNERS), BOARDS[0], imports={"q": HostImport("stub")})
