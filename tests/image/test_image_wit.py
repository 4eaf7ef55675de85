# SPDX-License-Identifier: Apache-2.0
"""WIT types as text and what the canonical ABI makes of them, checked against what the fuser emitted."""

from __future__ import annotations

import pytest
from image_samples import Lab

from rig.errors import UsageError
from rig.image.component import WitFunction, WitType
from rig.image.model import FuncType, ListArg, Model
from rig.image.records import read_records
from rig.image.wasm import parse_module
from rig.image.wit import carries_memory, flatten, lifted, lowered, needs_realloc, parse_type, size_align, spills


def t(text: str) -> WitType:
    return parse_type(text, "x")


def f(*params: str, result: str | None = None) -> WitFunction:
    return WitFunction(None, "f", tuple((f"p{k}", t(p)) for k, p in enumerate(params)), t(result) if result else None)


@pytest.mark.parametrize(
    ("text", "flat", "size"),
    [
        ("u8", ("i32",), (1, 1)),
        ("s64", ("i64",), (8, 8)),
        ("char", ("i32",), (4, 4)),
        ("f32", ("f32",), (4, 4)),
        ("string", ("i32", "i32"), (8, 4)),
        ("list<list<u8>>", ("i32", "i32"), (8, 4)),
        ("record { a: u8, b: u64, c: u16 }", ("i32", "i64", "i32"), (24, 8)),
        ("tuple<u16, char>", ("i32", "i32"), (8, 4)),
        ("option<u8>", ("i32", "i32"), (2, 1)),
        ("option<option<u64>>", ("i32", "i32", "i64"), (24, 8)),
        ("result", ("i32",), (1, 1)),
        ("result<_, string>", ("i32", "i32", "i32"), (12, 4)),
        ("result<f32, u32>", ("i32", "i32"), (8, 4)),  # joined: i32
        ("result<f64, u32>", ("i32", "i64"), (16, 8)),  # joined: i64
        ("variant { none, dot(record { x: s32, y: f64 }), path(list<u8>) }", ("i32", "i32", "i64"), (24, 8)),
        ("variant { a, b-c }", ("i32",), (1, 1)),
        ("enum { a, b }", ("i32",), (1, 1)),
        ("flags { a, b, c }", ("i32",), (1, 1)),
        ("own<resource>", ("i32",), (4, 4)),
    ],
)
def test_types_flatten_and_lie_in_memory_as_the_canonical_abi_says(
    text: str, flat: tuple[str, ...], size: object
) -> None:
    assert flatten(t(text)) == flat
    assert size_align(t(text)) == size


def test_many_flags_take_words() -> None:
    names = ", ".join(f"f{k}" for k in range(40))
    assert flatten(t(f"flags {{ {names} }}")) == ("i32", "i32") and size_align(t(f"flags {{ {names} }}")) == (8, 4)


@pytest.mark.parametrize("text", ["", "list<", "record { a }", "list<u8> u8", "variant {", "€", "record { a: }"])
def test_broken_types_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError, match=r"^x: WIT type"):
        t(text)


def test_types_nested_without_end_are_refused() -> None:
    with pytest.raises(UsageError, match="nested deeper"):
        t("list<" * 200 + "u8" + ">" * 200)


def test_lists_of_a_call_are_found_with_element_size_and_nesting() -> None:
    abi = lowered(f("u32", "list<u64>", "string", "list<string>"), memory=3)
    assert abi.type.params == ("i32",) * 7
    assert abi.lists == (
        ListArg(1, 2, 8, 8, 3, False),
        ListArg(3, 4, 1, 1, 3, False),
        ListArg(5, 6, 8, 4, 3, True),
    )
    assert not abi.unchecked and not abi.returns_list


def test_lists_inside_a_record_are_found() -> None:
    assert lowered(f("record { n: u32, bytes: list<u8> }"), 0).lists == (ListArg(1, 2, 1, 1, 0, False),)


def test_a_pointer_that_is_one_only_in_some_case_is_reported_not_checked() -> None:
    abi = lowered(f("option<string>", "u8"), 0)
    assert abi.lists == () and abi.unchecked == ("p0: option with a pointer in one of its cases",)


def test_a_wide_result_makes_two_signatures() -> None:
    function = f("string", result="string")
    assert lifted(function, 0).type == FuncType(("i32", "i32"), ("i32",))
    call = lowered(function, 2)
    assert call.type == FuncType(("i32", "i32", "i32"), ())
    assert call.lists[-1] == ListArg(2, -1, 8, 4, 2, False)  # the return area: one element of 8 bytes
    assert call.returns_list


def test_too_many_arguments_travel_through_memory() -> None:
    function = f(*["u32"] * 16, "string")
    assert spills(function) and lowered(function, 0).lists == (ListArg(0, -1, 72, 4, 0, True),)
    assert spills(f(*["u32"] * 17)) and not spills(f(*["u32"] * 16))


def test_what_carries_memory_across_a_boundary() -> None:
    assert carries_memory(f("list<u8>")) and carries_memory(f(result="option<string>"))
    assert carries_memory(f(*["u32"] * 17))  # scalars, but spilled into the caller's memory
    assert not carries_memory(f("u32", result="tuple<u32, u32>"))
    assert needs_realloc(f("string")) and not needs_realloc(f("u32", result="string"))


def test_core_types_agree_with_what_the_fuser_emitted(lab: Lab) -> None:
    data = lab.fuse(Model.MULTI, "user", "maker", "giver", flags=("--emit-manifest",))
    signatures = read_records(parse_module(data, "x")).signatures
    assert signatures is not None and len(signatures) == 9
    for s in signatures.values():
        function = WitFunction(None, s.export, tuple((n, t(p)) for n, p in s.params), t(s.result) if s.result else None)
        assert lifted(function, 0).type == s.core, s.export
