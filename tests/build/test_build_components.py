# SPDX-License-Identifier: Apache-2.0
"""Reading component files: a wrong one is named with its cure, a right one gives its types and core modules."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from build_samples import GIVER, PAIR_WIT, TAKER, component, componentise, core, wasm_tools

from rig.build import components as module
from rig.build import container, wit
from rig.build.components import read_component
from rig.errors import ToolMissing, UsageError
from rig.host import pypi, tools
from rig.image.component import WitFunction, WitType

RICH_WIT = """
package demo:rich;
interface api {
  resource door { constructor(); }
  record point { x: s32, y: f64 }
  variant shape { none, dot(point), text(string) }
  enum colour { red, green }
  flags rights { read, write }
  all: func(a: bool, b: char, c: list<list<u8>>, d: option<u64>, e: result<s8, string>, f: tuple<u16, f32>,
            g: point, h: shape, i: colour, j: rights) -> result;
  open: func(d: borrow<door>);
}
world w { export api; }
"""


def test_types_of_imports_and_exports_come_with_the_names_the_fuser_uses(tmp_path: Path) -> None:
    made = component(tmp_path, "taker", TAKER, "taker")
    assert made.exports == (WitFunction(None, "run", (), WitType("u32")),)
    assert [function.core_name for function in made.imports] == ["demo:pair/provider#get"]
    assert len(made.core) == 1 and container.form(made.core[0]) is container.Form.CORE


def test_every_kind_of_type_is_told_and_resources_are_unsupported(tmp_path: Path) -> None:
    dummy = tmp_path / "dummy.core"
    (tmp_path / "w.wit").write_text(RICH_WIT)
    wasm_tools("component", "embed", tmp_path / "w.wit", "--world", "w", "--dummy", "-o", dummy)
    out = tmp_path / "rich.wasm"
    wasm_tools("component", "new", dummy, "-o", out)
    functions = {function.name: function for function in read_component(out, name="rich").exports}
    types = [type for _, type in functions["all"].params]
    assert [type.kind for type in types] == [
        "bool", "char", "list", "option", "result", "tuple", "record", "variant", "enum", "flags",
    ]
    assert types[2] == WitType("list", (WitType("list", (WitType("u8"),)),))
    assert types[4] == WitType("result", (WitType("s8"), WitType("string")))
    assert types[6] == WitType("record", (WitType("s32"), WitType("f64")), ("x", "y"))
    assert types[7].names == ("none", "dot", "text") and types[7].args[0] is None
    assert types[9] == WitType("flags", names=("read", "write"))
    assert functions["all"].result == WitType("result", (None, None))
    assert functions["open"].params[0][1] == WitType("unsupported", names=("borrow<resource>",))
    assert functions["[constructor]door"].result == WitType("unsupported", names=("own<resource>",))


def test_a_type_that_grows_without_bound_is_unsupported_and_does_not_stall(tmp_path: Path) -> None:
    levels = "\n".join(f"type t{i} = tuple<t{i - 1}, t{i - 1}>;" for i in range(1, 15))
    wit = f"package d:d;\ninterface i {{ type t0 = u8;\n{levels}\nf: func(a: list<t14>); }}\nworld w {{ export i; }}"
    (tmp_path / "w.wit").write_text(wit)
    wasm_tools("component", "embed", tmp_path / "w.wit", "--world", "w", "--dummy", "-o", tmp_path / "d.core")
    wasm_tools("component", "new", tmp_path / "d.core", "-o", tmp_path / "d.wasm")
    assert read_component(tmp_path / "d.wasm", name="d").exports[0].params[0][1].kind == "unsupported"


def refused(path: Path, *words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_component(path, name="x")
    assert path.name in str(caught.value) or "\\n" in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_missing_file_a_folder_and_an_empty_file_are_told_apart(tmp_path: Path) -> None:
    refused(tmp_path / "absent.wasm", "does not exist")
    (tmp_path / "folder.wasm").mkdir()
    refused(tmp_path / "folder.wasm", "is not a file")
    (tmp_path / "empty.wasm").write_bytes(b"")
    refused(tmp_path / "empty.wasm", "is empty")


def test_a_file_that_is_not_wasm_or_is_text_is_named_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "a.wasm").write_bytes(b"\x7fELF and so on")
    refused(tmp_path / "a.wasm", "is not WebAssembly")
    (tmp_path / "b.wasm").write_text(" (module)")
    refused(tmp_path / "b.wasm", "wasm-tools parse")


def test_a_core_module_is_told_from_a_component(tmp_path: Path) -> None:
    refused(core(tmp_path, "m", "(module)"), "core module, not a component", "wasm-tools component new")


def test_truncation_anywhere_is_an_error_and_never_a_crash(tmp_path: Path) -> None:
    whole = componentise(tmp_path, "g", core(tmp_path, "g", GIVER.format(word="AAAA")), PAIR_WIT, "giver").read_bytes()
    cut = tmp_path / "cut.wasm"
    for length in range(9, len(whole) - 1, 37):
        cut.write_bytes(whole[:length])
        with pytest.raises(UsageError, match=r"cut\.wasm"):
            read_component(cut, name="cut")


def test_flipped_bits_are_an_error_with_wasmtimes_words_or_still_a_component(tmp_path: Path) -> None:
    whole = componentise(tmp_path, "g", core(tmp_path, "g", GIVER.format(word="AAAA")), PAIR_WIT, "giver").read_bytes()
    flipped, errors = tmp_path / "flipped.wasm", 0
    for at in range(0, len(whole), 23):
        flipped.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            read_component(flipped, name="flipped")
        except UsageError as error:
            errors += 1
            assert "flipped.wasm" in str(error)
    assert errors > 10


def test_a_file_beyond_the_limit_is_refused_before_it_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "big.wasm").write_bytes(b"\0asm" + bytes(2 << 20))
    with pytest.raises(UsageError, match="more than 1 MiB"):
        module.read_bounded(tmp_path / "big.wasm", 1 << 20)


def test_a_package_of_types_has_no_code_to_run(tmp_path: Path) -> None:
    (tmp_path / "w.wit").write_text("package d:d;\nworld w { export f: func(); }")
    wasm_tools("component", "wit", tmp_path / "w.wit", "--wasm", "-o", tmp_path / "types.wasm")
    refused(tmp_path / "types.wasm", "holds no code")


def test_a_hostile_file_name_cannot_break_the_line(tmp_path: Path) -> None:
    path = tmp_path / "evil\n\x1b[31mname.wasm"
    path.write_bytes(b"nonsense")
    with pytest.raises(UsageError) as caught:
        read_component(path, name="x")
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_core_modules_of_nested_components_are_found_and_endless_nesting_is_refused() -> None:
    inner = b"\0asm\x01\0\0\0"
    body = b"\x01\x08" + inner
    for _ in range(3):
        whole = b"\0asm\x0d\0\x01\0" + body
        body = bytes([4, len(whole)]) + whole
    assert container.core_modules(whole) == (inner,)
    for _ in range(20):
        whole = b"\0asm\x0d\0\x01\0" + body
        body = bytes([4, len(whole) & 0x7F | 0x80, len(whole) >> 7]) + whole
    with pytest.raises(container.Malformed, match="nested"):
        container.core_modules(whole)


def test_without_wasmtime_the_tool_is_named_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = componentise(tmp_path, "g", core(tmp_path, "g", GIVER.format(word="AAAA")), PAIR_WIT, "giver")

    def nowhere(name: str) -> None:
        raise pypi.PackageNotFoundError(name)

    monkeypatch.setitem(sys.modules, "wasmtime", None)
    monkeypatch.setattr(pypi, "distribution", nowhere)
    monkeypatch.setattr(tools, "_found", {})
    wit._engine.cache_clear()
    with pytest.raises(ToolMissing, match="wasmtime: the Python package"):
        read_component(made, name="g")
