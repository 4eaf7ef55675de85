# SPDX-License-Identifier: Apache-2.0
"""Gates in synth objects: every seam's calls lead to its gate, and nothing else of the object changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from lower_samples import TWO, TWO_OWNERS, image_of, synth_object

from rig.boards.model import Arch
from rig.build import disasm, elfobj
from rig.build.interpose import CALLS, TEXT, check, interpose
from rig.errors import Refusal, UsageError
from rig.image.model import Image, Model

# One memory (model 1): 0 get (ca) · 1 run (cb → 0, and its own 2) · 2 own (cb)
ONE = """(module (memory (export "memory") 1) (global (mut i32) (i32.const 1024)) (global (mut i64) (i64.const 7))
  (func (export "get") (result i32) (i32.load (i32.const 1024)))
  (func (export "run") (param i32) (result i32)
    (global.set 0 (local.get 0)) (i32.add (call 0) (call 2 (i32.load (i32.const 3000)))))
  (func (param i32) (result i32) (i32.add (global.get 0) (local.get 0))))"""
ONE_OWNERS = {0: "ca", 1: "cb", 2: "cb"}


@pytest.fixture(scope="module", params=[Arch.V7M, Arch.RV32])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, Arch, bytes, bytes]:
    """Image, architecture, synth's object, the interposed object."""
    folder = tmp_path_factory.mktemp("case")
    arch: Arch = request.param
    if arch is Arch.V7M:
        image = image_of(folder, TWO, TWO_OWNERS)
    else:
        image = image_of(folder, ONE, ONE_OWNERS, model=Model.PAGE)
    raw = synth_object(folder, image, arch)
    return image, arch, raw, interpose(raw, image, arch)


def text_of(data: bytes) -> elfobj.Section:
    obj = elfobj.parse(data, "object")
    return next(s for s in obj.sections if s.flags & elfobj.SHF_EXEC)


def edit(data: bytes, change: Callable[[elfobj.Object, elfobj.Section], None]) -> bytes:
    obj = elfobj.parse(data, "object")
    change(obj, next(s for s in obj.sections if s.flags & elfobj.SHF_EXEC))
    return elfobj.emit(obj)


def symbol(obj: elfobj.Object, name: str) -> elfobj.Symbol:
    return next(s for s in obj.symbols if s.name == name)


def test_every_seam_has_its_gate(case: tuple[Image, Arch, bytes, bytes]) -> None:
    image, arch, _, made = case
    gated = check(made, image, arch)
    assert set(gated.sites) == {seam.index for seam in image.seams} and gated.findings == ()
    for seam in image.seams:
        expected = sum(
            image.functions[n].calls.count(seam.target) for n in range(len(image.functions))
            if image.owner_of(n) == seam.caller
        )  # fmt: skip
        assert len(gated.sites[seam.index]) == expected
        assert all(image.owner_of(function) == seam.caller for function, _ in gated.sites[seam.index])


def test_nothing_but_the_calls_changes(case: tuple[Image, Arch, bytes, bytes]) -> None:
    image, arch, raw, made = case
    before, after = text_of(raw), text_of(made)
    assert after.name == TEXT and before.data == after.data
    old, new = ({(r.offset, r.type, r.addend): r.symbol for r in t.relocs} for t in (before, after))
    assert old.keys() == new.keys()
    gated = {at + start(made, n) for sites in check(made, image, arch).sites.values() for n, at in sites}
    for (offset, kind, _), target in new.items():
        assert target is not None
        is_gate = target.name.startswith("rig_gate_")
        assert is_gate == (offset in gated) and (not is_gate or kind in CALLS[arch])


def start(data: bytes, function: int) -> int:
    found = symbol(elfobj.parse(data, "object"), f"rig_fn_{function}")
    return found.value & ~1


def test_only_names_of_the_rig_are_global(case: tuple[Image, Arch, bytes, bytes]) -> None:
    obj = elfobj.parse(case[3], "object")
    names = {s.name for s in obj.symbols if s.bind != elfobj.STB_LOCAL}
    assert names and all(re.fullmatch(r"rig_(fn_\d+|gate_\d+|mem_\d+|window)", name) for name in names)
    assert {s.name for s in obj.sections} <= {TEXT, ".ARM.attributes"}


def test_code_decodes_to_the_last_byte(case: tuple[Image, Arch, bytes, bytes]) -> None:
    _, arch, _, made = case
    text, obj = text_of(made), elfobj.parse(made, "object")
    marks = sorted((s.value, s.name) for s in obj.symbols if s.name in ("$t", "$d"))
    assert (marks[0] == (0, "$t") and any(name == "$d" for _, name in marks)) if arch is Arch.V7M else marks == []
    edges = [*marks, (text.size, "")] if marks else [(0, "$t"), (text.size, "")]
    for (low, kind), (high, _) in pairwise(edges):
        if kind == "$t":
            assert all(i.mnemonic for i in disasm.decode(text.data[low:high], low, arch))


def test_a_skipped_site_is_seen(case: tuple[Image, Arch, bytes, bytes]) -> None:
    image, arch, _, made = case
    for seam in image.seams:
        def undo(obj: elfobj.Object, text: elfobj.Section, index: int = seam.index, target: int = seam.target) -> None:
            gate = symbol(obj, f"rig_gate_{index}")
            next(r for r in text.relocs if r.symbol is gate).symbol = symbol(obj, f"rig_fn_{target}")

        with pytest.raises(Refusal, match="no switch point"):
            check(edit(made, undo), image, arch)


def test_the_gate_of_another_seam_is_seen(tmp_path: Path) -> None:
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    made = interpose(synth_object(tmp_path, image, Arch.V7M), image, Arch.V7M)

    def swap(obj: elfobj.Object, text: elfobj.Section) -> None:
        next(r for r in text.relocs if r.symbol is symbol(obj, "rig_gate_0")).symbol = symbol(obj, "rig_gate_2")

    with pytest.raises(Refusal, match="gate 2, which is not for it"):
        check(edit(made, swap), image, Arch.V7M)


@pytest.mark.parametrize("arch", [Arch.V7M, Arch.RV32])
def test_a_branch_without_a_relocation_is_seen(tmp_path: Path, arch: Arch) -> None:
    one = arch is Arch.RV32
    image = image_of(tmp_path, ONE if one else TWO, ONE_OWNERS if one else TWO_OWNERS)
    made = interpose(synth_object(tmp_path, image, arch), image, arch)

    def patch(obj: elfobj.Object, text: elfobj.Section) -> None:
        at, data = start(made, 1), bytearray(text.data)
        data[at : at + 4] = bytes.fromhex("fff7f8bf" if arch is Arch.V7M else "6ff0dfff")  # b.w -12, j -4
        text.data = bytes(data)

    with pytest.raises(Refusal, match="without a relocation"):
        check(edit(made, patch), image, arch)


def test_an_inlined_call_is_a_finding_that_joins_two_owners(tmp_path: Path) -> None:
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    raw = synth_object(tmp_path, image, Arch.V7M)

    def inline(obj: elfobj.Object, text: elfobj.Section) -> None:
        call = next(r for r in text.relocs if r.symbol is not None and r.symbol.name == "func_6")
        text.relocs.remove(call)
        text.data = text.data[: call.offset] + bytes.fromhex("00bf00bf") + text.data[call.offset + 4 :]

    gated = check(interpose(edit(raw, inline), image, Arch.V7M), image, Arch.V7M)
    seam = next(s for s in image.seams if s.target == 6)
    assert [(f.id, f.pair) for f in gated.findings] == [("no-switch-point", (seam.caller, seam.callee))]
    assert "cb and ca share a context" in gated.findings[0].what and seam.index not in gated.sites


IMPORTS = """(module (import "x:y/z" "f" (func (param i32) (result i32))) (import "a:b/c" "f" (func (result i32)))
  (import "a:b/c" "tick" (func)) (memory (export "memory") 1)
  (func $t1 (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func $run (export "run") (result i32) (call $t1 (call 0 (call 1))))
  (func (export "go") (result i32) (call 2) (call $run)))"""


@pytest.mark.parametrize("arch", [Arch.V7M, Arch.RV32])
def test_equal_fields_of_two_imports_are_told_apart_by_order(tmp_path: Path, arch: Arch) -> None:
    image = image_of(tmp_path, IMPORTS, {3: "c", 4: "c", 5: "c"})
    made = interpose(synth_object(tmp_path, image, arch), image, arch)
    order = [r.symbol.name for r in sorted(text_of(made).relocs, key=lambda r: r.offset) if r.symbol]
    gate = {seam.target: f"rig_gate_{seam.index}" for seam in image.seams}
    assert order == [gate[1], gate[0], "rig_fn_3", gate[2], "rig_fn_4"]
    assert len(check(made, image, arch).sites) == 3


def test_an_import_that_synth_binds_to_an_export_of_the_same_name_is_seen(tmp_path: Path) -> None:
    image = image_of(tmp_path, IMPORTS.replace('"tick"', '"run"'), {3: "c", 4: "c", 5: "c"})
    with pytest.raises(UsageError, match=r"function 5 calls function 4 at 0x\w+, which it does not"):
        interpose(synth_object(tmp_path, image, Arch.V7M), image, Arch.V7M)


def test_two_rv32_functions_of_one_name_are_refused(tmp_path: Path) -> None:
    text = """(module (memory 1) (func (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
      (func (export "func_0") (result i32) (call 0 (i32.const 4))))"""
    image = image_of(tmp_path, text, {0: "c", 1: "c"})
    with pytest.raises(UsageError, match="func_0"):
        interpose(synth_object(tmp_path, image, Arch.RV32), image, Arch.RV32)


def test_hostile_export_names_do_not_reach_the_linker(tmp_path: Path) -> None:
    names = ["rig_mailbox", "rig_gate_0", "memcpy", "$d", "a b\\n#/:", "<script>", "../x", "é"]
    functions = " ".join(f'(func (export "{name}") (result i32) (i32.const {i}))' for i, name in enumerate(names))
    image = image_of(tmp_path, f"(module (memory 1) {functions})", dict.fromkeys(range(len(names)), "c"))
    for arch in Arch:
        obj = elfobj.parse(interpose(synth_object(tmp_path, image, arch), image, arch), "object")
        visible = [s.name for s in obj.symbols if s.bind != elfobj.STB_LOCAL]
        assert visible == [f"rig_fn_{i}" for i in range(len(names))]


def test_a_call_across_owners_that_no_seam_describes_is_refused(tmp_path: Path) -> None:
    image = image_of(tmp_path, TWO, TWO_OWNERS, seams=False)
    raw = synth_object(tmp_path, image, Arch.V7M)
    with pytest.raises(Refusal, match="no switch point"):
        interpose(raw, image, Arch.V7M)
    everyone = tuple(owner.index for owner in image.owners)
    joined = replace(image, shared_context=(everyone,))
    assert check(interpose(raw, joined, Arch.V7M), joined, Arch.V7M).sites == {}


def test_an_object_of_another_module_is_refused(tmp_path: Path) -> None:
    image, other = image_of(tmp_path, TWO, TWO_OWNERS), tmp_path / "other"
    other.mkdir()
    wrong = image_of(other, TWO.replace("(call 0))", "(call 6 (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) "
                                        "(i32.const 1) (i32.const 1) (i32.const 1)))"), TWO_OWNERS)  # fmt: skip
    with pytest.raises(UsageError, match=r"calls function 6 at 0x[0-9a-f]+, which it does not"):
        interpose(synth_object(other, wrong, Arch.V7M), image, Arch.V7M)
    with pytest.raises(UsageError, match="another processor"):
        interpose(synth_object(tmp_path, image, Arch.V7M), image, Arch.RV32)


def test_native_pointer_objects_are_refused_with_the_cure(tmp_path: Path) -> None:
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    raw = synth_object(tmp_path, image, Arch.V7M, "--native-pointer-abi")
    with pytest.raises(UsageError, match="without --native-pointer-abi"):
        interpose(raw, image, Arch.V7M)
