# SPDX-License-Identifier: Apache-2.0
"""Which lowering an image gets, in whose words it does not get another, and what of a tool's answer is believed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from lower_samples import TWO, TWO_OWNERS, image_of, synth_object

from rig.boards.load import load_board
from rig.boards.model import Arch, Board
from rig.build import elfobj, lower, synth
from rig.build.lower import choose_lowering
from rig.build.lower import lower as lower_image
from rig.build.subject import HostImport
from rig.errors import InfrastructureError, Refusal, ToolMissing, UsageError
from rig.host import tools
from rig.host.tool import Tool
from rig.image.model import Image, Model
from rig.plan.model import Lowering

ARM, RV32 = load_board("mps2-an386"), load_board("virt-rv32")
I64 = '(module (memory 1) (memory 1) (func (export "f") (param i32) (i64.store {k} (local.get 0) (i64.const 1))))'
F64 = '(module (memory 1) (func (export "f") (param f64) (result f64) (f64.add (local.get 0) (f64.const 1))))'
INDIRECT = """(module (memory {pages}) (table 2 funcref) (elem (i32.const 0) $f $f) (type $t (func (result i32)))
  (data (i32.const {data}) "abcd") (func $f (export "f") (result i32) (i32.load (i32.const 64)))
  (func (export "g") (result i32) (call_indirect (type $t) (i32.const 1))))"""
PAGES = """(module (memory {pages}) (func (export "get") (result i32) (i32.load offset={at} (i32.const 0)))
  (func (export "run") (result i32) (call 0)))"""
PLAIN = {0: "a", 1: "b"}


def sample(folder: Path, text: str, model: Model = Model.MULTI) -> Image:
    return image_of(folder, text, "a", model=model)


@pytest.mark.parametrize(
    ("text", "model", "board", "expected", "why"),
    [
        (TWO, Model.MULTI, ARM, Lowering.SYNTH, ""),
        (TWO, Model.MULTI, RV32, Lowering.WASM2C, "2 memories"),
        (I64.format(k=0), Model.MULTI, ARM, Lowering.SYNTH, ""),
        (I64.format(k=1), Model.MULTI, ARM, Lowering.WASM2C, "i64.store on memory 1 in f: only i32"),
        (PAGES.format(pages=2, at=66000), Model.PAGE, RV32, Lowering.SYNTH_MASK, ""),
        (PAGES.format(pages=3, at=66000), Model.PAGE, RV32, Lowering.WASM2C, "power of two, and the memory has 196608"),
        (PAGES.format(pages=3, at=2047), Model.STACK, RV32, Lowering.SYNTH, ""),
        (PAGES.format(pages=3, at=2048), Model.STACK, RV32, Lowering.WASM2C, "offset 2048"),
        (PAGES.format(pages=1, at=2048), Model.STACK, RV32, Lowering.SYNTH_MASK, "offset 2048"),
        (INDIRECT.format(pages=1, data=64), Model.MULTI, RV32, Lowering.WASM2C, "call_indirect in g"),
        (INDIRECT.format(pages=1, data=64), Model.MULTI, ARM, Lowering.SYNTH, ""),
        (INDIRECT.format(pages=1, data=8), Model.MULTI, ARM, Lowering.WASM2C, "table takes 16 bytes of memory 0"),
    ],
)
def test_choice(tmp_path: Path, text: str, model: Model, board: Board, expected: Lowering, why: str) -> None:
    image = sample(tmp_path, text, model)
    chosen, why_not = choose_lowering(image, board, None, have_synth=True)
    assert chosen is expected and (why in "; ".join(why_not)) and bool(why) == bool(why_not)


def test_without_synth_every_image_goes_through_wasm2c_and_says_so(tmp_path: Path) -> None:
    chosen, why_not = choose_lowering(sample(tmp_path, TWO), ARM, None, have_synth=False)
    assert chosen is Lowering.WASM2C and why_not == ("synth: synth is not installed",)


def test_what_was_asked_for_is_not_replaced(tmp_path: Path) -> None:
    image = sample(tmp_path, I64.format(k=1))
    with pytest.raises(Refusal, match=r"i64\.store on memory 1"):
        choose_lowering(image, ARM, "synth", have_synth=True)
    assert choose_lowering(image, ARM, "wasm2c", have_synth=True)[0] is Lowering.WASM2C
    with pytest.raises(UsageError, match="there is no lowering 'gcc': there are synth"):
        choose_lowering(image, ARM, "gcc", have_synth=True)


def test_a_core_synth_does_not_know_goes_through_wasm2c(tmp_path: Path) -> None:
    board = replace(ARM, core="cortex-m0plus", fpu=None)
    chosen, why_not = choose_lowering(sample(tmp_path, TWO), board, None, have_synth=True)
    assert chosen is Lowering.WASM2C and "no code generator for cortex-m0plus" in why_not[0]


def test_the_target_follows_the_fpu_of_the_board() -> None:
    def of(core: str, fpu: str | None) -> str:
        return (synth.target(replace(ARM, core=core, fpu=fpu)) or ("", ""))[1]

    assert [of("cortex-m4", None), of("cortex-m4", "fpv4-sp-d16")] == ["cortex-m4", "cortex-m4f"]
    assert [of("cortex-m7", "fpv5-sp-d16"), of("cortex-m7", "fpv5-d16")] == ["cortex-m7", "cortex-m7dp"]
    assert [of("cortex-m3", None), of("cortex-m33", "fpv5-sp-d16")] == ["cortex-m3", "cortex-m4f"]


def test_a_real_refusal_keeps_synths_own_words_and_falls_back(tmp_path: Path) -> None:
    image = sample(tmp_path, F64)
    assert choose_lowering(image, ARM, None, have_synth=True)[0] is Lowering.SYNTH  # not visible from outside
    made = lower_image(image, ARM)
    assert made.lowering is Lowering.WASM2C
    assert "f64 requires a double-precision FPU target" in made.why_not[0] and "(in f)" in made.why_not[0]
    assert "backtrace" not in made.why_not[0].lower() and "\x1b" not in made.why_not[0]
    with pytest.raises(Refusal, match="double-precision"):
        lower_image(image, ARM, wanted="synth")


def test_an_object_that_does_not_say_what_the_module_says_falls_back(tmp_path: Path) -> None:
    """synth 0.89 binds an import to an export of the same name."""
    image = image_of(
        tmp_path,
        '(module (import "a:b/c" "run" (func)) (memory 1) (func (export "run"))'
        ' (func (export "go") (call 0) (call 1)))',
        {1: "c", 2: "c"},
    )
    made = lower_image(image, ARM, imports={"a:b/c": HostImport("stub")})
    assert made.lowering is Lowering.WASM2C and "which it does not in the module" in made.why_not[0]
    assert set(made.gated.sites) == {0}


def _fake(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """synth replaced by a script, for the length of a test."""
    program = folder / "fake"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    real = tools.find

    def find(name: str) -> Tool:
        return Tool("synth", program, "0.89.0", "test") if name == "synth" else real(name)

    monkeypatch.setattr(tools, "find", find)


def test_an_old_object_is_never_taken_for_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    (tmp_path / "synth.o").write_bytes(synth_object(tmp_path, image, Arch.V7M))
    _fake(monkeypatch, tmp_path, "echo INFO Compiled 8 functions; echo 'Error: no' >&2; exit 1\n")
    with pytest.raises(Refusal, match="refuses the module: no"):
        synth.lower(image, ARM, Lowering.SYNTH, tmp_path)
    assert not (tmp_path / "synth.o").exists()


def test_success_without_an_object_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    (tmp_path / "synth.o").write_bytes(synth_object(tmp_path, image, Arch.V7M))
    _fake(monkeypatch, tmp_path, "exit 0\n")
    with pytest.raises(InfrastructureError, match="left no object"):
        synth.lower(image, ARM, Lowering.SYNTH, tmp_path)


@pytest.mark.parametrize("junk", [b"", b"\x7fELF", b"\x7fELF\1\1\1" + bytes(45)])
def test_junk_from_synth_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, junk: bytes) -> None:
    (tmp_path / "junk").write_bytes(junk)
    _fake(monkeypatch, tmp_path, f'cp "{tmp_path / "junk"}" synth.o\n')
    with pytest.raises(Refusal, match="not what the module says"):
        synth.lower(image_of(tmp_path, TWO, TWO_OWNERS), ARM, Lowering.SYNTH, tmp_path)


def test_words_are_short_and_without_the_backtrace() -> None:
    said = synth.refusal(
        "\x1b[33mwarning: skipping function 'go': backend 'riscv' failed: compilation failed: RISC-V selector: "
        "immediate 132100 too large for memory offset\x1b[0m\n"
        "warning: skipping function 'run': backend 'riscv' failed: unsupported wasm op\n"
        "warning: 2 of 9 functions were skipped (not in output): go, run\n"
        "Error: #952: 2 of 9 requested export(s) were skipped\n\nStack backtrace:\n   0: anyhow::error\n"
    )
    assert said == (
        "RISC-V selector: immediate 132100 too large for memory offset (in go); unsupported wasm op (in run)"
    )
    assert synth.refusal("Error: multi-memory (#406): no\n\nStack backtrace:\n  0: x\n") == "multi-memory (#406): no"
    assert len(synth.refusal("Error: " + "x" * 10_000)) <= 600 and synth.refusal("") == "it gave no reason"


def test_the_users_object_is_used_and_checked(tmp_path: Path) -> None:
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    path = tmp_path / "mine.o"
    path.write_bytes(synth_object(tmp_path, image, Arch.V7M))
    made = lower_image(image, ARM, given=path)
    assert made.given and made.lowering is Lowering.SYNTH and made.why_not == ()
    assert set(made.gated.sites) == {seam.index for seam in image.seams}
    with pytest.raises(UsageError, match=r"mine\.o: made for another processor"):
        lower_image(image, RV32, given=path)

    folder = tmp_path / "other"
    folder.mkdir()
    three = image_of(folder, TWO.replace("(memory (export", "(memory 2) (memory (export", 1), TWO_OWNERS)
    with pytest.raises(UsageError, match=r"mine\.o: does not belong to this module: 2 memories instead of 3"):
        lower_image(three, ARM, given=path)
    more = image_of(folder, TWO.replace('(func (export "far")', '(func (export "new")) (func (export "far")'),
                    {**TWO_OWNERS, 8: "cb"})  # fmt: skip
    with pytest.raises(UsageError, match=r"mine\.o"):
        lower_image(more, ARM, given=path)


def test_the_manifest_beside_the_users_object_tells_its_bounds(tmp_path: Path) -> None:
    image = image_of(tmp_path, PAGES.format(pages=1, at=8), PLAIN, model=Model.PAGE)
    path, manifest = tmp_path / "out.o", tmp_path / "out.safety-manifest.json"
    synth_object(tmp_path, image, Arch.V7M)
    assert lower_image(image, ARM, given=path).lowering is Lowering.SYNTH
    synth_object(tmp_path, image, Arch.V7M, "--safety-bounds", "mask")
    assert manifest.is_file() and lower_image(image, ARM, given=path).lowering is Lowering.SYNTH_MASK
    for bad in ("{", "[]", '{"safety_bounds": "hope"}', "[" * 100_000):
        manifest.write_text(bad)
        with pytest.raises(UsageError, match="safety-manifest"):
            lower_image(image, ARM, given=path)


def test_truncated_and_flipped_objects_are_refused_or_harmless(tmp_path: Path) -> None:
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    good = synth_object(tmp_path, image, Arch.V7M)
    path, refused = tmp_path / "bad.o", 0
    headers = len(good) - 11 * 40
    places = [*range(0, 52, 5), *range(headers, len(good), 7)]
    damaged = [good[:size] for size in (0, 3, 51, 52, 200, len(good) // 2, len(good) - 1)]
    damaged += [good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :] for at in places]
    for data in damaged:
        path.write_bytes(data)
        try:
            synth.finish(data, image, ARM, tmp_path, "bad.o")
        except (UsageError, Refusal) as error:
            refused += 1
            assert "bad.o" in str(error) or isinstance(error, Refusal)
    assert refused > len(damaged) // 3  # the rest hit fields that mean nothing in an object


def test_an_object_comes_back_from_the_rewriter_as_it_was(tmp_path: Path) -> None:
    for arch in Arch:
        text = TWO if arch is Arch.V7M else PAGES.format(pages=1, at=4)
        raw = synth_object(tmp_path, image_of(tmp_path, text, TWO_OWNERS if arch is Arch.V7M else PLAIN), arch)
        once = elfobj.emit(elfobj.parse(raw, "a"))
        assert elfobj.emit(elfobj.parse(once, "b")) == once
        one, two = elfobj.parse(raw, "a"), elfobj.parse(once, "b")
        assert [(s.name, s.data, s.size, s.flags) for s in one.sections] == [
            (s.name, s.data, s.size, s.flags) for s in two.sections
        ]
        assert sorted((s.name, s.value, s.bind) for s in one.symbols) == sorted(
            (s.name, s.value, s.bind) for s in two.symbols
        )


def test_lowering_twice_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    for wanted in ("synth", "wasm2c"):
        one = lower_image(image, ARM, wanted=wanted)
        with monkeypatch.context() as patch:
            patch.setattr(lower, "own_code", lambda: "another rig")
            two = lower_image(image, ARM, wanted=wanted)
        assert one.object != two.object and one.object.read_bytes() == two.object.read_bytes()


def test_a_missing_synth_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tools.find

    def find(name: str) -> Tool:
        if name == "synth":
            raise ToolMissing("no cargo")
        return real(name)

    monkeypatch.setattr(tools, "find", find)
    made = lower_image(image_of(tmp_path, TWO, TWO_OWNERS), ARM)
    assert made.lowering is Lowering.WASM2C and "synth is not installed" in made.why_not[0]
